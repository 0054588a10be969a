from medsr_lib.series.running.progress import Log, Terminal, watch


def test_a_log_gets_a_line_at_the_start_and_at_the_end(capsys):
    with watch(3) as shown:
        shown.start("01_a", 3)
        shown.cell(1, "x = 1")
        shown.write("\rsteps: 10%")
        shown.end("01_a  done in 3.0 s")
    assert isinstance(shown, Log)
    assert capsys.readouterr().err == "01_a  started, 3 cells\n01_a  done in 3.0 s\n"


def test_a_terminal_shows_notebook_cell_and_the_newest_text(capsys):
    with Terminal(4) as shown:
        shown.start("01_a", 4)
        shown.cell(3, "history = fit(network)")
        first = capsys.readouterr().err
        shown.write("\rsteps:  10%\rsteps:  20%\n\x1b[A")
        second = capsys.readouterr().err
        shown.end("01_a  done in 3.0 s")
    last = capsys.readouterr().err
    assert "01_a  cell 3/4" in first
    assert "50%" in first
    assert "history = fit(network)" in first
    assert "steps:  20%" in second
    assert "10%" not in second
    assert "01_a  done in 3.0 s\n" in last


def test_long_text_is_cut_to_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with Terminal(4) as shown:
        shown.write("x" * 100)
    err = capsys.readouterr().err
    assert "x" * 39 in err
    assert "x" * 40 not in err

import pytest
from nbformat.v4 import new_code_cell
from tqdm import tqdm

from medsr_lib.series.running import execute


def test_a_terminal_shows_notebook_cell_and_the_newest_text(series, capsys, monkeypatch):
    cell = new_code_cell("# why\nhistory = fit(network)")
    monkeypatch.setattr(execute, "tqdm", lambda **given: tqdm(**given | {"disable": False}))
    with execute.Stop() as stop:
        position = execute.Position(series.add("01_a", "1", "2", "3"), stop)
        for number in range(3):
            position(cell, number)
        first = capsys.readouterr().err
        position.write("\rsteps:  10%\rsteps:  20%\n\x1b[A")
        second = capsys.readouterr().err
        stop.presses = 1
        with pytest.raises(RuntimeError, match="stopped by the user"):
            position(cell, 3)
    assert "01_a  cell 3/4" in first
    assert "50%" in first
    assert "history = fit(network)" in first
    assert "steps:  20%" in second
    assert "10%" not in second

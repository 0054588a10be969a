import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from medsr_lib.series import clean, report, run


@pytest.mark.parametrize("name", ["02", "2", "02_b", "02_b.ipynb"])
def test_a_notebook_is_found_by_number_or_name(series, name):
    series.add("01_a")
    path = series.add("02_b")
    assert run.find([name], series.folder) == [path]


def test_notebooks_come_in_their_order_and_once(series):
    paths = [series.add("01_a"), series.add("02_b"), series.add("10_c")]
    assert run.find([], series.folder) == paths
    assert run.find(["10", "01_a", "01"], series.folder) == [paths[0], paths[2]]


def test_a_notebook_that_does_not_exist(series):
    series.add("01_a")
    series.add("02_b")
    with pytest.raises(ValueError, match="no notebook '03'; there are 01_a, 02_b"):
        run.find(["01", "03"], series.folder)


def test_a_folder_without_notebooks(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebooks in"):
        run.find([], tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"steps": 1}, "no parameter 'steps'"),
        ({"scale": "2"}, r"01_a: scale is int .*, not '2' \(str\)"),
        ({"data_dir": "x"}, "data_dir is not given as a parameter; use --data"),
        ({"out_dir": "x"}, "out_dir is not given as a parameter; use --out"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(series, parameters, message):
    series.add("01_a")
    with pytest.raises(ValueError, match=message):
        series.run(parameters=parameters)
    assert not series.out.exists()


def test_data_that_are_not_there(series):
    series.add("01_a")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        series.run(data=series.root / "missing")


def test_a_notebook_that_cannot_be_told_its_folders(series):
    series.add("01_a", parameters="scale = 4")
    with pytest.raises(ValueError, match=r"01_a\.ipynb: no data_dir, out_dir in its parameters"):
        series.run()


def test_the_first_failure_ends_the_run(ran):
    _, results = ran
    assert [r.status for r in results] == ["done", "failed", "not run"]
    failed = results[1]
    assert (failed.cell, failed.source) == (3, "scale = scale / 0")
    assert failed.error == "ZeroDivisionError: division by zero"
    assert failed.page.is_file()
    assert results[2].seconds is None


def test_a_finished_notebook_has_its_record_and_its_parameters(ran):
    series, (first, *_) = ran
    assert first.record["values"]["n_slices"] == 7
    assert first.changed == ("scale",)
    assert first.parameters["scale"] == 2
    assert first.parameters["limit"] is None
    assert first.parameters["out_dir"] == str(series.out.resolve())
    assert 0.3 < first.seconds < 60


def test_the_kernel_is_this_python(ran):
    _, (first, *_) = ran
    assert first.record["values"]["python"] == Path(sys.executable).as_posix()


def test_the_copy_has_outputs_but_no_bars_and_no_banner(ran):
    _, (first, failed, _) = ran
    copy = nbformat.read(first.executed, 4)
    assert [o.text for o in copy.cells[3].outputs] == ["scale 2 limit None in notebooks\n"]
    assert copy.cells[2].metadata.tags == ["injected-parameters"]
    for result in (first, failed):
        assert "papermill" not in result.executed.read_text(encoding="utf-8")


def test_the_page_shows_the_notebook(ran):
    _, (first, *_) = ran
    page = first.page.read_text(encoding="utf-8")
    assert "<title>01 · The first</title>" in page
    assert "<mfrac>" in page
    assert 'href="02_second.html"' in page
    assert "scale 2 limit None in notebooks" in page
    assert page.count('<details class="code"') == 4
    assert "Research use only, not for diagnosis." in page


def test_the_page_of_a_failure_marks_the_cell(ran):
    page = ran[1][1].page.read_text(encoding="utf-8")
    assert re.search(
        r'class="cell failed" id="cell-3">\s*<p class="banner">✕ The run stopped', page
    )
    assert "ZeroDivisionError" in page
    assert "<title>Second &lt;b&gt;</title>" in page


def test_the_index_says_how_far_it_came(ran):
    series, _ = ran
    page = (series.out / "index.html").read_text(encoding="utf-8")
    assert "1 of 3 notebooks done" in page
    assert re.findall(r'<span class="status [a-z-]+">(. [a-z ]+)</span>\n<span>', page) == [
        "✓ done",
        "✕ failed",
        "– not run",
    ]
    assert 'href="02_second.html#cell-3"' in page
    assert "ZeroDivisionError: division by zero" in page
    assert "<code>scale = 2</code>" in page
    assert "medsr run --data" in page
    assert "-p scale=2" in page


def test_the_index_shows_figures_and_values_escaped(ran):
    series, _ = ran
    page = (series.out / "index.html").read_text(encoding="utf-8")
    assert 'src="01_first/dot.png" alt="A dot &amp; &lt;nothing&gt; else."' in page
    assert "<span>7 slices</span>" in page
    assert "<td>31.23</td>" in page
    assert "&lt;whole&gt;" in page
    assert "<whole>" not in page
    assert "Second &lt;b&gt;" in page


def test_the_pages_need_no_network(ran):
    series, _ = ran
    pages = [p.read_text(encoding="utf-8") for p in series.out.glob("*.html")]
    assert len(pages) == 3
    for page in pages:
        assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
        assert not re.search(r"@import|url\(|<link|<script[^>]+src", page)


def test_results_of_an_earlier_run_stay_in_the_index(series):
    report.record(series.out / "09_old", {"psnr": 30.5})
    series.add("01_first", "1")
    (result,) = series.run("01")
    assert (result.status, result.record) == ("done", None)
    page = (series.out / "index.html").read_text(encoding="utf-8")
    assert "○ earlier run" in page
    assert "<td>30.5</td>" in page
    assert "1 of 1 notebooks done" in page


def test_a_dead_kernel_fails_its_cell_and_takes_the_old_results_along(series):
    report.record(series.out / "01_first", {"psnr": 30.5})
    series.add("01_first", "import os; os._exit(3)")
    (result,) = series.run()
    assert (result.status, result.cell, result.record) == ("failed", 2, None)
    assert "Kernel died" in result.error


def test_a_cell_may_take_only_so_long(series):
    series.add("01_first", "import time; time.sleep(60)")
    (result,) = series.run(timeout=1)
    assert (result.status, result.cell) == ("failed", 2)
    assert result.error.startswith("CellTimeoutError")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_lets_the_cell_save_and_writes_the_index(series):
    save = "Path(out_dir, '01_first', 'saved').touch()"
    series.add(
        "01_first",
        f"""import os, signal, time
from pathlib import Path
try:
    os.kill({os.getpid()}, signal.SIGINT)
    time.sleep(60)
finally:
    {save}""",
    )
    series.add("02_second", "1")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        series.run()
    assert signal.getsignal(signal.SIGINT) is before
    assert (series.out / "01_first" / "saved").is_file()
    page = (series.out / "index.html").read_text(encoding="utf-8")
    assert "stopped by the user" in page
    assert "– not run" in page


def finished(series, *code, **options):
    """A notebook and what a run of it would have left, without running it."""
    path = series.add("01_first", *code, **options)
    copy = nbformat.read(path, 4)
    copy.cells[2].outputs = [nbformat.v4.new_output("stream", text="hello")]
    series.out.mkdir(parents=True)
    nbformat.write(copy, series.out / path.name)
    parameters = {"data_dir": str(series.data), "out_dir": str(series.out)}
    return run.Result("01_first", "done", parameters=parameters, executed=series.out / path.name)


def test_refresh_keeps_the_outputs_in_the_notebook(series):
    result = finished(series, "print('hello')")
    (path,) = run.refresh([result], series.folder)
    text = path.read_text(encoding="utf-8")
    kept = nbformat.reads(text, 4)
    assert kept.cells[2].outputs[0].text == "hello"
    assert [cell.id for cell in kept.cells] == ["cell0", "cell1", "cell2"]
    assert kept.metadata[clean.ORIGIN] == clean.origin(kept)
    edited = nbformat.reads(text.replace("print('hello')", "print('hallo')"), 4)
    assert kept.metadata[clean.ORIGIN] != clean.origin(edited)
    assert text.endswith("}\n")
    assert run.refresh([result], series.folder) == [path]
    assert path.read_text(encoding="utf-8") == text


def test_refresh_of_a_real_run_removes_what_was_local(ran):
    series, (first, *_) = ran
    (path,) = run.refresh([replace(first, changed=())], series.folder)
    text = path.read_text(encoding="utf-8")
    assert "scale 2 limit None in notebooks" in text
    assert str(series.root) not in text
    assert "injected" not in text


def test_refresh_refuses_other_parameters_and_failures(ran):
    series, (first, failed, _) = ran
    with pytest.raises(ValueError, match="01_first ran with its own scale; run the defaults"):
        run.refresh([first], series.folder)
    with pytest.raises(ValueError, match="02_second: failed; only a finished run can be kept"):
        run.refresh([failed], series.folder)


def test_refresh_writes_none_if_one_cannot_be_kept(series):
    result = finished(series, "print('hello')")
    before = (series.folder / "01_first.ipynb").read_bytes()
    with pytest.raises(ValueError, match="02_b: not run"):
        run.refresh([result, run.Result("02_b")], series.folder)
    assert (series.folder / "01_first.ipynb").read_bytes() == before


def test_refresh_refuses_a_local_path_and_names_the_cell(series):
    result = finished(series, "print('hello')")
    copy = nbformat.read(result.executed, 4)
    copy.cells[2].outputs[0].text = f"wrote {series.out / 'x.png'}"
    nbformat.write(copy, result.executed)
    with pytest.raises(ValueError, match="01_first: the output of code cell 2 has the local path"):
        run.refresh([result], series.folder)


def test_refresh_refuses_a_notebook_that_is_too_large(series):
    result = finished(series, "print('hello')")
    copy = nbformat.read(result.executed, 4)
    copy.cells[2].outputs[0].text = "x" * run.LARGEST
    nbformat.write(copy, result.executed)
    with pytest.raises(ValueError, match="01_first has 5001 kB with its outputs, more"):
        run.refresh([result], series.folder)

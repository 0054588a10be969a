"""Running notebooks: what is left by those that end well, fail, or are stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest

from medsr_lib.data import phantom, source
from medsr_lib.data.phantom.brain import files as brain_files
from medsr_lib.data.phantom.chest import files as chest_files
from medsr_lib.series import report, run
from medsr_lib.series.report import Status
from medsr_lib.series.running import lock

HOLD = """
import sys
from pathlib import Path
from medsr_lib.series.running import lock
with lock.hold(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""
RECORD_1 = """from pathlib import Path
from medsr_lib.series import report
_ = report.record(Path(out_dir) / "01_a", {"slices": 7})"""


def test_wrong_input_is_refused_before_anything_runs(series):
    series.add("01_a")
    with pytest.raises(ValueError, match=r"01_a: scale is int .*, not '2' \(str\)"):
        series.run(parameters={"scale": "2"})
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        series.run(data=series.root / "missing")
    assert not series.out.exists()


def test_the_first_failure_ends_the_run(ran):
    _, results = ran
    assert [r.status for r in results] == ["done", "failed", "not run"]
    failed = results[1]
    assert (failed.cell, failed.source) == (3, "scale = scale / 0")
    assert failed.error == "ZeroDivisionError: division by zero"
    assert failed.page.is_file()
    assert results[2].seconds is None


MEETS = """import time
from pathlib import Path
mine, other = (Path(out_dir) / name for name in {0})
mine.touch()
while not other.exists():
    time.sleep(0.05)"""


def test_notebooks_run_side_by_side_once_the_first_has_packed_the_data(series):
    series.add("01_first", "from pathlib import Path; Path(out_dir, '01').touch()")
    wait = "from pathlib import Path; assert Path(out_dir, '01').exists()"
    series.add("02_a", wait, MEETS.format(("a", "b")))
    series.add("03_b", wait, MEETS.format(("b", "a")))
    assert [r.status for r in series.run(at_a_time=2)] == ["done"] * 3


@pytest.fixture
def embedded(series, monkeypatch):
    """Two notebooks, one for each kind of small embedded data, which are missing."""
    monkeypatch.chdir(series.root)
    monkeypatch.setattr(phantom, "EMBEDDED", SLICES)
    monkeypatch.setattr(phantom, "EMBEDDED_CHEST", {"patients": 5, "seed": 0, "size": 96})
    for name, data in {"01_slices": "phantom", "08_chest": "phantom-chest"}.items():
        code = f"from pathlib import Path; Path(out_dir, '{name}', 'ran').touch()"
        series.add(name, code, parameters=f'data_dir = "../data/{data}"\nout_dir = ""')
    return series


SLICES = {"patients": 1, "slices_per_patient": 2, "seed": 0, "size": 64}


def test_the_first_notebook_runs_while_the_data_of_others_are_written(embedded, monkeypatch):
    draw, ran = chest_files._draw, embedded.out / "01_slices" / "ran"

    def radiograph(*args, **kwargs):
        while not ran.exists():
            time.sleep(0.05)
        return draw(*args, **kwargs)

    monkeypatch.setattr(chest_files, "_draw", radiograph)
    results = embedded.run(data=None, at_a_time=2)
    assert [r.status for r in results] == ["done"] * 2
    contents = [source.content(f"data/{name}") for name in ("phantom", "phantom-chest")]
    assert [r.content for r in results] == contents
    known = [source.content(f"data/{name}", whole=True) for name in ("phantom", "phantom-chest")]
    assert list(report.read_run(embedded.out).inputs.values()) == known
    assert [r.status for r in embedded.run(data=None, at_a_time=1)] == ["done"] * 2


def test_ctrl_c_while_data_are_written_leaves_none_of_them(embedded, monkeypatch):
    draw = brain_files._draw_slice

    def draw_and_stop(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return draw(*args, **kwargs)

    monkeypatch.setattr(brain_files, "_draw_slice", draw_and_stop)
    with pytest.raises(KeyboardInterrupt):
        embedded.run("01", data=None)
    assert list(Path("data").iterdir()) == []
    (result,) = report.read_run(embedded.out).results
    assert result.status in ("stopped", "not run")  # it may come before the notebook's turn


def test_data_that_cannot_be_written_fail_their_notebook(embedded, monkeypatch):
    monkeypatch.setattr(brain_files, "_draw_slice", Mock(side_effect=OSError("disk full")))
    (result,) = embedded.run("01", data=None)
    assert (result.status, result.error, result.page) == ("failed", "disk full", None)
    assert "disk full" in (embedded.out / "index.html").read_text(encoding="utf-8")


def test_a_notebook_waits_for_those_of_its_data_that_train(series):
    trains = 'data_dir = ""\nout_dir = ""\nresume_from = None'
    found = [
        series.add("01_pack", "1"),
        series.add("02_train", "1", parameters=trains),
        series.add("03_use", "1"),
        series.add("04_use", "1"),
        series.add("08_chest", "1", parameters=trains),
        series.add("09_chest", "1"),
    ]
    data = {one.name: "chest" if "chest" in one.name else "brain" for one in found}
    assert run._needs(found, data) == [set(), {0}, {0, 1}, {0, 1}, set(), {4}]


def test_a_finished_notebook_has_its_record_and_its_parameters(ran):
    series, (first, *_) = ran
    assert first.record["values"]["slices"] == 7
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
    assert [o.text for o in copy.cells[3].outputs] == [f"scale 2 limit None in {Path.cwd().name}\n"]
    assert copy.cells[2].metadata.tags == ["injected-parameters"]
    for result in (first, failed):
        assert "papermill" not in result.executed.read_text(encoding="utf-8")


def test_the_page_shows_the_notebook(ran):
    _, (first, *_) = ran
    page = first.page.read_text(encoding="utf-8")
    assert "<title>01 · The first</title>" in page
    assert "<mfrac>" in page
    assert 'href="02_second.html"' in page
    assert f"scale 2 limit None in {Path.cwd().name}" in page
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
    assert re.findall(
        r'<p class="facts">\n<span class="status [a-z-]+">(. [a-z ]+)</span>', page
    ) == [
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


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_folder_in_use_is_refused_and_nothing_in_it_changed(series):
    series.add("01_a")
    command = [sys.executable, "-c", HOLD, str(series.out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match=rf"in use by process {other.pid} on .* since 20"):
            series.run()
    assert [path.name for path in series.out.iterdir()] == [lock.NAME]


def test_a_page_that_cannot_be_written_loses_nothing(series, monkeypatch, capsys):
    series.add("01_a", RECORD_1)
    series.add("02_b", "1")

    def broken(notebook, *_, **options):
        raise KeyError("no such template")

    monkeypatch.setattr(run.page, "write", broken)
    results = series.run()
    assert [r.status for r in results] == ["done", "done"]
    assert results[0].record["values"] == {"slices": 7}
    assert (
        "01_a.html could not be written (KeyError: 'no such template')" in capsys.readouterr().err
    )
    assert "01_a.html could not be written" in (series.out / "index.html").read_text()
    assert report.read_run(series.out).results[0].status == "done"


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
    assert "■ stopped" in page
    assert "– not run" in page


def test_results_keep_the_parameters_they_were_made_with(series):
    code = """from pathlib import Path
from medsr_lib.series import report
if limit == 1:
    raise ValueError("none")
_ = report.record(Path(out_dir) / "{0}", {{"scale": scale}})"""
    series.add("01_a", code.format("01_a"), title="# One\n\n**Is it _so_?**")
    series.add("02_b", code.format("02_b"))
    series.run("02", parameters={"scale": 2})
    series.run(parameters={"scale": 3, "limit": 1})
    found = report.read_run(series.out)
    first, second = found.results
    assert (first.status, first.parameters["scale"], first.record) == ("failed", 3, None)
    assert (first.question, first.error) == ("Is it so?", "ValueError: none")
    assert (second.status, second.parameters["scale"]) == ("earlier run", 2)
    assert second.values == {"scale": 2}
    assert found.command.startswith("medsr run --data ")
    assert (found.data, found.versions) == ([str(series.data)], report.versions())
    page = (series.out / "index.html").read_text(encoding="utf-8")
    assert "– not run" in page
    assert "These results are from an earlier run" in page


def test_a_damaged_run_json_does_not_stop_a_run(series):
    series.add("01_a", "1")
    series.out.mkdir(parents=True)
    (series.out / report.RUN).write_text("{")
    (result,) = series.run("01")
    assert result.status is Status.DONE
    assert report.read_run(series.out).results[0].notebook == "01_a"

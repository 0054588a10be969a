import re
import subprocess
import sys
from pathlib import Path

import pytest

from medsr_lib import __version__
from medsr_lib.series import cli, outputs, run
from medsr_lib.series.report import Result, Status
from medsr_lib.series.running import folders


@pytest.fixture
def here(series, monkeypatch) -> Path:
    """The current folder is that of a series."""
    monkeypatch.chdir(series.root)
    return series.root


def test_a_run_ends_with_the_path_of_its_index(here, series, capsys):
    series.add("01_a", "print(scale)")
    assert cli.main(["run", "--notebooks", "notebooks", "--data", "data", "-p", "scale=2"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{Path('runs/data/index.html')}\n"  # named after the data
    assert (here / "runs/data/index.html").is_file()
    assert err.startswith("01_a  started, 2 cells\n01_a  done in ")


def test_a_failed_notebook_is_named_with_cell_and_error(series, capsys, monkeypatch):
    failed = Result(
        "02_b", Status.FAILED, cell=3, source="x = 1 / 0", error="ZeroDivisionError: no"
    )
    monkeypatch.setattr(run, "run", lambda *_, **__: [failed])
    series.add("02_b")
    assert cli.main(["run", "--notebooks", str(series.folder), "--data", str(series.data)]) == 1
    out, err = capsys.readouterr()
    assert "02_b, cell 3: x = 1 / 0\n  ZeroDivisionError: no" in err
    assert out.endswith("index.html\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["07"], "no notebook '07'; there are 01_a"),
        (["-p", "scal=2"], "no parameter 'scal'; did you mean scale"),
        (["-p", "scale"], "'scale' is not name=value"),
        (["-p", "scale=x"], "scale is int"),
        (["-p", "out_dir=x"], "use --out"),
        (["--data", "missing"], "there is no folder missing"),
        (["--refresh", "-p", "scale=2"], "--refresh keeps the run of the defaults"),
        (["--notebooks", "nowhere"], "no notebooks in nowhere"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(here, series, capsys, arguments, message):
    series.add("01_a")
    assert cli.main(["run", "--notebooks", "notebooks", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("medsr: ")
    assert message in err
    assert not (here / "runs").exists()
    assert not (here / "data" / "phantom").exists()


def test_ctrl_c_is_130(series, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", stopped)
    series.add("01_a")
    assert cli.main(["run", "--notebooks", str(series.folder), "--data", str(series.data)]) == 130
    assert capsys.readouterr().err == "medsr: stopped\n"


def test_without_data_the_embedded_ones_are_written_and_run(here, series, monkeypatch):
    monkeypatch.setattr(folders, "embedded", lambda found: {here / "data": []})
    series.add("01_a")
    assert cli.main(["run", "--notebooks", "notebooks"]) == 0
    assert (here / "runs/demo/index.html").is_file()


def test_refresh_puts_the_outputs_into_the_notebooks(here, series, monkeypatch):
    kept = []
    monkeypatch.setattr(run, "run", lambda *_, **__: [Result("01_a", Status.DONE)])
    monkeypatch.setattr(outputs, "refresh", lambda results, folder: kept.append((results, folder)))
    series.add("01_a")
    assert cli.main(["run", "--notebooks", "notebooks", "--data", "data", "--refresh"]) == 0
    assert kept == [([Result("01_a", Status.DONE)], Path("notebooks"))]


def test_what_is_not_installed_is_named_with_its_extra(series, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbformat", None)
    arguments = ["run", "--list", "--notebooks", str(series.folder)]
    series.folder.joinpath("01_a.ipynb").touch()
    assert cli.main(arguments) == 2
    assert re.search(r"nbformat.*: pip install 'medsr-lib\[notebooks\]'", capsys.readouterr().err)


def test_list_shows_the_parameters(series, capsys):
    series.add("01_a")
    assert cli.main(["run", "--list", "--notebooks", str(series.folder)]) == 0
    assert "01_a\n  data_dir: str" in (out := capsys.readouterr().out)
    assert "  limit: int | None = None  # slices scored: None for all\n" in out


def test_data_commands_call_the_data_room(tmp_path, monkeypatch, capsys):
    from medsr_lib.data import figshare, phantom

    calls = []
    monkeypatch.setattr(phantom, "write_figshare", lambda root, **k: calls.append((root, k)))
    monkeypatch.setattr(phantom, "write_chest_xray", lambda root, **k: calls.append((root, k)))
    monkeypatch.setattr(figshare, "download", lambda root: calls.append(root))
    assert cli.main(["data", "phantom", str(tmp_path)]) == 0  # those that a run reads
    assert cli.main(["data", "phantom", str(tmp_path), "--patients", "3", "--seed", "1"]) == 0
    assert cli.main(["data", "chest", str(tmp_path), "--patients", "5"]) == 0
    assert cli.main(["data", "figshare", str(tmp_path)]) == 0
    settings = phantom.EMBEDDED | {"patients": 3, "seed": 1}
    radiographs = {"patients": 5, "seed": 0}
    brains = [(tmp_path, phantom.EMBEDDED), (tmp_path, settings)]
    assert calls == [*brains, (tmp_path, radiographs), tmp_path]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["data", "--help"], ["chain", "--help"], ["kaggle", "--help"]],
)
def test_help_has_examples_and_loads_nothing_heavy(arguments):
    code = (
        "import sys; from medsr_lib.series.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: sys.exit(sorted({'torch', 'nbformat', 'papermill', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert "[]" in done.stderr
    assert done.stdout.startswith("usage: medsr")


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"medsr {__version__}\n"

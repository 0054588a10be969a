import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medsr_lib.data import phantom, source
from medsr_lib.files import sha256
from medsr_lib.series import report, verify
from medsr_lib.series.cli import main

SCRIPTS = Path(__file__).parents[2] / "docs/results"
MEANS = """
from pathlib import Path
import pandas as pd
rows = lambda: pd.read_csv(Path(__file__).parents[1] / "brain.csv.gz")
NUMBERS = {"psnr": lambda: f"{rows()['psnr'].mean():.2f}"}
"""
SCORES = """from pathlib import Path
import pandas as pd
from medsr_lib.data import source
from medsr_lib.series import report
table = source.index(data_dir)
net = float((Path(out_dir) / "02_net" / "net.pt").read_text())
rows = table.assign(method="net", region="whole", psnr=net + table["mask_pixels"] / 1000)
rows.to_csv(Path(out_dir) / "04_a" / "scores.csv", index=False)
_ = report.record(Path(out_dir) / "04_a", {})"""

BOTH = """
import sys
from pathlib import Path
import keep
import pandas as pd
from medsr_lib.data import source
data, run = map(Path, sys.argv[1:3])
record = keep.made(data, run)
run.mkdir()
rows = pd.DataFrame({"n": [len(source.index(data))]})
keep.write("one", rows, record)
keep.write("two", 2 * rows, record)
"""
OF_BOTH = """
from pathlib import Path
import pandas as pd
of = lambda name: lambda: str(pd.read_csv(Path(__file__).parents[1] / f"{name}.csv.gz")["n"].sum())
NUMBERS = {name: of(name) for name in ("one", "two")}
"""
RECOMPUTE = """
from pathlib import Path

def total():
    return str(sum(map(int, (Path(__file__).parents[1] / "kept.txt").read_text().split())))

NUMBERS = {"total": total, "table": lambda: "\\n\\n| a |\\n|---|\\n| 1 |\\n"}
"""


def write_computing(results, text):
    """What computes numbers, in a module of its package."""
    package = results / verify.RECOMPUTE.name
    package.mkdir()
    (package / "__init__.py").write_text("from .one import NUMBERS")
    (package / "one.py").write_text(text)


@pytest.fixture
def root(tmp_path):
    """A repository with two numbers and a table."""
    (tmp_path / "docs/results").mkdir(parents=True)
    write_computing(tmp_path / "docs/results", RECOMPUTE)
    (tmp_path / "docs/results/kept.txt").write_text("1 2 3")
    (tmp_path / "README.md").write_text("In all <!--n:total-->6<!--/n--> patients.\n")
    (tmp_path / "docs/a.md").write_text(
        "<!--n:table-->\n\n| a |\n|---|\n| 1 |\n<!--/n-->\n\nTotal: <!--n:total-->6<!--/n-->\n"
    )
    return tmp_path


def test_right_numbers_are_right_wherever_they_stand(root, capsys):
    assert main(["verify", "--root", str(root)]) == 0
    said = capsys.readouterr().out.splitlines()
    right = [line.split()[1] for line in said if line.endswith("right")]
    assert right == ["total", "table", "total"]
    assert all(checked.right for checked in verify.verify(root))


def test_a_number_that_the_rows_do_not_give_is_wrong(root, capsys):
    (root / "docs/results/kept.txt").write_text("1 2 4")
    assert main(["verify", "total", "--root", str(root)]) == 1
    assert "README.md:1  total  6  WRONG, it is 7" in capsys.readouterr().out


def test_pages_are_written_from_the_rows(root):
    (root / "docs/results/kept.txt").write_text("1 2 4")
    before = (root / "README.md").read_text()
    assert verify.write(root, ["table"]) == []  # which is right
    assert (root / "README.md").read_text() == before
    assert [c.number.page.name for c in verify.write(root)] == ["README.md", "a.md"]
    assert (root / "README.md").read_text() == before.replace(">6<", ">7<")
    assert all(checked.right for checked in verify.verify(root))
    assert verify.write(root) == []


def test_refuses_unknown_numbers_and_folders(root, tmp_path):
    with pytest.raises(ValueError, match="marks a number 'x'; there are table, total"):
        list(verify.verify(root, ["x"]))
    (root / "README.md").write_text("<!--n:new-->1<!--/n-->")
    with pytest.raises(ValueError, match=r"README.md, line 1: .* has no function for 'new'"):
        list(verify.verify(root))
    shutil.rmtree(root / verify.RECOMPUTE)
    with pytest.raises(ValueError, match="run this in the repository"):
        list(verify.verify(root))


@pytest.fixture
def deep(series, monkeypatch):
    """A repository with a number, the runs that made it, and the data: (root, runs, data)."""
    root, runs, data = (series.root / name for name in ("repository", "runs", "slices"))
    phantom.write_figshare(data, patients=3, slices_per_patient=1, size=64, seed=0)
    (runs / "brain/02_net").mkdir(parents=True)
    (runs / "brain/02_net/net.pt").write_text("30")
    series.add("04_a", SCORES)
    monkeypatch.chdir(runs)
    folder = ["--notebooks", str(series.folder)]
    assert main(["run", "04", *folder, "--data", str(data), "--out", "brain"]) == 0
    (root / "docs/results").mkdir(parents=True)
    for script in ("keep.py", "rerun.py"):
        shutil.copy(SCRIPTS / script, root / "docs/results")
    write_computing(root / "docs/results", MEANS)
    monkeypatch.syspath_prepend(root / "docs/results")
    monkeypatch.delitem(sys.modules, "keep", raising=False)
    importlib.import_module("keep").main("brain", ["brain"])
    path = root / "docs/results/brain.json"
    (kept,) = json.loads(path.read_text())
    kept["command"] += f" --notebooks {series.folder}"  # where the series of this test is
    path.write_text(json.dumps([kept]))
    (root / "README.md").write_text("<!--n:psnr-->0<!--/n-->")
    verify.write(root)
    return root, runs, data


@pytest.mark.slow
def test_a_number_is_computed_from_the_data_by_the_recorded_command(deep, monkeypatch, capfd):
    root, runs, data = deep
    record, network = root / "docs/results/brain.json", runs / "brain/02_net/net.pt"
    (kept,) = json.loads(record.read_text())
    assert kept["command"].startswith("medsr run 04 --data DATA --out brain")
    whole = source.content(data, whole=True)
    assert kept["inputs"] == {"DATA": whole, "brain/02_net/net.pt": sha256(network)}

    kept["versions"]["commit"] = "eda51c772227"
    record.write_text(json.dumps([kept]))
    folders = ["--data", str(data), "--runs", str(runs)]
    assert main(["verify", "psnr", "--deep", "--root", str(root), *folders]) == 0
    said = capfd.readouterr()
    assert "psnr: agrees" in said.out
    assert "commit: eda51c772227 made the kept rows, " in said.err

    network.write_text("31")
    monkeypatch.delitem(sys.modules, "rerun", raising=False)
    again = importlib.import_module("rerun").main
    with pytest.raises(ValueError, match=r"net.pt is not what the run was given \(sha256 "):
        again(["psnr"], data=data, runs=runs)
    with pytest.raises(ValueError, match="none is not there; it is needed by: medsr run 04"):
        again(["psnr"], data=data / "none", runs=runs)
    record.unlink()
    with pytest.raises(ValueError, match=r"no brain.json names the command that made the rows of"):
        again(["psnr"], data=data, runs=runs)


@pytest.mark.slow
def test_a_script_that_keeps_tables_is_given_again_from_its_record(tmp_path, monkeypatch, capfd):
    results, data, runs = (tmp_path / name for name in ("a/docs/results", "slices", "runs"))
    results.mkdir(parents=True)
    phantom.write_figshare(data, patients=2, slices_per_patient=1, size=64, seed=0)
    for script in ("keep.py", "rerun.py"):
        shutil.copy(SCRIPTS / script, results)
    (results / "both.py").write_text(BOTH)
    write_computing(results, OF_BOTH)
    (tmp_path / "a/README.md").write_text("<!--n:one-->1<!--/n--> <!--n:two-->1<!--/n-->")
    runs.mkdir()
    (runs / "code.py").write_text("factor = 2")
    words = [sys.executable, results / "both.py", data, "run", "mine=code.py:factor"]
    subprocess.run(words, cwd=runs, check=True)

    (kept,) = json.loads((results / "two.json").read_text())
    assert kept["command"] == "python docs/results/both.py DATA RUN mine=code.py:factor"
    code = sha256(runs / "code.py")
    assert kept["inputs"] == {"DATA": source.content(data, whole=True), "code.py": code}
    assert kept["versions"].items() >= report.versions().items()
    assert (results / "one.json").read_text() == (results / "two.json").read_text()

    verify.write(tmp_path / "a")
    (runs / "run").rename(runs / "earlier")
    asked = ["verify", "one", "two", "--deep", "--root", str(tmp_path / "a")]
    asked += ["--data", str(data), "--runs", str(runs)]
    before = (results / "two.csv.gz").stat().st_mtime_ns
    assert main(asked) == 0
    said = capfd.readouterr()
    agreed = re.findall(r"(\w+): agrees; .*\n(\d)\n(\d)\n", said.out)
    assert agreed == [("one", "2", "2"), ("two", "4", "4")]
    assert said.err.count("both.py") == 1  # one call for both
    assert (results / "two.csv.gz").stat().st_mtime_ns == before
    assert not (runs / "run").exists()

    monkeypatch.syspath_prepend(results)
    for name in ("keep", "rerun"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    again = importlib.import_module("rerun").main
    (runs / "code.py").write_text("factor = 3")
    with pytest.raises(ValueError, match=r"code.py is not what the run was given \(sha256 "):
        again(["one"], data=data, runs=runs)
    (results / "one.json").write_text(json.dumps([kept | {"command": f"{kept['command']} srmd"}]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    with pytest.raises(
        ValueError, match="what is missing, `medsr networks get srmd`; it is needed"
    ):
        again(["one"], data=data, runs=runs)


@pytest.mark.parametrize(
    ("kept", "new", "same"),
    [
        ("0.38 dB [−0.26, 0.50]", "0.39 dB [−0.28, 0.50]", True),
        ("0.38 dB [−0.26, 0.50]", "0.38 dB [0.26, 0.50]", False),
        ("0.38 dB", "0.41 dB", False),
        ("16 to 25", "16 to 28", False),
        ("| a | 1.0 |\n| b | 2.0 |", "| a | 1.0 |", False),
        ("0.1, outside", "0.1, inside", False),
    ],
)
def test_figures_may_differ_by_two_units_of_their_last_digit(kept, new, same, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.delitem(sys.modules, "rerun", raising=False)
    assert importlib.import_module("rerun").agree(kept, new) is same


def test_the_record_of_a_table_gives_the_parameters_of_its_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.delitem(sys.modules, "keep", raising=False)
    keep = importlib.import_module("keep")
    monkeypatch.setattr(keep, "HERE", tmp_path)
    command = 'medsr run 07 --data DATA --out x2 -p scale=2 -p \'methods=["srmd", "a=b.py:c"]\''
    runs = [{"command": command}, {"command": "medsr run 07 -p scale=3"}]
    (tmp_path / "atlas-x2.json").write_text(json.dumps(runs))
    given = [{"scale": 2, "methods": ["srmd", "a=b.py:c"]}, {"scale": 3}]
    assert keep.given("atlas-x2") == given


def test_deep_needs_a_number_and_data(root, capsys):
    assert main(["verify", "--deep", "--root", str(root), "--data", str(root)]) == 2
    assert "--deep needs the ID of a number, and --data" in capsys.readouterr().err

"""A grid of parameters."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from medsr_lib.data import source
from medsr_lib.series import cli, report, run, sweep
from medsr_lib.series import notebook as notebooks
from medsr_lib.series.report import Result, Run, Status

CODE = """from pathlib import Path
from medsr_lib.series import report
if scale == 8:
    raise ValueError("too much")
folder = Path(out_dir) / "02_b"
folder.mkdir(exist_ok=True)
_ = report.record(folder, {"gain_psnr": scale / 2,
    "primary": {"value": rate, "low": 0.0, "high": 1.0}})"""


@pytest.fixture
def asked(series, monkeypatch):
    """A series with notebooks 02 and 04, of which a stand-in for `run.run` notes each run."""
    series.add("02_b", CODE)
    series.add("04_d")
    calls = []

    def ran(names, *, data, out, parameters, folder, **_):
        calls.append((out.name, names, parameters))
        results = []
        for notebook in notebooks.find(names, folder):
            places = {"data_dir": str(data[0].resolve()), "out_dir": str(out)}
            about = {"parameters": notebook.defaults | parameters | places, "seconds": 1.5}
            about |= {"digest": notebook.digest, "content": source.content(data[0])}
            if parameters.get("scale") == 8:
                error = {"error": "ValueError: too much", "cell": 2}
                results.append(Result(notebook.name, Status.FAILED, **about, **error))
                break
            report.record(out / notebook.name, {"gain_psnr": float(parameters["scale"])})
            record = report.load_record(out / notebook.name)
            results.append(Result(notebook.name, Status.DONE, **about, record=record))
        report.write_run(Run(out, results))
        return results

    monkeypatch.setattr(run, "run", ran)
    series.calls = calls
    return series


def swept(series, *assignments, names=("02",), **options):
    """How each combination ended."""
    places = {"data": [series.data], "out": series.root / "grid", "folder": series.folder}
    points = sweep.sweep(names, sweep.grid(assignments), **places, **options)
    return [point.status for point in points]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("scale=2,3,4", [2, 3, 4]),
        ("rate=1e-3", [0.001]),
        ("degradation=bicubic,kspace", ["bicubic", "kspace"]),
        ("limit=null, 5", [None, 5]),
        ("out=a #1,b: c", ["a #1", "b: c"]),
        ("sizes=[4, 8]", [[4, 8]]),
        ("sizes=[4, 8],[6]", [[4, 8], [6]]),
        ('name="a, b",c', ["a, b", "c"]),
    ],
)
def test_values_are_split_at_commas(text, values):
    assert [next(iter(point.values())) for point in sweep.grid([text])] == values


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["scale"], "'scale' is not name=value"),
        (["scale="], "scale has no value"),
        (["scale=2,2"], "scale has a value twice"),
        (["scale=2", "scale=3"], "scale is given twice"),
        (["scale=[2"], "cannot be read"),
    ],
)
def test_what_is_no_grid_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        sweep.grid(texts)


def test_folders_have_readable_names():
    assert sweep.folder_name({"sizes": [4, 8], "rate": 0.5}) == "sizes=4-8_rate=0.5"
    assert sweep.folder_name({"path": "a/../b c"}) == "path=a-..-b-c"
    names = {sweep.folder_name({"text": "x" * 90 + str(n)}) for n in range(2)}
    assert len(names) == 2
    assert max(map(len, names)) <= 80


def test_wrong_values_are_refused_before_anything_runs(asked):
    with pytest.raises(ValueError, match="scale is int"):
        swept(asked, "scale=2,x")
    assert not asked.calls


def test_two_combinations_do_not_share_a_folder(asked):
    asked.add("05_e", parameters='data_dir = "x"\nout_dir = "y"\nname = "z"')
    with pytest.raises(ValueError, match="two combinations would have the folder name=a-b"):
        swept(asked, "name=a/b,a-b", names=("05",))
    assert not asked.calls


def test_every_combination_is_a_run_of_its_own(asked):
    assert swept(asked, "scale=2,3", "rate=0.1,0.2") == ["done"] * 4
    assert [name for name, *_ in asked.calls] == [
        "scale=2_rate=0.1",
        "scale=2_rate=0.2",
        "scale=3_rate=0.1",
        "scale=3_rate=0.2",
    ]


def test_the_page_has_a_column_for_what_differs_and_a_line_for_the_rest(asked):
    swept(asked, "scale=2,4", "rate=0.5")
    text = (asked.root / "grid" / "index.html").read_text()
    assert "<h1>Sweep: scale</h1>" in text
    assert "<code>rate = 0.5</code>" in text
    assert '<th scope="col" class="left">rate</th>' not in text


def test_what_is_done_is_not_run_again(asked):
    assert swept(asked, "scale=2,3") == ["done", "done"]
    assert swept(asked, "scale=2,3,4") == ["skipped", "skipped", "done"]
    asked.add("02_b", CODE + "\n1")
    assert swept(asked, "scale=2") == ["done"]
    assert len(asked.calls) == 4


def test_replaced_images_are_run_again_and_it_is_said_why(asked):
    image = Image.new("L", (8, 8))
    image.save(asked.data / "a.png")
    said = []
    for _ in range(2):
        swept(asked, "scale=2", log=said.append)
    Image.new("L", (8, 9)).save(asked.data / "a.png")
    assert swept(asked, "scale=2", log=said.append) == ["done"]
    asked.add("02_b", CODE + "\n1")
    swept(asked, "scale=2", log=said.append)
    assert [line.partition("  ")[2].partition("  ")[2] for line in said] == [
        "",
        "skipped, was done before",
        "02_b runs again: changed data",
        "02_b runs again: changed code",
    ]


def test_only_what_is_missing_of_a_combination_is_run(asked):
    swept(asked, "scale=2")
    swept(asked, "scale=2", names=("02", "04"))
    assert [names for _, names, _ in asked.calls] == [["02_b"], ["04_d"]]


def test_results_of_another_version_or_none_are_run_again(asked):
    swept(asked, "scale=2,3")
    first, second = sorted((asked.root / "grid").glob("*/02_b/results.json"))
    content = json.loads(first.read_text())
    content["versions"]["medsr_lib"] = "0.0.1"
    first.write_text(json.dumps(content))
    second.unlink()
    assert swept(asked, "scale=2,3") == ["done", "done"]


def test_a_failure_is_noted_and_the_next_one_begins(asked, capsys):
    arguments = ["sweep", "02", "-p", "scale=2,8,3", "--notebooks", str(asked.folder)]
    arguments += ["--data", str(asked.data), "--out", str(asked.root / "grid")]
    assert cli.main(arguments) == 1
    out, err = capsys.readouterr()
    assert "scale = 8: 02_b  failed in cell 2 after 1.5 s: ValueError: too much" in err
    table, index = out.split()
    rows = list(csv.DictReader(Path(table).read_text().splitlines()))
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert [row["02 gain_psnr"] for row in rows] == ["2.0", "", "3.0"]
    text = Path(index).read_text(encoding="utf-8")
    assert 'href="scale%3D2/index.html"' in text
    assert "What failed" in text
    assert cli.main(arguments) == 1
    assert "scale = 2  skipped, was done before" in capsys.readouterr().err


def test_ctrl_c_leaves_the_table_of_what_is_done(asked, monkeypatch):
    ran = run.run

    def stopped(*arguments, **options):
        if options["parameters"]["scale"] == 3:
            raise KeyboardInterrupt
        return ran(*arguments, **options)

    monkeypatch.setattr(run, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        swept(asked, "scale=2,3")
    lines = (asked.root / "grid" / "sweep.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["done", "not run"]


def test_a_real_run_of_a_grid(series):
    series.add("02_b", CODE)
    assert swept(series, "scale=8,2", "rate=0.5") == ["failed", "done"]
    row = (series.root / "grid" / "sweep.csv").read_text().splitlines()[2]
    assert row.startswith("2,0.5,done,")
    assert row.endswith(",scale=2_rate=0.5,,0.5,0.0,1.0,1.0")
    assert swept(series, "scale=2", "rate=0.5") == ["skipped"]

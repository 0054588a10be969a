"""The sha256 of what a run is given, and the RO-Crate beside it, as `rocrate` reads it."""

import json

import pytest

from medsr_lib.data import source
from medsr_lib.files import sha256
from medsr_lib.series import report
from medsr_lib.series.running import crate

WORK = """from pathlib import Path
from medsr_lib.series import report
(Path(out_dir) / "01_a" / "rows.csv").write_text("id")
_ = report.record(Path(out_dir) / "01_a", {"slices": 7})"""


def test_a_run_leaves_a_crate_that_names_what_went_in_and_what_came_out(series):
    rocrate = pytest.importorskip("rocrate.rocrate")
    series.add("01_a", WORK)
    (result,) = series.run(parameters={"scale": 2})
    read = rocrate.ROCrate(series.out)
    (action,) = read.get_by_type("CreateAction")
    run = report.read_run(series.out)
    assert action["description"] == run.command
    assert {one["name"]: one["softwareVersion"] for one in action["instrument"]} == run.versions
    given = {one["name"]: one for one in action["object"]}
    assert given["01_a.scale"]["value"] == "2"
    assert given[str(series.data)]["sha256"] == run.inputs[str(series.data)]
    made = {one.id: one for one in action["result"]}
    assert set(made) == {"01_a.ipynb", "01_a/rows.csv", "01_a/results.json"}
    assert made["01_a/rows.csv"]["sha256"] == sha256(series.out / "01_a/rows.csv")
    assert result.status == "done"


def test_without_rocrate_a_run_is_recorded_all_the_same(series, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rocrate.rocrate", None)
    series.add("01_a", WORK)
    series.run()
    assert not (series.out / crate.NAME).exists()
    assert json.loads((series.out / report.RUN).read_text())["inputs"]


def test_networks_are_inputs_if_they_are_named_or_of_another_notebook(tmp_path, series):
    for place in ("02_a/a.pt", "02_a/a_checkpoint.pt", "03_b/b.pt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(place)
    other = tmp_path / "other.onnx"
    other.write_text("x")
    code = tmp_path / "code.py"
    code.write_text("y")
    asked = [f"mine={other}+consistent", f"theirs={code}:restore", "bicubic", "\0"]
    found = crate.of_files(["03_b"], tmp_path, {"methods": asked, "scale": 4, "primary": "mine"})
    assert set(found) == {str(other), str(code), str(tmp_path / "02_a/a.pt")}
    assert found[str(other)] == sha256(other)
    data = crate.of_data([series.data, tmp_path / "missing"], source.DEFAULTS)
    assert data == {str(series.data): source.content(series.data, whole=True)}

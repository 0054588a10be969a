"""What runs leave: `results.json` of each notebook, `run.json` of all."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.series import report
from medsr_lib.series.report import Result, Run, Status, load_record, record

RUN = (
    '{{"format": "medsr run 1", "notebooks": [{{"notebook": "01_a", "status": "done", "{}": {}}}]}}'
)


@dataclass(frozen=True)
class Estimate:
    value: float
    patients: int


def recorded(folder, **values):
    return json.loads(record(folder, values).read_text(encoding="utf-8"))["values"]


def test_a_record_says_where_it_comes_from(tmp_path):
    path = record(tmp_path / "02_espcn", {"psnr": 30.5})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "02_espcn" / "results.json"
    assert content["notebook"] == "02_espcn"
    known = {"python", "medsr_lib", "torch", "numpy", "scikit-image", "processor", "threads"}
    assert set(content["versions"]) - {"commit", "gpu"} == known
    assert content["created"][10] == "T"
    assert load_record(tmp_path / "02_espcn") == content


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([1, 2]), [1, 2]),
        (float("nan"), None),
        (np.nan, None),
        (torch.tensor([1.0, float("nan")]), [1.0, None]),
        (float("inf"), "inf"),
        (-np.inf, "-inf"),
        (pd.NA, None),
        (pd.NaT, None),
        (Estimate(0.5, 24), {"value": 0.5, "patients": 24}),
        (Path("a") / "b", "a/b"),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
        (pd.Series({"a": 1, "b": np.nan}), {"a": 1.0, "b": None}),
        ({4: (1, None)}, {"4": [1, None]}),
    ],
)
def test_values_become_json(tmp_path, value, plain):
    assert recorded(tmp_path, x=value)["x"] == plain


def test_tables_become_rows(tmp_path):
    table = pd.DataFrame({"region": ["tumour", "normal"], "ssim": [0.9, np.nan]})
    assert recorded(tmp_path, t=table)["t"] == [
        {"region": "tumour", "ssim": 0.9},
        {"region": "normal", "ssim": None},
    ]


def test_a_named_index_and_two_rows_of_headings_are_kept(tmp_path):
    table = pd.DataFrame({"m": ["a", "a", "b"], "ssim": [0.1, 0.3, 0.5]})
    grouped = table.groupby("m").agg({"ssim": ["mean", "count"]})
    assert recorded(tmp_path, t=grouped)["t"][0] == {"m": "a", "ssim mean": 0.2, "ssim count": 2}


def test_what_json_has_no_form_for_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"\['a'\]\['b'\] is a function, which JSON has no form"):
        record(tmp_path, {"a": {"b": recorded}})


def test_a_figure_that_was_not_saved(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(FileNotFoundError, match=r"has no b\.png; save the figure first"):
        record(tmp_path, {}, {"a.png": "there", "b.png": "not there"})


def test_a_failed_record_leaves_the_former_one(tmp_path, monkeypatch):
    record(tmp_path, {"a": 1})
    with pytest.raises(TypeError):
        record(tmp_path, {"a": object()})
    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="full"):
        record(tmp_path, {"a": 2})
    assert load_record(tmp_path)["values"] == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def full_disk(*_):
    raise OSError("disk full")


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff", "[" * 100_000, "9" * 5000])
def test_a_broken_record_is_no_record_and_it_is_said(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content.encode("latin-1"))
    notes = []
    assert load_record(tmp_path, notes) is None
    assert re.match(r".*results\.json is damaged: not ", notes[0])
    assert load_record(tmp_path / "none", notes) is None
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("created", 3, "created cannot be 3"),
        ("versions", {"torch": 2}, "versions.torch cannot be 2"),
        ("figures", [{"file": "a.png"}], r"figures\[0\].caption cannot be None"),
        ("values", [], "values cannot be list"),
        ("headlines", [1], "values.headlines cannot be list"),
        ("methods", {"ESPCN": 1}, "values.methods.ESPCN cannot be 1"),
        ("table", [{"method": 1}], r"values.table\[0\].method cannot be 1"),
        ("verdicts", [{"method": "a", "value": "x"}], r"values.verdicts\[0\].value cannot be 'x'"),
        ("psnr", float("nan"), "values.psnr cannot be nan"),
        ("psnr", {"a": [10**400]}, r"values.psnr\['a'\]\[0\] cannot be 1000.* \.\.\."),
    ],
)
def test_what_a_record_cannot_hold_is_named_and_the_rest_kept(tmp_path, field, value, said):
    content = json.loads(record(tmp_path, {"slices": 7}).read_text())
    (content if field in content else content["values"])[field] = value
    (tmp_path / "results.json").write_text(json.dumps(content))
    notes = []
    found = load_record(tmp_path, notes)
    assert re.search(rf"results\.json is damaged: {said}$", notes[0])
    assert found.get("values", {"slices": 7}) == {"slices": 7}
    assert len(notes) == 1


def test_saved_values_are_json_for_any_program(tmp_path):
    table = pd.DataFrame({"method": ["ESPCN"], "value": [float("nan")]})
    path = report.save(tmp_path / "report.json", {"contrasts": table, "largest": float("inf")})
    found = json.loads(path.read_text())
    assert found == {"contrasts": [{"method": "ESPCN", "value": None}], "largest": "inf"}


def run_of(folder, *results, **about):
    """A run in a folder, written there and read again."""
    report.write_run(Run(folder, results, **about))
    return report.read_run(folder)


def test_a_run_is_read_as_it_was_written(tmp_path):
    record(tmp_path / "01_a", {"psnr": 30.5})
    (tmp_path / "01_a.html").touch()
    done = Result("01_a", Status.DONE, digest="d", parameters={"scale": 2}, changed=["scale"])
    failed = Result("02_b", Status.FAILED, error="ValueError: none", cell=3, seconds=1.5)
    about = {"command": "medsr run", "data": ["x"], "without": ["03_c"], "created": "2024"}
    found = run_of(tmp_path, done, failed, versions={"torch": "2"}, **about)
    first, second = found.results
    assert first.values == {"psnr": 30.5}
    assert (first.page, first.executed) == (tmp_path / "01_a.html", None)
    assert (first.status, first.parameters, first.changed) == ("done", {"scale": 2}, ["scale"])
    assert (second.status, second.error, second.cell, second.seconds) == (
        *("failed", failed.error, 3, 1.5),
    )
    assert {name: getattr(found, name) for name in about} == about
    assert found.versions == {"torch": "2"}


def test_earlier_results_are_those_that_were_finished(tmp_path):
    statuses = {"01_a": Status.DONE, "02_b": Status.FAILED, "03_c": Status.STOPPED}
    for name in statuses:
        record(tmp_path / name, {})
    run_of(tmp_path, *(Result(name, status) for name, status in statuses.items()))
    (earlier,) = report.earlier(tmp_path)
    assert (earlier.notebook, earlier.status) == ("01_a", Status.EARLIER)


def test_results_without_a_run_are_found_by_their_folders(tmp_path):
    assert report.earlier(tmp_path / "new") == []
    record(tmp_path / "01_a", {"psnr": 30.5})
    assert report.read_run(tmp_path).results[0].values == {"psnr": 30.5}
    (tmp_path / "run.json").write_text("{")
    assert [result.notebook for result in report.earlier(tmp_path)] == ["01_a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"is not the folder of a run: no run\.json in it"),
        ("{", r"run\.json: damaged"),
        ("[]", r"run\.json: damaged.* \(not named values, but list\)"),
        ("{}", r"of another version \(its format is None, expected 'medsr run 1'"),
        (RUN.format("seconds", '"x"'), r"run\.json: .* \(notebooks\[0\].seconds cannot be 'x'\)"),
        (RUN.format("changed", '["a"]'), "01_a: no parameter 'a', though it was changed"),
        (RUN.format("notebook", '"../b"'), "no notebook can be called '../b'"),
        (RUN.format("more", "1"), "unexpected keyword argument 'more'"),
        ('{"format": "medsr run 0"}', "its format is 'medsr run 0'"),
        ('{"format": "medsr run 1"}', r"run\.json: damaged.* \(notebooks cannot be None\)"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        report.read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        report.read_run(tmp_path / "none")


@pytest.mark.parametrize("where", ["clone", "elsewhere"])
def test_in_a_clone_a_run_names_the_commit(tmp_path, monkeypatch, where):
    package = tmp_path / "medsr_lib" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(report.medsr_lib, "__file__", str(package))
    if where == "clone":
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
            subprocess.run([*git, *words], check=True)
    report.commit.cache_clear()
    found = report.commit()
    report.commit.cache_clear()
    assert (re.fullmatch("[0-9a-f]{12}", found.get("commit", "")) is not None) == (where == "clone")

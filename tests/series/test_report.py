import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.series import report
from medsr_lib.series.report import Result, load_record, record
from medsr_lib.series.summary import index_page


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
    assert set(content["versions"]) == {"python", "medsr_lib", "torch", "numpy", "scikit-image"}
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
    with pytest.raises(TypeError, match=r"a\['b'\] is a function, which JSON has no form for"):
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


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_a_broken_record_is_no_record(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content.encode("latin-1"))
    assert load_record(tmp_path) is None


def page_of(tmp_path, *results, **options):
    return index_page(tmp_path, results, **options).read_text(encoding="utf-8")


def test_everything_in_the_index_is_escaped(tmp_path):
    nasty = "<script>alert('&')</script>"
    values = {nasty: nasty, "t": [{nasty: nasty}]}
    result = Result(
        "01_a",
        "failed",
        title=nasty,
        parameters={nasty: nasty},
        changed=(nasty,),
        error=nasty,
        cell=1,
        source=nasty,
        page=tmp_path / 'a"b.html',
        record={"values": values, "figures": [{"file": 'x".png', "caption": nasty + '"'}]},
    )
    page = page_of(tmp_path, result, title=nasty, data=nasty, command=nasty)
    assert "<script" not in page
    assert "a%22b.html" in page
    assert 'src="01_a/x%22.png"' in page


def test_long_tables_and_lists_are_cut(tmp_path):
    values = {"t": [{"n": n} for n in range(50)], "list": list(range(50))}
    page = page_of(tmp_path, Result("01_a", "done", record={"values": values}))
    assert "The first 24 of 50 rows." in page
    assert "11, … (50)" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (3064, "3064"),
        (0.123456, "0.1235"),
        ({"value": 0.5, "low": 0.25, "high": 0.75}, "0.50 (0.25 to 0.75)"),
        ({"value": 0.003659, "low": -0.0029, "high": 0.01019}, "0.004 (−0.003 to 0.010)"),
        ({"value": 132.6, "low": 98.4, "high": 171.0}, "133 (98 to 171)"),
        ({"value": 0.5, "low": float("nan"), "high": float("nan")}, "0.5 (nan to nan)"),
        ({"value": 1, "low": 0, "high": 2, "p": 0.03}, "1.0 (0.0 to 2.0), p = 0.03"),
    ],
)
def test_single_values(tmp_path, value, text):
    page = page_of(tmp_path, Result("01_a", "done", record={"values": {"x": value}}))
    assert f"<td>{text}</td>" in page


def test_a_column_has_the_same_number_of_decimals(tmp_path):
    rows = [{"psnr": 31.2345, "p": 0.5, "n": 3}, {"psnr": 30.0, "p": 1e-7, "n": None}]
    page = page_of(tmp_path, Result("01_a", "done", record={"values": {"t": rows}}))
    assert "<tr><td>31.23</td><td>0.5</td><td>3</td></tr>" in page
    assert "<tr><td>30.00</td><td>&lt; 0.001</td><td>–</td></tr>" in page


def test_results_of_an_earlier_run_are_dated(tmp_path):
    old = {"values": {"n": 5}, "created": "2024-05-06T07:08:09+02:00"}
    page = page_of(tmp_path, Result("01_a", "not run", record=old))
    assert "These results are from an earlier run, 2024-05-06 07:08." in page
    assert "<span>n = 5</span>" in page


def test_a_page_of_a_folder_with_nothing(tmp_path):
    page = page_of(tmp_path)
    assert "0 of 0 notebooks done" in page
    assert report.versions()["medsr_lib"] in page


def test_saved_values_are_json_for_any_program(tmp_path):
    table = pd.DataFrame({"method": ["ESPCN"], "value": [float("nan")]})
    path = report.save(tmp_path / "report.json", {"contrasts": table, "largest": float("inf")})
    found = json.loads(path.read_text())
    assert found == {"contrasts": [{"method": "ESPCN", "value": None}], "largest": "inf"}

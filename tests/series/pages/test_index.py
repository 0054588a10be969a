"""The index of a run: recorded values as people read them."""

import pytest

from medsr_lib.series.pages import index
from medsr_lib.series.report import Result, Run, Status


def page_of(tmp_path, *results, **about):
    return index.write(Run(tmp_path, results, **about)).read_text(encoding="utf-8")


def page_with(tmp_path, **values):
    return page_of(tmp_path, Result("01_a", Status.DONE, record={"values": values}))


def test_everything_in_the_index_is_escaped(tmp_path):
    nasty = "<script>alert('&')</script>"
    values = {nasty: nasty, "t": [{nasty: nasty}]}
    result = Result(
        "01_a",
        Status.FAILED,
        title=nasty,
        parameters={nasty: nasty},
        changed=(nasty,),
        error=nasty,
        cell=1,
        source=nasty,
        page=tmp_path / 'a"b.html',
        record={"values": values, "figures": [{"file": 'x".png', "caption": nasty + '"'}]},
    )
    page = page_of(tmp_path, result, data=[nasty], without=[nasty], command=nasty)
    assert "<script" not in page
    assert "a%22b.html" in page
    assert 'src="01_a/x%22.png"' in page


def test_long_tables_and_lists_are_cut(tmp_path):
    values = {"t": [{"n": n} for n in range(50)], "list": list(range(50))}
    page = page_with(tmp_path, **values)
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
        ({"value": 0.5, "low": None, "high": None, "p": None}, "0.5"),
        ({"value": 1, "low": 0, "high": 2, "p": 0.03}, "1.0 (0.0 to 2.0), p = 0.03"),
    ],
)
def test_single_values(tmp_path, value, text):
    page = page_with(tmp_path, x=value)
    assert f"<td>{text}</td>" in page


def test_a_column_has_the_same_number_of_decimals(tmp_path):
    rows = [{"psnr": 31.2345, "p": 0.5, "n": 3}, {"psnr": 30.0, "p": 1e-7, "n": None}]
    page = page_with(tmp_path, t=rows)
    assert "<tr><td>31.23</td><td>0.5</td><td>3</td></tr>" in page
    assert "<tr><td>30.00</td><td>&lt; 0.001</td><td>–</td></tr>" in page


def test_results_of_an_earlier_run_are_dated(tmp_path):
    old = {"values": {"cases": 5}, "created": "2024-05-06T07:08:09+02:00"}
    page = page_of(tmp_path, Result("01_a", Status.WAITING, record=old))
    assert "These results are from an earlier run, 2024-05-06 07:08." in page
    assert "<span>5 cases</span>" in page


def test_a_page_of_a_folder_with_nothing(tmp_path):
    page = page_of(tmp_path)
    assert "0 of 0 notebooks done" in page


def test_a_name_too_long_for_a_folder_leaves_the_page_whole(tmp_path):
    where = {"data_dir": "9" * 5000}
    page = page_of(tmp_path, Result("01_a", Status.DONE, parameters=where))
    assert "1 of 1 notebooks done" in page

"""The index of a run: recorded values as people read them."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from medsr_lib.series import outputs
from medsr_lib.series.pages import index
from medsr_lib.series.report import Result, Run, Status


def verdict(words, method="A"):
    return {"words": words, "method": method, "metric": "ssim"}


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
    assert "<script>alert" not in page
    assert page.count("<script") == 1  # its own
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


def test_a_wide_table_is_cut_by_metric_and_says_once_what_is_the_same(tmp_path):
    same = {"baseline": "bicubic", "region": "tumour", "cases": 32, "patients": 16}
    numbers = {"p": 0.5, "skipped": 0}
    rows = [
        {"metric": metric, "method": method, "gain": gain, **same, **numbers}
        for metric, gain in (("ssim", 0.01), ("psnr", 1.5))
        for method in ("A", "B")
    ]
    page = page_with(tmp_path, gains=rows)
    for metric in ("SSIM", "PSNR"):
        text = f"metric {metric}, gain {{}}, baseline bicubic, region tumour, cases 32, patients 16"
        assert text.format("0.01" if metric == "SSIM" else "1.5") in page
    assert page.count('<tr><td class="left">A</td><td>0.5</td></tr>') == 2


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"answer": "SRGAN blurs."}, "SRGAN blurs."),
        ({"verdicts": [verdict("harms")]}, "By SSIM, worse than the baseline: A."),
        (
            {"verdicts": [verdict("harms", "A"), verdict("no harm shown", "B")]},
            "By SSIM, worse than the baseline: A; no harm shown, but a loss not ruled out: B.",
        ),
        ({"verdicts": [verdict("not enough data")] * 9}, "There is not enough data for an answer."),
    ],
)
def test_the_answer_is_one_sentence(tmp_path, values, answer):
    page = page_with(tmp_path, **values, headlines={"a": 1})
    assert f'<p class="answer">{answer}</p>' in page


def test_one_line_says_for_what_there_is_not_enough_data(tmp_path):
    page = page_with(tmp_path, verdicts=[verdict("not enough data")] * 9)
    assert page.count("Not enough data for") == 1
    assert "Not enough data for 9 of 9 verdicts. <a" in page
    page = page_with(tmp_path, verdicts=[verdict("not enough data"), verdict("harms", "B")])
    assert "Not enough data for 1 of 2 verdicts: A (SSIM). <a" in page


def test_three_numbers_begin_with_those_of_the_notebook_that_answers(tmp_path):
    estimate = {"value": 0.5, "low": 0.25, "high": 0.75, "patients": 7}
    first = {"headlines": {f"other {n}": estimate for n in range(4)}}
    second = {"headlines": {"chosen": estimate}, "verdicts": [verdict("harms")]}
    named = [("01_a", first), ("02_b", second)]
    results = [Result(name, Status.DONE, record={"values": of}) for name, of in named]
    page = page_of(tmp_path, *results)
    numbers = page[page.index("<dl") : page.index("</dl>")]
    assert numbers.index("Chosen<") < numbers.index("Other 0 (notebook") < numbers.index("Other 1")
    assert "Other 2" not in numbers
    assert "<strong>0.50</strong> <span>95 %: 0.25 to 0.75</span>" in numbers
    assert "n = 7 patients" in numbers


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_data_and_their_number_come_first(tmp_path, synthetic):
    data = tmp_path / "brain"
    data.mkdir()
    if synthetic:
        (data / "phantom.json").touch()
    record = {"values": {"slices": 4, "patients": 2}}
    about = {"data_dir": str(data)}
    page = page_of(tmp_path, Result("01_a", Status.DONE, record=record, parameters=about))
    header = page[page.index("<header") : page.index("</header")]
    assert "brain" in header
    assert "4 slices of 2 patients" in header
    assert ("SYNTHETIC" in header) == synthetic


@pytest.mark.parametrize("tagged", [True, False])
def test_three_figures_are_those_of_tagged_cells_else_the_first(tmp_path, tagged):
    names = [f"{n}.png" for n in range(5)]
    cells = [new_code_cell(f'fig.savefig(out / "{name}")') for name in names]
    cells[4].metadata.tags = ["key-figure"] if tagged else []
    executed = tmp_path / "01_a.ipynb"
    executed.write_text(outputs.text(new_notebook(cells=cells)), encoding="utf-8")
    figures = [{"file": name, "caption": name} for name in ("slide.png", *names)]
    record = {"values": {"slices": 4}, "figures": figures}
    page = page_of(tmp_path, Result("01_a", Status.DONE, record=record, executed=executed))
    shown = page[page.index('id="figures"') : page.index('id="notebooks"')]
    chosen = [name for name in ("slide.png", *names) if f'src="01_a/{name}"' in shown]
    assert chosen == (names[4:] if tagged else names[:3])
    assert 'src="01_a/slide.png"' in page[page.index('id="answer"') : page.index('id="figures"')]


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

"""Pages and comparisons of a run with damaged files: these are named, and the rest is shown."""

import json
import random

import pandas as pd
import pytest

from medsr_lib.series import compare, report
from medsr_lib.series.pages import index
from medsr_lib.series.report import Result, Run, Status

BAD = [
    *(None, True, -1, 1e308, 10**400, float("nan"), float("inf"), "", "x", "\0", "../x", "\ud800"),
    *(
        [],
        [1],
        [None],
        {},
        {"a": 1},
        [[[[[[[[[[[[[[1]]]]]]]]]]]]]],
        {"value": "x", "low": 1, "high": 2},
    ),
]
CELLS = ["", "nan", "inf", "-1", "1e308", "x", "9" * 400, '"', "\0"]
ESTIMATE = {"value": 0.1, "low": 0.05, "high": 0.2, "p": 0.01, "patients": 4}
VERDICT = {"method": "ESPCN", "metric": "ssim", "words": "harms", "margin": 0.1, "reason": "Worse."}
VALUES = {
    "cases": 8,
    "patients": 4,
    "headlines": {"gain": ESTIMATE},
    "verdicts": [VERDICT | ESTIMATE],
    "methods": {"ESPCN": {"what": "a network", "steps": 3}},
    "table": [{"method": "ESPCN", "region": "tumour", "seed": 0, "psnr": 30.5, "psnr_sd": 1.0}],
}


@pytest.fixture
def runs(tmp_path):
    """Two runs of one notebook, the first to be damaged."""
    for name, shift in (("a", 0.0), ("b", 0.5)):
        folder = tmp_path / name / "04_d"
        report.record(folder, VALUES)
        rows = [(f"{n}", f"P{n // 2}", m, "tumour", 9) for n in range(8) for m in ("ESPCN", "old")]
        table = pd.DataFrame(rows, columns=["id", "patient", "method", "region", "pixels"])
        table["psnr"] = 30 + shift * table.index.to_series() / 9
        table.to_csv(folder / "scores.csv", index=False)
        about = {"parameters": {"scale": 4, "data_dir": "/x"}, "changed": ["scale"], "digest": "d"}
        done = Result("04_d", Status.DONE, title="t", seconds=1.5, **about)
        report.write_run(Run(folder.parent, [done], data=["x"], versions={"torch": "2"}))
    return tmp_path / "a", tmp_path / "b"


def places(value, path=()):
    """The paths to all that is in a document."""
    inside = value.items() if isinstance(value, dict) else ()
    for key, one in enumerate(value) if isinstance(value, list) else inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def edited(document, rng):
    """A document with one thing dropped, replaced or moved down."""
    *path, key = rng.choice(list(places(document)))
    at = document
    for one in path:
        at = at[one]
    how = rng.randrange(5)
    if how == 0:
        del at[key]
    else:
        at[key] = [at[key]] if how == 1 else rng.choice(BAD)
    return document


@pytest.mark.parametrize("file", ["04_d/results.json", "run.json"])
def test_a_page_stands_and_a_comparison_names_the_damaged_file(runs, file):
    rng, path = random.Random(0), runs[0] / file
    good, stood = json.loads(path.read_text()), 0
    for _ in range(20):
        path.write_text(json.dumps(edited(json.loads(json.dumps(good)), rng)))
        index.write(Run(runs[0], report.earlier(runs[0])))
        try:
            compare.write(compare.compare(*runs, seed=0), runs[0] / "page.html")
            stood += 1
        except (ValueError, FileNotFoundError) as error:
            said = str(error)
            assert path.name in said or "no notebook that both" in said
    assert stood > 2


def test_scores_that_cannot_be_paired_are_noted(runs):
    rng, path = random.Random(0), runs[0] / "04_d" / "scores.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for _ in range(20):
        rows = [list(row) for row in lines]
        column, bad = rng.randrange(len(rows[0])), rng.choice(CELLS)
        for row in rng.choice([rows, rows[1:], [rows[0]], [rng.choice(rows)]]):
            row[column] = bad
        path.write_text("\n".join(",".join(row) for row in rows + rows[1 : rng.randrange(1, 3)]))
        (pair,) = compare.compare(*runs, seed=0).pairs
        assert pair.paired or pair.notes


def test_what_is_left_out_of_a_page_is_said_there(runs):
    path = runs[0] / "04_d" / "results.json"
    content = json.loads(path.read_text())
    content["values"]["verdicts"][0]["low"] = "x"
    path.write_text(json.dumps(content))
    page = index.write(Run(runs[0], report.earlier(runs[0]))).read_text()
    assert "values.verdicts[0].low cannot be &#39;x&#39;" in page
    assert "Gain" in page
    assert ">harms<" not in page
    assert "verdicts[0].low" in compare.compare(*runs, seed=0).pairs[0].notes[0]

"""Two runs side by side."""

import pandas as pd
import pytest
from PIL import Image

from medsr_lib.series import cli, compare, report
from medsr_lib.series.report import Result, Run, Status


def scores(shift=0.0, *, cases=range(8), fold=0, **extra):
    """Two cases of each patient; `shift` is added to the PSNR of the network."""
    return pd.DataFrame(
        {
            "id": str(n),
            "patient": f"P{n // 2}",
            "method": method,
            "region": region,
            "pixels": 100 + n + fold,
            "psnr": 30 + n / 10 + (method == "ESPCN") * (1 + shift * (1 + n / 10)),
            "ssim": 0.9,
            **extra,
        }
        for n in cases
        for method in ("bicubic", "ESPCN")
        for region in ("whole", "tumour")
    )


def made(folder, *, table=None, gain=1.5, parameters=None, digest="d", picture="a"):
    """A run of one notebook, as `run` leaves it."""
    own = folder / "02_espcn"
    own.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(own / f"{picture}.png")
    rows = [{"method": "ESPCN", "psnr": 30.0 + gain, "slices": 8}, {"method": "old", "psnr": 1.0}]
    values = {"cases": 8, "patients": 4, "gain_psnr": gain, "table": rows}
    report.record(own, values, {f"{picture}.png": f"Picture {picture}"})
    if table is not None:
        table.to_csv(own / "scores.csv", index=False)
    settings = {"data_dir": "/x/brain", "out_dir": "/y", "scale": 4} | (parameters or {})
    done = Result("02_espcn", Status.DONE, digest=digest, parameters=settings)
    report.write_run(Run(folder, [done]))
    return folder


def pair_of(*runs):
    """The one notebook of two runs, compared."""
    (pair,) = compare.compare(*runs, seed=0).pairs
    return pair


@pytest.fixture
def runs(tmp_path):
    """Two runs: the second has another scale, and a PSNR that is higher by 0.2 and more."""
    b = made(tmp_path / "b", table=scores(0.2), gain=1.75, parameters={"scale": 2}, picture="b")
    return made(tmp_path / "a", table=scores()), b


def test_parameters_and_values_that_differ(runs):
    pair = pair_of(*runs)
    assert pair.parameters == {"scale": (4, 2)}
    assert pair.headlines == [{"name": "gain_psnr", "A": 1.5, "B": 1.75, "B − A": 0.25}]
    row = {"method": "ESPCN", "of": "psnr", "A": 31.5, "B": 31.75, "B − A": 0.25}
    assert pair.tables == {"table": [row]}
    assert not pair.notes


def test_differences_are_taken_within_cases_and_over_patients(runs):
    pair = pair_of(*runs)
    assert [(row["region"], row["method"]) for row in pair.paired] == [
        ("whole", "ESPCN"),
        ("tumour", "ESPCN"),
    ]
    row = pair.paired[0]
    assert row["value"] == pytest.approx(0.2 * 1.35)
    assert row["low"] < row["value"] < row["high"]
    assert (row["metric"], row["patients"], row["cases"]) == ("psnr", 4, 8)


def test_cases_of_one_run_only_are_counted(tmp_path):
    a = made(tmp_path / "a", table=scores())
    b = made(tmp_path / "b", table=scores(0.2, cases=range(4, 12)))
    pair = pair_of(a, b)
    assert {row["cases"] for row in pair.paired} == {4}
    assert pair.notes == ["4 cases are in both, of 8 in A and 8 in B"]


def test_other_cases_with_the_same_numbers_are_not_paired(tmp_path):
    a = made(tmp_path / "a", table=scores())
    b = made(tmp_path / "b", table=scores(fold=50))
    pair = pair_of(a, b)
    assert not pair.paired
    assert pair.notes == ["the two runs have no case in common; nothing can be paired"]


def test_of_several_trainings_the_mean_is_compared(tmp_path):
    twice = pd.concat([scores(shift, seed=seed) for seed, shift in enumerate((0.1, 0.3))])
    a, b = made(tmp_path / "a", table=scores()), made(tmp_path / "b", table=twice)
    row = pair_of(a, b).paired[0]
    assert row["value"] == pytest.approx(0.2 * 1.35)
    assert (row["method"], row["cases"]) == ("ESPCN", 8)


def test_rows_of_several_conditions_are_kept_apart(tmp_path):
    def both(shift):
        return pd.concat([scores(shift, level=0.1), scores(2 * shift, level=0.2)])

    a, b = made(tmp_path / "a", table=both(0)), made(tmp_path / "b", table=both(0.1))
    pair = pair_of(a, b)
    values = {row["method"]: row["value"] for row in pair.paired}
    assert values["ESPCN, 0.2"] == pytest.approx(2 * values["ESPCN, 0.1"])


def test_the_code_of_a_notebook_may_differ(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", digest="e")
    pair = pair_of(a, b)
    assert pair.notes == ["the code of the notebook differs between the two runs"]


def test_the_page_holds_its_pictures(runs, capsys):
    assert cli.main(["compare", *map(str, runs)]) == 0
    path = runs[1].parent / "a-b.html"
    out, _ = capsys.readouterr()
    assert out.splitlines()[-1] == str(path)
    assert "scale: 4 | 2" in out
    assert "psnr, whole, ESPCN: B - A 0.27 (" in out
    text = path.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 2
    assert "No such figure in B." in text
    assert "B − A (95 % interval)" in text


def test_what_is_not_finished_is_said_and_the_rest_compared(runs):
    for folder, status in zip(runs, (Status.DONE, Status.FAILED)):
        known = report.read_run(folder)
        report.write_run(Run(folder, [*known.results, Result("03_srgan", status)]))
    assert compare.compare(*runs, seed=0).notes == ["03_srgan: has no results.json in a"]
    report.record(runs[0] / "03_srgan", {"cases": 8})
    found = compare.compare(*runs, seed=0)
    assert [pair.name for pair in found.pairs] == ["02_espcn"]
    assert found.notes == ["03_srgan: failed in b"]


def test_runs_with_nothing_in_common_are_refused(tmp_path, capsys):
    a = made(tmp_path / "a")
    report.record(tmp_path / "b" / "03_srgan", {})
    with pytest.raises(ValueError, match=r"no notebook that both.*\n  02_espcn: not in b\n  03_s"):
        compare.compare(a, tmp_path / "b", seed=0)
    assert cli.main(["compare", str(a), str(tmp_path / "c")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_scores_and_parameters_that_are_not_known_are_noted(tmp_path):
    a, b = made(tmp_path / "a", table=scores()), made(tmp_path / "b", table=scores())
    pd.DataFrame({"psnr": [1.0]}).to_csv(b / "02_espcn" / "scores.csv")
    (b / "run.json").unlink()
    unknown, unread = pair_of(a, b).notes
    assert unknown == "its parameters are not known in both runs"
    assert unread.startswith("scores.csv cannot be read: no column id, method, patient, pixels, ")


def test_pictures_are_packed_into_the_page(tmp_path):
    Image.new("RGB", (3000, 30), "red").save(tmp_path / "wide.png")
    address = compare._embedded(tmp_path / "wide.png")
    assert address.startswith("data:image/png;base64,")
    assert len(address) < 2000
    assert compare._embedded(tmp_path / "none.png") == ""

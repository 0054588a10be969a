"""Two runs side by side."""

import json

import pandas as pd
import pytest
from PIL import Image

from medsr_lib.series import cli, compare, manifest, report
from medsr_lib.series.report import Result


def scores(shift=0.0, *, slices=range(8), fold=0, **extra):
    """Two slices of each patient; `shift` is added to the PSNR of the network."""
    return pd.DataFrame(
        {
            "slice_id": str(n),
            "patient": f"P{n // 2}",
            "method": method,
            "region": region,
            "pixels": 100 + n + fold,
            "psnr": 30 + n / 10 + (method == "ESPCN") * (1 + shift * (1 + n / 10)),
            "ssim": 0.9,
            **extra,
        }
        for n in slices
        for method in ("bicubic", "ESPCN")
        for region in ("whole", "tumour")
    )


def made(folder, *, table=None, gain=1.5, parameters=None, digest="d", status="done", picture="a"):
    """A run of one notebook, as `run` leaves it."""
    own = folder / "02_espcn"
    own.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(own / f"{picture}.png")
    rows = [{"method": "ESPCN", "psnr": 30.0 + gain, "slices": 8}, {"method": "old", "psnr": 1.0}]
    values = {"slices": 8, "patients": 4, "gain_psnr": gain, "table": rows}
    report.record(own, values, {f"{picture}.png": f"Picture {picture}"})
    if table is not None:
        table.to_csv(own / "scores.csv", index=False)
    settings = {"data_dir": "/x/brain", "out_dir": "/y", "scale": 4} | (parameters or {})
    manifest.write(folder, [Result("02_espcn", status, digest=digest, parameters=settings)])
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two runs: the second has another scale, and a PSNR that is higher by 0.2 and more."""
    b = made(tmp_path / "b", table=scores(0.2), gain=1.75, parameters={"scale": 2}, picture="b")
    return made(tmp_path / "a", table=scores()), b


def test_parameters_and_values_that_differ(runs):
    (pair,) = compare.compare(*runs).pairs
    assert pair.parameters == {"scale": (4, 2)}
    assert pair.headlines == [{"name": "gain_psnr", "A": 1.5, "B": 1.75, "B − A": 0.25}]
    row = {"method": "ESPCN", "of": "psnr", "A": 31.5, "B": 31.75, "B − A": 0.25}
    assert pair.tables == {"table": [row]}
    assert not pair.notes


def test_differences_are_taken_within_slices_and_over_patients(runs):
    (pair,) = compare.compare(*runs).pairs
    assert [(row["region"], row["method"]) for row in pair.paired] == [
        ("whole", "ESPCN"),
        ("tumour", "ESPCN"),
    ]
    row = pair.paired[0]
    assert row["value"] == pytest.approx(0.2 * 1.35)
    assert row["low"] < row["value"] < row["high"]
    assert (row["metric"], row["patients"], row["slices"]) == ("psnr", 4, 8)


def test_slices_of_one_run_only_are_counted(tmp_path):
    a = made(tmp_path / "a", table=scores())
    b = made(tmp_path / "b", table=scores(0.2, slices=range(4, 12)))
    (pair,) = compare.compare(a, b).pairs
    assert {row["slices"] for row in pair.paired} == {4}
    assert pair.notes == ["4 slices are in both, of 8 in A and 8 in B"]


def test_other_slices_with_the_same_numbers_are_not_paired(tmp_path):
    a = made(tmp_path / "a", table=scores())
    b = made(tmp_path / "b", table=scores(fold=50))
    (pair,) = compare.compare(a, b).pairs
    assert not pair.paired
    assert pair.notes == ["the two runs have no slice in common; nothing can be paired"]


def test_rows_of_several_conditions_are_kept_apart(tmp_path):
    def both(shift):
        return pd.concat([scores(shift, level=0.1), scores(2 * shift, level=0.2)])

    a, b = made(tmp_path / "a", table=both(0)), made(tmp_path / "b", table=both(0.1))
    (pair,) = compare.compare(a, b).pairs
    values = {row["method"]: row["value"] for row in pair.paired}
    assert values["ESPCN, 0.2"] == pytest.approx(2 * values["ESPCN, 0.1"])


def test_the_code_of_a_notebook_may_differ(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", digest="e")
    (pair,) = compare.compare(a, b).pairs
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
    report.record(runs[0] / "03_srgan", {"slices": 8})
    results = list(manifest.read(runs[1]).results)
    manifest.write(runs[1], [*results, Result("03_srgan", "failed", error="no memory")])
    found = compare.compare(*runs)
    assert [pair.name for pair in found.pairs] == ["02_espcn"]
    manifest.write(runs[0], [*manifest.read(runs[0]).results, Result("03_srgan", "done")])
    assert compare.compare(*runs).notes == ["03_srgan: failed in b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"b is not the folder of a run: no run\.json in it"),
        ("{", r"run\.json: damaged"),
        ("[]", r"of another version: its format is None, expected 'medsr run 1'"),
        ('{"format": "medsr run 0"}', "its format is 'medsr run 0'"),
        ('{"format": "medsr run 1"}', r"run\.json: damaged \(KeyError\('notebooks'\) is missing"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, capsys, text, message):
    a = made(tmp_path / "a")
    (tmp_path / "b").mkdir()
    if text is not None:
        (tmp_path / "b" / "run.json").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compare.compare(a, tmp_path / "b")
    assert cli.main(["compare", str(a), str(tmp_path / "c")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_runs_with_nothing_in_common_are_refused(tmp_path):
    a = made(tmp_path / "a")
    report.record(tmp_path / "b" / "03_srgan", {})
    with pytest.raises(ValueError, match=r"no notebook that both.*\n  02_espcn: not in b\n  03_s"):
        compare.compare(a, tmp_path / "b")


def test_results_of_an_older_version_are_refused(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b")
    (b / "02_espcn" / "results.json").write_text(json.dumps({"psnr": 30}))
    with pytest.raises(ValueError, match=r"02_espcn: results.json in b is of an older version"):
        compare.compare(a, b)


def test_a_run_without_run_json_is_read_from_its_notebooks(ran, tmp_path):
    series, _ = ran
    other = made(tmp_path / "b")
    for name in ("01_first.ipynb", "01_first/results.json"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes((series.out / name).read_bytes())
    (other / "run.json").unlink()
    (pair,) = compare.compare(series.out, other).pairs
    assert pair.b.parameters["scale"] == 2
    assert not pair.parameters

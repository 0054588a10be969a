from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import statistics
from medsr_lib.show import explore


@pytest.fixture
def pictures(index, image, mask):
    return [
        SimpleNamespace(image=np.roll(image, i, 0), mask=mask, slice_id=str(i), tumour=t, patient=p)
        for i, p, t in index[["slice_id", "patient", "tumour"]].itertuples(index=False)
    ]


@pytest.fixture
def explorer(scores, pictures):
    made = explore.scores(scores, pictures)
    assert made.message == ""
    yield made
    made.close()


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("metric", "psnr"),
        ("region", "mirror"),
        ("baseline", "bicubic"),
        ("point", 3),
        ("zoom", False),
    ],
)
def test_every_control_changes_the_picture(explorer, control, value):
    before, sent = explorer.pixels, explorer.screen.value
    explorer.controls[control].value = value
    assert not np.array_equal(explorer.pixels, before)
    assert explorer.screen.value != sent
    assert explorer.message == ""


def test_methods_are_ticked(explorer):
    before = explorer.pixels
    explorer.ticks["bicubic"].value = False
    assert list(explorer.estimates) == ["ESPCN"]
    assert not np.array_equal(explorer.pixels, before)
    explorer.ticks["ESPCN"].value = False
    assert explorer.message == "nothing is ticked: tick a method"


def test_means_are_over_patients_and_the_interval_may_be_given(scores):
    interval = partial(statistics.bootstrap_interval, seed=0)
    made = explore.scores(scores, interval=interval)
    made.controls["metric"].value = "psnr"
    rows = scores[scores["region"].eq("tumour") & scores["method"].eq("ESPCN")]
    per_patient = rows.groupby("patient")["psnr"].mean().to_numpy()
    found = made.estimates["ESPCN"]
    assert found["mean"] == pytest.approx(per_patient.mean())
    assert (found["low"], found["high"]) == interval(per_patient)
    assert (found["patients"], found["slices"]) == (6, 12)


def test_gains_are_within_a_slice(explorer):
    explorer.controls["metric"].value = "psnr"
    explorer.controls["baseline"].value = "bicubic"
    np.testing.assert_allclose(explorer.values["ESPCN"], 1)
    explorer.controls["region"].value = "mirror"
    assert explorer.estimates["ESPCN"]["slices"] == 11


def test_a_point_leads_to_its_slice(explorer, scores):
    explorer.controls["metric"].value = "psnr"
    rows = scores[scores["region"].eq("tumour") & scores["method"].eq("ESPCN")]
    ordered = rows.sort_values("psnr")["slice_id"].astype(str).tolist()
    for place in (1, 7, 12):
        explorer.controls["point"].value = place
        assert explorer.point == ordered[place - 1]
        assert f"slice {explorer.point}, patient" in explorer.notes.value


def test_a_slice_that_is_not_there_is_said_in_its_place(scores, pictures):
    made = explore.scores(scores, pictures[:2])
    made.controls["point"].value = 12
    assert made.message == ""
    assert explore.scores(scores, pictures).pixels.shape[1] > explore.scores(scores).pixels.shape[1]


def test_a_file_is_read_with_its_names_as_text(scores, tmp_path):
    scores.assign(patient=scores["patient"].str.replace("p", "0")).to_csv(tmp_path / "s.csv")
    made = explore.scores(tmp_path / "s.csv")
    assert made.values.index[0] == ("00", "0")


def test_scales_are_kept_apart(scores):
    both = pd.concat([scores, scores.assign(scale=2, ssim=scores["ssim"] / 2)])
    made = explore.scores(both)
    assert made.controls["setting"].options == ("bicubic ×4", "bicubic ×2")
    before = made.estimates["ESPCN"]["mean"]
    made.controls["setting"].value = "bicubic ×2"
    assert made.estimates["ESPCN"]["mean"] == pytest.approx(before / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "nowhere/scores.csv", "no such file"),
        (lambda t: None, "None: no such file"),
        (lambda t: t.iloc[:0], "the table has no rows"),
        (lambda t: t.drop(columns="region"), "lacks the columns ['region']"),
        (lambda t: pd.concat([t, t]), "stands in the table twice"),
        (lambda t: t.drop(columns=["psnr", "ssim", "mse"]), "no metric"),
    ],
)
def test_what_is_no_score_table_is_said_in_place(scores, change, message):
    made = explore.scores(change(scores))
    assert message in made.message
    assert "image/png" in made._repr_mimebundle_()


def test_a_region_that_was_never_measured_is_said(scores):
    scores.loc[scores["region"].eq("mirror"), "psnr"] = np.nan
    made = explore.scores(scores)
    made.controls["region"].value = "mirror"
    made.controls["metric"].value = "psnr"
    assert "psnr was not measured in mirror" in made.message
    made.controls["region"].value = "tumour"
    assert made.message == ""


def test_a_table_that_is_still_being_written_is_read_to_its_last_whole_line(scores, tmp_path):
    path = tmp_path / "scores.csv"
    scores.to_csv(path, index=False)
    whole = explore.scores(path).values
    path.write_text(path.read_text() + "12,p6,glioma,2,ESP")
    made = explore.scores(path)
    assert "its last line has no end and is left out" in made.message
    pd.testing.assert_frame_equal(made.values, whole)
    made.controls["point"].value = 2
    assert "its last line has no end" in made.message
    assert not made.refused

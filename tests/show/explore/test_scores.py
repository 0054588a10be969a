from functools import partial

import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import statistics
from medsr_lib.show import explore


@pytest.fixture
def explorer(scores, pictures):
    made = explore.scores(scores, pictures)
    made.controls["metric"].value = "psnr"
    assert made.message == ""
    yield made
    made.close()


@pytest.fixture
def rows(scores):
    """The PSNR of ESPCN in the tumour."""
    return scores[scores["region"].eq("tumour") & scores["method"].eq("ESPCN")]


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("metric", "ssim"),
        ("region", "mirror"),
        ("baseline", "bicubic"),
        ("point", 3),
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


def test_means_are_over_patients_and_the_interval_may_be_given(scores, rows):
    interval = partial(statistics.bootstrap_interval, seed=0)
    made = explore.scores(scores, interval=interval)
    made.controls["metric"].value = "psnr"
    per_patient = rows.groupby("patient")["psnr"].mean().to_numpy()
    low, high = interval(per_patient)
    expected = {"low": low, "high": high, "patients": 6, "cases": 12}
    assert made.estimates["ESPCN"] == {"mean": pytest.approx(per_patient.mean()), **expected}


def test_the_interval_is_students_by_default(explorer, rows):
    from scipy import stats

    per_patient = rows.groupby("patient")["psnr"].mean()
    expected = stats.ttest_1samp(per_patient, 0).confidence_interval()
    found = explorer.estimates["ESPCN"]
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected))


def test_differences_are_within_an_image(explorer):
    explorer.controls["baseline"].value = "bicubic"
    np.testing.assert_allclose(explorer.values["ESPCN"], 1)
    explorer.controls["region"].value = "mirror"
    assert explorer.estimates["ESPCN"]["cases"] == 11


def test_a_point_leads_to_its_image(explorer, rows):
    ordered = rows.sort_values("psnr")["id"].tolist()
    for place in (1, 7, 12):
        explorer.controls["point"].value = place
        assert explorer.point == ordered[place - 1]
        assert f"image {explorer.point}, patient" in explorer.notes.value
        assert explorer.scene.title.startswith(f"image {explorer.point}, ")


def test_an_image_that_is_not_there_is_said_in_its_place(scores, pictures):
    made = explore.scores(scores, pictures[:2])
    assert made.message == "image 5 is not among those given"
    made.controls["point"].value = 1
    assert (made.message, made.scene.title) == ("", "image 0, glioma")
    assert explore.scores(scores).scene is None


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


def test_trainings_are_kept_apart(scores):
    made = explore.scores(pd.concat([scores.assign(seed=seed) for seed in (0, 1)]))
    assert made.controls["setting"].options == ("bicubic ×4, seed 0", "bicubic ×4, seed 1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "nowhere/scores.csv", "no such file"),
        (lambda t: None, "None: no such file"),
        (lambda t: t.iloc[:0], "the table has no rows"),
        (lambda t: t.drop(columns="region"), "lacks the columns ['region']"),
        (lambda t: pd.concat([t, t]), "image 0 is in the table twice"),
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
    pd.testing.assert_frame_equal(made.values, whole)
    made.controls["point"].value = 2
    assert "its last line has no end and is left out" in made.message


def test_a_method_without_values_has_no_ring(scores):
    scores.loc[scores["method"].eq("bicubic"), "psnr"] = np.nan
    made = explore.scores(scores)
    made.controls["metric"].value = "psnr"
    assert made.message == ""

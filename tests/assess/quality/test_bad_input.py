"""What becomes of bad input: an error that names slice and method, or NaN that is counted."""

from dataclasses import replace
from functools import partial
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.assess.fidelity.review import review
from medsr_lib.assess.quality.measures import FURTHER
from medsr_lib.assess.quality.regions import NAMES, regions
from medsr_lib.assess.quality.score import METRICS, score, summary
from medsr_lib.assess.statistics.contrasts import (
    Contrast,
    contrasts,
    paired_difference,
    slice_differences,
)
from medsr_lib.assess.statistics.noninferiority import verdict
from medsr_lib.restore import degrade, resample

enlarge = partial(resample.bicubic, scale=2)
nearest = partial(resample.nearest, scale=2)
settings = {"degrade": degrade.by_name("bicubic", scale=2), "scale": 2, "progress": False}
scoring = partial(score, **settings)
reviewing = partial(review, upsample=enlarge, **settings)
BOTH = pytest.mark.parametrize("table_of", [scoring, reviewing], ids=["score", "review"])
GAIN = {"metric": "ssim", "method": "bicubic", "baseline": "nearest", "region": "tumour"}


def masked(tumour_slice, *box):
    """The slice with a tumour that fills a box."""
    mask = torch.zeros_like(tumour_slice.mask)
    mask[box] = True
    return replace(tumour_slice, mask=mask)


def of(table, region):
    return table[table["region"] == region].iloc[0]


@pytest.fixture
def gain():
    """`gain(table, **changes)` -> the estimate of bicubic over nearest in the tumour."""

    def estimate(table, **changes):
        wanted = {"reference": None, "seed": 0, "resamples": 200} | GAIN | changes
        return paired_difference(table, **wanted)

    return estimate


@pytest.fixture
def table(slices):
    return scoring({"bicubic": enlarge, "nearest": nearest, "half": nearest}, slices)


@BOTH
def test_an_empty_mask_is_an_error(slices, table_of):
    slices[1] = masked(slices[1], slice(0, 0))
    with pytest.raises(ValueError, match="slice 2: mask is empty"):
        table_of({"bicubic": enlarge}, slices[:2])


@BOTH
def test_a_mask_of_another_size_is_an_error_even_if_cropping_would_hide_it(slices, table_of):
    slices[1] = replace(slices[1], image=slices[1].image[:63], mask=slices[1].mask[:62])
    with pytest.raises(ValueError, match=r"slice 2: image is \(63, 56\) and mask \(62, 56\)"):
        table_of({"bicubic": enlarge}, slices[:2])


@BOTH
@pytest.mark.parametrize(
    ("image", "error", "reason"),
    [
        (lambda x: x * torch.nan, ValueError, "holds NaN or infinite values"),
        (lambda x: x * 900, ValueError, r"expected values in \[0, 1\], got"),
        (lambda x: (x * 900).short(), TypeError, r"expected floating .* got torch\.int16"),
    ],
    ids=["NaN", "raw", "int16"],
)
def test_a_bad_image_is_an_error(slices, table_of, image, error, reason):
    slices[1] = replace(slices[1], image=image(slices[1].image))
    with pytest.raises(error, match=f"slice 2: image: {reason}"):
        table_of({"bicubic": enlarge}, slices[:2])


@BOTH
def test_a_slice_smaller_than_the_window_of_ssim_is_an_error(slices, table_of):
    small = replace(slices[0], image=slices[0].image[20:31], mask=slices[0].mask[20:31])
    with pytest.raises(ValueError, match="slice 1: SSIM needs at least 11 x 11 pixels, got 10 x"):
        table_of({"bicubic": enlarge}, [small])


@BOTH
def test_a_slice_smaller_than_the_scale_is_an_error(slices, table_of):
    small = replace(slices[0], image=slices[0].image[:1], mask=slices[0].mask[:1])
    with pytest.raises(ValueError, match=r"slice 1: .* is smaller than scale 2"):
        table_of({"bicubic": enlarge}, [small])


@BOTH
@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        (lambda lr: lr, ValueError, r"s 1: SR is \(1, 1, 32, 28\), HR \(1, 1, 64, 56\); does"),
        (lambda lr: enlarge(lr) * torch.nan, ValueError, " 1: holds NaN or infinite values"),
        (lambda lr: enlarge(lr) - 0.5, ValueError, r" 1: expected values in \[0, 1\], got \[-0"),
        (lambda lr: enlarge(lr).numpy(), TypeError, "s 1: SR is ndarray; it must be a tensor"),
        (lambda lr: None, TypeError, "s 1: SR is NoneType"),
    ],
    ids=["size", "NaN", "range", "array", "nothing"],
)
def test_a_bad_method_is_an_error(slices, table_of, method, error, reason):
    with pytest.raises(error, match=f"method 'mine', slice{reason}"):
        table_of({"bicubic": enlarge, "mine": method}, slices[:1])


def test_a_mask_at_the_frame_is_measured(slices):
    corner = masked(slices[0], slice(0, 20), slice(0, 20))
    found = scoring({"bicubic": enlarge}, [corner], metrics=[*METRICS, "ssim_within"])
    assert of(found, "tumour")["pixels"] == 400
    assert of(found, "core")["pixels"] == 15 * 15  # the frame is no border of the tumour
    assert of(found, "tumour")[["psnr", "ssim", "ssim_within"]].notna().all()
    assert reviewing({"bicubic": enlarge}, [corner])["hfen"].notna().all()


def test_ssim_of_a_mask_too_small_without_the_outer_pixels_is_nan_and_counted(slices):
    edge = masked(slices[0], slice(0, 6), slice(5, 50))  # 270 pixels, 45 of them further inside
    found = scoring({"bicubic": enlarge}, [edge, slices[1]], metrics=FURTHER)
    tumour = of(found, "tumour")
    assert tumour["psnr"] > 0
    assert tumour[["ssim", *FURTHER]].isna().all()
    counts = summary(found).loc[("tumour", "bicubic")]
    assert (counts["slices"], counts["skipped"]) == (1, 1)


def test_half_the_head_leaves_no_place_for_matched(slices, gain):
    half = masked(slices[0], slice(None), slice(0, 28))
    found = scoring({"bicubic": enlarge, "nearest": nearest}, [half, *slices[1:4]])
    assert of(found, "matched")["pixels"] == 0
    assert of(found, "matched")[list(METRICS)].isna().all()
    assert of(found, "tumour")[list(METRICS)].notna().all()
    assert summary(found).loc[("matched", "bicubic"), "skipped"] == 1
    estimate = gain(found, reference="matched")
    assert (estimate.slices, estimate.skipped) == (3, 1)


def test_no_normal_tissue_is_nan_and_counted(slices):
    found = scoring({"bicubic": enlarge}, [masked(slices[0])])
    gone = found[found["region"].isin(["normal", "mirror", "matched", "rim", "air"])]
    assert (gone["pixels"] == 0).all()
    assert gone[list(METRICS)].isna().all(axis=None)
    assert (summary(found).loc[["normal", "mirror", "matched"], "skipped"] == 1).all()


def test_no_normal_tissue_is_nan_in_a_review_and_counted(slices):
    found = reviewing({"bicubic": enlarge}, [masked(slices[0]), slices[1]])
    matched = found[(found["region"] == "matched") & (found["slice_id"] == "1")]
    assert (matched["pixels"] == 0).all()
    assert matched[["hfen", "consistency", "improvement", "cnr_sr"]].isna().all(axis=None)
    spec = Contrast("hfen", "bicubic", "HR", "tumour", "matched")
    estimate = contrasts(found, [spec], seed=0, resamples=200)[spec]
    assert (estimate.slices, estimate.skipped) == (1, 1)


def test_a_constant_image_is_all_head_and_measured(slices):
    image = torch.full_like(slices[0].image, 0.5)
    found = regions(image, slices[0].mask)
    assert found["head"].all()
    assert not found["air"].any()
    flat = replace(slices[0], image=image)
    rows = scoring({"nearest": nearest}, [flat])
    assert of(rows, "tumour")["ssim"] == pytest.approx(1)
    assert of(rows, "air")[list(METRICS)].isna().all()
    seen = reviewing({"nearest": nearest}, [flat])
    assert seen["hfen"].isna().all()  # without detail in HR there is no share of it
    assert seen["brightness_shift"].abs().max() < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_regions_of_an_image_that_is_not_finite_are_an_error(slices, bad):
    image = slices[0].image.clone()
    image[3, 3] = bad
    with pytest.raises(ValueError, match="image holds NaN or infinite values"):
        regions(image, slices[0].mask, names=NAMES[:2])


def test_multi_scale_ssim_of_a_small_image_is_nan_and_counted(slices):
    found = scoring({"bicubic": enlarge}, slices[:2], metrics=["ms_ssim"])
    assert found["ms_ssim"].isna().all()
    counts = summary(found).loc[("whole", "bicubic")]
    assert counts[["slices", "skipped", "ms_ssim_skipped"]].tolist() == [2, 0, 2]


def test_one_patient_has_no_interval_and_no_verdict(table, gain):
    estimate = gain(table[table["patient"] == "MR000001"])
    assert (estimate.patients, estimate.slices) == (1, 4)
    assert np.isfinite(estimate.value)
    assert np.isnan([estimate.low, estimate.high, estimate.p]).all()
    for minimum in (1, 15):
        said = verdict(estimate, margin=0.01, method="a", metric="ssim", minimum=minimum)
        assert said.words == "not enough data"


def test_one_slice_per_patient_is_enough(table, gain):
    first = table[table["slice_id"].isin(["1", "3", "7", "9"])]
    estimate = gain(first)
    assert estimate.patients == estimate.slices == 4
    assert estimate.low < estimate.value < estimate.high


def lose(table, method, *slice_ids):
    return table[~((table["method"] == method) & table["slice_id"].isin(slice_ids))]


@pytest.mark.parametrize("methods", [["bicubic"], ["nearest"], ["bicubic", "nearest"]])
def test_slices_that_lack_a_method_are_counted(table, gain, methods):
    for method in methods:
        table = lose(table, method, "2", "9")
    estimate = gain(table)
    assert (estimate.slices, estimate.skipped) == (8, 2)
    assert slice_differences(table, **GAIN).isna().sum() == 2
    counts = summary(table).loc["tumour"]
    assert counts.loc["half", ["slices", "skipped"]].tolist() == [10, 0]
    assert counts.loc[methods, ["slices", "skipped"]].to_numpy().tolist() == [[8, 2]] * len(methods)


def test_slices_that_lack_a_region_are_counted(table, gain):
    lost = table[~((table["region"] == "matched") & (table["slice_id"] == "3"))]
    assert gain(lost, reference="matched").skipped == 1
    assert gain(lost).skipped == 0


def test_counts_of_lacking_slices_stay_within_a_tumour_type(table):
    counts = summary(lose(table, "bicubic", "1"), by=["tumour", "method", "region"])
    assert counts.loc[("meningioma", "bicubic", "rim"), "skipped"] == 1
    assert counts.loc[("glioma", "bicubic", "rim"), "skipped"] == 0


def test_a_table_read_back_from_csv_is_the_same(table, gain):
    again = pd.read_csv(StringIO(table.to_csv(index=False)), dtype={"slice_id": str})
    assert gain(again) == gain(table)
    pd.testing.assert_frame_equal(summary(again), summary(table))


def test_a_resumed_table_whose_slices_became_numbers_is_an_error(table, gain):
    early, late = (table[table["slice_id"].isin(ids)] for ids in (["1", "3"], ["7", "9"]))
    read_back = pd.read_csv(StringIO(early.to_csv(index=False)))
    with pytest.raises(ValueError, match="slice_id is missing in some rows, or a number in some"):
        gain(pd.concat([read_back, late]))


def test_rows_without_a_patient_are_an_error(table, gain):
    table.loc[table["slice_id"] == "2", "patient"] = None
    with pytest.raises(ValueError, match="patient is missing in some rows"):
        gain(table)


def test_a_method_without_any_row_where_it_is_needed(table, gain):
    other = table["region"] != "tumour"
    with pytest.raises(ValueError, match="no slice has ssim of bicubic and nearest in tumour"):
        gain(table[other | (table["method"] == "half")])


def test_two_methods_without_any_error_are_counted_as_skipped(table, gain):
    table.loc[table["slice_id"].isin(["1", "2"]), "psnr"] = np.inf
    assert gain(table, metric="psnr").skipped == 2

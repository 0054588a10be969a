from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.assess.quality import metrics
from medsr_lib.assess.quality.measures import FURTHER
from medsr_lib.assess.quality.regions import NAMES, regions
from medsr_lib.assess.quality.score import METRICS, score, summary
from medsr_lib.restore import degrade, resample
from medsr_lib.restore.networks.sr import ESPCN

COLUMNS = [
    "slice_id", "patient_id", "patient", "tumour", "fold", "method", "scale", "degradation",
    "region", "pixels", "psnr", "mse", "ssim",
]  # fmt: skip
shrink = degrade.by_name("bicubic", scale=4)
enlarge = partial(resample.bicubic, scale=4)
run = partial(score, degrade=shrink, scale=4, progress=False)


@pytest.fixture
def table(slices):
    return run({"bicubic": enlarge, "nearest": partial(resample.nearest, scale=4)}, slices)


def row(table, slice_id, method, region):
    at = table[["slice_id", "method", "region"]] == [slice_id, method, region]
    return table[at.all(axis=1)].squeeze()


def test_a_row_for_every_slice_method_and_region(table):
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 10 * 2 * len(NAMES)
    assert not table.duplicated(["slice_id", "method", "region"]).any()
    assert table["region"].head(len(NAMES)).tolist() == list(NAMES)
    assert table["method"].unique().tolist() == ["bicubic", "nearest"]
    assert set(table["scale"]) == {4}
    assert set(table["degradation"]) == {"bicubic"}


def test_rows_say_whose_slice_it_is(table):
    first, repeat = row(table, "1", "bicubic", "whole"), row(table, "5", "bicubic", "tumour")
    assert first[["patient_id", "patient", "tumour"]].tolist() == ["103414"] * 2 + ["meningioma"]
    assert repeat[["patient_id", "patient"]].tolist() == ["MR000001B", "MR000001"]
    assert repeat["pixels"] == 113


@pytest.mark.parametrize("region", ["tumour", "rim", "peritumoural", "head", "normal", "air"])
def test_values_equal_boolean_indexing_of_the_maps(table, slices, region):
    hr = slices[3].image[None, None]
    sr = enlarge(shrink(hr))
    m = regions(slices[3].image, slices[3].mask)[region]
    error = (sr - hr).double()[0, 0][m].square().mean().item()
    inside = m[5:-5, 5:-5]
    ssim = metrics.ssim_map(sr, hr, data_range=1.0)[0, 5:-5, 5:-5][inside].double().mean().item()
    found = row(table, "4", "bicubic", region)
    assert found["pixels"] == m.sum()
    assert found["mse"] == pytest.approx(error, abs=1e-6, rel=1e-6)
    assert found["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-5)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-6)


def test_whole_equals_the_global_metrics(table, slices):
    hr = torch.stack([s.image for s in slices])[:, None]
    sr = enlarge(shrink(hr))
    whole = table[(table["region"] == "whole") & (table["method"] == "bicubic")]
    for name in METRICS:
        expected = getattr(metrics, name)(sr, hr, data_range=1.0)
        np.testing.assert_allclose(whole[name], expected.numpy(), atol=1e-5)


def test_masking_first_would_flatter(table, slices):
    hr, mask = slices[0].image[None, None], slices[0].mask
    sr = enlarge(shrink(hr))
    masked_first = metrics.ssim(sr * mask, hr * mask, data_range=1.0).item()
    assert masked_first > row(table, "1", "bicubic", "tumour")["ssim"] + 0.05


def test_a_region_too_small_is_nan_and_counted(slices):
    slices[0] = replace(slices[0], mask=slices[0].mask & (torch.arange(56) < 33))
    table = run({"bicubic": enlarge}, slices, region_names=["tumour", "core"])
    small = row(table, "1", "bicubic", "tumour")
    assert small["pixels"] == slices[0].mask.sum() == 39
    assert small[list(METRICS)].isna().all()
    assert not table.query("region == 'tumour' and slice_id != '1'")["ssim"].isna().any()
    counts = summary(table)[["slices", "patients", "skipped"]]
    assert counts.loc[("tumour", "bicubic")].tolist() == [9, 4, 1]
    assert counts.loc[("core", "bicubic")].tolist() == [0, 0, 10]


def test_min_pixels_is_the_smallest_that_counts(slices):
    at = {n: run({"b": enlarge}, slices[:1], region_names=["tumour"], min_pixels=n)
          for n in (113, 114)}  # fmt: skip
    assert at[113]["psnr"].notna().all()
    assert at[114]["psnr"].isna().all()


def test_summary_by_hand(table):
    mine = table[(table["region"] == "rim") & (table["method"] == "nearest")]
    found = summary(table).loc[("rim", "nearest")]
    assert found["psnr"] == pytest.approx(mine["psnr"].mean())
    assert found["ssim_sd"] == pytest.approx(mine["ssim"].std())
    assert found[["slices", "patients", "skipped"]].tolist() == [10, 4, 0]
    by_tumour = summary(table, by=["tumour", "method", "region"])
    assert by_tumour.loc[("glioma", "bicubic", "whole"), "slices"] == 4


def difference(sr, hr):
    return (sr - hr)[:, 0]


def square(sr, hr):
    return difference(sr, hr).square()


def test_maps_are_averaged_over_the_regions(table, slices):
    maps = {"shift": difference, "again": square}
    found = run({"bicubic": enlarge}, slices, maps=maps)
    assert found.columns.tolist() == [*COLUMNS, "shift", "again"]
    pd.testing.assert_series_equal(found["again"], found["mse"], check_names=False)
    hr = slices[3].image[None, None]
    by_hand = (enlarge(shrink(hr)) - hr).double()[0, 0][slices[3].mask].mean().item()
    assert row(found, "4", "bicubic", "tumour")["shift"] == pytest.approx(by_hand, abs=1e-8)
    mine = table.query("method == 'bicubic'").reset_index(drop=True)
    pd.testing.assert_frame_equal(found[COLUMNS], mine)


def test_a_map_of_a_region_too_small_is_nan(slices):
    found = run({"b": enlarge}, slices[:1], maps={"shift": difference}, min_pixels=114)
    assert found["shift"].isna().tolist() == (found["pixels"] < 114).tolist()
    assert found["shift"].isna().any()


def test_summary_of_maps(slices):
    table = run({"b": enlarge}, slices, maps={"shift": difference})
    found, mine = summary(table.assign(seed=3)), table.query("region == 'rim'")
    assert found.columns.tolist() == [
        "psnr", "psnr_sd", "ssim", "ssim_sd", "mse", "mse_sd", "shift", "shift_sd",
        "slices", "patients", "skipped",
    ]  # fmt: skip
    for name in ("mse", "shift"):
        assert found.loc[("rim", "b"), name] == pytest.approx(mine[name].mean())
        assert found.loc[("rim", "b"), f"{name}_sd"] == pytest.approx(mine[name].std())


@pytest.mark.parametrize("names", [["mse"], ["ssim_sd"], ["skipped"], ["a", "a_sd"]])
def test_refuses_a_map_named_like_a_column(slices, names):
    with pytest.raises(ValueError, match=f"maps: '{names[-1]}' would be a column twice"):
        run({"b": enlarge}, slices, maps=dict.fromkeys(names, difference))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda sr, hr: sr, r"expected shape \(B, H, W\) = \(2, 64, 56\), got \(2, 1, 64, 56\)"),
        (lambda sr, hr: square(sr, hr).log().mul(0), "holds NaN or infinite values"),
    ],
)
def test_refuses_a_map_that_is_none(slices, function, reason):
    with pytest.raises(ValueError, match=f"map 'mine': {reason}"):
        run({"zero": lambda lr: enlarge(lr) * 0}, slices[:2], maps={"mine": function})


@pytest.fixture(scope="module")
def large():
    """The rows of one slice of 320 x 304 by region, its SR and HR, and its regions."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:320, :304]
    head = ((y - 160) / 140) ** 2 + ((x - 150) / 130) ** 2 < 1
    waves = 0.1 * np.sin(x / 3) * np.cos(y / 4)
    image = torch.from_numpy(head * (0.2 + 0.001 * x + waves) + 0.02 * rng.random(x.shape)).float()
    mask = torch.from_numpy((y - 150) ** 2 + (x - 110) ** 2 < 400)
    image[mask] += 0.3
    names = {"slice_id": "9", "patient_id": "p", "tumour": "glioma"}
    one = SimpleNamespace(image=image, mask=mask, **names)
    table = run({"bicubic": enlarge}, [one], metrics=(*METRICS, *FURTHER))
    hr = image[None, None]
    return table.set_index("region"), enlarge(shrink(hr)), hr, regions(image, mask)


def test_the_further_measures_stand_after_the_three(slices):
    found = run({"b": enlarge}, slices[:1], metrics=["ssim_within", "ssim", "structure"])
    assert found.columns.tolist() == [*COLUMNS, "ssim_within", "structure"]
    plain = run({"b": enlarge}, slices[:1])
    pd.testing.assert_frame_equal(found[COLUMNS], plain)


@pytest.mark.parametrize("name", ["luminance", "contrast", "structure"])
def test_parts_are_means_of_their_maps_without_the_border(large, name):
    table, sr, hr, found = large
    part = metrics.ssim_parts(sr, hr, data_range=1.0)[name][0].double()
    for region in NAMES:
        inside = found[region].clone()
        inside[:5], inside[-5:], inside[:, :5], inside[:, -5:] = (False,) * 4
        assert table.loc[region, name] == pytest.approx(part[inside].mean().item(), abs=1e-7)


def test_ms_ssim_is_that_of_each_region(large):
    table, sr, hr, found = large
    maps = metrics.ms_ssim_maps(sr, hr, data_range=1.0)
    for region in NAMES:
        expected = metrics.ms_ssim_within(maps, found[region]).item()
        assert table.loc[region, "ms_ssim"] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert table["ms_ssim"].between(0.2, 0.999).sum() >= 8
    whole = metrics.ms_ssim(sr, hr, data_range=1.0).item()
    assert table.loc["whole", "ms_ssim"] == pytest.approx(whole, abs=1e-6)


def test_ssim_within_is_that_of_each_region(large):
    table, sr, hr, found = large
    for region in NAMES:
        values = metrics.ssim_map_within(sr, hr, found[region], data_range=1.0)
        expected = values[0, 5:-5, 5:-5].double().nanmean().item()
        assert table.loc[region, "ssim_within"] == pytest.approx(expected, abs=1e-7)
    assert table.loc["whole", "ssim_within"] == pytest.approx(table.loc["whole", "ssim"], abs=1e-7)
    leaked = (table["ssim"] - table["ssim_within"]).abs()
    assert 5e-4 < leaked["tumour"] < 0.1


def test_further_measures_of_batches(slices):
    tables = [run({"b": enlarge}, slices[:3], metrics=FURTHER, batch=batch) for batch in (1, 3)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-6, atol=1e-7)


def test_summary_of_the_further_measures(slices):
    table = run({"b": enlarge}, slices, metrics=["contrast", "ms_ssim"])
    found, rim = summary(table).loc[("rim", "b")], table.query("region == 'rim'")
    assert found["contrast"] == pytest.approx(rim["contrast"].mean())
    assert (found["slices"], found["ms_ssim_skipped"]) == (10, 10)  # 64 x 56 pixels are too small
    assert "contrast_skipped" not in found


def test_refuses_metrics_that_do_not_exist(slices):
    with pytest.raises(ValueError, match="no metric 'lpips'; there are psnr, mse, ssim, luminance"):
        run({"b": enlarge}, slices, metrics=["ssim", "lpips"])


def test_refuses_a_map_named_like_a_metric_that_is_asked_for(slices):
    maps = {"contrast": difference}
    assert "contrast" in run({"b": enlarge}, slices[:1], maps=maps)
    with pytest.raises(ValueError, match="maps: 'contrast' would be a column twice"):
        run({"b": enlarge}, slices[:1], maps=maps, metrics=["contrast"])


def test_mixed_sizes_are_cropped_with_their_masks(slices):
    odd = replace(slices[0], image=slices[0].image[:62, :55], mask=slices[0].mask[:62, :55])
    table = run({"bicubic": enlarge}, [slices[1], odd, slices[2]])
    by_hand = odd.image[1:61, 1:53], odd.mask[1:61, 1:53]
    expected = run({"bicubic": enlarge}, [replace(odd, image=by_hand[0], mask=by_hand[1])])
    mixed = table[table["slice_id"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mixed, expected, atol=1e-6)


def test_batches_do_not_change_values(slices):
    tables = [run({"bicubic": enlarge}, slices, batch=batch) for batch in (1, 3, 8)]
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-6, atol=1e-7)
    pd.testing.assert_frame_equal(tables[0], tables[2], rtol=1e-6, atol=1e-7)


def test_takes_a_degradation_with_and_without_its_scale(slices):
    bound = run({"bicubic": enlarge}, slices[:2])
    loose = run({"bicubic": enlarge}, slices[:2], degrade=degrade.bicubic)
    named = run({"bicubic": enlarge}, slices[:2], degradation="bicubic x4 by name")
    pd.testing.assert_frame_equal(bound, loose)
    assert set(named["degradation"]) == {"bicubic x4 by name"}


def test_refuses_a_degradation_of_another_scale(slices):
    with pytest.raises(ValueError, match="degrade has scale 2, but score was asked for scale 4"):
        run({"bicubic": enlarge}, slices, degrade=degrade.by_name("blur", scale=2))


def test_a_network_is_put_into_evaluation_mode(slices):
    network = ESPCN(scale=4).train()
    table = run({"ESPCN": network}, slices[:1])
    assert not network.training
    assert table["psnr"].notna().any()


BAD = {
    "size": (partial(resample.nearest, scale=2), r"slices 1, 2: SR is \(2, 1, 32, 28\), HR"),
    "NaN": (lambda lr: enlarge(lr) * torch.nan, "slice 1: holds NaN"),
    "range": (lambda lr: 255 * enlarge(lr), r"slice 1: expected values in \[0, 1\], got"),
}


@pytest.mark.parametrize("kind", BAD)
def test_names_method_and_slice_of_a_bad_sr(slices, kind):
    method, reason = BAD[kind]
    with pytest.raises(ValueError, match=f"method 'mine', {reason}"):
        run({"bicubic": enlarge, "mine": method}, slices[:2])


def test_names_the_one_bad_slice_of_a_batch(slices):
    def spoil_the_second(lr):
        return enlarge(lr) + torch.tensor([0.0, 2.0, 0.0])[:, None, None, None]

    with pytest.raises(ValueError, match="method 'mine', slice 2: expected values"):
        run({"mine": spoil_the_second}, slices[:3])


def test_names_the_slice_without_a_tumour(slices):
    slices[1] = replace(slices[1], mask=torch.zeros_like(slices[1].mask))
    with pytest.raises(ValueError, match="slice 2: mask is empty"):
        run({"bicubic": enlarge}, slices)


def test_refuses_raw_slices(slices):
    with pytest.raises(ValueError, match=r"slice 1: image: expected values in \[0, 1\]"):
        run({"bicubic": enlarge}, [replace(slices[0], image=slices[0].image * 900)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"methods": {}}, "no methods to score"),
        ({"slices": []}, "no slices to score"),
        ({"region_names": ["tumour", "tumor"]}, r"no region 'tumor'; there are whole, tumour,"),
        ({"region_names": []}, r"no region"),
    ],
)
def test_refuses_arguments_that_do_not_exist(slices, change, reason):
    with pytest.raises(ValueError, match=reason):
        run(**{"methods": {"bicubic": enlarge}, "slices": slices} | change)


@pytest.mark.parametrize("fails", [False, True])
def test_a_network_goes_back_to_the_device_it_was_on(slices, monkeypatch, fails):
    network, moves = ESPCN(scale=4), []
    monkeypatch.setattr(network, "to", lambda device: moves.append(device))
    broken = (lambda lr: lr) if fails else enlarge
    try:
        run({"network": network, "other": broken}, slices[:1], device="cpu")
    except ValueError:
        assert fails
    assert moves == [torch.device("cpu")] * 2  # there, and home again

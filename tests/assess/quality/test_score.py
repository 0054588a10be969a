from dataclasses import replace
from functools import partial
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.assess import statistics
from medsr_lib.assess.quality import metrics
from medsr_lib.assess.quality import score as scoring
from medsr_lib.assess.quality.regions import NAMES, regions
from medsr_lib.assess.quality.score import COLUMNS, METRICS, WINDOWED, score, summary
from medsr_lib.case import Case
from medsr_lib.restore import degrade, resample

shrink = degrade.by_name("bicubic", scale=4)
enlarge = partial(resample.bicubic, scale=4)
nearest = partial(resample.nearest, scale=4)
# The cases are too small a head for a brain.
run = partial(score, degrade=shrink, scale=4, tissue="head", device="cpu", progress=False)
GAIN = {"metric": "ssim", "method": "bicubic", "baseline": "nearest", "region": "tumour", "seed": 0}
gain = partial(statistics.paired_difference, reference=None, **GAIN)


@pytest.fixture
def table(cases):
    return run({"bicubic": enlarge, "nearest": nearest, "half": nearest}, cases)


def row(table, case, method, region):
    at = table[["id", "method", "region"]] == [case, method, region]
    return table[at.all(axis=1)].squeeze()


def masked(case, *box):
    """The case with a tumour that fills a box."""
    mask = torch.zeros_like(case.mask)
    mask[box] = True
    return replace(case, mask=mask)


def test_a_row_for_every_case_method_and_region_says_whose_it_is(table):
    assert table.columns.tolist() == [
        "id", "patient", "label", "fold", "method", "scale", "degradation", "region", "pixels",
        "psnr", "mse", "ssim",
    ]  # fmt: skip
    assert len(table) == 10 * 3 * len(NAMES)
    assert not table.duplicated(["id", "method", "region"]).any()
    assert table["region"].head(len(NAMES)).tolist() == list(NAMES)
    assert table["method"].unique().tolist() == ["bicubic", "nearest", "half"]
    assert table[["scale", "degradation", "fold"]].drop_duplicates().values.tolist() == [
        [4, "bicubic", 1]
    ]
    found = row(table, "5", "bicubic", "tumour")
    assert found[["patient", "label", "pixels"]].tolist() == ["MR000001", "glioma", 113]


@pytest.mark.parametrize("region", ["tumour", "rim", "peritumoural", "head", "normal", "air"])
def test_values_equal_boolean_indexing_of_the_maps(table, cases, region):
    hr = cases[3].image[None, None]
    sr = enlarge(shrink(hr))
    m = regions(cases[3].image, cases[3].mask, tissue="head")[region]
    error = (sr - hr).double()[0, 0][m].square().mean().item()
    inside = m[5:-5, 5:-5]
    ssim = metrics.ssim_map(sr, hr, data_range=1.0)[0, 5:-5, 5:-5][inside].double().mean().item()
    found = row(table, "4", "bicubic", region)
    assert found["pixels"] == m.sum()
    assert found["mse"] == pytest.approx(error, abs=1e-6, rel=1e-6)
    assert found["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-5)
    assert found["ssim"] == pytest.approx(ssim, abs=1e-6)


def test_whole_equals_the_global_metrics(table, cases):
    hr = torch.stack([case.image for case in cases])[:, None]
    sr = enlarge(shrink(hr))
    whole = table[(table["region"] == "whole") & (table["method"] == "bicubic")]
    for name in METRICS:
        expected = getattr(metrics, name)(sr, hr, data_range=1.0)
        np.testing.assert_allclose(whole[name], expected.numpy(), rtol=1e-6)


def test_masking_first_would_make_it_look_better(table, cases):
    hr, mask = cases[0].image[None, None], cases[0].mask
    masked_first = metrics.ssim(enlarge(shrink(hr)) * mask, hr * mask, data_range=1.0).item()
    assert masked_first > row(table, "1", "bicubic", "tumour")["ssim"] + 0.05


def test_cases_without_a_mask_are_measured_as_a_whole_and_noise_has_scale_1(cases):
    plain = [replace(case, mask=None, label="", fold=None) for case in cases[:2]]

    def darker(hr):
        return 0.9 * hr

    found = score(
        {"same": lambda y: y / 0.9, "darker": torch.clone}, [*plain, cases[2]],
        degrade=darker, scale=1, metrics=["edges"], progress=False,
    )  # fmt: skip
    assert set(found["region"]) == {"whole"}
    assert found.columns.tolist() == [*COLUMNS, "edges"]
    assert found[["scale", "degradation"]].drop_duplicates().values.tolist() == [[1, "darker"]]
    worse = row(found, "2", "darker", "whole")
    hr = plain[1].image[None, None]
    assert worse["psnr"] == pytest.approx(metrics.psnr(0.9 * hr, hr, data_range=1).item(), rel=1e-6)
    assert worse["edges"] == pytest.approx(1, abs=1e-5)
    assert worse["pixels"] == 64 * 56
    with pytest.raises(ValueError, match='case 1 has no mask: only its region "whole" can be'):
        run({"bicubic": enlarge}, plain, region_names=["tumour"])


def test_sizes_that_the_scale_does_not_divide_are_cropped_with_their_masks(cases):
    odd = replace(cases[0], image=cases[0].image[:62, :55], mask=cases[0].mask[:62, :55])
    table = run({"bicubic": enlarge}, [cases[1], odd, cases[2]])
    by_hand = replace(odd, image=odd.image[1:61, 1:53], mask=odd.mask[1:61, 1:53])
    mixed = table[table["id"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mixed, run({"bicubic": enlarge}, [by_hand]), atol=1e-6)


def test_cases_measured_together_are_as_each_alone(cases):
    further = partial(run, {"bicubic": enlarge}, metrics=WINDOWED)
    alone = pd.concat([further([case]) for case in cases[:3]], ignore_index=True)
    pd.testing.assert_frame_equal(further(cases[:3]), alone, rtol=1e-6, atol=1e-7)


def test_a_region_of_less_than_50_pixels_is_nan_and_counted(cases):
    cases[0] = masked(cases[0], slice(20, 27), slice(20, 27))  # 49 pixels
    cases[1] = masked(cases[1], slice(20, 25), slice(20, 30))  # 50
    table = run({"bicubic": enlarge}, cases, region_names=["tumour", "core"])
    small = row(table, "1", "bicubic", "tumour")
    assert small["pixels"] == 49
    assert small[list(METRICS)].isna().all()
    assert not table.query("region == 'tumour' and id != '1'")["ssim"].isna().any()
    counts = summary(table)[["cases", "patients", "skipped"]]
    assert counts.loc[("tumour", "bicubic")].tolist() == [9, 4, 1]
    assert counts.loc[("core", "bicubic")].tolist() == [0, 0, 10]


def test_ssim_of_a_region_too_small_without_the_outer_pixels_is_nan_and_counted(cases):
    edge = masked(cases[0], slice(0, 6), slice(5, 50))  # 270 pixels, 45 of them further inside
    table = run({"bicubic": enlarge}, [edge, cases[1]], metrics=WINDOWED)
    tumour = row(table, "1", "bicubic", "tumour")
    assert tumour["psnr"] > 0
    assert tumour[["ssim", *WINDOWED]].isna().all()
    counts = summary(table).loc[("tumour", "bicubic")]
    assert (counts["cases"], counts["skipped"]) == (1, 1)


def test_a_mask_at_the_frame_is_measured(cases):
    corner = masked(cases[0], slice(0, 20), slice(0, 20))
    table = run({"bicubic": enlarge}, [corner], metrics=["ssim_within"]).set_index("region")
    assert table.loc["tumour", "pixels"] == 400
    assert table.loc["core", "pixels"] == 15 * 15  # the frame is no border of the tumour
    assert table.loc["tumour", ["psnr", "ssim", "ssim_within"]].notna().all()


@pytest.mark.parametrize(
    ("columns", "empty"),
    [(28, ["matched"]), (56, ["normal", "mirror", "matched", "rim", "air"])],
)
def test_no_place_in_normal_tissue_is_nan_and_counted(cases, columns, empty):
    cases[0] = masked(cases[0], slice(None), slice(0, columns))
    table = run({"bicubic": enlarge, "nearest": nearest}, cases[:4])
    gone = table[(table["id"] == "1") & table["region"].isin(empty)]
    assert (gone["pixels"] == 0).all()
    assert gone[list(METRICS)].isna().all(axis=None)
    assert row(table, "1", "bicubic", "tumour")[list(METRICS)].notna().all()
    counts = summary(table).xs("bicubic", level="method")["skipped"]
    assert (counts[empty] >= 1).all()
    estimate = gain(table, reference="matched")
    assert (estimate.cases, estimate.skipped) == (3, 1)


def test_the_tissue_is_handed_on_by_case(cases):
    left = torch.zeros_like(cases[0].mask)
    left[:, :20] = True
    found = run({"nearest": nearest}, cases[:2], tissue={"1": left, "2": ~left})
    pixels = found.set_index(["id", "region"])["pixels"]
    assert pixels["1", "brain"] == (left | cases[0].mask).sum()
    assert pixels["2", "brain"] == (~left | cases[1].mask).sum()
    with pytest.raises(ValueError, match="case 2: tissue holds no mask of it"):
        run({"nearest": nearest}, cases[:2], tissue={"1": left})


def test_a_constant_image_is_all_head_and_measured(cases):
    flat = replace(cases[0], image=torch.full_like(cases[0].image, 0.5))
    table = run({"nearest": nearest}, [flat])
    assert row(table, "1", "nearest", "tumour")["ssim"] == pytest.approx(1)
    assert row(table, "1", "nearest", "air")[list(METRICS)].isna().all()


def mae(sr, hr):
    return (sr - hr).abs()[:, 0]


def largest_error(sr, hr):
    return (sr - hr).abs().amax((1, 2, 3))


@pytest.mark.parametrize("own", [True, False])
def test_a_measure_is_one_function_and_one_line(monkeypatch, table, cases, own):
    """A map is averaged over every region, a number is that of the whole image."""
    added = {"mae": mae, "largest": largest_error}
    if own:
        found = run({"bicubic": enlarge}, cases, measures=added)
    else:
        monkeypatch.setattr(scoring, "MEASURES", scoring.MEASURES | added)
        found = run({"bicubic": enlarge}, cases, metrics=["mae", "largest"])
    assert found.columns.tolist() == [*COLUMNS, "mae", "largest"]
    hr = cases[3].image[None, None]
    error = (enlarge(shrink(hr)) - hr).double().abs()[0, 0]
    of_tumour = row(found, "4", "bicubic", "tumour")
    assert of_tumour["mae"] == pytest.approx(error[cases[3].mask].mean().item(), abs=1e-8)
    assert np.isnan(of_tumour["largest"])
    assert row(found, "4", "bicubic", "whole")["largest"] == pytest.approx(error.max().item())
    mine = table.query("method == 'bicubic'").reset_index(drop=True)
    pd.testing.assert_frame_equal(found[list(COLUMNS)], mine)
    rim = summary(found.assign(seed=3)).loc[("rim", "bicubic")]
    assert rim["mae"] == pytest.approx(found.query("region == 'rim'")["mae"].mean())
    assert "seed" not in rim


@pytest.mark.parametrize("names", [["mse"], ["ssim_sd"], ["skipped"], ["edges"], ["a", "a_sd"]])
def test_refuses_a_measure_named_like_a_column(cases, names):
    with pytest.raises(ValueError, match=f"measures: '{names[-1]}' would be a column twice"):
        run({"b": enlarge}, cases, measures=dict.fromkeys(names, mae))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda sr, hr: sr, r"expected a map \(B, H, W\) = \(1, 64, 56\) or numbers \(B,\), got"),
        (lambda sr, hr: mae(sr, hr).log().mul(0), "holds NaN or infinite values"),
    ],
)
def test_refuses_a_measure_of_another_shape_or_not_finite(cases, function, reason):
    with pytest.raises(ValueError, match=f"measure 'mine': {reason}"):
        run({"zero": lambda lr: enlarge(lr) * 0}, cases[:2], measures={"mine": function})


@pytest.fixture(scope="module")
def large():
    """The rows of one case of 320 x 304 by region, its SR and HR, and its regions."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:320, :304]
    head = ((y - 160) / 140) ** 2 + ((x - 150) / 130) ** 2 < 1
    waves = 0.1 * np.sin(x / 3) * np.cos(y / 4)
    image = torch.from_numpy(head * (0.2 + 0.001 * y + waves) + 0.02 * rng.random(x.shape)).float()
    mask = torch.from_numpy((y - 150) ** 2 + (x - 110) ** 2 < 400)
    image[mask] += 0.3
    image = image.clamp(0, 1)
    brain = torch.from_numpy(((y - 160) / 120) ** 2 + ((x - 150) / 110) ** 2 < 1)
    case = Case("9", "p", "glioma", image, mask)
    table = run({"bicubic": enlarge}, [case], metrics=WINDOWED, tissue={"9": brain})
    hr = image[None, None]
    found = regions(image, mask, tissue=brain)
    return table.set_index("region"), enlarge(shrink(hr)), hr, found


@pytest.mark.parametrize("name", ["luminance", "contrast", "structure"])
def test_parts_are_means_of_their_maps_without_the_border(large, name):
    table, sr, hr, found = large
    part = metrics.ssim_maps(sr, hr, data_range=1.0)[name][0].double()[5:-5, 5:-5]
    for region in NAMES:
        expected = part[found[region][5:-5, 5:-5]].mean().item()
        assert table.loc[region, name] == pytest.approx(expected, abs=1e-7)


def test_ms_ssim_is_the_product_of_the_means_of_each_region(large):
    table, sr, hr, found = large
    maps = metrics.ms_ssim_maps(sr, hr, data_range=1.0)
    for region in NAMES:
        share, expected = found[region].double()[None], 1.0
        for of_scale, exponent in zip(maps, metrics.SCALES):
            weights = share[0, 5:-5, 5:-5] / share[0, 5:-5, 5:-5].sum()
            expected *= (weights * of_scale[0, 5:-5, 5:-5]).sum().clamp(min=0).item() ** exponent
            share = torch.nn.functional.avg_pool2d(share, 2)
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


def test_means_are_written_with_their_standard_deviations():
    values = {"psnr": 33.204, "psnr_sd": 1.306, "mse": 0.00051, "mse_sd": 0.0002}
    written = scoring.mean_and_sd(pd.DataFrame(values, index=["bicubic"]), "psnr", "mse")
    assert written.loc["bicubic"].to_dict() == {"psnr": "33.20 ± 1.31", "mse": "0.00051 ± 0.00020"}
    with pytest.raises(ValueError, match="ssim"):
        scoring.mean_and_sd(written, "ssim")


def test_summary_by_hand(table):
    mine = table[(table["region"] == "rim") & (table["method"] == "nearest")]
    found = summary(table)
    assert found.columns.tolist() == [
        "psnr", "psnr_sd", "ssim", "ssim_sd", "mse", "mse_sd", "cases", "patients", "skipped",
    ]  # fmt: skip
    rim = found.loc[("rim", "nearest")]
    assert rim["psnr"] == pytest.approx(mine["psnr"].mean())
    assert rim["ssim_sd"] == pytest.approx(mine["ssim"].std())
    assert rim[["cases", "patients", "skipped"]].tolist() == [10, 4, 0]
    by_label = summary(table, by=["label", "method", "region"])
    assert by_label.loc[("glioma", "bicubic", "whole"), "cases"] == 4


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"by": ["fould"]}, r"the table lacks the columns \['fould'\]"),
        ({"by": []}, "by must name at least one column"),
        (
            {"table": pd.DataFrame({"id": [], "patient": []})},
            r"lacks the columns \['region', 'method'\]",
        ),
        ({"table": None}, r"expected a table \(pandas DataFrame\), got NoneType"),
    ],
)
def test_summary_refuses_what_it_cannot_group(table, change, wrong):
    given = {"table": table, "by": ("region", "method")} | change
    with pytest.raises((TypeError, ValueError), match=wrong):
        summary(given["table"], by=given["by"])


@pytest.mark.parametrize("scale", [0, -2, 1.5, None, "2"])
def test_a_scale_is_a_whole_number(cases, scale):
    with pytest.raises(ValueError, match="scale must be a whole number of at least 1, got"):
        score({"x": torch.clone}, cases, degrade=torch.clone, scale=scale, progress=False)


def test_summary_counts_measures_that_are_missing_apart(cases):
    table = run({"b": enlarge}, cases, metrics=["contrast", "ms_ssim"])
    found, rim = summary(table).loc[("rim", "b")], table.query("region == 'rim'")
    assert found["contrast"] == pytest.approx(rim["contrast"].mean())
    assert (found["cases"], found["ms_ssim_skipped"]) == (10, 10)  # 64 x 56 pixels are too small
    assert "contrast_skipped" not in found


def test_trainings_of_a_method_share_its_name_and_the_others_are_repeated(table):
    found = scoring.by_seed(table, {"network": {3: "nearest", 4: "half"}})
    assert len(found) == 4 / 3 * len(table)
    for seed, name in ((3, "nearest"), (4, "half")):
        of_seed = found[found["seed"] == seed].set_index(["method", "id", "region"])["ssim"]
        own = table.set_index(["method", "id", "region"])["ssim"]
        pd.testing.assert_series_equal(of_seed["network"], own[name])
        pd.testing.assert_series_equal(of_seed["bicubic"], own["bicubic"])
    asked = statistics.Contrast("ssim", "network", "bicubic", "whole")
    assert statistics.over_seeds(found, asked).seeds == 2


@pytest.mark.parametrize(
    ("trainings", "message"),
    [
        ({}, r"the same seeds, and at least one; got \{\}"),
        ({"a": {0: "half"}, "b": {1: "nearest"}}, r"got \{'a': \[0\], 'b': \[1\]\}"),
        ({"a": {0: "half", 1: "third"}}, r"no method \['third'\]; score each training"),
    ],
)
def test_trainings_that_do_not_fit_the_table_are_refused(table, trainings, message):
    with pytest.raises(ValueError, match=message):
        scoring.by_seed(table, trainings)


def lose(table, method, *ids):
    return table[~((table["method"] == method) & table["id"].isin(ids))]


@pytest.mark.parametrize("methods", [["bicubic"], ["nearest"], ["bicubic", "nearest"]])
def test_cases_that_lack_a_method_are_counted_by_summary_and_statistics(table, methods):
    for method in methods:
        table = lose(table, method, "2", "9")
    estimate = gain(table)
    assert (estimate.cases, estimate.skipped) == (8, 2)
    counts = summary(table).loc["tumour"]
    assert counts.loc["half", ["cases", "skipped"]].tolist() == [10, 0]
    assert counts.loc[methods, ["cases", "skipped"]].to_numpy().tolist() == [[8, 2]] * len(methods)
    by_label = summary(table, by=["label", "method", "region"])["skipped"]
    assert by_label.loc[("glioma", methods[0], "rim")] == 0  # 2 and 9 are meningiomas


def test_a_table_read_back_from_csv_is_the_same(table):
    again = pd.read_csv(StringIO(table.to_csv(index=False)), dtype={"id": str})
    assert gain(again) == gain(table)
    pd.testing.assert_frame_equal(summary(again), summary(table))
    numbers = pd.read_csv(StringIO(table[table["id"] == "1"].to_csv(index=False)))
    with pytest.raises(ValueError, match="is missing in some rows, or a number in some"):
        gain(pd.concat([numbers, table[table["id"] != "1"]]))


def test_names_the_case_that_cannot_be_measured(cases):
    empty = [cases[0], masked(cases[1], slice(0, 0))]
    with pytest.raises(ValueError, match="case 2: mask is empty"):
        run({"bicubic": enlarge}, empty)
    assert len(run({"bicubic": enlarge}, empty, region_names=["whole"])) == 2
    small = replace(cases[0], image=cases[0].image[20:31], mask=cases[0].mask[20:31])
    with pytest.raises(ValueError, match="case 1: SSIM needs at least 11 x 11 pixels, got 8 x 56"):
        run({"bicubic": enlarge}, [small])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"methods": {}}, "there are no methods"),
        ({"cases": []}, "there are no cases"),
        ({"region_names": ["tumour", "tumor"]}, r"no region 'tumor'; there are whole, tumour,"),
        ({"region_names": []}, r"no region"),
        ({"metrics": ["ssim", "lpips"]}, "no metric 'lpips'; there are psnr, mse, ssim, luminance"),
        ({"scale": 2}, r"degradation, case 1: .* must be \(1, 1, 32, 28\) at scale 2"),
        ({"methods": {"mine": torch.clone}}, r"method 'mine', case 1: SR is \(1, 1, 16"),
    ],
)
def test_refuses_arguments_that_do_not_fit(cases, change, reason):
    with pytest.raises(ValueError, match=reason):
        run(**{"methods": {"bicubic": enlarge}, "cases": cases} | change)

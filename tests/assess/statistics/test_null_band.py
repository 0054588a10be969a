from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from medsr_lib.assess import score, statistics, uniform
from medsr_lib.assess.statistics import bootstrap
from medsr_lib.data import figshare, phantom
from medsr_lib.restore import degrade, linear, resample

SCALE, PATIENTS = 2, 12
FEWER = {
    "mixture": (-1, 0, 0.3, 0.65, 0.8),
    "linear": (-1.6, 0, 0.5, 1, 1.4, 1.8),
    "blur": (4, 1, 0.5, 0.15, 0.05),
    "low-pass": (4, 1, 0.5, 0.15, 0.05),
}
QUESTION = {"baseline": "bicubic", "gain_region": "whole", "seed": 0}
# (whole, tumour, matched) in SSIM; bicubic lies on the mixture's curve, and off the blur's
BY_HAND = {
    "bicubic": (0.80, 0.70, 0.60),
    "mine": (0.85, 0.74, 0.66),
    "uniform mixture 0": (0.80, 0.70, 0.60),
    "uniform mixture 0.5": (0.90, 0.84, 0.76),
    "uniform blur 2": (0.70, 0.52, 0.50),
    "uniform blur 0.5": (0.90, 0.83, 0.77),
}


def table_of(values=BY_HAND, patients=10, spread=0.0, cases=1):
    """A score table in which every case has these values; the method's tumour varies."""
    rng = np.random.default_rng(0)
    more = rng.normal(0, spread, (patients, cases)) if spread else np.zeros((patients, cases))
    rows = [
        (f"{p}-{n}", f"P{p}", method, region, ssim + (method == "mine") * at * more[p, n])
        for p in range(patients)
        for n in range(cases)
        for method, three in values.items()
        for region, ssim, at in zip(("whole", "tumour", "matched"), three, (0, 1, 0))
    ]
    return pd.DataFrame(rows, columns=["id", "patient", "method", "region", "ssim"])


def band(table, metric="ssim", method="mine", **changes):
    asked = {"metrics": [metric], "methods": [method], **QUESTION, **changes}
    (found,) = statistics.null_bands(table, **asked)
    return found


def moved(tumour):
    return {**BY_HAND, "mine": (0.85, tumour, 0.66)}


def test_a_band_by_hand():
    found = band(table_of())
    assert found.contrast.value == pytest.approx(0.04 - 0.06)
    assert found.gain.value == pytest.approx(0.05)
    assert found.gap.value == pytest.approx(0.10)
    # At 0.85 the mixture is halfway from 0.10 to 0.08, the blur at three quarters of 0.02 to 0.06.
    assert found.references == pytest.approx(
        {"mixture": 0.09 - 0.10, "blur": 0.05 - 0.10, "blur pair": 0.05 - 0.04}
    )
    assert (found.low, found.lowest) == (pytest.approx(-0.05), "blur")
    assert (found.high, found.highest) == (pytest.approx(0.01), "blur pair")
    assert found.distance.value == 0
    assert found.words == "not distinguishable from a uniform change"


@pytest.mark.parametrize(
    ("tumour", "distance", "word"), [(0.80, 0.03, "better"), (0.70, -0.01, "worse")]
)
def test_beyond_an_edge_the_distance_has_its_sign(tumour, distance, word):
    found = band(table_of(moved(tumour), spread=0.002, patients=20))
    assert found.distance.value == pytest.approx(distance, abs=0.002)
    assert found.distance.low < found.distance.value < found.distance.high
    assert found.distance.low * found.distance.high > 0
    assert found.distance.p < 0.01
    assert found.words == f"treats the tumour {word} than a uniform change"
    assert "uniform changes -0.0500 (blur) to +0.0100 (blur pair)" in str(found)


def test_an_interval_that_reaches_the_edge_is_no_finding():
    found = band(table_of(moved(0.765), spread=0.05, patients=20))
    assert found.distance.low == 0 <= found.distance.value
    assert found.distance.p > 0.05
    assert found.words == "not distinguishable from a uniform change"


def test_a_reference_as_the_method_lies_within():
    for name in ("uniform mixture 0.5", "uniform blur 0.5"):
        found = band(table_of(), method=name)
        assert found.distance.value == 0
        assert found.distance.p == 1


def test_the_baseline_need_not_be_the_references_own():
    values = {**BY_HAND, "linear": (0.82, 0.72, 0.62)}
    found = band(table_of(values), baseline="linear")
    assert found.references["mixture"] == pytest.approx(0.09 - 0.10)
    assert found.references["mixture pair"] == pytest.approx(0.09 - 0.096)


def test_few_patients_have_a_band_and_no_verdict():
    found = band(table_of(moved(0.80), patients=bootstrap.FEW - 1, spread=0.001))
    assert found.distance.value == pytest.approx(0.03, abs=0.002)
    assert np.isnan([found.distance.low, found.distance.p]).all()
    assert found.words == "too few patients"
    assert band(table_of(patients=bootstrap.FEW)).words != "too few patients"


def test_a_gain_beyond_a_family_is_not_extrapolated():
    values = {**BY_HAND, "mine": (0.95, 0.9, 0.8)}
    found = band(table_of(values))
    assert found.words == "no band: the gain lies outside the range of mixture, blur"
    assert np.isnan([found.low, found.distance.value]).all()
    assert np.isfinite(found.contrast.value)
    assert "no band" in str(found)


def test_less_noise_may_not_reach_and_is_left_out():
    noise = {"uniform noise 1": (0.80, 0.70, 0.60), "uniform noise 0": (0.84, 0.70, 0.60)}
    found = band(table_of(BY_HAND | noise))
    assert found.left_out == ("noise",)
    assert "noise" not in found.references
    alone = {name: BY_HAND[name] for name in ("bicubic", "mine")} | noise
    assert band(table_of(alone)).words == "no band: the gain lies outside the range of noise"
    reached = {**noise, "uniform noise 0": (0.90, 0.70, 0.60)}
    assert band(table_of(BY_HAND | reached)).references["noise"] == pytest.approx(0)


def test_cases_that_lack_a_value_are_skipped_and_counted():
    table = table_of(cases=2)
    lacks = table["id"].eq("3-0") & table["method"].eq("uniform blur 2")
    table.loc[lacks & table["region"].eq("matched"), "ssim"] = np.nan
    infinite = table["id"].eq("4-0") & table["method"].eq("mine") & table["region"].eq("tumour")
    table.loc[infinite, "ssim"] = np.inf
    lost = table["id"].eq("5-0") & table["method"].eq("bicubic")
    found = band(table[~lost])
    for part in (found.contrast, found.gap, found.distance):
        assert (part.cases, part.patients, part.skipped) == (17, 10, 3)
    nothing = band(table.assign(ssim=table["ssim"].where(table["region"].ne("matched"))))
    assert (nothing.words, nothing.distance.skipped) == ("no band: no case has all values", 20)


def test_each_of_many_bands_is_what_it_is_alone():
    table = table_of({**BY_HAND, "other": (0.85, 0.74, 0.66)}, spread=0.002)
    table = table[table["id"].ne("3-0") | table["method"].ne("other")]
    bands = statistics.null_bands(table, metrics=["ssim"], **QUESTION)
    assert bands == [band(table), band(table, method="other")]
    assert [one.distance.skipped for one in bands] == [0, 1]


def test_patients_weigh_the_same_whatever_their_cases():
    table = table_of(spread=0.01)
    again = table[table["patient"].eq("P1")]
    often = [again.assign(id=f"again {i}") for i in range(5)]
    more = band(pd.concat([table, *often]))
    assert more.distance.cases == 15
    assert more.contrast.value == pytest.approx(band(table).contrast.value)


def test_the_seed_decides_the_interval():
    table = table_of(moved(0.80), spread=0.01)
    assert band(table) == band(table)
    assert band(table).distance != band(table, seed=1).distance


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metric": "mse"}, "of mse less is better; take 'psnr'"),
        ({"metric": "lpips"}, r"no metric 'lpips' in the table; its numbers are \['ssim'\]"),
        ({"method": "SRGAN"}, "no method 'SRGAN' in the table"),
        ({"regions": ["core"]}, "no region 'core' in the table"),
        ({"gain_region": "brain"}, "no region 'brain' in the table"),
    ],
)
def test_refuses_what_the_table_does_not_have(change, reason):
    with pytest.raises(ValueError, match=reason):
        band(table_of(), **change)


def test_refuses_a_table_without_references_or_with_rows_twice():
    with pytest.raises(ValueError, match="no uniform reference among the methods of the table"):
        band(uniform.without(table_of()))
    with pytest.raises(ValueError, match="case 0-0 occurs twice"):
        band(pd.concat([table_of(), table_of()]))


def test_verdicts_are_corrected_for_all_bands():
    table = table_of({**moved(0.80), "other": (0.85, 0.74, 0.66)}, spread=0.002)
    bands = statistics.null_bands(table, metrics=["ssim"], **QUESTION)
    assert [one.method for one in bands] == ["mine", "other"]
    rows = statistics.verdict_table(bands)
    assert rows["p_adjusted"].tolist() == pytest.approx([min(1, 2 * bands[0].distance.p), 1])
    assert rows["verdict"].tolist() == [bands[0].words, bands[1].words]
    unsure = [replace(b, distance=replace(b.distance, p=0.03)) for b in bands]
    assert statistics.verdict_table(unsure)["verdict"].str.startswith("not").all()


def test_the_share_of_the_deficit_by_hand():
    table = table_of({"bicubic": (0.8, 0.7, 0.6), "mine": (0.9, 0.7, 0.5)}, spread=0.01)
    table["mse"] = np.where(table["method"].eq("mine"), 0.3, 0.4)
    found = statistics.deficit_closed(table, baselines=["bicubic"], seed=0)
    found = found.set_index(["metric", "region"])
    values = {"whole": 0.5, "tumour": 0, "matched": -0.25}
    for region, share in values.items():
        assert found.loc[("ssim", region), "value"] == pytest.approx(share, abs=0.02)
        assert found.loc[("psnr", region), "value"] == pytest.approx(0.25)
    tumour = found.loc[("ssim", "tumour")]
    assert tumour["low"] < tumour["value"] < tumour["high"]
    assert (tumour["patients"], tumour["cases"], tumour["method"]) == (10, 10, "mine")
    with pytest.raises(ValueError, match="no deficit of 'edges'; there are ssim, psnr"):
        statistics.deficit_closed(table, baselines=["bicubic"], metrics=["edges"], seed=0)
    with pytest.raises(ValueError, match="no method 'linear'"):
        statistics.deficit_closed(table, baselines=["linear"], seed=0)


def of_each(filtered, method):
    """A method whose images go through a function of arrays (H, W)."""
    return lambda lr: torch.from_numpy(np.stack([filtered(x) for x in method(lr)[:, 0].numpy()]))[
        :, None
    ].clamp(0, 1)


class InTheTumour:
    """A good method, which leaves 0.3 of bicubic's error; its tumour is changed."""

    def __init__(self, change):
        self.change = change

    def of(self, case):
        def restore(lr):
            hr = case.image.numpy()
            sr = 0.3 * bicubic(lr)[0, 0].numpy() + 0.7 * hr
            made = np.where(case.mask.numpy(), self.change(sr), sr)
            return torch.from_numpy(made)[None, None].float().clamp(0, 1)

        return restore


def textured(sr):
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=sr.shape), 1.0)
    return sr + 0.02 * texture / texture.std()


bicubic = partial(resample.bicubic, scale=SCALE)
UNIFORM = {
    "unsharp": of_each(lambda x: x + 0.5 * (x - ndimage.gaussian_filter(x, 1.0)), bicubic),
    "median": of_each(lambda x: ndimage.median_filter(x, 3), bicubic),
    "bilinear": lambda lr: functional.interpolate(lr, scale_factor=SCALE, mode="bilinear").clamp(
        0, 1
    ),
}
PLANTED = {
    "blur": InTheTumour(lambda x: ndimage.gaussian_filter(x, 0.5)),
    "bright": InTheTumour(lambda x: 1.02 * x),
    "texture": InTheTumour(textured),
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Uniform methods and planted ones with all references, on a phantom."""
    root = tmp_path_factory.mktemp("phantom")
    phantom.write_figshare(root, patients=PATIENTS, slices_per_patient=1, seed=3, size=192)
    cases = [figshare.read_slice(path) for path in sorted((root / "data").glob("*.mat"))]
    to_lr = degrade.by_name("bicubic", scale=SCALE)
    best = linear.cross_fit(cases, degrade=to_lr, scale=SCALE, progress=False)
    methods = {"bicubic": bicubic, "linear": best, **UNIFORM, **PLANTED}
    references = uniform.references(bicubic, linear=best, strengths=FEWER)
    return score(
        *({**methods, **references}, cases), degrade=to_lr, scale=SCALE, device="cpu",
        region_names=("head", "tumour", "core", "matched"), progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["ssim", "psnr"])
@pytest.mark.parametrize("method", ["linear", *UNIFORM])
def test_uniform_methods_that_are_no_references_are_not_called_different(scores, metric, method):
    found = band(scores, metric, method, gain_region="head")
    assert found.words == "not distinguishable from a uniform change"


@pytest.mark.parametrize("metric", ["ssim", "psnr"])
@pytest.mark.parametrize("method", ["blur", "texture"])
def test_blur_and_texture_in_the_tumour_alone_are_found(scores, method, metric):
    found = band(scores, metric, method, gain_region="head")
    assert found.words == "treats the tumour worse than a uniform change"


def test_brightness_of_the_tumour_alone_is_found_where_there_are_no_edges(scores):
    found = band(scores, "psnr", "bright", regions=["core"], gain_region="head")
    assert found.words == "treats the core worse than a uniform change"


def test_the_mixture_is_within_in_every_resample(scores):
    found = band(scores, "psnr", "uniform mixture 0.3", gain_region="head")
    assert (found.distance.value, found.distance.p) == (0, 1)
    assert found.distance.low <= 0 <= found.distance.high
    assert found.references["mixture"] == pytest.approx(0, abs=0.01)

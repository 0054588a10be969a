from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from medsr_lib.assess.lesions.contrast_detail import (
    Design,
    contrast_detail,
    detectability,
    differences,
)
from medsr_lib.assess.lesions.insert import insert
from medsr_lib.case import Case
from medsr_lib.restore import degrade, resample

DESIGN = Design(diameters=[3, 6], contrasts=[0.02], places=4, psf=0.0)


def noisy(n, side, patients, seed=0):
    """Cases of white noise; their tumour is a pixel in a corner, the rest of them is normal."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(0.4 + 0.02 * rng.standard_normal((n, side, side))).float()
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[0, 0] = True
    return [Case(str(i), p, "", image, mask) for i, (p, image) in enumerate(zip(patients, images))]


@pytest.fixture(scope="module")
def cases():
    return noisy(10, 96, "AABBCCDDEE")


def respond(cases, design=DESIGN, scale=2, methods=None, noise=0.0, **changes):
    if methods is None:
        methods = {"bicubic": partial(resample.bicubic, scale=scale)}
    shrink = degrade.by_name("bicubic", scale=scale, noise=noise, seed=1)
    # White noise holds no brain.
    return contrast_detail(
        *(methods, cases, replace(design, **changes)), degrade=shrink, scale=scale, seed=0,
        tissue="everything",
    )  # fmt: skip


def table(cases, **changes):
    return detectability(respond(cases, **changes), seed=0)


@pytest.fixture(scope="module")
def responses(cases):
    """To what bicubic makes of ten patients' cases, to the same again, and to a noisier one."""
    bicubic = partial(resample.bicubic, scale=2)
    rng = torch.Generator().manual_seed(0)

    def noisy_bicubic(lr):
        return bicubic(lr) + 0.02 * torch.randn(1, 1, 96, 96, generator=rng)

    methods = {"bicubic": bicubic, "same": bicubic, "noisy": noisy_bicubic}
    patients = noisy(10, 96, "ABCDEFGHIJ")
    return respond(patients, methods=methods)


def test_a_response_for_every_place_method_and_lesion(cases):
    everywhere = torch.ones_like(cases[0].mask)
    found = respond([*cases[:9], replace(cases[9], mask=everywhere)])
    nowhere = found[found["id"] == "9"]
    assert (nowhere["place"] == -1).all()
    assert nowhere[["present", "absent"]].isna().all(axis=None)
    assert len(nowhere) == 2 * 2
    keys = ["id", "place", "method", "diameter", "contrast"]
    assert not found.duplicated(keys).any()
    kept = found.dropna()
    assert (kept["present"] - kept["absent"]).mean() == pytest.approx(1, abs=0.1)


def test_differences_are_those_of_d_and_paired(responses):
    found = differences(responses, baseline="bicubic", seed=0).set_index(["method", "diameter"])
    d = detectability(responses, seed=0).set_index(["method", "diameter"])["d"]
    for (method, diameter), row in found.iterrows():
        assert row["value"] == pytest.approx(d[method, diameter] - d["bicubic", diameter])
    assert (found.loc["same", ["value", "p"]] == [0, 1]).all(axis=None)
    assert (found.loc["noisy", "high"] < 0).all()
    assert (found["p_adjusted"] >= found["p"]).all()
    assert set(found["patients"]) == {10}
    assert found.loc["noisy", "p"].max() < 0.05


def test_the_order_of_rows_does_not_matter(responses):
    shuffled = responses.sample(frac=1, random_state=0)
    keys = ["method", "diameter"]
    a, b = (
        differences(r, baseline="bicubic", seed=0).set_index(keys).sort_index()["value"]
        for r in (responses, shuffled)
    )
    np.testing.assert_allclose(a, b)


def test_differences_that_cannot_be_taken(responses):
    with pytest.raises(ValueError, match="no other methods to compare with 'nearest'"):
        differences(responses, baseline="nearest", seed=0)
    lame = responses.drop(index=responses.index[responses["method"] == "noisy"][0])
    with pytest.raises(ValueError, match="noisy and bicubic were not measured at the same places"):
        differences(lame, baseline="bicubic", seed=0)
    with pytest.raises(ValueError, match=r"lacks the columns \[.*'present'"):
        detectability(responses.drop(columns="present"), seed=0)


def test_noise_of_a_case_is_the_same_with_a_lesion_and_without(cases):
    seen = []

    def watched(lr):
        seen.append(lr)
        return resample.bicubic(lr, scale=2)

    respond(cases, methods={"watched": watched}, noise=0.05)
    without, *with_lesions = seen[0]
    for lr in with_lesions:
        assert ((lr - without).abs() > 1e-4).float().mean() < 0.5  # where lesions are, no more


def test_a_row_for_every_method_diameter_and_contrast(cases):
    found = table(cases, contrasts=[0.02, 0.04])
    assert found["method"].tolist() == ["HR"] * 4 + ["bicubic"] * 4
    assert found["diameter"].tolist() == [3, 3, 6, 6] * 2
    assert found["contrast"].tolist() == [0.02, 0.04] * 4
    counts = found[["cases", "patients", "skipped"]].drop_duplicates()
    assert counts.to_numpy().tolist() == [[10, 5, 0]]
    assert (found["backgrounds"] > 20).all()
    assert ((found["low"] <= found["d"]) & (found["d"] <= found["high"])).all()
    of_contrast = found["d"].to_numpy()
    np.testing.assert_allclose(of_contrast[1::2], 2 * of_contrast[::2], rtol=0.01)  # all is linear


def test_detection_is_lost_with_resolution(cases):
    found = table(cases, scale=4).set_index(["method", "diameter"])["d"]
    assert found["bicubic", 3] < 0.8 * found["HR", 3]


def test_hr_in_white_noise_has_the_analytic_index():
    many = noisy(20, 192, map(str, range(20)), seed=3)
    found = table(many, diameters=[6], contrasts=[0.01], places=20).iloc[0]
    signal = insert(torch.zeros(21, 21), centre=(10, 10), diameter=6, contrast=0.01)
    analytic = signal.norm().item() / 0.02
    assert found["backgrounds"] > 200
    assert found["d"] == pytest.approx(analytic, rel=0.15)
    assert found["low"] < analytic < found["high"]


def test_a_method_that_hides_lesions_detects_little(cases):
    rng = torch.Generator().manual_seed(0)
    grey = 0.4 + 0.01 * torch.randn(len(cases), 1, 96, 96, generator=rng)
    of_case = iter(grey)
    methods = {"grey": lambda lr: next(of_case).expand(len(lr), 1, 96, 96)}
    found = table(cases, methods=methods)
    assert (found["d"][found["method"] == "grey"] == 0).all()


def test_cases_without_room_are_counted(cases):
    everywhere = torch.ones_like(cases[0].mask)
    full = [replace(case, mask=everywhere) for case in cases]  # no normal tissue is left
    found = table([*cases[:9], full[9]])
    assert set(found["skipped"]) == {1}
    assert set(found["cases"]) == {9}
    with pytest.raises(ValueError, match="no lesion of 6 pixels fits"):
        table(full)


def test_lesions_go_where_their_contrast_fits(cases):
    def half_bright(image):
        return torch.cat((image[:, :48] + 0.55, image[:, 48:]), 1).clamp(0, 1)

    half = [replace(case, image=half_bright(case.image)) for case in cases]
    assert set(table(half, contrasts=[0.3])["skipped"]) == {0}


@pytest.mark.parametrize("psf", [1.0, 6.0])
def test_places_are_those_that_insert_takes_with_its_blur(psf):
    cases = noisy(6, 160, "ABCDEF")
    found = respond(cases, diameters=[3], contrasts=[0.1], psf=psf)  # 6: wider than the lesion
    assert (found["place"] >= 0).all()


def test_no_place_whose_blur_would_be_clipped():
    cases = noisy(6, 96, "ABCDEF")
    specks = torch.zeros(96, 96)
    specks[::12, ::12] = 0.55
    spotted = [replace(case, image=(case.image + specks).clamp(0, 1)) for case in cases]
    changes = {"diameters": [3], "contrasts": [0.3]}
    assert (respond(spotted, psf=0.8, **changes)["place"] >= 0).any()
    with pytest.raises(ValueError, match="no lesion of 3 pixels fits"):
        respond(spotted, psf=4.0, **changes)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"methods": {"HR": torch.clone}}, "no method may be called 'HR'"),
        ({"methods": {"small": torch.clone}}, "method 'small', case 0: SR is"),
        ({"diameters": []}, "at least one diameter and one contrast"),
        ({"places": 0}, "places must be a whole number of at least 1, got 0"),
        ({"diameters": [3, -1]}, "diameter must be a positive number, got -1"),
        ({"diameters": "3"}, "diameters must have 1 dimensions"),
        ({"contrasts": [2]}, r"contrast must be in \[-1, 1\] and not 0, got 2"),
        ({"psf": np.nan}, "psf must be finite"),
    ],
)
def test_designs_that_cannot_be_measured(cases, changes, wrong):
    with pytest.raises(ValueError, match=wrong):
        table(cases, **changes)


def test_names_a_case_without_a_mask(cases):
    with pytest.raises(ValueError, match="case 3 has no mask"):
        table([*cases[:3], replace(cases[3], mask=None)])


def test_a_method_that_differs_by_case_sees_that_lesions_were_put_in(cases):
    class Held:
        def of(self, case):
            raise TypeError(case.about.get("altered", "nothing was done"))

    with pytest.raises(TypeError, match=r"method 'theirs', case .*: nothing was done"):
        table(cases, methods={"theirs": Held()})

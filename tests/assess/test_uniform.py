from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from medsr_lib.assess import score, uniform


def shrink(hr):
    return functional.avg_pool2d(hr, 2)


def enlarge(lr):
    return functional.interpolate(lr, scale_factor=2, mode="bicubic").clamp(0, 1)


def smooth(lr):
    return functional.avg_pool2d(enlarge(lr), 3, 1, 1)


def error(sr, case):
    return float((sr[0, 0] - case.image).double().square().mean())


@pytest.fixture
def case(cases):
    return cases[0]


@pytest.fixture
def restore(case):
    """`restore(reference)` of the first case -> SR."""
    lr = shrink(case.image[None, None])

    def of(family, strength, **given):
        (method,) = uniform.references(enlarge, strengths={family: [strength]}, **given).values()
        return method.of(case)(lr)

    return of


def test_a_mixture_has_the_share_of_the_error_that_is_left(restore, case):
    assert torch.equal(restore("mixture", 0), enlarge(shrink(case.image[None, None])))
    assert torch.allclose(restore("mixture", 1)[0, 0], case.image)
    whole, quarter = (error(restore("mixture", t), case) for t in (0, 0.5))
    assert quarter == pytest.approx(whole / 4, rel=1e-4)


def test_linear_goes_from_the_baseline_through_linear_to_hr(restore, case):
    lr = shrink(case.image[None, None])
    half = (enlarge(lr) + smooth(lr)) / 2
    assert torch.allclose(restore("linear", 0.5, linear=smooth), half, atol=1e-6)
    assert torch.equal(restore("linear", 1, linear=smooth), smooth(lr))
    assert torch.allclose(restore("linear", 2, linear=smooth)[0, 0], case.image)


@pytest.mark.parametrize("family", ["blur", "low-pass"])
def test_blur_and_low_pass_have_the_error_that_was_asked_for(restore, case, family):
    of_baseline = error(enlarge(shrink(case.image[None, None])), case)
    for share in (0.4, 1):
        found = error(restore(family, share), case) / of_baseline
        if family == "blur":
            assert found == pytest.approx(share, rel=0.01)
        else:  # it loses whole rings of the spectrum, as many as it may
            assert 0.7 * share < found <= 1.01 * share
    assert torch.allclose(restore(family, 0)[0, 0], case.image, atol=1e-5)


def test_the_blur_is_scipys_gaussian(restore, case):
    sr = restore("blur", 1)[0, 0].numpy()
    sigmas = np.arange(0.4, 1.6, 0.002)
    hr = case.image.numpy()
    apart = [abs(ndimage.gaussian_filter(hr, s, truncate=8) - sr)[8:-8, 8:-8].max() for s in sigmas]
    assert min(apart) < 2e-3


def test_noise_is_that_of_lr_times_a_share(cases):
    case = cases[0]
    clean = shrink(case.image[None, None])
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    made = uniform.references(enlarge, noiseless=shrink, strengths={"noise": [1, 0.5, 0]})
    whole, half, none = (method.of(case)(noisy) for method in made.values())
    assert torch.allclose(whole, enlarge(noisy), atol=1e-6)
    assert torch.allclose(half, enlarge((noisy + clean) / 2), atol=1e-6)
    assert torch.allclose(none, enlarge(clean))


def test_references_are_scored_as_methods_and_found_again(cases):
    strengths = {"mixture": [0, 0.5], "low-pass": [1]}
    methods = {"bicubic": enlarge} | uniform.references(enlarge, strengths=strengths)
    table = score(methods, cases[:3], degrade=shrink, scale=2, progress=False)
    assert uniform.families(table) == {
        "mixture": ["uniform mixture 0", "uniform mixture 0.5"],
        "low-pass": ["uniform low-pass 1"],
    }
    assert uniform.without(table)["method"].unique().tolist() == ["bicubic"]
    whole = table[table["region"].eq("whole")].pivot(index="id", columns="method", values="mse")
    expected = whole["bicubic"] / 4
    np.testing.assert_allclose(whole["uniform mixture 0.5"], expected, rtol=1e-4)


def test_the_baseline_runs_once_a_case_whatever_the_references(cases):
    calls = []

    def counted(lr):
        calls.append(len(lr))
        return enlarge(lr)

    methods = uniform.references(counted, strengths={"mixture": [0, 0.5], "blur": [1, 0.5]})
    score(methods, cases[:3], degrade=shrink, scale=2, region_names=["whole"], progress=False)
    assert calls == [1, 1, 1]


def test_another_lr_of_the_same_case_is_not_taken_for_the_first(case):
    method = uniform.references(enlarge, strengths={"mixture": [0]})["uniform mixture 0"]
    first, second = (shrink(case.image[None, None]) * share for share in (1.0, 0.5))
    assert torch.equal(method.of(case)(first), enlarge(first))
    assert torch.equal(method.of(case)(second), enlarge(second))


def test_families_without_their_function_are_left_out():
    names = uniform.families(pd.DataFrame({"method": list(uniform.references(enlarge))}))
    assert list(names) == ["mixture", "blur", "low-pass"]
    made = uniform.references(enlarge, linear=smooth, noiseless=shrink)
    names = uniform.families(pd.DataFrame({"method": list(made)}))
    assert {family: len(of) for family, of in names.items()} == {
        family: len(of) for family, of in uniform.STRENGTHS.items()
    }


def test_refuses_what_is_no_family_and_lr_without_its_case(case):
    with pytest.raises(ValueError, match="no family 'sharpening' of references; there are mixture"):
        uniform.references(enlarge, strengths={"sharpening": [1]})
    with pytest.raises(ValueError, match="'mixture' of references has no strengths"):
        uniform.references(enlarge, strengths={"mixture": []})
    method = uniform.references(partial(enlarge))["uniform mixture 0.2"]
    with pytest.raises(TypeError, match="made from HR; call the one `of` a case"):
        method(shrink(case.image[None, None]))


def test_hr_can_be_shown_changed_whatever_lr_is(case):
    method = uniform.from_hr(lambda hr: 2 * hr)
    assert torch.equal(method.of(case)(torch.zeros(1, 1, 2, 2))[0, 0], (2 * case.image).clamp(0, 1))
    with pytest.raises(TypeError, match="made from HR; call the one `of` a case"):
        method(torch.zeros(1, 1, 2, 2))

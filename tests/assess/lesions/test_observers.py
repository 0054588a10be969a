import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from medsr_lib.assess.lesions.insert import insert
from medsr_lib.assess.lesions.observers import (
    detectability,
    laguerre_gauss,
    pseudo_values,
    responses,
)

P = 21
SIGMA = 0.1


def lesion(diameter=7, contrast=0.03, side=P):
    """A known signal (side, side)."""
    middle, black = side // 2, torch.zeros(side, side)
    return insert(black, centre=(middle, middle), diameter=diameter, contrast=contrast).numpy()


def patches(n, signal, seed=0):
    """Independent white noise with and without a signal."""
    rng = np.random.default_rng(seed)
    present, absent = SIGMA * rng.standard_normal((2, n, P, P))
    return present + signal, absent


def measure(present, absent, groups=None):
    groups = range(len(present)) if groups is None else groups
    responded = responses(present, absent, groups=groups, width=7.0)
    return detectability(*responded, groups=groups, seed=0)


@pytest.mark.parametrize("contrast", [0.015, 0.03, 0.06])
def test_white_noise_gives_the_analytic_index(contrast):
    signal = lesion(contrast=contrast)
    _, absent = patches(6000, signal)
    d, _ = measure(absent + signal, absent)  # the same backgrounds, as contrast_detail has them
    assert d.value == pytest.approx(np.linalg.norm(signal) / SIGMA, rel=0.04)


def test_the_interval_holds_the_analytic_index_and_auc_follows_it():
    signal = lesion()
    channels = laguerre_gauss(P, width=7)
    caught, *_ = np.linalg.lstsq(channels, signal.ravel(), rcond=None)
    analytic = np.linalg.norm(channels @ caught) / SIGMA  # what the channels let through
    d, auc = measure(*patches(3000, signal))
    assert d.low < analytic < d.high
    assert auc == pytest.approx(norm.cdf(d.value / math.sqrt(2)), abs=0.01)


def test_correlated_noise_gives_the_hotelling_index():
    channels = laguerre_gauss(P, width=7)
    rng = np.random.default_rng(0)
    pink = np.exp(-np.hypot(*np.mgrid[-10:11, -10:11]) / 3)
    spectrum = np.abs(np.fft.fft2(np.fft.ifftshift(pink)))
    noise = np.fft.ifft2(np.sqrt(spectrum) * np.fft.fft2(rng.standard_normal((2, 8000, P, P)))).real
    flat = np.eye(P * P).reshape(-1, P, P)
    root = np.fft.ifft2(np.sqrt(spectrum) * np.fft.fft2(flat)).real.reshape(P * P, P * P)
    covariance = channels.T @ root.T @ root @ channels
    signal = lesion(contrast=1.0)
    dv = channels.T @ signal.ravel()
    analytic = math.sqrt(dv @ np.linalg.solve(covariance, dv))
    d, _ = measure(noise[0] + signal, noise[1])
    assert d.value == pytest.approx(analytic, rel=0.04)


def test_nothing_to_detect_is_not_detected():
    """A template that had seen its own patches would find d' well above 0."""
    values = [measure(*patches(60, 0, seed)).d.value for seed in range(20)]
    assert abs(np.mean(values)) < 0.15


def test_identical_patches_have_no_index():
    absent = patches(50, 0)[1]
    d, auc = measure(absent, absent)
    assert (d.value, auc) == (0, 0.5)


def test_copies_of_patches_do_not_narrow_the_interval():
    pair = patches(60, lesion())
    once, _ = measure(*pair)
    copied, _ = measure(*(np.repeat(p, 4, 0) for p in pair), groups=np.repeat(range(60), 4))
    assert (copied.cases, copied.patients) == (240, 60)
    assert copied.value == pytest.approx(once.value, rel=0.02)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.05)


def test_pseudo_values_are_those_of_the_jackknife_and_their_mean_is_d():
    rng = np.random.default_rng(0)
    groups = np.repeat(range(5), 3)
    absent = rng.standard_normal(15)
    present = absent + 1 + 0.3 * rng.standard_normal(15)

    def index(kept):
        variance = (present[kept].var(ddof=1) + absent[kept].var(ddof=1)) / 2
        return (present[kept].mean() - absent[kept].mean()) / math.sqrt(variance)

    whole = index(groups >= 0)
    left_out = np.array([index(groups != g) for g in range(5)])
    found = pseudo_values(present, absent, groups=groups)
    assert found.mean() == pytest.approx(whole)
    assert np.diff(found) == pytest.approx(-4 * np.diff(left_out))


@pytest.mark.parametrize("diameter", [3, 6, 9])
def test_channels_catch_a_disc_at_their_width(diameter):
    side = 2 * math.ceil(1.5 * diameter) + 1
    basis, _ = np.linalg.qr(laguerre_gauss(side, width=diameter))
    signal = lesion(diameter, 1.0, side).ravel()
    assert np.linalg.norm(basis.T @ signal) > 0.96 * np.linalg.norm(signal)


@pytest.mark.parametrize(
    ("groups", "wrong"),
    [
        ([0, 0, 1, 1] * 5, "at least 3, got 2"),
        ([0] * 17 + [1, 2, 3], "3 backgrounds are too few for 6 channels"),
    ],
)
def test_too_few_groups(groups, wrong):
    with pytest.raises(ValueError, match=wrong):
        measure(*patches(20, 0), groups=groups)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"present": [1.0, np.nan, 3]}, "present must be finite"),
        ({"absent": [1.0, 2]}, r"present is \(3,\), absent \(2,\); give as many of both"),
        ({"present": [], "absent": [], "groups": []}, "give as many of both"),
        ({"groups": ["a", None, "b"]}, "groups must name every case, but 1 of 3"),
        ({"groups": ["a"]}, r"groups must have one length with the rest, 3, got \(1,\)"),
    ],
)
def test_refuses_what_are_no_responses(change, wrong):
    given = {"present": [1.0, 2, 3], "absent": [0.0, 1, 0], "groups": ["a", "b", "c"]} | change
    with pytest.raises(ValueError, match=wrong):
        pseudo_values(given["present"], given["absent"], groups=given["groups"])
    with pytest.raises(ValueError, match=wrong):
        detectability(given["present"], given["absent"], groups=given["groups"], seed=0)


@pytest.mark.parametrize(
    ("size", "width", "wrong"),
    [(0, 4.0, "size must be a whole number"), (9, 0.0, "width must be a positive number")],
)
def test_refuses_channels_without_extent(size, width, wrong):
    with pytest.raises(ValueError, match=wrong):
        laguerre_gauss(size, width=width)

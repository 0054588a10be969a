import math

import numpy as np
import pytest
from scipy import stats

from medsr_lib.assess.fidelity import texture

# IBSI's digital phantom (reference manual, arXiv 1612.07003, chapter 5): 4 slices of 4 x 5, levels
# 1 to 6; 0 stands for the six voxels that are not in the region.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
# Its reference values, as the manual prints them (sections 3.3 and 3.4: all of 74 voxels).
FIRST_ORDER = {
    "mean": 2.15,
    "variance": 3.05,
    "skewness": 1.08,
    "kurtosis": -0.355,
    "median": 1,
    "minimum": 1,
    "p10": 1,
    "p90": 4,
    "maximum": 6,
    "interquartile_range": 3,
    "range": 5,
    "mean_deviation": 1.55,
    "robust_mean_deviation": 1.11,
    "energy": 567,
    "root_mean_square": 2.77,
}
# Section 3.6, features of each slice ("2D averaged"), averaged over slices.
GLCM = {
    "contrast": 5.28,
    "dissimilarity": 1.42,
    "inverse_difference": 0.678,
    "inverse_difference_moment": 0.619,
    "angular_second_moment": 0.368,
    "joint_entropy": 2.05,
    "joint_variance": 2.69,
    "correlation": -0.0121,
    "sum_average": 4.28,
    "cluster_shade": 7.00,
}
# The merged matrices the manual prints, slice by slice: counts of (i, j), and as many of (j, i).
MATRICES = [
    {(1, 1): 22, (1, 4): 17, (1, 6): 6, (4, 4): 16, (4, 6): 11, (6, 6): 4},
    {(1, 1): 42, (1, 3): 5, (1, 4): 8, (1, 6): 8, (3, 4): 1, (3, 6): 2, (4, 4): 4, (4, 6): 3},
    {(1, 1): 56, (1, 4): 7, (1, 6): 4, (4, 4): 2},
    {(1, 1): 70, (1, 4): 7, (1, 6): 5, (4, 4): 2},
]


def three_digits(value):
    return float(f"{value:.3g}")


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_equals_ibsis_reference(name):
    found = texture.first_order(PHANTOM[PHANTOM > 0])
    assert list(found) == list(texture.FIRST_ORDER) == list(FIRST_ORDER)
    assert three_digits(found[name]) == FIRST_ORDER[name]


def test_histogram_equals_ibsis_reference():
    found = texture.histogram(PHANTOM[PHANTOM > 0])
    assert {k: three_digits(v) for k, v in found.items()} == {"entropy": 1.27, "uniformity": 0.512}


@pytest.mark.parametrize("name", GLCM)
def test_co_occurrence_equals_ibsis_reference(name):
    counts = [texture.glcm(levels, levels > 0) for levels in PHANTOM]
    of_slices = [texture.glcm_features(of_slice)[name] for of_slice in counts]
    assert three_digits(np.mean(of_slices)) == GLCM[name]


@pytest.mark.parametrize("number", range(4))
def test_matrices_equal_those_ibsi_prints(number):
    expected = np.zeros((32, 32), int)
    for (i, j), count in MATRICES[number].items():
        expected[i - 1, j - 1] = expected[j - 1, i - 1] = count
    found = texture.glcm(PHANTOM[number], PHANTOM[number] > 0)
    np.testing.assert_array_equal(found.sum(0), expected)


def test_discretise_by_hand_and_beyond_the_range():
    values = np.array([0.2, 0.2124, 0.2126, 0.6, -1, 2])  # a bin is (0.6 - 0.2) / 32 = 0.0125 wide
    assert texture.discretise(values, low=0.2, high=0.6).tolist() == [1, 1, 2, 32, 1, 32]
    with pytest.raises(ValueError, match=r"must have a width, got 0\.3 to 0\.3"):
        texture.discretise(np.array([0.3]), low=0.3, high=0.3)


def test_first_order_equals_scipy():
    values = np.random.default_rng(0).gamma(2, size=500)
    found = texture.first_order(values)
    assert found["skewness"] == pytest.approx(stats.skew(values), rel=1e-12)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(values), rel=1e-12)
    assert found["interquartile_range"] == pytest.approx(stats.iqr(values), rel=1e-12)


def brute_force(levels, mask):
    found = np.zeros((4, 32, 32), int)
    for d, (down, right) in enumerate([(0, 1), (1, 0), (1, 1), (1, -1)]):
        for row, column in np.argwhere(mask):
            r, c = row + down, column + right
            if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c]:
                i, j = levels[row, column] - 1, levels[r, c] - 1
                found[d, i, j] += 1
                found[d, j, i] += 1
    return found


@pytest.mark.parametrize("seed", range(4))
def test_matrices_of_a_ragged_region_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    levels, mask = rng.integers(1, 9, (14, 17)), rng.random((14, 17)) < (0.1, 0.5, 0.9, 1)[seed]
    found = texture.glcm(levels, mask)
    np.testing.assert_array_equal(found, brute_force(levels, mask))


def test_texture_ignores_what_lies_outside():
    image, other = np.random.default_rng(0).random((2, 30, 40))
    disc = np.hypot(*np.mgrid[-15:15, -20:20]) <= 12
    other[disc] = image[disc]
    bounds = {"low": image[disc].min(), "high": image[disc].max()}
    assert texture.texture(other, disc, **bounds) == texture.texture(image, disc, **bounds)


def test_texture_of_hardly_any_pixels():
    nothing = np.zeros((5, 5), bool)
    assert np.isnan(list(texture.first_order(np.array([])).values())).all()
    assert np.isnan(list(texture.histogram(np.array([], int)).values())).all()
    counts = texture.glcm(np.ones((5, 5), int), nothing)
    assert counts.sum() == 0
    found = texture.glcm_features(counts)
    assert np.isnan(list(found.values())).all()


def test_a_line_has_pairs_in_one_direction_only():
    levels, line = np.array([[1, 2, 1, 2]] * 4), np.eye(4, dtype=bool)
    counts = texture.glcm(levels, line)
    assert counts.sum((1, 2)).tolist() == [0, 0, 6, 0]
    assert texture.glcm_features(counts)["contrast"] == 1


def test_texture_of_a_constant_region():
    flat, mask = np.full((8, 8), 0.3, np.float32), np.ones((8, 8), bool)
    found = texture.texture(flat, mask, low=0.3, high=0.3)
    assert found["variance"] == 0
    assert np.isnan([found["skewness"], found["kurtosis"], found["entropy"]]).all()
    assert math.isnan(found["glcm_contrast"])
    smooth = texture.texture(flat, mask, low=0.1, high=0.5)  # a constant SR of a textured HR
    assert (smooth["glcm_contrast"], smooth["glcm_joint_entropy"], smooth["entropy"]) == (0, 0, 0)
    assert math.isnan(smooth["glcm_correlation"])

import numpy as np
import pytest

from medsr_lib.assess.quality.symmetry import Line, best_line, midline, reflect

SIZE = 128
rows, columns = np.mgrid[:SIZE, :SIZE]


def tilted(degrees):
    """A head with two dark chambers, symmetrical at a line through (64, 70) of some tilt."""
    turn = np.deg2rad(degrees)
    down, across = rows - 64, columns - 70
    u = across * np.cos(turn) + down * np.sin(turn)
    v = down * np.cos(turn) - across * np.sin(turn)
    head = (u / 42) ** 2 + (v / 54) ** 2 < 1
    image = head * 0.4 - 0.3 * ((abs(u) - 15) ** 2 + (v + 5) ** 2 < 80)
    return image.astype(np.float32), head


@pytest.mark.parametrize("degrees", [-12, 0, 8])
def test_finds_the_midline(degrees):
    line = midline(*tilted(degrees))
    assert np.rad2deg(line.tilt) == pytest.approx(degrees, abs=2)
    assert line.mirrored(64, 70) == pytest.approx((64, 70), abs=3)


def test_no_midline_in_a_head_whose_sides_differ():
    image, head = tilted(0)
    image[(columns > 70) & (rows < 64)] *= 0.1
    assert midline(image, head) is None
    assert midline(image, head & False) is None


def test_a_perfect_mirror_image_has_symmetry_1():
    image, head = tilted(0)
    both = (np.concatenate((of[:, 6:70], of[:, 6:70][:, ::-1]), 1) for of in (image, head))
    assert best_line(*both)[1] > 0.97


def test_reflects_at_an_upright_line():
    mask = np.zeros((9, 11), bool)
    mask[2:4, 1:3] = True
    reflected = reflect(mask, Line((4, 5), 0.0))
    np.testing.assert_array_equal(reflected, mask[:, ::-1])
    assert not reflect(mask, Line((4, 0), 0.0)).sum() > 2  # out of the image


def test_reflects_twice_to_the_same_place():
    line = Line((10.0, 20.0), 0.3)
    there = line.mirrored(3.0, 7.0)
    assert line.mirrored(*there) == pytest.approx((3.0, 7.0))

import matplotlib.pyplot as plt
import numpy as np
import pytest

from medsr_lib.show import panels


@pytest.mark.parametrize("lead", [(), (1,), (1, 1)])
def test_leading_axes_of_length_one_do_not_matter(image, lead):
    np.testing.assert_array_equal(panels.as_image(image.reshape(*lead, 64, 64), "image"), image)


def test_a_mask_has_the_shape_of_its_image(mask):
    with pytest.raises(ValueError, match=r"mask must have the shape \(64, 64\); got \(64, 60\)"):
        panels.as_mask(mask[:, :60], (64, 64))


def test_an_outline_has_a_dark_halo_and_an_empty_mask_none(mask):
    figure, axes = plt.subplots()
    panels.contour(axes, mask & False)
    assert not axes.collections
    panels.contour(axes, mask)
    assert len(axes.collections) == 2
    plt.close(figure)


def test_the_enlarged_square_stays_inside_the_slice(mask):
    assert panels.square_around(mask, 2) == (26, 18, 46, 38)
    assert panels.square_around(np.roll(mask, -20, 0), 2) == (26, 0, 46, 20)
    assert panels.square_around(mask, 100) == (0, 0, 64, 64)

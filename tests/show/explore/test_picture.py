import io

import numpy as np
import pytest
from PIL import Image
from PIL.ImageColor import getrgb

from medsr_lib.show.explore import picture
from medsr_lib.show.style import CONTOUR


def test_the_window_decides_what_is_black_and_what_white():
    pixels = picture.grey(np.array([[0.1, 0.2, 0.3, 0.4, 0.9]]), (0.2, 0.4))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_maps_have_the_colours_of_matplotlib_and_grey_for_nan():
    scale = picture.Scale("RdBu_r", -1, 1, "error")
    blue, white, red, none = picture.coloured(np.array([[-2, 0, 1, np.nan]]), scale)[0].astype(int)
    assert blue[2] > blue[0] + 50
    assert red[0] > red[2] + 50
    assert white.min() > 240
    assert none.tolist() == [0xBD] * 3


def test_the_outline_lies_outside_the_mask(mask):
    pixels = np.full((64, 64, 3), 100, np.uint8)
    picture.outline(pixels, mask)
    yellow = (pixels == getrgb(CONTOUR)).all(-1)
    assert yellow.sum() == 2 * (16 + 12)
    assert not (yellow & mask).any()
    assert (pixels[mask].reshape(-1, 3)[0] == 0).all()  # the halo
    assert (pixels[28, 36] == 100).all()


def test_an_enlarged_pixel_stays_a_square():
    pixels = picture.enlarged(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 8)
    assert pixels.shape == (8, 8, 3)
    assert (pixels[:4, :4] == [0, 1, 2]).all()


def test_a_stored_picture_is_small_even_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    assert len(picture.kept(noise)) < 150_000


def test_pictures_are_joined_on_white():
    low, high = np.zeros((2, 3, 3), np.uint8), np.zeros((5, 3, 3), np.uint8)
    both = picture.joined([low, high], axis=1)
    assert both.shape == (5, 3 + picture.GAP + 3 + picture.GAP, 3)
    assert (both[2:, :3] == 255).all()
    assert (both[:, 3 + picture.GAP : 6 + picture.GAP] == 0).all()


def test_a_sheet_knows_where_each_pixel_of_an_image_is_seen():
    panel = picture.Panel(np.zeros((32, 40, 3), np.uint8), "title", "note")
    _, boxes = picture.sheet([panel] * 3, columns=2)
    assert boxes == [(0, 24, 40, 56), (48, 24, 88, 56), (0, 108, 40, 140)]
    shown = (100, 50, 110, 58)  # each pixel of the image is a square of 4 x 4
    found = {at: picture.found_at(*at, boxes, shown) for at in [
        (0, 24), (3, 27), (4, 28), (61, 35), (39, 139), (41, 30), (5, 23), (5, 56), (60, 120),
        (-1, 30),
    ]}  # fmt: skip
    assert list(found.values()) == [
        (50, 100), (50, 100), (51, 101), (52, 103), (57, 109), None, None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(64, 56), (37, 41), (3, 2)])
def test_what_is_found_is_what_is_drawn(shape):
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    width, height = picture.size_of(shape, 97)
    drawn = np.asarray(Image.fromarray(numbers).resize((width, height), Image.Resampling.NEAREST))
    boxes, shown = [(0, 0, width, height)], (0, 0, shape[1], shape[0])
    for y in range(height):
        for x in range(width):
            assert numbers[picture.found_at(x, y, boxes, shown)] == drawn[y, x]


def test_a_chart_knows_the_value_at_a_pixel_and_the_pixel_of_a_value():
    chart = picture.Chart((300, 100), (100, 10, 200, 60), title="", below="x")
    chart.axes.set(xlim=(0, 50), ylim=(1e-3, 1), yscale="log")
    assert chart.at(149, 30) == pytest.approx((24.75, 10 ** (-3 * 0.41)))
    assert chart.at(95, 5) == pytest.approx((0, 1))
    assert chart.at(208, 68) == pytest.approx((50, 1e-3))
    assert chart.at(91, 30) is None
    assert chart.at(149, 69) is None
    np.testing.assert_allclose(chart.places([0, 50], [1e-3, 1]), [[100, 60], [200, 10]])


def test_a_chart_draws_where_it_says():
    chart = picture.Chart((300, 100), (100, 10, 200, 60), title="title", below="step")
    chart.axes.set(xlim=(0, 50), ylim=(0, 1))
    before = chart.pixels()
    chart.axes.plot([25], [0.5], "o", color="red", markersize=4)
    rows, columns, _ = np.nonzero(chart.pixels() != before)
    assert (rows.mean(), columns.mean()) == pytest.approx((34.5, 149.5), abs=1)
    marked = chart.with_line(before, 25)
    assert np.unique(np.nonzero(marked != before)[1]).tolist() == [150]


def test_a_ring_lies_around_its_place():
    pixels = picture.ringed(np.full((40, 40, 3), 255, np.uint8), np.array([[20.0, 15.0]]))
    rows, columns, _ = np.nonzero(pixels != 255)
    assert (rows.mean(), columns.mean()) == pytest.approx((15, 20), abs=0.5)
    assert (pixels[15, 20] == 255).all()


def test_a_picture_is_sent_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.encoded(noise)))), noise)

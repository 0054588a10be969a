import base64
import io

import numpy as np
import pytest
from PIL import Image

from medsr_lib.show.explore import charts


def opened(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_a_stored_picture_is_small_even_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    assert len(charts.kept(noise)) < 150_000


def test_pictures_are_joined_on_white():
    low, high = np.zeros((2, 3, 3), np.uint8), np.zeros((5, 3, 3), np.uint8)
    both = charts.joined([low, high], axis=1)
    assert both.shape == (5, 3 + charts.GAP + 3 + charts.GAP, 3)
    assert (both[2:, :3] == 255).all()
    assert (both[:, 3 + charts.GAP : 6 + charts.GAP] == 0).all()


def test_an_image_stays_itself_below_its_title():
    pixels = charts.titled(np.array([[0.1, 0.3], [0.5, 0.2]]), "title", side=8, window=(0.1, 0.3))
    assert pixels.shape == (charts.HEAD + 8, 8, 3)
    assert pixels[charts.HEAD :: 4, ::4, 0].tolist() == [[0, 255], [255, 127]]


def test_a_chart_draws_where_it_says():
    chart = charts.Chart((300, 100), (100, 10, 200, 60), title="title", below="step")
    chart.axes.set(xlim=(0, 50), ylim=(0, 1))
    before = chart.pixels()
    chart.axes.plot([25], [0.5], "o", color="red", markersize=4)
    rows, columns, _ = np.nonzero(chart.pixels() != before)
    assert (rows.mean(), columns.mean()) == pytest.approx((34.5, 149.5), abs=1)
    marked = chart.with_line(before, 25)
    assert np.unique(np.nonzero(marked != before)[1]).tolist() == [150]


def test_a_ring_lies_around_its_place():
    chart = charts.Chart((300, 100), (100, 10, 200, 60), title="", below="")
    chart.axes.set(xlim=(0, 50), ylim=(0, 1))
    before = chart.pixels()
    after = chart.with_rings(before, [25], [0.5])
    rows, columns, _ = np.nonzero(after != before)
    assert (rows.mean(), columns.mean()) == pytest.approx((35, 150), abs=1)


def test_a_picture_is_sent_as_it_is_with_its_name():
    noise = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    html = charts.img(noise, '"Chart"')
    assert html.startswith('<img alt="&quot;Chart&quot;"')
    assert np.array_equal(opened(html.split("base64,")[1].split('"')[0]), noise)

"""What the viewer is sent; `tests/browser/test_viewer.py` looks at what it shows."""

import json
import re
import zlib
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from PIL.ImageColor import getrgb

from medsr_lib.show.explore import viewer
from medsr_lib.show.explore.viewer import Scale, Scene
from medsr_lib.show.style import CONTOUR


@pytest.fixture
def scene(image, mask):
    sr = {"bicubic": image, "ESPCN": np.clip(image + 0.09, 0, 1)}
    maps = {"SSIM": {"ESPCN": np.where(mask, np.nan, 2 * image - 1)}}
    scales = {"SSIM": Scale("magma_r", 0, 1, "SSIM", ("unlike HR", "as in HR"))}
    return Scene("7, glioma", image, image[::4, ::4], sr, mask, maps=maps, scales=scales)


def unpacked(about, data):
    """The layers as `pixels.js` reads them."""
    if about["bits"] == 8:
        data = zlib.decompress(data)
    numbers, start, found = np.frombuffer(data, f"<u{about['bits'] // 8}"), 0, {}
    for layer in about["layers"]:
        raw = numbers[start : (start := start + layer["height"] * layer["width"])]
        raw = raw.reshape(layer["height"], layer["width"])
        raw = raw if about["bits"] == 16 else np.cumsum(raw, 1, dtype=np.uint8)
        share = (raw.astype(float) - 1) / (2 ** about["bits"] - 2)
        values = layer["low"] + share * (layer["high"] - layer["low"])
        found[layer["image"], layer["map"]] = np.where(raw == 0, np.nan, values)
    assert start == len(numbers)
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_all_pixels_arrive(scene, bits):
    found = unpacked(*viewer.packed(scene, bits=bits))
    sent = {(name, ""): image for name, image in scene.images.items()}
    sent |= {("mask", ""): scene.mask, ("ESPCN", "SSIM"): scene.maps["SSIM"]["ESPCN"]}
    assert found.keys() == sent.keys()
    for name, values in sent.items():
        np.testing.assert_allclose(found[name], values, atol=2 / 2**bits, err_msg=str(name))


def test_the_window_is_that_of_hr_if_none_is_given(scene):
    about, _ = viewer.packed(scene, bits=16)
    assert about["window"] == about["auto"] == pytest.approx(np.percentile(scene.hr, (1, 99)))
    about, _ = viewer.packed(replace(scene, window=(0, 0.7), hr=scene.hr * 0), bits=16)
    assert (about["window"], about["auto"]) == ((0, 0.7), (0, 0.01))


def test_the_difference_has_words_and_the_same_colours_for_all(scene):
    maps = viewer.packed(scene, bits=16)[0]["maps"]
    assert [*maps] == ["SR − HR", "SSIM"]
    assert (maps["SR − HR"]["low"], maps["SR − HR"]["high"]) == (-0.1, 0.1)
    assert maps["SR − HR"]["ends"][0] == "−0.1: darker than HR"
    (r, _, b), (white, *_), (red, _, blue) = (maps["SR − HR"]["colours"][n] for n in (0, 16, -1))
    assert b > r + 50
    assert red > blue + 50
    assert white > 240
    assert viewer.packed(replace(scene, sr={}, maps={}, scales={}), bits=16)[0]["maps"] == {}


def cases_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


def test_a_page_has_as_many_cases_as_find_room(scene):
    nasty = replace(scene, title="</script><b>7")
    one = len(viewer.page_html([nasty])) - len(viewer.SCRIPT)
    html = viewer.page_html([nasty] * 9, budget=3 * one)
    cases = cases_of(html)
    assert 2 <= len(cases) <= 3
    assert cases[0]["title"] == "</script><b>7"
    assert html.count("</script>") == 2
    assert not re.search(r"(src|href)=|https?:", html)
    assert unpacked(cases[0], b64decode(cases[0]["data"])).keys() >= {("ESPCN", "")}


def test_a_case_too_large_for_a_page_is_cut_to_its_lesion(scene):
    hr = np.random.default_rng(0).random((512, 512), np.float32)
    mask, large = np.kron(scene.mask, np.ones((8, 8), bool)), {"bicubic": hr**2}
    given = Scene("7", hr, hr[::4, ::4], large, mask)
    (case,) = cases_of(viewer.page_html([given], budget=80_000))
    assert (case["height"], case["width"]) == (128, 128)
    top, left = case["corner"]
    found = unpacked(case, b64decode(case["data"]))
    for name, values in (("HR", hr), ("mask", mask), ("bicubic", large["bicubic"])):
        part = values[top : top + 128, left : left + 128]
        np.testing.assert_allclose(found[name, ""], part, atol=0.01)
    assert mask[top : top + 128, left : left + 128].sum() > mask.sum() / 3
    lr = given.lr[top // 4 : top // 4 + 32, left // 4 : left // 4 + 32]
    np.testing.assert_allclose(found["LR", ""], lr, atol=0.01)


def test_the_still_picture_shows_what_the_viewer_shows_at_first(scene):
    pixels = viewer.still(replace(scene, window=(0, 1)))
    assert pixels.shape == (24 + 360, 3 * 366 - 6, 3)  # HR, bicubic, ESPCN; not LR
    x, y = 2 + 4 * 45, 24 + 2 + 4 * 45
    assert pixels[y, x, 0] == pytest.approx(255 * scene.hr[32, 32], abs=1)
    outlined = (pixels == getrgb(CONTOUR)).all(-1)
    assert outlined[:, :360].sum() == outlined[:, 366:726].sum() > 50
    assert not (viewer.still(replace(scene, mask=None)) == getrgb(CONTOUR)).all(-1).any()


def test_many_methods_are_not_all_shown_at_first(scene):
    many = replace(scene, sr={f"m{n}": scene.hr for n in range(9)})
    assert many.shown == ["HR", "m0", "m1", "m2", "m3", "m8"]

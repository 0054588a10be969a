from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from medsr_lib.show import slide

ABOUT = {
    "slices": 227,
    "patients": 117,
    "data": "synthetic slices",
    "degradation": "bicubic ×4",
    "title": "The tumour profits less than comparable tissue",
}


def content(image, n, name="network {} with a rather long name"):
    """What a slide of n methods shows."""
    names = ["bicubic", *[name.format(i) for i in range(1, n)]]
    line = SimpleNamespace(value=-0.0055, low=-0.008, high=0.002)
    return {
        "restored": dict.fromkeys(names, image),
        "ssim": dict.fromkeys(names, (0.91, 0.87)),
        "verdicts": [f"{name}: not inferior within margin (SSIM 0.01)" for name in names],
        "contrasts": dict.fromkeys(names[1:], line),
    }


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_nothing_leaves_the_page_and_no_texts_overlap(image, mask, n):
    figure = slide.summary(image, mask=mask, **content(image, n), **ABOUT)
    figure.draw_without_rendering()
    found = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    boxes = [Text.get_window_extent(text) for text in found]
    page = figure.bbox
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 for b in boxes)
    assert all(page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)
    shrunk = [b.shrunk(0.96, 0.8) for b in boxes]
    touching = [
        (found[i].get_text(), found[j].get_text())
        for i, a in enumerate(shrunk)
        for j, b in enumerate(shrunk[:i])
        if a.overlaps(b)
    ]
    assert not touching


def test_a_slide_is_16_to_9_and_closed(image, mask):
    figure = slide.summary(image, mask=mask, **content(image, 2), **ABOUT)
    assert figure.get_size_inches().tolist() == [13.33, 7.5]
    assert plt.get_fignums() == []


def test_a_slide_tells_what_stands_behind_it(image, mask, text_of):
    text = text_of(slide.summary(image, mask=mask, **content(image, 3), **ABOUT))
    assert "synthetic slices, 227 slices of 117 patients, LR by bicubic ×4" in text
    for part in ("Research use only, not for diagnosis", "0.910\n0.870", "−0.0055", "Verdict"):
        assert part in text


def test_every_picture_has_the_same_window(image, mask):
    figure = slide.summary(image, mask=mask, **content(image, 3), **ABOUT)
    shown = [i for axes in figure.axes for i in axes.images]
    assert len(shown) == 8
    assert {i.get_clim() for i in shown} == {(0.0, 0.7)}


def test_a_contrast_without_interval_is_a_point(image, mask):
    given = content(image, 2)
    name = next(iter(given["contrasts"]))
    given["contrasts"] = {name: SimpleNamespace(value=0.1, low=np.nan, high=np.nan)}
    slide.summary(image, mask=mask, **given, **ABOUT)


def test_a_slide_refuses_what_does_not_fit(image, mask):
    given = content(image, 2)
    with pytest.raises(ValueError, match="two to six methods; got 7"):
        slide.summary(image, mask=mask, **content(image, 7), **ABOUT)
    with pytest.raises(ValueError, match="90 verdicts do not fit"):
        slide.summary(image, mask=mask, **{**given, "verdicts": ["words"] * 90}, **ABOUT)
    with pytest.raises(ValueError, match="text does not fit on the slide"):
        slide.summary(image, mask=mask, **given, **{**ABOUT, "title": "long " * 90})
    with pytest.raises(ValueError, match=r"unknown method in ssim \['bicubic'"):
        slide.summary(image, mask=mask, **{**given, "ssim": {}}, **ABOUT)
    with pytest.raises(ValueError, match="no contrast"):
        slide.summary(image, mask=mask, **{**given, "contrasts": {}}, **ABOUT)

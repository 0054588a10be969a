import numpy as np
import pytest
from matplotlib.text import Text

from medsr_lib import show
from medsr_lib.show.style import PHONE

ABOUT = {"data": "synthetic", "degradation": "bicubic ×4", "title": "The tumour gains less"}


@pytest.fixture
def given(image, estimate):
    """A function that makes what a slide of n methods shows."""

    def make(n):
        names = ["bicubic", *[f"network {i} of a rather long name" for i in range(1, n)]]
        return {
            "restored": dict.fromkeys(names, image),
            "ssim": dict.fromkeys(names, (0.91, 0.87)),
            "verdicts": [f"{name}: not inferior within margin" for name in names[1:]],
            "contrasts": dict.fromkeys(names[1:], estimate(value=-0.0055, low=-0.008, high=0.002)),
            **ABOUT,
        }

    return make


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_nothing_leaves_the_page_and_no_texts_overlap(case, given, n, upright):
    figure = show.summary_slide(case, **given(n), upright=upright)
    scales = [axes.xaxis for axes in figure.axes]
    ticks = {tick for scale in scales for tick in scale.findobj(Text)}  # some are not drawn
    ticks -= {scale.label for scale in scales}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t not in ticks]
    found = [t for t in found if t.get_text().strip()]
    boxes = [Text.get_window_extent(text) for text in found]
    page = figure.bbox.padded(2)
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


def test_a_slide_is_16_to_9_with_one_window_and_n(case, given, text_of):
    figure = show.summary_slide(case, **given(3))
    assert figure.get_size_inches().tolist() == [13.33, 7.5]
    assert {i.get_clim() for axes in figure.axes for i in axes.images} == {(0.0, 0.7)}
    text = text_of(figure)
    assert "synthetic, 3 064 images of 233 patients, LR by bicubic ×4" in text
    for part in ("Research use only, not for diagnosis", "SSIM\n0.870", "0.910", "−0.0055"):
        assert part in text


def test_upright_it_has_the_width_and_the_type_of_a_phone(case, given, text_of):
    figure = show.summary_slide(case, **given(3), upright=True)
    assert figure.get_size_inches()[0] == PHONE
    assert min(text.get_size() for text in figure.findobj(Text)) >= 8.5
    assert "SSIM 0.870" in text_of(figure)


def test_the_message_says_which_methods_have_which_verdict(case, given, text_of):
    def message(n, *words):
        about = given(n)
        names = list(about["contrasts"])
        about["verdicts"] = [f"{name}: {of}" for name, of in zip(names, words)]
        return text_of(show.summary_slide(case, **about)).replace("\n", " ")

    assert "All 3 methods: no harm shown" in message(4, *["no harm shown"] * 3)
    assert "network 1 of a rather long name: harms; network 2" in message(3, "harms", "gains")
    assert " …" in message(2, "no verdict, " * 30)  # the reason may be long


def test_the_best_restoration_is_joined_to_the_original_beside_the_baseline(case, given, text_of):
    about = given(3)
    names = list(about["restored"])
    about["ssim"] = dict(zip(names, [(0.9, 0.81), (0.9, 0.83), (0.9, 0.82)]))
    text = text_of(show.summary_slide(case, **about))
    assert "SSIM\n0.810" in text
    assert "SSIM\n0.830" in text
    assert "0.820" not in text


def test_a_contrast_without_interval_is_a_point(case, given, estimate):
    bare = {"contrasts": {"SRGAN": estimate(low=np.nan, high=np.nan)}, "verdicts": []}
    show.summary_slide(case, **{**given(2), **bare})


@pytest.mark.parametrize(
    ("n", "change", "message"),
    [
        (7, {}, "two to six methods; got 7"),
        (3, {"verdicts": ["SRGAN: harms"]}, r"unknown method with a verdict \['SRGAN"),
        (2, {"contrasts": {}}, "no contrast"),
        (2, {"ssim": {}}, r"unknown method in ssim \['bicubic'"),
    ],
)
def test_a_slide_refuses_what_does_not_fit(case, given, n, change, message):
    with pytest.raises(ValueError, match=message):
        show.summary_slide(case, **{**given(n), **change})

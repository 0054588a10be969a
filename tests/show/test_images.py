from dataclasses import replace

import numpy as np
import pytest
import torch

from medsr_lib import show

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")

BOX = (4, 2, 20, 18)
ERRORS = {"title": "SR − HR", "note": "seed 0"}


def compare(case, images, maps=None, scores=None):
    return show.comparison(case, images, maps=maps or {}, scores=scores or {}, title="Slice 7")


def drawn_with(figure, name):
    return [i for axes in figure.axes for i in axes.images if i.cmap.name == name]


@pytest.fixture
def judged(image):
    """What is shown of two methods; the second invented in the upper half."""
    names = ("bicubic", "SRGAN")
    kinds = np.zeros((64, 64), int)
    kinds[:32], kinds[60:] = 2, -1
    return {
        "restored": dict(zip(names, (image, torch.tensor(image)[None, None] + 0.032))),
        "kinds": kinds,
        "scores": {"SRGAN": "invented 0.2"},
        "title": "Invented",
        "note": "slice 7",
    }


def test_the_window_is_one_for_all_and_the_tumour_has_that_of_hr(case, image, methods):
    box = image[8:48, 24:48][2:]  # about the lesion
    for figure in (
        compare(case, {**methods, "dark": 0.1 * case.image}),
        show.with_and_without(case, {"dark": 0.1 * case.image}, note=""),
    ):
        greys = {i.get_clim() for i in drawn_with(figure, "gray") if i.get_array().ndim == 2}
        (near,) = greys - {(0.0, 0.7)}
        assert near == pytest.approx(np.percentile(box, [1, 99]), abs=0.02)


def test_the_title_names_the_image_with_the_highest_ssim(case, image, text_of):
    images = {"tumour erased": image, "restored": torch.tensor(image)[None, None]}
    for best in images:
        ssim = {name: 0.9 + 0.05 * (name == best) for name in images}
        text = text_of(show.with_and_without(case, images, ssim=ssim, note="bicubic ×4"))
        assert f"SSIM says: {best}" in text.replace("\n", " ")
        assert "1 image; slice 7, glioma; bicubic ×4" in text
    with pytest.raises(ValueError, match=r"unknown image in ssim \['SRGAN'\]"):
        show.with_and_without(case, images, ssim={"SRGAN": 1.0}, note="")


def test_comparison_names_columns_and_scores(case, image, methods, text_of):
    maps = {"bicubic": image, "ESPCN": 0.9 + 0.1 * image}
    figure = compare(case, methods, maps, {"ESPCN": "34.2 dB"})
    for part in ("HR", "LR", "bicubic", "ESPCN", "34.2 dB", "SSIM, 1 = identical"):
        assert part in text_of(figure)
    assert [i.get_clim() for i in drawn_with(figure, "magma_r")] == [(0, 1)] * 2
    extents = {tuple(i.get_extent()) for i in drawn_with(figure, "gray")}
    assert extents == {(-0.5, 63.5, 63.5, -0.5)}


def test_comparison_refuses_what_does_not_fit(case, image, methods):
    with pytest.raises(ValueError, match=r"LR must show the field of view of hr \(64, 64\)"):
        compare(case, {"LR": image[:16, :8]})
    with pytest.raises(ValueError, match=r"unknown image in maps \['SRGAN'\]"):
        compare(case, methods, {"SRGAN": image})
    with pytest.raises(ValueError, match=r"unknown image in scores \['SRGAN'\]"):
        compare(case, methods, scores={"SRGAN": "34.2 dB"})


def test_comparison_enlarges_the_middle_of_an_image_without_mask(case, methods, text_of):
    figure = compare(replace(case, mask=None), methods)
    assert "whole image" in text_of(figure)
    assert "lesion" not in text_of(figure)
    limits = {axes.get_xlim() for axes in figure.axes if axes.images}
    assert (15.5, 47.5) in limits


def test_images_out_of_range_and_stacks_are_refused(case, image):
    with pytest.raises(ValueError, match=r"SR must lie in \[0, 1\]; got .* to .*normalise"):
        compare(case, {"SR": 5000 * image})
    with pytest.raises(ValueError, match="got nan to nan"):
        compare(case, {"SR": np.nan * image})
    with pytest.raises(ValueError, match=r"SR must have the shape .*; got \(2, 64, 64\)"):
        compare(case, {"SR": np.stack([image, image])})


def test_images_are_beside_hr_in_rows_of_three_with_their_differences(image, mask, text_of):
    images = {
        "LR": image[::4, ::4],
        "dark": image - 0.01,
        **{f"epoch {n}": image for n in range(4)},
    }
    figure = show.beside_hr(image, images, lesion=mask, scores={"dark": "40 dB"}, **ERRORS)
    panels = np.array(figure.axes[:18]).reshape(6, 3)
    titles = [axes.get_title() for axes in panels[::2].flat]
    assert titles == ["HR", *images, "", ""]
    errors = [bool(axes.images) for axes in panels[1::2].flat]
    assert errors == [False, False, True, True, True, True, True, False, False]
    assert panels[1, 2].get_xlabel() == "40 dB"
    assert "restored − original" in text_of(figure)
    assert "seed 0; 1 image; yellow line" in text_of(figure)


def test_grey_follows_hr_and_one_bad_image_does_not_pale_the_errors(image):
    images = {"untrained": 0 * image, "dark": image - 0.01, "bright": image + 0.032}
    figure = show.beside_hr(image, images, box=BOX, **ERRORS)
    shown = image[2:18, 4:20]
    grey = np.quantile(shown, [0.01, 0.99])
    panels = [*figure.axes[:2], *figure.axes[4:6]]
    np.testing.assert_allclose([axes.images[0].get_clim() for axes in panels], [grey] * 4)
    assert {i.get_clim() for i in drawn_with(figure, "RdBu_r")} == {(-0.04, 0.04)}


def test_images_alone_have_no_row_of_errors(image):
    for options in ({"errors": False}, {}):
        small = image if options else image[::4, ::4]
        figure = show.beside_hr(image, {"bicubic": small}, **options, **ERRORS)
        assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="LR must show the field of view of hr"):
        show.beside_hr(image, {"LR": image[::4]}, **ERRORS)


def test_restorations_show_the_difference_of_images_of_full_size(image):
    images = {"LR": image[::2, ::2], "noisy": torch.tensor(image) + 0.3, "same": image}
    figure = show.restorations(image, images, box=BOX, scores={"noisy": "10 dB"}, title="x")
    panels = np.array(figure.axes[:12]).reshape(4, 3)  # whole image, original, LR; noisy, same
    errors = [panel.images for panel in panels[[1, 3]].flat]
    assert [len(shown) for shown in errors] == [0, 0, 0, 1, 1, 0]
    np.testing.assert_allclose(errors[3][0].get_array(), 0.3, atol=1e-6)
    assert panels[0, 0].get_xlim() == (-0.5, 63.5)
    assert panels[3, 0].get_xlim() == (3.5, 19.5)
    assert panels[3, 0].get_xlabel() == "10 dB"
    assert panels[2, 0].images[0].get_clim() == (0, 1)


def test_restorations_refuse_what_does_not_belong_together(image):
    with pytest.raises(ValueError, match="no images"):
        show.restorations(image, {}, box=BOX, title="x")
    with pytest.raises(ValueError, match="unknown image in scores"):
        show.restorations(image, {"noisy": image}, box=BOX, scores={"other": "1 dB"}, title="x")
    with pytest.raises(ValueError, match="must show the field of view of hr"):
        show.restorations(image, {"noisy": image[:60]}, box=BOX, title="x")


def test_invention_maps_are_six_panels_on_one_scale(case, judged, text_of):
    figure = show.invention_maps(case, **judged)
    titles = [axes.get_title() for axes in figure.axes[:6]]
    assert titles == ["HR", "bicubic", "SRGAN", "fine detail of SRGAN", "", ""]
    assert [i.get_clim() for i in drawn_with(figure, "RdBu_r")] == [(-0.04, 0.04)] * 2
    tints = [i.get_array() for i in figure.axes[3].images if i.get_array().ndim == 3]
    strength = np.max([tint[[0, 40, 63], 0, 3] for tint in tints], axis=0)
    np.testing.assert_allclose(strength, [0.6, 0, 0])
    for part in ("slice 7; 1 image", "detail lost", "invented 0.2", "restored − original"):
        assert part in text_of(figure)


def test_invention_maps_refuse_what_does_not_fit(case, image, judged):
    for change, message in (
        ({"restored": {"bicubic": image}}, "draws two methods; got 1"),
        ({"kinds": image}, r"kinds must hold \[-1, 0, 1, 2\]"),
        ({"scores": {"ESPCN": "0"}}, r"unknown method in scores \['ESPCN'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            show.invention_maps(case, **{**judged, **change})


def test_region_montage_names_what_is_missing(case, regions, text_of):
    empty = regions["mirror"] & False
    shown = {"tumour": regions["tumour"], "brain": regions["head"], "matched": regions["mirror"]}
    figure = show.region_montage([case, case], [shown, {**shown, "matched": empty}])
    text = text_of(figure)
    for part in (
        "7: no matched tissue",
        "1 of 2 tumours with matched tissue",
        "2 images; no matched tissue in 1",
    ):
        assert part in text
    assert "mirror" not in text
    assert "no brain" not in text
    with pytest.raises(ValueError, match="regions of every case are needed; got 2 and 1"):
        show.region_montage([case, case], [shown])

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from medsr_lib.show import images
from medsr_lib.show.panels import square_around


def grey_limits(figure):
    """The windows of all grey panels of a figure."""
    shown = [image for axes in figure.axes for image in axes.images]
    return {image.get_clim() for image in shown if image.get_array().ndim == 2}


def test_every_picture_is_a_figure_that_pyplot_has_let_go(image, mask, methods, regions):
    made = [
        images.slice_with_contour(image, mask),
        images.gallery([image], [mask], ["one"]),
        images.region_map(image, regions),
        images.comparison(image, methods, mask),
        images.locations({"glioma": mask}, {"glioma": 1}),
        images.through_training(image, {"step 0": image}, image, mask),
        images.error_maps(image, {"SRGAN": image}, mask),
    ]
    assert all(isinstance(figure, Figure) for figure in made)
    assert plt.get_fignums() == []


def test_the_window_is_that_of_every_grey_panel(image, mask, methods, regions):
    dark = {**methods, "ESPCN": 0.1 * image}
    assert grey_limits(images.comparison(image, dark, mask)) == {(0.0, 0.7)}
    assert grey_limits(images.gallery([image, 0.1 * image], [mask, None], "ab")) == {(0.0, 0.7)}
    assert grey_limits(images.region_map(image, regions, window=(0.1, 0.5))) == {(0.1, 0.5)}


@pytest.mark.parametrize("lead", [(), (1,), (1, 1)])
def test_leading_axes_of_length_one_do_not_matter(image, mask, lead):
    figure = images.slice_with_contour(image.reshape(*lead, 64, 64), mask.reshape(*lead, 64, 64))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), image)


def test_an_empty_mask_draws_no_outline(image, mask):
    assert not images.slice_with_contour(image, mask & False).axes[0].collections


def test_the_outline_has_a_dark_halo(image, mask):
    axes = images.slice_with_contour(image, mask).axes[0]
    assert len(axes.collections) == 2


def test_gallery_counts_its_slices(image, mask, text_of):
    figure = images.gallery([image] * 4, [mask] * 4, ["a", "b", "c", "d"], columns=3, title="Four")
    assert "4 slices" in text_of(figure)
    assert len(figure.axes) == 6


def test_gallery_refuses_lists_of_different_lengths(image, mask):
    with pytest.raises(ValueError, match="got 2 images, 1 masks and 2 titles"):
        images.gallery([image, image], [mask], ["a", "b"])


def test_region_map_names_regions_with_their_sizes(image, regions, text_of):
    text = text_of(images.region_map(image, regions))
    assert "tumour\n192 px" in text
    assert "normal\n3 648 px" in text
    assert "whole" not in text


def test_region_map_says_where_a_region_is_empty(image, mask, text_of):
    figure = images.region_map(image, {"tumour": mask, "mirror": mask & False})
    assert "mirror\nnone here" in text_of(figure)


def test_region_map_refuses_unknown_regions(image, mask):
    with pytest.raises(ValueError, match=r"unknown region \['edge'\]; there is \['tumour', 'core'"):
        images.region_map(image, {"tumour": mask, "edge": mask})


def test_comparison_names_columns_and_scores(image, mask, methods, text_of):
    maps = {"bicubic": image, "ESPCN": image}
    figure = images.comparison(image, methods, mask, maps=maps, scores={"ESPCN": "34.2 dB"})
    text = text_of(figure)
    for part in ("HR", "LR", "bicubic", "ESPCN", "34.2 dB", "SSIM, 1 = identical"):
        assert part in text


def test_comparison_draws_maps_from_0_to_1(image, mask, methods):
    figure = images.comparison(image, methods, mask, maps={"ESPCN": 0.9 + 0.1 * image})
    drawn = [i for axes in figure.axes for i in axes.images if i.cmap.name == "magma_r"]
    assert [image.get_clim() for image in drawn] == [(0, 1)]


def test_comparison_draws_lr_over_the_field_of_hr(image, mask, methods):
    panels = images.comparison(image, methods, mask).axes
    extents = {tuple(axes.images[0].get_extent()) for axes in panels}
    assert extents == {(-0.5, 63.5, 63.5, -0.5)}


def test_comparison_refuses_what_does_not_fit(image, mask, methods):
    with pytest.raises(ValueError, match=r"LR must show the field of view of hr \(64, 64\)"):
        images.comparison(image, {"LR": image[:16, :8]}, mask)
    with pytest.raises(ValueError, match=r"unknown image in maps \['SRGAN'\]"):
        images.comparison(image, methods, mask, maps={"SRGAN": image})
    with pytest.raises(ValueError, match=r"maps\['ESPCN'\] must have the shape \(64, 64\); got"):
        images.comparison(image, methods, mask, maps={"ESPCN": image[5:-5, 5:-5]})
    with pytest.raises(ValueError, match="nothing to enlarge"):
        images.comparison(image, methods, mask & False)


def test_through_training_goes_from_lr_to_hr(image, mask, text_of):
    figure = images.through_training(image[::4, ::4], {"step 0": image, "step 9": image}, image)
    titles = [axes.get_title("center") for axes in figure.axes]
    assert titles == ["LR", "step 0", "step 9", "HR"]
    assert figure.axes[0].images[0].get_interpolation() == "nearest"
    assert "1 slice at 2 moments of the training" in text_of(figure)
    assert grey_limits(figure) == {(0.0, 0.7)}


@pytest.mark.parametrize(("moments", "rows"), [(5, 1), (6, 2), (13, 3)])
def test_through_training_goes_on_in_further_rows(image, moments, rows):
    restored = {f"step {i}": image for i in range(moments)}
    figure = images.through_training(image, restored, image)
    assert figure.axes[0].get_gridspec().nrows == rows


def test_through_training_outlines_the_tumour_on_lr_and_hr_alone(image, mask):
    restored = {"step 0": torch.tensor(image)[None, None]}
    lr, restored, hr = images.through_training(image[::4, ::4], restored, image, mask).axes
    assert [len(axes.collections) for axes in (lr, restored, hr)] == [2, 0, 2]


def test_through_training_enlarges_the_tumour(image, mask):
    figure = images.through_training(image[::4, ::4], {"step 0": image}, image, mask, margin=2)
    assert {axes.get_xlim() for axes in figure.axes} == {(25.5, 45.5)}


def test_through_training_without_a_moment_draws_lr_and_hr(image):
    figure = images.through_training(image[::4, ::4], {}, image)
    assert [axes.get_title(loc="center") for axes in figure.axes] == ["LR", "HR"]


def test_through_training_refuses_what_does_not_fit(image):
    with pytest.raises(ValueError, match=r"step 0 must have the size of hr \(64, 64\); got"):
        images.through_training(image, {"step 0": image[::2, ::2]}, image)
    with pytest.raises(ValueError, match="a margin needs a mask"):
        images.through_training(image, {"step 0": image}, image, margin=9)


def errors_drawn(figure):
    return [i for axes in figure.axes for i in axes.images if i.cmap.name == "RdBu_r"]


def test_error_maps_draw_sr_minus_hr_on_one_symmetric_scale(image, mask, text_of):
    restored = {"bicubic": image - 0.01, "SRGAN": torch.tensor(image)[None, None] + 0.032}
    figure = images.error_maps(image, restored, mask)
    values = [i.get_array()[0, 0] for i in errors_drawn(figure)]
    np.testing.assert_allclose(values, [-0.01, 0.032], atol=1e-7)
    assert {i.get_clim() for i in errors_drawn(figure)} == {(-0.04, 0.04)}
    for part in ("HR", "SRGAN", "SR − HR, share of\nthe intensity range", "1 slice", "±0.04"):
        assert part in text_of(figure)


def test_error_maps_keep_a_limit_that_is_given(image, mask):
    figure = images.error_maps(image, {"nothing wrong": image}, mask, limit=0.3)
    assert errors_drawn(figure)[0].get_clim() == (-0.3, 0.3)
    images.error_maps(image, {"nothing wrong": image}, mask)


def test_error_maps_refuse_what_does_not_fit(image, mask):
    with pytest.raises(ValueError, match="no method to draw"):
        images.error_maps(image, {}, mask)
    with pytest.raises(ValueError, match="limit must be above 0; got 0"):
        images.error_maps(image, {"SRGAN": image}, mask, limit=0)
    with pytest.raises(ValueError, match=r"LR must have the size of hr \(64, 64\); got \(16, 16\)"):
        images.error_maps(image, {"LR": image[::4, ::4]}, mask)


def test_locations_tells_the_share_and_the_number(mask, text_of):
    heat = {"glioma": 0.2 * mask, "pituitary": 0.1 * mask}
    figure = images.locations(heat, {"glioma": 1426, "pituitary": 930})
    limits = [axes.images[0].get_clim() for axes in figure.axes[:2]]
    np.testing.assert_allclose(limits, [(0, 20), (0, 20)])
    assert "% of slices" in text_of(figure)
    assert "2 356 slices" in text_of(figure)


def test_images_out_of_range_are_refused(image):
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\]; got .* to .*normalise"):
        images.slice_with_contour(5000 * image)
    with pytest.raises(ValueError, match="got nan to nan"):
        images.slice_with_contour(np.nan * image)


def test_stacks_of_images_are_refused(image, mask):
    with pytest.raises(ValueError, match=r"image must have the shape .*; got \(2, 64, 64\)"):
        images.slice_with_contour(np.stack([image, image]))
    with pytest.raises(ValueError, match=r"mask must have the shape \(64, 64\); got \(64, 60\)"):
        images.slice_with_contour(image, mask[:, :60])


def test_the_enlarged_square_stays_inside_the_slice(mask):
    assert square_around(mask, 2) == (26, 18, 46, 38)
    assert square_around(np.roll(mask, -20, 0), 2) == (26, 0, 46, 20)
    assert square_around(mask, 100) == (0, 0, 64, 64)

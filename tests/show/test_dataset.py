from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib import show
from medsr_lib.case import Case


def test_a_gallery_holds_images_of_any_shape_with_their_outlines(case, text_of):
    wide = Case("8", "p2", "NORMAL", torch.full((20, 30), 0.5))
    figure = show.gallery([case, wide, case], columns=2, title="Three")
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["glioma 7", "NORMAL 8", "glioma 7", ""]
    assert [len(axes.collections) for axes in figure.axes] == [2, 0, 2, 0]  # a line and its halo
    assert {i.get_clim() for axes in figure.axes for i in axes.images} == {(0.0, 0.7)}
    assert "3 images; yellow line" in text_of(figure)


def test_a_gallery_without_masks_speaks_of_no_outline(case, text_of):
    bare, empty = replace(case, mask=None), replace(case, mask=case.mask & False)
    figure = show.gallery([bare, empty], ["a", "b"], window=(0, 1))
    assert "outline" not in text_of(figure)
    assert figure.axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(("n", "titles"), [(2, ["a"]), (0, [])])
def test_a_gallery_needs_a_title_for_each(case, n, titles):
    with pytest.raises(ValueError, match=f"one title per case is needed; got {n}"):
        show.gallery([case] * n, titles)


@pytest.mark.parametrize("draw", [show.fold_counts, show.lesion_sizes, show.intensity_ranges])
def test_charts_of_the_data_give_images_and_patients(draw, index, text_of):
    assert "12 images of 6 patients" in text_of(draw(index))


def test_counts_are_those_of_each_fold_and_label(index, text_of):
    figure = show.fold_counts(index)
    assert [bar.get_width() for bar in figure.axes[1].patches] == [1] * 6
    assert "glioma: 4 images of 2 patients" in text_of(figure)


def test_images_without_a_fold_are_counted_too(index):
    folds = index["fold"].astype("Int64").where(index.index > 3)
    axes = show.fold_counts(index.assign(fold=folds)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "none"]
    assert sum(bar.get_width() for bar in axes.patches) == 12


def test_sizes_are_shares_of_the_image(index, text_of):
    text = text_of(show.lesion_sizes(index))
    assert "area of the lesion, % of the image" in text
    assert f"glioma, n = 4\nmedian {100 * 145 / 4096:.2g} %" in text
    assert show.lesion_sizes(index[:3]).axes[0].get_xscale() == "log"  # one image of a label


def test_intensity_ranges_give_the_factor(index, text_of):
    assert "from 250 to 3 000, a factor of 12" in text_of(show.intensity_ranges(index))


def test_what_an_index_lacks_is_named(index):
    with pytest.raises(ValueError, match=r"lacks the columns \['fold'\]; it has \['id'"):
        show.fold_counts(index.drop(columns="fold"))
    with pytest.raises(ValueError, match="no rows"):
        show.lesion_sizes(index[:0])
    with pytest.raises(ValueError, match="no value is above 0"):
        show.intensity_ranges(index.assign(raw_max=0))


def test_locations_give_the_share_and_the_number(mask, text_of):
    heat = {"glioma": 0.2 * mask, "pituitary": 0.1 * mask}
    figure = show.lesion_locations(heat, {"glioma": 1426, "pituitary": 930})
    limits = [axes.images[0].get_clim() for axes in figure.axes[:2]]
    np.testing.assert_allclose(limits, [(0, 20), (0, 20)])
    assert "% of images" in text_of(figure)
    assert "2 356 images" in text_of(figure)


def test_locations_need_a_label_and_its_count(mask):
    with pytest.raises(ValueError, match="no label"):
        show.lesion_locations({}, {})
    with pytest.raises(ValueError, match=r"unknown label in counts \['glioma'\]"):
        show.lesion_locations({"glioma": mask}, {})


def test_file_traits_draw_every_file_and_what_was_tried(estimate, text_of):
    rows = [
        ("a", "IM-1", "NORMAL", 96, 90_000, 400, 500),
        ("b", "p1", "PNEUMONIA", 75, 20_000, 300, 450),
        ("c", "p1", "PNEUMONIA", 75, 15_000, 280, 420),
    ]
    names = "id patient label jpeg_quality bytes height width"
    table = pd.DataFrame(rows, columns=names.split())
    figure = show.file_traits(table, aucs={"of the files": estimate(value=0.98)})
    assert [len(c.get_offsets()) for c in figure.axes[0].collections] == [1, 2]
    assert "3 images of 2 patients; AUC of the files: 0.98 [0.20, 0.80]" in text_of(figure)
    assert "PNEUMONIA, n = 2" in text_of(figure)
    with pytest.raises(ValueError, match="lacks the columns"):
        show.file_traits(table.drop(columns="bytes"), aucs={})

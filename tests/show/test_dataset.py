from dataclasses import replace

import pandas as pd
import pytest
import torch

from medsr_lib import show
from medsr_lib.case import Case
from medsr_lib.show import dataset

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")


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


@pytest.mark.parametrize("draw", [show.fold_counts, show.lesion_sizes])
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


def test_what_an_index_lacks_is_named(index):
    with pytest.raises(ValueError, match=r"lacks the columns \['fold'\]; it has \['id'"):
        show.fold_counts(index.drop(columns="fold"))
    with pytest.raises(ValueError, match="no rows"):
        show.lesion_sizes(index[:0])


def test_locations_give_the_share_and_the_number(case, text_of):
    other = replace(case, label="", mask=case.mask.roll(12, 1))
    figure = show.lesion_locations([case, case, other, replace(case, mask=None)], side=32)
    assert "glioma\nn = 2 images" in text_of(figure)
    assert "no label\nn = 1 image" in text_of(figure)
    assert "3 images" in text_of(figure)  # the one without a mask is not counted
    share = figure.axes[0].images[0].get_array()
    assert (share.shape, share.max(), share.sum()) == ((32, 32), 100, 100 * 16 * 12 / 4)


def test_what_images_lack_is_said_in_a_sentence(index, case, tmp_path):
    path = tmp_path / "sizes.png"
    assert show.keep(path, show.lesion_sizes, index).axes
    assert path.is_file()
    kept = show.keep(path, show.lesion_sizes, index.assign(mask_pixels=pd.NA))
    assert repr(kept) == "No lesion is outlined in these images."
    assert not path.exists()  # that of an earlier run
    kept = show.keep(path, show.lesion_locations, [replace(case, mask=None)])
    assert kept == "No lesion is outlined in these images."
    with pytest.raises(ValueError, match="lacks the columns"):
        show.keep(path, show.lesion_sizes, index[["id"]])


def test_mask_and_border_are_drawn_as_they_are_stored(case, text_of):
    square = torch.tensor([[30.0, 20], [41, 20], [41, 35], [30, 35]])
    outlined = replace(case, about={"border": square})
    figure = show.mask_and_border(outlined, title="They agree", note="slice 7")
    for axes in figure.axes:
        line = axes.lines[0]  # the others are corners of the part
        assert len(line.get_xdata()) == 5  # closed
    assert "slice 7; yellow: the mask's pixels; red: the border, 4 points" in text_of(figure)
    for lacking in (case, replace(outlined, mask=None)):
        with pytest.raises(show.NothingToDraw, match="No polygon is stored beside the masks"):
            show.mask_and_border(lacking, title="", note="")


def test_counts_say_whether_a_patient_is_in_two_folds(index, text_of):
    assert "No patient is in two folds" in text_of(show.fold_counts(index))
    both = index.assign(fold=[1, 2] * 6)
    assert "6 patients in several folds" in text_of(show.fold_counts(both))


def test_groups_without_labels_and_with_many(index, text_of):
    text = text_of(show.fold_counts(index.assign(label="", fold=pd.NA)))
    assert "all images: 12 images of 6 patients" in text
    assert "per fold" not in text
    many = index.assign(label=[f"a long name of kind {min(i, 9)}" for i in range(12)])
    assert "4 rarer labels, n = 4" in text_of(show.lesion_sizes(many))
    assert len(show.fold_counts(many).legends[0].get_texts()) == dataset.MOST_LABELS
    assert "no label, n = 1" in text_of(show.lesion_sizes(many[:2].assign(label=["", "a"])))


def test_folds_stand_in_their_order(index):
    axes = show.fold_counts(index.assign(fold=range(12))).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [str(n) for n in range(12)]


def test_long_titles_are_cut_and_the_window_is_found(case):
    (axes,) = show.gallery([replace(case, id="x" * 99)], columns=2).axes[:1]
    title = axes.get_title("left")
    assert len(title) < 40
    assert title.startswith("glioma xx")
    image = torch.linspace(0, 0.5, 10_000).view(100, 100)
    assert show.grey_window([replace(case, image=image, mask=None)]) == (0, 0.5)


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
    assert "The files may reveal the class without the image" in text_of(figure)
    assert "PNEUMONIA, n = 2" in text_of(figure)
    with pytest.raises(ValueError, match="lacks the columns"):
        show.file_traits(table.drop(columns="bytes"), aucs={})

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from medsr_lib.show import chest


def images(*shapes):
    return [np.full(shape, 0.5, np.float32) for shape in shapes]


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_gallery_takes_images_of_any_shape():
    figure = chest.gallery(images((20, 30), (30, 20), (10, 10)), ["a", "b", "c"], columns=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c", ""]
    assert "3 radiographs" in texts(figure)
    assert "outline" not in texts(figure)


def test_gallery_outlines_opacities():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 5:10] = True
    figure = chest.gallery(images((20, 30), (20, 30)), ["a", "b"], masks=[mask, None])
    assert len(figure.axes[0].collections) > 0
    assert len(figure.axes[1].collections) == 0
    assert "outline of the opacity" in texts(figure)


def test_gallery_needs_a_title_for_each():
    with pytest.raises(ValueError, match="2 images, 1 titles"):
        chest.gallery(images((9, 9), (9, 9)), ["a"])
    with pytest.raises(ValueError, match="0 images"):
        chest.gallery([], [])


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "label": ["NORMAL", "PNEUMONIA", "PNEUMONIA"],
            "jpeg_quality": [96, 75, 75],
            "bytes": [90_000, 20_000, 15_000],
            "height": [400, 300, 280],
            "width": [500, 450, 420],
            "patient": ["IM-1", "person1", "person1"],
        }
    )


def test_files_draws_every_file_and_tells_what_was_tried(table):
    figure = chest.files(table, aucs={"AUC of the files": "0.98"})
    assert [len(c.get_offsets()) for c in figure.axes[0].collections] == [1, 2]
    told = texts(figure)
    assert "3 images of 2 patients; AUC of the files: 0.98" in told
    assert "PNEUMONIA, n = 2" in told


def test_files_needs_its_columns(table):
    with pytest.raises(ValueError, match="lacks the columns"):
        chest.files(table.drop(columns="bytes"))

import pandas as pd
import pytest

from medsr_lib.show import detail


@pytest.fixture
def table():
    rows = [
        (method, size, contrast, size * contrast * factor)
        for method, factor in (("HR", 4), ("bicubic", 2))
        for size in (4, 8)
        for contrast in (0.05, 0.1)
    ]
    table = pd.DataFrame(rows, columns=["method", "diameter", "contrast", "d"])
    return table.assign(low=table.d - 0.2, high=table.d + 0.2, backgrounds=40, patients=9)


def test_contrast_detail_has_a_panel_per_contrast_and_a_line_per_method(table):
    figure = detail.contrast_detail(table, title="x")
    assert len(figure.axes) == 2
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.8, 1.6])


def test_contrast_detail_tells_n_and_the_threshold(table):
    figure = detail.contrast_detail(table, threshold=1.5)
    text = " ".join(t.get_text() for t in figure.texts)
    assert "40 places" in text
    assert "9 patients" in text
    assert "d' = 1.5" in text


def test_contrast_detail_refuses_a_table_without_intervals(table):
    with pytest.raises(ValueError, match="low"):
        detail.contrast_detail(table.drop(columns="low"))

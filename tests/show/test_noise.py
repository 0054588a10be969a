import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from medsr_lib.show import noise

BOX = (4, 2, 20, 18)


@pytest.fixture
def table():
    """Means of two methods, two kinds of noise, three levels and two metrics."""
    rows = [
        {"noise": kind, "level": level, "method": method, "metric": metric}
        for kind in ("gaussian", "poisson")
        for level in (0.02, 0.1, 0.05)
        for method in ("noisy", "autoencoder")
        for metric in ("psnr", "edges")
    ]
    out = pd.DataFrame(rows).assign(value=lambda t: 30 - 50 * t["level"], patients=5, slices=9)
    return out.assign(low=out["value"] - 1, high=out["value"] + 1)


@pytest.fixture
def hr():
    return torch.from_numpy(np.random.default_rng(0).random((24, 32)).astype(np.float32))


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(Text))


def test_quality_has_a_row_per_metric_and_a_column_per_kind(table):
    figure = noise.quality(table, metrics=["psnr", "edges"])
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["gaussian", "poisson"]
    told = texts(figure)
    assert "9 images of 5 patients" in told
    assert "edge preservation" in told
    line = figure.axes[0].lines[0]
    assert list(line.get_ydata()) == [29, 27.5, 25]
    assert figure.axes[0].get_xscale() == "log"


def test_quality_refuses_what_it_cannot_draw(table):
    with pytest.raises(ValueError, match="unknown metric"):
        noise.quality(table, metrics=["ssim"])
    with pytest.raises(ValueError, match="lacks the columns"):
        noise.quality(table.drop(columns="low"), metrics=["psnr"])


def test_pictures_show_the_error_of_images_of_full_size(hr):
    smaller = torch.rand(12, 16)
    figure = noise.pictures(
        hr, {"LR": smaller, "noisy": hr + 0.3, "same": hr}, box=BOX, scores={"noisy": "10 dB"}
    )
    panels = np.array(figure.axes[:12]).reshape(3, 4)
    errors = [panel.images for panel in panels[2]]
    assert [len(shown) for shown in errors] == [0, 0, 1, 1]
    np.testing.assert_allclose(errors[2][0].get_array(), 0.3, atol=1e-6)
    assert errors[2][0].get_array().shape == (16, 16)
    assert panels[2, 2].get_xlabel() == "10 dB"
    assert panels[0, 2].images[0].get_clim() == (0, 1)


def test_pictures_refuse_what_does_not_belong_together(hr):
    with pytest.raises(ValueError, match="no images"):
        noise.pictures(hr, {}, box=BOX)
    with pytest.raises(ValueError, match="unknown image in scores"):
        noise.pictures(hr, {"noisy": hr}, box=BOX, scores={"other": "1 dB"})
    with pytest.raises(ValueError, match="must have the size of hr"):
        noise.pictures(hr, {"noisy": torch.rand(20, 32)}, box=BOX)

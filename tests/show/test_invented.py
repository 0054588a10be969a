import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from medsr_lib.show import invented


@pytest.fixture
def judged(image):
    """Two methods with their maps; the second invented in the upper half."""
    names = ("bicubic", "SRGAN")
    kinds = np.zeros((64, 64), int)
    kinds[:32], kinds[60:] = 2, -1
    share = torch.full((1, 64, 64), 0.25)
    share[..., :8, :] = torch.nan
    return {
        "restored": dict(zip(names, (image, torch.tensor(image)[None, None] + 0.032))),
        "hallucination": dict.fromkeys(names, share),
        "kinds": dict(zip(names, (0 * kinds, kinds))),
    }


def drawn_with(figure, name):
    return [i for axes in figure.axes for i in axes.images if i.cmap.name == name]


def test_maps_have_a_row_per_method_below_hr(image, mask, judged, text_of):
    figure = invented.maps(image, judged.pop("restored"), mask, **judged, note="slice 7")
    assert [axes.get_ylabel() for axes in figure.axes[:12:4]] == ["HR", "bicubic", "SRGAN"]
    assert "slice 7; 1 slice" in text_of(figure)
    assert plt.get_fignums() == []


def test_all_rows_share_the_scale_of_each_column(image, mask, judged):
    figure = invented.maps(image, judged.pop("restored"), mask, **judged)
    assert [i.get_clim() for i in drawn_with(figure, "RdBu_r")] == [(-0.04, 0.04)] * 2
    assert [i.get_clim() for i in drawn_with(figure, "Reds")] == [(0, 1)] * 2
    assert drawn_with(figure, "Reds")[0].get_array().mask[:8].all()


def test_kinds_are_tinted_and_named(image, mask, judged, text_of):
    figure = invented.maps(image, judged.pop("restored"), mask, **judged)
    tints = [i.get_array() for axes in figure.axes for i in axes.images if i.get_array().ndim == 3]
    strengths = [tint[[0, 40, 63], 0, 3].tolist() for tint in tints]
    np.testing.assert_allclose(strengths, [[0, 0, 0], [0.6, 0, 0.75]])
    for part in ("invention: detail", "loss: detail", "agrees with HR", "not measured"):
        assert part in text_of(figure)


def test_the_tumour_is_outlined_on_every_panel(image, mask, judged):
    null = dict.fromkeys(judged["restored"], 0 * image)
    figure = invented.maps(image, judged.pop("restored"), mask, **judged, null=null)
    assert all(axes.collections for axes in figure.axes[5:15])


def test_the_null_space_has_a_column_of_its_own(image, mask, judged, text_of):
    null = dict.fromkeys(judged["restored"], 0.5 * image)
    figure = invented.maps(image, judged.pop("restored"), mask, **judged, null=null)
    assert len(drawn_with(figure, "RdBu_r")) == 4
    assert "Null-space part" in text_of(figure)


def test_maps_refuse_what_does_not_fit(image, mask, judged):
    restored = judged.pop("restored")
    with pytest.raises(ValueError, match="no method to draw"):
        invented.maps(image, {}, mask, **judged)
    with pytest.raises(ValueError, match="limit must be above 0; got 0"):
        invented.maps(image, restored, mask, **judged, limit=0)
    with pytest.raises(ValueError, match=r"unknown method in kinds \['SRGAN'\]"):
        invented.maps(image, restored, mask, **{**judged, "kinds": {"bicubic": image}})
    with pytest.raises(ValueError, match=r"kinds\['bicubic'\] must hold \[-1, 0, 1, 2\]"):
        invented.maps(image, restored, mask, **{**judged, "kinds": restored})
    wrong = {"bicubic": image, "SRGAN": 100 * image}
    with pytest.raises(ValueError, match=r"hallucination\['SRGAN'\] must be shares in \[0, 1\]"):
        invented.maps(image, restored, mask, **{**judged, "hallucination": wrong})

from functools import partial

import pytest
import torch.nn.functional as F

from medsr_lib.assess import statistics
from medsr_lib.assess.fidelity import appearance, review
from medsr_lib.restore import degrade, resample

bicubic = partial(resample.bicubic, scale=2)


@pytest.fixture
def reviewed(slices):
    """`reviewed(**methods)` -> the table of two small slices."""

    def run(**methods):
        return review.review(
            methods,
            slices[:2],
            degrade=degrade.by_name("bicubic", scale=2),
            upsample=bicubic,
            scale=2,
            device="cpu",
            progress=False,
        )

    return run


def test_a_row_per_slice_method_and_region(reviewed):
    table = reviewed(bicubic=bicubic)
    assert len(table) == 2 * 2 * 2
    assert {*appearance.MEASURES, "consistency", *review.INVENTION} <= set(table.columns)
    assert set(table["method"]) == {"HR", "bicubic"}


def test_hr_has_not_changed(reviewed):
    table = reviewed(bicubic=bicubic)
    hr = table[(table["method"] == "HR") & (table["region"] == "tumour")]
    for name in ("brightness_shift", "sharpness_change", "hfen", "consistency"):
        assert hr[name].abs().max() < 1e-6


def test_a_brighter_image_is_brighter_by_that_much(reviewed):
    table = reviewed(bicubic=bicubic, brighter=lambda lr: (bicubic(lr) + 0.05).clamp(0, 1))
    table = table.set_index(["method", "region", "slice_id"])["brightness_shift"].sort_index()
    added = table["brighter", "tumour"] - table["bicubic", "tumour"]
    assert added.to_list() == pytest.approx([0.05] * 2, abs=1e-3)


def test_interpolation_is_omission_and_its_border_softer(reviewed):
    table = reviewed(soft=lambda lr: F.avg_pool2d(bicubic(lr), 5, 1, 2), bicubic=bicubic)
    rows = table[table["region"] == "tumour"].groupby("method").mean(numeric_only=True)
    assert rows.loc["bicubic", "omission"] > 0.9
    assert rows.loc["soft", "sharpness_change"] < rows.loc["bicubic", "sharpness_change"] < 0


def test_its_changes_go_through_the_statistics(reviewed):
    table = reviewed(bicubic=bicubic)
    contrast = statistics.Contrast("hfen", "bicubic", "HR", "tumour", "matched")
    (estimate,) = statistics.contrasts(table, [contrast], seed=0).values()
    assert estimate.slices == 2


def test_refuses_a_method_called_hr(reviewed):
    with pytest.raises(ValueError, match="no method may be called 'HR'"):
        reviewed(HR=bicubic)

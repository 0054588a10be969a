import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from medsr_lib.assess.fidelity import flags
from medsr_lib.case import Case


@pytest.fixture(scope="module")
def case():
    noise = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[6:18, 6:18] = True
    return Case("1", "p", "glioma", noise, mask)


def areas(case, maps, *, method=lambda lr: lr * 0.5, **more):
    asked = {"degrade": nn.Identity(), "scale": 1, "progress": False} | more
    table = flags.areas(method, maps, [case], **asked)
    return table.set_index(["method", "region"])["auc"]


def test_the_error_itself_finds_all_its_pixels_and_its_opposite_none(case):
    maps = {"error": lambda lr: lr * 0.5, "opposite": lambda lr: 1 - lr * 0.5}
    found = areas(case, maps, region_names=["whole", "tumour"])
    assert found["error"].tolist() == [1, 1]
    assert found["opposite"].tolist() == [0, 0]


def test_a_map_that_knows_nothing_is_at_chance_and_a_constant_one_exactly(case):
    other = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    found = areas(case, {"other": lambda lr: other, "constant": torch.zeros_like}, worst=0.5)
    assert found["other", "whole"] == pytest.approx(0.5, abs=0.05)
    assert found["constant", "whole"] == 0.5


def test_edges_are_where_sr_changes(case):
    step = torch.zeros(1, 1, 24, 24)
    step[..., 12:] = 1
    found = areas(case, {}, method=lambda lr: step, worst=0.3)
    wide = torch.zeros(24, 24)
    wide[:, 11:13] = 1  # where Sobel's filter sees the step
    error = (step[0, 0] - case.image).abs().flatten()
    worst = torch.zeros(576, dtype=torch.bool)
    worst[error.topk(round(0.3 * 576)).indices] = True
    assert found["edges of SR", "whole"] == pytest.approx(roc_auc_score(worst, wide.flatten()))


def test_without_a_pixel_to_tell_apart_there_is_no_area(case):
    assert areas(case, {}, method=lambda lr: lr, worst=0.0001).isna().all()


def test_a_name_that_is_used_and_a_share_that_is_none_are_refused(case):
    with pytest.raises(ValueError, match="no map may be called 'edges of SR'"):
        areas(case, {flags.EDGES: torch.zeros_like})
    with pytest.raises(ValueError, match="worst"):
        areas(case, {}, worst=1.5)

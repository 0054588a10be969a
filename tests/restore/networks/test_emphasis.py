import pytest
import torch
from torch.nn.functional import mse_loss

from medsr_lib.case import Case
from medsr_lib.restore.networks.emphasis import LesionWeighted, WorstPixels


@pytest.fixture(scope="module")
def flat():
    """A dark image with a bright lesion, both without contrast but at the lesion's border."""
    image = torch.full((32, 32), 0.2)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    image[mask] = 0.8
    return Case("1", "p", "glioma", image, mask)


def test_pixels_like_the_lesion_weigh_more_and_weights_have_mean_1(flat):
    loss = LesionWeighted([flat], strength=4)
    hr = torch.full((1, 1, 8, 8), 0.2)
    hr[..., 4:] = 0.8
    light, heavy = hr.clone(), hr.clone()
    light[..., 0] += 0.1
    heavy[..., -1] += 0.1
    ratio = loss(heavy, hr).item() / loss(light, hr).item()
    assert ratio == pytest.approx(5, rel=0.01)
    everywhere = loss(hr + 0.1, hr).item()
    assert everywhere == pytest.approx(mse_loss(hr + 0.1, hr).item(), rel=1e-5)


def test_cases_without_a_lesion_are_refused_and_others_change_the_loss(flat):
    blank = Case("2", "q", "glioma", flat.image, torch.zeros_like(flat.mask))
    with pytest.raises(ValueError, match="no case has a lesion outlined"):
        LesionWeighted([blank, Case("3", "r", "glioma", flat.image)])
    darker = Case("4", "s", "glioma", flat.image / 2, flat.mask)
    assert repr(LesionWeighted([flat])) != repr(LesionWeighted([flat, darker]))
    assert repr(LesionWeighted([flat])) == repr(LesionWeighted([flat]))


def test_the_worst_pixels_count_again_as_computed_by_hand():
    hr = torch.zeros(1, 1, 2, 5)
    sr = torch.tensor([0.5, *[0.1] * 9]).reshape(1, 1, 2, 5)
    # all: (0.25 + 9 * 0.01) / 10 = 0.034; the worst tenth, one pixel: 0.25
    assert WorstPixels(share=0.1, strength=2)(sr, hr).item() == pytest.approx(0.034 + 2 * 0.25)
    assert WorstPixels(share=1, strength=2)(sr, hr).item() == pytest.approx(3 * 0.034)


@pytest.mark.parametrize("share", [0, 1.1, float("nan")])
def test_a_share_outside_is_refused(share):
    with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
        WorstPixels(share=share)


@pytest.mark.parametrize("loss", [LesionWeighted, WorstPixels])
def test_a_strength_that_is_not_positive_is_refused(loss, flat):
    given = ([flat],) if loss is LesionWeighted else ()
    with pytest.raises(ValueError, match="strength"):
        loss(*given, strength=0)

import pytest
import torch
from torch import nn

from medsr_lib.restore.networks.ensemble import Ensemble


class Brighter(nn.Module):
    """Adds a number."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, lr):
        return lr + self.by


def test_it_is_the_mean_and_disagreement_the_sd_between_members():
    ensemble = Ensemble([Brighter(0.0), Brighter(0.1), Brighter(0.2)])
    lr = torch.full((2, 1, 3, 3), 0.5)
    assert torch.allclose(ensemble(lr), lr + 0.1)
    assert torch.allclose(ensemble.disagreement(lr), torch.full_like(lr, 0.1))


def test_members_that_agree_have_no_disagreement():
    both = Ensemble([Brighter(0.1), Brighter(0.1)])
    assert not both.disagreement(torch.zeros(1, 1, 2, 2)).any()


def test_it_knows_what_its_members_were_trained_on():
    from medsr_lib.case import trained_on

    one, other = Brighter(0.0), Brighter(0.1)
    one.trained_on, other.trained_on = frozenset("a"), frozenset("b")
    assert trained_on(Ensemble([one, other])) == {"a", "b"}


def test_one_member_is_no_ensemble():
    with pytest.raises(ValueError, match="at least two members, got 1"):
        Ensemble([Brighter(0.0)])

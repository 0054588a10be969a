"""Several trainings as one method, and where they disagree."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of several trainings (Lakshminarayanan et al. 2017, arXiv 1612.01474).

    What several trainings of one network draw alike follows from LR and from what they were trained
    on; what one draws and another does not follows from its seed. The mean has at most the mean
    squared error of a member.

    Args:
        members: at least two, LR (B, 1, h, w) -> SR (B, 1, scale h, scale w) of one scale.

    Raises:
        ValueError: fewer than two.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"an ensemble has at least two members, got {len(members)}")
        self.members = nn.ModuleList(members)

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w), in the range of the members."""
        return self._each(lr).mean(0)

    def disagreement(self, lr: Tensor) -> Tensor:
        """Standard deviation between the members' SR, (B, 1, scale h, scale w), in its unit."""
        return self._each(lr).std(0)

    def _each(self, lr: Tensor) -> Tensor:
        return torch.stack([member(lr) for member in self.members])

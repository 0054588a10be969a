"""States of trainings, compared bit for bit."""

import torch

from medsr_lib.restore.training import checkpoint


def identical(a, b):
    """Whether two states hold the same, bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b


def state_in(path):
    """What the checkpoint holds, without the time it took."""
    return {k: v for k, v in checkpoint.load(path).items() if k != "seconds"}

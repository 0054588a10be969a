"""States of trainings: compared bit for bit, and trainings that are interrupted."""

import resource
from contextlib import contextmanager

import pytest
import torch

from medsr_lib.restore.training import checkpoint, loop


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


@contextmanager
def files_of_at_most(size):
    """As on a disk that is full: within this context no file may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def saved_at_every_step():
    """Within this context a training saves after every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY", 0.0)
        yield patch


def interrupt(train, path, *, step, during="note"):
    """`train(path)`, saved at every step, until Ctrl-C comes during a method of `loop.Training`."""
    method = getattr(loop.Training, during)

    def interrupted(training, *args):
        if training.step >= step:
            raise KeyboardInterrupt
        return method(training, *args)

    with saved_at_every_step() as patch:
        patch.setattr(loop.Training, during, interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(path)


def resumed_bit_for_bit(train, folder, **interruption):
    """Train in one go and with an interruption: what both returned, which is the same.

    `train(path)` gives networks and a history; files and networks are compared bit for bit.
    """
    whole, torn = folder / "whole.pt", folder / "torn.pt"
    *networks, history = train(whole)
    interrupt(train, torn, **interruption)
    assert 0 < checkpoint.load(torn)["step"] < history.steps_done
    *again, resumed = train(torn)
    assert same_end(whole, torn, networks, again)
    assert resumed.table.equals(history.table)
    assert resumed.validation.equals(history.validation)
    assert (resumed.best_step, resumed.done) == (history.best_step, history.done)
    return history


def same_end(one, other, networks=(), again=()):
    """Whether two checkpoints and the networks that came back are the same, bit for bit."""
    pairs = zip(networks, again, strict=True)
    alike = [identical(dict(a.state_dict()), dict(b.state_dict())) for a, b in pairs]
    return identical(state_in(one), state_in(other)) and all(alike)

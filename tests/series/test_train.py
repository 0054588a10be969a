import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medsr_lib.data import pack, phantom
from medsr_lib.restore import checkpoint, clock, degrade, fit
from medsr_lib.restore.networks import Discriminator, ESPCN, SRResNet
from medsr_lib.series import train

STEPS = 20
halve = degrade.by_name("bicubic", scale=2)


class Broken(Exception):
    """Cannot be pickled: it is made with two values, and keeps one."""

    def __init__(self, what, why):
        super().__init__(f"{what} because {why}")


@pytest.fixture
def networks():
    """`networks()` -> (generator, discriminator), always the same, without batch norm."""

    def make():
        torch.manual_seed(3)
        return (
            SRResNet(scale=2, blocks=1, width=8, norm=None),
            Discriminator(size=None, width=4, norm=None),
        )

    return make


def trained(folder, images, generator, discriminator, steps=STEPS, interrupted=False, fabric=None):
    """Both trainings, one after the other; perhaps ended by the clock before they are done."""
    asked = iter([True, True, False, True, True, False])  # at the first step, and at 0 and 16
    rank = 0 if fabric is None else fabric.global_rank
    common = {
        "degrade": halve,
        "seed": 5,
        "steps": steps,
        "batch": 16,
        "crop": 16,
        "validation": images[:2],
        "validate_every": 7,
        "device": "cpu",
        "fabric": fabric,
    }
    with pytest.MonkeyPatch.context() as patch:
        if interrupted:  # only the first process's clock counts
            patch.setattr(clock.Clock, "has_time_left", lambda _: rank > 0 or next(asked))
        first = fit.fit(generator, images, checkpoint=folder / "fit.pt", **common)
        content = F.l1_loss
        path = folder / "gan.pt"
        second = fit.fit_gan(
            generator, discriminator, images, content=content, checkpoint=path, **common
        )
    return first, second


def gradients(folder, name, optimiser="optimiser"):
    """Of the first step; Adam keeps a tenth of them."""
    state = checkpoint.load(folder / f"{name}.pt")[optimiser]["state"]
    return torch.cat([s["exp_avg"].flatten() for s in state.values()])


def state_in(path):
    return {k: v for k, v in checkpoint.load(path).items() if k != "seconds"}


def identical(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def assert_close(a, b, relative):
    assert (a - b).norm() <= relative * b.norm()


def in_each_way(folder, images, made, *, device, fabric=None):
    """All that two processes are asked to do in one start: one is slow enough."""
    assert device == "cpu"
    warnings.warn(f"from process {fabric.global_rank}", stacklevel=1)
    results = {
        "started": clock.started(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "world": fabric.world_size,
    }
    for name, generator, discriminator, options in made:
        (folder / name).mkdir(exist_ok=True)
        fabric.barrier()
        results[name] = trained(
            folder / name, images, generator, discriminator, **options, fabric=fabric
        )
        results[f"{name} networks"] = generator, discriminator
    return results


def fails(network, *, how, device="cpu", fabric=None):
    """Fails in a process, in one way or another."""
    if how == "nobody is left":
        Path(os.environ["MEDSR_TEST_READY"]).touch()
        time.sleep(600)
    if fabric.global_rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise fit.Diverged("the second process's loss became NaN")
    fabric.barrier()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_one_process_is_a_plain_call():
    here = train.on(1, lambda *args, **kwargs: (os.getpid(), args, kwargs), 2, device="cpu")
    assert here == (os.getpid(), (2,), {"device": "cpu"})


def test_auto_is_one_process_on_the_cpu():
    assert train.on("auto", os.getpid) == os.getpid() or torch.cuda.device_count() > 1
    assert train._plan("auto", "cpu") == (1, "cpu")


def test_auto_is_a_process_for_each_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert train._plan("auto", "auto") == train._plan("auto", "cuda") == (2, "cuda")
    assert train._plan("auto", "cpu") == (1, "cpu")


@pytest.mark.parametrize("processes", [0, -1, 1.5, "two"])
def test_refuses_other_numbers_of_processes(processes):
    with pytest.raises(ValueError, match=r"processes must be 1 or more, or \"auto\"; got"):
        train.on(processes, os.getpid)


def test_refuses_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("medsr_lib.devices.choose", torch.device)
    with pytest.raises(ValueError, match="3 processes need as many GPUs, and there are 2: take"):
        train.on(3, fit.fit, device="cuda")


def test_refuses_devices_without_collectives():
    with pytest.raises(ValueError, match="train on \"cpu\" or \"cuda\", not on 'mps'"):
        train.on(2, fit.fit, device="mps")


def test_names_the_argument_that_cannot_be_given(random_images):
    network, images = ESPCN(scale=2), random_images(2, 32, 32)
    with pytest.raises(TypeError, match=r"^degrade cannot be given to other processes \(.*lambda"):
        train.on(2, fit.fit, network, images, degrade=lambda hr: hr, steps=1, seed=0, device="cpu")


def test_names_what_the_notebook_has_defined(monkeypatch):
    monkeypatch.setattr(Broken, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Broken", Broken, raising=False)
    with pytest.raises(TypeError, match="how cannot be .*Broken is defined in the notebook"):
        train.on(2, fails, None, how=[Broken], device="cpu")


def test_refuses_arguments_that_the_function_does_not_take():
    with pytest.raises(TypeError, match="unexpected keyword argument 'stepz'"):
        train.on(2, fit.fit, ESPCN(scale=2), None, stepz=1, device="cpu")


def test_packs_and_partials_can_be_given(tmp_path):
    phantom.write_figshare(tmp_path / "mat", patients=1, slices_per_patient=1, seed=0)
    from medsr_lib.data import figshare

    packed = pack.build(figshare.index(tmp_path / "mat"), tmp_path / "pack.h5")
    given = {"images": packed, "degrade": partial(degrade.bicubic, scale=2), "steps": 1, "seed": 0}
    train._refuse_what_cannot_be_given(fit.fit, (ESPCN(scale=2),), given)


def test_an_error_that_cannot_be_pickled_says_the_same():
    import pickle

    error, rank, trace = pickle.loads(train._packed(Broken("this", "that"), 1))
    assert (repr(error), rank) == ("RuntimeError('Broken: this because that')", 1)
    assert trace.endswith("Broken: this because that\n")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What one and two processes did, in the same four trainings."""
    return None

import contextlib
import copy
import io
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.nn.functional as F
from states import identical, same_end
from torch import distributed, nn

from medsr_lib.case import trained_on
from medsr_lib.data import phantom, store
from medsr_lib.restore import degrade
from medsr_lib.restore.networks import ESPCN, SRResNet
from medsr_lib.restore.training import checkpoint, clock, fit, gan, loop, processes
from medsr_lib.restore.training.processes import launch

STEPS = 20
RUNS = {"one_step": {"steps": 1}, "torn": {"torn": True}, "whole": {}}


class Broken(Exception):
    """Cannot be pickled: it is made with two values, and keeps one."""

    def __init__(self, what, why):
        super().__init__(f"{what} because {why}")


def rank():
    """Of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def both(folder, images, networks, *, steps=STEPS, torn=False, device="cpu"):
    """`fit` and `fit_gan`; perhaps ended by the first process's clock after 16 steps each."""
    time_left = iter([True, True, False] * 2)
    first = rank() == 0
    common = {"images": images, "degrade": degrade.by_name("bicubic", scale=2), "steps": steps}
    common |= {"seed": 5, "crop": 16, "device": device}
    with pytest.MonkeyPatch.context() as patch:
        if torn:
            patch.setattr(clock.Clock, "has_time_left", lambda *_: not first or next(time_left))
        simple = fit.fit(copy.deepcopy(networks[0]), **common, checkpoint=folder / "fit.pt")
        more = {"content": F.mse_loss, "validation": images[:2].flip(-1), "validate_every": 7}
        return simple, gan.fit_gan(*networks, **common, **more, checkpoint=folder / "gan.pt")


def in_each_way(folder, images, generator, discriminator, *, hours, device):
    """All of RUNS in one start of two processes; the networks are trained by the last."""
    warnings.warn(f"this is from process {rank()}", stacklevel=1)
    found = {"over": clock.started() + 3600 * hours, "threads": torch.get_num_threads()}
    found["exact"] = torch.are_deterministic_algorithms_enabled()
    for name, options in RUNS.items():
        networks = generator, discriminator
        networks = networks if name == "whole" else copy.deepcopy(networks)
        found[name] = both(folder / name, images, networks, **options, device=device)
    return found


def both_and_fail(*args, **kwargs):
    """`both`, and then the second process fails."""
    both(*args, **kwargs)
    if rank() == 1:
        raise loop.Diverged("the second process's loss became NaN")
    distributed.barrier()


class Patches(nn.Module):
    """A discriminator of patches, without batch norm: several processes compute what one does."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)
        )

    def forward(self, images):
        return self.layers(images).mean((1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What one and two processes did, and all that can be asked about it."""
    folder = tmp_path_factory.mktemp("done")
    images = torch.rand(20, 1, 24, 28, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    networks = [
        SRResNet(scale=2, blocks=1, width=8, norm=None),
        Patches(),
    ]
    ones, twos, others = (copy.deepcopy(networks) for _ in range(3))
    one, temporary = folder / "one", folder / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
        patch.setattr("tempfile.tempdir", str(temporary))
        in_each_way(one, images, *ones, hours=1.0, device="cpu")
        said.truncate(0)
        torch.use_deterministic_algorithms(True)
        try:
            given = folder / "two", images, *twos
            found = launch(2, in_each_way, *given, hours=1.0, device="cpu")
        finally:
            torch.use_deterministic_algorithms(False)
        with pytest.raises(Exception) as error:  # noqa: PT011 - which one is tested below
            launch(2, both_and_fail, folder / "two" / "torn", images, others, device="cpu")
    return SimpleNamespace(
        **{"one": one, "two": folder / "two", "ones": ones, "twos": twos, "found": found},
        **{"said": said.getvalue(), "error": error.value, "left": list(temporary.glob("medsr*"))},
    )


def gradients(path, optimizer):
    """Of the first step: Adam has kept a tenth of them."""
    states = checkpoint.load(path)[optimizer]["state"].values()
    return torch.cat([state["exp_avg"].flatten() for state in states])


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def difference(a, b):
    """Relative to b."""
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "optimizer"),
    [
        ("fit.pt", "optimizer"),
        ("gan.pt", "generator_optimizer"),
        ("gan.pt", "discriminator_optimizer"),
    ],
)
def test_two_processes_compute_the_gradients_of_one(done, file, optimizer):
    one, two = (gradients(f / "one_step" / file, optimizer) for f in (done.one, done.two))
    assert difference(two, one) < 3e-6  # rounding: each is up to 1e-6 off what float64 gives


@pytest.mark.slow
def test_weights_stay_close_to_those_of_one_process(done):
    for one, two in zip(done.ones, done.twos):
        assert difference(weights(two), weights(one)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("file", ["fit.pt", "gan.pt"])
def test_continues_bit_for_bit_after_the_first_clock_has_ended_all(done, file):
    assert [history.steps_done for history in done.found["torn"]] == [16, 16]
    assert same_end(done.two / "torn" / file, done.two / "whole" / file)


@pytest.mark.slow
def test_networks_come_back_trained_as_from_a_call_here(done):
    generator, discriminator = done.twos
    state = checkpoint.load(done.two / "whole" / "gan.pt")
    assert identical(dict(generator.state_dict()), state["average"])
    assert identical(dict(discriminator.state_dict()), state["discriminator"])
    assert not any(network.training for network in done.twos)
    assert [len(trained_on(network)) for network in done.twos] == [22, 22]


@pytest.mark.slow
def test_histories_come_back(done):
    simple, adversarial = done.found["whole"]
    assert simple.done
    assert adversarial.done
    assert adversarial.validation["step"].tolist() == [7, 14, 20]
    assert adversarial.table.columns.tolist() == ["step", *gan.COLUMNS]


@pytest.mark.slow
def test_hours_count_from_the_start_of_this_process(done):
    assert done.found["over"] == pytest.approx(clock.started() + 3600, abs=0.01)


@pytest.mark.slow
def test_processes_share_threads_and_take_over_what_was_set_here(done):
    assert done.found["threads"] == max(1, torch.get_num_threads() // 2)
    assert done.found["exact"]


@pytest.mark.slow
def test_the_first_process_is_shown_and_no_other(done):
    assert "this is from process 0" in done.said
    assert "this is from process 1" not in done.said
    assert "\rtraining: " in done.said
    assert not [
        w for w in ("torchrun", "elastic", "OMP_", "gloo", "UserWarning: N") if w in done.said
    ]


@pytest.mark.slow
def test_no_temporary_file_is_left(done):
    assert done.left == []


@pytest.mark.slow
def test_an_error_comes_back_as_itself(done):
    assert repr(done.error) == """Diverged("the second process's loss became NaN")"""
    assert "in process 1 of 2:\nTraceback" in str(done.error.__cause__)


FOREVER = """
import sys
from pathlib import Path
from torch import distributed
from medsr_lib.restore.training.processes import launch

def train_forever(ready):
    while True:
        distributed.barrier()
        ready.touch()

if __name__ == "__main__":
    import forever
    launch(2, forever.train_forever, Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ends_with_the_process_that_started_it(tmp_path, number):
    temporary, ready, script = (tmp_path / name for name in ("temporary", "ready", "forever.py"))
    temporary.mkdir()
    script.write_text(FOREVER)
    environment = os.environ | {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    here = psutil.Popen(
        [sys.executable, str(script), str(ready)], env=environment, stderr=subprocess.PIPE
    )
    while not ready.exists():
        assert here.poll() is None
        time.sleep(0.1)
    others = here.children(recursive=True)
    here.send_signal(number)
    said = here.communicate()[1].decode()
    _, left = psutil.wait_procs(others, timeout=20 if number == signal.SIGKILL else 0.1)
    assert len(others) == 3  # torchrun and two of ours
    assert left == []
    assert list(temporary.iterdir()) == []
    assert here.returncode == -number
    assert said.endswith("KeyboardInterrupt\n") == (number == signal.SIGINT)


@pytest.fixture
def said_by_torchrun(tmp_path):
    """`said_by_torchrun(text)` -> the folder of a job of which torchrun said so."""

    def say(text):
        (tmp_path / "torchrun.log").write_text(text)
        (tmp_path / "0.log").write_text("\rtraining: 1%\rtraining: 2%")
        return tmp_path

    return say


def test_a_process_that_was_killed_is_named_before_those_that_missed_it(said_by_torchrun):
    folder = said_by_torchrun("E1107 1:2 failed\n traceback : Signal 9 (SIGKILL) received by PID 8")
    (folder / "1.error").write_bytes(
        processes._packed(RuntimeError("connection closed by peer"), 0)
    )
    error = str(processes._failure(folder, 2))
    assert "2 training processes was ended by SIGKILL, perhaps for lack of memory" in error
    assert error.endswith("\ntraining: 1%\ntraining: 2%")


def test_a_process_that_cannot_start_says_why_without_the_noise(said_by_torchrun):
    folder = said_by_torchrun("ImportError: no numpy\nE1107 1:2 failed\nnoise")
    assert str(processes._failure(folder, 2)).endswith("its last output:\nImportError: no numpy")


def test_the_first_of_several_errors_counts(said_by_torchrun):
    folder = said_by_torchrun("E1107 1:2 failed\nSignal 15 (SIGTERM) received by PID 8")
    (folder / "12.error").write_bytes(
        processes._packed(RuntimeError("connection closed by peer"), 0)
    )
    (folder / "11.error").write_bytes(processes._packed(KeyError("x"), 1))
    assert repr(processes._failure(folder, 2)) == "KeyError('x')"


def test_one_process_is_a_plain_call():
    here = launch(1, lambda *args, **kwargs: (os.getpid(), args, kwargs), 2, device="cpu")
    assert here == (os.getpid(), (2,), {"device": "cpu"})


@pytest.fixture
def gpus(monkeypatch):
    """`gpus(n)` makes believe that there are so many."""

    def have(n):
        monkeypatch.setattr("torch.cuda.is_available", lambda: n > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: n)

    return have


@pytest.mark.parametrize(
    ("device", "n", "expected"),
    [
        ("auto", 0, (1, False)),
        ("auto", 2, (2, True)),
        ("cuda", 2, (2, True)),
        ("cpu", 2, (1, False)),
    ],
)
def test_auto_is_a_process_for_each_gpu(gpus, device, n, expected):
    gpus(n)
    assert processes._plan("auto", device) == expected


@pytest.mark.parametrize(
    ("n", "device", "reason"),
    [
        (0, "cpu", 'processes must be 1 or more, or "auto"; got 0'),
        (1.5, "cpu", 'processes must be 1 or more, or "auto"; got 1.5'),
        ("two", "cpu", "processes must be 1 or more, or \"auto\"; got 'two'"),
        (3, "cuda", "3 processes need as many GPUs, and there are 2: take"),
        (2, "mps", r"2 processes train on .* not on 'mps'"),
    ],
)
def test_refuses_processes_that_cannot_be(gpus, n, device, reason):
    gpus(2)
    with pytest.raises(ValueError, match=reason):
        launch(n, fit.fit, device=device)


def test_names_the_argument_that_cannot_be_given():
    with pytest.raises(TypeError, match=r"^degrade cannot be given to other processes \(.*lambda"):
        launch(2, fit.fit, ESPCN(scale=2), None, degrade=lambda hr: hr, steps=1, seed=0)


def test_names_what_the_notebook_has_defined(monkeypatch):
    monkeypatch.setattr(Broken, "__module__", "__main__")
    with pytest.raises(TypeError, match=r"^networks cannot be .*Broken is defined in the notebook"):
        launch(2, both, None, None, networks=[Broken], steps=1)


def test_refuses_an_argument_that_the_function_does_not_take():
    with pytest.raises(TypeError, match="unexpected keyword argument 'stepz'"):
        launch(2, fit.fit, ESPCN(scale=2), None, stepz=1, degrade=None, steps=1, seed=0)


def test_packs_and_partials_can_be_given(tmp_path):
    phantom.write_figshare(tmp_path / "mat", patients=3, slices_per_patient=1, seed=0)
    images = store.prepare(tmp_path / "mat", tmp_path / "store.h5")
    given = {"degrade": partial(degrade.bicubic, scale=2), "steps": 1, "seed": 0}
    processes._refuse_what_cannot_be_given(fit.fit, (ESPCN(scale=2), images), given)


def test_an_error_that_cannot_be_pickled_says_the_same():
    error, rank, trace = pickle.loads(processes._packed(Broken("this", "that"), 1))
    assert (repr(error), rank) == ("RuntimeError('Broken: this because that')", 1)
    assert trace.endswith("Broken: this because that\n")

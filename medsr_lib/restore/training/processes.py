"""Training by several processes, one for each GPU, that average their gradients.

    history = launch("auto", fit.fit, network, images, degrade=..., steps=..., seed=...)

gives what `fit.fit(network, images, ...)` gives. The processes are started by torchrun: none is a
fork of this one, which may be the kernel of a notebook and may have used CUDA.
"""

import codecs
import inspect
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size, rmtree
from types import FunctionType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, distributed, nn

from medsr_lib.case import trained_on
from medsr_lib.files import atomic
from medsr_lib.restore.training import clock
from medsr_lib.restore.training.engine import ready

PATIENCE = 10.0  # seconds that processes are given to end, before they are ended by force
LINES = 20  # of a process's last output, for an error that it could not send
Result = TypeVar("Result")


def launch(
    processes: int | Literal["auto"],
    function: Callable[..., Result],
    /,
    *args: Any,
    **kwargs: Any,
) -> Result:
    """Call a training function in several processes, which share each batch.

    With one process this is `function(*args, **kwargs)` and nothing else. With more, each of them
    calls the function within an initialised `torch.distributed`; they take about eight seconds to
    start, which count into `hours`. What the first one writes to stdout or stderr, such as its
    progress bar, appears on `sys.stderr` here. Ctrl-C, or an interrupted kernel, ends them all.

    Batch norm takes the statistics of the whole batch on CUDA (`nn.SyncBatchNorm`), and those of
    each process's share on the CPU, where the first process's running statistics are kept. Without
    batch norm, several processes compute the gradients that one does, up to rounding.

    Args:
        processes: how many; "auto" for one on each GPU, and one where none is used.
        function: `fit.fit`, `gan.fit_gan`, or a function of a module that calls them.
        args, kwargs: of the function; all that `pickle` can store. `device` must be "auto", "cpu"
            or "cuda" if there are several processes.

    Returns:
        What the function returned in the first process. Each `nn.Module` that is itself an argument
        has been trained in place, and is on the CPU in evaluation mode.

    Raises:
        ValueError: fewer than one process, or more than there are GPUs.
        TypeError: an argument that does not fit the function or cannot be given to other processes,
            such as a lambda or a function defined in the notebook.
        RuntimeError: a process ended without an error of its own.
        Exception: any other that the function raised, from the process where it came first.
    """
    count, on_cuda = _plan(processes, kwargs.get("device", "auto"))
    if count == 1:
        return function(*args, **kwargs)
    _refuse_what_cannot_be_given(function, args, kwargs)
    job = {
        "call": (function, args, kwargs),
        "cuda": on_cuda,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "started": clock.started(),
    }
    with tempfile.TemporaryDirectory(prefix="medsr-train-", ignore_cleanup_errors=True) as name:
        folder = Path(name)  # nobody else may read or write there, so that it is safe to unpickle
        torch.save(job, folder / "job.pt")
        _run(count, folder)
        result, states = torch.load(folder / "result.pt", map_location="cpu", weights_only=False)
    for network, (weights, cases) in zip(_networks(args, kwargs), states):
        network.load_state_dict(weights)
        if cases:
            network.trained_on = cases
        ready(network)
    answer: Result = result
    return answer


def main(folder: Path) -> None:
    """One of the processes that `launch` starts; `folder` holds the job."""
    rank = int(os.environ["RANK"])
    with (folder / f"{rank}.log").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):  # also of libraries that are not Python
            os.dup2(log.fileno(), stream.fileno())
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    if rank > 0:
        warnings.simplefilter("ignore")  # the first process gives the same
    try:
        _work(folder, rank)
    except BaseException as error:
        with atomic(folder / f"{time.time_ns()}.error") as path:
            path.write_bytes(_packed(error, rank))
        os._exit(1)  # without waiting for processes that wait for this one


def _plan(processes: int | Literal["auto"], device: str) -> tuple[int, bool]:
    """How many processes, and whether on GPUs."""
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    gpus = torch.cuda.device_count() if cuda else 0
    if processes == "auto":
        processes = max(1, gpus)
    if not isinstance(processes, int) or processes < 1:
        raise ValueError(f'processes must be 1 or more, or "auto"; got {processes!r}')
    if processes > 1 and device not in ("auto", "cpu", "cuda"):
        raise ValueError(f'{processes} processes train on "cpu" or "cuda", not on {device!r}')
    if processes > 1 and cuda and processes > gpus:
        raise ValueError(
            f"{processes} processes need as many GPUs, and there are {gpus}: "
            f'take processes={max(1, gpus)}, or device="cpu"'
        )
    return processes, cuda


class _Trial(pickle.Pickler):
    """Finds out whether something can be pickled and read by another process."""

    def persistent_id(self, obj: Any) -> str | None:
        return "a tensor" if isinstance(obj, Tensor) else None  # these can; do not copy them

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj.__qualname__} is defined in the notebook or script")
        return NotImplemented


def _refuse_what_cannot_be_given(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    given = inspect.signature(function).bind(*args, **kwargs).arguments
    for name, value in {"the function": function, **given}.items():
        try:
            _Trial(io.BytesIO()).dump(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"{name} cannot be given to other processes ({error}): take functions and classes "
                "from a module, and functools.partial rather than a lambda; or processes=1"
            ) from None


def _run(processes: int, folder: Path) -> None:
    """Have the job done; return when all processes have ended."""
    launcher = ["torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    launcher += ["--log-dir", str(folder), "--nproc-per-node", str(processes)]
    (folder / "0.log").touch()
    with (folder / "torchrun.log").open("wb") as log:
        torchrun = subprocess.Popen(
            [sys.executable, "-m", *launcher, "-m", __name__, str(folder)],
            stdin=subprocess.PIPE,  # all processes end when its end here is closed
            stdout=log,
            stderr=log,
            env=_environment(processes),
            start_new_session=True,  # a terminal's Ctrl-C reaches them through this process only
        )
    try:
        _show(folder / "0.log", torchrun)
        if torchrun.returncode != 0:
            raise _failure(folder, processes)
    except BaseException:
        torchrun.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        raise
    finally:
        try:
            with suppress(subprocess.TimeoutExpired):
                torchrun.wait(PATIENCE)
        finally:
            torchrun.kill()
            torchrun.communicate()  # closes its stdin


def _environment(processes: int) -> dict[str, str]:
    ours = {
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes)),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "PYTHONIOENCODING": "utf-8",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    if sys.stderr.isatty():  # progress bars as wide as this terminal
        columns, lines = get_terminal_size()
        ours |= {"COLUMNS": str(columns), "LINES": str(lines)}
    return os.environ | ours


def _show(log: Path, process: "subprocess.Popen[bytes]") -> None:
    """Pass on to stderr what is written to `log`, until the process ends."""
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    with log.open("rb") as written:
        ended = False
        while not ended:
            time.sleep(0.1)
            ended = process.poll() is not None
            if text := decode(written.read()):
                sys.stderr.write(text)
                sys.stderr.flush()


def _failure(folder: Path, processes: int) -> BaseException:
    """The error that came first; with the last output of a process if none could send one."""
    of_torchrun = (folder / "torchrun.log").read_text("utf-8", "replace")
    # Others then fail for lack of this one, and may send that before they are ended too.
    crash = re.search(r"Signal \d+ \((SIGKILL|SIGSEGV|SIGBUS)\) received", of_torchrun)
    sent = sorted(folder.glob("*.error"))
    if sent and not crash:
        error, rank, trace = pickle.loads(sent[0].read_bytes())
        error.__cause__ = RuntimeError(f"in process {rank} of {processes}:\n{trace}")
        first: BaseException = error
        return first
    own = re.split(r"^E\d{4} ", of_torchrun, maxsplit=1, flags=re.MULTILINE)[0]
    logs = [folder / f"{rank}.log" for rank in range(processes)]
    texts = [log.read_text("utf-8", "replace") for log in logs if log.exists()]
    output = next((text for text in (own, *texts, of_torchrun) if text.strip()), "")
    last = "\n".join(re.split(r"[\r\n]+", output.strip())[-LINES:])
    why = f"was ended by {crash[1]}" if crash else "ended"
    if crash and crash[1] == "SIGKILL":
        why += ", perhaps for lack of memory"
    return RuntimeError(f"one of {processes} training processes {why}; its last output:\n{last}")


def _work(folder: Path, rank: int) -> None:
    """Do this process's share of the job."""
    job = torch.load(
        folder / "job.pt", map_location="cpu", mmap=True, weights_only=False
    )  # mapped: the processes have one copy of the images in memory
    torch.use_deterministic_algorithms(job["deterministic"], warn_only=job["warn_only"])
    if job["cuda"]:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if job["cuda"] else "gloo")
    function, args, kwargs = job["call"]
    if kwargs.get("hours") is not None:  # they count from the start of the session, not of this
        kwargs["hours"] = max(1e-12, kwargs["hours"] - (clock.started() - job["started"]) / 3600)
    result = function(*args, **kwargs)
    if rank == 0:
        networks = _networks(args, kwargs)
        states = [(network.state_dict(), trained_on(network)) for network in networks]
        torch.save((result, states), folder / "result.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def _networks(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[nn.Module]:
    return [value for value in (*args, *kwargs.values()) if isinstance(value, nn.Module)]


def _packed(error: BaseException, rank: int) -> bytes:
    """The error as bytes; where that cannot be, a RuntimeError with the same text."""
    trace = "".join(traceback.format_exception(error))
    try:
        packed = pickle.dumps((error, rank, trace))
        pickle.loads(packed)
        return packed
    except Exception:
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), rank, trace))


def _end_with_parent(folder: Path) -> None:
    """Wait for the end of stdin, which comes when the process that called `launch` was killed."""
    while os.read(0, 1):
        pass
    rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

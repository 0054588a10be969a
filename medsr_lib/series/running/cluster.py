"""Independent jobs on dask.distributed: processes of this machine, or the workers of a cluster."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

from joblib import cpu_count
from tqdm import tqdm

import medsr_lib

ANSWERS_IN = 10.0  # seconds, a scheduler and its workers


def each(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    *,
    workers: int | None,
    scheduler: str | None,
    witness: Path,
) -> Iterator[tuple[int, Any]]:
    """Call a function with each job; give each job's place and what came of it, as they end.

    The job of a worker that dies begins again on another: the function is to find out what was done
    already. None came of it when four workers died. This machine's workers end with the iteration;
    those of a cluster finish what they have begun.

    Args:
        function, jobs: as pickle takes them.
        workers: processes on this machine, which share its cores.
        scheduler: in place of them, the address of a cluster, such as "tcp://10.0.0.1:8786".
        witness: an absolute path of a file that all workers must see.

    Raises:
        ImportError: dask.distributed is not installed.
        ConnectionError: no scheduler answers at this address, or it has no workers.
        ValueError: a worker of a cluster is in another folder, without the files, or has another
            version of the library.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ImportError(
            f"workers need dask: pip install 'medsr-lib[cluster]' ({error})"
        ) from error
    with ExitStack() as stack:
        if scheduler is None:
            share = max(1, cpu_count() // (workers or 1))
            shared = dict.fromkeys(("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), share)
            settings = {
                "distributed.nanny.pre-spawn-environ": shared,
                "distributed.scheduler.worker-saturation": 1.0,  # the next job when one is free
            }
            stack.enter_context(dask.config.set(settings))
            local = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
                memory_limit=0, silence_logs=logging.CRITICAL,
            )  # fmt: skip
            client = stack.enter_context(distributed.Client(stack.enter_context(local)))
            function = partial(_hushed, function)
        else:
            try:
                client = stack.enter_context(distributed.Client(scheduler, timeout=ANSWERS_IN))
                client.wait_for_workers(1, timeout=ANSWERS_IN)
            except (OSError, ValueError) as error:
                raise ConnectionError(
                    f"no dask scheduler with workers answers at {scheduler} ({error}); start one "
                    "by `dask scheduler`, and workers by `dask worker` and the address it prints"
                ) from error
            for worker, view in client.run(_view, witness, on_error="return").items():
                if view != _view(witness):
                    raise ValueError(f"worker {worker}: {view}, but this process: {_view(witness)}")
        futures = client.map(function, jobs, pure=False)
        places = {future: place for place, future in enumerate(futures)}
        ends = distributed.as_completed(futures)
        for future in tqdm(ends, "sweep", len(jobs), disable=None, leave=False):
            killed = isinstance(future.exception(), distributed.KilledWorker)
            yield places[future], None if killed else future.result()


def _view(witness: Path) -> str:
    sees = "sees" if witness.exists() else "does not see"
    return f"medsr_lib {medsr_lib.__version__} in {Path.cwd()}, {sees} {witness.parent}"


def _hushed(function: Callable[[Any], Any], job: Any) -> Any:
    """A job of this machine: several progress bars on one terminal cannot be read."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        return function(job)

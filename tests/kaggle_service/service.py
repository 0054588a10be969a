"""The service: its settings and its state, and the server that runs it."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from kaggle_service import client, sessions, web
from kaggle_service.faults import Fault
from kaggle_service.records import (
    ACTIVE,
    Dataset,
    Kernel,
    Push,
    RefusalError,
    Request,
    Session,
    Upload,
    utc,
)
from kaggle_service.runner import NotebookRunner, session_environment

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

Runner = Callable[[Session, Path, Path], object]
IMAGE = "gcr.io/kaggle-gpu-images/python@sha256:" + "0123456789abcdef" * 4


class Service:
    """Kaggle on the loopback interface, for one user.

    `runner(session, inputs, working)` is what a session does: with its read-only mounts and its
    working folder; what it raises is the session's ERROR, and it must return when `session.stop`
    is set. The default executes the notebook. Counts, hours and statuses may be changed and
    faults added at any time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runner: Runner | None = None,
        faults: Iterable[Fault] = (),
        owner: str = "tester",
        key: str | None = None,
        layout: Literal["nested", "flat"] = "nested",
        image: str = IMAGE,
        time_limit: float = 60.0,
        queued_polls: int = 0,
        running_polls: int = 0,
        gpu_hours_allowed: float = 30.0,
        gpu_hours_used: float = 0.0,
        session_hours: float = 0.0,
        dataset_pending: int = 0,
        missing: int = 403,
    ):
        self.folder = Path(folder).resolve()
        self.runner = runner or NotebookRunner()
        self.faults = list(faults)
        self.owner = owner
        self.key = key or secrets.token_hex(16)
        self.token = "KGAT_" + secrets.token_hex(16)  # the newer credentials, accepted as well
        self.secret = secrets.token_hex(24)  # in the environment of the sessions
        self.layout = layout
        self.image = image  # of sessions that pin none
        self.time_limit = time_limit  # seconds
        self.queued_polls = queued_polls  # a status is told so often before the next follows
        self.running_polls = running_polls
        self.gpu_hours_allowed = gpu_hours_allowed
        self.gpu_hours_used = gpu_hours_used
        self.session_hours = session_hours  # what a GPU session costs
        self.dataset_pending = dataset_pending  # polls until a new data set is ready
        self.missing = missing  # HTTP status for what does not exist or is another's
        self.quota_refresh = utc(2_000_000_000)
        self.gpu_sessions, self.cpu_sessions = 2, 5  # at once

        self.kernels: dict[str, Kernel] = {}
        self.datasets: dict[str, Dataset] = {}
        self.sessions: list[Session] = []  # in the order of the pushes
        self.uploads: dict[str, Upload] = {}
        self.pushes: list[Push] = []
        self.requests: list[Request] = []
        self.counts: Counter[str] = Counter()  # RPC, download or upload -> calls so far
        self.accepted = 0  # pushes
        self.dataset_versions = 0
        self.lock = threading.RLock()
        self._ids = 100
        self._server = web.Server(self)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        sessions.abandon(self)
        self._server.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    # Clients

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a client here, to be set before `import kaggle`."""
        return client.environment(self.url, self.owner, self.key, self.folder / "client")

    def process_environment(self, **more: str) -> dict[str, str]:
        """A whole environment for a child process that is a client."""
        return client.clean_environment() | self.environment | more

    @contextmanager
    def connected(self, **more: str | None) -> Iterator[KaggleApi]:
        """A client in this process, which is pointed here as long as the context lasts.

        `more` are other variables; those that are None are not set.
        """
        variables = self.environment | more
        with client.connected({k: v for k, v in variables.items() if v is not None}) as api:
            yield api

    # What tests set up and ask

    def add_dataset(
        self, ref: str, folder: Path, *, pending: int = 0, private: bool = False
    ) -> Dataset:
        """A data set with the files of `folder`, ready after `pending` looks at its status."""
        owner, slug = ref.split("/")
        dataset = Dataset(owner, slug, slug, [Path(folder)], self.next_id(), pending)
        dataset.private = private
        self.datasets[ref] = dataset
        return dataset

    def add_kernel(
        self,
        ref: str,
        *,
        status: str = "COMPLETE",
        files: dict[str, bytes] | None = None,
        gpu: bool = True,
        private: bool = True,
        title: str | None = None,
        **request: Any,
    ) -> Kernel:
        """A kernel that somebody pushed before; one that is active stays so until `end`."""
        owner, slug = ref.split("/")
        new = Kernel(owner, slug, title or slug, self.next_id(), private)
        kernel = self.kernels.get(ref, new)
        session = sessions.new(self, kernel, {"enableGpu": gpu, "text": ""} | request, [], [])
        session.status, session.extra = status, files or {}
        if status not in ACTIVE:
            session.done.set()
        session.working.mkdir(parents=True)
        kernel.versions.append(session)
        self.kernels[ref] = kernel
        return kernel

    def wait(self, ref: str, timeout: float = 60.0) -> str:
        """Wait until the newest session of a kernel has ended; its status."""
        return sessions.wait_for(self, self.kernels[ref].latest, timeout)

    def cancel(self, ref: str) -> None:
        """Stop the newest session of a kernel, as its user could in the browser."""
        with self.lock:
            sessions.cancel(self.kernels[ref].latest)

    # For the rules

    def striking(self, kind: str, call: str, number: int) -> list[Fault]:
        """The faults of a kind that strike this call."""
        return [f for f in self.faults if f.kind == kind and f.strikes(call, number)]

    def sees(self, dataset: Dataset) -> bool:
        """Whether the user may use it."""
        return dataset.owner == self.owner or not dataset.private

    def ready_folder(self, ref: str) -> Path:
        """The files of a data set that was found ready."""
        folder = self.datasets["/".join(ref.split("/")[:2])].ready()
        if folder is None:
            raise RefusalError(500, f"{ref} is not ready")
        return folder

    def next_id(self) -> int:
        """A number for a kernel or a data set."""
        self._ids += 1
        return self._ids

    def file_url(self, session: Session, index: int) -> str:
        """Where a file of the output is fetched, without credentials."""
        name = list(session.files())[index].split("/")[-1]
        return f"{self.url}/files/{session.id}/{index}/{quote(name)}"

    def session_environment(self, session: Session) -> dict[str, str]:
        """The variables of a session."""
        return session_environment(session, self.secret)

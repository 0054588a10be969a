"""What the service remembers."""

import re
import threading
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ACTIVE = {"QUEUED", "RUNNING", "CANCEL_REQUESTED"}


class RefusalError(Exception):
    """A call that is answered with an HTTP status instead of a result."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One HTTP request, as it came."""

    method: str
    host: str
    path: str
    rpc: str  # such as SaveKernel, or "download", "upload", "logs"; "" for what is not known
    authorization: str  # the header; empty: none
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass
class Session:
    """A version of a kernel and its run."""

    owner: str
    slug: str
    number: int  # of the version, from 1
    request: Json  # of SaveKernel
    root: Path  # MEDSR_KAGGLE_ROOT of the session
    image: str
    kernels: list[str]  # accepted sources, owner/slug
    datasets: list[str]
    sources: dict[str, "Session"] = field(default_factory=dict, repr=False)  # of `kernels`
    folders: dict[str, Path] = field(default_factory=dict, repr=False)  # of `datasets`
    id: int = 0
    push: int = 0  # which of the accepted pushes started it, from 1; 0: none did
    status: str = "QUEUED"
    failure_message: str | None = None
    log: list[Json] = field(default_factory=list)
    extra: dict[str, bytes] = field(default_factory=dict)  # more files of the output
    beside: bool = False  # pushed by a second chain
    time_limit: float = 60.0  # in seconds
    queued_polls: int = 0
    running_polls: int = 0
    outcome: tuple[str, str | None] | None = None  # final status and message, not yet shown
    keeps_files: bool = True
    seen: dict[str, int] = field(default_factory=dict)  # status -> how often told
    go: threading.Event = field(default_factory=threading.Event)  # left the queue
    stop: threading.Event = field(default_factory=threading.Event)  # the runner must end now
    done: threading.Event = field(default_factory=threading.Event)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """owner/slug"""
        return f"{self.owner}/{self.slug}"

    @property
    def text(self) -> str:
        """The notebook, as it was pushed."""
        return str(self.request.get("text") or "")

    @property
    def working(self) -> Path:
        """The folder that becomes the output."""
        return self.root / "working"

    @property
    def inputs(self) -> Path:
        """The folder of the mounts."""
        return self.root / "input"

    @property
    def gpu(self) -> bool:
        """Whether it occupies a GPU."""
        return bool(self.request.get("enableGpu"))

    def files(self) -> dict[str, Path | bytes]:
        """Name -> what it holds; nothing before the session has ended."""
        if not self.done.is_set() or not self.keeps_files:
            return {}
        paths = sorted(p for p in self.working.rglob("*") if p.is_file() and not p.is_symlink())
        return {p.relative_to(self.working).as_posix(): p for p in paths} | self.extra

    def told(self) -> str:
        """The status for someone who asks; the next one may follow from it."""
        status = self.status
        self.seen[status] = self.seen.get(status, 0) + 1
        self.settle()
        return status

    def settle(self) -> None:
        """Go on to the next status when the former has been seen often enough."""
        if self.status == "QUEUED" and self.seen.get("QUEUED", 0) >= self.queued_polls:
            self.status = "RUNNING"
            self.go.set()
        if self.outcome and self.seen.get("RUNNING", 0) >= self.running_polls:
            self.status, self.failure_message = self.outcome
            self.done.set()


@dataclass
class Kernel:
    """A notebook on the service."""

    owner: str
    slug: str
    title: str
    id: int
    private: bool = True
    versions: list[Session] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """owner/slug"""
        return f"{self.owner}/{self.slug}"

    @property
    def latest(self) -> Session:
        """The newest version."""
        return self.versions[-1]

    @property
    def status(self) -> str:
        """Of the newest version; looking at it here is not counted."""
        return self.latest.status


@dataclass
class Push:
    """A call of SaveKernel and what became of it."""

    request: Json
    response: Json | None = None  # None: no answer was made
    session: Session | None = None  # None: nothing was started

    @property
    def slug(self) -> str:
        """The slug asked for."""
        return str(self.request.get("slug") or "").split("/")[-1]


@dataclass
class Dataset:
    """A data set: a folder for each version."""

    owner: str
    slug: str
    title: str
    versions: list[Path]
    id: int = 0
    pending: int = 0  # looks at its status until the newest version is ready
    failed: bool = False
    private: bool = True
    license: str = "other"

    @property
    def ref(self) -> str:
        """owner/slug"""
        return f"{self.owner}/{self.slug}"

    def told(self) -> str:
        """The status for someone who asks; the next one may follow from it."""
        if self.failed:
            return "FAILED"
        if self.pending:
            self.pending -= 1
            return "BLOBS_RECEIVED"
        return "READY"

    def ready(self) -> Path | None:
        """The folder of the newest version that can be attached."""
        whole = self.versions[:-1] if self.pending or self.failed else self.versions
        return whole[-1] if whole else None


@dataclass
class Upload:
    """A file on its way into a data set."""

    token: str
    name: str
    length: int
    received: bytes = b""

    @property
    def complete(self) -> bool:
        """Whether all of it has come."""
        return len(self.received) == self.length


def slugify(title: str) -> str:
    """The slug of a title, near enough to what the client computes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain)
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def utc(seconds: float | None = None) -> str:
    """A time as the service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def paged(items: list[Any], body: Json, default: int = 20) -> tuple[list[Any], str]:
    """The part of `items` that was asked for, and the token of the next one."""
    size = int(body.get("pageSize") or default)
    first = int(body.get("pageToken") or 0) or (int(body.get("page") or 1) - 1) * size
    rest = first + size < len(items)
    return items[first : first + size], str(first + size) if rest else ""

"""The bad days of the service: each fault says which call it strikes.

`at` is the number of that call since the service started, counted from 1 and for each kind of
call by itself; several numbers may be given; None: every time. For faults of a session it counts
the accepted pushes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

At = int | Iterable[int] | None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    call: str  # the name of an RPC, or "download", "upload", "session"; a glob
    at: frozenset[int] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def strikes(self, call: str, number: int) -> bool:
        """Whether it strikes this call."""
        return fnmatchcase(call, self.call) and (self.at is None or number in self.at)


def _fault(kind: str, call: str, at: At, **options: object) -> Fault:
    numbers = at if at is None else frozenset([at] if isinstance(at, int) else at)
    return Fault(kind, call, numbers, options)


# Any call


def http(status: int, *, call: str, at: At = None, retry_after: float | None = None) -> Fault:
    """This HTTP status instead of an answer; the call has no effect."""
    return _fault("http", call, at, status=status, retry_after=retry_after)


def disconnected(*, call: str, accepted: bool, at: At = None) -> Fault:
    """The connection closes without an answer, after or before the call took effect."""
    return _fault("disconnected", call, at, accepted=accepted)


def slow(seconds: float, *, call: str, at: At = None) -> Fault:
    """The answer takes that long; a download comes in small pieces over that time."""
    return _fault("slow", call, at, seconds=seconds)


def truncated(*, silent: bool = False, at: At = None) -> Fault:
    """A download ends after half of its bytes; `silent`: it claims to be no longer."""
    return _fault("truncated", "download", at, silent=silent)


# A push


def refused(error: str = "Something went wrong.", *, at: At = None) -> Fault:
    """The push is refused with an error, which the client hands on without failing."""
    return _fault("refused", "SaveKernel", at, error=error)


def session_cap(*, at: At = None) -> Fault:
    """As if two GPU sessions were running."""
    return refused("Maximum batch GPU session count of 2 reached.", at=at)


def quota_used_up(*, at: At = None) -> Fault:
    """As if the GPU hours of the week were used up."""
    return refused("Weekly GPU quota of 30.00 hours reached.", at=at)


def dropped_source(source: str = "*", *, at: At = None) -> Fault:
    """Sources (kernels or data sets, a glob on owner/slug) are dropped; the kernel runs without."""
    return _fault("dropped", "SaveKernel", at, source=source)


def renamed(slug: str, *, at: At = None) -> Fault:
    """A new kernel gets this slug, whatever its title."""
    return _fault("renamed", "SaveKernel", at, slug=slug)


def beside(*, at: At = None) -> Fault:
    """A second chain pushes the same just before; both are accepted."""
    return _fault("beside", "SaveKernel", at)


# A session


def queued(polls: int, *, at: At = None) -> Fault:
    """The session is QUEUED for so many looks at its status."""
    return _fault("queued", "session", at, polls=polls)


def ends(
    status: str,
    *,
    message: str | None = None,
    files: bool = True,
    at: At = None,
) -> Fault:
    """The session ends with this status, with or without its files."""
    return _fault("ends", "session", at, status=status, message=message, files=files)


def limit(seconds: float, *, files: bool = True, at: At = None) -> Fault:
    """The time limit of the session: cancelled after so many seconds, with or without its files."""
    return _fault("limit", "session", at, seconds=seconds, files=files)


def hostile(name: str, content: bytes = b"evil", *, at: At = None) -> Fault:
    """One more file of the output, by a name such as ../../evil."""
    return _fault("hostile", "session", at, name=name, content=content)


# A data set


def dataset_fails(*, at: At = None) -> Fault:
    """A new data set, or version of one, never becomes ready: its status is FAILED."""
    return _fault("fails", "dataset", at)

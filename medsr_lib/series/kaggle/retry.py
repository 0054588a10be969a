"""Transient errors: which ones are worth another try, how long to wait, downloads that resume."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests
import tenacity
from requests.adapters import HTTPAdapter

TRIES = 6
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # HTTP codes worth another try
LONGEST = 300.0  # seconds between two tries
TIMEOUT = (15.0, 120.0)  # seconds to connect, and between two pieces of an answer
Answer = TypeVar("Answer")


class KaggleError(Exception):
    """An error that says what to do: another try is of no use."""


class DamagedError(ValueError):
    """A file that came whole, and is not what it should be."""


def again(
    call: Callable[[], Answer],
    *,
    on: Callable[[BaseException], bool],
    pause: Callable[[float], None],
    seconds: float | None = None,
) -> Answer:
    """Call up to `TRIES` times, with pauses; the last error is raised as it is.

    Args:
        call: what may fail.
        on: whether an error is worth another try.
        pause: how to wait for so many seconds.
        seconds: between two tries; None for what the service asks, or else 2, 4, 8, ...
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        return float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else 2.0**state.attempt_number

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(on),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=wait if seconds is None else tenacity.wait_fixed(seconds),
        sleep=lambda delay: pause(min(LONGEST, delay)),
        reraise=True,
    )(call)


def is_transient(error: BaseException) -> bool:
    """Whether a call of the service is worth another try."""
    if isinstance(error, KaggleError):
        return False
    answered = code(error)
    if answered is not None:
        return answered in TRANSIENT
    lost = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.JSONDecodeError,
        ConnectionError,
    )
    return isinstance(error, lost)


def code(error: BaseException | None) -> int | None:
    """The HTTP code behind an error; the client hides some behind a ValueError of its own."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def with_timeout() -> Any:
    """An adapter for a session of requests that does not wait for an answer for ever."""

    class Adapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            return super().send(request, **options | {"timeout": TIMEOUT})

    return Adapter()


def pull(url: str, part: Path) -> None:
    """Fetch a file, from where the part that is there ends.

    Raises:
        OSError: the connection broke, or the service answered with an error; what came is kept.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    # Without `auth`, requests would send what a .netrc holds for the host.
    with requests.get(
        url, headers=headers, stream=True, timeout=TIMEOUT, auth=lambda request: request
    ) as answer:
        if answer.status_code == 416:  # the part is as long as the file, or longer
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the part that was there is not of this file")
        answer.raise_for_status()
        span = answer.headers.get("Content-Range", "")
        resumes = answer.status_code == 206 and span.startswith(f"bytes {have}-")
        size = int(answer.headers.get("Content-Length") or -1)
        came = 0
        with part.open("ab" if resumes else "wb") as file:
            for piece in answer.iter_content(1 << 20):
                came += file.write(piece)
        if size >= 0 and came != size:
            raise requests.ConnectionError(f"{came} of {size} bytes came")

"""What passes: errors that are worth another try, how long to wait, downloads that go on."""

import re
from pathlib import Path
from typing import Any

TRIES = 6
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP codes worth another try
LONGEST = 300.0  # seconds between two tries
TIMEOUT = (15.0, 120.0)  # seconds to connect, and between two pieces of an answer


def with_timeout() -> Any:
    """An adapter for a session of requests that waits for no answer for ever."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            return super().send(request, **options | {"timeout": TIMEOUT})

    return Adapter()


def pull(url: str, part: Path) -> None:
    """Fetch a file, from where the part that is there ends.

    Raises:
        OSError: the connection broke, or the service answered with an error; what came is kept.
    """
    import requests

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
        goes_on = answer.status_code == 206 and _range_begins_at(answer, have)
        size = int(answer.headers.get("Content-Length") or -1)
        came = 0
        with part.open("ab" if goes_on else "wb") as file:
            for piece in answer.iter_content(1 << 20):
                came += file.write(piece)
        if size >= 0 and came != size:
            raise requests.ConnectionError(f"{came} of {size} bytes came")


def _range_begins_at(answer: Any, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")))


def code(error: BaseException | None) -> int | None:
    """The HTTP code behind an error; the client hides some behind a ValueError of its own."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


def passes(error: Exception) -> bool:
    """Whether it is worth another try."""
    import requests

    answered = code(error)
    if answered is not None:
        return answered in PASSING
    lost = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.JSONDecodeError,
        ConnectionError,
    )
    return isinstance(error, lost)


def delay(error: Exception, attempt: int) -> float:
    """Seconds until the next try: what the service asks for, else twice as long each time."""
    asked = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    seconds = float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else 2.0 ** (attempt + 1)
    return min(LONGEST, seconds)

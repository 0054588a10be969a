"""The official Kaggle client, whose every error says what to do, and downloads that resume.

The client does not repeat what failed for a moment, and prints what is not for users. It is the
extra `kaggle`: pip install 'medsr-lib[kaggle]'.
"""

import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import requests
import tenacity
from requests.adapters import HTTPAdapter

from medsr_lib.files import home

NO_CREDENTIALS = (
    "no Kaggle credentials found: make a token at kaggle.com/settings, and put it into the "
    "variable KAGGLE_API_TOKEN, or kaggle.json into the folder .kaggle of your home"
)
TRIES = 6
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # HTTP codes of transient errors
LONGEST = 300.0  # seconds between two tries
TIMEOUT = (15.0, 120.0)  # seconds to connect, and between two pieces of an answer
Answer = TypeVar("Answer")


class KaggleError(Exception):
    """An error that says what to do: another try is of no use."""


class NotThere(KaggleError, ValueError):
    """The service knows no such kernel or data set, or does not show it to this account."""


class Refused(KaggleError, ValueError):
    """The service took the request and refused what it asks."""


class Unreachable(KaggleError, OSError):
    """The service did not answer, several times."""


class Client:
    """The official client's `api`, for the user `owner` whose credentials it finds.

    Args:
        pause: how to wait for so many seconds; `time.sleep`, unless in a test.

    Raises:
        ValueError: the client is not installed, or there are no credentials.
        OSError: the service cannot be reached.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.pause = pause
        self.api = _authenticated()
        values = self.api.config_values
        self.owner = str(values.get(self.api.CONFIG_NAME_USER) or "")
        names = (self.api.CONFIG_NAME_KEY, self.api.CONFIG_NAME_TOKEN)
        self.secrets = [str(values[name]) for name in names if values.get(name)]
        if not self.owner:
            raise ValueError(NO_CREDENTIALS)

    def ask(self, what: str, call: Callable[[], Answer]) -> Answer:
        """Call the service, again after a transient error.

        Raises:
            KaggleError, ValueError: it failed; the message has `what`, and no credentials.
        """
        try:
            with _quiet():
                return again(call, on=_is_transient, pause=self.pause)
        except Exception as error:
            raise self._explained(what, error) from None

    def kernels(self, name: str, ref: str, what: str, **settings: Any) -> Any:
        """A call about a kernel for which the client has no method that only asks."""
        from kaggle.api import kaggle_api_extended

        words = "".join(word.title() for word in name.split("_"))
        request = getattr(kaggle_api_extended, f"Api{words}Request")()
        request.user_name, request.kernel_slug = ref.split("/")
        for key, value in settings.items():
            setattr(request, key, value)

        def once() -> Any:
            with self.api.build_kaggle_client() as client:
                return getattr(client.kernels.kernels_api_client, name)(request)

        return self.ask(what, once)

    def _explained(self, what: str, error: Exception) -> Exception:
        """The error with what to do, and without credentials."""
        if isinstance(error, KaggleError):
            return error
        code, text = _code(error), str(error)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        if code == 401:
            return Refused(
                f"Kaggle does not accept the credentials of {self.owner!r} ({what}): make a new "
                "token at kaggle.com/settings"
            )
        if code in (403, 404):
            return NotThere(f"Kaggle has, or shows {self.owner!r}, no such thing: {what}")
        if _is_transient(error):
            return Unreachable(
                f"Kaggle could not be asked for {what}, {TRIES} times ({text}); nothing is "
                "lost: start the same command again later"
            )
        return ValueError(f"{what}: {text}")


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
        on: whether an error is transient.
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


def _authenticated() -> Any:
    """The client's API object, with timeouts, and silent."""
    home()  # which the client would make in the current folder, under the name "~"
    try:
        with _quiet():
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError:
        raise ValueError(
            "the Kaggle client is not installed: pip install 'medsr-lib[kaggle]'"
        ) from None

    class Api(KaggleApi):
        def build_kaggle_client(self) -> Any:
            client = super().build_kaggle_client()
            with contextlib.suppress(AttributeError):  # a later client may keep it elsewhere
                http = client.http_client()
                http._init_session()
                for scheme in ("http://", "https://"):
                    http._session.mount(scheme, _WithTimeout())
            return client

    api = Api()
    api.args = [word for word in api.args if word not in ("-v", "--verbose")]  # prints the key
    try:
        with _quiet():
            api.authenticate()
    except SystemExit:
        raise ValueError(NO_CREDENTIALS) from None
    except Exception as error:
        if _code(error) == 401:
            raise ValueError(f"Kaggle does not accept this token. {NO_CREDENTIALS}") from None
        raise OSError(f"Kaggle could not be reached ({type(error).__name__}); try later") from None
    return api


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the client prints is not for our users: its errors reach us as such."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _is_transient(error: BaseException) -> bool:
    """Whether the error of a call of the service is transient."""
    if isinstance(error, KaggleError):
        return False
    answered = _code(error)
    if answered is not None:
        return answered in TRANSIENT
    return isinstance(error, requests.RequestException | ConnectionError)


def _code(error: BaseException | None) -> int | None:
    """The HTTP code behind an error; the client hides some behind a ValueError of its own."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


class _WithTimeout(HTTPAdapter):
    """Does not wait for an answer for ever."""

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().send(request, **options | {"timeout": TIMEOUT})

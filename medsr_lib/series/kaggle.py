"""Kaggle through the official client, with every refusal an error, and downloads that stay inside.

The client ends well although the service has refused a push, dropped its inputs or renamed it; it
does not try again what failed in passing, and writes where the service tells it to. The client is
the extra `kaggle`: pip install 'medsr-lib[kaggle]'.
"""

import contextlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from medsr_lib.series import kernel, passing
from medsr_lib.series import state as chain_state

ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
Answer = TypeVar("Answer")


class NotThere(ValueError):
    """The service knows no such kernel or data set, or does not show it to this account."""


class Refused(ValueError):
    """The service took the request and refused what it asks."""


@dataclass(frozen=True)
class Status:
    """Of a kernel: `name` as the service says it, and the `message` of a failure."""

    name: str
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.name in ENDED

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


@dataclass(frozen=True)
class Quota:
    """GPU hours of this week; what running sessions have reserved counts as used."""

    used: float
    allowed: float
    until: datetime | None = None

    @property
    def left(self) -> float:
        """Hours that are left."""
        return max(0.0, self.allowed - self.used)

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{self.left:.1f} of {self.allowed:.0f} GPU hours left{until}"


class Account:
    """Kaggle, as the user whose credentials the client finds.

    Args:
        pause: how to wait between two tries; `time.sleep`, unless in a test.

    Raises:
        ValueError: the client is not installed, or there are no credentials.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause
        self._api = _authenticated()
        self.owner = str(self._api.config_values.get(self._api.CONFIG_NAME_USER) or "")
        names = (self._api.CONFIG_NAME_KEY, self._api.CONFIG_NAME_TOKEN)
        found = [self._api.config_values.get(name) for name in names]
        self._secrets = [str(value) for value in found if value]
        if not self.owner:
            raise ValueError(_NO_CREDENTIALS)

    def quota(self) -> Quota:
        """The GPU hours of this week. The first thing to ask: it tells whether the key is right."""
        gpu = self._ask("the quota", self._api.quota_view)
        used, reserved, allowed = (
            _hours(getattr(gpu.gpu_quota, name, None))
            for name in ("time_used", "time_reserved", "total_time_allowed")
        )
        return Quota(used + reserved, allowed, gpu.quota_refresh_time)

    def status(self, ref: str) -> Status:
        """How a kernel is doing.

        Raises:
            NotThere: no such kernel.
        """
        found = self._ask(f"the status of {ref}", lambda: self._api.kernels_status(ref))
        return Status(found.status.name, str(found.failure_message or ""))

    def source(self, ref: str) -> str:
        """The notebook of a kernel, as text.

        Raises:
            NotThere: no such kernel.
        """
        request = _types().ApiGetKernelRequest()
        request.user_name, request.kernel_slug = ref.split("/")
        return str(self._ask(f"the source of {ref}", self._call("get_kernel", request)).blob.source)

    def dataset_status(self, ref: str) -> str:
        """The status of a data set, "ready" if it can be attached.

        Raises:
            NotThere: no such data set.
        """
        return str(self._ask(f"the data set {ref}", lambda: self._api.dataset_status(ref)))

    def push(self, folder: Path, *, hours: float | None = None) -> str:
        """Push a kernel folder and have it run; return `owner/slug`.

        Before, its inputs are looked at; afterwards, what the service made of it. A push that
        failed in passing is repeated only if the service has not got it.

        Args:
            folder: as `kernel.build` writes it.
            hours: after which the service is to end it.

        Raises:
            ValueError: the folder or its metadata are not what Kaggle takes, or hold a credential.
            NotThere: an input is missing.
            Refused: the service refused it, dropped an input or gave it another name.
        """
        content, text = self._filled(folder)
        ref = str(content["id"])
        self.check_sources(content)
        with tempfile.TemporaryDirectory(prefix="medsr-push-") as name:
            copy = Path(name)
            (copy / kernel.KERNEL).write_text(json.dumps(content), encoding="utf-8")
            (copy / content["code_file"]).write_text(text, encoding="utf-8")
            timeout = None if hours is None else str(round(hours * 3600))
            answer = self._pushed_once(ref, text, copy, timeout)
        if answer is not None:
            _refuse_changes(answer, content)
        return ref

    def check_sources(self, content: Mapping[str, Any]) -> None:
        """Make sure that all inputs of a kernel can be attached.

        Raises:
            NotThere: a data set or kernel that is missing, or not shown to this account.
            ValueError: one that is not ready.
        """
        for source in content["dataset_sources"]:
            try:
                status = self.dataset_status(source)
            except NotThere:
                raise NotThere(
                    f"there is no data set {source} that {self.owner} may use; push it first "
                    f"(medsr kaggle push), or give another"
                ) from None
            if status != "ready":
                raise ValueError(f"the data set {source} is {status!r}; wait until it is 'ready'")
        for source in content["kernel_sources"]:
            try:
                state = self.status(source)
            except NotThere:
                raise NotThere(
                    f"there is no kernel {source} that {self.owner} may use; run it first"
                ) from None
            if state.name != "COMPLETE":
                raise ValueError(f"the kernel {source} is {state}; only a COMPLETE one is an input")

    def push_dataset(self, folder: Path, *, patience: float = 1800.0) -> str:
        """Create a data set of the files in a folder, or a new version of it, and wait for it.

        Raises:
            ValueError: bad metadata, or it was not ready after `patience` seconds.
            Refused: the service refused it.
        """
        content = json.loads(self._own((folder / kernel.DATASET).read_text(encoding="utf-8")))
        ref = str(content["id"])
        kernel.dataset_metadata(ref, subtitle=content.get("subtitle", ""))
        with tempfile.TemporaryDirectory(prefix="medsr-push-") as name:
            copy = Path(name)
            for path in folder.iterdir():
                if path.is_file() and not path.name.startswith("."):
                    shutil.copyfile(path, copy / path.name)
            (copy / kernel.DATASET).write_text(json.dumps(content), encoding="utf-8")
            answer = self._ask(f"pushing {ref}", lambda: self._sent_dataset(ref, copy))
        if answer.error or str(answer.status or "ok").lower() not in ("ok", ""):
            raise Refused(f"Kaggle refused the data set {ref}: {answer.error or answer.status}")
        self._wait_dataset(ref, patience)
        return ref

    def outputs(self, ref: str) -> dict[str, str]:
        """The files that a kernel left: where each can be fetched, by name.

        Raises:
            NotThere: no such kernel.
        """
        found: dict[str, str] = {}
        request = _types().ApiListKernelSessionOutputRequest()
        request.user_name, request.kernel_slug = ref.split("/")
        request.page_size = 100
        for _ in range(1000):
            answer = self._ask(
                f"the output of {ref}", self._call("list_kernel_session_output", request)
            )
            found |= {item.file_name: item.url for item in answer.files or []}
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token
        raise ValueError(f"{ref}: its list of output files does not end")

    def fetch(
        self,
        ref: str,
        name: str,
        folder: Path,
        *,
        urls: Mapping[str, str] | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> Path:
        """Fetch one file of a kernel's output into a folder, under its own name.

        Where its `sha256` and `bytes` are `known`, a partial file is gone on with, the whole one is
        verified, and one that is there already stays.

        Raises:
            FileNotFoundError: the kernel has no such file.
            ValueError: a name that leads out of the folder, or a file that stays damaged.
        """
        urls = self.outputs(ref) if urls is None else urls
        if name not in urls:
            raise FileNotFoundError(f"{ref} has no {name} in its output")
        path = chain_state.inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{path} leads out of {folder} by a link; remove the link")
        if known and path.is_file():
            with contextlib.suppress(ValueError):
                chain_state.agrees(path, known)
                return path
        part = path.with_name(path.name + ".part")
        if not known:
            part.unlink(missing_ok=True)
        self._download(f"{name} of {ref}", urls[name], part, known)
        part.replace(path)
        return path

    def fetch_all(self, ref: str, folder: Path) -> list[Path]:
        """Fetch all that a kernel left; checkpoints are verified where it tells their checksums.

        Raises:
            ValueError: a name that leads out of the folder: nothing is fetched; or a damaged file.
        """
        urls = self.outputs(ref)
        for name in urls:
            chain_state.inside(folder, name)
        states = [name for name in urls if Path(name).name == chain_state.NAME]
        known: dict[str, Any] = {}
        for name in states:
            place = self.fetch(ref, name, folder, urls=urls).parent
            prefix = name.removesuffix(chain_state.NAME)
            known |= {prefix + n: k for n, k in chain_state.read(place).files.items()}
        return [self.fetch(ref, n, folder, urls=urls, known=known.get(n)) for n in urls]

    def full(self, ref: str) -> str:
        """`owner/slug` of a kernel that may be named without its owner."""
        return ref if "/" in ref else f"{self.owner}/{ref}"

    def _sent_dataset(self, ref: str, folder: Path) -> Any:
        """Create it, or where it is there, also after a try that seemed to fail, a new version."""
        try:
            self.dataset_status(ref)
        except NotThere:
            with _quiet():
                return self._api.dataset_create_new(str(folder), quiet=True)
        with _quiet():
            return self._api.dataset_create_version(str(folder), "medsr", quiet=True)

    def _own(self, text: str) -> str:
        """Text with this account in place of `<owner>`."""
        return text.replace(kernel.OWNER, self.owner)

    def _filled(self, folder: Path) -> tuple[dict[str, Any], str]:
        """Metadata and notebook of a kernel folder, checked."""
        path = folder / kernel.KERNEL
        if not path.is_file():
            raise FileNotFoundError(f"{folder} has no {kernel.KERNEL}; medsr kaggle build makes it")
        try:
            content = json.loads(self._own(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
        kernel.check(content)
        code = folder / str(content.get("code_file", ""))
        if not code.is_file():
            raise FileNotFoundError(
                f"{path} names {code.name!r}, which is not there; build it again"
            )
        text = self._own(code.read_text(encoding="utf-8"))
        if not json.loads(text).get("metadata", {}).get("kernelspec", {}).get("name"):
            raise ValueError(
                f"{code} has no kernelspec, and Kaggle would not run it; build it again"
            )
        if any(secret in text for secret in self._secrets):
            raise ValueError(f"{code} holds your Kaggle key; take it out before it is pushed")
        return content, text

    def _pushed_once(self, ref: str, text: str, folder: Path, timeout: str | None) -> Any:
        """Push; the service's answer, None where it got lost on the way but the push did not."""
        before = self._version(ref)
        for attempt in range(passing.TRIES):
            try:
                with _quiet():
                    return self._api.kernels_push(str(folder), timeout=timeout)
            except Exception as error:
                if not passing.passes(error) or attempt == passing.TRIES - 1:
                    raise self._told(f"pushing {ref}", error) from None
                self._pause(passing.delay(error, attempt))
            if self._version(ref) != before and _same_cells(self.source(ref), text):
                return None
        return None

    def _version(self, ref: str) -> object:
        """What changes when a kernel is pushed; None of one that is not there."""
        request = _types().ApiGetKernelRequest()
        request.user_name, request.kernel_slug = ref.split("/")
        try:
            found = self._ask(f"the kernel {ref}", self._call("get_kernel", request))
            return found.metadata.current_version_number, found.blob.source
        except NotThere:
            return None

    def _wait_dataset(self, ref: str, patience: float) -> None:
        waited, status = 0.0, ""
        while waited <= patience:
            with contextlib.suppress(NotThere):  # it may take a moment to appear
                status = self.dataset_status(ref)
            if status == "ready":
                return
            if status in ("failed", "deleted"):
                raise Refused(f"Kaggle could not make the data set {ref}: it is {status!r}")
            self._pause(10.0)
            waited += 10.0
        raise ValueError(f"the data set {ref} is {status!r} after {patience:.0f} s; push it again")

    def _call(self, name: str, request: Any) -> Callable[[], Any]:
        """A call of the service for which the client has no method that only asks."""

        def call() -> Any:
            with self._api.build_kaggle_client() as client:
                return getattr(client.kernels.kernels_api_client, name)(request)

        return call

    def _ask(self, what: str, call: Callable[[], Answer]) -> Answer:
        """Call the service, again after what passes; with errors that say what to do."""
        for attempt in range(passing.TRIES):
            try:
                with _quiet():
                    return call()
            except Exception as error:
                if not passing.passes(error) or attempt == passing.TRIES - 1:
                    raise self._told(what, error) from None
                self._pause(passing.delay(error, attempt))
        raise AssertionError

    def _told(self, what: str, error: Exception) -> Exception:
        """The error as it is told: without credentials, and with what to do."""
        code, text = passing.code(error), str(error)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if code == 401:
            return ValueError(
                f"Kaggle does not accept the credentials of {self.owner!r} ({what}): make a new "
                "token at kaggle.com/settings"
            )
        if code in (403, 404):
            return NotThere(f"Kaggle has, or shows {self.owner!r}, no such thing: {what}")
        if passing.passes(error):
            return OSError(
                f"Kaggle could not be asked for {what}, {passing.TRIES} times ({text}); nothing "
                "is lost: start the same command again later"
            )
        return ValueError(f"{what}: {text}")

    def _download(self, what: str, url: str, part: Path, known: Mapping[str, Any] | None) -> None:
        for attempt in range(passing.TRIES):
            try:
                passing.pull(url, part)
                if known:
                    chain_state.agrees(part, known)
                return
            except ValueError as error:  # whole, but not what it should be: from its beginning
                part.unlink(missing_ok=True)
                if attempt == passing.TRIES - 1:
                    raise ValueError(f"fetching {what}: {error}") from None
            except OSError as error:
                if not passing.passes(error) or attempt == passing.TRIES - 1:
                    raise self._told(f"fetching {what}", error) from None
                self._pause(passing.delay(error, attempt))


def wait(
    account: Account,
    ref: str,
    *,
    say: Callable[[str], None],
    poll: float = 60.0,
    pause: Callable[[float], None] = time.sleep,
) -> Status:
    """Wait until a kernel has ended, and say how it goes: at every change, and every ten minutes.

    Ctrl-C ends the waiting and not the kernel.
    """
    started, said, shown = time.monotonic(), 0.0, ""
    while True:
        status = account.status(ref)
        waited = time.monotonic() - started
        if status.name != shown or waited - said >= 600:
            say(f"{ref}: {status}" + (f", waited {waited / 3600:.1f} h" if shown else ""))
            shown, said = status.name, waited
        if status.ended:
            return status
        pause(poll)


_NO_CREDENTIALS = (
    "no Kaggle credentials found: make a token at kaggle.com/settings, and put it into the "
    "variable KAGGLE_API_TOKEN, or kaggle.json into the folder .kaggle of your home"
)


def _authenticated() -> Any:
    """The client's API object, with timeouts, and silent."""
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
                    http._session.mount(scheme, passing.with_timeout())
            return client

    api = Api()
    api.args = [word for word in api.args if word not in ("-v", "--verbose")]  # prints the key
    try:
        with _quiet():
            api.authenticate()
    except SystemExit:
        raise ValueError(_NO_CREDENTIALS) from None
    except Exception as error:
        if passing.code(error) == 401:
            raise ValueError(f"Kaggle does not accept this token. {_NO_CREDENTIALS}") from None
        raise OSError(f"Kaggle could not be reached ({type(error).__name__}); try later") from None
    return api


def _types() -> Any:
    """The module of the client that has the types of requests."""
    from kaggle.api import kaggle_api_extended

    return kaggle_api_extended


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the client prints is not for our users: its errors reach us as such."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _refuse_changes(answer: Any, content: Mapping[str, Any]) -> None:
    """Refuse a push that the service refused, renamed or stripped of its inputs."""
    ref = content["id"]
    if answer.error:
        raise Refused(f"Kaggle refused {ref}: {answer.error}")
    dropped = [
        source
        for name in ("invalid_dataset_sources", "invalid_kernel_sources")
        for source in getattr(answer, name, None) or []
    ]
    if dropped:
        raise Refused(
            f"Kaggle started {ref} without {', '.join(dropped)}, which it did not take as input. "
            "The session ends by itself in its first minute; see that the input is there and shown "
            "to you, and push under another name"
        )
    got = "/".join(str(answer.ref or answer.url or "").rstrip("/").split("/")[-2:])
    if got.lower() != str(ref).lower():
        raise Refused(
            f"Kaggle called the kernel {got!r} and not {ref!r}: delete it there, and take a name "
            "that is free"
        )


def _same_cells(one: str, other: str) -> bool:
    """Whether two notebooks have the same cells; the service may change the rest."""
    try:
        a, b = (
            ["".join(cell["source"]) for cell in json.loads(text)["cells"]] for text in (one, other)
        )
    except (json.JSONDecodeError, KeyError, TypeError):
        return False
    return a == b


def _hours(duration: Any) -> float:
    return float(duration.total_seconds() / 3600) if duration is not None else 0.0

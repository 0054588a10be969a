"""An account at Kaggle: every refusal is an error, and downloads stay inside.

The client succeeds although the service has refused a push, dropped its inputs or renamed it, and
writes to wherever the service names.
"""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from medsr_lib.series.kaggle import kernel, metadata
from medsr_lib.series.kaggle.client import Client, NotThere, Refused, pull
from medsr_lib.series.sessions import state as states


class KernelStatus(StrEnum):
    """Of a kernel's newest version, as the service calls it."""

    NEW_SCRIPT = "NEW_SCRIPT"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCEL_ACKNOWLEDGED = "CANCEL_ACKNOWLEDGED"
    ERROR = "ERROR"
    COMPLETE = "COMPLETE"


ENDED = {KernelStatus.COMPLETE, KernelStatus.ERROR, KernelStatus.CANCEL_ACKNOWLEDGED}


@dataclass(frozen=True)
class Progress:
    """Of a kernel: its status and the message of a failure."""

    status: KernelStatus
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED

    def __str__(self) -> str:
        return f"{self.status}: {self.message}" if self.message else self.status


@dataclass(frozen=True)
class Quota:
    """GPU hours of this week; what running sessions have reserved counts as used."""

    used: float
    allowed: float
    until: datetime | None

    @property
    def left(self) -> float:
        """Hours that are left."""
        return max(0.0, self.allowed - self.used)

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{self.left:.1f} of {self.allowed:.0f} GPU hours left{until}"


class Account(Client):
    """Kaggle, as the user whose credentials the client finds.

    All methods raise `NotThere` where there is no such kernel or data set, and `Unreachable` after
    several tries in vain.
    """

    def quota(self) -> Quota:
        """The GPU hours of this week. The first thing to ask: a wrong key is found here."""
        found = self.ask("the quota", self.api.quota_view)

        def hours(name: str) -> float:
            duration = getattr(found.gpu_quota, name, None)
            return float(duration.total_seconds() / 3600) if duration else 0.0

        used = hours("time_used") + hours("time_reserved")
        return Quota(used, hours("total_time_allowed"), found.quota_refresh_time)

    def progress(self, ref: str) -> Progress:
        """How a kernel is doing."""
        found = self.ask(f"the status of {ref}", lambda: self.api.kernels_status(ref))
        return Progress(KernelStatus(found.status.name), str(found.failure_message or ""))

    def source(self, ref: str) -> str:
        """The notebook of a kernel, as text."""
        found = self.kernels("get_kernel", ref, f"the source of {ref}")
        return str(found.blob.source)

    def dataset_status(self, ref: str) -> str:
        """The status of a data set, as the service calls it: "ready", "failed", ..."""
        return str(self.ask(f"the data set {ref}", lambda: self.api.dataset_status(ref)))

    def push(self, folder: Path, *, hours: float | None = None, new: bool = False) -> str:
        """Push a kernel folder and have it run; return `owner/slug`.

        Its inputs are checked before, and afterwards, what the service made of it. A push that
        failed for a moment is repeated only if the service has not received it.

        Args:
            folder: as `kernel.build` writes it.
            hours: after which the service is to end it; None for its own limit.
            new: refuse to push a second version of a kernel that is there.

        Raises:
            ValueError: the folder or its metadata are not what Kaggle takes, or hold a credential.
            NotThere: an input is missing.
            Refused: the service refused it, dropped an input or gave it another name.
        """
        content, text = self._filled(folder)
        ref = str(content["id"])
        self._check_sources(content)
        before, tried = self._version(ref), False
        if new and before:
            raise Refused(f"the kernel {ref} is there already; give another --name")
        timeout = None if hours is None else str(round(hours * 3600))

        def once() -> Any:
            """The service's answer; None where it got lost on the way but the push did not."""
            nonlocal tried
            there = self._version(ref) if tried else before
            if there and there != before and there[1] == kernel.cells(text):
                return None
            tried = True
            return self.api.kernels_push(name, timeout=timeout)

        with tempfile.TemporaryDirectory(prefix="medsr-push-") as name:
            Path(name, metadata.KERNEL).write_text(json.dumps(content), encoding="utf-8")
            Path(name, content["code_file"]).write_text(text, encoding="utf-8")
            answer = self.ask(f"pushing {ref}", once)
        if answer is not None:
            _refuse_changes(answer, content)
        return ref

    def push_dataset(self, folder: Path) -> str:
        """Create a data set of the files in a folder, or a new version of it, and wait for it.

        Raises:
            ValueError: bad metadata, or it was not ready in half an hour.
            Refused: the service refused it.
        """
        content = json.loads(self._own((folder / metadata.DATASET).read_text("utf-8-sig")))
        ref = str(content["id"])
        metadata.of_dataset(ref)  # refuses a bad name

        def once() -> Any:
            """Create it, or where it is there, also after a try that seemed to fail, a version."""
            try:
                self.dataset_status(ref)
            except NotThere:
                return self.api.dataset_create_new(name, quiet=True)
            return self.api.dataset_create_version(name, "medsr", quiet=True)

        with tempfile.TemporaryDirectory(prefix="medsr-push-") as name:
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree(folder, name, ignore=hidden, dirs_exist_ok=True)
            Path(name, metadata.DATASET).write_text(json.dumps(content), encoding="utf-8")
            answer = self.ask(f"pushing {ref}", once)
        if answer.error or str(answer.status or "ok").lower() not in ("ok", ""):
            raise Refused(f"Kaggle refused the data set {ref}: {answer.error or answer.status}")
        for _ in range(180):
            status = ""
            with contextlib.suppress(NotThere):  # it may take a moment to appear
                status = self.dataset_status(ref)
            if status == "ready":
                return ref
            if status in ("failed", "deleted"):
                raise Refused(f"Kaggle could not make the data set {ref}: it is {status}")
            self.pause(10.0)
        raise ValueError(f"the data set {ref} is not ready after half an hour; push it again")

    def outputs(self, ref: str) -> dict[str, str]:
        """The files that a kernel left: where each can be fetched, by name."""
        found: dict[str, str] = {}
        call, what, token = "list_kernel_session_output", f"the output of {ref}", ""
        while True:
            answer = self.kernels(call, ref, what, page_size=100, page_token=token)
            found |= {item.file_name: item.url for item in answer.files or []}
            token = answer.next_page_token
            if not token:
                return found

    def fetch(
        self,
        ref: str,
        name: str,
        folder: Path,
        *,
        urls: Mapping[str, str],
        known: Mapping[str, Any] | None = None,
    ) -> Path:
        """Fetch one file of a kernel's output into a folder, under its own name.

        Args:
            ref: the kernel.
            name: of the file.
            folder: for it.
            urls: as `outputs` gives them.
            known: its `sha256` and `bytes`: a partial file is completed, the whole one is
                verified, and one that is there already stays.

        Raises:
            FileNotFoundError: the kernel has no such file.
            ValueError: a name that leads out of the folder.
            Unreachable: also where the file stays damaged.
        """
        if name not in urls:
            raise FileNotFoundError(f"{ref} left no {name} in its output; look at it on Kaggle")
        path = states.inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{path} leads out of {folder} by a link; remove the link")
        if known and path.is_file():
            with contextlib.suppress(ValueError):
                states.agrees(path, known)
                return path
        part = path.with_name(path.name + ".part")
        if not known:
            part.unlink(missing_ok=True)

        def once() -> None:
            pull(urls[name], part)
            if known:
                try:
                    states.agrees(part, known)
                except ValueError as error:  # whole, and wrong: fetch it from its beginning
                    part.unlink()
                    raise ConnectionError(str(error)) from None

        self.ask(f"fetching {name} of {ref}", once)
        part.replace(path)
        return path

    def fetch_all(self, ref: str, folder: Path) -> list[Path]:
        """Fetch all that a kernel left, verified where its `chain_state.json` has the checksums.

        Raises:
            ValueError: a name that leads out of the folder: nothing is fetched; or a damaged file.
        """
        urls = self.outputs(ref)
        for name in urls:
            states.inside(folder, name)
        known: dict[str, Any] = {}
        for name in [name for name in urls if Path(name).name == states.NAME]:
            place = self.fetch(ref, name, folder, urls=urls).parent
            prefix = name.removesuffix(states.NAME)
            known |= {prefix + n: k for n, k in states.read(place).files.items()}
        return [self.fetch(ref, n, folder, urls=urls, known=known.get(n)) for n in urls]

    def wait(self, ref: str, *, log: Callable[[str], None], poll: float) -> Progress:
        """Wait until a kernel has ended; log every change, and every ten minutes.

        Ctrl-C ends the waiting and not the kernel.
        """
        started, logged, shown = time.monotonic(), 0.0, None
        while True:
            progress = self.progress(ref)
            waited = time.monotonic() - started
            if progress.status != shown or waited - logged >= 600:
                log(f"{ref}: {progress}" + (f", waited {waited / 3600:.1f} h" if shown else ""))
                shown, logged = progress.status, waited
            if progress.ended:
                return progress
            self.pause(poll)

    def full(self, ref: str) -> str:
        """`owner/slug` of a kernel that may be named without its owner."""
        return ref if "/" in ref else f"{self.owner}/{ref}"

    def _check_sources(self, content: Mapping[str, Any]) -> None:
        """Make sure that all inputs of a kernel can be attached."""
        inputs: list[tuple[str, str, Callable[[str], object], str]] = [
            ("data set", ref, self.dataset_status, "ready") for ref in content["dataset_sources"]
        ]
        kernels = content["kernel_sources"]
        inputs += [("kernel", ref, self.progress, KernelStatus.COMPLETE) for ref in kernels]
        for kind, ref, ask, wanted in inputs:
            try:
                status = str(ask(ref))
            except NotThere:
                raise NotThere(
                    f"there is no {kind} {ref} that {self.owner} may use; push it first "
                    f"(medsr kaggle push), or give another"
                ) from None
            if not status.startswith(wanted):
                raise ValueError(
                    f"the {kind} {ref} is {status}; only one that is {wanted} can be an input"
                )

    def _own(self, text: str) -> str:
        """Text with this account in place of `<owner>`."""
        return text.replace(metadata.OWNER, self.owner)

    def _filled(self, folder: Path) -> tuple[dict[str, Any], str]:
        """Metadata and notebook of a kernel folder, checked."""
        path = folder / metadata.KERNEL
        try:
            content = json.loads(self._own(path.read_text(encoding="utf-8-sig")))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
        metadata.check(content)
        code = folder / str(content.get("code_file", ""))
        if not code.is_file():
            raise FileNotFoundError(
                f"{path} names {code.name!r}, which is not there; build it again"
            )
        text = self._own(code.read_text(encoding="utf-8-sig"))
        if any(secret in text for secret in self.secrets):
            raise ValueError(f"{code} holds your Kaggle key; take it out before it is pushed")
        return content, text

    def _version(self, ref: str) -> tuple[int, list[str] | None] | None:
        """The number and the cells of a kernel's newest version; None of one that is not there."""
        try:
            found = self.kernels("get_kernel", ref, f"the kernel {ref}")
        except NotThere:
            return None
        return found.metadata.current_version_number, kernel.cells(found.blob.source)


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

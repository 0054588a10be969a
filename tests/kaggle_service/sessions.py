"""Sessions: the mounts, the run in a thread, and how it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kaggle_service.records import ACTIVE, Json, Kernel, Session

if TYPE_CHECKING:
    from kaggle_service.service import Service

GRACE = 5.0  # seconds a runner has to end after it was told to


def new(
    service: Service, kernel: Kernel, body: Json, kernels: list[str], datasets: list[str]
) -> Session:
    """A queued session."""
    number = len(service.sessions) + 1
    session = Session(
        owner=kernel.owner,
        slug=kernel.slug,
        number=len(kernel.versions) + 1,
        request=body,
        root=service.folder / "sessions" / f"{number:02d}-{kernel.slug}",
        image=body.get("dockerImage") or service.image,
        kernels=kernels,
        datasets=datasets,
        sources={ref: service.kernels[ref].latest for ref in kernels},
        folders={ref: service.ready_folder(ref) for ref in datasets},
        id=1000 + number,
        time_limit=min(service.time_limit, body.get("sessionTimeoutSeconds") or float("inf")),
        queued_polls=service.queued_polls,
        running_polls=service.running_polls,
    )
    service.sessions.append(session)
    return session


def strike(service: Service, session: Session, number: int) -> None:
    """The faults of a session, the one of the accepted push of this number."""
    session.push = number
    for fault in service.striking("queued", "session", number):
        session.queued_polls = fault.options["polls"]
    for fault in service.striking("limit", "session", number):
        session.time_limit = fault.options["seconds"]
    for fault in service.striking("hostile", "session", number):
        session.extra[fault.options["name"]] = fault.options["content"]


def start(service: Service, session: Session) -> None:
    """Let it wait in the queue and then run."""
    session.settle()
    threading.Thread(target=_live, args=(service, session), daemon=True).start()


def cancel(session: Session) -> None:
    """As if the user had stopped it."""
    if not session.push:
        end(session, "CANCEL_ACKNOWLEDGED", None)
        return
    session.status = "CANCEL_REQUESTED"
    session.stop.set()
    session.go.set()


def end(session: Session, status: str, message: str | None) -> None:
    """End one that nobody runs."""
    session.status, session.failure_message = status, message
    session.done.set()


def _live(service: Service, session: Session) -> None:
    session.go.wait()
    forced = service.striking("ends", "session", session.push)
    outcome = _run(service, session)
    for fault in forced:
        outcome = fault.options["status"], fault.options["message"]
        session.keeps_files = fault.options["files"]
    if outcome[0].startswith("CANCEL"):
        for fault in service.striking("limit", "session", session.push):
            session.keeps_files = fault.options["files"]
    with service.lock:
        if session.gpu:
            service.gpu_hours_used += service.session_hours
        session.outcome = outcome
        if session.status == "CANCEL_REQUESTED":
            session.running_polls = 0
        session.settle()


def _run(service: Service, session: Session) -> tuple[str, str | None]:
    """Run it; the status it ends with and why."""
    if session.stop.is_set():
        return "CANCEL_ACKNOWLEDGED", None
    try:
        prepare(service, session)
        before = fingerprint(session.inputs)
    except Exception as problem:
        return "ERROR", f"The inputs could not be mounted: {problem}"
    ended, error = _call(service, session)
    if not ended:
        return "CANCEL_ACKNOWLEDGED", "Your notebook was stopped because it ran too long."
    if session.stop.is_set():
        return "CANCEL_ACKNOWLEDGED", None
    if error is None and fingerprint(session.inputs) != before:
        error = "OSError: [Errno 30] Read-only file system: an input was changed"
    return ("COMPLETE", None) if error is None else ("ERROR", error)


def _call(service: Service, session: Session) -> tuple[bool, str | None]:
    """Whether the runner ended in time, and the error it raised."""
    errors: list[str] = []
    ended = threading.Event()

    def run() -> None:
        try:
            _check_kernel_spec(session)
            service.runner(session, session.inputs, session.working)
        except (Exception, SystemExit) as error:
            errors.append(str(error) or type(error).__name__)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    deadline = time.monotonic() + session.time_limit
    while not ended.wait(0.01) and not session.stop.is_set():
        if time.monotonic() > deadline:
            with service.lock:
                cancel(session)
            ended.wait(GRACE)
            return False, None
    if session.stop.is_set():
        ended.wait(GRACE)
    return True, errors[0] if errors else None


def _check_kernel_spec(session: Session) -> None:
    """A notebook that does not name its kernel dies at once."""
    if session.request.get("kernelType") != "notebook":
        return
    metadata = json.loads(session.text).get("metadata", {})
    if not metadata.get("kernelspec", {}).get("name"):
        raise ValueError("No kernel name found in notebook and no override provided.")


def prepare(service: Service, session: Session) -> None:
    """Lay out the read-only mounts and the empty working folder."""
    session.working.mkdir(parents=True)
    session.inputs.mkdir()
    for ref, source in session.sources.items():
        _mount_output(source, mount(service, session, "notebooks", ref))
    for ref, folder in session.folders.items():
        shutil.copytree(folder, mount(service, session, "datasets", ref))
    writable(session.inputs, False)
    session.environment = service.session_environment(session)


def _mount_output(source: Session, target: Path) -> None:
    """The files of a session and the notebook as it ran."""
    target.mkdir(parents=True)
    for name, content in source.files().items():
        path = target / name
        if target.resolve() in path.resolve().parents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    ran = source.root / "__notebook__.ipynb"
    if ran.exists():
        shutil.copy(ran, target)


def mount(service: Service, session: Session, kind: str, ref: str) -> Path:
    """Where a source is found in the session."""
    owner, slug = ref.split("/")[:2]
    if service.layout == "flat":
        return session.inputs / slug
    return session.inputs / kind / owner / slug


def writable(folder: Path, yes: bool) -> None:
    """Set or take the permission to write, of a folder and all within."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o755 if yes else 0o555) if path.is_dir() else (0o644 if yes else 0o444))


def fingerprint(folder: Path) -> str:
    """Of all names and bytes; permissions do not stop every user."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def log_text(session: Session) -> str:
    """The log as the service stores it."""
    return json.dumps(session.log)


def wait_for(service: Service, session: Session, timeout: float) -> str:
    """Wait for the end without anyone looking at the status."""
    with service.lock:
        session.queued_polls = session.running_polls = 0
        session.settle()
    if not session.done.wait(timeout):
        raise TimeoutError(f"{session.ref} is still {session.status} after {timeout} s")
    return session.status


def abandon(service: Service) -> None:
    """Stop whatever runs, and let the mounts be deleted."""
    with service.lock:
        running = [s for s in service.sessions if s.status in ACTIVE]
        for session in running:
            session.running_polls = 0
            cancel(session)
    for session in running:
        session.done.wait(GRACE + 1)
    for session in service.sessions:
        if session.inputs.exists():
            writable(session.inputs, True)

"""What a session does by default: it executes the pushed notebook, as Kaggle does."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from kaggle_service.client import CLOSED, clean_environment
from kaggle_service.records import Session

HOME = Path(os.path.expanduser("~"))  # noqa: PTH111 - before any test has moved it


class RunnerError(Exception):
    """The notebook failed."""


class NotebookRunner:
    """Papermill in a fresh process, without parameters, in the working folder."""

    def __call__(self, session: Session, inputs: Path, working: Path) -> None:
        """Run it to its end, or until the session is stopped."""
        source, ran = session.root / "source.ipynb", session.root / "__notebook__.ipynb"
        source.write_text(session.text, encoding="utf-8")
        command = [sys.executable, "-m", "papermill", str(source), str(ran)]
        command += ["--no-progress-bar", "--log-output", "--cwd", str(working)]
        log, began = session.root / "log.txt", time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=session.root,
                env=session.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            while process.poll() is None:
                if session.stop.wait(0.02):
                    kill(process)
        text = log.read_text(encoding="utf-8", errors="replace")
        spent = time.monotonic() - began
        session.log.append({"stream_name": "stderr", "time": spent, "data": text})
        if session.stop.is_set():
            return
        if process.returncode or _exited(ran):
            raise RunnerError(_reason(text))


def _exited(notebook: Path) -> bool:
    """Whether a cell left by SystemExit, which papermill may take for a success."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return any(output.get("ename") == "SystemExit" for output in outputs)


def _reason(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "The process ended without a word."


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and the kernel it started, at once."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        whole = psutil.Process(process.pid)
        for one in [*whole.children(recursive=True), whole]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def session_environment(session: Session, secret: str) -> dict[str, str]:
    """The variables of a session.

    What its cells install goes into a folder of the session, which comes before all else on the
    path. Without internet, requests lead to a closed port. `secret` stands for the tokens that
    Kaggle puts there.
    """
    home, packages = session.root / "home", session.root / "packages"
    for folder in (home, packages):
        folder.mkdir(parents=True)
    cache = os.environ.get("XDG_CACHE_HOME") or str(HOME / ".cache")
    variables = clean_environment() | {
        "MEDSR_KAGGLE_ROOT": str(session.root),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_DOCKER_IMAGE": session.image,
        "KAGGLE_USER_SECRETS_TOKEN": secret,
        "HOME": str(home),
        "XDG_CACHE_HOME": cache,  # fonts need not be searched anew
        "JUPYTER_PATH": "",
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "PYTHONPATH": str(packages),
        "PIP_TARGET": str(packages),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if not session.request.get("enableInternet"):
        variables |= {"http_proxy": CLOSED, "https_proxy": CLOSED, "PIP_RETRIES": "0"}
    return variables

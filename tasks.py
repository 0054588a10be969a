"""Set up, run and test the series. Needs Python 3.11 or newer and nothing else.

python3 tasks.py setup     make .venv and install the series into it (done once)
python3 tasks.py run       run the notebooks on the embedded data -> runs/demo/index.html
python3 tasks.py test      run the quick tests; `-- -m slow` and `-- -m browser` run the others
python3 tasks.py lab       open JupyterLab at the list of the notebooks
python3 tasks.py docs      build the documentation site -> docs/_build/html/index.html
python3 tasks.py refresh   run the notebooks and keep their outputs in notebooks/

What follows `--` goes on to `medsr run`, pytest or JupyterLab:
python3 tasks.py run -- 02 -p scale=2
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.txt"  # written last: what was installed
UNFINISHED = "unfinished"  # in its place until then


def setup() -> None:
    """Make .venv and install the series, unless the same files were installed before.

    A .venv whose making broke off, or whose Python or pip does not start, is made anew.
    """
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    wanted = hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()
    with Path(__file__).open("rb") as lock:
        wait_for_others(lock.fileno())
        if PYTHON.exists() and installed() == wanted:
            return
        there = VENV.exists()
        whole = there and installed() != UNFINISHED and pip("--version", quiet=True) == 0
        if there and not whole:
            print(f"{VENV} is not whole: it is made anew", flush=True)
        print(f"Installing into {VENV} (once, a few minutes) ...", flush=True)
        if not whole:
            make()
        STAMP.write_text(UNFINISHED)
        if code := pip("install", "-c", "constraints.txt", "-e", ".[test]"):
            raise SystemExit(code)
        STAMP.write_text(wanted)


def installed() -> str:
    """What the stamp says; "" where there is none."""
    return STAMP.read_text(errors="replace") if STAMP.is_file() else ""


def make() -> None:
    """Make an empty .venv with pip; on Debian, where that is a package of its own, say which."""
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"This Python ({sys.executable}) cannot make an environment: it lacks ensurepip. On "
            f"Debian and Ubuntu: sudo apt install python{version}-venv. Then start the same again"
        )
    import venv

    try:
        venv.create(VENV, clear=True, with_pip=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"{VENV} could not be made: {error}")


def wait_for_others(file: int) -> None:
    """Wait until no other process sets up; where the system has no such lock, do not."""
    with suppress(ImportError, OSError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another process is installing; waiting for it ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)


def pip(*arguments: str, quiet: bool = False) -> int:
    """The exit code of the environment's pip; 1 where its Python does not start."""
    hidden = subprocess.DEVNULL if quiet else None
    command = [str(PYTHON), "-m", "pip", *arguments]
    try:
        return subprocess.run(
            command, cwd=ROOT, check=False, stdout=hidden, stderr=hidden
        ).returncode
    except OSError:
        return 1


def call(*arguments: str) -> None:
    """Run the environment's Python in the project's folder; stop with its exit code if it fails."""
    code = subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=False).returncode
    if code:
        raise SystemExit(code)


COMMANDS: dict[str, list[list[str]]] = {  # what follows `--` is added to the last call
    "setup": [],
    "run": [["-m", "medsr_lib", "run"]],
    "test": [["-m", "pytest"]],
    "lab": [
        ["-m", "medsr_lib", "data", "phantom", "data/phantom"],  # done once
        ["-m", "medsr_lib", "data", "chest", "data/phantom-chest"],
        [
            # The library says first how threads wait; JupyterLab hands it on to its kernels.
            *("-c", "import medsr_lib; from jupyterlab.labapp import main; main()"),
            *("--notebook-dir=notebooks", "--ServerApp.ip=127.0.0.1"),
            "--LabApp.default_url=/lab/tree/README.md",
            "--LabApp.app_settings_dir=.lab",  # shows it as a page and asks no server for news
        ],
    ],
    "docs": [["-m", "sphinx", "-EWq", "-c", "docs", "-d", "docs/_build", ".", "docs/_build/html"]],
    "refresh": [["-m", "medsr_lib", "run", "--refresh"]],
}


def main(arguments: list[str]) -> None:
    """Set up, then do what the first argument says."""
    command, *rest = arguments or ["help"]
    if command not in COMMANDS or (rest and rest[0] != "--"):
        print(__doc__)
        raise SystemExit(0 if command in ("help", "-h", "--help") else 2)
    setup()
    *first, last = COMMANDS[command] or [[]]
    for arguments in first:
        call(*arguments)
    if last:
        call(*last, *rest[1:])


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what an older one would start)
        sys.exit("The series needs Python 3.11 or newer; this is " + sys.version.split()[0])
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)

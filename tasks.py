"""Set up, run and test the series. Needs Python 3.11 or newer and nothing else.

python3 tasks.py setup     make .venv and install what `run` needs (each command does it once)
python3 tasks.py run       run the notebooks on the embedded data -> runs/demo/index.html
python3 tasks.py test      run the quick tests; `-- -m slow` and `-- -m browser` run the others
python3 tasks.py lab       open JupyterLab at the list of the notebooks
python3 tasks.py docs      build the documentation site -> docs/_build/html/index.html
python3 tasks.py refresh   run the notebooks and keep their outputs in notebooks/

What follows `--` goes on to `medsr run`, pytest or JupyterLab; to `setup` it names extras:
python3 tasks.py run -- 02 -p scale=2
python3 tasks.py setup -- browser lint
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.txt"  # written last: the files' digest, and the extras installed of them
UNFINISHED = "unfinished"  # in its place until then


def setup(*extras: str) -> None:
    """Make .venv and install these extras of pyproject.toml, unless they were installed before.

    Of changed files they are installed again. What cannot be fetched, perhaps for lack of a
    network, leaves those that are there. A .venv whose making broke off, or whose Python or pip
    does not start, is made anew.
    """
    wanted = with_inner(extras)
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    digest = hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()
    with Path(__file__).open("rb") as lock:
        wait_for_others(lock.fileno())
        of, *before = installed()
        if of != digest:
            before = []
        if PYTHON.exists() and wanted <= set(before):
            return
        there = VENV.exists()
        whole = there and of != UNFINISHED and pip("--version", quiet=True) == 0
        if there and not whole:
            print(f"{VENV} is not whole: it is made anew", flush=True)
            before = []
        print(f"Installing {', '.join(extras)} into {VENV} (once, a few minutes) ...", flush=True)
        if not whole:
            make()
        STAMP.write_text(UNFINISHED)
        if code := pip("install", "-c", "constraints.txt", "-e", f".[{','.join(extras)}]"):
            if before:  # pip fetches everything before it changes anything
                STAMP.write_text("\n".join([digest, *before]))
            raise SystemExit(code)
        STAMP.write_text("\n".join([digest, *sorted(wanted.union(before))]))


def with_inner(extras: Iterable[str]) -> set[str]:
    """These extras, and those of which they consist."""
    import tomllib  # which an older Python lacks

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = project["optional-dependencies"]
    found, left = set(), list(extras)
    while left:
        extra = left.pop()
        if extra not in lists:
            sys.exit(f"There is no extra {extra!r}; there are {', '.join(lists)}")
        found.add(extra)
        inner = (re.match(r"medsr-lib\[(.+)\]", wanted) for wanted in lists[extra])
        left += [name for names in inner if names for name in names[1].split(",")]
    return found


def installed() -> list[str]:
    """The lines of the stamp; one empty line where there is none."""
    return STAMP.read_text(errors="replace").split("\n") if STAMP.is_file() else [""]


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


EXTRAS = {  # what each command needs
    "setup": "notebooks",
    "run": "notebooks",
    "test": "test",
    "lab": "lab",
    "docs": "docs",
    "refresh": "notebooks",
}
COMMANDS: dict[str, list[list[str]]] = {  # what follows `--` is added to the last call
    "setup": [],
    "run": [["-m", "medsr_lib", "run"]],
    "test": [["-m", "pytest"]],
    "lab": [
        ["-c", "from medsr_lib.series.running import folders as f; f.write_embedded()"],  # once
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
    if command == "setup" and rest[1:]:
        return setup(*rest[1:])
    setup(EXTRAS[command])
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

"""Set up, run and test the series. Needs Python 3.11 or newer and nothing else.

python3 tasks.py setup     make .venv and install the series into it (done once)
python3 tasks.py run       run the notebooks on the embedded data -> runs/demo/index.html
python3 tasks.py test      run the quick tests; `-- -m slow` and `-- -m browser` run the others
python3 tasks.py lab       open JupyterLab at the list of the notebooks
python3 tasks.py refresh   run the notebooks and keep their outputs in notebooks/

What follows `--` goes on to `medsr run`, pytest or JupyterLab:
python3 tasks.py run -- 02 -p scale=2
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.txt"


def setup() -> None:
    """Make .venv and install the series, unless the same files were installed before."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    wanted = hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return
    print(f"Installing into {VENV} (once, a few minutes) ...", flush=True)
    STAMP.unlink(missing_ok=True)
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    call("-m", "pip", "install", "-c", "constraints.txt", "-e", ".[test]")
    STAMP.write_text(wanted)


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

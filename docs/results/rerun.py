"""Compute numbers of the pages from the data: give the recorded commands of the runs again.

.venv/bin/python docs/results/rerun.py chest-points --data DATA --runs runs

The record beside the kept rows (see `keep.py`) names the commands, of `medsr run` or of a script
beside this one. They run into a temporary folder, once DATA, and the networks that they name below
--runs, have the recorded sha256. What differs in versions is said. A number agrees with the kept
one if the words are the same and each figure is within 2 units of its last digit. `medsr verify
--deep` calls this.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keep

from medsr_lib import files
from medsr_lib.data.source import content
from medsr_lib.restore.foreign import shipped
from medsr_lib.series import report, verify

HERE = Path(__file__).resolve().parent
FIGURE = re.compile(r"[-−+]?\d+(?:\.(\d+))?")
UNITS = 2  # of its last digit, by which a figure may differ


def main(ids: list[str], *, data: Path, runs: Path) -> int:
    """0 if all numbers agree, else 1."""
    kept = {one.number.id: one.computed for one in verify.verify(HERE.parents[1], ids)}
    right = True
    with tempfile.TemporaryDirectory() as folder:
        computing = Path(folder) / verify.RECOMPUTE.name
        numbers = verify.functions(shutil.copytree(HERE / verify.RECOMPUTE.name, computing))
        for name, before in kept.items():
            new = computed(name, numbers[name], Path(folder), data=data.resolve(), runs=runs)
            said = "agrees" if agree(before, new) else "DIFFERS"
            print(f"{name}: {said}; kept, and computed anew:", before, new, sep="\n", flush=True)
            right &= agree(before, new)
    return 0 if right else 1


def computed(name: str, number: Any, folder: Path, *, data: Path, runs: Path) -> str:
    """A number from tables in a folder; each that it does not find there is made."""
    while True:
        try:
            return str(number())
        except FileNotFoundError as error:
            table = Path(error.filename).name.partition(".")[0]
            if (folder / f"{table}.json").exists():
                raise
        make(table, folder, data=data, runs=runs)


def make(table: str, folder: Path, *, data: Path, runs: Path) -> None:
    """Run what made a table again, and keep its rows and its record in a folder."""
    record = HERE / f"{table}.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    if not known or not all(run.get("command") for run in known):
        raise ValueError(f"no {record.name} names the command that made the rows of {table}.csv.gz")
    made = [folder / f"{table}{number}" for number in range(len(known))]
    for run, out in zip(known, made):
        command = again(run, data=data, runs=runs, out=out)
        log(shlex.join(command[1:]))
        env = {**os.environ, "MEDSR_KEPT": str(folder)}  # a script keeps its tables itself
        if subprocess.run(command, cwd=runs, env=env, stdout=subprocess.DEVNULL).returncode:
            raise ValueError(f"the run of {table} failed, see above")
    if known[0]["command"].startswith("medsr "):
        keep.OUT = folder
        keep.main(table, [str(out) for out in made])


def again(run: Mapping[str, Any], *, data: Path, runs: Path, out: Path) -> list[str]:
    """The command of a run for other folders, once its inputs are there and the same."""
    program, *words = shlex.split(run["command"])
    if program == "medsr":
        at = words.index("--out") + 1
        before, words[at] = Path(words[at]), "RUN"
        words = ["-m", "medsr_lib", *words]
    else:
        before, words[0] = out, str(HERE.parents[1] / words[0])
    inputs = run.get("inputs", {})
    if "DATA" in words and "DATA" not in inputs:
        raise ValueError(f"the record has no sha256 of the data of: {run['command']}")
    named = re.findall(r"[\w-]+", run["command"])
    absent = [n.name for n in shipped.NETWORKS if n.name in named and not shipped.is_here(n)]
    if absent:
        get = f"medsr networks get {' '.join(absent)}"
        raise ValueError(f"fetch what is missing, `{get}`; it is needed by: {run['command']}")
    for name, digest in inputs.items():
        path = data if name == "DATA" else runs / name
        if not path.exists():
            raise ValueError(f"{path} is not there; it is needed by: {run['command']}")
        if digest != (content(path, whole=True) if name == "DATA" else files.sha256(path)):
            raise ValueError(f"{path} is not what the run was given (sha256 {digest})")
        if Path(name).is_relative_to(before):  # left in its folder by a run before it
            place = out / Path(name).relative_to(before)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    now = report.versions()
    for name, version in run["versions"].items():
        if now.get(name) != version:
            log(f"{name}: {version} made the kept rows, {now.get(name)} is here")
    folders = {"DATA": data, "RUN": out}
    return [sys.executable, *(str(folders.get(word, word)) for word in words)]


def agree(kept: str, new: str) -> bool:
    """Whether two texts have the same words, and figures that hardly differ."""
    near = []
    for a, b in zip(FIGURE.finditer(kept), FIGURE.finditer(new)):
        apart = abs(float(a[0].replace("−", "-")) - float(b[0].replace("−", "-")))
        near.append(apart <= (UNITS + 1e-6) * 10.0 ** -len(a[1] or ""))
    return all(near) and FIGURE.sub("#", kept).split() == FIGURE.sub("#", new).split()


def log(line: str) -> None:
    """Say what happens, on standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data")
    parser.add_argument("--runs", type=Path, required=True, help="where the networks are")
    try:
        sys.exit(main(**vars(parser.parse_args())))
    except ValueError as error:
        log(f"rerun: {error}")
        sys.exit(2)

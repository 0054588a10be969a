"""Keep the rows of runs, from which every number of the pages can be computed again (no pixels).

.venv/bin/python docs/results/keep.py brain runs/assess runs/assess2     -> brain.csv.gz, brain.json
.venv/bin/python docs/results/keep.py chest runs/chest                   -> chest.csv.gz, chest.json
.venv/bin/python docs/results/keep.py atlas-x2 runs/x2      -> atlas-x2.csv.gz, atlas-x2.json, ...
.venv/bin/python docs/results/keep.py detector runs/chest                -> detector.csv.gz, ...

Rows that several runs have in common are kept once. The record beside them holds each run's
command, versions, commit, and the sha256 of the data and networks that it was given. A script that
makes a table itself gives `write` the record of `made`.
"""

import gzip
import json
import os
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from medsr_lib.data.source import content
from medsr_lib.series import report
from medsr_lib.series.running import crate

HERE = Path(__file__).parent
OUT = Path(os.environ.get("MEDSR_KEPT", HERE))  # where tables are kept
FILES = (  # what the notebooks write
    *("scores.csv", "decisions.csv", "uniform.csv", "robustness.csv", "networks.csv"),
)
OTHERS = {  # by table: other files of theirs
    "detector": ("cross_fitted.csv",),
    "inserted": ("lesions.csv",),
    "painted": ("erased.csv",),
}
COLUMNS = {  # and which of their columns numbers need
    *("id", "patient", "label", "scale", "degradation", "method", "region", "seed"),
    *("psnr", "ssim", "predicted", "logit", "right", "flipped", "dice"),
}
PLACE = ("place", "diameter", "contrast")  # of a lesion that was put in
MORE = {  # by table: more columns
    "best-folds": ("fold",),
    "inserted": (*PLACE, "present", "absent"),
    "painted": ("painted_in",),
    "outlined": ("found",),
}
IN_BANDS = ("brain", "tumour", "matched")  # regions whose uniform changes a null band needs
SHOWN = {"srmd": "SRMD", "ESPCN, of these data": "ESPCN, bicubic", "baseline": "bicubic"}
TRAINED_ON = ("bicubic", "blur", "kspace", "bicubic, noise 1 %", "bicubic, noise 2 %")
IN_MATRIX = {"robustness.csv": {kind: f"ESPCN, {kind}" for kind in TRAINED_ON}}
RECORDED = {  # by table: what the run computed and the kept rows do not give
    "chest": ("metadata", "traces", "attention"),
    "decisions": ("decisions",),
}


def main(name: str, runs: list[str]) -> None:
    """Read the tables of all runs, and write one table and one record."""
    folders = [Path(run) for run in runs]
    wanted, columns = OTHERS.get(name, FILES), COLUMNS.union(MORE.get(name, ()))
    files = [f for run in folders for name_of in wanted for f in sorted(run.glob(f"*/{name_of}"))]
    parts = [
        pd.read_csv(f, usecols=columns.__contains__, dtype={"id": str}).replace(
            {"method": IN_MATRIX.get(f.name, {})}
        )
        for f in files
    ]
    rows = pd.concat(parts).replace({"method": SHOWN})
    names = ("id", "scale", "degradation", "method", "region", "seed", *PLACE)
    keys = [key for key in names if key in rows]
    of_uniform = rows["method"].str.startswith("uniform ")
    rows = rows[~of_uniform | rows["region"].isin(IN_BANDS)].drop_duplicates(keys)
    write(name, rows, *(record(run, RECORDED.get(name, ())) for run in folders))
    print(f"{name}: {len(rows)} rows of {len(runs)} runs")


def write(name: str, rows: pd.DataFrame, *records: dict[str, object]) -> None:
    """Write a table, so that the same rows give the same bytes, and the records of what made it."""
    text = rows.to_csv(index=False, float_format="%.7g", lineterminator="\n")
    (OUT / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (OUT / f"{name}.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def made(
    data: Path | None = None, run: Path | None = None, *, methods: Sequence[str] = ()
) -> dict[str, object]:
    """Of the script that calls this, before it begins: what `record` gives of a run.

    Args:
        data: the folder of data, DATA in the command.
        run: the folder that it leaves networks in, RUN in the command.
        methods: that the command does not name.
    """
    folders = {data: "DATA", run: "RUN"}
    script, *words = sys.argv
    words = [folders.get(Path(word), word) for word in words]
    inputs = {"DATA": content(data, whole=True)} if data else {}
    return {
        "command": shlex.join(["python", f"docs/results/{Path(script).name}", *words]),
        "inputs": inputs | crate.of_files((), HERE, {"methods": [*words, *methods]}),
        "versions": report.versions(),
        "created": report.now(),
    }


def record(run: Path, wanted: Sequence[str]) -> dict[str, object]:
    """Of a run: its command with DATA for the folder of the data, versions, and wanted values."""
    written = json.loads((run / "run.json").read_text(encoding="utf-8"))
    command, inputs = written["command"], dict(written.get("inputs", {}))
    for folder in written["data"]:
        command = command.replace(str(folder), "DATA")
        inputs = {"DATA": inputs.pop(folder)} | inputs if folder in inputs else inputs
    kept = {"command": command, "inputs": inputs}
    kept |= {key: written[key] for key in ("versions", "created")}
    for file in sorted(run.glob("*/results.json")):
        values = json.loads(file.read_text(encoding="utf-8"))["values"]
        kept |= {"values": {name: values[name] for name in wanted}} if wanted else {}
    return kept


def given(name: str) -> list[dict[str, Any]]:
    """The parameters of each command that made a table."""
    found = []
    for run in json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")):
        words = shlex.split(run["command"])
        pairs = (after.split("=", 1) for word, after in pairwise(words) if word == "-p")
        found.append({parameter: json.loads(value) for parameter, value in pairs})
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

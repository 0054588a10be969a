"""Keep the rows of runs, from which every number of the pages can be computed again (no pixels).

.venv/bin/python docs/results/keep.py brain runs/assess runs/assess2     -> brain.csv.gz, brain.json
.venv/bin/python docs/results/keep.py chest runs/chest                   -> chest.csv.gz, chest.json

Rows that several runs have in common are kept once. The record beside
them holds each run's command, versions and commit.
"""

import gzip
import json
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
TABLES = {  # what the notebooks write -> the columns that numbers need
    "scores.csv": ["id", "patient", "method", "region", "psnr", "ssim"],
    "decisions.csv": ["id", "patient", "label", "method", "seed", "logit", "right", "flipped"],
    "uniform.csv": ["id", "patient", "method", "region", "psnr", "ssim"],
}
WHERE_THERE = ("region", "predicted", "dice", "found")  # of decisions
SHOWN = {"srmd": "SRMD"}
RECORDED = ("operating_points", "metadata", "traces", "changes", "attention")
RECORDED += ("decisions", "verdicts", "lesions", "lesion_gains")


def main(name: str, runs: list[str]) -> None:
    """Read the tables of all runs, and write one table and one record."""
    folders = [Path(run) for run in runs]
    files = [f for run in folders for table in TABLES for f in sorted(run.glob(f"*/{table}"))]
    wanted = [{*TABLES[f.name], *WHERE_THERE} for f in files]
    parts = [
        pd.read_csv(f, usecols=columns.__contains__, dtype={"id": str})
        for f, columns in zip(files, wanted)
    ]
    rows = pd.concat(parts).replace({"method": SHOWN})
    keys = [key for key in ("id", "method", "region", "seed") if key in rows]
    rows = rows.drop_duplicates(keys)
    text = rows.to_csv(index=False, float_format="%.7g", lineterminator="\n")
    (HERE / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    records = [record(run) for run in folders]
    (HERE / f"{name}.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {len(rows)} rows of {len(runs)} runs")


def record(run: Path) -> dict[str, object]:
    """Of a run: its command with DATA for the folder of the data, versions, and some of its values.

    The values are those that the kept rows do not give.
    """
    written = json.loads((run / "run.json").read_text(encoding="utf-8"))
    command = written["command"]
    for folder in written["data"]:
        command = command.replace(str(folder), "DATA")
    kept = {"command": command} | {key: written[key] for key in ("versions", "created")}
    for file in sorted(run.glob("*/results.json")):
        values = json.loads(file.read_text(encoding="utf-8"))["values"]
        kept["values"] = {name: values[name] for name in RECORDED if name in values}
    return kept


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

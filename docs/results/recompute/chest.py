"""Radiographs: what detectors decide, restored or not."""

from collections.abc import Callable

import pandas as pd

from medsr_lib.assess import statistics
from medsr_lib.assess.sentences import number
from medsr_lib.assess.statistics import Contrast, Estimate

from .rows import SEED, between_trainings, recorded, table
from .text import area, decibels, line, rows_of


def read_by(name: str, method: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Of an image as a method shows it, what a detector says: (trainings, images) of its score and
    of whether it is right; and (images,) the patients. Ill images are those of `ill`."""
    rows = table(name)
    rows = rows[rows["method"] == method]
    logit, right = (rows.pivot(index="seed", columns="id", values=v) for v in ("logit", "right"))
    return logit, right, rows.drop_duplicates("id").set_index("id").loc[logit.columns, "patient"]


def ill(name: str, ids: pd.Index) -> pd.Series:
    """Which of these images show pneumonia."""
    label = table(name).drop_duplicates("id").set_index("id")["label"]
    return label.loc[ids] == "PNEUMONIA"


def operating_points() -> str:
    """What the detectors reach, cross-fitted over all patients."""
    lines = []
    for detector in table("detector")["method"].unique():
        logit, right, patients = read_by("detector", detector)
        sick = ill("detector", logit.columns)
        found = {"AUC": statistics.auc_interval(logit.to_numpy(), sick, patients)}
        for measure, of in (("sensitivity", sick), ("specificity", ~sick)):
            found[measure] = statistics.share(right.loc[:, of].to_numpy() == 1, patients[of])
        for measure, e in found.items():
            spread = f"{e.seed_low:.3f} to {e.seed_high:.3f}"
            n = f"{e.cases} of {e.patients}"
            lines.append(f"| {detector} | {measure} | {area(vars(e))} | {spread} | {n} |")
    head = "| Images | Measure | Value | The five trainings | n, images of patients |"
    return rows_of(head, lines)


def flips(name: str = "chest") -> dict[str, tuple[str, str]]:
    """By view: decisions that change from the original, by training; and the change in AUC."""
    rows, found = table(name), {}
    counts = rows.groupby(["method", "seed"], sort=False)["flipped"].sum().unstack()
    before, _, patients = read_by(name, "original")
    for method, of in counts.drop("original").iterrows():
        after = read_by(name, method)[0]
        e = statistics.delong(after, before, ill(name, before.columns), patients)
        found[method] = f"{of.mean():.1f} ({of.min():.0f} to {of.max():.0f})", area(vars(e))
    return found


def chest_flips() -> str:
    """The table of `flips`, for interpolation and filters."""
    lines = [line(method, *cells) for method, cells in flips().items()]
    n = table("chest")["id"].nunique()
    return rows_of(f"| Restored from | Decisions flipped of {n} | Change in AUC |", lines)


def over_linear(method: str) -> Estimate:
    """Of PSNR of restored radiographs, over the linear filter."""
    rows = table("chest-networks").query("seed == 0")
    asked = Contrast("psnr", method, f"{method.partition(',')[0]}, linear", "whole")
    return statistics.paired_difference(rows, **vars(asked), seed=SEED)


def chest_networks() -> str:
    """What existing networks make of radiographs: near to HR, over the linear filter, `flips`."""
    rows, lines = table("chest-networks").query("seed == 0"), []
    for method, cells in flips("chest-networks").items():
        kind, _, name = method.partition(", ")
        if kind.startswith("noise"):
            continue
        mean = rows.loc[rows["method"] == method, ["psnr", "ssim"]].mean()
        more = "–" if name == "linear" else number(over_linear(method), 2)
        near = f"{mean['psnr']:.2f}", f"{mean['ssim']:.4f}"
        lines.append(line(method, *near, more, *cells))
    n = rows["id"].nunique()
    heads = ("PSNR, dB", "SSIM", "PSNR − linear, dB", f"Decisions flipped of {n}", "Change in AUC")
    return rows_of(line("Restored from", *heads), lines)


NUMBERS: dict[str, Callable[[], str]] = {
    "chest-points": operating_points,
    "chest-flips": chest_flips,
    "chest-networks": chest_networks,
    "chest-srmd": lambda: decibels(over_linear("×4, SRMD")),
    "chest-realsr": lambda: decibels(over_linear("×4, RealSR")),
    "chest-apart": between_trainings,
    "chest-images": lambda: str(table("chest")["id"].nunique()),
    "chest-patients": lambda: str(table("chest")["patient"].nunique()),
    "chest-files": lambda: area(recorded("chest")["metadata"]["auc"]),
    "chest-traces": lambda: area(recorded("chest")["traces"]["as they come"]["auc"]),
    "chest-traces-after": lambda: area(recorded("chest")["traces"]["one JPEG 75 for all"]["auc"]),
    "chest-attention": lambda: f"{recorded('chest')['attention'][0]['correlation']:.2f}",
}

"""Splits by patient: no patient, and no repeat examination of one, on two sides."""

import warnings

import numpy as np
import pandas as pd

from medsr_lib import checks


def by_patient(table: pd.DataFrame, *, n_folds: int, seed: int) -> pd.Series:
    """Assign patients at random to folds of about equal size and mix of labels.

    Labels of fewer images than folds count as one. Of fewer patients than `n_folds`, each is a
    fold, and a warning says so.

    Args:
        table: rows with `patient` and `label`, as `source.index` gives them.
        n_folds: how many, at least 2.
        seed: of the shuffling.

    Returns:
        The fold of each row, 1 to `n_folds`, with the table's index.

    Raises:
        ValueError: one patient, or one fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to load; most never split

    checks.whole("n_folds", n_folds, least=2)
    patients = table["patient"].nunique()
    if patients < 2:
        raise ValueError(f"a split needs 2 patients, got {patients}; take a larger set of images")
    if patients < n_folds:
        warnings.warn(f"{n_folds} folds of {patients} patients: {patients} folds", stacklevel=2)
        n_folds = patients
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(table), int)
    images = table.groupby("label")["patient"].transform("size")
    labels = table["label"].where(images >= n_folds, "")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        parts = list(splitter.split(table, labels, groups=table["patient"]))
    for number, (_, rows) in enumerate(parts, start=1):
        fold[rows] = number
    return pd.Series(fold, index=table.index, name="fold", dtype="Int64")


def leak(table: pd.DataFrame, *, n_folds: int, seed: int) -> pd.Series:
    """Test images whose patient was trained on, %: split by image at random, and by patient.

    The first fold is tested, of the table's own where they divide all images, else of `by_patient`;
    by image, as many images are. NaN where all images are of one patient, so that none is left to
    test.

    Raises:
        ValueError: as `split`.
    """
    tests = {"split by image": table[:0], "split by patient": table[:0]}
    if table["patient"].nunique() > 1:
        if table["fold"].isna().any() or table["fold"].nunique() == 1:
            table = table.assign(fold=by_patient(table, n_folds=n_folds, seed=seed))
        _, test = split(table, fold=int(table["fold"].min()))
        shuffled = table.sample(frac=1, random_state=seed)
        tests = {"split by image": shuffled.head(len(test)), "split by patient": test}
    seen = {
        how: 100 * test["patient"].isin(table.drop(test.index)["patient"]).mean()
        for how, test in tests.items()
    }
    name = f"% of {len(tests['split by patient'])} test images whose patient was trained on"
    return pd.Series(seen, name=name)


def from_cvind(cvind: np.ndarray, table: pd.DataFrame) -> pd.Series:
    """Look up the data set author's folds and unite the examinations of one patient.

    The author split by PID, and PIDs that differ by a letter alone are one patient; all of these go
    to the fold that holds most of their slices.

    Args:
        cvind: (n,) the fold of slice 1 to n.
        table: rows with id, pid and patient.

    Raises:
        ValueError: a slice number beyond the list, or one examination in several folds (the list
            belongs to other slices).
    """
    numbers = pd.to_numeric(table["id"], errors="coerce")
    outside = ~numbers.between(1, len(cvind))
    if outside.any():
        names = ", ".join(table["id"][outside].astype(str).head(5))
        raise ValueError(f"cvind.mat lists slices 1..{len(cvind)}; it has no fold for {names}")
    fold = pd.Series(cvind[numbers.astype(int) - 1], index=table.index)
    _check(table.assign(fold=fold), by="pid")
    united = fold.groupby(table["patient"]).transform(lambda f: f.mode().iloc[0])
    return united.rename("fold").astype("Int64")


def runs(table: pd.DataFrame, *, folds: np.ndarray | None = None) -> pd.Series:
    """Take neighbouring slices for one patient, where patients are not known.

    A data set is numbered patient by patient, so that slices of one patient have consecutive
    numbers, one label and one fold. A run may hold several patients, which makes intervals rather
    too wide than too narrow, and keeps neighbours on one side of every split.

    Args:
        table: rows with `label` and `id`, of which the last number counts: 17, or scan3_017. What
            comes before it must be equal, too.
        folds: (n,) the fold of slice 1 to n of the whole set, where the table has some of them:
            numbers in between then belong to a run if they are in its fold. Without it, a number
            that is missing ends a run, and so does another `fold`, where the table has that.

    Returns:
        The run of each row, such as "slices 17-29", with the table's index.

    Raises:
        ValueError: an id without a number, or a number beyond `folds`.
    """
    parts = table["id"].astype(str).str.extract(r"^(.*?)(\d+)$")
    if (without := parts[1].isna()).any():
        raise ValueError(f"id {table['id'][without].iloc[0]!r} ends with no number of a slice")
    number = parts[1].astype(int)
    if folds is None:
        rank = number.groupby([parts[0], *_of(table)]).rank(method="dense").astype(int)
        block = number - rank  # equal for consecutive numbers
    else:
        if (outside := ~number.between(1, len(folds))).any():
            beyond = number[outside].iloc[0]
            raise ValueError(f"there are folds of slices 1..{len(folds)}, but none of {beyond}")
        stretch = np.cumsum(np.diff(folds, prepend=folds[:1]) != 0)
        block = pd.Series(stretch[number - 1], number.index)
    of = number.groupby([parts[0], *_of(table), block])
    first, last = of.transform("min").astype(str), of.transform("max").astype(str)
    return ("slices " + parts[0] + first + "-" + last).rename("patient")


def _of(table: pd.DataFrame) -> list[pd.Series]:
    """What all slices of a run share."""
    fold = table["fold"] if "fold" in table else pd.Series(0, table.index)
    return [table["label"], fold.astype("Int64").fillna(-1)]


def split(table: pd.DataFrame, *, fold: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows (all other folds) and test rows (this fold; all rows if it is None).

    Where the folds were drawn, since the source assigns none, a warning says so.

    Raises:
        ValueError: no such fold, nothing left to train on, or a patient on both sides.
    """
    if fold is None:
        return table.iloc[:0], table
    _check(table, by="patient")
    existing = sorted(table["fold"].dropna().unique().tolist())
    if fold not in existing:
        raise ValueError(
            f"fold {fold} does not exist; there are {existing}"
            + ("" if existing else ": fold=None tests all images; splits.by_patient creates folds")
        )
    if drawn := table.attrs.get("drawn"):
        warnings.warn(drawn, stacklevel=2)
    if len(existing) < 2:
        raise ValueError(f"all images are in fold {fold}; nothing is left to train on")
    test = (table["fold"] == fold).to_numpy(dtype=bool, na_value=False)
    return table[~test], table[test]


def evenly(table: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """At most `most` rows, spread over the table, whose first may all have one label; None: all."""
    if most is None:
        return table
    checks.whole("most", most, least=1)
    n = min(most, len(table))
    return table.iloc[np.arange(n) * len(table) // max(n, 1)]


def _check(table: pd.DataFrame, *, by: str) -> None:
    """Refuse, by a ValueError that names them, patients who are in more than one fold."""
    per_patient = table.groupby(by)["fold"].nunique(dropna=False)
    torn = per_patient[per_patient > 1].index.tolist()
    if torn:
        raise ValueError(
            f"{len(torn)} of {len(per_patient)} patients are in several folds: "
            f"{', '.join(map(str, torn[:5]))}; create folds with splits.by_patient"
        )

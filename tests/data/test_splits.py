import numpy as np
import pandas as pd
import pytest

from medsr_lib.data import splits


@pytest.fixture
def table():
    """60 patients with 1 to 9 slices each; every third has two examinations."""
    rng, rows = np.random.default_rng(0), []
    for p in range(60):
        for n in range(rng.integers(1, 10)):
            letter = "AB"[n % 2] if p % 3 == 0 else ""
            label = ("meningioma", "glioma", "pituitary")[p % 3]
            rows.append((f"MR{p:06}{letter}", f"MR{p:06}", label))
    table = pd.DataFrame(rows, columns=["pid", "patient", "label"])
    return table.assign(id=[str(n + 1) for n in range(len(table))])


@pytest.fixture
def folds(table):
    return table.assign(fold=splits.by_patient(table, n_folds=5, seed=0))


def test_no_patient_in_two_folds(folds):
    assert folds.groupby("patient")["fold"].nunique().max() == 1
    assert sorted(folds["fold"].unique()) == [1, 2, 3, 4, 5]
    assert folds["fold"].dtype == "Int64"


def test_folds_are_alike_in_size_and_labels(folds):
    by_label = folds.groupby(["fold", "label"]).size().unstack()
    assert by_label.sum(axis=1).between(0.7 * len(folds) / 5, 1.3 * len(folds) / 5).all()
    assert (by_label > 0).all(axis=None)


def test_a_limit_takes_evenly_from_all_labels(table):
    table = table.sort_values("label")
    shares = [t["label"].value_counts(normalize=True) for t in (table, splits.evenly(table, 30))]
    assert shares[1].to_dict() == pytest.approx(shares[0].to_dict(), abs=2 / 30)
    for most in (1, 7, len(table) - 1, len(table), len(table) + 1):
        rows = splits.evenly(table, most)
        assert (len(rows), rows.index.has_duplicates) == (min(most, len(table)), False)
        assert rows.index[0] == table.index[0]
    assert splits.evenly(table, None) is table
    assert splits.evenly(table[:0], 3).empty
    with pytest.raises(ValueError, match="most must be a whole number of at least 1, got 0"):
        splits.evenly(table, 0)


def test_the_seed_decides(table):
    a, b, c = (splits.by_patient(table, n_folds=5, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_series_equal(a, b)
    assert not a.equals(c)


def test_rows_keep_their_index(table):
    some = table.iloc[::2]
    assert splits.by_patient(some, n_folds=2, seed=0).index.equals(some.index)


def test_refuses_one_fold_and_one_patient(table):
    with pytest.raises(ValueError, match="n_folds must be a whole number of at least 2, got 1"):
        splits.by_patient(table, n_folds=1, seed=0)
    with pytest.raises(ValueError, match="a split needs 2 patients, got 1"):
        splits.by_patient(table[:2], n_folds=2, seed=0)


@pytest.mark.parametrize("patients", range(2, 8))
def test_fewer_patients_than_folds_are_a_fold_each_and_that_is_said(table, patients):
    names = table["patient"].unique()[:patients]
    with pytest.warns(UserWarning, match=f"8 folds of {patients} patients: {patients} folds"):
        fold = splits.by_patient(table[table["patient"].isin(names)], n_folds=8, seed=0)
    assert sorted(fold.unique()) == list(range(1, patients + 1))


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_split_parts_rows_and_patients(folds, fold):
    training, test = splits.split(folds, fold=fold)
    assert len(training) + len(test) == len(folds)
    assert set(test["fold"]) == {fold}
    assert not set(training["patient"]) & set(test["patient"])


def test_split_refuses_a_fold_that_does_not_exist(table, folds):
    with pytest.raises(ValueError, match=r"fold 6 does not exist; there are \[1, 2, 3, 4, 5\]"):
        splits.split(folds, fold=6)
    with pytest.raises(ValueError, match="all images are in fold 2; nothing is left to train on"):
        splits.split(folds[folds["fold"] == 2], fold=2)
    unknown = pd.Series(pd.NA, index=table.index, dtype="Int64")
    with pytest.raises(ValueError, match=r"there are \[\]: fold=None tests all images; splits\.by"):
        splits.split(table.assign(fold=unknown), fold=1)


@pytest.mark.parametrize("other", [6, pd.NA])
def test_split_names_a_patient_in_several_folds_or_partly_without(folds, other):
    folds.loc[folds.index[folds["patient"] == "MR000003"][0], "fold"] = other
    with pytest.raises(ValueError, match="1 of 60 patients are in several folds: MR000003;"):
        splits.split(folds, fold=1)


def test_from_cvind_takes_the_number_of_the_slice(table):
    some = table[table["patient"] == table["pid"]].iloc[::-1]
    per_patient = dict(zip(some["patient"], range(10**6)))
    cvind = np.zeros(len(table), int)
    cvind[some["id"].astype(int) - 1] = some["patient"].map(per_patient)
    assert splits.from_cvind(cvind, some).tolist() == some["patient"].map(per_patient).tolist()


@pytest.mark.parametrize("name", ["0", "500", "scan7"])
def test_from_cvind_names_slices_it_has_no_fold_for(table, name):
    with pytest.raises(ValueError, match=rf"lists slices 1\.\.{len(table)}; .* no fold for {name}"):
        splits.from_cvind(np.ones(len(table), int), table.head(1).assign(id=name))


def test_rare_labels_do_not_stop_a_split(table):
    rare = table.groupby("patient").head(1).head(6).assign(label=list("abcdef"))
    assert sorted(splits.by_patient(rare, n_folds=5, seed=0).unique()) == [1, 2, 3, 4, 5]


def test_a_split_by_image_lets_patients_be_seen(folds):
    leak = splits.leak(folds, n_folds=5, seed=0)
    assert leak["split by patient"] == 0
    assert leak["split by image"] > 80
    alone = splits.leak(folds.assign(patient=folds["id"]), n_folds=5, seed=0)
    assert alone.tolist() == [0, 0]
    for none in (1, pd.NA, folds["fold"].where(folds.index > 0)):
        assert splits.leak(folds.assign(fold=none), n_folds=3, seed=0)["split by patient"] == 0
    one = splits.leak(folds[:3].assign(patient="a"), n_folds=5, seed=0)
    assert one.isna().all()
    assert "of 0 test images" in one.name


def slices(rows):
    """Slices of which number, label and fold are given."""
    table = pd.DataFrame(rows, columns=["id", "label", "fold"])
    return table.astype({"id": str, "fold": "Int64"})


def test_runs_are_consecutive_numbers_of_one_label_and_fold():
    rows = [(7, "a", 1), (5, "a", 1), (6, "a", 1), (8, "b", 1), (9, "b", 2), (11, "b", 2)]
    found = splits.runs(slices(rows))
    assert found.tolist() == ["slices 5-7"] * 3 + ["slices 8-8", "slices 9-9", "slices 11-11"]
    assert splits.runs(slices(rows).drop(columns="fold")).tolist()[3:5] == ["slices 8-9"] * 2


def test_with_the_folds_of_all_slices_a_missing_number_does_not_end_a_run():
    table = slices([(1, "a", 1), (3, "a", 1), (5, "a", 1), (6, "a", 2), (7, "b", 2)])
    found = splits.runs(table, folds=np.array([1, 1, 1, 2, 1, 2, 2]))
    assert found.tolist() == ["slices 1-3"] * 2 + ["slices 5-5", "slices 6-6", "slices 7-7"]


def test_runs_of_several_volumes_do_not_meet_and_keep_the_index():
    table = slices([("scan1_09", "a", 1), ("scan2_10", "a", 1), ("scan2_11", "a", 1)])
    found = splits.runs(table.set_index(pd.Index([4, 2, 9])))
    assert found.to_dict() == {4: "slices scan1_9-9", 2: (b := "slices scan2_10-11"), 9: b}


def test_no_neighbours_on_two_sides_of_a_split_by_runs():
    rng = np.random.default_rng(0)
    numbers = np.flatnonzero(rng.random(400) < 0.7)
    table = slices([(n, "ab"[n // 200], 1) for n in numbers])
    table["patient"] = splits.runs(table)
    fold = splits.by_patient(table, n_folds=4, seed=0).set_axis(numbers)
    together = fold.index[1:][np.diff(numbers) == 1].difference([200])
    assert (fold[together].to_numpy() == fold[together - 1].to_numpy()).all()


@pytest.mark.parametrize(
    ("name", "folds", "reason"),
    [
        ("left", None, "id 'left' ends with no number"),
        ("4", [1, 1], r"slices 1\.\.2, but none of 4"),
    ],
)
def test_runs_need_numbers(name, folds, reason):
    with pytest.raises(ValueError, match=reason):
        splits.runs(slices([(name, "a", 1)]), folds=None if folds is None else np.array(folds))

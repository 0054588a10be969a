import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import statistics
from medsr_lib.assess.decisions import by_training, changes, classify_summary, differing, majority

SAID = {"HR": ["AAB", "ABB", "AAB"], "SR": ["ABB", "ABB", "BBA"]}  # of 3 cases by each training


def table(said=SAID):
    """Three trainings name the class of three cases, whose class is A, A and B."""
    rows = [
        {"id": k, "patient": f"p{k}", "label": label, "method": method, "region": "whole"}
        | {"seed": seed, "predicted": now, "p_true": 0.2 + 0.1 * seed, "right": float(now == label)}
        | {"flipped": float(now != before)}
        | {"to_wrong": float(now != label == before), "to_right": float(before != label == now)}
        | {"p A": 0.7 if now == "A" else 0.3, "p B": 0.3 if now == "A" else 0.7}
        for method, of_seeds in said.items()
        for seed, (names, reference) in enumerate(zip(of_seeds, said["HR"]))
        for k, (label, now, before) in enumerate(zip("AAB", names, reference))
    ]
    return pd.DataFrame(rows)


def of(found, method, column):
    return found[found["method"] == method][column].tolist()


def test_most_trainings_decide_and_probabilities_are_averaged():
    found = majority(table())
    assert len(found) == 6
    assert of(found, "HR", "right") == [1, 1, 1]
    assert of(found, "SR", "right") == [1, 0, 1]
    assert of(found, "SR", "flipped") == of(found, "SR", "to_wrong") == [0, 1, 0]
    assert found["p_true"].tolist() == pytest.approx([0.3] * 6)


def test_half_of_the_trainings_are_not_most():
    rows = table()
    found = majority(rows[rows["seed"] < 2])
    assert of(found, "HR", "right") == [1, 0, 1]  # the second case by one of two
    lesions = rows.assign(new=rows["seed"] * 2.0, dice=np.nan)
    assert majority(lesions)["new"].tolist() == [2.0] * 6  # of 0, 2 and 4: two reach 2
    assert majority(lesions)["dice"].isna().all()


def test_a_summary_of_each_training_and_of_most():
    found = by_training(table(), classify_summary)
    expected = [(m, k) for m in ("HR", "SR") for k in ("0", "1", "2", "majority")]
    assert found.index.tolist() == expected
    assert found.index.names == ["method", "seed"]
    assert found.loc["SR", "flipped"].tolist() == [1, 0, 3, 1]
    assert found.loc["SR", "accuracy"].tolist() == pytest.approx([2 / 3, 2 / 3, 0, 2 / 3])
    assert found["flipped"].dtype == "int64"


def test_the_majority_goes_into_statistics():
    spec = statistics.Contrast("right", "SR", "HR", "whole")
    (found,) = statistics.contrasts(majority(table()), [spec], seed=0).values()
    expected = statistics.share_difference([1, 0, 1], [1, 1, 1], range(3))
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


def test_decisions_change_by_majority_and_probabilities_by_the_mean_over_trainings():
    specs = [statistics.Contrast(m, "SR", "HR", "whole") for m in ("right", "p A")]
    decided, shares = changes(table(), specs, seed=0).values()
    expected = statistics.share_difference([1, 0, 1], [1, 1, 1], range(3))
    assert (decided.value, decided.low, decided.high) == (
        expected.value,
        expected.low,
        expected.high,
    )
    assert (decided.seeds, decided.seed_low, decided.seed_high) == (3, -1, 0)
    assert shares == statistics.over_seeds(table(), specs[1])


def test_trainings_differ_on_the_same_images():
    assert differing(table(), column="predicted", method="HR") == [1, 0, 1]
    assert differing(table(), column="right", method="SR") == [0, 2, 2]
    one = table().query("seed == 0")
    assert differing(one, column="predicted", method="HR") == []
    unknown = table().assign(right=np.nan)
    assert differing(unknown, column="right", method="HR") == [0, 0, 0]


def test_trainings_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"lacks the columns \['seed'\]"):
        majority(table().drop(columns="seed"))
    with pytest.raises(ValueError, match="case 0, method 'HR': 2 rows for 3 trainings"):
        majority(table().drop(index=0))
    with pytest.raises(ValueError, match="no method 'GT'; there are"):
        differing(table(), column="right", method="GT")

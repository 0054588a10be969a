import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from torch import nn

from medsr_lib.assess import statistics
from medsr_lib.assess.decisions import classify, classify_summary

CLASSES = ["meningioma", "glioma", "pituitary"]


def about(labels):
    n = len(labels)
    return pd.DataFrame(
        {
            "id": [f"s{i}" for i in range(n)],
            "patient": [f"p{i // 2}" for i in range(n)],
            "label": labels,
            "path": "",
        },
        index=range(10, 10 + n),  # rows chosen from a larger table
    )


def shown(rows):
    """An image whose first three pixels are the logits of `first_pixels`, (N, 1, 4, 4)."""
    images = torch.zeros(len(rows), 1, 4, 4)
    images[:, 0, 0, :3] = torch.as_tensor(rows)
    return images


def asked(images, cases, classes=CLASSES):
    return classify(lambda x: x[:, 0, 0, :3], images, cases, classes=classes, device="cpu")


@pytest.fixture
def classified():
    """Four cases; SR flips the second to wrong, the third to right, the fourth wrong to wrong."""
    hr = shown([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    sr = shown([[0.9, 0, 0], [0, 0, 1.0], [0, 0, 0.5], [0, 1.0, 0]])
    cases = about(["meningioma", "glioma", "pituitary", "pituitary"])
    return asked({"HR": hr, "SR": sr}, cases)


def test_a_row_per_case_and_method(classified):
    assert classified.columns.tolist() == [
        *("id", "patient", "label", "method", "region", "predicted", "p_true", "right"),
        *("flipped", "to_wrong", "to_right", "p meningioma", "p glioma", "p pituitary"),
    ]
    assert classified["id"].tolist() == ["s0", "s1", "s2", "s3"] * 2
    assert classified["method"].tolist() == ["HR"] * 4 + ["SR"] * 4


def test_flips_by_hand(classified):
    hr, sr = (classified[classified["method"] == name] for name in ("HR", "SR"))
    assert hr["right"].tolist() == [1, 1, 0, 0]
    assert sr["predicted"].tolist() == ["meningioma", "pituitary", "pituitary", "glioma"]
    assert sr["flipped"].tolist() == [0, 1, 1, 1]
    assert sr["to_wrong"].tolist() == [0, 1, 0, 0]
    assert sr["to_right"].tolist() == [0, 0, 1, 0]
    assert not hr[["flipped", "to_wrong", "to_right"]].any(axis=None)


def test_p_true_is_the_softmax_of_the_true_class(classified):
    assert classified["p_true"].iloc[0] == pytest.approx(np.e / (np.e + 2))
    assert classified["p_true"].iloc[5] == pytest.approx(1 / (np.e + 2))
    assert classified.filter(like="p ").sum(axis=1).to_numpy() == pytest.approx(1)


def test_summary_by_hand(classified):
    found = classify_summary(classified)
    assert found.index.tolist() == ["HR", "SR"]
    columns = ["cases", "patients", "flipped", "to_wrong", "to_right"]
    assert found[columns].values.tolist() == [[4, 2, 0, 0, 0], [4, 2, 3, 1, 1]]
    assert (found[columns].dtypes == "int64").all()
    assert found["accuracy"].tolist() == [0.5, 0.5]
    assert found["balanced"].tolist() == pytest.approx([2 / 3, (1 + 0 + 0.5) / 3])
    assert np.isnan(found.loc["HR", "p"])
    assert np.isnan(found.loc["SR", "p"])  # of two patients
    with pytest.raises(ValueError, match="no method 'GT' to compare the others with"):
        classify_summary(classified, reference="GT")


@pytest.fixture
def many():
    rng = np.random.default_rng(0)
    cases = about(rng.choice(CLASSES, 60).tolist())
    truth = nn.functional.one_hot(torch.tensor([CLASSES.index(t) for t in cases["label"]]))
    noise = torch.from_numpy(rng.random((2, 60, 3), np.float32))
    hr, sr = shown(0.5 * truth + 0.5 * noise[0]), shown(0.2 * truth + 0.8 * noise[1])
    return asked({"HR": hr, "SR": sr}, cases)


def test_auc_and_p_agree_with_other_packages(many):
    summary = classify_summary(many)
    for method, of in many.groupby("method"):
        truth = [CLASSES.index(t) for t in of["label"]]
        p = of[[f"p {name}" for name in CLASSES]].to_numpy()
        expected = roc_auc_score(truth, p, multi_class="ovr", average="macro")
        assert summary.loc[method, "auc"] == pytest.approx(expected)
    hr, sr = (many[many["method"] == m]["right"].to_numpy() for m in ("HR", "SR"))
    both = mcnemar(pd.crosstab(hr, sr), exact=True)
    assert summary.loc["SR", "to_wrong"] > 5
    assert summary.loc["SR", "p"] == pytest.approx(both.pvalue)
    assert classify_summary(many[many["label"] != "glioma"])["auc"].isna().all()


@pytest.mark.parametrize("metric", ["p_true", "right"])
def test_the_tables_go_into_statistics(many, metric):
    found = statistics.paired_difference(
        many, metric=metric, method="SR", baseline="HR", region="whole", reference=None, seed=0
    )
    means = many.groupby("method")[metric].mean()
    assert found.value == pytest.approx(means["SR"] - means["HR"])  # two cases a patient
    assert (found.patients, found.cases) == (30, 60)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": {"SR": torch.rand(3, 1, 4, 4)}}, "no method 'HR' to compare the others with"),
        ({"cases": about(["none", *CLASSES[1:]])}, "label 'none' is not one of the classes"),
        ({"classes": ["glioma", "glioma", "none"]}, "classes must be at least two names, none of"),
    ],
)
def test_refuses(change, reason):
    arguments = {"images": {"HR": torch.rand(3, 1, 4, 4)}, "cases": about(CLASSES)}
    with pytest.raises(ValueError, match=reason):
        asked(**(arguments | change))

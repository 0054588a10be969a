import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint
from torch import nn
from torchmetrics.classification import BinaryCalibrationError

from medsr_lib.assess import decisions as d
from medsr_lib.assess import statistics

LABELS = ("NORMAL", "PNEUMONIA")


class Mean(nn.Module):
    """Logits (0, 4 m) of the mean m; in training, nonsense."""

    def forward(self, x):
        m = x.mean((1, 2, 3))
        logits = torch.stack([torch.zeros_like(m), 4 * m], 1)
        return logits * torch.nan if self.training else logits


@pytest.fixture
def scores():
    """Calibrated log-odds of 4000 images, and whether they are ill."""
    rng = np.random.default_rng(0)
    z = rng.normal(0.3, 2, 4000)
    return z, rng.random(4000) < 1 / (1 + np.exp(-z))


@pytest.fixture
def cases():
    ill = [True, True, True, False, False]
    return pd.DataFrame(
        {
            "id": list("abcde"),
            "patient": ["p", "p", "q", "r", "s"],
            "label": np.where(ill, LABELS[1], LABELS[0]),
        }
    )


def test_log_odds_are_the_difference_of_the_logits():
    images = torch.linspace(0, 1, 5)[:, None, None, None].expand(-1, 1, 8, 8)
    network = Mean().train()
    found = d.log_odds(network, images, device="cpu")
    np.testing.assert_allclose(found, [0, 1, 2, 3, 4], atol=1e-6)


def test_log_odds_refuse_other_networks():
    with pytest.raises(ValueError, match=r"expected logits \(2, 2\) for 2 images, got \(2, 3\)"):
        d.log_odds(lambda x: torch.zeros(len(x), 3), torch.rand(2, 1, 8, 8), device="cpu")


@pytest.mark.parametrize("t", [0.5, 1, 3])
def test_the_temperature_undoes_a_wrong_confidence(scores, t):
    z, ill = scores
    assert d.temperature(t * z, ill) == pytest.approx(t, rel=0.06)


def test_no_other_temperature_has_less_loss(scores):
    z, ill = 2 * scores[0][:50], scores[1][:50]
    found = d.temperature(z, ill)
    n1, n0 = ill.sum(), (~ill).sum()
    y = np.where(ill, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(t):
        p = 1 / (1 + np.exp(-z / t))
        return (
            log_loss(np.ones(50), p, sample_weight=y, labels=[0, 1]) * y.sum()
            + log_loss(np.zeros(50), p, sample_weight=1 - y, labels=[0, 1]) * (1 - y).sum()
        )

    assert loss(found) < min(loss(0.97 * found), loss(1.03 * found))


def test_few_images_all_correctly_classified_ask_for_no_boundless_certainty():
    found = d.temperature([-2, -1, 1, 2], [False, False, True, True])
    assert 0.5 < found < 2


def test_the_threshold_lies_midway():
    z = [0.0, 1, 2, 3, 2.5, 5]
    ill = [False, False, False, False, True, True]
    assert d.threshold_at(z, ill, specificity=0.75) == 2.25
    assert d.threshold_at(z, ill, specificity=0.7) == 2.25
    assert d.threshold_at(z, ill, specificity=1) == 4
    assert 3 < d.threshold_at([0, 3, 1], [False, False, True], specificity=1) < 3.000001


def test_the_threshold_refuses_no_specificity():
    with pytest.raises(ValueError, match="specificity must be above 0 and at most 1, got 0"):
        d.threshold_at([0, 1], [False, True], specificity=0)


def test_sensitivity_and_specificity_are_shares_over_patients():
    z = [2, 2, 0, -1, -1, 3]
    ill = [True, True, True, False, False, False]
    found = d.operating_point(z, ill, ["p", "p", "q", "r", "s", "t"], threshold=1)
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    assert (sensitivity.value, specificity.value) == (0.5, pytest.approx(2 / 3))
    assert (sensitivity.cases, specificity.cases) == (3, 3)
    assert (sensitivity.patients, specificity.patients) == (2, 3)
    expected = proportion_confint(2, 3, method="wilson")
    assert (specificity.low, specificity.high) == pytest.approx(expected)


def test_trainings_and_images_may_have_thresholds_of_their_own():
    ill, who = [True, True, False, False], list("pqrs")
    found = d.operating_point([[1, 1, 0, 0], [1, 0, 0, 0]], ill, who, threshold=0.5)
    assert (found["sensitivity"].value, found["sensitivity"].seed_low) == (0.75, 0.5)
    carried = d.operating_point([1, 0, 1, 0], ill, who, threshold=[0.5, -1, 2, 0.5])
    assert (carried["sensitivity"].value, carried["specificity"].value) == (1, 1)
    with pytest.raises(ValueError, match="broadcast"):
        d.operating_point([1, 0, 1, 0], ill, who, threshold=[0.5, 1])


def test_a_detector_that_is_right_has_the_error_of_chance():
    p = np.random.default_rng(0).random(60)
    chance = d.chance_error(p, bins=8, seed=0)
    drawn = np.random.default_rng(1).random((50, 60)) < p
    found = np.mean([d.calibration_error(p, y, bins=8) for y in drawn])
    assert chance == pytest.approx(found, abs=0.02)
    assert chance > d.chance_error(np.repeat(p, 20), bins=8, seed=0)


def test_calibration_error_is_that_of_torchmetrics(scores):
    z, ill = scores
    p = 1 / (1 + np.exp(-1.7 * z))
    expected = BinaryCalibrationError(n_bins=10)(torch.tensor(p), torch.tensor(ill))
    found = d.calibration_error(p, ill, bins=10)
    assert found == pytest.approx(float(expected), abs=1e-6)
    assert found > 0.05 > 0.02 > d.calibration_error(1 / (1 + np.exp(-z)), ill, bins=10)


def test_calibration_error_by_hand_also_with_empty_bins():
    found = d.calibration_error([0, 0.2, 0.5, 1], [False, True, True, True], bins=2)
    assert found == pytest.approx((2 * abs(0.5 - 0.1) + 2 * abs(1 - 0.75)) / 4)
    assert d.calibration_error([0.05, 0.95], [False, True], bins=10) == pytest.approx(0.05)


def test_calibration_error_refuses_log_odds():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got -1 to 2; give probabilities"):
        d.calibration_error([-1, 2], [False, True], bins=10)
    with pytest.raises(ValueError, match="bins must be a whole number of at least 1, got 0"):
        d.calibration_error([0, 1], [False, True], bins=0)


def test_decisions_flip_at_the_threshold(cases):
    z = {"original": [2, 1.1, 0, 0, 3], "restored": [2, 0.9, 1.5, 0, 0.5]}
    found = d.detect(z, cases, classes=LABELS, threshold=1, reference="original")
    restored = found[found["method"] == "restored"]
    assert restored["flipped"].tolist() == [0, 1, 1, 0, 1]
    assert restored["to_wrong"].tolist() == [0, 1, 0, 0, 0]
    assert restored["to_right"].tolist() == [0, 0, 1, 0, 1]
    assert restored["p_true"].iloc[4] == pytest.approx(1 / (1 + np.exp(0.5)))
    assert found.loc[found["method"] == "original", "flipped"].sum() == 0


def test_each_training_decides_at_thresholds_of_its_own(cases):
    z = np.array([[2, 1.1, 0, 0, 3], [2, 0.9, 1.5, 0, 0.5]])
    about = {"classes": LABELS, "reference": "original"}
    found = d.detect({"original": z, "restored": -z}, cases, threshold=[[1], [0.7]], **about)
    one = d.detect({"original": z[1], "restored": -z[1]}, cases, threshold=0.7, **about)
    of_one = found[found["seed"] == 1].drop(columns="seed").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_one, one)
    assert found["seed"].value_counts().tolist() == [10, 10]


class Constant(nn.Module):
    """Says the same log-odds of every image, plus its mean."""

    def __init__(self, z):
        super().__init__()
        self.z = z

    def forward(self, x):
        said = self.z + x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(said), said], 1)


def test_each_image_is_read_by_the_detectors_of_its_own_fold():
    detectors = {(k, i): Constant(10.0 * k + 100 * i) for k in (1, 2) for i in (0, 1)}
    views = {"own": torch.zeros(3, 1, 32, 32), "bright": torch.ones(3, 1, 32, 32)}
    z = d.log_odds_by_fold(detectors, views, [2, 1, 2], device="cpu")
    assert z["own"].tolist() == [[20, 10, 20], [120, 110, 120]]
    assert z["bright"].tolist() == [[21, 11, 21], [121, 111, 121]]
    halved = d.log_odds_by_fold(detectors, views, [2, 1, 2], temperature=2, device="cpu")
    assert halved["own"].tolist() == [[10, 5, 10], [60, 55, 60]]
    maps = d.by_fold(lambda network, x: network.z + x[:, 0], detectors, views, [2, 1, 2])
    assert maps["bright"].shape == (2, 3, 32, 32)
    assert maps["bright"][1, :, 0, 0].tolist() == [121, 111, 121]
    with pytest.raises(
        ValueError, match=r"no detector of \(fold, training\) \[\(3, 0\), \(3, 1\)\]"
    ):
        d.log_odds_by_fold(detectors, views, [2, 1, 3], device="cpu")


def test_decisions_go_into_summary_and_contrasts(cases):
    z = {"original": [2, 1.1, 0, 0, 3], "restored": [2, 0.9, 1.5, 0, 0.5]}
    found = d.detect(z, cases, classes=LABELS, threshold=1, reference="original")
    summary = d.classify_summary(found, reference="original")
    assert summary.loc["restored", ["to_wrong", "to_right"]].tolist() == [1, 2]
    assert summary.loc["original", "accuracy"] == 0.6
    shift = statistics.paired_difference(
        found,
        metric="logit",
        method="restored",
        baseline="original",
        region="whole",
        reference=None,
        seed=0,
    )
    assert shift.value == pytest.approx(((0 - 0.2) / 2 + 1.5 + 0 - 2.5) / 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reference": "HR"}, "no method 'HR' to compare the others with"),
        ({"classes": ("a", "b")}, "label 'NORMAL' is not one of the classes"),
        ({"classes": ("a", "b", "c")}, "classes must be two, negatives first"),
        ({"scores": {"original": [1.0]}}, r"'original': expected 5 finite scores, got \(1,\)"),
    ],
)
def test_detect_refuses_what_does_not_fit(cases, change, reason):
    given = {"scores": {"original": np.zeros(5)}, "classes": LABELS, "reference": "original"}
    given |= change
    with pytest.raises(ValueError, match=reason):
        d.detect(given.pop("scores"), cases, threshold=0, **given)

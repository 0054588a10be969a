import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import auc as area_of

from medsr_lib.assess.statistics import roc


@pytest.fixture
def data():
    """Scores of two detectors, the second a worse copy of the first: 90 images of 45 patients."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(45), 2)
    positive = patients % 3 > 0
    of_patient = rng.normal(size=45)[patients]
    a = positive * 1.6 + of_patient + 0.5 * rng.normal(size=90)
    return {"a": a, "b": a + rng.normal(size=90), "positive": positive, "patients": patients}


def test_delong_by_hand():
    """V10 differ by (0, -1/2), V01 by (-1/2, 0): variance 1/8 / 2 + 1/8 / 2."""
    found = roc.delong([3, 1, 2, 0], [3, 2, 1, 0], [True, True, False, False], range(4))
    assert found.value == -0.25
    assert found.high - found.value == pytest.approx(norm.ppf(0.975) * np.sqrt(1 / 8))
    assert found.p == pytest.approx(2 * norm.sf(0.25 / np.sqrt(1 / 8)))
    assert (found.cases, found.patients) == (4, 4)


def test_delong_is_the_definition_of_1988(data):
    """Equations 4 to 6: all pairs compared, and the covariances of the components."""
    truth = data["positive"]
    psi = [
        (np.sign(np.round(z, 1)[truth][:, None] - np.round(z, 1)[~truth]) + 1) / 2
        for z in (data["a"], data["b"])
    ]
    s10 = np.cov([p.mean(1) for p in psi])
    s01 = np.cov([p.mean(0) for p in psi])
    s = s10 / truth.sum() + s01 / (~truth).sum()
    se = np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    found = roc.delong(np.round(data["a"], 1), np.round(data["b"], 1), truth, range(90))
    assert found.value == pytest.approx(psi[0].mean() - psi[1].mean(), abs=1e-12)
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.975) * se)


def test_images_shown_twice_are_no_further_patients(data):
    a, b, truth = (data[name][::2] for name in ("a", "b", "positive"))
    once = roc.delong(a, b, truth, range(45))
    twice = roc.delong(*(np.repeat(v, 2) for v in (a, b, truth)), np.repeat(np.arange(45), 2))
    independent = roc.delong(*(np.repeat(v, 2) for v in (a, b, truth)), range(90))
    assert twice.high == pytest.approx(once.high, abs=1e-12)
    assert independent.high < once.high - 0.01
    assert (twice.patients, twice.cases) == (45, 90)


def test_a_patient_may_be_in_both_classes():
    """Obuchowski's cross term: components of one patient that cancel make the difference sure."""
    a, b, truth = [3.0, 1, 2, 0], [3.0, 2, 1, 0], [True, True, False, False]
    apart = roc.delong(a, b, truth, [0, 1, 2, 3])
    together = roc.delong(a, b, truth, [0, 1, 0, 1])
    assert together.high < apart.high


def test_the_bootstrap_agrees_with_delong(data):
    given = data["a"], data["b"], data["positive"], data["patients"]
    drawn, found = roc.auc_difference(*given, seed=0), roc.delong(*given)
    assert drawn.value == pytest.approx(found.value, abs=1e-12)
    assert (drawn.low, drawn.high) == pytest.approx((found.low, found.high), abs=0.015)
    assert drawn == roc.auc_difference(*given, seed=0)


def test_a_detector_does_not_differ_from_itself(data):
    given = data["a"], 3 * data["a"] + 1, data["positive"], data["patients"]
    found = roc.delong(*given)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    drawn = roc.auc_difference(*given, seed=0)
    assert (drawn.low, drawn.high) == (0, 0)


def test_a_difference_without_variance_has_no_p():
    truth = np.repeat([True, False], 4)
    assert np.isnan(roc.delong(truth, ~truth, truth, range(8)).p)


def test_the_curve_encloses_the_area(data):
    found = roc.roc_curve(data["a"], data["positive"], data["patients"], seed=0, resamples=100)
    area = area_of(found["fpr"], found["tpr"])
    assert area == pytest.approx(roc.auc(data["a"], data["positive"]), abs=0.005)
    assert (found["low"] <= found["tpr"] + 1e-9).all()
    assert (found["tpr"] <= found["high"] + 1e-9).all()
    assert found["fpr"].iloc[[0, -1]].tolist() == [0, 1]
    assert found["tpr"].iloc[-1] == 1


def test_the_curve_by_hand():
    truth = [True, True, False, False]
    found = roc.roc_curve([3, 1, 2, 0], truth, range(4), seed=0, resamples=50)
    assert found["tpr"].iloc[::25].tolist() == [0.5, 0.5, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"a": [1.0, 2]}, r"must have one length, got \(2,\), \(90,\) and \(90,\)"),
        ({"positive": np.ones(90, bool)}, "both classes are needed, got 90 positive"),
        ({"a": np.full(90, np.nan)}, "scores must be finite, but hold NaN"),
        ({"patients": np.zeros(90)}, "each class needs two patients, got 1 positive"),
    ],
)
def test_refuses_what_cannot_be_compared(data, change, reason):
    given = data | change
    with pytest.raises(ValueError, match=reason):
        roc.delong(given["a"], given["b"], given["positive"], given["patients"])


@pytest.mark.parametrize("levels", [3, 1000])
def test_auc_is_the_share_of_pairs_in_the_right_order(levels):
    rng = np.random.default_rng(levels)
    scores, truth = rng.integers(0, levels, 200), rng.random(200) < 0.3
    apart = scores[truth][:, None] - scores[~truth]
    assert roc.auc(scores, truth) == pytest.approx((np.sign(apart) / 2 + 0.5).mean(), abs=1e-12)


def test_auc_needs_both_classes():
    with pytest.raises(ValueError, match="both classes are needed, got 3 positive and 0"):
        roc.auc([1, 2, 3], [True] * 3)


def test_interval_is_the_bootstrap_done_by_hand():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2)
    truth = patients % 2 == 0
    scores = np.round(truth + rng.normal(0, 1, 60), 1)
    found = roc.auc_interval(scores, truth, patients, seed=0)
    areas = []
    for _ in range(1000):
        drawn = rng.integers(0, 30, 30)
        rows = np.concatenate([np.flatnonzero(patients == p) for p in drawn])
        if 0 < truth[rows].sum() < len(rows):
            areas.append(roc.auc(scores[rows], truth[rows]))
    by_hand = np.quantile(areas, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], by_hand, atol=0.02)
    assert found.value == roc.auc(scores, truth)


def test_repeated_images_of_a_patient_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    scores = truth + rng.normal(0, 1, 40)
    once = roc.auc_interval(scores, truth, np.arange(40), seed=0)
    often = roc.auc_interval(
        np.repeat(scores, 9), np.repeat(truth, 9), np.repeat(np.arange(40), 9), seed=0
    )
    assert (once.low, once.high) == pytest.approx((often.low, often.high), abs=1e-12)
    assert (often.patients, often.cases) == (40, 360)

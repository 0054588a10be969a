import numpy as np
import pytest
from scipy.special import logit
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


def standard_error(found):
    """What DeLong's p was made of."""
    return abs(found.value) / norm.isf(found.p / 2)


def test_delong_by_hand():
    """V10 differ by (0, -1/2), V01 by (-1/2, 0): variance 1/8 / 2 + 1/8 / 2; four times over."""
    truth, who = np.array([True, True, False, False]), np.arange(4)
    a, b = (roc._components(np.array([z]), truth) for z in ([3, 1, 2, 0], [3, 2, 1, 0]))
    apart = [(one - other)[0] for one, other in zip(a, b)]
    assert [part.tolist() for part in apart] == [[0, -0.5], [-0.5, 0]]
    assert roc._variance(*apart, who[truth], who[~truth]) == (pytest.approx(1 / 8), 2)
    few = roc.delong([3, 1, 2, 0], [3, 2, 1, 0], truth, who)
    assert (few.value, few.cases, few.patients) == (-0.25, 4, 4)
    assert np.isnan(few.p)  # below 8 patients


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
    assert standard_error(found) == pytest.approx(se)


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
    v10, v01, truth = np.array([0, -0.5]), np.array([-0.5, 0]), np.array([True, True, False, False])
    together = np.array([0, 1, 0, 1])
    assert roc._variance(v10, v01, together[truth], together[~truth])[0] == pytest.approx(0)


def test_the_interval_of_a_difference_is_near_delongs_where_areas_are_far_from_1(data):
    found = roc.delong(data["a"], data["b"], data["positive"], data["patients"])
    reach = norm.ppf(0.975) * standard_error(found)
    assert (found.low, found.high) == pytest.approx(
        (found.value - reach, found.value + reach), abs=0.02
    )
    turned = roc.delong(data["b"], data["a"], data["positive"], data["patients"])
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_a_detector_does_not_differ_from_itself_as_far_as_so_few_patients_tell(data):
    found = roc.delong(data["a"], 3 * data["a"] + 1, data["positive"], data["patients"])
    assert (found.value, found.p) == (0, 1)
    assert (found.low, found.high) == pytest.approx((-3 / 15, 3 / 15))  # 15 of 45 are negative


def test_where_one_detector_separates_all_its_floor_is_in_the_interval():
    truth, rng = np.repeat([True, False], 15), np.random.default_rng(0)
    found = roc.delong(truth + 0.0, truth + rng.normal(0, 0.6, 30), truth, range(30))
    assert 0 < found.value < found.high < 0.5
    assert -3 / 15 <= found.low < 0


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
    again = roc.roc_curve([[3, 1, 2, 0], [3, 2, 1, 0]], truth, range(4), seed=0, resamples=50)
    assert again["tpr"].iloc[::25].tolist() == [0.75, 0.75, 1, 1, 1]
    assert (again["low"] <= found["low"]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"a": [1.0, 2]}, r"must have one length, got \(2,\) and \(90,\)"),
        ({"patients": np.zeros(3)}, r"patients must have one length with the rest, 90, got \(3,\)"),
        ({"patients": None}, r"patients must have one length with the rest, 90, got \(\)"),
        ({"patients": [None, *range(89)]}, "patients must name every case, but 1 of 90"),
        ({"positive": np.ones(90, bool)}, "both classes are needed, got 90 positive"),
        ({"a": np.full(90, np.nan)}, "scores must be finite, but hold NaN"),
        ({"positive": np.full(90, 0.4)}, "positive must be true or false .*, got 0.4"),
        ({"positive": np.full(90, "x")}, "positive must be true or false .*, got 'x'"),
        ({"positive": np.r_[np.nan, np.ones(89)]}, "positive must be true or false .*, got nan"),
        ({"b": np.zeros((2, 90))}, "scores are of 1 trainings, baseline of 2"),
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


def test_the_interval_is_of_the_logit_and_near_the_bootstraps_far_from_1():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    truth = patients % 2 == 0
    scores = np.round(truth + rng.normal(0, 1, 120), 1)
    found = roc.auc_interval(scores, truth, patients)
    areas = []
    for _ in range(200):
        rows = (2 * rng.integers(0, 60, 60)[:, None] + (0, 1)).ravel()
        areas.append(roc.auc(scores[rows], truth[rows]))
    by_hand = np.quantile(areas, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], by_hand, atol=0.025)
    assert found.value == pytest.approx(roc.auc(scores, truth), abs=1e-12)
    assert found.low < found.low90 < found.high90 < found.high
    ends = logit([found.low, found.value, found.high])
    assert ends[2] - ends[1] == pytest.approx(ends[1] - ends[0])


def test_repeated_images_of_a_patient_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    scores = truth + rng.normal(0, 1, 40)
    once = roc.auc_interval(scores, truth, np.arange(40))
    often = roc.auc_interval(*(np.repeat(v, 9) for v in (scores, truth, np.arange(40))))
    assert (once.low, once.high) == pytest.approx((often.low, often.high), abs=1e-12)
    assert (often.patients, often.cases) == (40, 360)


def test_perfect_separation_is_told_by_the_rule_of_three():
    truth = np.repeat([True, False, False], 20)
    found = roc.auc_interval(truth + 0.0, truth, range(60))
    assert (found.value, found.low, found.high) == (1, 1 - 3 / 20, 1)
    turned = roc.auc_interval(-1.0 * truth, truth, range(60))
    assert (turned.value, turned.low, turned.high) == (0, 0, 3 / 20)


@pytest.mark.parametrize("patients", [[0, 1, 2, 2], [0, 1, 0, 1]], ids=["one", "equal scores"])
def test_no_interval_where_nothing_can_be_told(patients):
    found = roc.auc_interval([1, 1, 1, 1], [True, True, False, False], patients)
    assert (found.value, np.isfinite(found.low)) == (0.5, False)


def test_several_trainings_are_averaged_and_widen_the_interval(data):
    given = data["positive"], data["patients"]
    one = roc.auc_interval(data["a"], *given)
    same = roc.auc_interval(np.stack([data["a"]] * 3), *given)
    assert (same.value, same.low) == pytest.approx((one.value, one.low))
    assert (same.seeds, same.seed_low, same.seed_high) == pytest.approx((3, one.value, one.value))
    both = np.stack([data["a"], data["b"], data["a"]])
    mixed = roc.auc_interval(both, *given)
    assert mixed.value == pytest.approx(np.mean([roc.auc(z, given[0]) for z in both]))
    assert mixed.high - mixed.low > one.high - one.low
    change = roc.delong(both, np.stack([data["a"]] * 3), *given)
    assert change.seeds == 3
    assert change.seed_low < change.value < change.seed_high == 0
    assert change.low < change.value < change.high


@pytest.mark.slow
def test_the_interval_covers_an_area_near_1():
    """DeLong's own covers 77 %, percentiles of the bootstrap 80 % (`benchmarks/intervals.py`)."""
    truth, rng, hits = np.arange(43) < 29, np.random.default_rng(0), []
    apart = np.sqrt(2) * norm.ppf(0.97)
    for _ in range(600):
        found = roc.auc_interval(rng.normal(apart * truth), truth, range(43))
        hits.append(found.low <= 0.97 <= found.high)
    assert np.mean(hits) >= 0.93

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from medsr_lib.assess.statistics.shares import (
    effective_size,
    guarantee,
    share,
    share_difference,
    tango,
)


def likelihood_score(one, other, n, difference):
    """The score statistic with the nuisance parameter found by a search of the likelihood."""
    least, most = max(0.0, -difference), (1 - difference) / 2

    def loss(q):
        p = np.array([q + difference, q, 1 - difference - 2 * q])
        counts = np.array([one, other, n - one - other])
        return -np.sum(np.where(counts > 0, counts * np.log(np.maximum(p, 1e-300)), 0))

    q = optimize.minimize_scalar(loss, bounds=(least, most), options={"xatol": 1e-12}).x
    return (one - other - n * difference) / np.sqrt(n * (2 * q + difference - difference**2))


@pytest.mark.parametrize(("one", "other", "n"), [(7, 3, 40), (1, 0, 44), (0, 9, 30), (12, 12, 90)])
def test_tangos_ends_are_where_the_score_test_just_rejects(one, other, n):
    low, high = tango(one, other, n)
    assert likelihood_score(one, other, n, low) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)
    assert likelihood_score(one, other, n, high) == pytest.approx(stats.norm.ppf(0.025), abs=1e-3)
    assert tango(other, one, n) == pytest.approx((-high, -low))


def test_tango_by_hand():
    """Nothing differs: (n D)^2 = z^2 n D (1 - D) at the end, so that D = z^2 / (n + z^2)."""
    z2 = stats.norm.ppf(0.975) ** 2
    assert tango(0, 0, 30) == pytest.approx((-z2 / (30 + z2), z2 / (30 + z2)))
    low, high = tango(30, 0, 30)
    assert low < high == 1
    assert tango(5, 3, 30, level=0.9)[1] < tango(5, 3, 30)[1]


def test_a_share_of_single_cases_has_wilsons_interval():
    found = share([1] * 18 + [0] * 2, range(20))
    assert (found.low, found.high) == pytest.approx(proportion_confint(18, 20, method="wilson"))
    assert (found.value, found.cases, found.patients) == (0.9, 20, 20)
    assert found.low < found.low90 < found.high90 < found.high
    assert share([1] * 20, range(20)).low > 0.8  # where all are right there is an interval, too


def test_trainings_that_differ_widen_the_interval():
    right = np.arange(40) < 32
    alike, apart = share([right] * 3, range(40)), share([right, right, ~right], range(40))
    once = share(right, range(40))
    assert (alike.low, alike.high) == pytest.approx((once.low, once.high))
    assert (apart.value, apart.seeds, apart.seed_low, apart.seed_high) == (0.6, 3, 0.2, 0.8)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


def test_cases_of_one_patient_that_agree_are_one_case():
    rng = np.random.default_rng(0)
    right, baseline = rng.random(20) < 0.7, rng.random(20) < 0.8
    once = share_difference(right, baseline, range(20))
    often = share_difference(*(np.repeat(v, 6) for v in (right, baseline, np.arange(20))))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))
    assert (often.cases, often.patients) == (120, 20)
    apart = share_difference(*(np.repeat(v, 6) for v in (right, baseline)), range(120))
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_independent_cases_of_patients_count_nearly_as_cases():
    right = np.random.default_rng(0).random((40, 10)) < 0.7
    size = effective_size(right.mean(1), variance=0.21, cases=np.full(40, 10))
    assert 250 < size <= 400
    assert effective_size(np.ones(40), variance=0.0, cases=np.full(40, 10)) == 40


def test_unequal_numbers_of_cases_are_worth_fewer_in_a_mean_over_patients():
    """Of independent cases its variance is v / n^2 sum(1 / m): 1 and 7 cases each are worth 7/4."""
    cases = np.tile([1, 7], 100)
    shares = np.random.default_rng(0).binomial(cases, 0.5) / cases
    assert effective_size(shares, variance=10, cases=cases) == pytest.approx(200 * 7 / 4)
    assert effective_size(shares, variance=0.25, cases=cases) < 200 * 7 / 4


def test_a_few_patients_that_decide_the_variance_leave_few_degrees_of_freedom():
    """As `scipy.stats.kurtosis` gives it; one patient in 40 says nothing of the spread."""
    few, cases = np.r_[1, np.zeros(39)], np.full(40, 5)
    p, squared = few.mean(), few.var()
    df = 2 * 40 / (stats.kurtosis(few, fisher=False) - 37 / 39)
    size = p * (1 - p) * 39 / squared * (stats.norm.ppf(0.95) / stats.t.ppf(0.95, df)) ** 2
    assert effective_size(few, variance=p * (1 - p), cases=cases, side=0.95) == max(size, 40)
    wide = effective_size(few, variance=4 * p * (1 - p), cases=cases, side=0.95)
    assert wide == pytest.approx(4 * size)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (([1, 0], [1], [0, 1]), r"right is \(2,\), baseline \(1,\)"),
        (([1, 0], [1, 0], [0]), r"patients must have one length with the rest, 2, got \(1,\)"),
        (([1, 0.5], [1, 0], [0, 1]), "right must be true or false .*, got 0.5"),
        (([], [], []), r"decisions must be \(n,\) and at least one, got \(0,\)"),
        (([1, 0], [1, 0], ["a", np.nan]), "patients must name every case, but 1 of 2"),
    ],
)
def test_refuses_what_is_no_decision(given, reason):
    with pytest.raises(ValueError, match=reason):
        share_difference(*given)


@pytest.mark.parametrize(
    ("given", "level", "reason"),
    [
        ((3, 4, 20), 95, "level must be between 0 and 1, such as 0.95 for 95 %, got 95"),
        ((-3, 4, 20), 0.95, "-3 and 4 are not counts of pairs among 20"),
        ((3, 4, 0), 0.95, "not counts of pairs among 0"),
        ((np.nan, 4, 20), 0.95, "not counts of pairs"),
    ],
)
def test_refuses_what_is_no_level_and_no_count(given, level, reason):
    with pytest.raises(ValueError, match=reason):
        tango(*given, level=level)


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 30])
def test_few_losses_are_covered(n):
    """The bootstrap-t covers 53 and 85 % here (`benchmarks/intervals.py`)."""
    drawn = np.random.default_rng(0).random((500, n))
    found = [share_difference(x >= 0.05, (x < 0.05) | (x >= 0.07), range(n)) for x in drawn]
    assert np.mean([e.low <= -0.03 <= e.high for e in found]) >= 0.94


def test_a_guarantee_by_hand():
    """All but the largest of 59 may be exceeded: P(none of 59 beyond 5 %) = 0.95^59 = 0.0485."""
    changes = np.arange(1, 60) * np.where(np.arange(59) % 2, 1, -1)
    found = guarantee(changes, range(59), share=0.05)
    assert (found.delta, found.exceed, found.patients) == (59, 0, 59)
    assert np.isnan(guarantee(changes[:58], range(58), share=0.05).delta)
    assert "change by more than 59 (95 % confidence; n = 59 patients" in str(found)
    assert guarantee(np.zeros(40), range(40), share=0.1).delta == 0


def test_a_lesion_that_was_not_found_again_has_changed_without_limit():
    changes = [np.nan, *range(1, 60)]
    found = guarantee(changes, range(60), share=0.1)
    assert found.lost == 1
    assert (found.delta, found.exceed) == (59, pytest.approx(1 / 60))  # the lost one is beyond it
    assert guarantee([1e9, *changes[1:]], range(60), share=0.1)[:4] == found[:4]
    none = guarantee([np.nan] * 40, range(40), share=0.1)
    assert str(none).startswith("No change can be named that at most 10 % of cases exceed")


@pytest.mark.parametrize(("beyond", "patients"), [(0, 40), (3, 86), (11, 233)])
def test_a_guarantee_is_that_of_mapie_with_one_lesion_of_each_patient(beyond, patients):
    """Its exact binomial p value (MAPIE 1.6) refuses just the changes that we do not promise."""
    mapie = pytest.importorskip("mapie.risk_control.methods")
    changes = np.random.default_rng(0).permutation(patients).astype(float)
    asked = stats.beta.ppf(0.95, beyond + 1, patients - beyond)  # the bound for just so many beyond

    def refused(delta, share):
        over = np.array([np.mean(changes > delta)])
        return mapie.compute_hoeffding_bentkus_p_value(over, patients, share, binary=True) > 0.05

    for share_ in (asked * 1.0001, asked * 0.9999):
        delta = guarantee(changes, range(patients), share=share_).delta
        if np.isfinite(delta):
            assert not refused(delta, share_)
            assert refused(delta - 1, share_)
        else:
            assert refused(changes.max(), share_)


def test_a_guarantee_holds_for_patients_with_several_lesions():
    """Right in 95 to 97 % by `benchmarks/intervals.py`; 150 studies tell 89 from 95 %."""
    rng, patients, right = np.random.default_rng(0), 60, []
    for _ in range(150):
        who = np.repeat(range(patients), rng.integers(1, 8, patients))
        z = (rng.normal(size=patients)[who] + rng.normal(size=len(who))) / np.sqrt(2)
        delta = guarantee(np.exp(z), who, share=0.2).delta
        right.append(np.log(delta) >= stats.norm.ppf(0.8))
    assert 0.9 < np.mean(right) < 0.995


@pytest.mark.parametrize(
    ("changes", "patients", "share_", "says"),
    [
        ([], [], 0.1, "at least one"),
        ([1, 2], [1], 0.1, "patients"),
        ([1, 2], [1, 2], 1.0, "share"),
        ([[1, 2]], [1], 0.1, r"changes must be \(n,\)"),
    ],
)
def test_a_guarantee_refuses_what_it_cannot_use(changes, patients, share_, says):
    with pytest.raises(ValueError, match=says):
        guarantee(changes, patients, share=share_)

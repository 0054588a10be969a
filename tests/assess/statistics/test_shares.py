import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from medsr_lib.assess.statistics.shares import effective_size, share, share_difference, tango


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
    size = effective_size(right.mean(1), variance=0.21, cases=400)
    assert 250 < size <= 400
    assert effective_size(np.ones(40), variance=0.0, cases=400) == 40


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

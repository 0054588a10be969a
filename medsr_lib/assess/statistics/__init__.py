"""Estimates over patients, with their intervals and tests."""

from medsr_lib.assess.statistics.agreement import (
    agreement_by_method,
    ccc,
    icc,
    limits_of_agreement,
)
from medsr_lib.assess.statistics.bootstrap import bootstrap_interval
from medsr_lib.assess.statistics.contrasts import (
    Contrast,
    case_differences,
    contrasts,
    contrasts_over_seeds,
    detectable,
    effect_size,
    means,
    over_seeds,
    paired_difference,
    patient_differences,
)
from medsr_lib.assess.statistics.estimate import (
    Estimate,
    adjust,
    as_table,
    direction,
    footnote,
    with_case_interval,
)
from medsr_lib.assess.statistics.noninferiority import (
    equivalence,
    non_inferiority,
    patients_needed,
    verdicts,
)
from medsr_lib.assess.statistics.null_band import (
    Band,
    deficit_closed,
    null_bands,
    verdict_table,
)
from medsr_lib.assess.statistics.regression import mixed_model
from medsr_lib.assess.statistics.roc import (
    auc,
    auc_interval,
    delong,
    roc_curve,
)
from medsr_lib.assess.statistics.shares import guarantee, share, share_difference

__all__ = [
    "Band",
    "Contrast",
    "Estimate",
    "adjust",
    "agreement_by_method",
    "as_table",
    "auc",
    "auc_interval",
    "bootstrap_interval",
    "case_differences",
    "ccc",
    "contrasts",
    "contrasts_over_seeds",
    "deficit_closed",
    "delong",
    "detectable",
    "direction",
    "effect_size",
    "equivalence",
    "footnote",
    "guarantee",
    "icc",
    "limits_of_agreement",
    "means",
    "mixed_model",
    "non_inferiority",
    "null_bands",
    "over_seeds",
    "paired_difference",
    "patient_differences",
    "patients_needed",
    "roc_curve",
    "share",
    "share_difference",
    "verdict_table",
    "verdicts",
    "with_case_interval",
]

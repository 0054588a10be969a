"""Estimates over patients, with their intervals and tests."""

from medsr_lib.assess.statistics.contrasts import (
    Contrast,
    Estimate,
    NonInferiority,
    adjust,
    as_table,
    bootstrap_interval,
    contrasts,
    detectable,
    effect_size,
    non_inferiority,
    paired_difference,
    patient_differences,
    power,
    sign_flip_test,
    slice_differences,
)

__all__ = [
    "Contrast",
    "Estimate",
    "NonInferiority",
    "adjust",
    "as_table",
    "bootstrap_interval",
    "contrasts",
    "detectable",
    "effect_size",
    "non_inferiority",
    "paired_difference",
    "patient_differences",
    "power",
    "sign_flip_test",
    "slice_differences",
]

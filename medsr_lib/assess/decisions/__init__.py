"""Which decisions change when an image is restored."""

from medsr_lib.assess.decisions.attention import (
    gradcam,
    lesion_overlap,
    map_similarity,
    similarity_of_others,
)
from medsr_lib.assess.decisions.classifier import classify, classify_summary
from medsr_lib.assess.decisions.detector import (
    by_fold,
    calibration_error,
    chance_error,
    detect,
    log_odds,
    log_odds_by_fold,
    operating_point,
    temperature,
    threshold_at,
)
from medsr_lib.assess.decisions.metadata import guess_class, traces
from medsr_lib.assess.decisions.readers import patches
from medsr_lib.assess.decisions.segmenter import segment, segment_summary
from medsr_lib.assess.decisions.trainings import by_training, changes, differing, majority

__all__ = [
    "by_fold",
    "by_training",
    "calibration_error",
    "chance_error",
    "changes",
    "classify",
    "classify_summary",
    "detect",
    "differing",
    "gradcam",
    "guess_class",
    "lesion_overlap",
    "log_odds",
    "log_odds_by_fold",
    "majority",
    "map_similarity",
    "operating_point",
    "patches",
    "segment",
    "segment_summary",
    "similarity_of_others",
    "temperature",
    "threshold_at",
    "traces",
]

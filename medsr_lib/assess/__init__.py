"""What super-resolution did to an image: scores by region, and what they mean.

For five lines: `score` gives a row per case, method and region, `summary` their means,
`paired_difference` a difference between two methods with its interval over patients.
"""

from medsr_lib.assess.quality.metrics import edge_preservation, ms_ssim, mse, psnr, ssim, ssim_map
from medsr_lib.assess.quality.regions import regions
from medsr_lib.assess.quality.score import score, summary
from medsr_lib.assess.restored import Restored, restored
from medsr_lib.assess.statistics.contrasts import paired_difference
from medsr_lib.assess.statistics.estimate import Estimate

__all__ = [
    "Estimate",
    "Restored",
    "edge_preservation",
    "ms_ssim",
    "mse",
    "paired_difference",
    "psnr",
    "regions",
    "restored",
    "score",
    "ssim",
    "ssim_map",
    "summary",
]

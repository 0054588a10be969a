"""SSIM map of one 512 x 512 slice: ours, scikit-image's, torchmetrics'. On the CPU.

.venv/bin/python benchmarks/ssim.py
"""

import numpy as np
import torch
from skimage.metrics import structural_similarity
from timing import show, side_by_side
from torchmetrics.functional.image import structural_similarity_index_measure

from medsr_lib.assess.quality import metrics

generator = torch.Generator().manual_seed(0)
hr = torch.rand(1, 1, 512, 512, generator=generator)
sr = (0.9 * hr + 0.1 * torch.rand(hr.shape, generator=generator)).clamp(0, 1)
arrays = {t: (sr[0, 0].numpy().astype(t), hr[0, 0].numpy().astype(t)) for t in ("f4", "f8")}
settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}


def scikit(kind: str) -> np.ndarray:
    """The map, computed in float32 or float64 as its input is."""
    return structural_similarity(*arrays[kind], data_range=1.0, **settings)[1]


show(
    f"SSIM map, {torch.get_num_threads()} threads",
    side_by_side(
        {
            "medsr_lib (float64 inside)": lambda: metrics.ssim_map(sr, hr, data_range=1.0),
            "scikit-image, float32": lambda: scikit("f4"),
            "scikit-image, float64": lambda: scikit("f8"),
            "torchmetrics, float32": lambda: structural_similarity_index_measure(
                sr, hr, data_range=1.0, return_full_image=True
            ),
        },
        rounds=40,
    ),
)
ours = metrics.ssim_map(sr, hr, data_range=1.0)[0].numpy()
print(f"  largest difference to scikit-image, float64: {np.abs(ours - scikit('f8')).max():.1e}")

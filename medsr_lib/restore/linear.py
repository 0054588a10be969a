"""The best linear filter: what a network has to exceed before anything was learned about images.

For each of the scale^2 positions of an HR pixel within its LR pixel, one set of weights over the
11 x 11 LR pixels around it, by least squares on training images. No linear method of that reach has
a smaller squared error on them. At scale 1 it is the best linear filter against noise.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib import checks, images
from medsr_lib.case import Case, digest, for_case
from medsr_lib.restore.degrade import check_scale

TAPS = 11
RIDGE = 1e-9  # of the mean energy of a tap: enough to solve where LR is band-limited
MOST = 200  # images: from 100 on, more changed PSNR on real slices by less than 0.001 dB
FOLDS = 5  # of `cross_fit`
BAR = "fitting the linear filter"
UNUSABLE = (OSError, ValueError, TypeError)  # what reading or degrading an image raises

Degrade = Callable[[Tensor], Tensor]


class LinearFilter(nn.Module):
    """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w): a weighted sum of the LR pixels around.

    Beyond the edge LR is continued by its outermost pixels. In evaluation SR is clipped to [0, 1].

    Args:
        scale: 1, 2, 3, 4 or 8.
        taps: side of the square of LR pixels, odd.
    """

    def __init__(self, *, scale: int, taps: int = TAPS) -> None:
        if scale != 1:
            check_scale(scale)
        checks.whole("taps", taps, least=1)
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd, so that there is a middle, got {taps}")
        super().__init__()
        self.scale = scale
        self.arguments: dict[str, Any] = {"scale": scale, "taps": taps}
        self.register_buffer("weights", torch.zeros(scale**2, 1, taps, taps))

    def forward(self, lr: Tensor) -> Tensor:
        """LR (B, 1, h, w) -> SR (B, 1, scale h, scale w)."""
        images.check_shape(lr, "lr")
        sr = self.weighted(lr)
        return sr if self.training else sr.clamp(0, 1)

    def weighted(self, lr: Tensor) -> Tensor:
        """The same, never clipped."""
        weights = self.get_buffer("weights")
        padded = F.pad(lr, [weights.shape[-1] // 2] * 4, mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, weights), self.scale)


class CrossFitted(nn.Module):
    """One filter for each group of patients, fitted without them; `cross_fit` makes it.

    It differs from case to case: `of(case)` is the filter for a case.
    """

    trained_on: frozenset[str] = frozenset()  # none of those that it restores

    def __init__(self, filters: Sequence[LinearFilter], group: dict[str, int]) -> None:
        super().__init__()
        self.filters = nn.ModuleList(filters)
        self.group = group

    def of(self, case: Case) -> LinearFilter:
        """The filter that was fitted without the patient of this case.

        Raises:
            ValueError: a patient whom no filter is known to be without.
        """
        if case.patient not in self.group:
            raise ValueError(
                f"patient {case.patient} was not among those that the linear filter was fitted on "
                "by turns; fit it again with all cases"
            )
        return cast(LinearFilter, self.filters[self.group[case.patient]])

    def forward(self, lr: Tensor) -> Tensor:
        """Refuse: which filter to take depends on the case.

        Raises:
            TypeError: always.
        """
        raise TypeError("this linear filter differs by patient; call the one `of` a case")


class _Equations:
    """The normal equations (A^T A) W = A^T B, summed over images in float64.

    A row of A holds the taps^2 LR pixels around one LR pixel, the row of B the scale^2 HR pixels
    within it.
    """

    def __init__(self, scale: int, taps: int) -> None:
        LinearFilter(scale=scale, taps=taps)  # checks both
        self.scale, self.taps, self.rows = scale, taps, 0
        self.known: set[str] = set()  # digests of the images
        self.gram = torch.zeros(taps**2, taps**2, dtype=torch.float64)
        self.moment = torch.zeros(taps**2, scale**2, dtype=torch.float64)

    def add(self, image: Case | Tensor, degrade: Degrade) -> None:
        """Add the pixels of an image, (H, W) or (1, H, W) if it is no case."""
        known = image.digest if isinstance(image, Case) else digest(image)
        if isinstance(image, Case):
            degrade, image = for_case(degrade, image), image.image
        hr = images.centre_crop(image.reshape(1, 1, *image.shape[-2:]), multiple=self.scale)
        lr = F.pad(degrade(hr), [self.taps // 2] * 4, mode="replicate")
        a = F.unfold(lr, self.taps)[0].double()  # (taps^2, h w)
        b = F.pixel_unshuffle(hr, self.scale)[0].flatten(1).double()  # (scale^2, h w)
        self.gram += a @ a.T
        self.moment += a @ b.T
        self.rows += a.shape[1]
        self.known.add(known)


def _solved(parts: Sequence[_Equations]) -> LinearFilter:
    """The filter of least squares of all images in the parts."""
    scale, taps = parts[0].scale, parts[0].taps
    rows, known = sum(part.rows for part in parts), set().union(*(p.known for p in parts))
    if rows < taps**2:
        raise ValueError(
            f"{len(known)} images have {rows} LR pixels, fewer than the {taps**2} weights of the "
            "linear filter; give more images"
        )
    gram = torch.stack([part.gram for part in parts]).sum(0)
    moment = torch.stack([part.moment for part in parts]).sum(0)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, moment).T.view(-1, 1, taps, taps)
    found = LinearFilter(scale=scale, taps=taps)
    found.get_buffer("weights").copy_(weights)
    found.trained_on = frozenset(known)  # type: ignore[assignment]
    return found.eval()


@torch.no_grad()
def fit(
    hr_images: Sequence[Case] | Sequence[Tensor] | Tensor,
    *,
    degrade: Degrade,
    scale: int,
    taps: int = TAPS,
    keep_going: bool = False,
    progress: bool = True,
) -> LinearFilter:
    """The linear filter of least squared error on some images, ready to be applied.

    Of more than `MOST` images, so many are taken evenly.

    Args:
        hr_images: of training patients: cases such as a `Store` holds, a tensor (N, 1, H, W), or a
            sequence of (H, W).
        degrade: HR -> LR.
        scale: of the degradation; 1 for noise.
        taps: side of the square of LR pixels, odd.
        keep_going: leave out images that cannot be degraded, such as without an acquired LR image.
        progress: show a progress bar.

    Raises:
        ValueError: fewer LR pixels than weights, or arguments as `LinearFilter`.
    """
    equations = _Equations(scale, taps)
    for i in tqdm(_evenly(len(hr_images)), BAR, disable=not progress, leave=False):
        with suppress(*UNUSABLE) if keep_going else nullcontext():
            equations.add(hr_images[i], degrade)
    return _solved([equations])


def fit_apart(
    training: Sequence[Case],
    tested: Sequence[Case],
    *,
    degrade: Degrade,
    scale: int,
    keep_going: bool = False,
) -> LinearFilter | CrossFitted:
    """The linear filter that knows no tested patient: `fit` on training cases, else `cross_fit`."""
    if len(training):
        return fit(training, degrade=degrade, scale=scale, keep_going=keep_going)
    return cross_fit(tested, degrade=degrade, scale=scale, keep_going=keep_going)


@torch.no_grad()
def cross_fit(
    cases: Sequence[Case],
    *,
    degrade: Degrade,
    scale: int,
    taps: int = TAPS,
    keep_going: bool = False,
    progress: bool = True,
) -> CrossFitted:
    """Linear filters for cases that are all tested: each patient's is fitted on other patients.

    The patients are shared out to `FOLDS` groups in the order in which they come; one filter a
    group is fitted on `MOST` cases, evenly taken, without those of the group.

    Args:
        cases: of at least two patients.
        degrade: HR -> LR.
        scale: of the degradation; 1 for noise.
        taps: side of the square of LR pixels, odd.
        keep_going: leave out images that cannot be degraded, such as without an acquired LR image.
        progress: show a progress bar.

    Raises:
        ValueError: one patient only, or as `fit`.
    """
    patients = list(dict.fromkeys(case.patient for case in cases))
    if len(patients) < 2:
        raise ValueError(
            f"the linear filter is fitted on other patients than the tested one, but all "
            f"{len(cases)} cases are of one; leave 'linear' out, or give a file: linear=filter.pt"
        )
    group = {patient: i % min(FOLDS, len(patients)) for i, patient in enumerate(patients)}
    parts = [_Equations(scale, taps) for _ in set(group.values())]
    for i in tqdm(_evenly(len(cases)), BAR, disable=not progress, leave=False):
        with suppress(*UNUSABLE) if keep_going else nullcontext():
            case = cases[i]
            parts[group[case.patient]].add(case, degrade)
    return CrossFitted([_solved([p for p in parts if p is not part]) for part in parts], group)


def _evenly(n: int) -> list[int]:
    """The places of `MOST` of n images, or of all where there are no more."""
    return [i * n // min(n, MOST) for i in range(min(n, MOST))]

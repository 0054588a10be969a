"""What all fixed readers share: the images they are shown, their answers, and tests of flips.

A reader is a network that was trained on other patients: a classifier, a segmenter, a detector. All
tables have a row per case and method, and whatever they measure is a number: with their columns id,
patient, label, method and region they go into `statistics.paired_difference` and `contrasts` as
they are (`metric="p_true"`, `method="ESPCN"`, `baseline="HR"`, `region="whole"`,
`reference=None`), which give intervals over patients. Every row follows from its own case alone:
many large images can be taken in parts, and the tables put together with `pandas.concat`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd
import torch
from statsmodels.stats.contingency_tables import mcnemar
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess.restored import REFERENCE, Method, on_device, restored
from medsr_lib.assess.statistics.estimate import FEW
from medsr_lib.case import Case, refuse_seen

ABOUT = ["id", "patient", "label"]

Network = Callable[[Tensor], Tensor]


def patches(
    methods: Mapping[str, Method],
    cases: Sequence[Case],
    *,
    degrade: Method,
    scale: int,
    where: Callable[[Tensor], tuple[slice, slice]],
    device: str = "auto",
) -> tuple[dict[str, Tensor], Tensor]:
    """Restore whole images by every method, and cut the same part from each.

    Args:
        methods: name -> LR (1, 1, h, w) -> SR (1, 1, H, W) in [0, 1]; none of them called HR.
        cases: with masks.
        degrade: HR -> LR.
        scale: of the degradation; images that it does not divide are centre-cropped, masks alike.
        where: mask (H, W) -> rows and columns, of one size for all cases.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.

    Returns:
        "HR" and each method -> (N, 1, P, Q) float32 in [0, 1], and the masks (N, 1, P, Q) bool, all
        on the CPU: what `classify` and `segment` take.

    Raises:
        TypeError, ValueError, RuntimeError: as `restored.restored`; a case without a mask, or what
            `where` refuses (names the case).
    """
    cut: dict[str, list[Tensor]] = {name: [] for name in (REFERENCE, *methods)}
    masks = []
    for found in restored(methods, cases, degrade=degrade, scale=scale, device=device):
        (case,) = found.cases
        if case.mask is None:
            raise ValueError(f"case {case.id} has no mask around which to cut")
        try:
            place = where(case.mask)
        except ValueError as error:
            raise ValueError(f"case {case.id}: {error}") from None
        masks.append(case.mask[place])
        for name, image in found.images.items():
            cut[name].append(image[0, 0][place].cpu())
    return {k: torch.stack(v)[:, None] for k, v in cut.items()}, torch.stack(masks)[:, None]


def answers(
    network: Network,
    images: Mapping[str, Tensor],
    *,
    shape: tuple[int, ...],
    batch: int,
    device: str,
) -> dict[str, Tensor]:
    """The network's logits (N, `shape`) of each method's images, on the CPU.

    The network is put into evaluation mode, and stays on the device it was on.

    Raises:
        TypeError, ValueError: invalid images, logits of another shape or not finite; names the
            method.
    """
    on = devices.choose(device)
    found: dict[str, Tensor] = {}
    n = sum(len(of_method) for of_method in images.values())
    bar = tqdm(total=n, desc="reading", unit="image", leave=False)
    with bar, on_device([network], on), torch.inference_mode():
        for method, of_method in images.items():
            image_rules.check(of_method, f"method {method!r}")
            parts = []
            for part in of_method.split(batch):
                logits = network(part.to(on)).cpu()
                if tuple(logits.shape) != (len(part), *shape):
                    raise ValueError(
                        f"method {method!r}: expected logits {(len(part), *shape)} for {len(part)} "
                        f"images, got {tuple(logits.shape)}"
                    )
                parts.append(logits)
                bar.update(len(part))
            found[method] = torch.cat(parts)
            if not torch.isfinite(found[method]).all():
                raise ValueError(f"method {method!r}: the logits hold NaN or infinite values")
    return found


def check_images(network: Network, images: Mapping[str, Tensor], cases: pd.DataFrame) -> None:
    """Refuse images that do not belong to the table of cases, or are not of one size.

    Raises:
        ValueError: a network that was trained on one of the cases, where the table has their
            `digest`; no images of the reference; as `check_cases`; images of another number than
            cases or another shape than HR's (names the method).
    """
    check_cases(cases)
    if "digest" in cases:
        refuse_seen({"the network": network}, list(cases.itertuples()))
    check_reference(images, REFERENCE)
    size = tuple(images[REFERENCE].shape)
    for method, of_method in images.items():
        if len(of_method) != len(cases):
            raise ValueError(f"method {method!r}: {len(of_method)} images, {len(cases)} cases")
        if tuple(of_method.shape) != size:
            raise ValueError(
                f"method {method!r}: images are {tuple(of_method.shape)}, of {REFERENCE!r} {size}"
            )


def check_cases(cases: pd.DataFrame) -> None:
    """Refuse a table of cases without id, patient and label, or in which one occurs twice."""
    missing = [name for name in ABOUT if name not in cases]
    if missing:
        raise ValueError(f"cases has no column {missing[0]!r}; it needs {', '.join(ABOUT)}")
    if (twice := cases["id"].duplicated()).any():
        raise ValueError(f"case {cases.loc[twice, 'id'].iloc[0]} occurs twice in cases")


def check_reference(methods: Collection[str], reference: str) -> None:
    """Refuse methods without the reference that they are compared with."""
    if reference not in methods:
        raise ValueError(
            f"no method {reference!r} to compare the others with; there are {list(methods)}"
        )


def flip_test(one: int, other: int, *, patients: int) -> float:
    """P of McNemar's exact test that as many cases flip one way as the other, by statsmodels.

    McNemar 1947, Psychometrika 12:153; two-sided, 1 where nothing flips. NaN below 8 patients.

    >>> flip_test(6, 0, patients=20), flip_test(0, 0, patients=20)
    (0.03125, 1.0)
    """
    if patients < FEW:
        return float("nan")
    return float(mcnemar([[0, one], [other, 0]], exact=True).pvalue)

"""Do decisions change? What a fixed classifier and a fixed segmenter say of SR and of HR.

Both tables have a row per slice and method, and whatever they measure is a number: with their
columns slice_id, patient, tumour, method and region they go into `statistics.paired_difference`
and `contrasts` as they are (`metric="p_true"`, `method="ESPCN"`, `baseline="HR"`,
`region="whole"`, `reference=None`), which give intervals over patients. Every row follows from its
own slice alone: many large slices can be taken in parts, and the tables put together with
`pandas.concat`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from medsr_lib import devices
from medsr_lib import images as image_rules
from medsr_lib.assess.quality.regions import RIM
from medsr_lib.assess.quality.score import REFERENCE, check_arguments, check_sr, on_device

Network = Callable[[Tensor], Tensor]
Where = Callable[[Tensor], tuple[slice, slice]]
Rule = Literal["dice", "covered"]
Mask = NDArray[np.bool_]

_ABOUT = ["slice_id", "patient", "tumour"]
_TOUCHING = np.ones((3, 3))  # pixels that share a corner belong to one component


def patches(
    methods: Mapping[str, Network],
    slices: Sequence[Any],
    *,
    degrade: Network,
    scale: int,
    where: Where,
    device: str = "auto",
    progress: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """Restore whole slices by every method, and cut the same part from each.

    Args:
        methods: name -> LR (B, 1, h, w) -> SR (B, 1, H, W) in [0, 1]; none of them called HR.
        slices: as for `score.score`.
        degrade: HR -> LR.
        scale: of the degradation; slices it does not divide are centre-cropped, mask alike.
        where: mask (H, W) -> rows and columns, of one size for all slices.
        device: where SR is computed; "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        "HR" and each method -> (N, 1, P, Q) float32 in [0, 1], and the masks (N, 1, P, Q) bool, all
        on the CPU: what `classify_decisions` and `segment_decisions` take.

    Raises:
        TypeError, ValueError: no slices or methods, a method called HR, what `where` refuses, or SR
            that `score.score` refuses too (names slice and method).
    """
    if REFERENCE in methods:
        raise ValueError(f"no method may be called {REFERENCE!r}: that is the reference")
    check_arguments(methods, slices, ("tumour",))
    on = devices.choose(device)
    cut: dict[str, list[Tensor]] = {name: [] for name in (REFERENCE, *methods)}
    masks = []
    with on_device(methods, on), torch.inference_mode():
        for s in tqdm(slices, "restoring", unit="slice", disable=not progress, leave=False):
            image, mask = (image_rules.centre_crop(t, multiple=scale) for t in (s.image, s.mask))
            try:
                place = where(mask)
            except ValueError as error:
                raise ValueError(f"slice {s.slice_id}: {error}") from None
            masks.append(mask[place])
            hr = image[None, None].to(on)
            cut[REFERENCE].append(image[place])
            lr = degrade(hr)
            for name, method in methods.items():
                sr = method(lr)
                check_sr(sr, hr, name, [s])
                cut[name].append(sr[0, 0][place].cpu())
    return {k: torch.stack(v)[:, None] for k, v in cut.items()}, torch.stack(masks)[:, None]


def classify_decisions(
    classifier: Network,
    images: Mapping[str, Tensor],
    slices: pd.DataFrame,
    *,
    classes: Sequence[str],
    reference: str = REFERENCE,
    batch: int = 64,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Ask a classifier for the tumour in the same slices, as each method shows them.

    Args:
        classifier: images (B, 1, H, W) -> logits (B, K); a network is put into evaluation mode, and
            stays on the device it was on. Not one trained on these patients.
        images: method -> (N, 1, H, W) in [0, 1]; `reference` among them.
        slices: a row per image, in their order: columns slice_id, patient, tumour; others are left.
        classes: the names of the logits in their order; `tumour` is one of them.
        reference: the method whose decisions the others are held against.
        batch: images classified together.
        device: "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        Columns slice_id, patient, tumour, method, region ("whole": what was shown), predicted (a
        name), then numbers: p_true, the softmax of the true class; right; flipped, whether
        `predicted` is another than on the reference; to_wrong and to_right, whether the slice was
        right on the reference alone, or here alone (each 0 or 1; a flip from wrong to wrong is
        neither); and `p <class>` for each class.

    Raises:
        TypeError, ValueError: methods without the reference or of images that do not belong to
            `slices`, slices that stand there twice or have a tumour that is no class, logits of
            another shape or not finite.
    """
    _check(images, slices, reference)
    names = list(classes)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"classes must be at least two names, none of them twice, got {names}")
    unknown = sorted(set(slices["tumour"]) - set(names))
    if unknown:
        raise ValueError(f"tumour {unknown[0]!r} is none of the classes {names}")
    truth = np.array([names.index(tumour) for tumour in slices["tumour"]])
    rows = np.arange(len(truth))
    p = {
        method: torch.softmax(logits.double(), 1).numpy()  # (N, K)
        for method, logits in _asked(
            classifier, images, (len(names),), batch, device, progress, "classifying"
        ).items()
    }
    given = {method: shares.argmax(1) for method, shares in p.items()}  # (N,)
    before = given[reference]
    tables = []
    for method, shares in p.items():
        now = given[method]
        numbers = {
            "p_true": shares[rows, truth],
            "right": now == truth,
            "flipped": now != before,
            "to_wrong": (before == truth) & (now != truth),
            "to_right": (before != truth) & (now == truth),
            **{f"p {name}": shares[:, k] for k, name in enumerate(names)},
        }
        tables.append(
            slices[_ABOUT].assign(
                method=method,
                region="whole",
                predicted=[names[k] for k in now],
                **{name: column.astype(float) for name, column in numbers.items()},
            )
        )
    return pd.concat(tables, ignore_index=True)


def classify_summary(table: pd.DataFrame, *, reference: str = REFERENCE) -> pd.DataFrame:
    """One row per method of what `classify_decisions` gave.

    Returns:
        Index method; columns slices, patients, accuracy, balanced (the mean over classes of the
        share found of each), auc (one class against the rest, the mean over classes: scikit-learn's
        `multi_class="ovr", average="macro"`; NaN if a class does not occur), p_true (mean),
        flipped, to_wrong, to_right (numbers of slices), and p of McNemar's exact test (McNemar
        1947, Psychometrika 12:153) that slices turn wrong as often as right; NaN for the reference.

    The test takes slices as independent. Where a patient has several, prefer
    `statistics.paired_difference` of `right`, whose p is over patients.

    Raises:
        ValueError: a table without the reference.
    """
    _check_reference(table["method"].unique(), reference)
    classes = [name.removeprefix("p ") for name in table.columns if name.startswith("p ")]
    rows: dict[str, dict[str, float]] = {}
    for method, of in table.groupby("method", sort=False, observed=True):
        areas = [_auc(of["tumour"] == name, of[f"p {name}"]) for name in classes]
        to_wrong, to_right = int(of["to_wrong"].sum()), int(of["to_right"].sum())
        rows[str(method)] = {
            "slices": len(of),
            "patients": of["patient"].nunique(),
            "accuracy": of["right"].mean(),
            "balanced": of.groupby("tumour", observed=True)["right"].mean().mean(),
            "auc": float(np.mean(areas)),
            "p_true": of["p_true"].mean(),
            "flipped": int(of["flipped"].sum()),
            "to_wrong": to_wrong,
            "to_right": to_right,
            "p": float("nan") if method == reference else _mcnemar(to_wrong, to_right),
        }
    return _summary(rows)


def segment_decisions(
    segmenter: Network,
    images: Mapping[str, Tensor],
    masks: Tensor,
    slices: pd.DataFrame,
    *,
    rule: Rule,
    least: float,
    min_pixels: int,
    margin: int = RIM,
    reference: str = REFERENCE,
    batch: int = 8,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Have a segmenter outline the tumour in the same slices, as each method shows them.

    A lesion is found by the rule "dice" if the Dice of outline and expert's mask is `least` or
    more, by the rule "covered" if the outline covers that share of the mask, however much else it
    covers. An invented lesion is a component of the outline (pixels that share an edge or a corner)
    of `min_pixels` or more, all of which lie farther than `margin` pixels from the mask. Some of
    them may be true: experts outline one lesion, and a slice may hold another. `new` counts those
    that share no pixel with the reference's outline, hence are not seen on HR.

    Args:
        segmenter: images (B, 1, H, W) -> logits (B, 1, H, W), a lesion where they are above 0; a
            network is put into evaluation mode, and stays on the device it was on. Not one trained
            on these patients.
        images: method -> (N, 1, H, W) in [0, 1]; `reference` among them.
        masks: (N, 1, H, W) bool, the expert's; may be empty.
        slices: a row per image, in their order: columns slice_id, patient, tumour; others are left.
        rule: "dice" or "covered": when a lesion is found.
        least: of the rule's share, above 0 and at most 1; 0.5 of Dice or 0.1 covered, for two.
        min_pixels: of an invented lesion, at the size of these images.
        margin: pixels around the mask in which nothing counts as invented.
        reference: the method whose decisions the others are held against.
        batch: images outlined together.
        device: "auto" takes CUDA, else MPS, else the CPU.
        progress: show a progress bar.

    Returns:
        Columns slice_id, patient, tumour, method, region ("tumour"), then numbers: mask_pixels;
        pixels (of the outline); dice; covered (the share of the mask in the outline); invented and
        new (numbers of lesions); found; lost and gained, whether it was found on the reference
        alone, or here alone (each 0 or 1). Where the mask is empty, dice, covered, found, lost and
        gained are NaN.

    Raises:
        TypeError, ValueError: methods without the reference or of images that do not belong to
            `slices` or to the masks, a rule that does not exist, logits of another shape or not
            finite.
    """
    _check(images, slices, reference)
    _check_design(images[reference], masks, rule, least, min_pixels, margin)
    size = tuple(masks.shape[1:])
    logits = _asked(segmenter, images, size, batch, device, progress, "outlining")
    outlines = {method: (found[:, 0] > 0).numpy() for method, found in logits.items()}
    expert = masks[:, 0].cpu().numpy()
    far = [ndimage.distance_transform_edt(~m) > margin if m.any() else ~m for m in expert]
    numbers: dict[str, pd.DataFrame] = {}
    found: dict[str, pd.Series] = {}
    for method, of_method in outlines.items():
        four = zip(of_method, expert, far, outlines[reference])
        numbers[method] = pd.DataFrame([_compare(*each, min_pixels) for each in four])
        share = numbers[method][rule]
        found[method] = (share >= least).astype(float).where(share.notna())
    before = found[reference]
    tables = []
    for method, measured in numbers.items():
        now = found[method]
        changes = {"found": now, "lost": before * (1 - now), "gained": (1 - before) * now}
        table = slices[_ABOUT].reset_index(drop=True).assign(method=method, region="tumour")
        tables.append(table.join(measured).assign(**changes))
    return pd.concat(tables, ignore_index=True)


def segment_summary(table: pd.DataFrame, *, reference: str = REFERENCE) -> pd.DataFrame:
    """One row per method of what `segment_decisions` gave.

    Returns:
        Index method; columns slices, patients, lesions (slices whose mask is not empty), dice
        (mean), dice_difference (from the reference, the mean over slices), found, lost, gained
        (numbers of slices), p of McNemar's exact test that lesions are lost as often as gained (NaN
        for the reference), invented, new (numbers of lesions), slices_invented (slices with any).

    The test takes slices as independent. Where a patient has several, prefer
    `statistics.paired_difference` of `found`, whose p is over patients.

    Raises:
        ValueError: a table without the reference.
    """
    _check_reference(table["method"].unique(), reference)
    before = table[table["method"] == reference].set_index("slice_id")["dice"]
    rows: dict[str, dict[str, float]] = {}
    for method, of in table.groupby("method", sort=False, observed=True):
        lost, gained = int(of["lost"].sum()), int(of["gained"].sum())
        rows[str(method)] = {
            "slices": len(of),
            "patients": of["patient"].nunique(),
            "lesions": int(of["found"].count()),
            "dice": of["dice"].mean(),
            "dice_difference": (of.set_index("slice_id")["dice"] - before).mean(),
            "found": int(of["found"].sum()),
            "lost": lost,
            "gained": gained,
            "p": float("nan") if method == reference else _mcnemar(lost, gained),
            "invented": int(of["invented"].sum()),
            "new": int(of["new"].sum()),
            "slices_invented": int((of["invented"] > 0).sum()),
        }
    return _summary(rows)


def _summary(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row per method, in their order; whole numbers stay whole."""
    return pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="method"))


def _compare(
    outline: Mask, mask: Mask, far: Mask, on_reference: Mask, min_pixels: int
) -> dict[str, float]:
    """The numbers of one slice and method, all masks (H, W)."""
    n, m, both = int(outline.sum()), int(mask.sum()), int((outline & mask).sum())
    none = float("nan")
    invented = _invented(outline, far, min_pixels)
    return {
        "mask_pixels": m,
        "pixels": n,
        "dice": 2 * both / (n + m) if m else none,
        "covered": both / m if m else none,
        "invented": len(invented),
        "new": sum(not (component & on_reference).any() for component in invented),
    }


def _invented(outline: Mask, far: Mask, min_pixels: int) -> list[Mask]:
    """The components that lie wholly in `far` and are large enough, (H, W) each."""
    labels, n = ndimage.label(outline, structure=_TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    near = set(np.unique(labels[~far]).tolist())
    return [labels == k for k in range(1, n + 1) if k not in near and sizes[k] >= min_pixels]


def _asked(
    network: Network,
    images: Mapping[str, Tensor],
    shape: tuple[int, ...],
    batch: int,
    device: str,
    progress: bool,
    title: str,
) -> dict[str, Tensor]:
    """The logits (N, *shape) of each method's images, on the CPU."""
    on = devices.choose(device)
    found: dict[str, Tensor] = {}
    n = sum(len(of_method) for of_method in images.values())
    bar = tqdm(total=n, desc=title, unit="image", disable=not progress, leave=False)
    with on_device({"": network}, on), torch.inference_mode():
        for method, of_method in images.items():
            parts = []
            for part in of_method.split(batch):
                logits = network(part.to(on)).cpu()
                if tuple(logits.shape) != (len(part), *shape):
                    raise ValueError(
                        f"expected logits {(len(part), *shape)} for {len(part)} images, got "
                        f"{tuple(logits.shape)}"
                    )
                parts.append(logits)
                bar.update(len(part))
            found[method] = torch.cat(parts)
            if not torch.isfinite(found[method]).all():
                raise ValueError(f"method {method!r}: the logits hold NaN or infinite values")
    bar.close()
    return found


def _auc(truth: pd.Series, p: pd.Series) -> float:
    """Area under the ROC curve; NaN where there is only one class."""
    return float(roc_auc_score(truth, p)) if truth.nunique() == 2 else float("nan")


def _mcnemar(one: int, other: int) -> float:
    """The two-sided exact p that discordant pairs fall either way alike; 1 if there are none."""
    return float(stats.binomtest(one, one + other, 0.5).pvalue) if one + other else 1.0


def _check(images: Mapping[str, Tensor], slices: pd.DataFrame, reference: str) -> None:
    missing = [name for name in _ABOUT if name not in slices]
    if missing:
        raise ValueError(f"slices has no column {missing[0]!r}; it needs {', '.join(_ABOUT)}")
    if slices["slice_id"].duplicated().any():
        twice = slices["slice_id"][slices["slice_id"].duplicated()].iloc[0]
        raise ValueError(f"slice {twice} stands in slices twice")
    _check_reference(images, reference)
    size = tuple(images[reference].shape)
    for method, of_method in images.items():
        image_rules.check(of_method, f"method {method!r}")
        if len(of_method) != len(slices):
            raise ValueError(f"method {method!r}: {len(of_method)} images, {len(slices)} slices")
        if tuple(of_method.shape) != size:
            raise ValueError(
                f"method {method!r}: images are {tuple(of_method.shape)}, of {reference!r} {size}"
            )


def _check_reference(methods: Any, reference: str) -> None:
    if reference not in methods:
        raise ValueError(
            f"no method {reference!r} to hold the others against, there are {list(methods)}; "
            "give `reference`"
        )


def _check_design(
    images: Tensor, masks: Tensor, rule: str, least: float, min_pixels: int, margin: int
) -> None:
    if masks.dtype != torch.bool:
        raise TypeError(f"masks: expected bool, got {masks.dtype}")
    if masks.shape != images.shape:
        raise ValueError(f"images are {tuple(images.shape)}, but masks {tuple(masks.shape)}")
    if rule not in get_args(Rule):
        raise ValueError(f"no rule {rule!r}; there are {', '.join(get_args(Rule))}")
    if not 0 < least <= 1:
        raise ValueError(f"least must be above 0 and at most 1, got {least}")
    if min_pixels < 1 or margin < 0:
        raise ValueError(
            f"min_pixels must be at least 1 and margin at least 0, got {min_pixels} and {margin}"
        )

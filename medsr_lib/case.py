"""One image with its patient, label and mask: what every room is given, whatever the source."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from medsr_lib import images

ALTERED = "altered"  # in `Case.about`: what was done to the image
DIGEST = "digest"  # in `Case.about`: that of the image as it was read, where it no longer is that

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, repr=False, eq=False)
class Case:
    """One 2-D image of a patient, normalised to [0, 1].

    Attributes:
        id: the name of the image, unique in its source, such as `1437` or `person1_bacteria_1`.
        patient: whose image it is. Splits, intervals and tests go by patient.
        label: its class, such as "glioma" or "PNEUMONIA"; "" where none is known.
        image: (H, W) float32 in [0, 1].
        mask: (H, W) bool, true inside the lesion; None where no lesion is outlined.
        fold: the fold that the source assigns; None where it assigns none.
        spacing: side of a pixel in mm; None where it is not known.
        about: what else the source knows, such as the range of the stored intensities.

    Raises:
        TypeError, ValueError: an image or mask of another kind, shape or range, or a spacing that
            is not positive; names the case.

    >>> Case("1", "103414", "glioma", torch.zeros(2, 3))
    Case(1: glioma, patient 103414, 2 x 3)
    """

    id: str
    patient: str
    label: str
    image: Tensor
    mask: Tensor | None = None
    fold: int | None = None
    spacing: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = f"case {self.id}"
        if not isinstance(self.image, Tensor) or self.image.dtype != torch.float32:
            found = getattr(self.image, "dtype", type(self.image).__name__)
            raise TypeError(f"{name}: expected an image (H, W) of float32 in [0, 1], got {found}")
        if self.image.ndim != 2:
            raise ValueError(f"{name}: expected an image (H, W), got {tuple(self.image.shape)}")
        images.check(self.image[None, None], f"{name}: image")
        if self.mask is not None:
            if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool:
                found = getattr(self.mask, "dtype", type(self.mask).__name__)
                raise TypeError(f"{name}: expected a mask (H, W) of bool, got {found}")
            if self.mask.shape != self.image.shape:
                raise ValueError(
                    f"{name}: image is {tuple(self.image.shape)}, mask {tuple(self.mask.shape)}; "
                    "they must be equal"
                )
        if self.spacing is not None and not self.spacing > 0:
            raise ValueError(f"{name}: spacing must be positive (mm), got {self.spacing}")

    @cached_property
    def digest(self) -> str:
        """Which image it is, whatever it is called: `digest` of the image as its source reads it.

        It stays when the image is cropped, altered, or kept smaller in a store.
        """
        return self.about.get(DIGEST) or digest(self.image)

    def cropped(self, multiple: int) -> "Case":
        """Image and mask cropped around the centre to the largest size that `multiple` divides.

        Raises:
            ValueError: the image is smaller than `multiple`; names the case.
        """
        try:
            image = images.centre_crop(self.image, multiple=multiple)
        except ValueError as error:
            raise ValueError(f"case {self.id}: {error}") from None
        if image.shape == self.image.shape:
            return self
        mask = None if self.mask is None else images.centre_crop(self.mask, multiple=multiple)
        return replace(self, image=image, mask=mask, about=self._known())

    def altered(self, image: Tensor, what: str) -> "Case":
        """The case with another image of its size, such as one with a lesion put in.

        `what` was done stays in `about`, so that images which others have restored from the
        original are not taken for this one.
        """
        return replace(self, image=image, about=self._known() | {ALTERED: what})

    def _known(self) -> dict[str, Any]:
        return {**self.about, DIGEST: self.digest}

    def __repr__(self) -> str:
        height, width = self.image.shape
        kind = self.label or "no label"
        lesion = "" if self.mask is None else f", lesion {int(self.mask.sum())} pixels"
        return f"Case({self.id}: {kind}, patient {self.patient}, {height} x {width}{lesion})"


def for_case(function: F, case: Case) -> F:
    """The function that is for one case: `function.of(case)` where it has `of`, else itself.

    A method or a degradation has `of` where it is not the same for all cases: images that another
    program has restored, LR images that were acquired, a filter fitted without the case's patient.
    """
    of = getattr(function, "of", None)
    return function if of is None else of(case)


def digest(image: Tensor) -> str:
    """Tell images (H, W) apart by their size and float32 pixels: 16 hexadecimal digits (BLAKE2b).

    1 ms for 512 x 512 pixels.
    """
    pixels = image.detach().to("cpu", torch.float32).contiguous().numpy()
    found = hashlib.blake2b(repr(pixels.shape[-2:]).encode(), digest_size=8)
    found.update(pixels.data)
    return found.hexdigest()


def digests(images: Any) -> frozenset[str]:
    """Which images these are: cases, rows of a store's table, a store, or tensors (H, W)."""
    if hasattr(images, "digests"):  # of a store, which need not look at its images
        return frozenset(images.digests)
    return frozenset(digest(one) if isinstance(one, Tensor) else one.digest for one in images)


def trained_on(method: object) -> frozenset[str]:
    """Digests of the cases that a method, or a part of it, was trained on; none if not known.

    A method says so by an attribute `trained_on`; any other `nn.Module` by those of its parts.
    """
    known = getattr(method, "trained_on", None)
    if known is None and isinstance(method, nn.Module):
        known = (one for part in method.children() for one in trained_on(part))
    return frozenset(known or ())


def refuse_seen(methods: Mapping[str, object], cases: Iterable[Any]) -> None:
    """Refuse methods that were trained on a case that is to be tested (or row of a store's table).

    Raises:
        ValueError: names the method and the first such case, and says how many more there are.
    """
    for name, method in methods.items():
        if (known := trained_on(method)) and (seen := known & digests(cases)):
            first = next(case.id for case in cases if case.digest in seen)
            are = f" (and {len(seen) - 1} more), which are" if len(seen) > 1 else ", which is"
            raise ValueError(
                f"{name} was trained on case {first}{are} tested here: test another fold, or "
                "train it anew without these cases"
            )

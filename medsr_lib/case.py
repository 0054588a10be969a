"""One image with its patient, label and mask: what every room is given, whatever the source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from medsr_lib import images

ALTERED = "altered"  # in `Case.about`: what was done to the image

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
        return replace(self, image=image, mask=mask)

    def altered(self, image: Tensor, what: str) -> "Case":
        """The case with another image of its size, such as one with a lesion put in.

        `what` was done stays in `about`, so that images which others have restored from the
        original are not taken for this one.
        """
        return replace(self, image=image, about={**self.about, ALTERED: what})

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

"""LR images that were acquired, or made elsewhere, in place of a simulated degradation."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from medsr_lib.case import ALTERED, Case
from medsr_lib.restore.degrade import check_scale
from medsr_lib.restore.foreign import stored


class Acquired:
    """Of each case its own LR image, found by the case's identity.

    It stands where a `Degradation` does, and differs from case to case (`case.for_case`). Nothing
    else can be degraded by it: what made these images is not known.

    Args:
        folder: of images called as the cases are: PNG, TIFF, NIfTI or .npy; what their values mean,
            `stored.Units` finds out.
        scale: 2, 3, 4 or 8.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: another scale.
    """

    name = "acquired"

    def __init__(self, folder: str | Path, *, scale: int) -> None:
        check_scale(scale)
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder {folder} of LR images")
        self.folder, self.scale, self.units = Path(folder), scale, stored.Units()

    def of(self, case: Case) -> Callable[[Tensor], Tensor]:
        """The function that gives LR (1, 1, h, w) of a case.

        Raises:
            FileNotFoundError: no LR image of this case.
            ValueError: one that does not have 1 / scale of the case's height and width.
            TypeError: a case with `altered` pixels.
        """
        if ALTERED in case.about:
            self(case.image)  # refuses
        pixels = stored.read(stored.find(self.folder, case.id))
        expected = tuple(n // self.scale for n in case.image.shape)
        if pixels.shape[:2] != expected or any(n % self.scale for n in case.image.shape):
            raise ValueError(
                f"the LR image of case {case.id} is {pixels.shape[:2]}, the case "
                f"{tuple(case.image.shape)}; at scale {self.scale} LR must be {expected}, and the "
                "case a multiple of it"
            )
        mean = functional.avg_pool2d(case.image[None, None], self.scale)[0, 0]
        lr = self.units.normalised(pixels, case, like=mean, name=f"the LR image of case {case.id}")
        return lambda hr: lr[None, None].to(hr.device)

    def __call__(self, hr: Tensor) -> Tensor:
        """Refuse: nothing new can be degraded.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{self.folder} holds LR images that were acquired; this measure degrades images anew "
            "and needs a degradation"
        )

    def __str__(self) -> str:
        return f"acquired ×{self.scale}"

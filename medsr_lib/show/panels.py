"""What the pictures are made of: checked images and masks, grey panels, outlines, enlargements."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from medsr_lib.case import Case
from medsr_lib.show.style import CONTOUR, INK

Image: TypeAlias = torch.Tensor | NDArray[Any]
Window: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are the first ones outside."""

WINDOW: Window = (0.0, 0.7)
"""Grey values shown as black and as white in slices of MRI, scaled by their own minimum and
maximum: brain lies at 0.2 to 0.4, the fat of the scalp may saturate."""

MARGIN = 20
"""Pixels around the lesion in an enlarged part."""

OUTLINE = "yellow line: outline of the lesion"

WHOLE, ENLARGED = plt.get_cmap("gray", 64), plt.get_cmap("gray", 256)
"""Whole slices are shown small, where 64 grey levels look the same and keep notebooks light."""


def as_array(values: Image, name: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Turn a tensor or an array into (H, W) float32; leading axes of length 1 go."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or (shape is not None and array.shape != shape):
        wanted = "(H, W), (1, H, W) or (1, 1, H, W)" if shape is None else str(shape)
        raise ValueError(f"{name} must have the shape {wanted}; got {np.shape(values)}")
    return array.astype(np.float32)


def as_image(image: Image, name: str) -> NDArray[np.float32]:
    """Turn into (H, W) float32 and refuse values far outside [0, 1], such as raw intensities."""
    array = as_array(image, name)
    low, high = float(array.min()), float(array.max())
    if not (low >= -0.5 and high <= 1.5):
        raise ValueError(f"{name} must lie in [0, 1]; got {low:g} to {high:g}: normalise it first")
    return array


def as_mask(mask: Image, shape: tuple[int, ...], name: str = "mask") -> NDArray[np.bool_]:
    """Turn into a boolean (H, W)."""
    return as_array(mask, name, shape) > 0.5


def same_size(
    images: Mapping[str, Image], shape: tuple[int, ...]
) -> dict[str, NDArray[np.float32]]:
    """Turn each into (H, W) float32 in [0, 1] and refuse what has not the size of HR."""
    pictures = {name: as_image(image, name) for name, image in images.items()}
    for name, pixels in pictures.items():
        if pixels.shape != shape:
            raise ValueError(f"{name} must have the size of hr {shape}; got {pixels.shape}")
    return pictures


def same_field(image: Image, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Turn into (h, w) float32 and refuse what cannot have the field of view of HR."""
    pixels = as_array(image, name)
    if pixels.shape[0] * shape[1] != pixels.shape[1] * shape[0]:
        raise ValueError(f"{name} must show the field of view of hr {shape}; got {pixels.shape}")
    return pixels


def hr_and_lesion(case: Case) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return image and mask of a case, and refuse one that has no mask."""
    if case.mask is None:
        raise ValueError(f"case {case.id} has no mask, and the figure shows its lesion")
    return case.image.cpu().numpy(), case.mask.cpu().numpy()


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """Make bare panels of the given inches."""
    size = (columns * width, rows * height)
    figure, panels = plt.subplots(rows, columns, figsize=size, layout="compressed", squeeze=False)
    for axes in panels.flat:
        bare(axes)
    return figure, panels


def bare(axes: Axes) -> None:
    """Take ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def grey(
    axes: Axes,
    image: NDArray[np.float32],
    window: Window,
    *,
    box: Box | None = None,
    field: tuple[int, ...] | None = None,
) -> None:
    """Draw an image in the fixed window.

    Args:
        axes: panel.
        image: (H, W).
        window: values shown as black and as white.
        box: part to enlarge, every pixel of the image visible; without it all is drawn.
        field: (H, W) of the coordinates, if the image is a smaller one of the same field of view.
    """
    bare(axes)
    height, width = field or image.shape
    axes.imshow(
        image,
        cmap=ENLARGED if box else WHOLE,
        vmin=window[0],
        vmax=window[1],
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest" if box else "antialiased",
        interpolation_stage="data",
    )
    if box:
        enlarge(axes, box)


def contour(
    axes: Axes, mask: NDArray[np.bool_] | None, *, width: float = 0.7, dotted: bool = False
) -> None:
    """Draw the outline of a mask over a dark halo, so that it is seen on bright and on dark.

    On a light map it is a dotted line, which hides little.
    """
    if mask is None or not mask.any() or mask.all():
        return
    if dotted:
        dots = [(0, (1, 1.8))]
        axes.contour(mask, levels=[0.5], colors=INK, linewidths=1, linestyles=dots)
    else:
        axes.contour(mask, levels=[0.5], colors="black", linewidths=width + 0.8, alpha=0.8)
        axes.contour(mask, levels=[0.5], colors=CONTOUR, linewidths=width)


def tint(axes: Axes, mask: NDArray[np.bool_], colour: str, strength: float) -> None:
    """Lay a translucent colour over the pixels of a mask."""
    layer = np.zeros((*mask.shape, 4), np.float32)
    layer[mask] = (*to_rgb(colour), strength)
    axes.imshow(layer, interpolation="nearest")


def coloured(axes: Axes, values: NDArray[Any], shades: str, low: float, high: float) -> AxesImage:
    """Draw a map in 65 shades, so that the middle has its own, and grey where it is NaN."""
    colours = plt.get_cmap(shades, 65).with_extremes(bad="#BDBDBD")
    return axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def colour_bar(axes: Axes, drawing: AxesImage, text: str) -> None:
    """Put the colour bar of maps, and what it means, into a panel that has no map of its own."""
    low, high = drawing.get_clim()
    inside = axes.inset_axes((0.1, 0.8, 0.8, 0.09))
    extend = "both" if low < 0 else "neither"
    bar = plt.colorbar(drawing, cax=inside, orientation="horizontal", extend=extend)
    ticks = [low, (low + high) / 2, high]
    texts = [f"{x:+g}".replace("-", "−") if low < 0 and x else f"{x:g}" for x in ticks]
    bar.set_ticks(ticks, labels=texts)
    inside.tick_params(labelsize=8.5)
    inside.set_xlabel(text, size=8.5)


def round_limit(values: Sequence[NDArray[Any]], share: float = 0.995) -> float:
    """Round the size that this share of all values does not exceed up to one digit.

    >>> round_limit([np.array([-0.032, 0.01])], share=1.0)
    0.04
    """
    sizes = np.abs(np.concatenate([np.ravel(part) for part in values]))
    sizes = sizes[np.isfinite(sizes)]
    reach = float(np.quantile(sizes, share)) if len(sizes) else 0.0
    if reach == 0:
        return 0.01
    step = 10.0 ** np.floor(np.log10(reach))
    return float(f"{np.ceil(reach / step) * step:.1g}")


def square_around(mask: NDArray[np.bool_], margin: int) -> Box:
    """Find the square around a mask, moved (and if need be made smaller) to lie in the slice."""
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to enlarge")
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    extent = max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * margin
    side = int(min(extent, *mask.shape))
    top = int(np.clip((rows[0] + rows[-1] + 1 - side) // 2, 0, mask.shape[0] - side))
    left = int(np.clip((columns[0] + columns[-1] + 1 - side) // 2, 0, mask.shape[1] - side))
    return left, top, left + side, top + side


def middle(shape: tuple[int, ...]) -> Box:
    """The square of half an image's shorter side in its middle."""
    side = min(shape) // 2
    top, left = ((n - side) // 2 for n in shape)
    return left, top, left + side, top + side


def window_of(image: NDArray[np.float32], box: Box) -> Window:
    """The values that 1 % and 99 % of the pixels in a box lie below."""
    low, high = np.percentile(part(image, box), [1, 99])
    return float(low), float(max(high, low + 0.01))


def enlarge(axes: Axes, box: Box) -> None:
    """Show only the pixels in the box."""
    left, top, right, bottom = box
    axes.set_xlim(left - 0.5, right - 0.5)
    axes.set_ylim(bottom - 0.5, top - 0.5)


def part(values: NDArray[Any], box: Box) -> NDArray[Any]:
    """Return the pixels in the box."""
    left, top, right, bottom = box
    return values[top:bottom, left:right]


def corners(axes: Axes, box: Box) -> None:
    """Mark the corners of the box on a whole image, so that nothing in it is covered."""
    left, top, right, bottom = (end - 0.5 for end in box)
    tick = (right - left) / 5
    for x, to_x in ((left, tick), (right, -tick)):
        for y, to_y in ((top, tick), (bottom, -tick)):
            axes.plot([x + to_x, x, x], [y, y, y + to_y], color="white", linewidth=1.2)

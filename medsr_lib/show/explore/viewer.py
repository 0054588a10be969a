"""The viewer of one image and what methods made of it; `viewer.js` draws it and answers the hand.

All pixels go to the browser once for each image, so that nothing waits for the kernel afterwards:
in a notebook through anywidget, in a page as text within it. Where neither can run there is a
still picture.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import ipywidgets as widgets  # type: ignore[import-untyped]
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from PIL.ImageColor import getrgb

from medsr_lib.show.explore import charts
from medsr_lib.show.panels import MARGIN, Box, Window, round_limit, square_around
from medsr_lib.show.style import CONTOUR, INK, colours

try:
    import anywidget
    import traitlets
except ModuleNotFoundError:  # as it may be on Kaggle: a still picture takes the viewer's place
    anywidget = traitlets = None  # type: ignore[assignment]

HERE = Path(__file__).parent
SCRIPT, STYLE = (
    "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
    for names in (("pixels.js", "viewer.js"), ("viewer.css",))
)
BUDGET = 1_400_000  # characters of one viewer in a page
SMALLEST = 96  # pixels of the longer side of what is left of an image that is too large for that
DIFFERENCE, AT_MOST = "SR − HR", 6
Array = NDArray[Any]


@dataclass(frozen=True)
class Scale:
    """What the colours of a map mean: from `low` to `high` through matplotlib's `colours`.

    Attributes:
        label: of the map, in a list.
        ends: what the first and the last colour mean, in words.
    """

    colours: str
    low: float
    high: float
    label: str
    ends: tuple[str, str]

    def as_stops(self) -> dict[str, Any]:
        """What `viewer.js` reads: some of the colours."""
        stops = 255 * matplotlib.colormaps[self.colours](np.linspace(0, 1, 33))[:, :3]
        of = {"low": self.low, "high": self.high, "label": self.label, "ends": self.ends}
        return of | {"colours": stops.round().astype(int).tolist()}


@dataclass(frozen=True, eq=False)
class Scene:
    """What the viewer shows.

    Attributes:
        title: of the image.
        hr: (H, W) in [0, 1].
        lr: (h, w) in [0, 1], of the same field of view.
        sr: (H, W) in [0, 1], by method; the difference from HR is shown of each.
        mask: (H, W), true inside the lesion.
        spacing: side of a pixel of HR in mm.
        maps: (H, W) by method, by the name of the map.
        scales: of the maps, by name.
        notes: a line for each image.
        window: values shown as black and as white; without it the 1st and the 99th percentile.
        enlarge: whether to begin with the lesion.
        corner: row and column of the first pixel in the image that this is a part of.
    """

    title: str
    hr: Array
    lr: Array | None = None
    sr: Mapping[str, Array] = field(default_factory=dict)
    mask: Array | None = None
    spacing: float | None = None
    maps: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    window: Window | None = None
    enlarge: bool = False
    corner: tuple[int, int] = (0, 0)

    @property
    def images(self) -> dict[str, Array]:
        """HR, LR if there is one, and SR by method."""
        return {"HR": self.hr} | ({} if self.lr is None else {"LR": self.lr}) | dict(self.sr)

    @property
    def shown(self) -> list[str]:
        """The names of what is shown at first: no LR, and not more than fit."""
        names = ["HR", *self.sr]
        return names if len(names) <= AT_MOST else [*names[: AT_MOST - 1], names[-1]]

    @property
    def automatic(self) -> Window:
        """The 1st and the 99th percentile of HR."""
        low, high = (float(of) for of in np.percentile(self.hr, (1, 99)))
        return low, max(high, low + 0.01)


def packed(scene: Scene, *, bits: int) -> tuple[dict[str, Any], bytes]:
    """What `viewer.js` reads: a description, and all pixels as whole numbers of 16 or 8 bits.

    0 stands for no value, 1 to the largest for the range of a layer. Of 8 bits each row holds the
    steps from pixel to pixel, and all is compressed.
    """
    layers = [(name, "", values, 0.0, 1.0) for name, values in scene.images.items()]
    for key, of in scene.maps.items():
        low = min([scene.scales[key].low, *(float(np.nanmin(values)) for values in of.values())])
        high = max([scene.scales[key].high, *(float(np.nanmax(values)) for values in of.values())])
        layers += [(name, key, values, low, high) for name, values in of.items()]
    if scene.mask is not None:
        layers.append(("mask", "", scene.mask, 0.0, 1.0))
    parts = []
    for _, _, values, low, high in layers:
        shares = (np.asarray(values, np.float32) - low) / (high - low)
        whole = np.nan_to_num(np.clip(shares, 0, 1) * (2**bits - 2) + 1.5)
        part = whole.astype("<u2" if bits == 16 else np.uint8)
        parts.append(part if bits == 16 else np.diff(part, axis=1, prepend=part[:, :1] * 0))
    data = b"".join(part.tobytes() for part in parts)
    tones = colours(scene.images)
    about = {
        "id": f"{scene.title} {crc32(scene.hr.tobytes())}",
        "title": scene.title,
        "height": scene.hr.shape[0],
        "width": scene.hr.shape[1],
        "bits": bits,
        "layers": [
            {"image": n, "map": key, "height": v.shape[0], "width": v.shape[1], "low": a, "high": b}
            for n, key, v, a, b in layers
        ],
        "images": [
            {"name": name, "colour": tones[name], "note": scene.notes.get(name, "")}
            for name in scene.images
        ],
        "maps": {name: scale.as_stops() for name, scale in _scales(scene).items()},
        "shown": scene.shown,
        "window": scene.window or scene.automatic,
        "auto": scene.automatic,
        "enlarge": scene.enlarge,
        "margin": MARGIN,
        "spacing": scene.spacing,
        "corner": scene.corner,
    }
    return about, data if bits == 16 else zlib.compress(data, 6)


def page_html(scenes: Iterable[Scene], *, budget: int = BUDGET) -> str:
    """A viewer as a piece of HTML that needs nothing else: of as many images as the budget allows.

    Of a first image that is too large for it, the part around the lesion is left, or the middle.
    """
    cases: list[str] = []
    for scene in scenes:
        text = _case(scene)
        while not cases and len(text) > budget and max(scene.hr.shape) > SMALLEST:
            scene = _cropped(scene)
            text = _case(scene)
        if sum(map(len, cases)) + len(text) > budget:
            break
        cases.append(text)
    name = f"viewer-{crc32(''.join(cases).encode()):08x}"
    return (
        f'<div class="mv-page" id="{name}"><style>{STYLE}</style>'
        f'<script type="application/json">[{",".join(cases)}]</script></div>'
        f'<script type="module">{SCRIPT}\nshowCases(document.getElementById("{name}"));</script>'
    )


def still(scene: Scene) -> charts.Pixels:
    """What the viewer shows at first, as a picture."""
    low, high = scene.window or scene.automatic
    box = (0, 0, scene.hr.shape[1], scene.hr.shape[0])
    if scene.enlarge and scene.mask is not None and scene.mask.any():
        box = square_around(scene.mask, MARGIN)
    names, gap, head = scene.shown, 6, 24
    columns = min(3, len(names))
    factor = (512 if columns == 1 else 360) / max(box[2] - box[0], box[3] - box[1])
    width, height = round(factor * (box[2] - box[0])), round(factor * (box[3] - box[1]))
    size = columns * (width + gap) - gap, -(-len(names) // columns) * (height + head + gap) - gap
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(names):
        x, y = place % columns * (width + gap), place // columns * (height + head + gap)
        levels = (_part(scene.images[name], box, scene.hr.shape) - low) / (high - low)
        tile = Image.fromarray((255 * np.clip(levels, 0, 1)).astype(np.uint8))
        tile = tile.resize((width, height), Image.Resampling.NEAREST).convert("RGB")
        if scene.mask is not None:
            mask = Image.fromarray(_part(scene.mask, box, scene.hr.shape))
            mask = mask.resize((width, height), Image.Resampling.NEAREST).convert("L")
            for reach, tone in ((7, "black"), (3, CONTOUR)):
                ring = np.asarray(mask.filter(ImageFilter.MaxFilter(reach))) > np.asarray(mask)
                tile.paste(getrgb(tone), mask=Image.fromarray(ring))
        sheet.paste(tile, (x, y + head))
        text = " · ".join(filter(None, (name if scene.sr else scene.title, scene.notes.get(name))))
        draw.text((x, y + 4), text, getrgb(INK), charts.font(13))
    return np.asarray(sheet)


if anywidget is None:

    class Viewer(widgets.HTML):
        """The still picture."""

        def show(self, scene: Scene) -> None:
            """Show a case."""
            self.value = charts.img(still(scene), scene.title)

else:

    class Viewer(anywidget.AnyWidget):  # type: ignore[no-redef]
        """The viewer of `viewer.js` in a notebook."""

        _esm, _css = SCRIPT, STYLE
        about = traitlets.Dict().tag(sync=True)
        data = traitlets.Bytes().tag(sync=True)

        def show(self, scene: Scene) -> None:
            """Show a case; what was chosen in the viewer stays chosen."""
            about, data = packed(scene, bits=16)
            with self.hold_sync():
                self.data, self.about = data, about


def _scales(scene: Scene) -> dict[str, Scale]:
    """Of all maps, with the difference from HR, which needs no pixels of its own."""
    if not scene.sr:
        return dict(scene.scales)
    limit = round_limit([(sr - scene.hr)[::2, ::2] for sr in scene.sr.values()])
    ends = (f"−{limit:g}: darker than HR", f"+{limit:g}: brighter than HR (white: equal)")
    return {DIFFERENCE: Scale("RdBu_r", -limit, limit, "difference, SR − HR", ends), **scene.scales}


def _case(scene: Scene) -> str:
    """A case of a page as JSON that is safe in HTML."""
    about, data = packed(scene, bits=8)
    about["data"] = base64.b64encode(data).decode()
    return json.dumps(about).replace("<", "\\u003c")


def _cropped(scene: Scene) -> Scene:
    """Half the width and height, around the lesion if there is one."""
    (height, width), scale = scene.hr.shape, 1
    if scene.lr is not None:
        scale = height // scene.lr.shape[0]
    high, wide = (max(scale, n // 2 // scale * scale) for n in (height, width))
    y, x = height / 2, width / 2
    if scene.mask is not None and scene.mask.any():
        y, x = np.argwhere(scene.mask).mean(0)
    top, left = (
        int(np.clip(at - n / 2, 0, of - n)) // scale * scale
        for at, n, of in ((y, high, height), (x, wide, width))
    )
    cut = partial(_part, box=(left, top, left + wide, top + high), shape=scene.hr.shape)
    return replace(
        scene,
        hr=cut(scene.hr),
        lr=None if scene.lr is None else cut(scene.lr),
        mask=None if scene.mask is None else cut(scene.mask),
        sr={name: cut(of) for name, of in scene.sr.items()},
        maps={key: {name: cut(of) for name, of in of.items()} for key, of in scene.maps.items()},
        corner=(scene.corner[0] + top, scene.corner[1] + left),
    )


def _part(values: Array, box: Box, shape: tuple[int, ...]) -> Array:
    """What of an image with the field of view of (H, W) lies in a box of it."""
    factor = values.shape[0] / shape[0]
    left, top, right, bottom = (round(of * factor) for of in box)
    return values[top:bottom, left:right]

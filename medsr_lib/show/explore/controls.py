"""The controls that explorers share: lists, boxes to tick and sliders; which case, which window."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import pandas as pd

from medsr_lib.case import Case
from medsr_lib.show.explore.base import Explorer
from medsr_lib.show.panels import Window
from medsr_lib.show.style import count, plural

ALL, NO_LABEL = "all", "no label"
WINDOW: Window = (0.0, 0.7)
REACH = 512  # pixels to drag for the whole intensity range
NAME = {"description_width": "initial"}


def choice(name: str, options: Any, value: Any = None, **rest: Any) -> Any:
    """A drop-down list with its whole name."""
    if value is not None:
        rest["value"] = value
    layout = widgets.Layout(width="auto", min_width="15em")
    return widgets.Dropdown(options=options, description=name, style=NAME, layout=layout, **rest)


def offer(control: Any, options: Sequence[Any], instead: Any = None) -> None:
    """Give a list its options; what was chosen stays chosen if it is still there."""
    if list(control.options) != list(options):
        before = control.value
        control.options = options
        control.value = before if before in options else instead


def tick(name: str, value: bool) -> Any:
    """A box to tick."""
    layout = widgets.Layout(width="auto", margin="2px 14px 2px 2px")
    return widgets.Checkbox(value=value, description=name, indent=False, layout=layout)


def slider(name: str, value: float, low: float, high: float, step: float = 1, **rest: Any) -> Any:
    """A slider with its whole name; arrow keys move it."""
    whole = isinstance(step, int)
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    reach = {"value": int(value) if whole else value, "min": low, "max": high, "step": step}
    layout = widgets.Layout(width="auto", min_width="22em", max_width="40em", flex="1 1 24em")
    return kind(**reach, description=name, style=NAME, layout=layout, **rest)


def visible(control: Any, shown: bool) -> None:
    """Show a control on the page, or hide it."""
    control.layout.display = None if shown else "none"


class Chooser:
    """Lists of labels and patients of an explorer, and a slider over the cases that are left.

    `to` is called when another case is chosen; if `live`, while the slider is still being moved.
    `at` is the place of the first, and `outlined` tells whether any case has a lesion outlined.

    Raises:
        ValueError: no sequence of cases, none in it, or no place `at`.
    """

    def __init__(
        self,
        owner: Explorer,
        cases: Sequence[Case],
        to: Callable[[], None],
        *,
        at: int = 0,
        live: bool = False,
    ) -> None:
        self.cases, self.owner, self.to = cases, owner, to
        self.table = index(cases)
        if not 0 <= at < len(self.table):
            raise ValueError(f"at is {at}; it must be from 0 to {len(self.table) - 1}")
        self.outlined = bool(self.table["outlined"].any())
        self.label = choice("Label", [ALL, *sorted(self.table["label"].unique())])
        self.patient = choice("Patient", [ALL, *sorted(self.table["patient"].unique())])
        self.image = slider("Image", 1, 1, 1, continuous_update=live)
        self._narrow()
        self.image.value = at + 1
        self.controls = {"label": self.label, "patient": self.patient, "image": self.image}
        owner.listen(self.label, to=self._change_label)
        owner.listen(self.patient, to=self._change_patient)
        owner.listen(self.image, to=to)
        self._last: tuple[int, Case] | None = None

    @property
    def position(self) -> int:
        """Of the chosen case in all cases."""
        return int(self.chosen[self.image.value - 1])

    @property
    def case(self) -> Case:
        """The chosen case, read once.

        Raises:
            ValueError: it cannot be read; names it.
        """
        if self._last is None or self._last[0] != self.position:
            try:
                self._last = self.position, self.cases[self.position]
            except Exception as error:
                name = self.table["id"].iloc[self.position]
                raise ValueError(f"image {name} cannot be read: {error}") from error
        return self._last[1]

    def line(self) -> str:
        """What the chosen case is."""
        case, (height, width) = self.case, self.case.image.shape
        lesion = 0 if case.mask is None else int(case.mask.sum())
        parts = (
            f"image {case.id}",
            case.label or NO_LABEL,
            f"patient {case.patient}",
            None if case.fold is None else f"fold {case.fold}",
            f"{height} × {width} pixels",
            f"lesion {count(lesion)} pixels, {100 * lesion / (height * width):.2g} % of the image"
            if case.mask is not None
            else None,
            f"{self.image.value} of {plural(len(self.chosen), 'image')} chosen",
        )
        return " · ".join(filter(None, parts))

    def _change_label(self) -> None:
        of_label = self.table["label"].isin([self.label.value]) | (self.label.value == ALL)
        with self.owner.quietly():
            self.patient.options = [ALL, *sorted(self.table["patient"][of_label].unique())]
            self.patient.value = ALL
        self._change_patient()

    def _change_patient(self) -> None:
        with self.owner.quietly():
            self._narrow()
        self.to()

    def _narrow(self) -> None:
        """Leave the images of the chosen label and patient, and choose the first of them."""
        rows = self.table
        for name, control in (("label", self.label), ("patient", self.patient)):
            if control.value != ALL:
                rows = rows[rows[name] == control.value]
        self.chosen = rows.index
        self.image.value = 1
        self.image.max = len(rows)
        self.image.description = f"Image, 1 to {len(rows)}"


class Greys:
    """The grey window of an explorer: its middle and its width, as at a workstation; `to` is called
    when it is set.
    """

    def __init__(self, owner: Explorer, to: Callable[[], None], window: Window) -> None:
        self.owner, self.to = owner, to
        low, high = window
        self.level = slider("Window level", (low + high) / 2, 0, 1, 0.01, readout_format=".2f")
        self.width = slider("Window width", high - low, 0.02, 1.5, 0.01, readout_format=".2f")
        self.controls = {"level": self.level, "width": self.width}
        owner.listen(self.level, self.width, to=to)

    @property
    def window(self) -> Window:
        """Values shown as black and as white."""
        middle, half = self.level.value, self.width.value / 2
        return middle - half, middle + half

    def drag(self, dx: int, dy: int) -> None:
        """Follow the mouse: to the right the window grows wider, downwards its level rises."""
        with self.owner.quietly():
            self.width.value += dx / REACH
            self.level.value += dy / REACH
        self.to()


def index(cases: Sequence[Case]) -> pd.DataFrame:
    """A row per case, numbered from 0: id, patient and label as text, and whether it is outlined.

    Raises:
        ValueError: no sequence of cases, or none in it.
    """
    if isinstance(cases, str | dict) or not hasattr(cases, "__getitem__"):
        raise ValueError(
            f"cases must be a sequence of Case, such as a store; got {type(cases).__name__}"
        )
    if not len(cases):
        raise ValueError("there are no images to show: the store or list is empty")
    rows = getattr(cases, "table", None)
    if rows is None:
        rows = pd.DataFrame(
            {
                "id": case.id,
                "patient": case.patient,
                "label": case.label,
                "mask_pixels": 0 if case.mask is None else int(case.mask.sum()),
            }
            for case in cases
        )
    rows = rows.reset_index(drop=True)
    texts = {name: rows[name].fillna("").astype(str) for name in ("id", "patient", "label")}
    texts["label"] = texts["label"].replace("", NO_LABEL)
    return pd.DataFrame({**texts, "outlined": rows["mask_pixels"].fillna(0) > 0})

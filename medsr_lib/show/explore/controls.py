"""The controls that explorers share: lists, boxes to tick and sliders; which case."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import numpy as np
import pandas as pd

from medsr_lib.case import Case
from medsr_lib.show.explore.base import Explorer
from medsr_lib.show.explore.viewer import HERE, STYLE
from medsr_lib.show.style import count, plural

try:
    import anywidget
    import traitlets
except ModuleNotFoundError:  # as it may be on Kaggle
    anywidget = None  # type: ignore[assignment]

ALL, NO_LABEL = "all", "no label"
MORE = 5  # cases that a page has beside the chosen one, at most
NAME = {"description_width": "initial"}

if anywidget is None:

    class IntSlider(widgets.IntSlider):
        """That of ipywidgets."""

else:

    class IntSlider(anywidget.AnyWidget):  # type: ignore[no-redef]
        """A slider whose name a screen reader says, which that of ipywidgets keeps to itself."""

        _esm, _css = HERE / "slider.js", STYLE
        value, min, max = (traitlets.Int().tag(sync=True) for _ in range(3))
        description = traitlets.Unicode().tag(sync=True)
        continuous_update = traitlets.Bool(False).tag(sync=True)

        @traitlets.validate("value")
        def _within(self, proposal: Any) -> int:
            return int(np.clip(proposal["value"], self.min, self.max))


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


def slider(name: str, value: int, low: int, high: int, *, live: bool = False) -> Any:
    """A slider with its whole name; arrow keys move it. If `live`, it answers while it moves."""
    layout = widgets.Layout(width="auto", min_width="22em", max_width="40em", flex="1 1 24em")
    made = IntSlider(min=low, max=high, continuous_update=live, description=name, layout=layout)
    made.value = value
    return made


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
        self.image = slider("Image", 1, 1, 1, live=live)
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
        return self.read(self.position)

    def read(self, place: int) -> Case:
        """The case at a place in all cases; raises as `case`."""
        if self._last is None or self._last[0] != place:
            try:
                self._last = place, self.cases[place]
            except Exception as error:
                name = self.table["id"].iloc[place]
                raise ValueError(f"image {name} cannot be read: {error}") from error
        return self._last[1]

    def others(self) -> Iterator[int]:
        """Places of others among the chosen cases, from the first to the last."""
        places = np.linspace(0, len(self.chosen) - 1, MORE).round().astype(int)
        return (int(n) for n in self.chosen[np.unique(places)] if n != self.position)

    def name(self, case: Case) -> str:
        """What a case is called above its picture."""
        return f"{case.id}, {case.label or NO_LABEL}, patient {case.patient}"

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

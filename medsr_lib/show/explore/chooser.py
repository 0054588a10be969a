"""Which slice, by tumour type and patient, and in which grey window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medsr_lib.show.explore.base import Explorer, choice, slider
from medsr_lib.show.panels import Box, Window, square_around
from medsr_lib.show.style import count, plural

ALL = "all"
WINDOW: Window = (0.0, 0.7)
REACH = 512
"""Pixels to drag for the whole intensity range."""


@dataclass(frozen=True)
class Kind:
    """What is shown: slices with a tumour outlined, or images of which only the class is known."""

    one: str
    group: str
    outlined: bool


SLICES = Kind("slice", "Tumour type", True)
IMAGES = Kind("image", "Class", False)


class Chooser:
    """Drop-down lists of tumour types and patients, and a slider over the slices that are left.

    Args:
        owner: whose controls these are.
        slices: a sequence of slices; the `table` of a pack spares reading them all.
        to: called when another slice is chosen.
        live: choose while the slider is still being moved.
    """

    def __init__(
        self, owner: Explorer, slices: Sequence[Any], to: Callable[[], None], *, live: bool
    ) -> None:
        self.slices, self.owner, self.to = slices, owner, to
        self.table, self.kind = index(slices), kind_of(slices)
        types = sorted(self.table["tumour"].unique())
        self.tumour = choice(self.kind.group, [ALL, *types])
        self.patient = choice("Patient", [ALL])
        self.place = slider(self.kind.one.capitalize(), 1, 1, 1, 1, continuous_update=live)
        self.chosen = self.table.index
        self._narrow_patients()
        owner.listen(self.tumour, to=self._other_tumour)
        owner.listen(self.patient, to=self._other_patient)
        owner.listen(self.place, to=to)

    @property
    def controls(self) -> dict[str, Any]:
        """By name."""
        return {"tumour": self.tumour, "patient": self.patient, "slice": self.place}

    @property
    def position(self) -> int:
        """Of the chosen slice in all slices."""
        return int(self.chosen[self.place.value - 1])

    def read(self) -> Any:
        """The chosen slice."""
        try:
            return self.slices[self.position]
        except Exception as error:
            name = self.table["slice_id"].iloc[self.position]
            raise ValueError(f"{self.kind.one} {name} cannot be read: {error}") from error

    def begin_at(self, place: int) -> None:
        """Choose the slice at this place in all slices.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 <= place < len(self.table):
            raise ValueError(f"at is {place}; it must be from 0 to {len(self.table) - 1}")
        with self.owner.quietly():
            self.place.value = place + 1

    def line(self, fold: Any, mask: Any) -> str:
        """What the chosen slice is."""
        row = self.table.iloc[self.position]
        height, width = mask.shape
        parts = (
            f"{self.kind.one} {row['slice_id']}",
            row["tumour"],
            f"patient {row['patient']}",
            None if fold is None else f"fold {fold}",
            f"{height} × {width} pixels",
            f"tumour {count(mask.sum())} pixels, {100 * mask.mean():.2g} % of the slice"
            if self.kind.outlined
            else None,
            f"{self.place.value} of {plural(len(self.chosen), self.kind.one)} chosen",
        )
        return " · ".join(filter(None, parts))

    def _other_tumour(self) -> None:
        with self.owner.quietly():
            self._narrow_patients()
        self.to()

    def _other_patient(self) -> None:
        with self.owner.quietly():
            self._narrow_slices()
        self.to()

    def _narrow_patients(self) -> None:
        rows = self.table
        if self.tumour.value != ALL:
            rows = rows[rows["tumour"] == self.tumour.value]
        self.patient.options = [ALL, *sorted(rows["patient"].unique())]
        self.patient.value = ALL
        self._narrow_slices()

    def _narrow_slices(self) -> None:
        rows = self.table
        for name, control in (("tumour", self.tumour), ("patient", self.patient)):
            if control.value != ALL:
                rows = rows[rows[name] == control.value]
        self.chosen = rows.index
        self.place.value = 1
        self.place.max = len(rows)
        self.place.description = f"{self.kind.one.capitalize()}, 1 to {len(rows)}"


class Greys:
    """The grey window: its middle and its width, as at a workstation."""

    def __init__(self, owner: Explorer, to: Callable[[], None], window: Window = WINDOW) -> None:
        self.owner, self.to = owner, to
        low, high = window
        self.level = slider("Window level", (low + high) / 2, 0, 1, 0.01, readout_format=".2f")
        self.width = slider("Window width", high - low, 0.02, 1.5, 0.01, readout_format=".2f")
        owner.listen(self.level, self.width, to=to)

    @property
    def controls(self) -> dict[str, Any]:
        """By name."""
        return {"level": self.level, "width": self.width}

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


def kind_of(slices: Sequence[Any]) -> Kind:
    """Images are what has no mask, such as radiographs."""
    try:
        return SLICES if hasattr(slices[0], "mask") else IMAGES
    except Exception:
        return SLICES  # what is wrong with it is said where it is shown


def mask_of(chosen: Any) -> Any:
    """Its mask; an empty one where it has none."""
    return chosen.mask if hasattr(chosen, "mask") else np.zeros(np.shape(chosen.image), bool)


def index(slices: Sequence[Any]) -> pd.DataFrame:
    """A row per slice with slice_id, tumour and patient as text; numbered from 0.

    Of images these are their image_id and label.

    Raises:
        ValueError: nothing that slices could be taken from, or none in it.
    """
    if isinstance(slices, str | dict) or not (
        hasattr(slices, "__len__") and hasattr(slices, "__getitem__")
    ):
        raise ValueError(
            f"slices must be a sequence of slices, such as a pack; got {type(slices).__name__}"
        )
    if not len(slices):
        raise ValueError("there are no slices to show: the pack or list is empty")
    known = getattr(slices, "table", None)
    if isinstance(known, pd.DataFrame) and len(known) == len(slices):
        rows = known.reset_index(drop=True)
    else:
        names = ("slice_id", "image_id", "tumour", "label", "patient", "patient_id")
        rows = pd.DataFrame([{name: getattr(s, name, None) for name in names} for s in slices])
    others = {"slice_id": "image_id", "tumour": "label", "patient": "patient_id"}
    for name, other in others.items():
        if name not in rows or rows[name].isna().all():
            rows = rows.assign(**{name: rows.get(other)})
    numbers = pd.Series([str(number) for number in range(len(rows))])
    return pd.DataFrame(
        {
            "slice_id": _texts(rows, "slice_id", numbers),
            "tumour": _texts(rows, "tumour", "unknown"),
            "patient": _texts(rows, "patient", "unknown"),
        }
    )


def box_around(mask: Any, margin: int) -> Box | None:
    """The square around a tumour; None where the mask is empty."""
    return square_around(mask, margin) if mask.any() else None


def _texts(rows: pd.DataFrame, name: str, instead: Any) -> pd.Series:
    if name not in rows:
        return pd.Series(instead, index=rows.index)
    text = rows[name].astype(object)
    return text.where(text.notna(), instead).astype(str)

"""Which file is whose mask, and which patient's: images and lesion masks as most people keep them.

Names alone decide here; `folder` and `volumes` read what is found. Hidden files are passed over. A
file that cannot be used is an entry with a `fault`, so that it is reported like any other bad file.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
VOLUMES = (".nii", ".nii.gz")
PLANES = ("sagittal", "coronal", "axial")
TABLE = "cases.csv"
_MASK = re.compile(r"(?P<stem>.+?)[_-](?:mask|segmentation|seg)(?:_?\d+)?", re.IGNORECASE)
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "segmentations", "labelstr")
_SEQUENCES = ("t1c", "t1ce", "t1gd", "t1n", "t1", "t2w", "t2f", "t2", "flair")  # the default first
_BRATS = re.compile(rf"(?P<case>.+)[-_](?P<what>{'|'.join(_SEQUENCES)}|seg)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """How a folder of images and masks is to be understood, where its names do not tell.

    Attributes:
        layout: one of `source.LAYOUTS`; None finds it out.
        mask_pattern: the name of a mask without its ending, `{stem}` for that of its image and `*`
            for anything: "{stem}_roi*". None: `_mask`, `_seg` or `_segmentation`, and perhaps a
            number.
        patient_pattern: a regular expression that is searched in the path below the folder; its
            group `patient` or its first group is the patient, a group `label` the label.
        lesion_labels: the values of a mask, or numbers of segments, that are the lesion.
        channel: of several, the one to read: "0001" (nnU-Net), "t1n" (BraTS), "FLAIR" (BIDS), or a
            number counted from 0 (colours, 4-D volumes). None: the contrast-enhanced T1 of BraTS,
            T1w of BIDS, else the first; colours are refused.
        plane: in which volumes are cut: "sagittal", "coronal" or "axial". None: across the axis
            of the largest spacing, axial where all are equal.
        slices: how many of a volume, those of the largest lesion area; None: all with a lesion.
        least_area: of the lesion in a slice, in mm² (pixels where the spacing is not known).
        percentiles: of a slice's intensities that become 0 and 1. None: (0, 100), its minimum and
            maximum, for image files, and (0.5, 99.5) for volumes.

    Raises:
        ValueError: a value that is out of range, or an invalid pattern.
    """

    layout: str | None = None
    mask_pattern: str | None = None
    patient_pattern: str | None = None
    lesion_labels: tuple[int, ...] | None = None
    channel: str | None = None
    plane: str | None = None
    slices: int | None = 1
    least_area: float = 0.0
    percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.plane not in (None, *PLANES):
            raise ValueError(f"plane must be one of {', '.join(PLANES)}, got {self.plane!r}")
        if self.slices is not None and self.slices < 1:
            raise ValueError(f"slices must be at least 1, or None for all, got {self.slices}")
        if not self.least_area >= 0:
            raise ValueError(f"least_area must not be negative, got {self.least_area}")
        low, high = self.percentiles or (0, 100)
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must rise within 0 to 100, got {self.percentiles}")
        if self.mask_pattern is not None and "{stem}" not in self.mask_pattern:
            raise ValueError(f"mask_pattern needs {{stem}} in it, got {self.mask_pattern!r}")
        try:
            re.compile(self.patient_pattern or "")
        except re.error as error:
            raise ValueError(
                f"patient_pattern {self.patient_pattern!r} is no regular expression: {error}"
            ) from None

    def base(self, stem: str) -> str | None:
        """The name of the image whose mask is called `stem`; None where that is no mask."""
        if self.mask_pattern is None:
            found = _MASK.fullmatch(stem)
        else:
            escaped = re.escape(self.mask_pattern).replace(r"\{stem\}", "(?P<stem>.+?)", 1)
            found = re.fullmatch(escaped.replace(r"\*", ".*"), stem)
        return found and found["stem"]

    @property
    def number(self) -> int | None:
        """The channel as a number, where it is one."""
        return int(self.channel) if self.channel and self.channel.isdigit() else None


DEFAULTS = Options()
_MADE: dict[str, Callable[[Any], Any]] = {  # of what YAML and command lines can write
    "lesion_labels": lambda given: tuple(given) if isinstance(given, list | tuple) else (given,),
    "channel": str,
    "slices": lambda given: None if given == "all" else int(given),
    "least_area": float,
    "percentiles": lambda given: (float(given[0]), float(given[1])),
}


def options_of(given: Mapping[str, Any]) -> Options:
    """The options that a parameter of a notebook or a command line gives, by name.

    Lists become tuples, a single label becomes one of one, and `slices` may be "all".

    Raises:
        ValueError: an unknown option, or a value that it does not take.
    """
    known = [field.name for field in fields(Options)]
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"no option {', '.join(unknown)}; there are {', '.join(known)}")
    values = dict(given)
    for name, make in _MADE.items():
        try:
            if values.get(name) is not None:
                values[name] = make(values[name])
        except (TypeError, ValueError, LookupError):
            raise ValueError(f"{name} cannot be {given[name]!r}; see layouts.Options") from None
    texts = ("layout", "mask_pattern", "patient_pattern", "plane")
    for name in texts:
        if not isinstance(values.get(name), str | None):
            raise ValueError(f"{name} must be text, got {given[name]!r}")
    return Options(**values)


_MANY = 50  # images of a patient, from which on it may be none


@dataclass(frozen=True)
class Entry:
    """One image or volume, and its masks.

    Attributes:
        image: its file; of a DICOM series the first.
        id: its name, unique in the folder.
        patient: "" where nothing tells.
        label: of the lesion, "" where nothing tells.
        masks: files that are united; none where no lesion is outlined.
        fold: see `Case`.
        spacing: mm, where a table tells it.
        others: further files that are read.
        fault: why it cannot be used; "" where nothing is known against it.
        notes: what to say about it.
        any_label: True where every value of a mask but 0 is lesion, unless options say otherwise.
        layout: as which it was found.
        options: given by the user.
    """

    image: Path
    id: str
    patient: str = ""
    label: str = ""
    masks: tuple[Path, ...] = ()
    fold: int | None = None
    spacing: float | None = None
    others: tuple[Path, ...] = ()
    fault: str = ""
    notes: tuple[str, ...] = ()
    any_label: bool = False
    layout: str = ""
    options: Options = DEFAULTS

    def __str__(self) -> str:
        return str(self.image)

    @property
    def files(self) -> list[Path]:
        """All files that it is read from."""
        return [path for path in (self.image, *self.masks, *self.others) if path.is_file()]


def stem(path: Path) -> str:
    """The name of a file without its ending, `.nii.gz` for example."""
    return re.sub(r"(\.nii)?\.\w+$", "", path.name)


def is_volume(path: Path) -> bool:
    """Whether it is a NIfTI file by its name."""
    return path.name.lower().endswith(VOLUMES)


def visible(folder: Path) -> list[Path]:
    """All files in or below a folder, but hidden ones and those of `__MACOSX`, in order.

    Nor is anything in hidden folders. A link to nothing counts as a file, which cannot be read.
    """
    found: list[Path] = []
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if name[0] != "." and name != "__MACOSX"]
        found += [Path(place, name) for name in names if name[0] != "."]
    return sorted(found)


def _readable(folder: Path) -> list[Path]:
    return [p for p in visible(folder) if p.name.lower().endswith(IMAGES + VOLUMES)]


def finished(
    folder: Path, entries: Iterable[Entry], *, layout: str, options: Options
) -> list[Entry]:
    """Entries with unique ids, and with patients, those of the user's pattern first.

    The first one's notes say what concerns the folder: unknown patients, and files left aside.
    """
    entries = [replace(entry, layout=layout, options=options) for entry in entries]
    if options.patient_pattern is not None:
        entries = [_by_pattern(folder, entry, options.patient_pattern) for entry in entries]
    ids = Counter(entry.id for entry in entries)
    for i, entry in enumerate(entries):
        if ids[entry.id] > 1:
            below = _below(folder, entry.image.with_name(stem(entry.image)))
            entries[i] = replace(entry, id=below)
    notes = _of_folder(folder, entries, layout)
    for i, entry in enumerate(entries):
        patient = entry.patient or entry.id
        said, notes = (entry.notes, notes) if entry.fault else (notes + entry.notes, ())
        entries[i] = replace(entry, patient=patient, notes=said)
    return entries


def _of_folder(folder: Path, entries: list[Entry], layout: str) -> tuple[str, ...]:
    """What to say of the folder as a whole."""
    usable = [entry for entry in entries if not entry.fault]
    patients = sorted({entry.patient for entry in usable if entry.patient})
    unknown = sum(not entry.patient for entry in usable)
    named = layout in ("beside", "folders") and not any(e.options.patient_pattern for e in usable)
    used = {path for entry in entries for path in (entry.image, *entry.masks)}
    left = [_below(folder, path) for path in _readable(folder) if path not in used]
    notes = {
        f"{unknown} of {len(usable)} images have no known patient and count as one each: state "
        "patient_pattern": unknown,
        f"{len(patients)} patients ({', '.join(patients[:4])}): if these are classes, state "
        "patient_pattern": named and patients and len(usable) - unknown > _MANY * len(patients),
        f"{len(left)} other files are not read: {', '.join(left[:3])}": left,
    }
    return tuple(note for note, holds in notes.items() if holds)


def _below(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _by_pattern(folder: Path, entry: Entry, pattern: str) -> Entry:
    below = _below(folder, entry.image)
    found = re.search(pattern, below)
    if found is None:
        fault = f"patient_pattern {pattern!r} is not found in {below}"
        return replace(entry, fault=entry.fault or fault)
    named = found.groupdict()
    rest = [group for group in found.groups() if group]
    patient = named.get("patient") or (rest[0] if rest else found[0])
    return replace(entry, patient=patient, label=named.get("label") or entry.label)


def _orphans(paths: Iterable[Path]) -> Iterator[Entry]:
    for path in paths:
        yield Entry(path, stem(path), fault="a mask without an image")


def _paired(
    images: Iterable[tuple[object, Entry]], masks: dict[object, list[Path]]
) -> Iterator[Entry]:
    """Entries with the masks of their keys; then what is left."""
    taken: dict[object, Entry] = {}
    for key, entry in images:
        if key in taken:
            yield replace(entry, fault=f"another image of that name: {taken[key]}")
        else:
            taken[key] = entry
            yield replace(entry, masks=tuple(masks.get(key, ())))
    yield from _orphans(path for key in masks if key not in taken for path in masks[key])


# --- the layouts ---------------------------------------------------------------------------------


def beside(folder: Path, options: Options) -> Iterator[Entry]:
    """A mask beside its image: `x.png`, `x_mask.png`, `x_mask_1.png`; a folder is a patient."""
    images: list[tuple[object, Entry]] = []
    masks: dict[object, list[Path]] = defaultdict(list)
    for path in _readable(folder):
        base = options.base(stem(path))
        if base is not None:
            masks[path.parent, base].append(path)
        else:
            patient, label = "" if path.parent == folder else path.parent.name, ""
            if re.fullmatch(re.escape(patient) + r" \(\d+\)", stem(path)):
                patient, label = "", patient  # malignant/malignant (20).png: numbered by class
            images.append(((path.parent, stem(path)), Entry(path, stem(path), patient, label)))
    return _paired(images, masks)


def two_folders(folder: Path, options: Options) -> Iterator[Entry]:
    """`images/` and `masks/` with equal names, nnU-Net or Decathlon; folders in it are patients."""
    tops = {
        above
        for path in _readable(folder)
        for above in path.relative_to(folder).parents
        if above.name.lower() in _IMAGE_FOLDERS
    }
    for top in sorted(folder / above for above in tops):
        beside_it = [p for p in sorted(top.parent.iterdir()) if p.name.lower() in _MASK_FOLDERS]
        if beside_it:
            yield from _two(top, beside_it, options)


def _two(top: Path, mask_folders: list[Path], options: Options) -> Iterator[Entry]:
    masks: dict[object, list[Path]] = defaultdict(list)
    for mask_folder in mask_folders:
        for path in _readable(mask_folder):
            name = options.base(stem(path)) or stem(path)
            masks[path.relative_to(mask_folder).parent, name].append(path)
    images: list[tuple[object, Entry]] = []
    for path in _readable(top):
        below, name = path.relative_to(top).parent, stem(path)
        found = None if (below, name) in masks else re.fullmatch(r"(.+)_(\d{4})", name)
        if found and ((below, found[1]) in masks or top.name == "imagesTr"):
            name = found[1]
            if found[2] != (options.channel or "0000"):
                continue
        images.append(((below, name), Entry(path, name, below.name)))
    yield from _paired(images, masks)


def brats(folder: Path, options: Options) -> Iterator[Entry]:
    """A folder a case: `CASE-t1c.nii.gz` and `CASE-seg.nii.gz`; CASE ends with the time point."""
    cases: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for path in _readable(folder):
        found = _BRATS.fullmatch(stem(path))
        if found and is_volume(path):
            cases[path.parent, found["case"]][found["what"].lower()] = path
    if not any("seg" in of and len(of) > 1 for of in cases.values()):
        return
    for (_, case), of in cases.items():
        mask = of.pop("seg", None)
        wanted = (options.channel.lower(),) if options.channel else _SEQUENCES
        chosen = next((what for what in wanted if what in of), None)
        if chosen is None:
            fault = f"no {options.channel or 'image'} beside it, only {', '.join(of) or 'the mask'}"
            yield Entry(mask or next(iter(of.values())), case, fault=fault)
            continue
        patient = re.sub(r"(?<=\w)-\d{3}$", "", case)
        masks = (mask,) if mask else ()
        notes = ("every label but 0 is lesion",) * bool(mask and not options.lesion_labels)
        yield Entry(of[chosen], case, patient, masks=masks, notes=notes, any_label=True)


_ENTITIES = ("sub", "ses", "run", "acq", "ce", "rec")
_KINDS = ("lesion", "dseg", "mask")  # the first that a subject has is taken


def bids(folder: Path, options: Options) -> Iterator[Entry]:
    """BIDS: `sub-*/[ses-*/]anat/*_T1w.nii.gz`; `derivatives/` has lesion, dseg or mask files."""
    volumes = [p for p in _readable(folder) if is_volume(p) and re.match(r"sub-\w+_\w", p.name)]
    derived = [p for p in volumes if "derivatives" in p.relative_to(folder).parts]
    anatomy = [p for p in volumes if p not in derived and p.parent.name == "anat"]
    suffixes = sorted({stem(path).rsplit("_", 1)[1] for path in anatomy})
    suffix = options.channel or ("T1w" if "T1w" in suffixes else "".join(suffixes[:1]))
    images = [path for path in anatomy if stem(path).endswith(f"_{suffix}")]
    masks = [path for path in derived if _is_lesion(path, options)]
    for path, own in zip(images, map(_entities, images)):
        fit = [mask for mask in masks if own | _entities(mask) == own]
        kind = next((kind for kind in _KINDS if any(kind in stem(m) for m in fit)), "")
        chosen = tuple(m for m in fit if kind in stem(m))
        yield Entry(path, stem(path), own["sub"], masks=chosen)
    known = [_entities(path) for path in images]
    yield from _orphans(m for m in masks if not any(own | _entities(m) == own for own in known))


def _is_lesion(path: Path, options: Options) -> bool:
    if options.mask_pattern:
        return options.base(stem(path)) is not None
    return any(k in stem(path) for k in _KINDS) and "brain" not in stem(path).lower()


def _entities(path: Path) -> dict[str, str]:
    """`sub-1_ses-2_T1w` -> {"sub": "1", "ses": "2"}."""
    pairs = (part.split("-", 1) for part in stem(path).split("_") if "-" in part)
    return {key: value for key, value in pairs if key in _ENTITIES}


def table(folder: Path, options: Options) -> Iterator[Entry]:
    """`cases.csv` with image, mask, patient, label and perhaps fold and spacing (mm).

    Paths are relative to it; masks of one image are divided by semicolons, none is an empty field.
    """
    path = folder / TABLE
    if not path.is_file():
        return
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := {"image", "patient"} - set(rows):
        raise ValueError(f"{path}: no column {', '.join(sorted(missing))}, found {list(rows)}")
    seen: set[str] = set()
    for number, row in enumerate(rows.to_dict("records"), start=2):
        image = folder / row["image"]
        masks = tuple(folder / name.strip() for name in row.get("mask", "").split(";") if name)
        patient, label = row["patient"], row.get("label", "")
        entry = Entry(image, stem(image), patient, label, masks, others=(path,))
        try:
            if (fold := row.get("fold") or None) and not re.fullmatch("0*[1-9][0-9]{0,8}", fold):
                raise ValueError(f"fold {fold!r} is no whole number from 1")
            spacing = float(row["spacing"]) if row.get("spacing") else None
            lost = [file for file in (image, *masks) if not file.is_file()]
            if lost:
                raise ValueError(f"there is no file {lost[0]}")
            if not patient:
                raise ValueError("no patient")
            if row["image"] in seen:
                raise ValueError("the image has two rows; put its masks into one, with semicolons")
            entry = replace(entry, fold=fold and int(fold), spacing=spacing)
        except ValueError as error:
            line = path.with_name(f"{TABLE}, line {number}")
            entry = Entry(line, line.name, fault=str(error))
        seen.add(row["image"])
        yield entry

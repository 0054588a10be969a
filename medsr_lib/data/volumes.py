"""Volumes as 2-D cases: NIfTI files, and DICOM series with DICOM segmentations.

Image and mask alike are turned so that their axes lead to the patient's left, posterior and
inferior, and are cut across one axis. Pictures then look as radiologists see them: the patient's
right, or front in sagittal ones, is on the left; front, or top, is above. A slice's name is
`volume:number`, its place in the file along the axis, or in a series along its normal, from 0.
Spacing is in mm. Slope and intercept are applied, and MONOCHROME1 is inverted.

What reads the files is in the extra `medical`: nibabel and pydicom.
"""

import importlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsr_lib.case import Case
from medsr_lib.data import folder as files
from medsr_lib.data.layouts import IMAGES, PLANES, VOLUMES, Entry, Options, is_volume, visible

Mask = NDArray[np.bool_]
PERCENTILES = (0.5, 99.5)
_AXES = ("L", "P", "I")
_NEVER_DICOM = (*IMAGES, *VOLUMES, ".csv", ".json", ".txt", ".tsv", ".mat", ".h5", ".zip", ".md")
_TAGS = (
    *("Modality", "Rows", "PatientID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
    *("ImagePositionPatient", "NumberOfFrames", "PerFrameFunctionalGroupsSequence"),
)
_MM = {"micron": 1e-3, "meter": 1e3}
_MOST_VOXELS = 2**30
_ANISOTROPY = 1.01  # greatest ratio of a pixel's sides that counts as a square


@dataclass(frozen=True)
class Volume:
    """A volume in the patient's axes."""

    values: NDArray[Any]  # (L, P, I)
    affine: NDArray[np.float64]  # (4, 4), to mm in NIfTI's axes (right, anterior, superior)
    flipped: tuple[bool, ...]  # which axes run against the file's
    known: bool = True  # whether the spacing is
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(0))

    def number(self, axis: int, k: int) -> int:
        """The place of slice k in the file."""
        return self.values.shape[axis] - 1 - k if self.flipped[axis] else k


def read(entry: Entry) -> list[Case]:
    """Slices of a volume, as `Entry.options` says; the middle ones where no lesion is outlined.

    Returns:
        Cases; `about` holds raw_min and raw_max, the intensities that became 0 and 1, and notes:
        what to know of it, a tuple of sentences.

    Raises:
        ImportError: nibabel or pydicom is not installed; names the extra.
        ValueError: a file that cannot be used; names it and the reason.
    """
    try:
        if is_volume(entry.image):
            volume = _nifti(entry.image, entry.options)
            mask, said = _nifti_mask(entry, volume)
        else:
            volume, mask, said = _dicom(entry)
        cases = list(_cut(entry, volume, mask, [*volume.notes, *said]))
        if not cases:
            raise ValueError("all slices are constant")
        return cases
    except ValueError as error:
        raise ValueError(f"{entry.image}: {error}") from None
    except ImportError:
        raise
    except Exception as error:  # what headers lack shows anywhere
        why = f"its header is incomplete or damaged ({error!r:.200})"
        raise ValueError(f"{entry.image}: {why}") from None


def _cut(entry: Entry, volume: Volume, mask: Mask | None, notes: list[str]) -> Iterator[Case]:
    """The chosen slices as cases."""
    options = entry.options
    axis = _axis(volume, options)
    side = _side(volume, axis)
    for k in _chosen(mask, volume.values.shape[axis], axis, (side or 1) ** 2, options):
        raw, number = volume.values.take(k, axis).T, volume.number(axis, k)
        if mask is None and options.slices is None and raw.min() == raw.max():
            continue  # beside the patient
        cut = None if mask is None else np.take(mask, [k], axis).squeeze(axis).T
        try:
            case = files.as_case(entry, raw, cut, notes, percentiles=PERCENTILES, spacing=side)
        except ValueError as error:
            raise ValueError(f"slice {number}: {error}") from None
        yield replace(case, id=f"{entry.id}:{number}")


def _axis(volume: Volume, options: Options) -> int:
    """Across which axis to cut."""
    if options.plane is not None:
        return PLANES.index(options.plane)
    spacing, shape = volume.spacing, volume.values.shape
    flat = [axis for axis in range(3) if shape[axis] == 1]
    widest = [axis for axis in range(3) if spacing[axis] > spacing.max() / _ANISOTROPY]
    return (flat or widest)[-1]


def _side(volume: Volume, axis: int) -> float | None:
    """The side of a pixel in mm."""
    if not volume.known:
        return None
    a, b = (float(side) for side in np.delete(volume.spacing, axis))
    if max(a, b) > _ANISOTROPY * min(a, b):
        raise ValueError(
            f"pixels of {PLANES[axis]} slices are {a:.3g} x {b:.3g} mm, not square: resample it, "
            "or choose another plane"
        )
    return round(a, 6)


def _chosen(mask: Mask | None, n: int, axis: int, pixel: float, options: Options) -> list[int]:
    """The slices of the largest lesion area, or around the middle of all n; in their order."""
    if mask is None:
        wanted = n if options.slices is None else min(options.slices, n)
        return list(range((n - wanted) // 2, (n - wanted) // 2 + wanted))
    area = mask.sum(tuple({0, 1, 2} - {axis})) * pixel
    least = max(options.least_area, pixel)
    enough = [int(k) for k in np.argsort(-area, kind="stable") if area[k] >= least]
    if not enough:
        raise ValueError(f"no slice has a lesion of {least:g}, the largest is {area.max():.3g}")
    return sorted(enough[: options.slices])


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        wanted = name.split(".")[0]
        raise ImportError(
            f"{wanted} reads these files: pip install 'medsr-lib[medical]' ({error})"
        ) from None


def _turned(values: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """A volume with its affine, in the patient's axes."""
    of = _package("nibabel.orientations")
    turn = of.ornt_transform(of.io_orientation(affine), of.axcodes2ornt(_AXES))
    flips = {int(axis): flip < 0 for axis, flip in turn}
    return Volume(
        of.apply_orientation(values, turn),
        affine @ of.inv_ornt_aff(turn, values.shape),
        tuple(flips[axis] for axis in range(3)),
    )


# --- NIfTI ---------------------------------------------------------------------------------------


def _nifti(path: Path, options: Options | None) -> Volume:
    """A NIfTI file; of a fourth dimension one part, or with no options none."""
    nibabel = _package("nibabel")
    broken = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)
    try:
        image = nibabel.load(path)
        if np.prod(image.shape, dtype=float) > _MOST_VOXELS:
            raise ValueError(f"its header states {image.shape} voxels")
        values = np.asanyarray(image.dataobj)
    except (*broken, EOFError, zlib.error, OSError, ValueError) as error:
        raise ValueError(f"{path.name} is truncated, damaged or no NIfTI ({error})") from None
    notes = []
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        notes.append(f"slope {image.dataobj.slope:g}, intercept {image.dataobj.inter:g} applied")
    if not image.header["sform_code"] and not image.header["qform_code"]:
        notes.append("no orientation in its header: taken as nibabel does, right to left")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 4 and options is not None:
        which = options.number or 0
        if which >= values.shape[3]:
            raise ValueError(f"there is no channel {which} of {values.shape[3]}")
        notes.append(f"channel {which} of {values.shape[3]} is read")
        values = values[..., which]
    if values.ndim != 3 or not values.size or values.dtype.kind not in "biuf":
        raise ValueError(f"{path.name} is {values.dtype} {values.shape}; expected (x, y, z)")
    affine = image.affine.astype(float)
    affine[:3] *= _MM.get(image.header.get_xyzt_units()[0], 1)
    return replace(_turned(values, affine), notes=tuple(notes))


def _nifti_mask(entry: Entry, volume: Volume) -> tuple[Mask | None, list[str]]:
    masks, notes = [], []
    for path in entry.masks:
        if not is_volume(path):
            raise ValueError(f"its mask {path.name} is no NIfTI file")
        found = _nifti(path, None)
        files.same_shape(found.values.shape, volume.values.shape, path)
        corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(volume.values.shape) - 1)
        apart = corners @ (found.affine - volume.affine)[:3, :3].T
        apart += (found.affine - volume.affine)[:3, 3]
        if (far := float(np.abs(apart).max())) > volume.spacing.min() / 2:
            raise ValueError(f"{path.name} lies elsewhere in the patient, by up to {far:.3g} mm")
        mask, more = files.lesion(found.values, path, entry.options, any_label=entry.any_label)
        masks.append(mask)
        notes += [f"{path.name}: {note}" for note in more]
    united, more = files.unite(masks)
    return united, notes + more


# --- DICOM ---------------------------------------------------------------------------------------


def series(folder: Path, options: Options) -> Iterator[Entry]:
    """DICOM files of any names: a series is a volume, and segmentations are its masks."""
    candidates = [p for p in visible(folder) if not p.name.lower().endswith(_NEVER_DICOM)]
    paths = [path for path in candidates if _is_dicom(path)]
    for path in sorted(set(candidates) - set(paths)):
        if path.suffix.lower() == ".dcm":
            yield Entry(path, path.stem, fault="no DICOM file: it does not begin with DICM")
    images: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    segmentations: dict[Path, set[str]] = {}
    others: Counter[str] = Counter()
    for path in paths:
        try:
            header = _header(path, path.stat().st_mtime_ns)
        except ImportError:
            raise
        except Exception as error:  # pydicom's have no class in common
            yield Entry(path, path.stem, fault=f"its header is damaged ({error!r:.200})")
            continue
        if header.get("Modality") == "SEG":
            segmentations[path] = set(_sources(header))
        elif "Rows" not in header or header.get("Modality") == "RTDOSE":
            others[str(header.get("Modality", "DICOMDIR"))] += 1
        else:
            in_space = "ImagePositionPatient" in header and "NumberOfFrames" not in header
            key = "SeriesInstanceUID" if in_space else "SOPInstanceUID"
            images[str(header.get(key))].append((path, header))
    notes = (f"not images, not read: {dict(others)}",) if others else ()
    for name, members in images.items():
        paths, headers = [path for path, _ in members], [header for _, header in members]
        own = {str(header.get("SOPInstanceUID")) for header in headers}
        masks = tuple(path for path, wanted in segmentations.items() if wanted & own)
        patient = str(headers[0].get("PatientID") or "")
        number = headers[0].get("SeriesNumber")
        label = f"{patient or 'unnamed'}-{number if number is not None else name}"
        yield Entry(paths[0], label, patient, masks=masks, others=tuple(paths[1:]), notes=notes)
        segmentations = {path: of for path, of in segmentations.items() if not of & own}
        notes = ()
    for path in segmentations:
        yield Entry(path, path.stem, fault="a mask without an image: none that it names is here")


def _is_dicom(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:  # a link to nothing, for example
        return file.read(132)[128:] == b"DICM"
    return False


@lru_cache(maxsize=20_000)
def _header(path: Path, changed: int) -> Any:
    """What `series` looks at; a folder is looked at several times."""
    del changed
    read = _package("pydicom").dcmread
    header = read(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    list(header.iterall())  # what is damaged shows when it is looked at
    return header


def _sources(segmentation: Any) -> Iterator[str]:
    """The UID of the image that each frame of a segmentation was drawn on; "" where none is."""
    for frame in segmentation.get("PerFrameFunctionalGroupsSequence", ()):
        derived = frame.get("DerivationImageSequence") or ()
        source = derived[0].get("SourceImageSequence") if derived else ()
        yield str(source[0].ReferencedSOPInstanceUID) if source else ""


def _dicom(entry: Entry) -> tuple[Volume, Mask | None, list[str]]:
    """A series, the lesion in its segmentations, and what to say of it."""
    read = _package("pydicom").dcmread
    members = [read(path) for path in (entry.image, *entry.others)]
    members, affine, known, notes = _placed(members)
    values = np.stack([_intensities(member, notes, entry.options).T for member in members], axis=2)
    volume = replace(_turned(values, affine), known=known)
    place = {str(member.SOPInstanceUID): k for k, member in enumerate(members)}
    masks = []
    for path in entry.masks:
        frames, said = _segmented(path, place, members[0], values.shape, entry.options)
        masks.append(_turned(frames, affine).values)
        notes += [f"{path.name}: {note}" for note in said]
    united, more = files.unite(masks)
    return volume, united, list(dict.fromkeys(notes)) + more


def _placed(members: list[Any]) -> tuple[list[Any], NDArray[np.float64], bool, list[str]]:
    """The images of a series along their normal, their affine, whether mm are known, and notes."""
    first, notes = members[0], []
    if len({(m.Rows, m.Columns) for m in members}) > 1:
        raise ValueError("images of several sizes in one series")
    if int(first.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"holds {first.NumberOfFrames} frames in one file; convert it to NIfTI")
    pixel = first.get("PixelSpacing") or first.get("ImagerPixelSpacing") or (0, 0)
    down, across = (float(side) for side in pixel)
    known = min(down, across) > 0
    if not known:
        down = across = 1.0
        notes.append("no spacing in its header: sizes are in pixels")
    step = float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1) or 1.0
    of = [np.array(m.get("ImageOrientationPatient", (1, 0, 0, 0, 1, 0)), float) for m in members]
    if np.ptp(of, axis=0).max() > 1e-3:
        raise ValueError("images of several directions in one series, as of a scout: separate them")
    along, below = of[0][:3], of[0][3:]
    normal = np.cross(along, below)
    origin = np.zeros(3)
    if "ImagePositionPatient" in first:
        where = np.array([[float(v) for v in m.ImagePositionPatient] for m in members])
        order = np.argsort(where @ normal, kind="stable")
        members, origin = [members[k] for k in order], where[order[0]]
        steps = np.diff((where @ normal)[order])
        if len(steps) and steps.min() < 1e-3:
            raise ValueError("several images at one place (time points or echoes): separate them")
        if len(steps):
            step = float(np.median(steps))
            if steps.max() > 1.05 * steps.min():
                notes.append(f"slices are {steps.min():.3g} to {steps.max():.3g} mm apart")
    affine = np.eye(4)
    columns = np.stack([along * across, below * down, normal * step, origin], axis=1)
    affine[:3] = np.array([[-1], [-1], [1]]) * columns  # DICOM's left and posterior are negative
    return members, affine, known, notes


def _intensities(member: Any, notes: list[str], options: Options) -> NDArray[Any]:
    """(H, W) grey levels of one DICOM image; what there is to say is added to the notes."""
    values = _decoded(member)
    kind = str(member.get("PhotometricInterpretation", ""))
    if "PALETTE" in kind:
        raise ValueError("in colours of a palette; convert it to grey")
    values, said = files.grey(values, [], options.number)
    notes += said
    if member.get("LossyImageCompression") == "01":
        notes.append(f"lossy compression ({member.file_meta.TransferSyntaxUID.name})")
    if "ModalityLUTSequence" in member or (
        (float(member.get("RescaleSlope", 1)), float(member.get("RescaleIntercept", 0))) != (1, 0)
    ):
        values = _package("pydicom.pixels").apply_modality_lut(values, member)
        notes.append("slope and intercept applied")
    if kind == "MONOCHROME1":
        values = -values.astype(np.float64)
        notes.append("MONOCHROME1: inverted")
    return values


def _decoded(member: Any) -> NDArray[Any]:
    name = Path(member.filename).name
    syntax = member.file_meta.TransferSyntaxUID
    try:
        values: NDArray[Any] = member.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0]
        if syntax.is_compressed:
            raise ValueError(
                f"{name} is compressed as {syntax.name}; try pip install python-gdcm ({why})"
            ) from None
        raise ValueError(f"{name} is truncated or damaged ({why})") from None
    return values


def _segmented(
    path: Path, place: Mapping[str, int], image: Any, shape: Sequence[int], options: Options
) -> tuple[Mask, list[str]]:
    """Where the frames of a segmentation are lesion, (columns, rows, slices) as stored."""
    found = _package("pydicom").dcmread(path)
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in found.SegmentSequence}
    wanted = options.lesion_labels or tuple(names)
    if options.lesion_labels is None and len(names) > 1:
        listed = ", ".join(f"{number} ({name})" for number, name in names.items())
        raise ValueError(f"{path.name} holds segments {listed}; state the lesion's lesion_labels")
    files.same_shape((found.Rows, found.Columns), (image.Rows, image.Columns), path)
    own = image.get("ImageOrientationPatient")
    frames = _decoded(found).reshape(-1, found.Rows, found.Columns)
    top = float(found.get("MaximumFractionalValue", 1))
    mask, used, between = np.zeros(shape, bool), Counter[str](), 0
    groups = found.PerFrameFunctionalGroupsSequence
    for frame, group, source in zip(frames, groups, _sources(found)):
        segment = _group(found, group, "SegmentIdentificationSequence")
        plane = _group(found, group, "PlaneOrientationSequence")
        if own and plane and not np.allclose(plane.ImageOrientationPatient, own, atol=1e-3):
            raise ValueError(f"{path.name} is turned against its images")
        if segment is None or segment.ReferencedSegmentNumber in wanted:
            used[source] += 1
            if source in place:
                mask[:, :, place[source]] |= (frame > top / 2).T
                between += int(((frame > 0) & (frame < top)).sum())
    counts = {
        "slices have several frames, united": sum(used[source] > 1 for source in place),
        "frames are of images that are not here": used.total() - sum(used[s] for s in place),
        f"pixels between 0 and {top:g}: above {top / 2:g} is taken as lesion": between,
    }
    return mask, [f"{n} {what}" for what, n in counts.items() if n]


def _group(found: Any, frame: Any, name: str) -> Any:
    """What a segmentation says of a frame, or of all frames; None where it says nothing."""
    for group in (frame, *found.get("SharedFunctionalGroupsSequence", ())):
        if name in group:
            return group[name].value[0]
    return None

"""Small NIfTI and DICOM files, as scanners and programs write them."""

from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SEGMENTATION, MR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.4"
UPRIGHT = [1, 0, 0, 0, 1, 0]


def write_nifti(path, pictures, *, spacing=(0.5, 0.5, 6.0), codes="RAS", units="mm", slope=None):
    """Axial pictures (N, H, W), from the top down, as a volume with these axes."""
    values = np.asarray(pictures).transpose(2, 1, 0)  # left, posterior, inferior
    affine = np.diag([-spacing[0], -spacing[1], -spacing[2], 1.0])
    image = nibabel.Nifti1Image(values, affine)
    of = nibabel.orientations
    turn = of.ornt_transform(of.io_orientation(affine), of.axcodes2ornt(tuple(codes)))
    image = image.as_reoriented(turn)
    image.header.set_xyzt_units(units)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def _of(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _save(dataset, path, *, syntax=ExplicitVRLittleEndian):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax.is_compressed:
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder,
    pictures,
    *,
    patient="P1",
    step=6.0,
    syntax=ExplicitVRLittleEndian,
    lists=None,
    **further,
):
    """A series of axial pictures (N, H, W) of whole numbers, from the top down; its headers."""
    series, written = generate_uid(), []
    for k, picture in enumerate(pictures):
        signed = picture.dtype.kind == "i"
        image = _of(
            SOPClassUID=MR, SOPInstanceUID=generate_uid(), SeriesInstanceUID=series, SeriesNumber=1,
            PatientID=patient, Modality="MR", Rows=picture.shape[0], Columns=picture.shape[1],
            PixelSpacing=[0.5, 0.5], ImageOrientationPatient=UPRIGHT, SpacingBetweenSlices=step,
            ImagePositionPatient=[0, 0, -step * k], PhotometricInterpretation="MONOCHROME2",
            SamplesPerPixel=1, BitsAllocated=16, BitsStored=16, HighBit=15,
            PixelRepresentation=int(signed), PixelData=picture.tobytes(),
        )  # fmt: skip
        own = {name: values[k] for name, values in (lists or {}).items()}
        for name, value in (further | own).items():
            if value is None:
                delattr(image, name)
            else:
                setattr(image, name, value)
        _save(image, Path(folder) / f"i{len(pictures) - k}", syntax=syntax)
        written.append(image)
    return written


def write_segmentation(path, images, masks, *, numbers=None, directions=UPRIGHT, maximum=None):
    """A segmentation with a frame for each image and mask (H, W); `numbers` are its segments."""
    numbers = numbers or [1] * len(masks)
    frames = [
        _of(
            DerivationImageSequence=Sequence([_of(SourceImageSequence=Sequence([
                _of(ReferencedSOPClassUID=MR, ReferencedSOPInstanceUID=image.SOPInstanceUID)
            ]))]),
            SegmentIdentificationSequence=Sequence([_of(ReferencedSegmentNumber=number)]),
        )
        for image, number in zip(images, numbers)
    ]  # fmt: skip
    shared = _of(PlaneOrientationSequence=Sequence([_of(ImageOrientationPatient=directions)]))
    pixels = np.stack(masks)
    dataset = _of(
        SOPClassUID=SEGMENTATION, SOPInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(),
        PatientID=images[0].PatientID, Modality="SEG", NumberOfFrames=len(masks),
        Rows=pixels.shape[1], Columns=pixels.shape[2], SamplesPerPixel=1, PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2", PerFrameFunctionalGroupsSequence=Sequence(frames),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        SegmentSequence=Sequence([
            _of(SegmentNumber=n, SegmentLabel=f"part {n}") for n in sorted(set(numbers))
        ]),
    )  # fmt: skip
    depth = 1 if maximum is None else 8
    dataset.BitsAllocated = dataset.BitsStored = depth
    dataset.HighBit = depth - 1
    dataset.SegmentationType = "BINARY" if maximum is None else "FRACTIONAL"
    if maximum is not None:
        dataset.MaximumFractionalValue = maximum
    data = pack_bits(pixels.astype(np.uint8)) if depth == 1 else pixels.astype(np.uint8).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    return _save(dataset, path)

"""Of any dtype, layout and attribute: the exact pixels of a file are read, or an error says why."""

import io
import tempfile
import warnings
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
import tifffile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from medsr_lib.data import chest_xray, figshare, source, splits
from medsr_lib.data.layouts import Entry, Options
from medsr_lib.restore.foreign import stored

NUMBERS = [
    *("b1", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", "<u8"),
    *("<f2", "<f4", ">f4", "<f8"),
]
SHAPE = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
)


def a_few(n):
    return settings(
        max_examples=n, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate,),
    )  # fmt: skip


@st.composite
def pixels(draw, shape=SHAPE, kinds=NUMBERS):
    """An array of any kind of number, often of few values on a large offset."""
    dtype = np.dtype(draw(st.sampled_from(kinds)))
    shape = draw(shape)
    if dtype.kind == "b" or draw(st.booleans()):
        return draw(arrays.arrays(dtype, shape))
    least, greatest = (
        (0, 60000) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    )
    offset = draw(st.integers(least, max(least, greatest - 100)))
    steps = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 100)))
    return (steps.astype(dtype) + np.asarray(offset).astype(dtype)).astype(dtype)


def scaled(values):
    """In [0, 1], computed apart from the library: exactly, where Python's integers can."""
    low = values.min()
    if values.dtype.kind in "biu":
        of = np.array([int(v) - int(low) for v in values.flat]).reshape(values.shape) / (
            int(values.max()) - int(low)
        )
        return of.astype(np.float32)
    wide = values.astype(np.float64)
    return ((wide - float(low)) / (float(values.max()) - float(low))).astype(np.float32)


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def image_or_reason(read, path, values):
    """Checks that the image of a file is that of its values, or that an error names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of programs that read what is damaged
        warnings.filterwarnings("error", category=RuntimeWarning, module="medsr_lib")
        try:
            case = read()
        except ValueError as error:
            assert path.name in str(error)  # noqa: PT017
            return None
    assert case.image.shape == values.shape
    np.testing.assert_array_equal(case.image, scaled(values))
    return case


FIELD = st.one_of(
    pixels(), st.sampled_from(["MR040240B", np.bytes_(b"1"), h5py.Empty("f4"), np.array(b"x" * 9)])
)
OTHERS = [name for name in figshare.FIELDS if name != "image"]
STORAGE = st.sampled_from(
    [{}, {"chunks": True}, {"compression": "gzip"}, {"shuffle": True, "compression": "lzf"},
     {"fletcher32": True}]
)  # fmt: skip
ATTRIBUTE = st.sampled_from(
    [None, np.uint8(1), "yes", np.zeros(0), h5py.Empty("i1"), np.ones((2, 2))]
)


@a_few(80)
@given(
    image=pixels(),
    other=st.one_of(st.just({}), st.dictionaries(st.sampled_from(OTHERS), FIELD, max_size=1)),
    storage=STORAGE,
    attribute=ATTRIBUTE,
    marked=st.sampled_from(figshare.FIELDS),
)
def test_slices(place, image, other, storage, attribute, marked):
    path = place / "17.mat"
    mask = np.zeros(image.shape, np.uint8)
    mask[(0,) * mask.ndim if mask.size else slice(0)] = 1
    usual = {
        "PID": np.array([[49], [50]]),
        "label": 1.0,
        "tumorMask": mask,
        "tumorBorder": np.ones((1, 4)),
    }
    with h5py.File(path, "w") as file:
        for name, value in (usual | other | {"image": image}).items():
            how = storage if np.ndim(value) and value.size and value.dtype != bool else {}
            file.create_dataset(f"cjdata/{name}", data=value, **how)
        if attribute is not None:
            file[f"cjdata/{marked}"].attrs["MATLAB_empty"] = attribute
        image = file["cjdata/image"][()]
    case = image_or_reason(lambda: figshare.read_slice(path), path, image.T)
    if case is not None:
        assert case.about["border"].shape[1] == 2
        assert case.label in figshare.TUMOURS.values()
        assert 0 < case.mask.sum() <= case.mask.numel()


@a_few(40)
@given(folds=st.one_of(FIELD, pixels(st.just((1, 6)))), older=st.booleans())
def test_lists_of_folds(place, folds, older):
    path = place / "cvind.mat"
    if older and isinstance(folds, np.ndarray):
        scipy.io.savemat(path, {"cvind": folds})
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("cvind", data=folds)
    try:
        read = figshare._read_cvind(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(read, np.ravel(folds).astype(float))
        assert (read > 0).all()


@a_few(40)
@given(
    values=pixels(st.tuples(st.integers(1, 9), st.integers(1, 9)), NUMBERS[1:]),
    pages=st.integers(1, 2),
    how=st.sampled_from(
        [{}, {"compression": "zlib"}, {"photometric": "miniswhite"}, {"rowsperstrip": 1},
         {"tile": (16, 16)}, {"bigtiff": True}]
    ),
)  # fmt: skip
def test_tiffs(place, values, pages, how):
    path = place / "a.tif"
    try:
        with tifffile.TiffWriter(path, bigtiff=bool(how.get("bigtiff"))) as file:
            for _ in range(pages):
                file.write(values, **{k: v for k, v in how.items() if k != "bigtiff"})
    except (ValueError, TypeError):
        return  # there are no such files
    plain = values.max() - values if "photometric" in how else values
    image_or_reason(lambda: source.read_entry(Entry(path, "a", "a")), path, plain)
    try:
        assert stored.read(path).dtype.kind in "biuf"
    except ValueError as error:
        assert "a.tif" in str(error)  # noqa: PT017


@a_few(40)
@given(
    values=pixels(st.tuples(st.integers(1, 9), st.integers(1, 9)), ["u1"]),
    mode=st.sampled_from(["L", "RGB", "P", "1", "LA", "RGBA", "CMYK", "I", "F", "I;16"]),
    kind=st.sampled_from(["PNG", "BMP", "GIF", "WEBP", "JPEG"]),
    orientation=st.integers(0, 9),
    damage=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=3),
)
def test_pictures_of_any_mode_and_radiographs(place, values, mode, kind, orientation, damage):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    try:
        Image.fromarray(values).convert(mode).save(file, kind, exif=exif)
    except (OSError, ValueError, KeyError):
        return  # there are no such files
    data = bytearray(file.getvalue())
    for at, value in damage:
        data[at % len(data)] = value
    for name, read in {
        "a.png": lambda path: source.read_entry(Entry(path, "a", "a")),
        "IM-0115-0001.jpeg": chest_xray.read_image,
    }.items():
        path = place / name
        path.write_bytes(data)
        try:
            case = read(path)
        except ValueError as error:
            assert name in str(error)  # noqa: PT017
        else:
            turned = 4 < orientation < 9 and kind in ("PNG", "WEBP", "JPEG")
            assert damage or case.image.shape == (values.T if turned else values).shape


@a_few(40)
@given(
    values=pixels(st.tuples(*[st.integers(1, 5)] * 3), ["u1", "<i2", "<u2", "<i4", "<f4", "<f8"]),
    slope=st.sampled_from([1, 2.5, -1e-3]),
    ending=st.sampled_from([".nii", ".nii.gz"]),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_volumes(place, values, slope, ending, damage):
    path = place / f"a{ending}"
    volume = nibabel.Nifti1Image(values, np.eye(4))
    volume.header.set_slope_inter(slope, 0)
    volume.to_filename(path)
    data = bytearray(path.read_bytes())
    for at, value in damage:
        data[at % len(data)] = value
    path.write_bytes(data)
    options = Options(slices=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cases = source.read_entry(Entry(path, "a", "a", options=options))
        except ValueError as error:
            assert path.name in str(error)  # noqa: PT017
        else:
            assert all(0 <= case.image.min() < case.image.max() <= 1 for case in cases)


@a_few(40)
@given(
    data=st.data(),
    patients=st.integers(1, 12),
    n_folds=st.integers(2, 9),
    labels=st.integers(1, 4),
)
def test_splits_of_any_few_patients(data, patients, n_folds, labels):
    who = data.draw(st.lists(st.integers(0, patients - 1), min_size=2, max_size=30))
    what = data.draw(st.lists(st.integers(0, labels - 1), min_size=len(who), max_size=len(who)))
    table = pd.DataFrame({"patient": map(str, who), "label": map(str, what)})
    n = table["patient"].nunique()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        if n < 2:
            with pytest.raises(ValueError, match="needs 2 patients"):
                splits.by_patient(table, n_folds=n_folds, seed=0)
            return
        fold = splits.by_patient(table, n_folds=n_folds, seed=0)
    assert sorted(fold.unique()) == list(range(1, min(n, n_folds) + 1))
    assert fold.groupby(table["patient"]).nunique().max() == 1

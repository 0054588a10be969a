"""What both phantoms' folders have in common."""

import json
import shutil
from dataclasses import dataclass

import h5py
import numpy as np
import pytest
from PIL import Image
from states import files_of_at_most

from medsr_lib.data import phantom
from medsr_lib.data.phantom.brain import files as brain_files
from medsr_lib.data.phantom.chest import files as chest_files


@dataclass
class Kind:
    write: object
    small: dict
    fewest: int  # patients
    module: object
    function: str  # of the module, that draws
    first: str
    foreign: str


KINDS = {
    "brain": Kind(
        phantom.write_figshare,
        {"patients": 4, "slices_per_patient": 2, "seed": 3, "size": 64},
        *(1, brain_files, "_draw_slice", "data/1.mat", "data/1.mat"),
    ),
    "chest": Kind(
        phantom.write_chest_xray,
        {"patients": 8, "seed": 3, "size": 96},
        *(5, chest_files, "_draw", "train/NORMAL/IM-0115-0001.jpeg", "test/NORMAL/a.jpeg"),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def written(kind, tmp_path_factory):
    return kind.write(tmp_path_factory.mktemp("phantom"), **kind.small)


def values(path):
    """What a file of images holds."""
    if path.suffix == ".mat":
        with h5py.File(path) as file:
            return [data[()] for data in file.get("cjdata", {}).values()]
    with Image.open(path) as image:
        return [np.asarray(image)]


def images_in(root):
    return sorted(p for p in root.rglob("*.*") if p.suffix in (".mat", ".jpeg", ".png"))


def test_same_seed_gives_the_same_images_whatever_the_number_of_patients(kind, written, tmp_path):
    kind.write(tmp_path, **{**kind.small, "patients": kind.fewest})
    for path in images_in(tmp_path):
        for a, b in zip(values(path), values(written / path.relative_to(tmp_path)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_another_seed_gives_other_images(kind, written, tmp_path):
    kind.write(tmp_path, **{**kind.small, "patients": kind.fewest, "seed": 4})
    assert (tmp_path / kind.first).read_bytes() != (written / kind.first).read_bytes()


def test_second_call_leaves_files_untouched(kind, written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert kind.write(str(written), **kind.small) == written
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before
    assert json.loads((written / "phantom.json").read_text())["patients"] == kind.small["patients"]


def test_foreign_files_and_other_phantoms_are_refused_and_kept(kind, written, tmp_path):
    path = tmp_path / kind.foreign
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(FileExistsError, match=r"holds \w+ and is not this phantom.* another fol"):
        kind.write(tmp_path, **kind.small)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert path.read_bytes() == b"something else"
    with pytest.raises(FileExistsError, match="is not this phantom"):
        kind.write(written, **{**kind.small, "seed": 5})


@pytest.mark.parametrize("target", ["new", "."])
def test_an_interrupted_phantom_leaves_nothing_and_the_next_call_writes_it(
    kind, written, tmp_path, monkeypatch, target
):
    draw, calls = getattr(kind.module, kind.function), []

    def draw_and_stop(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind.module, kind.function, draw_and_stop)
        with pytest.raises(KeyboardInterrupt):
            kind.write(tmp_path / target, **kind.small)
    assert list(tmp_path.iterdir()) == []
    kind.write(tmp_path / target, **kind.small)
    found = {p.relative_to(tmp_path / target) for p in tmp_path.rglob("*.*")}
    assert found == {p.relative_to(written) for p in written.rglob("*.*")}


@pytest.mark.parametrize("limit", [0, 400])
def test_a_full_disk_leaves_no_part_of_a_phantom(kind, tmp_path, limit):
    said = r"disk full, .*/new could not be written; nothing was written"
    with files_of_at_most(limit), pytest.raises(OSError, match=said):
        kind.write(tmp_path / "new", **kind.small)
    assert list(tmp_path.iterdir()) == []


def test_a_phantom_of_which_a_file_is_missing_is_not_taken_for_whole(kind, written, tmp_path):
    shutil.copytree(written, tmp_path / "copy")
    (tmp_path / "copy" / kind.first).unlink()
    with pytest.raises(FileExistsError, match=r"or not all of it\. It is left alone"):
        kind.write(tmp_path / "copy", **kind.small)


def test_of_two_that_write_one_phantom_the_quicker_stays(kind, written, tmp_path, monkeypatch):
    draw = getattr(kind.module, kind.function)
    once = []

    def overtaken(*args, **kwargs):
        if not once:
            once.append(shutil.copytree(written, tmp_path / "new"))
        return draw(*args, **kwargs)

    monkeypatch.setattr(kind.module, kind.function, overtaken)
    kind.write(tmp_path / "new", **kind.small)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]
    assert (tmp_path / "new" / kind.first).read_bytes() == (written / kind.first).read_bytes()


@pytest.mark.parametrize(
    ("name", "value"), [("patients", 0), ("seed", 0.5), ("seed", -1), ("size", 16)]
)
def test_a_bad_argument_is_named(kind, tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a whole .* of at least .* got {value}"):
        kind.write(tmp_path / "new", **{**kind.small, name: value})
    assert not (tmp_path / "new").exists()

"""What `medsr data show` says of a folder."""

import numpy as np
import pytest
from PIL import Image

from medsr_lib.data import phantom
from medsr_lib.series import cli


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Two patients with an image each and a mask, and a mask without an image."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:40, :50]
    for patient, shift in {"P1": 0, "P2": 9}.items():
        folder = tmp_path / "scans" / patient
        folder.mkdir(parents=True)
        Image.fromarray((3 * x + y + shift).astype(np.uint8)).save(folder / f"{patient}.jpg")
        mask = np.hypot(y - 20, x - 20) < 5
        Image.fromarray(mask).save(folder / f"{patient}_mask.png")
    Image.fromarray(mask).save(folder / "lost_mask.png")
    return tmp_path / "scans"


def test_what_is_understood_and_what_is_left_out(scans, capsys):
    assert cli.main(["data", "show", "scans"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "images and masks, layout 'beside'",
        "2 images of 2 patients, from 2 files",
        "labels: none 2",
        "masks: 2, lesions of 69 to 69 pixels",
        "sizes: 40 x 50 (2)",
        "spacing: not known, so that regions are in pixels",
    ]
    assert lines[6] == "note: lossy JPEG of quality 75 (P1.jpg, P2.jpg)"
    assert lines[7] == f"left out: {'scans/P2/lost_mask.png'}: a mask without an image"
    assert lines[8] == "scans-cases.png"
    with Image.open("scans-cases.png") as sheet:
        assert min(sheet.size) > 100


def test_options_are_handed_on(scans, capsys):
    pattern = r"(?P<label>\w)(?P<patient>\d)\.jpg"
    arguments = ["--patient-pattern", pattern, "--layout", "beside", "--out", "sheet.png"]
    arguments += ["--percentiles", "1,99", "--lesion-labels", "1,255", "--per-volume", "all"]
    assert cli.main(["data", "show", "scans", *arguments]) == 0
    assert "labels: P 2" in capsys.readouterr().out
    assert cli.main(["data", "show", "scans", "--layout", "bids"]) == 2
    assert "nothing in it is in the layout 'bids'" in capsys.readouterr().err
    assert cli.main(["data", "show", "scans", "--per-volume", "0"]) == 2
    assert "slices must be at least 1" in capsys.readouterr().err


def test_a_folder_with_nothing_usable_names_every_file(scans, capsys):
    for path in scans.rglob("*.jpg"):
        path.write_bytes(b"")
    assert cli.main(["data", "show", "scans"]) == 2
    assert "P1.jpg: the file is empty" in capsys.readouterr().err


def test_other_kinds_of_data_are_shown_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    phantom.write_figshare("brain", patients=3, slices_per_patient=1, seed=0, size=64)
    assert cli.main(["data", "show", "brain"]) == 0
    assert capsys.readouterr().out.startswith(
        "brain slices\n3 images of 3 patients, from 3 files\n"
    )

import numpy as np
import pytest
import torch
from PIL import Image

from medsr_lib.assess.restored import restored
from medsr_lib.case import Case
from medsr_lib.restore import methods
from medsr_lib.restore.acquired import Acquired


def case(name, image, **about):
    return Case(name, "p", "", image, about=about)


@pytest.fixture
def hr():
    """(12, 8) of whole grey levels from 20 to 220, and the same in [0, 1]."""
    levels = torch.linspace(20, 220, 96).round().view(12, 8)
    return levels, (levels - 20) / 200


def test_lr_and_sr_in_the_units_of_the_file_are_normalised_as_the_case_was(tmp_path, hr):
    levels, image = hr
    Image.fromarray(levels.byte().numpy()[::2, ::2]).save(tmp_path / "a.png")
    (tmp_path / "sr").mkdir()
    Image.fromarray(levels.byte().numpy()).save(tmp_path / "sr" / "a.png")
    theirs = methods.find([f"theirs=dir:{tmp_path}/sr/{{id}}.png"], scale=2)
    one = case("a", image, raw_min=20, raw_max=220)
    lr = Acquired(tmp_path, scale=2)
    (found,) = restored(theirs, [one], degrade=lr, scale=2, progress=False)
    torch.testing.assert_close(found.lr[0, 0], image[::2, ::2])
    torch.testing.assert_close(found.sr["theirs"], found.hr)


def test_lr_in_0_1_is_taken_as_it_is(tmp_path, hr):
    _, image = hr
    np.save(tmp_path / "a.npy", image[::2, ::2].numpy())
    for about in ({}, {"raw_min": 20, "raw_max": 220}):
        lr = Acquired(tmp_path, scale=2).of(case("a", image, **about))(image[None, None])
        torch.testing.assert_close(lr[0, 0], image[::2, ::2])


@pytest.mark.parametrize(
    ("scale", "size", "words"),
    [
        (2, (12, 9), r"LR image of case a is \(6, 4\), the case \(12, 9\)"),
        (3, (12, 8), r"at scale 3 LR must be \(4, 2\)"),
    ],
)
def test_lr_of_another_size_is_refused(tmp_path, scale, size, words):
    np.save(tmp_path / "a.npy", np.zeros((6, 4), np.float32))
    with pytest.raises(ValueError, match=words):
        Acquired(tmp_path, scale=scale).of(case("a", torch.zeros(size)))


def test_what_is_not_there_or_cannot_be_done_is_named(tmp_path, hr):
    lr = Acquired(tmp_path, scale=2)
    one = case("a", hr[1])
    with pytest.raises(FileNotFoundError, match=r"no image a\.png"):
        lr.of(one)
    with pytest.raises(TypeError, match="degrades images anew"):
        lr.of(one.altered(one.image, "lesion put in"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere of LR images"):
        Acquired(tmp_path / "nowhere", scale=2)

import pytest
import torch
from torch import nn

from medsr_lib.case import digests, trained_on
from medsr_lib.restore import degrade, linear, methods, networks, resample
from medsr_lib.restore.acquired import Acquired


@pytest.fixture
def espcn(tmp_path):
    path = tmp_path / "mine.pt"
    networks.save(networks.ESPCN(scale=2), path, scale=2, fold=1)
    return path


def test_another_way_to_come_by_a_method_is_one_line(monkeypatch):
    def load(what, *, scale, **expected):
        return lambda lr: resample.nearest(lr, scale=scale) * float(what.removeprefix("dimmed:"))

    dimmed = methods.Loader("NAME=dimmed:SHARE", lambda what: what.startswith("dimmed:"), load)
    monkeypatch.setattr(methods, "LOADERS", (*methods.LOADERS, dimmed))
    found = methods.find(["bicubic", "half=dimmed:0.5"], scale=2)
    assert found["half"](torch.ones(1, 1, 2, 2)).unique() == 0.5
    with pytest.raises(ValueError, match=r"no method 'x'; .*NAME=dimmed:SHARE"):
        methods.find(["x"], scale=2)


def test_an_interpolation_is_found_by_its_name():
    lr = torch.rand(1, 1, 8, 8)
    found = methods.find(["lanczos", "bicubic", "lanczos"], scale=2)
    assert list(found) == ["lanczos", "bicubic"]
    assert torch.equal(found["bicubic"](lr), resample.bicubic(lr, scale=2))


def test_a_network_is_found_by_name_path_or_a_name_of_ones_own(espcn):
    asked = ["ESPCN", str(espcn), f"best={espcn}", "best"]
    found = methods.find(asked, scale=2, saved={"ESPCN": espcn}, fold=1)
    assert list(found) == ["ESPCN", "mine", "best"]
    assert found["best"](torch.rand(1, 1, 8, 8)).shape == (1, 1, 16, 16)


def test_a_network_of_another_fold_or_scale_is_refused(espcn):
    with pytest.raises(ValueError, match="fold is 1, not 2"):
        methods.find([str(espcn)], scale=2, fold=2)
    with pytest.raises(ValueError, match="scale is 2, not 4"):
        methods.find([str(espcn)], scale=4)


def test_what_a_method_was_trained_on_is_known_wherever_it_comes_from(tmp_path, random_images):
    images, to_lr = random_images(3, 24, 24), degrade.by_name("bicubic", scale=2)
    fitted = linear.fit(images[:2], degrade=to_lr, scale=2, taps=3)
    networks.save(fitted, tmp_path / "filter.pt", scale=2)
    asked = ["linear", "linear+consistent", "bicubic", f"mine={tmp_path}/filter.pt"]
    found = methods.find(asked, scale=2, saved={"linear": fitted}, degrade=to_lr)
    known = {name: trained_on(method) for name, method in found.items()}
    assert known.pop("bicubic") == frozenset()
    assert set(known.values()) == {digests(images[:2])}
    both = nn.ModuleList([found["mine"], networks.ESPCN(scale=2)])  # as an ensemble has them
    assert trained_on(both) == digests(images[:2])


def test_an_unknown_name_is_refused_with_those_there_are(espcn):
    with pytest.raises(ValueError, match=r"no method .bicubik.; there are ESPCN; nearest, "):
        methods.find(["bicubik"], scale=2, saved={"ESPCN": espcn})
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        methods.find(["nowhere.pt"], scale=2)


@pytest.mark.parametrize("name", ["bicubic", "mine"])
def test_two_files_of_one_name_are_refused(espcn, tmp_path, name):
    other = tmp_path / "other.pt"
    espcn.rename(other)
    networks.save(networks.ESPCN(scale=2), espcn, scale=2)
    with pytest.raises(ValueError, match=f"two methods would be called '{name}'"):
        methods.find([str(espcn), f"{name}={other}"], scale=2)


def test_any_method_can_be_made_to_agree_with_lr(espcn, tmp_path):
    to_lr = degrade.by_name("kspace", scale=2)
    asked = ["bicubic", "bicubic+consistent", f"mine={espcn}+consistent"]
    found = methods.find(asked, scale=2, degrade=to_lr)
    assert list(found) == ["bicubic", "bicubic+consistent", "mine+consistent"]
    lr = to_lr(torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)))
    before, after = ((to_lr(found[k](lr)) - lr).abs().mean() for k in list(found)[:2])
    assert after < 0.3 * before
    with pytest.raises(ValueError, match=r"bicubic\+consistent: give the degradation"):
        methods.find(["bicubic+consistent"], scale=2)
    with pytest.raises(ValueError, match=r"bicubic\+consistent: what made these LR images is not"):
        methods.find(["bicubic+consistent"], scale=2, degrade=Acquired(tmp_path, scale=2))


def test_what_is_known_of_a_method_is_said_for_a_report(espcn, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch.nn.functional import interpolate\n"
        "def up(lr):\n"
        "    return interpolate(lr * 1.0, scale_factor=2, mode='bicubic')\n"
    )
    linear_filter = linear.LinearFilter(scale=2).eval()
    asked = ["bicubic+consistent", f"mine={espcn}", f"up={tmp_path}/net.py:up", "linear"]
    asked += [f"theirs=dir:{tmp_path}/{{id}}.png"]
    to_lr = degrade.by_name("bicubic", scale=2)
    found = methods.find(asked, scale=2, degrade=to_lr, saved={"linear": linear_filter})
    rows = {k: (row["what"], row["training"]) for k, row in methods.describe(found).items()}
    assert list(rows) == ["bicubic+consistent", "mine", "up", "linear", "theirs"]
    assert rows["bicubic+consistent"] == ("interpolation; then made to agree with LR", "nothing")
    assert rows["mine"][0] == "ESPCN"
    assert rows["mine"][1].startswith("scale 2; fold 1; ")
    assert rows["mine"][1].endswith(" cases")
    assert rows["up"] == ("foreign network or program, scale 2", "unknown, not checked")
    assert rows["theirs"][1] == "unknown, not checked"


def test_images_restored_already_restore_nothing_anew(espcn, tmp_path):
    to_lr = degrade.by_name("bicubic", scale=2)
    theirs = f"theirs=dir:{tmp_path}/{{id}}.png"
    asked = ["bicubic+consistent", f"mine={espcn}", theirs, f"{theirs}+consistent"]
    found = methods.find(asked, scale=2, degrade=to_lr)
    anew = [name for name, method in found.items() if methods.restores_anew(method)]
    assert anew == ["bicubic+consistent", "mine"]


def test_a_method_that_is_there_already_is_found_by_its_name(tmp_path):
    found_before = linear.LinearFilter(scale=2).eval()
    to_lr = degrade.by_name("bicubic", scale=2)
    asked, there = ["linear", "linear+consistent"], {"linear": found_before}
    found = methods.find(asked, scale=2, saved=there, degrade=to_lr)
    assert found["linear"] is found_before
    assert found["linear+consistent"].method is found_before
    networks.save(found_before, tmp_path / "filter.pt", scale=2)
    assert list(methods.find([f"linear={tmp_path}/filter.pt"], scale=2)) == ["linear"]
    with pytest.raises(ValueError, match="'linear' is fitted on training images"):
        methods.find(["linear"], scale=2)

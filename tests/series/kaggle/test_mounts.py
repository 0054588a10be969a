"""A kernel finds its inputs under every layout."""

import pytest

from medsr_lib.series.kaggle import mounts
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous
from medsr_lib.series.sessions.state import State

LAYOUTS = {"datasets": "datasets/them/brain", "flat": "brain"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Kaggle's folder, empty."""
    monkeypatch.setenv(mounts.ROOT, str(tmp_path))
    (tmp_path / "input").mkdir()
    return tmp_path


def put(root, *names, text=""):
    for name in names:
        path = root / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(marker="1.mat"):
    return mounts.data_folder("them/brain", marker=marker)


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_data_are_found_under_every_layout(root, mount):
    put(root, f"{mount}/dataset/data/1.mat", f"{mount}/dataset/data/2.mat")
    put(root, "datasets/others/lungs/1.mat", "notebooks/them/brain/1.mat")
    assert found() == str(root / "input" / mount)


def test_missing_data_are_an_error(root):
    with pytest.raises(FileNotFoundError, match="there is nothing"):
        found()
    put(root, "datasets/others/brain/1.mat")
    message = r"them/brain: no 1\.mat below .* there is datasets/others/brain.*Attach"
    with pytest.raises(FileNotFoundError, match=message):
        found()


def test_several_matches_are_an_error_unless_they_are_the_same(root):
    put(root, "datasets/them/brain/a/1.mat")
    (root / "input" / "brain").symlink_to(root / "input" / "datasets" / "them" / "brain")
    assert found().endswith("brain")
    put(root, "datasets/them/brain/b/1.mat")
    with pytest.raises(ValueError, match=r"2 files .*It is not clear which is meant"):
        found()


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_radiographs_are_found_with_their_copies(root, mount):
    for above in ("chest_xray", "chest_xray/chest_xray", "chest_xray/__MACOSX/chest_xray"):
        put(root, f"{mount}/{above}/train/NORMAL/IM-0115-0001.jpeg")
    assert found("train/NORMAL") == str(root / "input" / mount)
    put(root, f"{mount}/other/train/NORMAL/IM-0115-0001.jpeg")
    with pytest.raises(ValueError, match="It is not clear which is meant"):
        found("train/NORMAL")


def test_networks_of_other_notebooks_are_brought(root, tmp_path):
    put(root, "notebooks/me/two/02_espcn/espcn.pt", "three/03_srgan/srgan.pt", text="weights")
    brought = mounts.bring_networks("04_regional_ssim", mounts.working())
    assert brought == ["02_espcn/espcn.pt", "03_srgan/srgan.pt"]
    assert (tmp_path / "working" / "02_espcn" / "espcn.pt").read_text() == "weights"
    put(root, "notebooks/me/again/02_espcn/espcn.pt")
    with pytest.raises(ValueError, match="mounted several times"):
        mounts.bring_networks("04_regional_ssim", mounts.working())


def test_the_earlier_session_is_found(root):
    plan = Plan("abc", "03_srgan", {})
    assert mounts.earlier_session(Context(plan, 1, None, hours=1.0).values()) is None
    state = State("03_srgan", 40, 100, "f", {}, {})
    previous = Previous("me/gan-s01", Kind.NOTEBOOKS, state)
    second = Context(plan, 2, previous, hours=1.0).values()
    with pytest.raises(FileNotFoundError, match=r"me/gan-s01: no chain_state\.json"):
        mounts.earlier_session(second)
    put(root, "notebooks/me/gan-s01/03_srgan/chain_state.json")
    assert mounts.earlier_session(second).endswith("gan-s01/03_srgan")

"""A session finds its inputs under every layout, and leaves a state that can be trusted."""

import json
import os
import warnings

import chains
import pytest

from medsr_lib.series import plan, session, sources
from medsr_lib.series import state as chain_state

SOURCE = "me/medsr-03-srgan-s01"
LAYOUTS = {"datasets": "datasets/them/brain", "flat": "brain"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Kaggle's folder, empty; the variables of a session are gone afterwards."""
    monkeypatch.setenv(session.ROOT, str(tmp_path))
    monkeypatch.setenv(session.CONTEXT, "")
    (tmp_path / "input").mkdir()
    return tmp_path


def put(root, *names, text=""):
    for name in names:
        path = root / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def former(root):
    """The output of a session of 40 steps, mounted; and what it was told."""
    context = {"notebook": "03_srgan", "chain": "abc", "session": 1, "parameters": {"scale": 2}}
    os.environ[session.CONTEXT] = json.dumps(context)
    folder = root / "input" / "notebooks" / SOURCE / "03_srgan"
    session.record(folder, chains.train(folder))
    return folder, context


def following(former, **changed):
    folder, context = former
    previous = plan.previous(SOURCE, "notebooks", chain_state.read(folder))
    return context | {"session": 2, "previous": previous} | changed


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_data_are_found_under_every_layout(root, mount):
    put(root, f"{mount}/dataset/data/1.mat", f"{mount}/dataset/data/2.mat")
    put(root, "datasets/others/lungs/1.mat", "notebooks/them/brain/1.mat")
    assert session.data_folder("them/brain") == str(root / "input" / mount)


def test_data_of_another_owner_are_not_taken(root):
    put(root, "datasets/others/brain/1.mat")
    with pytest.raises(
        FileNotFoundError,
        match=r"them/brain: no 1\.mat below .* there is datasets/others/brain.*Attach",
    ):
        session.data_folder("them/brain")


def test_nothing_mounted_is_said(root):
    with pytest.raises(FileNotFoundError, match="there is nothing"):
        session.data_folder("them/brain")


def test_several_matches_are_an_error(root):
    put(root, "datasets/them/brain/a/1.mat", "datasets/them/brain/b/1.mat")
    with pytest.raises(ValueError, match=r"2 files .*It cannot be told which is meant"):
        session.data_folder("them/brain")


def test_the_same_files_under_two_layouts_are_one(root):
    put(root, "datasets/them/brain/1.mat")
    (root / "input" / "brain").symlink_to(root / "input" / "datasets" / "them" / "brain")
    assert session.data_folder("them/brain").endswith("brain")


@pytest.mark.parametrize("mount", LAYOUTS.values(), ids=LAYOUTS)
def test_radiographs_are_found_under_every_layout_and_with_their_copies(root, mount):
    for above in ("chest_xray", "chest_xray/chest_xray", "chest_xray/__MACOSX/chest_xray"):
        put(root, f"{mount}/{above}/train/NORMAL/IM-0115-0001.jpeg")
    marker = sources.RADIOGRAPHS.marker
    assert session.data_folder("them/brain", marker=marker) == str(root / "input" / mount)
    put(root, f"{mount}/other/train/NORMAL/IM-0115-0001.jpeg")
    with pytest.raises(ValueError, match="It cannot be told which is meant"):
        session.data_folder("them/brain", marker=marker)


def test_networks_of_other_notebooks_are_brought(root, tmp_path):
    put(root, "notebooks/me/two/02_espcn/espcn.pt", "three/03_srgan/srgan.pt", text="weights")
    found = session.bring_networks("04_regional_ssim", str(tmp_path / "working"))
    assert found == ["02_espcn/espcn.pt", "03_srgan/srgan.pt"]
    assert (tmp_path / "working" / "02_espcn" / "espcn.pt").read_text() == "weights"
    put(root, "notebooks/me/again/02_espcn/espcn.pt")
    with pytest.raises(ValueError, match="mounted several times"):
        session.bring_networks("04_regional_ssim", str(tmp_path / "working"))


def test_a_session_goes_on_from_the_one_before(former, tmp_path):
    folder = session.begin(following(former))
    assert folder == str(former[0])
    session.resume(folder, tmp_path / "03_srgan")
    trainings = chains.train(tmp_path / "03_srgan")
    state = chain_state.read(session.record(tmp_path / "03_srgan", trainings).parent)
    assert (state.session, state.step, state.steps, state.done) == (2, 80, 100, False)
    assert (state.chain, state.parameters) == ("abc", {"scale": 2})
    assert state.hours_before == chain_state.read(former[0]).hours


def test_a_later_session_does_not_start_without_its_input(root, tmp_path):
    context = {"notebook": "03_srgan", "chain": "abc", "session": 2, "parameters": {}}
    previous = {"source": SOURCE, "kind": "notebooks", "step": 40}
    with pytest.raises(FileNotFoundError, match=f"{SOURCE}: no chain_state.json"):
        session.begin(context | {"previous": previous})
    with pytest.raises(ValueError, match="it would start from zero"):
        session.resume(None, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chain": "other"}, "chain 'abc', not 'other'"),
        ({"parameters": {"scale": 4}}, "scale is 4 here and 2 there"),
        ({"parameters": {"scale": 2, "fold": 1}}, "fold is 1 here and not given there"),
        ({"notebook": "02_espcn"}, "notebook '03_srgan', not '02_espcn'"),
    ],
)
def test_the_input_of_another_chain_is_refused(former, changed, message):
    with pytest.raises(ValueError, match=message):
        session.begin(following(former, **changed))


@pytest.mark.parametrize("what", ["step", "fingerprint", "checkpoints"])
def test_an_input_of_another_step_is_refused(former, what):
    context = following(former)
    context["previous"][what] = {"step": 41, "fingerprint": "0", "checkpoints": {}}[what]
    with pytest.raises(ValueError, match=f"is not what session 2 goes on from: it has {what}"):
        session.begin(context)


def test_hours_may_change(former):
    former[1]["parameters"] |= {"hours": 2.0}
    assert session.begin(following(former))


def test_another_image_is_warned_of(former, monkeypatch):
    monkeypatch.setenv("KAGGLE_DOCKER_IMAGE", "new")
    with pytest.warns(UserWarning, match="runs in the image 'new', not in 'old'"):
        session.begin(following(former, docker_image="old"))
    with warnings.catch_warnings(action="error"):
        session.begin(following(former, docker_image="new"))


def test_a_damaged_checkpoint_is_refused_before_it_is_copied(former, tmp_path):
    context = following(former)
    path = former[0] / "srgan_checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    folder = session.begin(context)
    with pytest.raises(ValueError, match="does not agree with its sha256"):
        session.resume(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_notebook_by_itself_needs_no_chain(root, tmp_path):
    session.resume(None, tmp_path / "a")
    session.record(tmp_path / "a", chains.train(tmp_path / "a"))
    state = chain_state.verify(tmp_path / "a")
    assert (state.chain, state.session, state.parameters) == (None, 1, {})
    session.resume(tmp_path / "a", tmp_path / "b")
    assert chains.train(tmp_path / "b", each=1)["srgan_checkpoint.pt"].steps_done == 41


def test_a_state_tells_all_files_and_is_written_last(root, tmp_path):
    trainings = chains.train(tmp_path / "a")
    (tmp_path / "a" / "results.json").write_text("{}")
    state = chain_state.read(session.record(tmp_path / "a", trainings).parent)
    assert set(state.files) == {
        "results.json",
        "srgan_checkpoint.pt",
        "srgan_checkpoint.pt.sha256",
    }
    trainings["srgan_checkpoint.pt"].steps_done = 41
    with pytest.raises(ValueError, match="saved after step 40, but the training came to 41"):
        session.record(tmp_path / "a", trainings)
    assert chain_state.read(tmp_path / "a") == state


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the state of a chain"),
        ("[]", "not the state of a chain"),
        ('{"format": "medsr chain 0"}', "expected the format 'medsr chain 1'"),
        ('{"format": "medsr chain 1", "step": 3}', "missing 9 required"),
    ],
)
def test_a_damaged_state_is_said(tmp_path, text, message):
    (tmp_path / chain_state.NAME).write_text(text)
    with pytest.raises(ValueError, match=message):
        chain_state.read(tmp_path)


def test_weights_have_a_fingerprint(tmp_path):
    found = []
    for name, steps in {"a": 40, "b": 40, "c": 41}.items():
        chains.train(tmp_path / name, each=steps)
        found.append(chain_state.describe(tmp_path / name).fingerprint)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:x", "", "a//b", "."])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="it was refused"):
        chain_state.inside(tmp_path, name)


def test_the_packed_slices_are_no_output(tmp_path):
    (tmp_path / session.PACK).touch()
    (tmp_path / "radiographs128.h5").touch()
    session.tidy(str(tmp_path))
    session.tidy(str(tmp_path))
    assert not list(tmp_path.iterdir())

"""A session goes on from an earlier one, and leaves a state that can be trusted."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import chains
import pytest

from medsr_lib.series.sessions import session
from medsr_lib.series.sessions import state as states
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous


@pytest.fixture
def former(tmp_path):
    """The output of a session of 40 steps, and the context of the next one."""
    context = Context(Plan("abc", chains.NOTEBOOK, {"scale": 2}), 1, None, hours=1.0)
    first = chains.begin(tmp_path / "first", chain=context.values())
    state = states.read(first.record(chains.train(first.folder)).parent)
    previous = Previous(str(first.folder), Kind.FOLDER, state)
    return first.folder, replace(context, session=2, previous=previous)


def test_a_session_goes_on_from_the_one_before(former, tmp_path):
    folder, context = former
    this = chains.begin(tmp_path / "second", folder, context.values())
    state = states.read(this.record(chains.train(this.folder)).parent)
    assert (state.session, state.step, state.steps, state.done) == (2, 80, 100, False)
    assert (state.chain, state.parameters) == ("abc", {"scale": 2})
    assert state.hours_before == states.read(folder).hours


def test_trainings_that_have_not_begun_count_as_steps_to_come(former, tmp_path):
    folder, context = former
    this = chains.begin(tmp_path / "second", folder, context.values())
    waiting = SimpleNamespace(steps=50, steps_done=0, done=False)
    trainings = chains.train(this.folder, each=chains.STEPS)
    path = this.record(trainings | {"srresnet_seed1_checkpoint.pt": waiting})
    state = states.verify(path.parent)
    assert (state.step, state.steps, state.done) == (chains.STEPS, chains.STEPS + 50, False)


def test_the_first_training_keeps_the_plain_name():
    assert session.seeds("espcn", seed=5, trainings=2) == {"espcn": 5, "espcn_seed6": 6}
    with pytest.raises(ValueError, match="trainings must be a whole number of at least 1, got 0"):
        session.seeds("espcn", seed=0, trainings=0)


def test_a_later_session_does_not_start_from_zero(former, tmp_path):
    with pytest.raises(ValueError, match="it would start from zero"):
        chains.begin(tmp_path / "second", None, former[1].values())
    with pytest.raises(FileNotFoundError, match=r"no chain_state\.json"):
        chains.begin(tmp_path / "second", tmp_path, former[1].values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chain": "other"}, "chain 'abc', not 'other'"),
        ({"parameters": {"scale": 4}}, "scale is 4 here and 2 there"),
        ({"parameters": {"scale": 2, "fold": 1}}, "fold is 1 here and not given there"),
        ({"notebook": "02_espcn"}, "notebook '03_srgan', not '02_espcn'"),
        ({"step": 41}, "is not what session 2 resumes from: it has step"),
        ({"fingerprint": "0"}, "it has fingerprint"),
        ({"checkpoints": {}}, "it has other checkpoints"),
    ],
)
def test_the_output_of_another_chain_or_step_is_refused(former, tmp_path, changed, message):
    folder, context = former
    if changed.keys() & vars(context.plan).keys():
        other = replace(context, plan=replace(context.plan, **changed))
    else:
        state = replace(context.previous.state, **changed)
        other = replace(context, previous=replace(context.previous, state=state))
    with pytest.raises(ValueError, match=message):
        chains.begin(tmp_path / "second", folder, other.values())


def test_what_is_no_context_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the parameter chain is set by medsr chain"):
        chains.begin(tmp_path, chain={"session": 2})


def test_another_image_is_warned_of(former, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_DOCKER_IMAGE", "new")
    folder, context = former
    with pytest.warns(UserWarning, match="runs in the image 'new', not in 'old'"):
        chains.begin(tmp_path / "a", folder, replace(context, docker_image="old").values())
    with warnings.catch_warnings(action="error"):
        chains.begin(tmp_path / "b", folder, replace(context, docker_image="new").values())


def test_a_damaged_checkpoint_is_refused_before_it_is_copied(former, tmp_path):
    path = former[0] / "srgan_checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="does not agree with its sha256"):
        chains.begin(tmp_path / "out", former[0], former[1].values())
    assert not (tmp_path / "out").exists()


def test_a_notebook_by_itself_needs_no_chain(tmp_path):
    first = chains.begin(tmp_path / "a")
    first.record(chains.train(first.folder))
    state = states.verify(first.folder)
    assert (state.chain, state.session, state.parameters) == (None, 1, {})
    second = chains.begin(tmp_path / "b", first.folder)
    assert chains.train(second.folder, each=1)["srgan_checkpoint.pt"].steps_done == 41
    (first.folder / states.NAME).unlink()  # as of a session that was interrupted
    third = chains.begin(tmp_path / "c", first.folder)
    assert chains.train(third.folder, each=2)["srgan_checkpoint.pt"].steps_done == 42


def test_a_state_lists_all_files_and_is_written_last(tmp_path):
    this = chains.begin(tmp_path)
    trainings = chains.train(this.folder)
    (this.folder / "results.json").write_text("{}")
    state = states.read(this.record(trainings).parent)
    checkpoint = "srgan_checkpoint.pt"
    assert set(state.files) == {"results.json", checkpoint}
    trainings[checkpoint].steps_done = 41
    with pytest.raises(ValueError, match="saved after step 40, but the training came to 41"):
        this.record(trainings)
    assert states.read(this.folder) == state


def test_packed_images_are_no_output(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("slices.h5", "a/squares.h5"):
        (tmp_path / name).touch()
    for _ in range(2):
        session.tidy(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

"""A chain on Kaggle: the real client, a stand-in for the service, and its bad days."""

import json
import shutil
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial

import chains
import pytest
import small
from kaggle_service import NotebookRunner, Service, faults

from medsr_lib.series import cli
from medsr_lib.series.kaggle.account import Account
from medsr_lib.series.kaggle.client import Refused
from medsr_lib.series.sessions import state as states

SLUGS = [f"medsr-03-srgan-s0{n}" for n in (1, 2, 3, 4, 5)]
STATE = f"{chains.NOTEBOOK}/{states.NAME}"
CHECKPOINT = f"{chains.NOTEBOOK}/srgan_checkpoint.pt"


@pytest.fixture
def start(tmp_path):
    """`start(**settings)` -> a service with the data sets that a chain needs."""
    with ExitStack() as stack:

        def make(**settings):
            runner = settings.pop("runner", chains.run_session)
            service = Service(tmp_path / "service", runner=runner, **settings)
            stack.enter_context(service)
            stack.enter_context(service.connected())
            chains.prepare(service, tmp_path)
            return service

        yield make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def is_whole(out, state, tmp_path, *, session=3):
    """The chain ended as one uninterrupted session would have, and its files are here."""
    assert (state.done, state.step, state.session) == (True, chains.STEPS, session)
    assert state.fingerprint == chains.uninterrupted(tmp_path / "whole")
    assert states.verify(out / f"s0{session}" / chains.NOTEBOOK) == state
    return True


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_three_sessions_are_one_bit_for_bit(start, out, tmp_path, layout):
    service, said = start(layout=layout, image="gcr.io/one"), []
    chains.chain(out, sessions=1, hours=11.6, said=said)
    service.image = "gcr.io/two"
    state = chains.chain(out, hours=11.6, said=said)
    assert is_whole(out, state, tmp_path)
    assert chains.pushed(service) == SLUGS[:3]
    requests = [push.request for push in service.pushes]
    sources = [request.get("kernelDataSources", []) for request in requests]
    assert sources == [[], ["tester/medsr-03-srgan-s01"], ["tester/medsr-03-srgan-s02"]]
    assert [push.session.image for push in service.pushes] == ["gcr.io/one"] * 3
    assert {request["sessionTimeoutSeconds"] for request in requests} == {12 * 3600}
    assert requests[0]["machineShape"] == "NvidiaTeslaT4"
    assert requests[0]["enableInternet"] is False
    assert 'processes = "auto"' in json.loads(requests[0]["text"])["cells"][4]["source"]
    assert said[0].startswith("Kaggle: 30.0 of 30 GPU hours left")
    assert said[0].endswith("enough for 2 sessions")
    assert any("session 1, 40 of 100 steps: to be continued" in line for line in said)
    written = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    for secret in (service.key, service.secret):
        assert secret.encode() not in written
        assert secret not in "".join(said)
    assert not [r for r in service.requests if r.rpc == "download" and r.authorization]


def test_started_again_at_any_time_it_pushes_nothing_twice(start, out, tmp_path):
    service = start(running_polls=2)

    class StopError(Exception):
        pass

    looks = iter(range(10**6))

    def interrupt(_):
        if next(looks) % 3 == 2:
            raise StopError

    for _ in range(20):
        with suppress(StopError):
            state = chains.chain(out, pause=interrupt)
            break
    assert is_whole(out, state, tmp_path)
    assert chains.pushed(service) == SLUGS[:3]


def test_a_finished_chain_is_only_looked_at(start, out):
    service = start()
    first = chains.chain(out)
    shutil.rmtree(out / "s03")  # fetched again
    assert chains.chain(out) == first
    assert len(service.pushes) == 3


PASSING = {
    "500 at a push": [faults.http(500, call="SaveKernel", at=[1, 3])],
    "429 at a push": [faults.http(429, call="SaveKernel", at=2, retry_after=1)],
    "503 anywhere": [faults.http(503, call="*", at=[2, 5, 6, 9])],
    "lost before a push": [faults.disconnected(call="SaveKernel", accepted=False, at=1)],
    "lost after a push": [faults.disconnected(call="SaveKernel", accepted=True, at=2)],
    "lost status": [faults.disconnected(call="GetKernelSessionStatus", accepted=False, at=[1, 2])],
    "long queue": [faults.queued(30)],
    "truncated checkpoint": [faults.truncated(at=[3, 4])],
    "silently truncated": [faults.truncated(silent=True, at=[1, 2, 4, 6])],
    "500 at a download": [faults.http(500, call="download", at=[1, 2, 5])],
    "slow download": [faults.slow(0.3, call="download", at=2)],
    "hostile name": [faults.hostile("../../evil.pt"), faults.hostile("/tmp/evil.pt")],
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_changes_nothing(start, out, tmp_path, name):
    service = start(faults=PASSING[name])
    assert is_whole(out, chains.chain(out), tmp_path)
    assert chains.pushed(service) == SLUGS[:3]
    assert not [p for p in tmp_path.rglob("evil*") if "service" not in p.parts]


STOPPING = {
    "refused": ([faults.refused(at=2)], Refused, "Kaggle refused .*s02: Something went wrong"),
    "cap": ([faults.session_cap(at=2)], Refused, "Maximum batch GPU session count of 2"),
    "quota at the push": ([faults.quota_used_up(at=2)], Refused, "Weekly GPU quota"),
    "500 for long": ([faults.http(500, call="SaveKernel")], OSError, "start the same command"),
    "wrong name": ([faults.renamed("other-kernel", at=1)], Refused, "called the kernel"),
}


@pytest.mark.parametrize("name", STOPPING)
def test_what_stays_is_an_error_and_the_next_call_goes_on(start, out, tmp_path, name):
    found, kind, message = STOPPING[name]
    service = start(faults=found)
    with pytest.raises(kind, match=message):
        chains.chain(out)
    service.faults.clear()
    assert is_whole(out, chains.chain(out), tmp_path)
    assert [slug for slug in chains.pushed(service) if slug in SLUGS] == SLUGS[:3]


def test_a_dropped_source_is_an_error_and_its_session_does_not_start_from_zero(
    start, out, tmp_path
):
    service = start(faults=[faults.dropped_source("*-s01", at=2)])
    with pytest.raises(Refused, match="without tester/medsr-03-srgan-s01"):
        chains.chain(out)
    assert service.wait(f"tester/{SLUGS[1]}") == "ERROR"
    assert not list(service.sessions[1].working.rglob("*.pt"))
    service.faults.clear()
    with pytest.raises(ValueError, match=r"no chain_state.json below .*--from-checkpoint"):
        chains.chain(out)
    state = chains.chain(out, from_checkpoint="furthest")
    assert is_whole(out, state, tmp_path, session=4)


ENDS = {
    "ERROR after the training": faults.ends("ERROR", message="boom", at=2),
    "CANCEL without files": faults.ends("CANCEL_ACKNOWLEDGED", files=False, at=2),
    "ERROR of the first": faults.ends("ERROR", at=1),
    "first without files": faults.ends("CANCEL_ACKNOWLEDGED", files=False, at=1),
}


@pytest.mark.parametrize("name", ENDS)
def test_after_a_failed_session_it_goes_on_from_the_furthest_state(start, out, tmp_path, name):
    service = start(faults=[ENDS[name]])
    for _ in range(2):  # asking again changes nothing
        with pytest.raises(ValueError, match=r"ended with .*go on with --from-checkpoint"):
            chains.chain(out)
    state = chains.chain(out, from_checkpoint="furthest")
    lost = "without" in name
    assert is_whole(out, state, tmp_path, session=4 if lost else 3)
    assert len(set(chains.pushed(service))) == len(service.pushes)


def test_a_session_that_is_killed_leaves_its_last_checkpoint(start, out, tmp_path):
    def hang(started, inputs, working):
        chains.run_session(started, inputs, working, record=started.push != 2)
        if started.push == 2:
            started.stop.wait(20)

    service = start(runner=hang, faults=[faults.limit(1.5, at=2)])
    with pytest.raises(ValueError, match=r"CANCEL.*its checkpoint of step 80 was fetched"):
        chains.chain(out)
    state = chains.chain(out, from_checkpoint="furthest")
    assert is_whole(out, state, tmp_path)
    sources = service.pushes[2].request["datasetDataSources"]
    assert sources[-1] == "tester/medsr-03-srgan-from-s02"


def test_a_checkpoint_from_elsewhere_can_begin_a_chain(start, out, tmp_path):
    chains.train(tmp_path / "mine", each=30)
    start()
    state = chains.chain(out, from_checkpoint=str(tmp_path / "mine"))
    assert is_whole(out, state, tmp_path, session=2)


def test_a_data_set_that_never_gets_ready_is_an_error(start, out, tmp_path):
    chains.train(tmp_path / "mine", each=30)
    service = start(faults=[faults.dataset_fails()])
    with pytest.raises(Refused, match="failed"):
        chains.chain(out, from_checkpoint=str(tmp_path / "mine"))
    assert not service.pushes


def test_without_enough_quota_nothing_is_pushed(start, out):
    service = start(gpu_hours_used=20.0, session_hours=8.0)
    with pytest.raises(ValueError, match=r"session 2 needs 8 GPU hours: 2\.0 of 30 GPU hours left"):
        chains.chain(out, hours=8.0)
    assert len(service.pushes) == 1
    service.gpu_hours_used = 0.0
    assert chains.chain(out, hours=8.0).done


def test_a_second_chain_in_the_same_folder_is_refused(start, out):
    service = start(running_polls=5)
    errors = []

    def second():
        try:
            chains.chain(out)
        except ValueError as error:
            errors.append(str(error))

    def elsewhere(_):  # a thread may hold a folder several times
        if not errors:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    chains.chain(out, sessions=1, pause=elsewhere)
    assert f"{out} is in use by process" in errors[0]
    assert len(service.pushes) == 1


def test_a_chain_of_the_same_name_from_another_folder_is_refused(start, out, tmp_path):
    service = start()
    chains.chain(out, sessions=1)
    with pytest.raises(ValueError, match="belongs to another chain"):
        chains.chain(tmp_path / "other")
    assert len(service.pushes) == 1


def test_a_lost_folder_is_taken_over(start, out, tmp_path):
    service = start()
    chains.chain(out, sessions=2)
    shutil.rmtree(out)
    with pytest.raises(ValueError, match="--take-over"):
        chains.chain(out)
    assert is_whole(out, chains.chain(out, take_over=True), tmp_path)
    assert chains.pushed(service) == SLUGS[:3]


def test_of_two_chains_that_push_at_once_one_ends(start, out):
    service = start(faults=[faults.beside(at=1)])
    try:
        state = chains.chain(out)
    except ValueError as error:
        assert "at the same time" in str(error) or "another chain" in str(error)  # noqa: PT017
    else:
        assert state.done
    assert len(service.kernels[f"tester/{SLUGS[0]}"].versions) == 2


def test_the_name_of_a_later_session_may_be_taken(start, out):
    service = start()
    service.add_kernel(f"tester/{SLUGS[1]}")
    with pytest.raises(ValueError, match="s02 is there already; give another --name"):
        chains.chain(out)
    assert chains.pushed(service) == SLUGS[:1]


def test_an_edited_notebook_or_library_does_not_change_a_chain(start, out, tmp_path, monkeypatch):
    service = start()
    folder = chains.notebook_that_stops(tmp_path / "notebooks", after=1)
    chains.chain(out, sessions=1, folder=folder)
    path = folder / f"{chains.NOTEBOOK}.ipynb"
    path.write_text(path.read_text().replace("Crops", "Other crops").replace("# SRGAN", "# X"))
    monkeypatch.setattr("medsr_lib.__version__", "9.9.9")
    chains.chain(out, sessions=2, folder=folder)
    first, second = (json.loads(push.session.text)["cells"] for push in service.pushes)
    differing = [a["id"] for a, b in zip(first, second) if a["source"] != b["source"]]
    assert differing == ["medsr-inputs"]


def test_an_output_that_is_listed_late_is_waited_for(start, out, monkeypatch):
    start()
    outputs, asked = Account.outputs, []
    monkeypatch.setattr(
        Account,
        "outputs",
        lambda self, ref: outputs(self, ref) if asked.append(ref) or len(asked) % 3 == 0 else {},
    )
    assert chains.chain(out).done


def test_a_wrong_key_is_said_before_anything_is_done(start, out, monkeypatch):
    service = start()
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    with pytest.raises(ValueError, match="does not accept the credentials of 'tester'"):
        chains.chain(out)
    assert not service.pushes
    assert not (out / "chain.json").exists()


def test_a_deleted_session_is_not_pushed_again(start, out):
    service = start()
    chains.chain(out, sessions=2)
    del service.kernels[f"tester/{SLUGS[1]}"]
    with pytest.raises(ValueError, match=r"session 2 was pushed .* does not show"):
        chains.chain(out)
    assert len(service.pushes) == 2


def test_another_configuration_under_the_same_name_is_refused(start, out, tmp_path):
    service = start()
    chains.chain(out, sessions=1)
    other = chains.PARAMETERS | {"scale": 4}
    for folder in (out, tmp_path / "other"):
        with pytest.raises(ValueError, match="scale is 4 here and 2 there"):
            chains.chain(folder, parameters=other)
    assert len(service.pushes) == 1


def test_a_session_without_a_step_ends_the_chain(start, out, tmp_path):
    service = start(runner=partial(chains.run_session, each=0))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"took no step .*more --hours"):
            chains.chain(out)
    assert len(service.pushes) == 1
    service.runner = chains.run_session
    assert is_whole(out, chains.chain(out, hours=2.0), tmp_path, session=4)


BAD = {
    "hours": ({"hours": 11.9}, "at most 11.75 h"),
    "no hours": ({"hours": 0.0}, "0 hours"),
    "sessions": ({"sessions": 0}, "1 to 99"),
    "title": ({"base": "a" * 47}, "Kaggle takes 5 to 50"),
    "slug": ({"base": "My_Chain"}, "Kaggle would call a kernel"),
    "parameter": ({"parameters": {"scal": 2}}, "did you mean scale"),
    "value": ({"parameters": {"scale": "x"}}, "scale is int"),
    "resume_from": ({"parameters": {"resume_from": "x"}}, "set for each session"),
    "data set": ({"data": "nobody/nothing"}, "there is no data set nobody/nothing"),
    "checkpoint": ({"from_checkpoint": "missing"}, "no checkpoints"),
    "nothing yet": ({"from_checkpoint": "furthest"}, "no session yet"),
    "nothing to take over": ({"take_over": True}, "there is no .*-s01 to take over"),
    "no sessions": ({"name": "01"}, "cannot be run in sessions"),
    "no notebook": ({"name": "77"}, "no notebook '77'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_an_error_before_anything_is_pushed(start, out, name):
    service = start()
    options, message = BAD[name]
    with pytest.raises((ValueError, OSError), match=message):
        chains.chain(out, **options)
    assert not service.pushes


@pytest.mark.slow
def test_notebook_03_in_sessions_equals_one_uninterrupted_run(start, out, tmp_path, ran_all):
    service = start(runner=NotebookRunner(), time_limit=600)
    service.add_dataset(chains.FIGSHARE, ran_all.data)
    folder = chains.notebook_that_stops(tmp_path / "notebooks", after=71)
    parameters = small.parameters_of("03")
    options = {"parameters": parameters, "folder": folder, "pause": time.sleep, "poll": 0.5}
    state = chains.chain(out, **options)
    assert (state.session, state.done) == (2, True)
    first = states.read(out / "s01" / chains.NOTEBOOK)
    assert (first.step, first.steps) == (60 + 9, 2 * 60 + 12)  # the last training has not begun
    whole = ran_all.out / chains.NOTEBOOK
    assert chains.same_trainings(out / "s02" / chains.NOTEBOOK, whole, beside="ESPCN")
    assert chains.pushed(service) == SLUGS[:2]
    output = service.sessions[-1].files()
    assert not [name for name in output if name.endswith("slices.h5")]
    contents = [c if isinstance(c, bytes) else c.read_bytes() for c in output.values()]
    assert not [c for c in contents if service.secret.encode() in c]


def test_the_command_says_how_it_goes(start, out, capsys):
    start()
    words = ["kaggle", "chain", "03", "--hours", "1", "--out", str(out), "--poll", "0.01"]
    words += [w for n, v in chains.PARAMETERS.items() for w in ("-p", f"{n}={v}")]
    assert cli.main([*words, "--sessions", "2"]) == 1
    assert "the same command with more --sessions" in capsys.readouterr().err
    assert cli.main([*words, "--sessions", "3"]) == 0
    printed = capsys.readouterr()
    assert "session 3 pushed as tester/medsr-03-srgan-s03, resumes from step 80" in printed.err
    assert printed.err.splitlines()[-1].startswith("session 3, 100 of 100 steps: done")
    assert cli.main([*words, "--sessions", "3", "-p", "fold=2"]) == 2
    assert "fold is 2 here and not given there" in capsys.readouterr().err


def test_ctrl_c_leaves_the_session_running(start, out):
    service = start(running_polls=3)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chains.chain(out, pause=stop)
    assert service.sessions[0].status in ("QUEUED", "RUNNING")
    assert chains.chain(out).done
    assert chains.pushed(service) == SLUGS[:3]

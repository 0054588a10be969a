"""A chain of sessions on one's own machine."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import chains
import pytest

from medsr_lib import files
from medsr_lib.series import cli, parameters
from medsr_lib.series.running import lock
from medsr_lib.series.sessions import chain, plan
from medsr_lib.series.sessions import state as states

PARAMETERS = """data_dir = "../data"  # folder of the slices
out_dir = "../out"  # folder of the run
hours: float | None = None  # of the session
resume_from: str | None = None  # an earlier session
chain: dict | None = None  # set by medsr chain
total = 100  # steps
"""


@pytest.fixture
def out(tmp_path):
    return tmp_path / "chain"


@pytest.fixture
def quick(series, monkeypatch):
    """A series whose notebook is run in this process, without a kernel: 40 steps a session."""
    series.add("03_srgan", parameters=PARAMETERS)
    calls = []

    def play(command):
        given = dict(word.split("=", 1) for word in command if "=" in word)
        context = json.loads(given["chain"])
        calls.append((context["session"], given))
        resume_from = json.loads(given.get("resume_from", "null"))
        this = chains.begin(command[command.index("--out") + 1], resume_from, context)
        this.record(chains.train(this.folder, each=series.each))
        return series.code

    series.each, series.code = chains.EACH, 0
    monkeypatch.setattr(chain, "_wait", play)
    series.calls = calls
    return series


def start(series, out, **options):
    settings = {"sessions": 5, "hours": 1.0, "data": series.data, "parameters": {}}
    settings |= {"log": lambda line: None} | options
    return chain.run_chain(plan.one("03", series.folder), out=out, **settings)


def test_sessions_are_one_uninterrupted_training(quick, out, tmp_path):
    said = []
    state = start(quick, out, log=said.append)
    assert (state.done, state.session, state.step) == (True, 3, 100)
    assert state.fingerprint == chains.uninterrupted(tmp_path / "whole")
    assert [number for number, _ in quick.calls] == [1, 2, 3]
    assert "resume_from" not in quick.calls[0][1]
    assert json.loads(quick.calls[2][1]["resume_from"]) == str(out / "s02" / "03_srgan")
    assert said[-1].startswith("session 3, 100 of 100 steps: done")


def test_it_goes_on_where_it_stands(quick, out):
    assert not start(quick, out, sessions=1).done
    assert start(quick, out).done
    assert start(quick, out).done
    assert [number for number, _ in quick.calls] == [1, 2, 3]


def test_a_session_that_failed_is_run_again_from_its_own_checkpoint(quick, out, tmp_path):
    quick.code = 1
    with pytest.raises(ValueError, match=r"session 1 failed: see .*s01/03_srgan\.html"):
        start(quick, out)
    (out / "s01" / "03_srgan" / states.NAME).unlink()  # as if it had not come so far
    quick.code = 0
    state = start(quick, out)
    assert (state.session, state.step) == (2, 100)
    assert state.fingerprint == chains.uninterrupted(tmp_path / "whole")


def test_the_former_output_is_read_only_meanwhile(quick, out, monkeypatch):
    modes, play = [], chain._wait

    def look(*arguments):
        modes.extend(p.stat().st_mode & 0o222 for p in out.glob("s01/03_srgan/*.pt"))
        return play(*arguments)

    monkeypatch.setattr(chain, "_wait", look)
    start(quick, out, sessions=2)
    assert modes == [0]
    assert all(p.stat().st_mode & 0o200 for p in out.rglob("*.pt"))


def test_a_call_after_a_killed_one_makes_its_folders_writable_again(quick, out):
    start(quick, out, sessions=1)
    inside = [out / "s01", *(out / "s01").rglob("*")]
    for path in inside:
        path.chmod(path.stat().st_mode & ~0o200)
    start(quick, out, sessions=1)
    assert all(path.stat().st_mode & 0o200 for path in inside)


def test_temporary_files_of_killed_processes_are_swept(quick, out):
    start(quick, out, sessions=1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with files.atomic(out / "s01" / "03_srgan" / "srgan.pt") as ours:
        left = ours.with_name(ours.name.replace(f"-{os.getpid()}.", f"-{ended.pid}."))
        left.touch()
        ours.touch()
        start(quick, out, sessions=1)
        assert ours.exists()
        assert not left.exists()


def test_links_and_files_of_other_users_keep_their_modes(quick, out, tmp_path, monkeypatch):
    start(quick, out, sessions=1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (out / "s01" / "link").symlink_to(elsewhere)
    with chain._read_only(out / "s01"):
        assert elsewhere.stat().st_mode & 0o200
    monkeypatch.setattr(os, "getuid", lambda: elsewhere.stat().st_uid + 1)
    with chain._read_only(out / "s01"):
        assert all(path.stat().st_mode & 0o200 for path in out.rglob("*"))


def test_a_session_that_outlived_its_chain_is_not_started_a_second_time(quick, out):
    start(quick, out, sessions=1)
    refused = []

    def again():
        try:
            start(quick, out)
        except ValueError as error:
            refused.append(str(error))

    with lock.hold(out / "s02"):
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert "s02 is in use by process" in refused[0]
    assert [number for number, _ in quick.calls] == [1]
    assert start(quick, out).done


@pytest.mark.parametrize(
    "value", [{"a": math.inf}, {"b": [-math.inf, math.nan]}, {"c": "\U0001d504 #"}]
)
def test_any_character_and_number_reaches_every_session(quick, tmp_path, value):
    quick.add("03_srgan", parameters=PARAMETERS + "about: dict = {}")
    out = tmp_path / "\U0001f9e0 \xe9\\ #1"
    start(quick, out, sessions=1, parameters={"about": value})
    assert start(quick, out, parameters={"about": value}).done
    words = [f"{name}={text}" for name, text in quick.calls[1][1].items()]
    given = parameters.parse(words)
    assert given["resume_from"] == str(out / "s01" / "03_srgan")
    assert repr(given["about"]) == repr(value)
    assert plan.kept(out, plan.new(plan.one("03", quick.folder), {"about": value})).chain


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: damage(f / "srgan_checkpoint.pt"), "does not agree with its sha256"),
        (lambda f: (f / "srgan_checkpoint.pt").write_bytes(b"x"), "1 bytes of"),
        (lambda f: (f / "srgan_checkpoint.pt").unlink(), "is missing"),
        (lambda f: (f / states.NAME).write_text("{"), "not the state of a chain"),
    ],
)
def test_a_spoilt_session_is_not_resumed(quick, out, spoil, message):
    start(quick, out, sessions=1)
    spoil(out / "s01" / "03_srgan")
    with pytest.raises(ValueError, match=f"{message}.*\nSession 1 cannot be resumed"):
        start(quick, out)
    assert len(quick.calls) == 1


def test_a_session_without_a_step_is_an_error_and_runs_again(quick, out):
    quick.each = 0
    with pytest.raises(ValueError, match="session 1 took no step"):
        start(quick, out)
    quick.each = 50
    assert start(quick, out, hours=2.0).session == 2


def test_another_configuration_is_refused(quick, out):
    start(quick, out, sessions=1)
    with pytest.raises(ValueError, match="total is 50 here and not given there"):
        start(quick, out, parameters={"total": 50})
    assert len(quick.calls) == 1


def test_a_second_chain_in_the_folder_is_refused(quick, out, monkeypatch):
    refused = Mock(side_effect=ValueError("in use"))
    monkeypatch.setattr(lock, "hold", refused)
    with pytest.raises(ValueError, match="in use"):
        start(quick, out)
    assert not quick.calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sessions": 0}, "at least one session"),
        ({"hours": 0}, "hours above 0"),
        ({"parameters": {"hours": 2}}, "hours is set for each session"),
        ({"parameters": {"chain": {}}}, "chain is set for each session"),
        ({"parameters": {"tota": 2}}, "did you mean total"),
    ],
)
def test_bad_input_starts_nothing(quick, out, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        start(quick, out, **options)
    assert not quick.calls


def test_a_notebook_without_hours_cannot_be_chained(series, out):
    series.add("03_srgan")
    with pytest.raises(ValueError, match="03_srgan cannot be run in sessions: it has no parameter"):
        start(series, out)
    series.add("03_again")
    with pytest.raises(ValueError, match="'03' means several notebooks"):
        start(series, out)


def test_the_command_says_whether_it_is_done(quick, out, capsys):
    words = ["chain", "03", "--hours", "1", "--data", str(quick.data), "--out", str(out)]
    words += ["--notebooks", str(quick.folder)]
    assert cli.main([*words, "--sessions", "2"]) == 1
    assert "the same command with more --sessions" in capsys.readouterr().err
    assert cli.main([*words, "--sessions", "3"]) == 0
    assert "100 of 100 steps: done" in capsys.readouterr().err


REAL = """import time
import chains
run = chains.begin(out_dir, resume_from, chain)
if "wait" in data_dir:
    (run.folder / "began").touch()
    time.sleep(200)
run.record(chains.train(run.folder, each=50))"""


@pytest.mark.slow
def test_ctrl_c_ends_a_chain_of_processes_and_the_same_command_goes_on(series, out, tmp_path):
    series.add("03_srgan", REAL, parameters=PARAMETERS)
    waiting = series.root / "wait"
    waiting.mkdir()
    command = [sys.executable, "-m", "medsr_lib", "chain", "03", "--sessions", "3", "--hours", "1"]
    command += ["--out", str(out), "--notebooks", str(series.folder), "--data"]
    options = {
        "env": os.environ | {"PYTHONPATH": str(Path(chains.__file__).parent)},
        "stderr": subprocess.PIPE,
        "text": True,
    }
    process = subprocess.Popen([*command, str(waiting)], start_new_session=True, **options)
    began = out / "s01" / "03_srgan" / "began"
    while not began.exists():
        assert process.poll() is None
        threading.Event().wait(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert not (out / "s01" / "03_srgan" / states.NAME).exists()
    done = subprocess.run([*command, str(series.data)], check=False, **options)
    assert done.returncode == 0, done.stderr
    state = states.verify(out / "s02" / "03_srgan")
    assert (state.session, state.done) == (2, True)
    assert state.fingerprint == chains.uninterrupted(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_chain_leaves_a_session_that_keeps_others_out_until_it_ends(series, out):
    series.add("03_srgan", REAL, parameters=PARAMETERS)
    waiting = series.root / "wait"
    waiting.mkdir()
    command = [sys.executable, "-m", "medsr_lib", "chain", "03", "--sessions", "3", "--hours", "1"]
    command += ["--out", str(out), "--notebooks", str(series.folder), "--data", str(waiting)]
    options = {
        "env": os.environ | {"PYTHONPATH": str(Path(chains.__file__).parent)},
        "stderr": subprocess.PIPE,
        "text": True,
    }
    process = subprocess.Popen(command, **options)
    while not (out / "s01" / "run.json").exists() and process.poll() is None:
        threading.Event().wait(0.05)
    process.kill()
    session = json.loads((out / "s01" / lock.HOLDER).read_text())["pid"]
    refused = subprocess.run(command, check=False, **options)
    assert refused.returncode == 2
    assert f"s01 is in use by process {session} on" in refused.stderr
    os.kill(session, signal.SIGKILL)
    while True:
        with suppress(ValueError), lock.hold(out / "s01"):
            break

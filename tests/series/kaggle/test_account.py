"""The real client against the stand-in: every refusal is an error, and downloads stay inside."""

import contextlib
import json
import subprocess
import sys
from contextlib import ExitStack

import chains
import pytest
from kaggle_service import NotebookRunner, Service, faults

from medsr_lib.series import cli
from medsr_lib.series.kaggle import kernel, metadata
from medsr_lib.series.kaggle.account import Account, KernelStatus, Progress
from medsr_lib.series.kaggle.client import TRIES, NotThere, Refused
from medsr_lib.series.sessions import plan
from medsr_lib.series.sessions import state as states

REF = "tester/medsr-01-data-exploration"


def nothing(started, inputs, working):
    (working / "a.txt").write_text("done")


@pytest.fixture
def start(tmp_path):
    """`start(**settings)` -> a service, and an account there."""
    with ExitStack() as stack:

        def make(*, runner=nothing, **settings):
            service = stack.enter_context(Service(tmp_path / "service", runner=runner, **settings))
            stack.enter_context(service.connected())
            chains.prepare(service, tmp_path)
            return service, Account(pause=lambda _: None)

        yield make


@pytest.fixture
def built(tmp_path):
    """The kernel folder of notebook 01, for anybody."""
    return build("01", tmp_path / "built", {})


def build(name, out, parameters):
    notebook = plan.one(name, None)
    return kernel.build(
        notebook,
        out,
        needs=metadata.NEEDS[notebook.name],
        parameters=parameters,
        ref=f"{metadata.OWNER}/{metadata.slug_of(notebook.name)}",
    )


def test_a_push_fills_in_the_owner(start, built):
    service, account = start()
    assert account.push(built, hours=2.0) == REF
    request = service.pushes[0].request
    assert request["datasetDataSources"] == [metadata.FIGSHARE, "tester/medsr-lib"]
    assert request["sessionTimeoutSeconds"] == 7200
    assert metadata.OWNER not in request["text"]
    assert service.wait(REF) == "COMPLETE"
    assert account.progress(REF) == Progress(KernelStatus.COMPLETE)


def test_a_second_push_is_a_new_version(start, built):
    service, account = start()
    account.push(built)
    service.wait(REF)
    account.push(built)
    assert len(service.kernels[REF].versions) == 2


@pytest.mark.parametrize("accepted", [True, False])
def test_a_push_whose_answer_is_lost_is_pushed_once(start, built, accepted):
    fault = faults.disconnected(call="SaveKernel", accepted=accepted, at=1)
    service, account = start(faults=[fault])
    assert account.push(built) == REF
    assert len(service.kernels[REF].versions) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.refused("No."), "Kaggle refused tester/medsr-01-data-exploration: No"),
        (faults.dropped_source("*/medsr-lib"), "started .* without tester/medsr-lib"),
        (faults.renamed("something"), "called the kernel 'tester/something'"),
    ],
)
def test_what_the_client_calls_a_success_is_an_error(start, built, fault, message):
    _, account = start(faults=[fault])
    with pytest.raises(Refused, match=message):
        account.push(built)


def spoil(built, **changed):
    path = built / metadata.KERNEL
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "medsr-01-data-exploration"}, "it must be owner/slug"),
        ({"title": "Another title"}, "Kaggle would call"),
        ({"title": "x" * 51}, "has 51 characters"),
        ({"enable_gpu": True}, "enable_gpu needs machine_shape"),
        ({"code_file": "b.ipynb"}, "names 'b.ipynb', which is not there"),
        ({"dataset_sources": ["nobody/nothing"]}, "there is no data set nobody/nothing"),
        ({"kernel_sources": ["tester/missing"]}, "there is no kernel tester/missing"),
    ],
)
def test_a_bad_folder_is_refused_before_it_is_pushed(start, built, changed, message):
    service, account = start()
    spoil(built, **changed)
    with pytest.raises((ValueError, OSError), match=message):
        account.push(built)
    assert not service.pushes


def test_inputs_must_be_ready(start, built):
    service, account = start()
    service.add_kernel("tester/earlier", status="ERROR")
    spoil(built, kernel_sources=["tester/earlier"])
    with pytest.raises(
        ValueError, match="the kernel tester/earlier is ERROR; only one that is COMPLETE"
    ):
        account.push(built)
    assert not service.pushes


def test_a_key_in_the_notebook_is_not_pushed(start, built):
    service, account = start()
    path = built / "01_data_exploration.ipynb"
    path.write_text(path.read_text().replace("torch", f"torch # {service.key}", 1))
    with pytest.raises(ValueError, match="holds your Kaggle key"):
        account.push(built)
    assert not service.pushes


def test_the_library_is_created_then_given_a_new_version(start, built):
    service, account = start(dataset_pending=2)
    del service.datasets["tester/medsr-lib"]
    with pytest.raises(NotThere, match="there is no data set tester/medsr-lib"):
        account.push(built)
    for _ in range(2):
        assert account.push_dataset(built.parent / "medsr-lib") == "tester/medsr-lib"
    assert account.push(built) == REF


def test_a_data_set_that_fails_is_an_error(start, built):
    _, account = start(faults=[faults.dataset_fails()])
    with pytest.raises(Refused, match="it is failed"):
        account.push_dataset(built.parent / "medsr-lib")


def test_the_quota_is_told(start):
    _, account = start(gpu_hours_used=21.5)
    quota = account.quota()
    assert (quota.used, quota.allowed, quota.left) == (21.5, 30.0, 8.5)
    assert str(quota).startswith("8.5 of 30 GPU hours left until ")


def test_what_is_missing_and_a_wrong_key_are_told_apart(start, monkeypatch):
    _, account = start()
    with pytest.raises(NotThere, match="no such thing: the status of tester/missing"):
        account.progress("tester/missing")
    monkeypatch.setenv("KAGGLE_KEY", "wrong-and-secret")
    with pytest.raises(ValueError, match="does not accept the credentials of 'tester'") as caught:
        Account().quota()
    assert "wrong-and-secret" not in str(caught.value)
    assert not isinstance(caught.value, NotThere)


def test_without_credentials_it_is_said_how_to_get_them(start, monkeypatch, capsys):
    start()
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=r"no Kaggle credentials found: make a token at"):
        Account()
    assert capsys.readouterr() == ("", "")


def test_without_the_client_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", None)
    with pytest.raises(ValueError, match=r"pip install 'medsr-lib\[kaggle\]'"):
        Account()


def test_a_service_that_stays_down_is_an_error_after_some_tries(start):
    service, account = start(faults=[faults.http(503, call="*")])
    with pytest.raises(OSError, match=r"6 times .*nothing is lost"):
        account.quota()
    assert len(service.requests) >= TRIES


def test_it_waits_as_long_as_the_service_asks(start, monkeypatch):
    waits = []
    start(faults=[faults.http(429, call="*", at=1, retry_after=7)])
    Account(pause=waits.append).quota()
    assert waits == [7.0]


CONTENT = bytes(range(256)) * 2000


def known_of(tmp_path):
    path = tmp_path / "known"
    path.write_bytes(CONTENT)
    return states.sums(path)


def fetch(account, name, folder):
    """Fetch a file of which size and sum are known."""
    urls, known = account.outputs("tester/kernel"), known_of(folder.parent)
    return account.fetch("tester/kernel", name, folder, urls=urls, known=known)


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncated(at=[1, 2]),
        faults.truncated(silent=True, at=[1, 2]),
        faults.http(500, call="download", at=1),
        faults.slow(0.2, call="download", at=1),
    ],
)
def test_a_download_is_whole(start, tmp_path, fault):
    service, account = start(faults=[fault])
    service.add_kernel("tester/kernel", files={"a/x.pt": CONTENT})
    path = fetch(account, "a/x.pt", tmp_path / "out")
    assert path == tmp_path / "out" / "a" / "x.pt"
    assert path.read_bytes() == CONTENT
    assert not list(path.parent.glob("*.part"))


def test_a_download_that_stays_damaged_leaves_the_former_file(start, tmp_path):
    service, account = start(faults=[faults.truncated(silent=True)])
    service.add_kernel("tester/kernel", files={"x.pt": CONTENT})
    (tmp_path / "x.pt").write_bytes(b"former")
    with pytest.raises(OSError, match=r"fetching x\.pt of tester/kernel, 6 times .*truncated"):
        fetch(account, "x.pt", tmp_path)
    assert (tmp_path / "x.pt").read_bytes() == b"former"


def test_what_is_there_already_is_not_fetched_again(start, tmp_path):
    service, account = start()
    service.add_kernel("tester/kernel", files={"x.pt": CONTENT})
    for _ in range(2):
        fetch(account, "x.pt", tmp_path)
    assert service.counts["download"] == 1


@pytest.mark.parametrize("name", ["../evil", "/tmp/medsr-evil", "a/../../evil", "a\\..\\evil"])
def test_downloads_do_not_leave_their_folder(start, tmp_path, name):
    service, account = start()
    service.add_kernel("tester/kernel", files={"x.txt": b"1", name: b"evil"})
    with pytest.raises(ValueError, match="it was refused"):
        account.fetch_all("tester/kernel", tmp_path / "out")
    assert not [p for p in tmp_path.rglob("*evil*") if "service" not in p.parts]
    assert not (tmp_path / "out" / "x.txt").exists()


def test_a_link_in_the_folder_is_not_followed(start, tmp_path):
    service, account = start()
    service.add_kernel("tester/kernel", files={"a/x.txt": b"1"})
    for name in ("out", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of"):
        account.fetch_all("tester/kernel", tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_downloads_carry_no_credentials(start, tmp_path):
    service, account = start()
    service.add_kernel("tester/kernel", files={"x.txt": b"1"})
    netrc = f"machine 127.0.0.1 login tester password {service.key}\n"
    (tmp_path / "service" / "client" / "home" / ".netrc").write_text(netrc)
    account.fetch_all("tester/kernel", tmp_path / "out")
    assert [r.authorization for r in service.requests if r.rpc == "download"] == [""]


def test_many_files_are_all_listed(start):
    service, account = start()
    files = {f"f{n}": b"" for n in range(250)}
    service.add_kernel("tester/kernel", files=files)
    assert set(account.outputs("tester/kernel")) == set(files)


@pytest.mark.slow
def test_a_notebook_runs_as_it_is_and_finds_the_output_of_another(start, tmp_path, ran_all):
    """04 stands for all but 03, which is executed in sessions (test_chain)."""
    service, account = start(runner=NotebookRunner(), time_limit=600, layout="flat")
    service.add_dataset(metadata.FIGSHARE, ran_all.data)
    espcn = (ran_all.out / "02_espcn" / "espcn.pt").read_bytes()
    service.add_kernel("tester/medsr-02-espcn", files={"02_espcn/espcn.pt": espcn})
    folder = build("04", tmp_path / "all", {"scale": 2, "fold": 2, "limit": 3, "device": "cpu"})
    account.push_dataset(tmp_path / "all" / "medsr-lib")
    ref = account.push(folder)
    assert service.wait(ref, 600) == "COMPLETE", account.progress(ref)
    path = account.fetch(ref, "04_regional_ssim/results.json", tmp_path, urls=account.outputs(ref))
    found = json.loads(path.read_text(encoding="utf-8"))["values"]
    assert "ESPCN" in {row["method"] for row in found["table"]}
    assert "slices.h5" not in account.outputs(ref)


def medsr(service, *words):
    return subprocess.run(
        [sys.executable, "-m", "medsr_lib", "kaggle", *map(str, words)],
        env=service.process_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_push_status_and_pull(start, built, tmp_path):
    service, _ = start()
    done = medsr(service, "push", built, built.parent / "medsr-lib")
    assert (done.returncode, done.stdout.split()) == (0, ["tester/medsr-lib", REF]), done.stderr
    assert service.wait(REF) == "COMPLETE"
    done = medsr(service, "status", "medsr-01-data-exploration")
    assert "30.0 of 30 GPU hours left" in done.stdout
    assert done.stdout.endswith("medsr-01-data-exploration: COMPLETE\n")
    done = medsr(service, "pull", REF, "--out", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "a.txt").read_text() == "done"
    assert not [word for word in (service.key, service.token) if word in done.stdout + done.stderr]


def test_a_mistake_is_one_message_and_code_2(start, tmp_path, capsys):
    service, _ = start()
    with contextlib.chdir(tmp_path):
        done = medsr(service, "push", "missing")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "medsr: missing is no folder that medsr kaggle build has made\n"
        words = ["kaggle", "chain", "03", "--sessions", "1", "--hours", "12", "--out", "out"]
        assert cli.main(words) == 2
        assert "12 hours: a session ends after 12 h" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

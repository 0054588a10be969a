"""The stand-in for the Kaggle service keeps its rules, towards the real client."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
from kaggle_service import NotebookRunner, Service, faults
from nbformat.v4 import new_code_cell, new_notebook


def notebook(*cells, kernelspec=True):
    made = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    if kernelspec:
        made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    return nbformat.writes(made)


def kernel(folder, slug="chain-s01", *, owner="tester", text=None, **metadata):
    """A folder to push."""
    folder = folder / "push" / slug
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.ipynb").write_text(text or notebook("1"))
    made = {
        "id": f"{owner}/{slug}",
        "title": slug,
        "code_file": "run.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "enable_gpu": True,
        "enable_internet": False,
    } | metadata
    (folder / "kernel-metadata.json").write_text(json.dumps(made))
    return str(folder)


def dataset(folder, slug="some-files", *, title="Some files", license="other", **files):
    folder = folder / "upload" / slug
    folder.mkdir(parents=True, exist_ok=True)
    made = {"id": f"tester/{slug}", "title": title, "licenses": [{"name": license}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(made))
    for name, text in (files or {"one": "1"}).items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def write(session, inputs, working):
    """A runner: two files, one of them in a folder."""
    (working / "ckpt").mkdir()
    (working / "ckpt" / "last.pt").write_bytes(bytes(range(256)) * 40)
    (working / "state.json").write_text(json.dumps({"push": session.push}))


def hang(session, inputs, working):
    write(session, inputs, working)
    session.stop.wait(30)


@pytest.fixture
def start(tmp_path):
    """`start(**settings)` -> a running service and a client of it."""
    with ExitStack() as stack:

        def make(*, runner=write, **settings):
            service = stack.enter_context(Service(tmp_path / "service", runner=runner, **settings))
            return service, stack.enter_context(service.connected())

        yield make


def status(api, ref="tester/chain-s01"):
    return api.kernels_status(ref).status.name


def test_a_kernel_runs_and_its_output_is_fetched(start, tmp_path):
    service, api = start(queued_polls=2, running_polls=1)
    answer = api.kernels_push(kernel(tmp_path), timeout="600")
    assert not answer.error
    assert (answer.ref, answer.version_number) == ("/tester/chain-s01", 1)
    assert service.pushes[0].request["sessionTimeoutSeconds"] == 600
    assert [status(api) for _ in range(3)] == ["QUEUED", "QUEUED", "RUNNING"]
    assert service.wait("tester/chain-s01") == status(api) == "COMPLETE"
    names, token = api.kernels_output("tester/chain-s01", str(tmp_path / "out"))
    assert token == ""
    found = {Path(name).relative_to(tmp_path / "out").as_posix() for name in names}
    assert found == {"ckpt/last.pt", "state.json", "chain-s01.log"}
    assert (tmp_path / "out/ckpt/last.pt").read_bytes() == bytes(range(256)) * 40


def test_the_output_comes_in_pages(start, tmp_path):
    service, api = start()
    files = {f"{n:02d}.bin": bytes([n]) for n in range(45)}
    service.add_kernel("tester/chain-s01", files=files)
    first, token = api.kernels_output("tester/chain-s01", str(tmp_path / "a"), page_token="0")
    assert (len(first), token) == (20, "20")
    names, _ = api.kernels_output("tester/chain-s01", str(tmp_path / "b"))
    assert len(names) == 46  # and the log


def test_nothing_is_listed_while_it_runs(start, tmp_path):
    _, api = start(runner=hang)
    api.kernels_push(kernel(tmp_path))
    assert status(api) == "RUNNING"
    assert api.kernels_output("tester/chain-s01", str(tmp_path / "out")) == ([], "")


def test_an_error_is_told(start, tmp_path):
    def fail(session, inputs, working):
        raise RuntimeError("checkpoint of another chain")

    service, api = start(runner=fail)
    api.kernels_push(kernel(tmp_path))
    service.wait("tester/chain-s01")
    told = api.kernels_status("tester/chain-s01")
    assert (told.status.name, told.failure_message) == ("ERROR", "checkpoint of another chain")


def test_a_notebook_without_kernelspec_dies_at_once(start, tmp_path):
    service, api = start()
    api.kernels_push(kernel(tmp_path, text=notebook("1", kernelspec=False)))
    assert service.wait("tester/chain-s01") == "ERROR"
    assert "No kernel name" in api.kernels_status("tester/chain-s01").failure_message


def test_inputs_are_mounted_and_read_only(start, tmp_path):
    def look(session, inputs, working):
        found = [p.relative_to(inputs).as_posix() for p in inputs.rglob("*") if p.is_file()]
        (working / "seen.json").write_text(json.dumps(sorted(found)))
        path = next(inputs.rglob("state.json"))
        assert not path.stat().st_mode & 0o222
        path.chmod(0o644)
        path.write_text("changed")

    service, api = start(runner=look)
    service.add_dataset("other/scans", dataset(tmp_path))
    service.add_kernel("tester/chain-s01", files={"state.json": b"{}", "ckpt/last.pt": b"1"})
    sources = {"kernel_sources": ["tester/chain-s01"], "dataset_sources": ["other/scans"]}
    answer = api.kernels_push(kernel(tmp_path, "chain-s02", **sources))
    assert not answer.invalid_kernel_sources + answer.invalid_dataset_sources
    assert service.wait("tester/chain-s02") == "ERROR"  # since it wrote
    session = service.kernels["tester/chain-s02"].latest
    assert "Read-only" in session.failure_message
    assert json.loads((session.working / "seen.json").read_text()) == [
        "datasets/other/scans/dataset-metadata.json",
        "datasets/other/scans/one.txt",
        "notebooks/tester/chain-s01/ckpt/last.pt",
        "notebooks/tester/chain-s01/state.json",
    ]


def test_the_older_flat_layout(start, tmp_path):
    service, api = start(layout="flat")
    service.add_dataset("other/scans", dataset(tmp_path))
    api.kernels_push(kernel(tmp_path, dataset_sources=["other/scans"]))
    service.wait("tester/chain-s01")
    assert (service.sessions[0].inputs / "scans" / "one.txt").exists()


@pytest.mark.parametrize("state", ["RUNNING", "ERROR", "CANCEL_ACKNOWLEDGED"])
def test_kernels_that_are_not_complete_are_dropped(start, tmp_path, state):
    service, api = start()
    service.add_kernel("tester/chain-s01", status=state)
    sources = ["tester/chain-s01", "tester/chain-s02", "tester/missing"]
    answer = api.kernels_push(kernel(tmp_path, "chain-s02", kernel_sources=sources))
    assert not answer.error
    assert answer.invalid_kernel_sources == sources
    service.wait("tester/chain-s02")
    assert not list(service.sessions[-1].inputs.iterdir())


def test_a_kernel_cannot_attach_its_own_earlier_version(start, tmp_path):
    service, api = start()
    folder = kernel(tmp_path, kernel_sources=["tester/chain-s01"])
    api.kernels_push(folder)
    assert service.wait("tester/chain-s01") == "COMPLETE"
    answer = api.kernels_push(folder)
    assert answer.version_number == 2
    assert answer.invalid_kernel_sources == ["tester/chain-s01"]


def test_data_sets_that_are_missing_private_or_not_ready_are_dropped(start, tmp_path):
    service, api = start()
    service.add_dataset("other/private", dataset(tmp_path), private=True)
    service.add_dataset("tester/new-files", dataset(tmp_path), pending=9)
    sources = ["other/private", "tester/new-files", "other/missing"]
    answer = api.kernels_push(kernel(tmp_path, dataset_sources=sources))
    assert answer.invalid_dataset_sources == sources


def test_two_gpu_sessions_at_once(start, tmp_path):
    service, api = start(runner=hang)
    for slug in ("first-one", "second-one"):
        assert not api.kernels_push(kernel(tmp_path, slug)).error
    answer = api.kernels_push(kernel(tmp_path, "third-one"))
    assert answer.error == "Maximum batch GPU session count of 2 reached."
    assert "tester/third-one" not in service.kernels
    assert not api.kernels_push(kernel(tmp_path, "on-the-cpu", enable_gpu=False)).error
    service.cancel("tester/first-one")
    service.wait("tester/first-one")
    assert not api.kernels_push(kernel(tmp_path, "third-one")).error


def test_the_quota_is_used_and_refused(start, tmp_path):
    service, api = start(gpu_hours_allowed=12, gpu_hours_used=3.5, session_hours=8.5)
    api.kernels_push(kernel(tmp_path))
    service.wait("tester/chain-s01")
    quota = api.quota_view().gpu_quota
    assert quota.time_used.total_seconds() == 12 * 3600
    assert quota.total_time_allowed.total_seconds() == 12 * 3600
    assert "quota" in api.kernels_push(kernel(tmp_path, "chain-s02")).error


def test_running_sessions_reserve_quota(start, tmp_path):
    _, api = start(runner=hang, session_hours=8.5)
    api.kernels_push(kernel(tmp_path))
    assert api.quota_view().gpu_quota.time_reserved.total_seconds() == 8.5 * 3600


def test_the_slug_follows_from_the_title(start, tmp_path):
    service, api = start()
    answer = api.kernels_push(kernel(tmp_path, title="My Own: Chain, 1st"))
    assert answer.ref == "/tester/my-own-chain-1st"
    with pytest.raises(ValueError, match="Cannot access"):
        status(api)
    kernel_id = service.kernels["tester/my-own-chain-1st"].id
    renamed = kernel(tmp_path, "my-own-chain-1st", title="Another name")
    assert api.kernels_push(renamed).ref == "/tester/another-name"
    assert service.kernels["tester/another-name"].id == kernel_id


def test_titles_that_are_refused(start, tmp_path):
    service, api = start()
    assert "50 characters" in api.kernels_push(kernel(tmp_path, title="x" * 51)).error
    service.add_kernel("tester/taken-slug", title="Taken slug")
    assert "in use" in api.kernels_push(kernel(tmp_path, title="Taken, slug")).error
    assert not service.sessions[1:]


def test_a_wrong_key_and_another_owner(start, tmp_path):
    service, api = start()
    service.add_kernel("other/private-one")
    with pytest.raises(ValueError, match="Cannot access"):
        status(api, "other/private-one")
    with pytest.raises(requests.HTTPError) as caught:
        api.kernels_push(kernel(tmp_path, owner="other"))
    assert caught.value.response.status_code == 403
    with (
        service.connected(KAGGLE_KEY="wrong") as stranger,
        pytest.raises(requests.HTTPError) as caught,
    ):
        stranger.kernels_push(kernel(tmp_path))
    assert caught.value.response.status_code == 401
    assert not service.accepted


def test_without_credentials(start, capsys):
    service, _ = start()
    with service.connected(KAGGLE_KEY=None, KAGGLE_USERNAME=None) as api:
        assert "authentication required" in capsys.readouterr().out.lower()
        with pytest.raises(ValueError, match="Cannot access"):
            status(api)
        assert not service.requests[-1].authorization


def test_a_client_imported_before_is_pointed_anew(tmp_path):
    for number in (1, 2):
        with Service(tmp_path / str(number)) as service, service.connected():
            import kaggle

            assert kaggle.api.quota_view().gpu_quota
            assert service.counts["GetAcceleratorQuotaStatistics"] == 1


def test_a_token_instead_of_a_key(start):
    service, _ = start()
    with service.connected(KAGGLE_API_TOKEN=service.token) as api:
        assert api.get_config_value("username") == "tester"
        assert api.quota_view().gpu_quota.time_used.total_seconds() == 0


def test_pull_tells_the_image_and_a_pinned_one_is_kept(start, tmp_path):
    service, api = start()
    api.kernels_push(kernel(tmp_path))
    api.kernels_pull("tester/chain-s01", str(tmp_path / "pulled"), metadata=True)
    pulled = json.loads((tmp_path / "pulled/kernel-metadata.json").read_text())
    first = service.image
    assert pulled["docker_image"] == first
    service.image = "gcr.io/kaggle-gpu-images/python@sha256:newer"
    api.kernels_push(kernel(tmp_path, "chain-s02", docker_image=first))
    service.wait("tester/chain-s02")
    api.kernels_push(kernel(tmp_path, "chain-s03"))
    assert [s.image for s in service.sessions] == [first, first, service.image]


# Data sets


def test_a_data_set_is_uploaded_and_becomes_ready(start, tmp_path):
    service, api = start(dataset_pending=2)
    folder = dataset(tmp_path, wheel="w" * 100_000)
    answer = api.dataset_create_new(str(folder), quiet=True)
    assert answer.status == "ok", answer.error
    assert [api.dataset_status("tester/some-files") for _ in range(3)] == [
        "blobs_received",
        "blobs_received",
        "ready",
    ]
    ready = service.datasets["tester/some-files"].ready()
    assert (ready / "wheel.txt").read_text() == "w" * 100_000


def test_until_a_new_version_is_ready_the_old_one_is_attached(start, tmp_path):
    service, api = start()
    service.add_dataset("tester/some-files", dataset(tmp_path, one="old"))
    service.dataset_pending = 1
    answer = api.dataset_create_version(str(dataset(tmp_path, one="new")), "notes", quiet=True)
    assert answer.status == "ok"
    assert service.datasets["tester/some-files"].ready() == tmp_path / "upload/some-files"
    assert api.dataset_status("tester/some-files") == "blobs_received"
    ready = service.datasets["tester/some-files"].ready()
    assert (ready / "one.txt").read_text() == "new"


def test_data_sets_that_are_refused(start, tmp_path):
    service, api = start()
    folder = str(dataset(tmp_path, license="MIT"))
    assert "license" in api.dataset_create_new(folder, quiet=True).error
    with pytest.raises(requests.HTTPError):
        api.dataset_status("tester/missing")
    service.add_dataset("other/private", dataset(tmp_path), private=True)
    with pytest.raises(requests.HTTPError):
        api.dataset_status("other/private")


def test_an_upload_goes_on_after_an_error(start, tmp_path):
    service, api = start(faults=[faults.http(503, call="upload", at=1)])
    api.dataset_create_new(str(dataset(tmp_path)), quiet=True)
    assert service.counts["upload"] >= 2
    ready = service.datasets["tester/some-files"].ready()
    assert (ready / "one.txt").read_text() == "1"


# Faults


def test_queued_for_long(start, tmp_path):
    _, api = start(runner=hang, faults=[faults.queued(30, at=1)])
    api.kernels_push(kernel(tmp_path))
    assert [status(api) for _ in range(31)] == ["QUEUED"] * 30 + ["RUNNING"]


def test_a_forced_error_with_and_without_files(start, tmp_path):
    first = faults.ends("ERROR", message="lost", at=1)
    second = faults.ends("CANCEL_ACKNOWLEDGED", files=False, at=2)
    service, api = start(faults=[first, second])
    for slug, files in (("chain-s01", 2), ("chain-s02", 0)):
        api.kernels_push(kernel(tmp_path, slug))
        service.wait(f"tester/{slug}")
        assert len(service.kernels[f"tester/{slug}"].latest.files()) == files
    assert api.kernels_status("tester/chain-s01").failure_message == "lost"
    assert status(api, "tester/chain-s02") == "CANCEL_ACKNOWLEDGED"


@pytest.mark.parametrize("files", [True, False])
def test_cancelled_at_the_time_limit(start, tmp_path, files):
    service, api = start(runner=hang, faults=[faults.limit(0.05, files=files, at=1)])
    api.kernels_push(kernel(tmp_path))
    assert service.wait("tester/chain-s01") == status(api) == "CANCEL_ACKNOWLEDGED"
    names, _ = api.kernels_output("tester/chain-s01", str(tmp_path / "out"))
    assert len(names) == (3 if files else 1)  # the log is there


def test_the_limit_given_with_the_push(start, tmp_path):
    service, api = start(runner=hang)
    api.kernels_push(kernel(tmp_path), timeout="1")
    assert service.sessions[0].time_limit == 1


def test_http_errors(start, tmp_path):
    call = "GetKernelSessionStatus"
    bad = [faults.http(500, call=call, at=1), faults.http(429, call=call, at=2, retry_after=0.5)]
    service, api = start(faults=bad)
    service.add_kernel("tester/chain-s01")
    with pytest.raises(requests.HTTPError, match="500"):
        status(api)
    with pytest.raises(requests.HTTPError, match="429") as caught:
        status(api)
    assert caught.value.response.headers["Retry-After"] == "0.5"
    assert status(api) == "COMPLETE"


@pytest.mark.parametrize("accepted", [True, False])
def test_the_connection_drops_during_a_push(start, tmp_path, accepted):
    drop = faults.disconnected(call="SaveKernel", accepted=accepted, at=1)
    service, api = start(faults=[drop])
    with pytest.raises(requests.ConnectionError):
        api.kernels_push(kernel(tmp_path))
    assert ("tester/chain-s01" in service.kernels) == accepted
    assert len(service.pushes) == service.accepted == int(accepted)


def files(service, **files):
    """The address of a file of a finished kernel."""
    service.add_kernel("tester/chain-s01", files=files)
    return service.file_url(service.sessions[-1], 0)


def test_downloads_resume(start):
    service, _ = start()
    url = files(service, last=b"0123456789")
    whole = requests.get(url)
    rest = requests.get(url, headers={"Range": "bytes=4-", "If-Range": whole.headers["ETag"]})
    assert (rest.status_code, rest.content) == (206, b"456789")
    stale = requests.get(url, headers={"Range": "bytes=4-", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, b"0123456789")
    assert requests.get(url, headers={"Range": "bytes=10-"}).status_code == 416


def test_truncated_downloads(start):
    service, _ = start(faults=[faults.truncated(at=1), faults.truncated(at=2, silent=True)])
    url = files(service, last=b"0123456789")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url)
    assert requests.get(url).content == b"01234"
    assert requests.get(url).content == b"0123456789"


def test_slow_downloads_and_calls(start):
    slow = [faults.slow(0.2, call="download"), faults.slow(0.1, call="GetKernel*")]
    service, api = start(faults=slow)
    began = time.monotonic()
    assert requests.get(files(service, last=b"0123456789")).content == b"0123456789"
    assert time.monotonic() - began > 0.2
    assert status(api) == "COMPLETE"
    assert time.monotonic() - began > 0.3


def test_hostile_names_are_told_as_they_are(start, tmp_path):
    service, api = start(faults=[faults.hostile("../../evil", at=1)])
    api.kernels_push(kernel(tmp_path))
    service.wait("tester/chain-s01")
    with api.build_kaggle_client() as client:
        from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

        request = ApiListKernelSessionOutputRequest()
        request.user_name, request.kernel_slug = "tester", "chain-s01"
        listed = client.kernels.kernels_api_client.list_kernel_session_output(request).files
    assert [f.file_name for f in listed] == ["ckpt/last.pt", "state.json", "../../evil"]
    assert requests.get(listed[2].url).content == b"evil"


# Credentials and processes


def test_the_key_goes_to_calls_only(start, tmp_path):
    service, api = start()
    api.kernels_push(kernel(tmp_path))
    service.wait("tester/chain-s01")
    api.kernels_output("tester/chain-s01", str(tmp_path / "out"))
    api.dataset_create_new(str(dataset(tmp_path)), quiet=True)
    sent = {r.rpc: bool(r.authorization) for r in service.requests}
    assert sent["SaveKernel"]
    assert not sent["download"]
    assert not sent["upload"]
    assert requests.get("http://elsewhere.example/x").status_code == 502
    assert service.requests[-1].host == "elsewhere.example"
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get("https://elsewhere.example/x")


def test_the_environment_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "of the user")
    before = dict(os.environ)
    with Service(tmp_path) as service, service.connected():
        assert "KAGGLE_API_TOKEN" not in os.environ
    assert dict(os.environ) == before
    assert "of the user" not in " ".join(r.authorization for r in service.requests)


def test_the_command_line_of_the_client(tmp_path):
    with Service(tmp_path / "service", runner=write) as service:
        command = [sys.executable, "-m", "kaggle", "kernels", "push", "-p", kernel(tmp_path)]
        done = subprocess.run(
            command, env=service.process_environment(), cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "successfully pushed" in done.stdout
        assert service.wait("tester/chain-s01") == "COMPLETE"


def test_pushes_at_the_same_time(start, tmp_path):
    service, api = start(runner=hang)
    folders = [kernel(tmp_path, f"chain-s{n:02d}") for n in range(6)]
    threads = [threading.Thread(target=api.kernels_push, args=(f,)) for f in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.accepted == 2
    assert len(service.pushes) == 6


LOOK = """import os, pathlib
root = pathlib.Path(os.environ["MEDSR_KAGGLE_ROOT"])
assert pathlib.Path.cwd() == root / "working"
assert os.environ["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
seen = [p.read_text() for p in (root / "input").rglob("step.txt")]
pathlib.Path("step.txt").write_text(str(1 + sum(map(int, seen))))
print("step", seen)"""


INSTALL = """import os, pathlib, sys, subprocess
wheel = next(pathlib.Path(os.environ['MEDSR_KAGGLE_ROOT'], 'input').rglob('*.whl'))
pip = [sys.executable, '-m', 'pip', 'install', '--no-index', '--no-deps', wheel]
subprocess.run(pip, check=True)
import tiny
pathlib.Path('answer').write_text(str(tiny.answer))"""


def wheel(folder):
    """A library `tiny` to install."""
    folder.mkdir()
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny.py", "answer = 42")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return folder


@pytest.mark.slow
def test_notebooks_are_executed_and_chain_and_keep_what_they_install(start, tmp_path):
    service, api = start(runner=NotebookRunner())
    service.add_dataset("tester/tiny-lib", wheel(tmp_path / "wheel"))
    api.kernels_push(kernel(tmp_path, text=notebook(LOOK)))
    assert service.wait("tester/chain-s01") == "COMPLETE", service.sessions[0].failure_message
    sources = {"kernel_sources": ["tester/chain-s01"], "dataset_sources": ["tester/tiny-lib"]}
    api.kernels_push(kernel(tmp_path, "chain-s02", text=notebook(LOOK, INSTALL), **sources))
    assert service.wait("tester/chain-s02") == "COMPLETE", service.sessions[1].failure_message
    assert (service.sessions[1].working / "step.txt").read_text() == "2"
    assert (service.sessions[1].working / "answer").read_text() == "42"
    assert importlib.util.find_spec("tiny") is None
    assert "step ['1']" in str(service.sessions[1].log)
    assert service.secret not in str(service.sessions[1].log)


@pytest.mark.slow
def test_a_cell_that_raises_or_exits_is_an_error(start, tmp_path):
    service, api = start(runner=NotebookRunner())
    api.kernels_push(kernel(tmp_path, text=notebook("raise ValueError('wrong step')")))
    api.kernels_push(kernel(tmp_path, "chain-s02", text=notebook("raise SystemExit(0)")))
    assert service.wait("tester/chain-s01") == service.wait("tester/chain-s02") == "ERROR"
    assert "wrong step" in api.kernels_status("tester/chain-s01").failure_message


def test_a_notebook_is_killed_at_the_limit(start, tmp_path):
    cells = (
        "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid()))",
        "try:\n    time.sleep(60)\nfinally:\n    pathlib.Path('finally').touch()",
    )
    service, api = start(runner=NotebookRunner())
    api.kernels_push(kernel(tmp_path, text=notebook(*cells)))
    pid = service.sessions[0].working / "pid"
    until = time.monotonic() + 30
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    service.cancel("tester/chain-s01")
    assert service.wait("tester/chain-s01") == "CANCEL_ACKNOWLEDGED"
    assert not (service.sessions[0].working / "finally").exists()
    while any(
        p.pid == int(pid.read_text()) and p.status() != psutil.STATUS_ZOMBIE
        for p in psutil.process_iter()
    ):
        assert time.monotonic() < until
        time.sleep(0.05)

"""Sweeps on workers of dask.distributed."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from medsr_lib.series import cli
from medsr_lib.series.running import cluster

DIES = """import os, signal, time
from pathlib import Path
folder = Path(out_dir) / "02_b"
with (folder.parents[1] / "begun.txt").open("a") as file:
    print(scale, os.getppid(), file=file)
begun = (folder.parents[1] / "begun.txt").read_text()
if scale == 3 and begun.count("3 ") == 1:
    os.kill(os.getppid(), signal.SIGKILL)  # the worker
if rate == 0.5 and scale == 4:
    time.sleep(600)"""
RECORD = """from medsr_lib.series import report
_ = report.record(folder, {"gain_psnr": scale / 2})"""


@pytest.fixture
def command(series):
    """The arguments of a sweep of a notebook of two cells, which notes who runs it."""
    series.add("02_b", DIES, RECORD)
    places = ["--data", str(series.data), "--out", str(series.root / "grid")]
    return ["sweep", "02", "--notebooks", str(series.folder), *places]


@pytest.fixture
def workers():
    """A cluster of two processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as local:
        yield local.scheduler_address


def begun(series):
    """scale -> the workers that have begun it."""
    lines = [line.split() for line in (series.root / "grid" / "begun.txt").read_text().splitlines()]
    return {scale: [worker for one, worker in lines if one == scale] for scale, _ in lines}


def test_without_dask_it_is_said_what_to_install(series, command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main([*command, "-p", "scale=2", "--workers", "2"]) == 2
    assert "workers need dask: pip install 'medsr-lib[cluster]'" in capsys.readouterr().err


def test_an_address_that_does_not_answer_is_refused(command, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "ANSWERS_IN", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, "nowhere"):
        assert cli.main([*command, "-p", "scale=2", "--scheduler", address]) == 2
        assert f"no dask scheduler with workers answers at {address}" in capsys.readouterr().err


def test_a_scheduler_without_workers_is_refused(command, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "ANSWERS_IN", 2.0)
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    scheduler = {"cls": distributed.Scheduler, "options": options}
    with distributed.SpecCluster(scheduler=scheduler, silence_logs=False) as local:
        address = local.scheduler_address
        assert cli.main([*command, "-p", "scale=2", "--scheduler", address]) == 2
    assert f"no dask scheduler with workers answers at {address}" in capsys.readouterr().err


def test_the_number_of_workers_is_checked_before_anything_runs(command, capsys):
    assert cli.main([*command, "-p", "scale=2", "--workers", "0"]) == 2
    assert "workers must be a whole number of at least 1, got 0" in capsys.readouterr().err


def test_a_combination_that_killed_four_workers_has_failed(command, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "each", lambda *_, **__: (end for end in [(0, None)]))
    assert cli.main([*command, "-p", "scale=2", "--workers", "2"]) == 1
    assert "scale = 2: four workers died of it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_workers_combination_runs_again_and_nothing_else(
    series, command, workers, monkeypatch, tmp_path, capsys
):
    grid = [*command, "-p", "scale=2,3,4", "--scheduler", workers]
    assert cli.main(grid) == 0
    found = begun(series)
    assert {scale: len(ran) for scale, ran in found.items()} == {"2": 1, "3": 2, "4": 1}
    assert len({worker for ran in found.values() for worker in ran}) >= 2
    rows = (series.root / "grid" / "sweep.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == ["done"] * 3
    assert cli.main(grid) == 0
    assert begun(series) == found
    monkeypatch.chdir(tmp_path / "data")
    capsys.readouterr()
    assert cli.main(grid) == 2
    assert "but this process: medsr_lib" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_leaves_what_is_done(series, command):
    line = [sys.executable, "-m", "medsr_lib", *command, "-p", "scale=2,4", "-p", "rate=0.5"]
    with subprocess.Popen([*line, "--workers", "1"], start_new_session=True) as other:
        grid = series.root / "grid"
        until = time.monotonic() + 600
        while other.poll() is None and time.monotonic() < until:
            if (grid / "begun.txt").exists() and "4" in begun(series):
                break
            time.sleep(0.2)
        (worker,) = begun(series)["4"]
        kernel = psutil.Process(int(worker)).children()
        os.killpg(other.pid, signal.SIGINT)
        assert other.wait(timeout=300) == 130
    assert not psutil.pid_exists(int(worker))
    assert not psutil.wait_procs(kernel, timeout=60)[1]
    rows = (grid / "sweep.csv").read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["done", "not run"]

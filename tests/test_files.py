import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medsr_lib.files import atomic, atomic_folder, home, sha256, sweep


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "a.txt"


def names(path):
    return sorted(p.name for p in path.parent.iterdir())


def test_makes_the_folder_and_the_file(path):
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename across disks would not be atomic
    assert path.read_text() == "whole"
    assert names(path) == ["a.txt"]


def test_replaces_a_file_at_the_end(path):
    path.parent.mkdir(parents=True)
    path.write_text("former")
    with atomic(str(path)) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_failure_leaves_the_former_file(path, error):
    path.parent.mkdir(parents=True)
    path.write_text("former")

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("half of it")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "former"
    assert names(path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(path):
    path.parent.mkdir(parents=True)
    path.write_text("former")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "former"


@pytest.mark.skipif(os.name != "posix", reason="Windows flushes folders by itself")
def test_the_file_is_on_the_disk_before_its_name_and_the_name_at_the_end(path, monkeypatch):
    order, fsync, replace = [], os.fsync, Path.replace

    def note_fsync(descriptor):
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(temporary, target):
        order.append("rename")
        return replace(temporary, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with atomic(path) as temporary:
        temporary.write_text("whole")
    assert order == ["file", "rename", "folder"]


def test_sweeping_removes_what_dead_processes_left_and_nothing_else(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", f"""
from pathlib import Path
from medsr_lib import files
folder = Path({str(tmp_path)!r})
with files.atomic(folder / "a.txt") as path, files.atomic_folder(folder / "set") as inside:
    path.touch()
    (inside / "1.mat").touch()
    print("ready", flush=True)
    input()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    child.stdout.readline()
    foreign, own = tmp_path / ".a.txt.00000000-1.tmp", tmp_path / ".notes.tmp"
    for path in (foreign, own):
        path.touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    child.kill()
    child.communicate()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([foreign, own])
    os.utime(foreign, (0, 0))
    with atomic(tmp_path / "a.txt") as path:
        path.touch()
    assert names(tmp_path / "a.txt") == [".notes.tmp", "a.txt"]


SET = ("cvind.mat", "data/1.mat")


def write_set(target, error=None):
    with atomic_folder(target) as folder:
        (folder / "data").mkdir()
        for name in SET:
            (folder / name).touch()
            assert not (target / name).exists()
        if error:
            raise error


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole_or_not_at_all(tmp_path, there):
    target = tmp_path / "set"
    if there:
        target.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_set(target, error=KeyboardInterrupt())
    assert list(tmp_path.rglob("*")) == [target] * there
    write_set(target)
    assert {str(p.relative_to(target)) for p in tmp_path.rglob("*.*")} == set(SET)


def test_without_home_and_user_a_private_temporary_folder_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setattr(Path, "home", lambda: Path("~nobody-of-that-name").expanduser())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours = home()
    assert ours.parent == tmp_path
    assert ours.stat().st_mode & 0o777 == 0o700
    assert os.environ["HOME"] == str(ours) == str(home())
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # of somebody whose folder another has made
    (tmp_path / "medsr-home-54321").mkdir()
    theirs = home()
    assert theirs.parent == tmp_path
    assert theirs.name != "medsr-home-54321"


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")

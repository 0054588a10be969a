import os
import stat
from pathlib import Path

import pytest

from medsr_lib.files import atomic, sha256


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "a.txt"


def names(path):
    return [p.name for p in path.parent.iterdir()]


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


def test_what_a_killed_process_left_is_overwritten(path):
    path.parent.mkdir(parents=True)
    (path.parent / f".{path.name}.{os.getpid()}.tmp").write_text("longer than what comes")
    with atomic(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path) == ["a.txt"]


def test_removes_what_a_killed_process_left_an_hour_ago(tmp_path):
    old, recent = tmp_path / ".a.txt.1.tmp", tmp_path / ".a.txt.2.tmp"
    for path in (old, recent):
        path.write_text("half")
    os.utime(old, (0, 0))
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", ".a.txt.2.tmp"}


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")

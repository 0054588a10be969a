import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from states import files_of_at_most

from medsr_lib import files as files_
from medsr_lib.restore.training import checkpoint

STATE = {
    "step": 7,
    "rate": 0.1,
    "name": "ESPCN",
    "nothing": None,
    "flag": True,
    "weights": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor([1, 2])},
    "pairs": [(1, 0.5), (2, 0.25)],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "a.pt"


@pytest.fixture
def saved(path):
    checkpoint.save(path, STATE)
    return path


def files(path):
    return sorted(p.name for p in path.parent.iterdir())


def seal(path):
    """Give a file the sum that its content asks for, as somebody who knows how would."""
    body = path.read_bytes()[: -checkpoint._SUM]
    path.write_bytes(body + checkpoint._MARK + hashlib.sha256(body).hexdigest().encode())


def test_round_trip(path, saved):
    assert checkpoint.load(path.with_name("b.pt")) is None
    found = checkpoint.load(saved)
    assert found.keys() == STATE.keys()
    assert all(found[name] == STATE[name] for name in STATE if name != "weights")
    assert torch.equal(found["weights"]["w"], STATE["weights"]["w"])
    assert found["weights"]["n"].dtype == torch.int64
    checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved) == {"step": 8}
    assert files(saved) == ["a.pt"]


def test_torch_reads_the_file_too(saved):
    assert torch.load(saved, weights_only=True, mmap=True)["state"]["step"] == 7


@pytest.mark.parametrize(
    "change",
    [
        *(lambda whole, kept=kept: whole[: int(kept * len(whole))] for kept in (0, 0.5, 0.999)),
        lambda whole: whole[:60],
        *(lambda whole, content=content: content for content in (
            b"not a checkpoint", b"\x80\x02.", b"\x80\x02]q\x00e.", b"\x00" * 300,
            bytes(range(256)) * 3,
        )),
    ],
)  # fmt: skip
def test_refuses_a_truncated_file_and_one_of_anything_else(saved, change):
    saved.write_bytes(change(saved.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"format": "medsr checkpoint 99", "state": {}}, "'medsr checkpoint 99'"),
        ({"w": torch.zeros(2)}, "None"),
        (torch.zeros(2), "'Tensor'"),
    ],
)
def test_refuses_another_format(saved, content, found):
    torch.save(content, saved)
    saved.write_bytes(saved.read_bytes()[:-2] + b"\x4d\x00" + bytes(checkpoint._SUM))
    seal(saved)
    with pytest.raises(ValueError, match=f"expected {checkpoint.FORMAT!r}, found {found}"):
        checkpoint.load(saved)


class Malicious:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("write", ["torch", "torch, legacy", "pickle"])
def test_never_runs_code_from_a_file(saved, tmp_path, write):
    content = {"format": checkpoint.FORMAT, "state": Malicious(tmp_path / "pwned")}
    if write == "pickle":
        saved.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, saved, _use_new_zipfile_serialization=write == "torch")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint") as e:
            checkpoint.load(saved)
        assert "weights_only" not in str(e.value)
        saved.write_bytes(saved.read_bytes() + bytes(checkpoint._SUM))
        seal(saved)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [object(), Malicious("x"), torch.nn.Linear(1, 1), print])
def test_refuses_to_save_objects_and_leaves_the_former_file(saved, value):
    before = saved.read_bytes()
    message = r"a\.pt: a checkpoint holds tensors, .* only, not [\w.]+$"
    with pytest.raises(TypeError, match=message):
        checkpoint.save(saved, {"step": 8, "value": [(1, value)]})
    assert saved.read_bytes() == before
    assert files(saved) == ["a.pt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_leaves_the_former_file(saved, monkeypatch, error):
    def write_a_little(content, file):
        file.write(b"PK\x03\x04 the first bytes")
        raise error

    before = saved.read_bytes()
    monkeypatch.setattr(torch, "save", write_a_little)
    with pytest.raises(type(error)):
        checkpoint.save(saved, {"step": 8})
    assert saved.read_bytes() == before
    assert files(saved) == ["a.pt"]


@pytest.mark.parametrize("former", [True, False])
def test_a_full_disk_is_called_so_and_the_former_file_stays(path, former):
    if former:
        checkpoint.save(path, STATE)
    kept = "the former file is kept" if former else "nothing was written"
    with files_of_at_most(1000), pytest.raises(OSError, match=rf"disk full, .*a\.pt .*; {kept}"):
        checkpoint.save(path, {"step": 8})
    assert checkpoint.load(path) is None or checkpoint.load(path)["step"] == 7
    assert files(path) == ["a.pt"] * former


def test_a_disk_that_loses_bytes_leaves_the_former_file(saved, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: write(path, content[:-1]))
    with pytest.raises(OSError, match=r"a\.pt: the disk did not keep what was written"):
        checkpoint.save(saved, {"step": 8})
    monkeypatch.undo()
    assert checkpoint.load(saved)["step"] == 7
    assert files(saved) == ["a.pt"]


def test_no_damage_of_any_kind_is_accepted(saved):
    random.seed(0)
    whole = saved.read_bytes()
    for n in range(40):
        content, at = bytearray(whole), random.randrange(len(whole))
        if n % 4 == 0:
            content[at] ^= 1 << random.randrange(8)
        elif n % 4 == 1:
            content[at : at + 16] = random.randbytes(16)
        elif n % 4 == 2:
            del content[at : at + random.randrange(1, 200)]
        else:
            content[at:at] = random.randbytes(random.randrange(1, 200))
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint"):
            checkpoint.load(saved)


def test_refuses_a_file_of_ours_without_its_sum(saved):
    torch.save({"format": checkpoint.FORMAT, "state": {"step": 9}}, saved)
    with pytest.raises(ValueError, match="it does not end with its sha256, which all our files do"):
        checkpoint.load(saved)


def test_what_a_killed_process_left_is_swept_by_the_next(saved):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = saved.parent / f".a.pt.{files_._HOST}-{ended.pid}.tmp"
    left.write_bytes(b"PK\x03\x04 the first bytes")
    files_._sweep_once.cache_clear()  # as in another process
    checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved) == {"step": 8}
    assert files(saved) == ["a.pt"]


class Killed(BaseException):
    pass


@pytest.fixture
def kill_at(monkeypatch):
    """`kill_at(moment)` stops the process before or after the new file takes the former's place.

    As after SIGKILL, nothing is cleaned up.
    """

    def arrange(moment):
        replace = Path.replace

        def replace_or_die(temporary, target):
            if moment == "before":
                raise Killed
            replace(temporary, target)
            raise Killed

        monkeypatch.setattr(Path, "replace", replace_or_die)
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: None)

    return arrange


MOMENTS = ["before", "after"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_a_save_leaves_the_former_or_the_new_state(
    saved, kill_at, monkeypatch, moment
):
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved)["step"] == (7 if moment == "before" else 8)
    monkeypatch.undo()
    checkpoint.save(saved, {"step": 9})
    assert checkpoint.load(saved)["step"] == 9


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_first_save_leaves_nothing_or_the_state(path, kill_at, moment):
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.save(path, {"step": 8})
    assert checkpoint.load(path) == (None if moment == "before" else {"step": 8})


def test_killed_again_and_again_the_former_state_stays(saved, kill_at, monkeypatch):
    for _ in range(3):
        kill_at("before")
        with pytest.raises(Killed):
            checkpoint.save(saved, {"step": 8})
        monkeypatch.undo()
        assert checkpoint.load(saved)["step"] == 7


@pytest.fixture
def earlier(tmp_path):
    """The checkpoints of an earlier session, in a folder that cannot be written to."""
    folder = tmp_path / "input"
    for name, step in (("a", 7), ("b", 3)):
        checkpoint.save(folder / f"{name}.pt", {"step": step, "w": torch.ones(3)})
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_carry_brings_the_checkpoints_of_a_read_only_folder(earlier, tmp_path):
    target, before = tmp_path / "new" / "out", {f: f.stat() for f in earlier.iterdir()}
    assert checkpoint.carry(earlier, target) == [target / "a.pt", target / "b.pt"]
    assert sorted(p.name for p in target.iterdir()) == sorted(p.name for p in earlier.iterdir())
    assert [checkpoint.load(target / f"{n}.pt")["step"] for n in "ab"] == [7, 3]
    checkpoint.save(target / "a.pt", {"step": 8})  # what was carried can be written to
    assert all(f.stat().st_mtime_ns == s.st_mtime_ns for f, s in before.items())  # root may write


def test_carry_keeps_the_one_further_on(earlier, tmp_path):
    for name, step in (("a", 6), ("b", 4)):
        checkpoint.save(tmp_path / "out" / f"{name}.pt", {"step": step})
    checkpoint.carry(earlier, tmp_path / "out")
    assert [checkpoint.load(tmp_path / "out" / f"{n}.pt")["step"] for n in "ab"] == [7, 4]


@pytest.mark.parametrize("there", [True, False])
def test_carry_refuses_a_folder_without_checkpoints(tmp_path, there):
    if there:
        (tmp_path / "input").mkdir()
    with pytest.raises(FileNotFoundError, match=r"input: no checkpoints \(\*\.pt\) to resume from"):
        checkpoint.carry(tmp_path / "input", tmp_path / "out")


@pytest.mark.parametrize("damaged", ["input", "out"])
def test_carry_copies_nothing_when_a_checkpoint_is_damaged(earlier, tmp_path, damaged):
    out = tmp_path / "out"
    checkpoint.save(out / "b.pt", {"step": 1})
    last = tmp_path / damaged / "b.pt"
    last.chmod(0o644)
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{damaged}/b\.pt: truncated, damaged"):
        checkpoint.carry(earlier, out)
    assert sorted(p.name for p in out.iterdir()) == ["b.pt"]


def test_carry_notices_a_copy_that_lost_bytes(earlier, tmp_path, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: write(path, content[:-1]))
    with pytest.raises(OSError, match="the disk did not keep what was written"):
        checkpoint.carry(earlier, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_carry_leaves_the_former_or_the_new_state(
    earlier, tmp_path, kill_at, monkeypatch, moment
):
    checkpoint.save(tmp_path / "out" / "a.pt", {"step": 5})
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.carry(earlier, tmp_path / "out")
    assert checkpoint.load(tmp_path / "out" / "a.pt")["step"] == (5 if moment == "before" else 7)
    monkeypatch.undo()
    checkpoint.carry(earlier, tmp_path / "out")
    assert [checkpoint.load(tmp_path / "out" / f"{n}.pt")["step"] for n in "ab"] == [7, 3]

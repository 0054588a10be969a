import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from medsr_lib.files import sha256
from medsr_lib.restore.training import checkpoint

PAIR = ["a.pt", "a.pt.sha256"]
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


def beside(path):
    return path.with_name(path.name + ".sha256")


def test_round_trip(path, saved):
    assert checkpoint.load(path.with_name("b.pt")) is None
    found = checkpoint.load(saved)
    assert found.keys() == STATE.keys()
    assert all(found[name] == STATE[name] for name in STATE if name != "weights")
    assert torch.equal(found["weights"]["w"], STATE["weights"]["w"])
    assert found["weights"]["n"].dtype == torch.int64
    checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved) == {"step": 8}
    beside(saved).unlink()
    assert checkpoint.load(saved) == {"step": 8}  # it need not be there
    assert files(saved) == ["a.pt"]


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
@pytest.mark.parametrize("summed", [True, False])
def test_refuses_a_truncated_file_and_one_of_anything_else(saved, change, summed):
    if not summed:
        beside(saved).unlink()
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
    beside(saved).unlink()
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
    beside(saved).unlink()
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint"):
        checkpoint.load(saved)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [object(), Malicious("x"), torch.nn.Linear(1, 1), print])
def test_refuses_to_save_objects_and_leaves_the_former_file(saved, value):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match=r"a\.pt: a checkpoint holds tensors, numbers, text"):
        checkpoint.save(saved, {"step": 8, "value": value})
    assert saved.read_bytes() == before
    assert files(saved) == PAIR


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_leaves_the_former_file(saved, monkeypatch, error):
    def write_a_little(content, file):
        file.write(b"PK\x03\x04 the first bytes")
        raise error

    before = [(saved.parent / name).read_bytes() for name in PAIR]
    monkeypatch.setattr(torch, "save", write_a_little)
    with pytest.raises(type(error)):
        checkpoint.save(saved, {"step": 8})
    assert [(saved.parent / name).read_bytes() for name in PAIR] == before
    assert files(saved) == PAIR


def test_a_disk_that_loses_bytes_leaves_the_former_file(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(checkpoint, "sha256", lambda path: "0" * 64)
    with pytest.raises(OSError, match=r"a\.pt: the disk did not keep what was written"):
        checkpoint.save(saved, {"step": 8})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert checkpoint.load(saved)["step"] == 7
    assert files(saved) == PAIR


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_the_file_beside_is_one_for_sha256sum(saved):
    check = ["sha256sum", "--check", "--strict", "a.pt.sha256"]
    assert subprocess.run(check, cwd=saved.parent, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("place", [0.02, 0.5, -1])
def test_refuses_a_file_of_which_one_bit_was_altered(saved, place):
    content = bytearray(saved.read_bytes())
    content[int(place * len(content)) if place > 0 else place] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"does not agree with a\.pt\.sha256"):
        checkpoint.load(saved)


def test_the_leftovers_of_a_killed_process_do_no_harm(saved):
    for name in PAIR:
        (saved.parent / f".{name}.12345.tmp").write_bytes(b"PK\x03\x04 the first bytes")
    checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved) == {"step": 8}


class Killed(BaseException):
    pass


@pytest.fixture
def kill_at(monkeypatch):
    """`kill_at(n)` stops the process at a moment: before the n-th rename, or (n + 0.5) after it.

    As after SIGKILL, nothing is cleaned up. The renames of a save: 0 both sums, 1 the file, 2 the
    new sum.
    """

    def arrange(moment):
        done, replace = [], Path.replace

        def replace_or_die(temporary, target):
            if len(done) == moment:
                raise Killed
            replace(temporary, target)
            done.append(target)
            if len(done) - 0.5 == moment:
                raise Killed

        monkeypatch.setattr(Path, "replace", replace_or_die)
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: None)

    return arrange


MOMENTS = [0, 0.5, 1, 1.5, 2, 2.5]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("summed", [True, False])
def test_killed_at_any_moment_a_save_leaves_the_former_or_the_new_state(
    saved, kill_at, monkeypatch, moment, summed
):
    if not summed:
        beside(saved).unlink()
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved)["step"] == (7 if moment <= 1 else 8)
    monkeypatch.undo()
    checkpoint.save(saved, {"step": 9})
    assert checkpoint.load(saved)["step"] == 9
    assert len(beside(saved).read_text().splitlines()) == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_first_save_leaves_nothing_or_the_state(path, kill_at, moment):
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.save(path, {"step": 8})
    assert checkpoint.load(path) == (None if moment <= 1 else {"step": 8})


def test_killed_again_and_again_the_former_state_stays(saved, kill_at, monkeypatch):
    for _ in range(3):
        kill_at(1)
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
    assert beside(target / "a.pt").read_text() == beside(earlier / "a.pt").read_text()
    checkpoint.save(target / "a.pt", {"step": 8})  # what was carried can be written to
    assert all(f.stat().st_mtime_ns == s.st_mtime_ns for f, s in before.items())  # root may write


def test_carry_keeps_the_one_further_on(earlier, tmp_path):
    for name, step in (("a", 6), ("b", 4)):
        checkpoint.save(tmp_path / "out" / f"{name}.pt", {"step": step})
    checkpoint.carry(earlier, tmp_path / "out")
    assert [checkpoint.load(tmp_path / "out" / f"{n}.pt")["step"] for n in "ab"] == [7, 4]


def test_carry_adds_the_sha256_that_was_missing(earlier, tmp_path):
    earlier.chmod(0o755)
    beside(earlier / "a.pt").unlink()
    checkpoint.carry(earlier, tmp_path / "out")
    sums = [beside(tmp_path / "out" / f"{n}.pt").read_text()[:64] for n in "ab"]
    assert sums == [sha256(earlier / f"{n}.pt") for n in "ab"]


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
    assert sorted(p.name for p in out.iterdir()) == ["b.pt", "b.pt.sha256"]


def test_carry_notices_a_copy_that_lost_bytes(earlier, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", lambda a, b: b.write_bytes(a.read_bytes()[:-1]))
    with pytest.raises(OSError, match="the disk did not keep what was written"):
        checkpoint.carry(earlier, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_carry_leaves_the_former_or_the_new_state(
    earlier, tmp_path, kill_at, monkeypatch, moment
):
    checkpoint.save(tmp_path / "out" / "a.pt", {"step": 5})
    beside(tmp_path / "out" / "a.pt").unlink()
    kill_at(moment)
    with pytest.raises(Killed):
        checkpoint.carry(earlier, tmp_path / "out")
    assert checkpoint.load(tmp_path / "out" / "a.pt")["step"] == (5 if moment <= 1 else 7)
    monkeypatch.undo()
    checkpoint.carry(earlier, tmp_path / "out")
    assert [checkpoint.load(tmp_path / "out" / f"{n}.pt")["step"] for n in "ab"] == [7, 3]

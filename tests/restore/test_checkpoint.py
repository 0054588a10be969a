import os
import pickle

import pytest
import torch

from medsr_lib.restore import checkpoint

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
    return [p.name for p in path.parent.iterdir()]


def test_round_trip(saved):
    found = checkpoint.load(saved)
    assert found.keys() == STATE.keys()
    assert all(found[name] == STATE[name] for name in STATE if name != "weights")
    assert torch.equal(found["weights"]["w"], STATE["weights"]["w"])
    assert found["weights"]["n"].dtype == torch.int64
    assert files(saved) == ["a.pt"]


def test_no_file_is_none(path):
    assert checkpoint.load(path) is None


def test_saving_again_replaces_the_file(saved):
    checkpoint.save(saved, {"step": 8})
    assert checkpoint.load(saved) == {"step": 8}


@pytest.mark.parametrize("kept", [0, 1, 60, 0.5, 0.9, 0.999])
def test_refuses_a_truncated_file(saved, kept):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"not a checkpoint", b"\x80\x02.", b"\x80\x02]q\x00e.", b"\x00" * 300, bytes(range(256)) * 3],
)
def test_refuses_a_file_of_anything_else(saved, content):
    saved.write_bytes(content)
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
    with pytest.raises(ValueError, match=f"expected 'medsr checkpoint 1', found {found}"):
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
    with pytest.raises(ValueError, match=r"a\.pt: truncated, damaged or not a checkpoint"):
        checkpoint.load(saved)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [object(), Malicious("x"), torch.nn.Linear(1, 1), print])
def test_refuses_to_save_objects_and_leaves_the_former_file(saved, value):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match=r"a\.pt: a checkpoint holds tensors, numbers, text"):
        checkpoint.save(saved, {"step": 8, "value": value})
    assert saved.read_bytes() == before
    assert files(saved) == ["a.pt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_leaves_the_former_file(saved, monkeypatch, error):
    def write_a_little(content, path):
        path.write_bytes(b"PK\x03\x04 the first bytes")
        raise error

    before = saved.read_bytes()
    monkeypatch.setattr(torch, "save", write_a_little)
    with pytest.raises(type(error)):
        checkpoint.save(saved, {"step": 8})
    assert saved.read_bytes() == before
    assert files(saved) == ["a.pt"]

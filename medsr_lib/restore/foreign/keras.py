"""Networks in TensorFlow.js's files: Keras layers as JSON, weights as float32."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Graph(nn.Module):
    """Layers of a Keras "Functional" model, one after the other: (B, C, h, w) -> (B, C, H, W)."""

    def __init__(self, layers: list[dict[str, Any]], weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.layers = [
            (layer, [node[0] for nodes in layer["inbound_nodes"] for node in nodes])
            for layer in layers
        ]
        self.last_reader = {name: layer["name"] for layer, names in self.layers for name in names}
        self.value_range = "[0, 1]"
        self.convolutions = nn.ModuleDict()
        for layer in layers:
            if layer["class_name"] == "Conv2D":
                name = layer["name"]
                kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
                self.convolutions[name] = _convolution(layer["config"], kernel, bias)

    def forward(self, image: Tensor) -> Tensor:
        """Go through the layers; what no later one reads is let go."""
        made: dict[str, Tensor] = {}
        for layer, names in self.layers:
            name, config, kind = layer["name"], layer["config"], layer["class_name"]
            inputs = [made[of] for of in names]
            if kind == "InputLayer":
                made[name] = image
            elif kind == "Conv2D":
                made[name] = self.convolutions[name](inputs[0])
            else:
                made[name] = _OPERATIONS[kind](inputs, config)
            made = {of: value for of, value in made.items() if self.last_reader.get(of) != name}
        return made[name]


def read(model: dict[str, Any], weights: bytes) -> Graph:
    """Make the network of a model.json and the bytes of its weights, shards in their order.

    Raises:
        ValueError: a layer that this reader does not know, or bytes that are too many or too few.
    """
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    named: dict[str, Tensor] = {}
    at = 0
    for about in (about for group in model["weightsManifest"] for about in group["weights"]):
        count = int(np.prod(about["shape"]))
        if about["dtype"] != "float32" or at + 4 * count > len(weights):
            raise ValueError(f"weights {about['name']}: not all of them are there as float32")
        values = np.frombuffer(weights, "<f4", count, at).reshape(about["shape"])
        named[about["name"]] = torch.from_numpy(values.astype(np.float32))
        at += 4 * count
    if at != len(weights):
        raise ValueError(f"{len(weights) - at} bytes of weights are left over")
    for layer in layers:
        config = layer["config"]
        relu = layer["class_name"] != "Activation" or config["activation"] == "relu"
        nearest = config.get("interpolation", "nearest") == "nearest"
        if layer["class_name"] not in ("InputLayer", "Conv2D", *_OPERATIONS) or not relu & nearest:
            raise ValueError(f"layer {layer['name']} ({layer['class_name']}) is not known here")
    return Graph(layers, named).eval()


def _convolution(config: dict[str, Any], kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    side, _, into, out = kernel.shape
    usual = config["activation"] == "linear" and config["strides"] == [1, 1]
    if not usual or (config["padding"] != "same" and side > 1) or side % 2 == 0:
        raise ValueError(f"layer {config['name']} is a convolution of a kind not known here")
    layer = nn.Conv2d(into, out, side, padding=side // 2)
    layer.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
    return layer


def _depth_to_space(image: Tensor, scale: int) -> Tensor:
    """TensorFlow's pixel shuffle: the place within a pixel comes first, then the colour."""
    b, c, h, w = image.shape
    parts = image.reshape(b, scale, scale, c // scale**2, h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(b, -1, h * scale, w * scale)


_OPERATIONS = {
    "Activation": lambda inputs, config: F.relu(inputs[0]),
    "Add": lambda inputs, config: sum(inputs),
    "Concatenate": lambda inputs, config: torch.cat(inputs, 1),
    "MultiplyBeta": lambda inputs, config: inputs[0] * config["beta"],
    "UpSampling2D": lambda inputs, config: F.interpolate(inputs[0], scale_factor=config["size"][0]),
    **{
        f"PixelShuffle{n}x": lambda inputs, config: _depth_to_space(inputs[0], config["scale"])
        for n in (2, 3, 4, 8)
    },
}

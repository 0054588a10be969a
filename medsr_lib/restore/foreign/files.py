"""Networks in files that others wrote: weights alone, and whole graphs.

No file is ever unpickled as code. TorchScript is code by nature, so it is read only from files
named .ts, and a warning says so.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medsr_lib.restore.foreign import need

INSIDE = ("params_ema", "params", "state_dict", "model", "net_g", "generator")
"""Where trainings put the weights; what averaging over steps made goes first."""
RECOGNISERS = ("resselt", "spandrel")


def weights(what: str, *, scale: int, **expected: object) -> nn.Module:
    """Recognise the architecture of a .pth, .pt, .ckpt or .safetensors by its weights.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that holds code or no weights, or an architecture that nobody recognises.
        ImportError: neither resselt nor spandrel is installed.
    """
    state = _state(_there(what))
    failures = []
    for name in RECOGNISERS:
        try:
            package = need(name, f"{what}: to recognise its architecture, it")
        except ImportError as error:
            missing = error
            continue
        try:
            return _recognised(package, state)
        except Exception as error:  # each architecture of these packages raises its own
            words = str(error).strip() or type(error).__name__
            failures.append(f"{name}: {words[:300]}")
    if not failures:
        raise missing
    raise ValueError(
        f"{what}: its {len(state)} weights are of no architecture known here "
        f"({'; '.join(failures)}). Export the network to .onnx or .pt2, or give the function that "
        "makes it as NAME=file.py:function"
    )


def _recognised(package: Any, state: Mapping[str, Tensor]) -> Any:
    if hasattr(package, "load_from_state_dict"):  # resselt
        network = package.load_from_state_dict(state)
    else:  # spandrel
        network = package.ModelLoader(device="cpu").load_from_state_dict(dict(state)).model
    network.value_range = "[0, 1]"  # of all architectures in both
    return network


def _state(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name."""
    if path.suffix == ".safetensors":
        return dict(need("safetensors.torch", str(path)).load_file(path, device="cpu"))
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise ValueError(
                f"{path}: holds more than weights, and code in a file is not run ({found[1]}); "
                "save network.state_dict() alone, or export the network to .onnx or .pt2"
            ) from None
        raise ValueError(f"{path}: not a file of weights, or cut short{_why(error)}") from None
    while isinstance(held, Mapping) and (inside := [key for key in INSIDE if key in held]):
        if not isinstance(held[inside[0]], Mapping):
            break
        held = held[inside[0]]
    tensors = isinstance(held, Mapping) and {k: v for k, v in held.items() if torch.is_tensor(v)}
    if not tensors:
        raise ValueError(f"{path}: holds no weights by name")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _why(error: Exception) -> str:
    """What torch says, in brackets, but not its advice to have the code in a file run."""
    text = str(error).strip().split("\n")[0]
    if "TorchScript" in text:
        return " (it is TorchScript: give it the ending .ts)"
    return "" if not text or "weights_only" in str(error) else f" ({text[:200]})"


def onnx(what: str, *, scale: int, **expected: object) -> "Onnx":
    """Open an .onnx by onnxruntime, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ONNX graph with one input.
        ImportError: onnxruntime is not installed.
    """
    path = _there(what)
    runtime = need("onnxruntime", what)
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, derived from Exception
        raise ValueError(f"{what}: onnxruntime cannot read it ({error})") from error
    if len(session.get_inputs()) != 1:
        names = ", ".join(put.name for put in session.get_inputs())
        raise ValueError(f"{what}: it wants {names}; one input, the image, can be given")
    return Onnx(session)


class Onnx:
    """A graph of ONNX as a function of tensors, computed on the CPU."""

    def __init__(self, session: Any) -> None:
        self._session = session
        (self._put,) = session.get_inputs()
        self._kind = {"tensor(float16)": torch.float16, "tensor(double)": torch.float64}.get(
            self._put.type, torch.float32
        )
        self.input_size = _fixed(self._put.shape)

    def __call__(self, lr: Tensor) -> Any:
        """The outputs of one call."""
        given = lr.detach().to("cpu", self._kind).contiguous().numpy()
        return self._session.run(None, {self._put.name: given})


def exported(what: str, *, scale: int, **expected: object) -> "Exported":
    """Load a program of torch.export from a .pt2.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an exported program.
    """
    path = _there(what)
    try:
        program = torch.export.load(path)
    except Exception as error:  # whatever the archive, its schema or its pickles raise
        raise ValueError(f"{what}: not a program of torch.export.save{_why(error)}") from error
    return Exported(program)


class Exported(nn.Module):
    """An exported program; whether it is in training mode was fixed when it was exported."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        given = set(program.graph_signature.user_inputs)
        shapes = [n.meta["val"].shape for n in program.graph.nodes if n.name in given]
        self.input_size = _fixed(list(shapes[0])) if len(shapes) == 1 else None
        self.program = program.module()

    def forward(self, lr: Tensor) -> Any:
        """The outputs of one call."""
        return self.program(lr)

    def train(self, mode: bool = True) -> "Exported":
        """Do nothing: an exported program has one mode."""
        return self


def script(what: str, *, scale: int, **expected: object) -> nn.Module:
    """Load TorchScript from a .ts; warns that it is code, and that PyTorch has deprecated it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TorchScript.
    """
    path = _there(what)
    warnings.warn(
        f"{what} is TorchScript: running it runs code of whoever made it, and PyTorch has "
        "deprecated it; export it anew to .pt2 or .onnx if you can",
        stacklevel=2,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")
    except RuntimeError as error:
        raise ValueError(f"{what}: not TorchScript{_why(error)}") from error
    return network


def _there(what: str) -> Path:
    path = Path(what)
    if not path.is_file():
        raise FileNotFoundError(f"{what}: no such file")
    return path


def _fixed(shape: list[Any]) -> tuple[int, int] | None:
    """The only height and width of an input (B, C, h, w) or (B, h, w, C), None where free."""
    if len(shape) != 4:
        return None
    last = shape[-1] in (1, 3) and shape[1] not in (1, 3)
    height, width = shape[1:3] if last else shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None

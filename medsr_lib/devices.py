"""Where tensors are computed."""

import torch


def choose(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA where there is one, else MPS, else the CPU.

    Raises:
        ValueError: no such device on this machine.

    >>> choose("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cpu"
        if torch.backends.mps.is_available():
            name = "mps"
        if torch.cuda.is_available():
            name = "cuda"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device {name!r} cannot be used ({reason}); take "auto" or "cpu"'
        ) from None
    return torch.device(name)

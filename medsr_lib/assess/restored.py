"""The loop of every assessment: degrade each case, restore it by each method, check the SR."""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from medsr_lib import devices, images
from medsr_lib.case import Case, for_case, refuse_seen

REFERENCE = "HR"  # the name, among methods, of the images that were never degraded

Method = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Restored:
    """A batch of B cases of one size, and what each method made of them.

    Attributes:
        cases: B cases, cropped to a multiple of the scale.
        hr: (B, 1, H, W) in [0, 1].
        lr: (B, 1, H / scale, W / scale); may leave [0, 1].
        sr: name of the method -> (B, 1, H, W) in [0, 1].
    """

    cases: list[Case]
    hr: Tensor
    lr: Tensor
    sr: dict[str, Tensor]

    @property
    def images(self) -> dict[str, Tensor]:
        """HR under the name `REFERENCE`, then the SR of each method, (B, 1, H, W) each."""
        return {REFERENCE: self.hr, **self.sr}


def restored(
    methods: Mapping[str, Method],
    cases: Iterable[Case],
    *,
    degrade: Method,
    scale: int,
    device: str = "auto",
    batch: int = 1,
    left_out: MutableMapping[str, str] | None = None,
    progress: bool = True,
) -> Iterator[Restored]:
    """Degrade every case and restore it by every method.

    Networks are put into evaluation mode, which stays, and moved to the device; when the loop ends,
    however it ends, they go back to where they were.

    Args:
        methods: name -> function from LR (B, 1, h, w) to SR (B, 1, scale h, scale w) in [0, 1];
            one that differs from case to case has `of` (`case.for_case`).
        cases: cropped around their centre, masks alike, to what the scale divides.
        degrade: HR (B, 1, H, W) -> LR (B, 1, H / scale, W / scale); it may have `of`, too.
        scale: of the degradation; 1 for noise.
        device: "auto" takes CUDA, else MPS, else the CPU.
        batch: consecutive cases of one size to restore together, at most.
        left_out: where given, a case that fails is left out of all methods, and noted here: its id
            -> the error. Without it the error is raised.
        progress: show a progress bar.

    Returns:
        An iterator. Its tensors are on the device and were made in inference mode: what trains on
        them, or changes them in place, needs a clone.

    Raises:
        ValueError: no methods, no cases, a method called "HR", one that was trained on a tested
            case (also while iterating, where the cases cannot be counted), or a device that cannot
            be used.
        TypeError, ValueError, RuntimeError: while iterating, named with the case and the method: a
            case smaller than the scale, LR of another scale, SR that is no tensor, has another size
            or leaves [0, 1], and whatever a function raises.
    """
    if not methods:
        raise ValueError('there are no methods; give {"bicubic": function, ...}')
    if REFERENCE in methods:
        raise ValueError(f"no method may be called {REFERENCE!r}: that is the original image")
    if isinstance(cases, Sized) and len(cases) == 0:
        raise ValueError("there are no cases")
    if isinstance(cases, Sized):
        refuse_seen(methods, cases)
    on = devices.choose(device)

    def loop() -> Iterator[Restored]:
        total = len(cases) if isinstance(cases, Sized) else None
        bar = tqdm(total=total, desc="restoring", unit="case", disable=not progress, leave=False)
        with bar, on_device(methods.values(), on):
            for group in _by_size(_cropped(cases, scale, left_out), batch):
                refuse_seen(methods, group)
                try:
                    some = [_restore(methods, group, degrade, scale, on)]
                except (TypeError, ValueError, RuntimeError):
                    if left_out is None:
                        raise
                    some = list(_each(methods, group, degrade, scale, on, left_out))
                yield from some
                bar.update(len(group))

    return loop()  # what was refused above was so at once


@contextmanager
def on_device(functions: Iterable[object], device: torch.device) -> Iterator[None]:
    """Have the networks among some functions on a device in evaluation mode; then move them back.

    Evaluation mode stays; functions that are no networks are left alone.
    """
    networks = [function for function in functions if isinstance(function, nn.Module)]
    homes = [next((p.device for p in network.parameters()), device) for network in networks]
    try:
        for network in networks:
            network.eval().to(device)
        yield
    finally:
        for network, home in zip(networks, homes):
            network.to(home)


@torch.inference_mode()
def _restore(
    methods: Mapping[str, Method],
    cases: list[Case],
    degrade: Method,
    scale: int,
    device: torch.device,
) -> Restored:
    hr = torch.stack([case.image for case in cases])[:, None].to(device)
    ids = dict.fromkeys(case.id for case in cases)
    names = f"case{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
    with _named(f"degradation, {names}"):
        lr = _of_each(degrade, hr, cases)
        images.check_shape(lr, "LR")
        expected = (len(hr), 1, hr.shape[-2] // scale, hr.shape[-1] // scale)
        if lr.shape != expected:
            raise ValueError(
                f"LR is {tuple(lr.shape)}, but must be {expected} at scale {scale}; "
                "give the degradation and its own scale"
            )
    sr = {}
    for name, method in methods.items():
        with _named(f"method {name!r}, {names}"):
            sr[name] = found = _of_each(method, lr, cases)
            if not isinstance(found, Tensor):
                raise TypeError(f"SR is {type(found).__name__}; it must be a tensor (B, 1, H, W)")
            if found.shape != hr.shape:
                raise ValueError(
                    f"SR is {tuple(found.shape)}, HR {tuple(hr.shape)}; "
                    "does the method have the scale of the degradation?"
                )
        for one, case in zip(sr[name], cases):
            images.check(one[None], f"method {name!r}, case {case.id}")
    return Restored(cases, hr, lr, sr)


def _each(
    methods: Mapping[str, Method],
    cases: list[Case],
    degrade: Method,
    scale: int,
    device: torch.device,
    left_out: MutableMapping[str, str],
) -> Iterator[Restored]:
    """Those cases of a batch that can be restored, one by one; the others are noted."""
    for case in cases:
        try:
            yield _restore(methods, [case], degrade, scale, device)
        except (TypeError, ValueError, RuntimeError) as error:
            left_out[case.id] = str(error)


def _cropped(
    cases: Iterable[Case], scale: int, left_out: MutableMapping[str, str] | None
) -> Iterator[Case]:
    """The cases, cropped to what the scale divides; those that are too small are noted."""
    for case in cases:
        try:
            yield case.cropped(scale)
        except ValueError as error:
            if left_out is None:
                raise
            left_out[case.id] = str(error)


def _of_each(function: Method, given: Tensor, cases: list[Case]) -> Tensor:
    """What a function makes of a batch, at once where it is the same for all cases."""
    own = [for_case(function, case) for case in cases]
    if all(one is function for one in own):
        return function(given)
    return torch.cat([one(image) for one, image in zip(own, given.split(1))])


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in an error what it happened to; TypeError and ValueError stay what they are."""
    try:
        yield
    except Exception as error:
        kind = type(error) if type(error) in (TypeError, ValueError) else RuntimeError
        raise kind(f"{what}: {error}") from error


def _by_size(cases: Iterable[Case], batch: int) -> Iterator[list[Case]]:
    """Consecutive cases of one size, at most `batch` of them."""
    group: list[Case] = []
    for case in cases:
        if group and (len(group) == batch or group[0].image.shape != case.image.shape):
            yield group
            group = []
        group.append(case)
    if group:
        yield group

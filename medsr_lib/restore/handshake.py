"""Does a network of other people do what it should: scale, channels, range, shift, sizes.

Before any score is given, probe images go through it. What can be adapted without guessing is, and
its `findings` list it; the rest is an error that names it. The limits below lie between what eight
public networks do on the probes and the smallest faults that this must find.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from medsr_lib.restore.foreign.adapted import RANGES, Adapted, Findings, call
from medsr_lib.restore.foreign.probe import Fit, Probe

SIZES = (32, 64, 48, 128, 96, 256, 192, 24, 16)  # LR pixels to begin with, the first that works
MULTIPLES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
LEAST = (8, 12, 16, 24)
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of even images
STRIP = 10  # an image this many times as long as the first shows the seams of tiles
REPEAT = 1e-4  # how far two calls may differ, in [0, 1]
RANGE_TIMES, RANGE_LEAST = 1.5, 0.002  # RMS differences up to here do not tell ranges apart
SHIFT = 0.05  # LR pixels: from here on SR is moved back
STRETCH = 0.1  # LR pixels at the edges; align_corners=True gives 0.25 and more
BRIGHTNESS = 0.03  # of an even image, in [0, 1]
GAIN, GAIN_FAINT = 0.05, 0.3  # of contrast, and of an image of little contrast
FAINT = 0.3
RMS = 0.12  # from the probe, which varies by 0.25: what differs more is not that image
ROUGH = 0.04  # RMS from which on it is said; nearest neighbours differ by 0.027
SEAM, SEAM_TIMES = 0.004, 6.0  # a step between two rows: this, and so many times the usual one


def adapt(network: Callable[..., Any], *, scale: int) -> Adapted:
    """Find out how a network must be called, and whether it restores what it should.

    Args:
        network: takes and gives images (B, C, h, w) or (B, h, w, C); a module is put into
            evaluation mode and to float32. Its attributes `input_size`, the only (h, w) it takes,
            and `value_range`, one of `RANGES`, are believed where they fit.
        scale: that it must have.

    Returns:
        A method. Its `findings` say what is done for it, and it prints them.

    Raises:
        ValueError: names what cannot be adapted: no or another scale, results that are not finite,
            differ from call to call, or are not the image; brightness, contrast or geometry that
            change; seams.
    """
    try:
        return _adapted(network, scale)
    except ValueError:
        raise
    except Exception as error:  # whatever a network raises
        kind = type(error).__name__
        raise ValueError(f"it fails on a probe image ({kind}: {str(error)[:300]})") from error


def _adapted(network: Callable[..., Any], scale: int) -> Adapted:
    notes = []
    if isinstance(network, nn.Module):
        kinds = {str(p.dtype).removeprefix("torch.") for p in network.parameters()} - {"float32"}
        if kinds:
            notes.append(f"its weights were {', '.join(sorted(kinds))}")
        network.float().eval()
    size, findings = _form(network, scale)
    findings = _scaled(network, replace(findings, notes=tuple(notes)), size)
    height, width = size
    first = Probe(height, width, scale)
    _repeats(network, findings, first)
    findings = _ranged(network, findings, first)
    findings = _shifted(network, findings, first)
    findings = _sized(network, findings, size)
    findings = _batched(network, findings, first)
    method = Adapted(network, findings)
    _keeps_contrast(method, first)
    brightness = _brightness(method, size)
    _seamless(method, findings.fixed or size)
    _repeats(network, findings, first)
    rms = first.fit(method(first.lr())).rms
    said = replace(findings, brightness=brightness, rms=rms, notes=_notes(method, first, rms))
    return Adapted(network, said)


def _form(network: Callable[..., Any], scale: int) -> tuple[tuple[int, int], Findings]:
    """A size that works, and channels and their place."""
    declared = getattr(network, "input_size", None)
    refused: dict[str, None] = {}
    for size in [declared] if declared else [(n, n) for n in SIZES]:
        for last, channels in product((False, True), (1, 3)):
            findings = Findings(scale, channels=channels, channels_last=last)
            try:
                _output(network, findings, size)
            except Exception as error:
                words = str(error).strip() or type(error).__name__
                refused.setdefault(f"{channels} channel{'s' * (channels > 1)}: {words[:200]}")
            else:
                return size, findings
    reasons = list(refused)[:2]
    raise ValueError(f"no probe image goes through it ({'; '.join(reasons)})")


def _output(network: Callable[..., Any], findings: Findings, size: tuple[int, int]) -> Tensor:
    lr = Probe(*size, findings.scale).lr().repeat(1, findings.channels, 1, 1)
    return call(network, lr.movedim(1, -1) if findings.channels_last else lr)


def _scaled(network: Callable[..., Any], findings: Findings, size: tuple[int, int]) -> Findings:
    """Scale, and the pixels lost at the edges; from the outputs of two sizes where it takes two."""
    scale = findings.scale
    came = _output(network, findings, size).shape[-2:]
    grows = [float(c / n) for c, n in zip(came, size)]
    extra = [0, 0]
    try:
        more = _output(network, findings, (2 * size[0], 2 * size[1])).shape[-2:]
    except Exception:  # it takes one size, or is too large for it: _sized looks further
        more = came
    if more != came:
        grows = [(m - c) / n for m, c, n in zip(more, came, size)]
        extra = [c - round(g * n) for c, g, n in zip(came, grows, size)]
    if grows != [scale, scale]:
        found = f"{grows[0]:g}" if grows[0] == grows[1] else f"{grows[0]:g} x {grows[1]:g}"
        enlarged = "; if it wants what bicubic has enlarged, wrap it in a function that does so"
        raise ValueError(
            f"it has scale {found}, not {scale}{enlarged if found == '1' else ''} "
            f"({size[0]} x {size[1]} pixels became {came[0]} x {came[1]})"
        )
    return replace(findings, margin=max(0, -(min(extra) // (2 * scale))))


def _repeats(network: Callable[..., Any], findings: Findings, probe: Probe) -> None:
    """Refuse what differs from call to call, or is not finite.

    An image of another probe goes through in between, for networks that remember.
    """
    method = Adapted(network, findings)
    lr = probe.lr()
    first = method.unclipped(lr)
    if not first.isfinite().all():
        raise ValueError("it gives NaN or infinite values for a plain image in [0, 1]")
    if findings.range_in == "[0, 1]":
        method.unclipped(1 - lr)
    differ = _largest(method.unclipped(lr) - first) / RANGES[findings.range_out][0]
    if differ > REPEAT:
        raise ValueError(
            f"two calls with one image differ by {differ:.3g}: has it dropout, noise or a memory? "
            "Put it into evaluation mode, or fix its seed"
        )


def _ranged(network: Callable[..., Any], findings: Findings, probe: Probe) -> Findings:
    """The ranges that restore the probe best.

    What the file states (`value_range`) is taken unless it fails, else [0, 1] unless another is
    clearly better.
    """
    stated = getattr(network, "value_range", None)
    if stated:
        trial = replace(findings, range_in=stated, range_out=stated)
        if probe.fit(Adapted(network, trial).unclipped(probe.lr())).rms <= RMS:
            return trial
    found: dict[tuple[str, str], float] = {}
    made: dict[tuple[str, str], Tensor] = {}
    for into, out in product(RANGES, RANGES):
        trial = replace(findings, range_in=into, range_out=out)
        try:
            sr = Adapted(network, trial).unclipped(probe.lr())
        except Exception:  # some check what they are given
            continue
        if sr.isfinite().all() and _largest(sr) < 1e4:
            made[into, out], found[into, out] = sr, probe.fit(sr).rms
    if not found:
        raise ValueError("its values are far outside every range that is known here")
    usual = ("[0, 1]", "[0, 1]")
    best = min(found, key=lambda ranges: found[ranges])
    if found[best] > RMS:
        raise ValueError(_unlike(made[best], probe))
    near = [r for r, rms in found.items() if rms <= RANGE_TIMES * found[best] + RANGE_LEAST]
    if usual not in near and len(near) > 1:
        words = ", ".join(f"{into} -> {out}" for into, out in near)
        raise ValueError(f"its range of values is not clear: {words}; wrap it in a function")
    best = usual if usual in near else best
    differ = [r[0] for r in near if r[0] == r[1] and _largest(made[r] - made[best]) > 0.01]
    notes = [f"{best[0]} was taken; {into} would do as well" for into in differ]
    return replace(findings, range_in=best[0], range_out=best[1], notes=(*findings.notes, *notes))


def _unlike(sr: Tensor, probe: Probe) -> str:
    """In what way SR is not the probe."""
    hr, seen = probe.hr(), sr.double()
    if seen.std() < 1e-3:
        return "it gives the same grey whatever goes in"
    fit = probe.fit(sr)
    turned = {
        "upside down": seen.flip(-2),
        "mirrored": seen.flip(-1),
        "turned by 180 degrees": seen.flip(-2, -1),
    }
    if seen.shape[-1] == seen.shape[-2]:
        turned["with rows and columns exchanged"] = seen.transpose(-1, -2)
        turned["turned by 90 degrees"] = seen.rot90(1, (-2, -1))
        turned["turned by 270 degrees"] = seen.rot90(-1, (-2, -1))
    for words, image in turned.items():
        if _alike(image, hr) > 0.9:
            return f"its images come out {words}"
    if _alike(seen, hr) < -0.9:
        return "its images come out inverted: black is white"
    if max(map(abs, fit.stretch)) > STRETCH * probe.scale and fit.gain > 0.5 and fit.left < RMS:
        return _stretched(fit)
    changed = abs(fit.gain - 1) > GAIN or abs(fit.offset) > BRIGHTNESS
    if changed and _alike(seen, hr) > 0.9:
        return f"it changes contrast and brightness: SR = {fit.gain:.2f} HR {fit.offset:+.2f}"
    return (
        f"what it makes of a smooth image is not that image (RMS difference {fit.rms:.2g}, "
        f"correlation {_alike(seen, hr):.2f}): does it give a difference to add, or want images "
        "normalised in another way? Wrap it in a function"
    )


def _shifted(network: Callable[..., Any], findings: Findings, probe: Probe) -> Findings:
    """The shift that two probes agree on; refuses what is stretched."""
    others = [probe, replace(probe, seed=1)]
    method = Adapted(network, findings)
    fits = [p.fit(method.unclipped(p.lr())) for p in others]
    stretches = zip(*(fit.stretch for fit in fits))  # what is not the same twice is none
    if all(abs(a + b) / 2 - abs(a - b) > STRETCH * findings.scale for a, b in stretches):
        raise ValueError(_stretched(fits[0]))
    one, two = (fit.shift for fit in fits)
    shift = ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2)
    if max(map(abs, shift)) <= SHIFT * findings.scale:
        return findings
    if max(abs(a - b) for a, b in zip(one, two)) > SHIFT * findings.scale:
        if max(fit.left for fit in fits) > ROUGH:  # it changes images too much to say
            return findings
        raise ValueError(
            f"it moves one image by {_pixels(one)}, another by {_pixels(two)} SR pixels"
        )
    return replace(findings, shift=shift)


def _stretched(fit: Fit) -> str:
    return (
        f"it stretches images: their edges lie {_pixels(fit.stretch)} SR pixels too far out; "
        "interpolation with align_corners=True does that"
    )


def _sized(network: Callable[..., Any], findings: Findings, size: tuple[int, int]) -> Findings:
    """Which multiples it needs, the smallest side; tiles where it takes one size only."""
    if getattr(network, "input_size", None):
        return replace(findings, fixed=size)
    usual = _rms(network, findings, size)
    n = size[0]
    for multiple in MULTIPLES:
        k = n // multiple + 1
        near = [(multiple * k, multiple * (k + 1)), (multiple * (k + 1), multiple * k)]
        trial = replace(findings, multiple=multiple)
        if all(_rms(network, trial, s) <= 2 * usual + 0.003 for s in near):
            break
    else:
        return replace(findings, fixed=size)
    multiple = trial.multiple
    for least in [m for m in LEAST if m % multiple == 0 and m < n]:
        if math.isfinite(_rms(network, trial, (least, least))):
            return replace(trial, least=1 if least == LEAST[0] else least)
    return replace(trial, least=-(-n // multiple) * multiple)


def _rms(network: Callable[..., Any], findings: Findings, size: tuple[int, int]) -> float:
    """Difference from a probe of a size; infinite where it does not go through."""
    probe = Probe(*size, findings.scale)
    try:
        sr = Adapted(network, findings).unclipped(probe.lr())
    except Exception:  # whatever a network raises where it does not like a size
        return math.inf
    if sr.shape != probe.hr().shape or not sr.isfinite().all():
        return math.inf
    return (probe.inner(sr - probe.hr())).square().mean().sqrt().item()


def _batched(network: Callable[..., Any], findings: Findings, probe: Probe) -> Findings:
    """Whether two images at once come out as they do alone."""
    lr = torch.cat([probe.lr(), replace(probe, seed=1).lr()])
    alone = Adapted(network, replace(findings, batches=False)).unclipped(lr)
    try:
        together = Adapted(network, findings).unclipped(lr)
    except Exception:  # a batch of 1 is fixed in some files; what they raise differs
        return replace(findings, batches=False)
    return replace(findings, batches=_largest(together - alone) <= 10 * REPEAT)


def _keeps_contrast(method: Adapted, probe: Probe) -> None:
    """Refuse what changes contrast or brightness, or does so for fainter images only."""
    for contrast, most in ((1.0, GAIN), (FAINT, GAIN_FAINT)):
        one = replace(probe, contrast=contrast)
        fit = one.fit(method(one.lr()))
        if fit.rms > RMS or (abs(fit.gain - 1) > most and fit.left < fit.rms / 2):
            raise ValueError(
                f"it changes contrast and brightness of an image of contrast {contrast:g}: "
                f"SR = {fit.gain:.2f} HR {fit.offset:+.2f}, RMS difference {fit.rms:.2g}"
            )


def _brightness(method: Adapted, size: tuple[int, int]) -> float:
    """Largest change of the mean of even images; refuses more than `BRIGHTNESS`."""
    largest = 0.0
    probe = Probe(*size, method.findings.scale)
    for level in LEVELS:  # one by one: in a batch, others may hide what happens to black
        mean = probe.inner(method.unclipped(torch.full((1, 1, *size), level))).mean().item()
        changed = min(max(mean, 0.0), 1.0) - level
        if not math.isfinite(mean):
            raise ValueError(f"it gives NaN or infinite values for an even image of {level:g}")
        if abs(changed) > BRIGHTNESS:
            raise ValueError(f"it changes brightness: an even image of {level:g} became {mean:.3f}")
        largest = max(largest, abs(changed))
    return largest


def _seamless(method: Adapted, size: tuple[int, int]) -> None:
    """Refuse steps between rows of a long image, as tiles leave them."""
    scale = method.findings.scale
    probe = Probe(STRIP * size[0], size[1], scale)
    edge = scale * (size[0] // 2)  # where all methods differ more
    error = probe.inner(method.unclipped(probe.lr()) - probe.hr())[0, 0]
    steps = error.diff(dim=0).abs().mean(1)[edge:-edge]
    for phase in range(scale):  # SR pixels within an LR pixel differ by nature
        of_phase = steps[phase::scale]
        if of_phase.max() > SEAM + SEAM_TIMES * of_phase.median():
            row = scale * int(of_phase.argmax()) + phase + edge
            row += (probe.height * scale - len(error)) // 2
            raise ValueError(
                f"its images have seams: a step of {of_phase.max():.3f} after row {row} of a "
                f"smooth image; let its tiles overlap"
            )


def _notes(method: Adapted, probe: Probe, rms: float) -> tuple[str, ...]:
    """What else is to be said: colours that differ, few grey levels."""
    findings = method.findings
    lr = probe.lr()
    factor, offset = RANGES[findings.range_in]
    given = (lr * factor + offset).repeat(1, findings.channels, 1, 1)
    notes = list(findings.notes)
    if findings.margin == 0:
        came = call(method.network, given.movedim(1, -1) if findings.channels_last else given)
        came = came / RANGES[findings.range_out][0]
        cast = _largest(came.mean((-1, -2)) - came.mean()) if came.shape[1] == 3 else 0.0
        notes += [f"its channels differ by {cast:.3f}, averaged"] * (cast > 0.01)
    levels = method.unclipped(lr) * 255
    if not any(findings.shift) and _largest(levels - levels.round()) < 1e-3:
        notes.append("gives 256 grey levels, which limits PSNR to 59 dB")
    if rms > ROUGH:
        notes.append(f"a smooth image comes out with an RMS difference of {rms:.3f}")
    return tuple(notes)


def _alike(a: Tensor, b: Tensor) -> float:
    """Correlation of two images."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten().to(a.dtype)]))[0, 1])


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def _pixels(pair: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.2f}" for value in pair)

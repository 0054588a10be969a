import inspect
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from medsr_lib.assess.restored import restored
from medsr_lib.case import Case, digests


def shrink(hr, scale=2):
    return nn.functional.avg_pool2d(hr, scale)


enlarge = nn.Upsample(scale_factor=2)
run = partial(restored, degrade=shrink, scale=2, progress=False)


@pytest.fixture
def cases():
    """Three cases: two of one size, and one that the scale does not divide."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"a": (8, 6), "b": (8, 6), "c": (11, 7)}
    images = {name: torch.rand(size, generator=generator) for name, size in sizes.items()}
    return [Case(name, "p", "", image, image > 0.5) for name, image in images.items()]


def test_degrades_and_restores_every_case_by_every_method(cases):
    found = list(run({"up": enlarge, "black": lambda lr: 0 * enlarge(lr)}, cases, batch=8))
    assert [[case.id for case in some.cases] for some in found] == [["a", "b"], ["c"]]
    first = found[0]
    torch.testing.assert_close(first.hr[:, 0], torch.stack([c.image for c in cases[:2]]))
    torch.testing.assert_close(first.lr, shrink(first.hr))
    torch.testing.assert_close(first.sr["up"], enlarge(first.lr))
    assert list(first.images) == ["HR", "up", "black"]
    assert first.images["HR"] is first.hr


@pytest.mark.parametrize("kept_going", [True, False])
def test_a_method_that_was_trained_on_a_tested_case_is_refused(cases, kept_going):
    knows, left_out = nn.Sequential(enlarge), {} if kept_going else None
    knows.trained_on = digests(cases[2:])
    message = "mine was trained on case c, which is tested here: test another fold"
    with pytest.raises(ValueError, match=message):
        run({"mine": knows}, cases, left_out=left_out)
    altered = [case.altered(1 - case.image, "inverted") for case in cases]
    with pytest.raises(ValueError, match=message):  # cases that cannot be counted, cropped ones
        list(run({"mine": knows}, iter(altered), left_out=left_out))
    assert len(list(run({"mine": knows}, cases[:2]))) == 2
    assert not left_out


def test_crops_image_and_mask_to_the_scale(cases):
    (last,) = run({"up": enlarge}, cases[2:])
    torch.testing.assert_close(last.hr[0, 0], cases[2].image[:10, :6])
    assert torch.equal(last.cases[0].mask, cases[2].mask[:10, :6])


def test_restores_noise_at_scale_1_from_any_iterable(cases):
    found = list(run({"as is": torch.clone}, iter(cases), degrade=lambda hr: hr / 2, scale=1))
    assert [some.hr.shape for some in found] == [(1, 1, *case.image.shape) for case in cases]
    torch.testing.assert_close(found[2].sr["as is"], found[2].hr / 2)


@pytest.mark.parametrize("stop", ["end", "method fails", "left early"])
def test_networks_work_in_evaluation_mode_on_the_device_and_go_home(cases, monkeypatch, stop):
    failing = pytest.raises(TypeError, match="method 'mine', case a: 'int' object is not callable")
    network, moves, modes = nn.Sequential(nn.Dropout(), enlarge, nn.Conv2d(1, 1, 1)), [], []
    monkeypatch.setattr(network, "to", lambda device: moves.append(str(device)))
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    network.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    methods = {"network": network.train()} | ({"mine": 1} if stop == "method fails" else {})
    loop = run(methods, cases, device="cpu")
    with failing if stop == "method fails" else nullcontext():
        next(loop)
        assert (moves, network.training) == (["cpu"], False)
        assert not torch.is_inference_mode_enabled()
        loop.close() if stop == "left early" else list(loop)
    assert moves == ["cpu", "cpu"]
    assert set(modes) == {True}


def refuse(lr):
    raise KeyError("weights")


BAD = {
    "size": (shrink, ValueError, r"SR is \(2, 1, 2, 1\), HR \(2, 1, 8, 6\); does the method have"),
    "no tensor": (lambda lr: lr.tolist(), TypeError, "SR is list; it must be a tensor"),
    "own error": (refuse, RuntimeError, "'weights'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_names_the_method_and_the_cases_of_a_batch(cases, kind):
    method, error, reason = BAD[kind]
    with pytest.raises(error, match=f"^method 'mine', cases a, b: {reason}"):
        list(run({"up": enlarge, "mine": method}, cases, batch=2))


@pytest.mark.parametrize(
    ("added", "reason"), [(2.0, r"expected values in \[0, 1\]"), (torch.nan, "holds NaN")]
)
def test_names_the_one_case_whose_values_are_wrong(cases, added, reason):
    def spoil(lr):
        return enlarge(lr) + torch.tensor([0.0, added])[:, None, None, None]

    with pytest.raises(ValueError, match=f"^method 'mine', case b: {reason}"):
        list(run({"mine": spoil}, cases[:2], batch=2))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"methods": {}}, "there are no methods"),
        ({"methods": {"HR": enlarge}}, "no method may be called 'HR'"),
        ({"cases": []}, "there are no cases"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_refuses_at_the_call(cases, change, reason):
    with pytest.raises(ValueError, match=reason):
        run(**{"methods": {"up": enlarge}, "cases": cases} | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scale": 4}, r"degradation, case a: LR is \(1, 1, 4, 2\), but must be \(1, 1, 2, 1\)"),
        ({"scale": 16}, "case a: an image of 8 x 6 pixels is smaller than scale 16"),
        ({"degrade": lambda hr: None}, "degradation, case a: LR: expected a tensor"),
    ],
)
def test_names_the_case_that_cannot_be_degraded(cases, change, reason):
    with pytest.raises((TypeError, ValueError), match=reason):
        list(run({"up": enlarge}, cases, **change))


def test_is_a_loop_that_reads_no_case_before_it_is_its_turn(cases):
    seen = []

    def reading():
        for case in cases:
            seen.append(case.id)
            yield replace(case, about={"read": True})

    loop = run({"up": enlarge}, reading())
    assert inspect.isgenerator(loop)
    assert not seen
    next(loop)
    assert seen == ["a", "b"]


class Held:
    """Of each case something of its own, whatever is given."""

    def __init__(self, factor, every=1):
        self.factor, self.every = factor, every

    def of(self, case):
        return lambda given: case.image[None, None, :: self.every, :: self.every] * self.factor


def test_methods_and_degradations_that_differ_by_case_are_asked_for_each(cases):
    (found,) = run({"theirs": Held(0.5)}, cases[:2], batch=2, degrade=Held(1, every=2))
    torch.testing.assert_close(found.sr["theirs"], found.hr / 2)
    torch.testing.assert_close(found.lr, found.hr[..., ::2, ::2])


def test_a_case_that_fails_is_left_out_of_all_methods_and_noted(cases):
    small = Case("small", "p", "", torch.zeros(1, 8))

    def picky(lr):
        if torch.equal(lr, shrink(cases[1].image[None, None])):
            raise RuntimeError("not this one")
        return enlarge(lr)

    left_out = {}
    methods = {"up": enlarge, "picky": lambda lr: torch.cat([picky(one) for one in lr.split(1)])}
    found = list(run(methods, [*cases, small], batch=8, left_out=left_out))
    assert [case.id for some in found for case in some.cases] == ["a", "c"]
    assert left_out["b"] == "method 'picky', case b: not this one"
    assert "smaller than scale 2" in left_out["small"]
    assert len(left_out) == 2

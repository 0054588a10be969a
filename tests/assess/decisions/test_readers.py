from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

from medsr_lib.assess.decisions import patches, readers
from medsr_lib.case import Case


def enlarged(lr, factor=2):
    return lr.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def cut(**changes):
    """`patches` of two images of 13 x 12 pixels, of which 12 x 12 are left at scale 2."""
    rng = torch.Generator().manual_seed(0)
    masks = changes.pop("masks", [torch.eye(13, 12) > 0] * 2)
    cases = [
        Case(name, f"p{name}", "glioma", torch.rand(13, 12, generator=rng), mask)
        for name, mask in zip("ab", masks)
    ]
    arguments = {
        "methods": {"SR": enlarged},
        "degrade": lambda hr: hr[..., ::2, ::2],
        "where": lambda mask: (slice(2, 6), slice(4, 9)),
    } | changes
    return cases, *patches(arguments.pop("methods"), cases, scale=2, device="cpu", **arguments)


def test_patches_are_cut_from_whole_images():
    cases, images, masks = cut()
    assert list(images) == ["HR", "SR"]
    assert masks.shape == images["HR"].shape == images["SR"].shape == (2, 1, 4, 5)
    for case, hr, sr, mask in zip(cases, images["HR"], images["SR"], masks):
        assert torch.equal(hr[0], case.image[2:6, 4:9])
        assert torch.equal(mask[0], case.mask[2:6, 4:9])
        assert torch.equal(sr[0, 0], case.image[2, [4, 4, 6, 6, 8]])


def empty(mask):
    raise ValueError("the mask is empty")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"methods": {"SR": partial(enlarged, factor=3)}}, "method 'SR', case a: SR is"),
        ({"where": empty}, "case a: the mask is empty"),
        ({"masks": [None, None]}, "case a has no mask"),
    ],
)
def test_patches_refuse_and_name_the_case(change, reason):
    with pytest.raises(ValueError, match=reason):
        cut(**change)


def ask(network, images, shape=(3,)):
    return readers.answers(network, images, shape=shape, batch=2, device="cpu")


def test_a_network_is_asked_in_evaluation_and_stays_where_it_was():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).train()
    kept = network[1].running_mean.clone()
    found = ask(network, {"HR": torch.rand(5, 1, 4, 4)})
    assert found["HR"].shape == (5, 3)
    assert torch.equal(network[1].running_mean, kept)
    assert not network.training


@pytest.mark.parametrize(
    ("network", "images", "reason"),
    [
        (lambda x: x[:, 0, 0, :2], 1, r"method 'SR': expected logits \(2, 3\) for 2 images, got"),
        (lambda x: x[:, 0, 0, :3] / 0, 1, "method 'SR': the logits hold NaN or infinite values"),
        (lambda x: x[:, 0, 0, :3], 2, r"method 'SR': expected values in \[0, 1\]"),
    ],
)
def test_answers_refuse(network, images, reason):
    with pytest.raises(ValueError, match=reason):
        ask(network, {"SR": images * torch.ones(3, 1, 4, 4)})


CASES = pd.DataFrame({"id": list("abc"), "patient": list("ppq"), "label": "glioma"})
IMAGES = {"HR": torch.rand(3, 1, 4, 4), "SR": torch.rand(3, 1, 4, 4)}


@pytest.mark.parametrize(
    ("images", "cases", "reason"),
    [
        ({"SR": IMAGES["SR"]}, CASES, "no method 'HR' to compare the others with"),
        (IMAGES | {"SR": IMAGES["SR"][1:]}, CASES, "method 'SR': 2 images, 3 cases"),
        (IMAGES | {"SR": IMAGES["SR"][..., 1:]}, CASES, "method 'SR': images are"),
        (IMAGES, CASES.drop(columns="patient"), "cases has no column 'patient'"),
        (IMAGES, CASES.assign(id="7"), "case 7 occurs twice in cases"),
    ],
)
def test_images_must_belong_to_the_cases(images, cases, reason):
    with pytest.raises(ValueError, match=reason):
        readers.check_images(nn.Identity(), images, cases)


def test_a_reader_that_was_trained_on_a_tested_case_is_refused():
    judge = nn.Identity()
    judge.trained_on = frozenset(["d2"])
    readers.check_images(judge, IMAGES, CASES)
    with pytest.raises(ValueError, match="the network was trained on case b, which is tested here"):
        readers.check_images(judge, IMAGES, CASES.assign(digest=["d1", "d2", "d3"]))

from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from torch import nn

from medsr_lib.assess import statistics
from medsr_lib.assess.decisions import classifier
from medsr_lib.assess.decisions.classifier import (
    classify_decisions,
    classify_summary,
    patches,
    segment_decisions,
    segment_summary,
)

CLASSES = ["meningioma", "glioma", "pituitary"]


def enlarged(lr, factor=2):
    return lr.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def cut(**changes):
    """`patches` of two slices of 13 x 12 pixels, of which 12 x 12 are left at scale 2."""
    rng = torch.Generator().manual_seed(0)
    slices = [
        SimpleNamespace(
            image=torch.rand(13, 12, generator=rng), mask=torch.eye(13, 12) > 0, slice_id=name
        )
        for name in "ab"
    ]
    arguments = {
        "methods": {"SR": enlarged},
        "degrade": lambda hr: hr[..., ::2, ::2],
        "where": lambda mask: (slice(2, 6), slice(4, 9)),
    } | changes
    methods = arguments.pop("methods")
    found = patches(methods, slices, scale=2, device="cpu", progress=False, **arguments)
    return slices, *found


def test_patches_are_cut_from_whole_slices():
    slices, images, masks = cut()
    assert list(images) == ["HR", "SR"]
    assert masks.shape == images["HR"].shape == images["SR"].shape == (2, 1, 4, 5)
    for s, hr, sr, mask in zip(slices, images["HR"], images["SR"], masks):
        assert torch.equal(hr[0], s.image[2:6, 4:9])
        assert torch.equal(mask[0], s.mask[2:6, 4:9])
        assert torch.equal(sr[0, 0], s.image[2, [4, 4, 6, 6, 8]])


def empty(mask):
    raise ValueError("the mask is empty")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"methods": {}}, "there are no methods"),
        ({"methods": {"HR": enlarged}}, "no method may be called 'HR'"),
        ({"methods": {"SR": partial(enlarged, factor=3)}}, "method 'SR', slices a: SR is"),
        ({"where": empty}, "slice a: the mask is empty"),
    ],
)
def test_patches_refuse(change, reason):
    with pytest.raises(ValueError, match=reason):
        cut(**change)


def about(tumours):
    n = len(tumours)
    return pd.DataFrame(
        {
            "slice_id": [f"s{i}" for i in range(n)],
            "patient": [f"p{i // 2}" for i in range(n)],
            "tumour": tumours,
            "path": "",
        },
        index=range(10, 10 + n),  # rows chosen from a larger table
    )


def shown(rows):
    """An image whose first three pixels are the logits of `first_pixels`, (N, 1, 4, 4)."""
    images = torch.zeros(len(rows), 1, 4, 4)
    images[:, 0, 0, :3] = torch.tensor(rows)
    return images


def first_pixels(images):
    return images[:, 0, 0, :3]


@pytest.fixture
def classified():
    """Four slices; SR flips the second to wrong, the third to right, the fourth wrong to wrong."""
    hr = shown([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    sr = shown([[0.9, 0, 0], [0, 0, 1.0], [0, 0, 0.5], [0, 1.0, 0]])
    slices = about(["meningioma", "glioma", "pituitary", "pituitary"])
    images = {"HR": hr, "SR": sr}
    return classify_decisions(
        first_pixels, images, slices, classes=CLASSES, batch=3, device="cpu", progress=False
    )


def test_a_row_per_slice_and_method(classified):
    assert classified.columns.tolist() == [
        *("slice_id", "patient", "tumour", "method", "region", "predicted", "p_true", "right"),
        *("flipped", "to_wrong", "to_right", "p meningioma", "p glioma", "p pituitary"),
    ]
    assert classified["slice_id"].tolist() == ["s0", "s1", "s2", "s3"] * 2
    assert classified["method"].tolist() == ["HR"] * 4 + ["SR"] * 4


def test_flips_by_hand(classified):
    hr, sr = (classified[classified["method"] == name] for name in ("HR", "SR"))
    assert hr["right"].tolist() == [1, 1, 0, 0]
    assert sr["predicted"].tolist() == ["meningioma", "pituitary", "pituitary", "glioma"]
    assert sr["flipped"].tolist() == [0, 1, 1, 1]
    assert sr["to_wrong"].tolist() == [0, 1, 0, 0]
    assert sr["to_right"].tolist() == [0, 0, 1, 0]
    assert not hr[["flipped", "to_wrong", "to_right"]].any(axis=None)


def test_p_true_is_the_softmax_of_the_true_class(classified):
    assert classified["p_true"].iloc[0] == pytest.approx(np.e / (np.e + 2))
    assert classified["p_true"].iloc[5] == pytest.approx(1 / (np.e + 2))
    assert classified.filter(like="p ").sum(axis=1).to_numpy() == pytest.approx(1)


def test_classify_summary_by_hand(classified):
    found = classify_summary(classified)
    assert found.index.tolist() == ["HR", "SR"]
    columns = ["slices", "patients", "flipped", "to_wrong", "to_right"]
    assert found[columns].values.tolist() == [[4, 2, 0, 0, 0], [4, 2, 3, 1, 1]]
    assert (found[columns].dtypes == "int64").all()
    assert found["accuracy"].tolist() == [0.5, 0.5]
    assert found["balanced"].tolist() == pytest.approx([2 / 3, (1 + 0 + 0.5) / 3])
    assert np.isnan(found.loc["HR", "p"])
    assert found.loc["SR", "p"] == 1


@pytest.fixture
def many():
    rng = np.random.default_rng(0)
    slices = about(rng.choice(CLASSES, 60).tolist())
    truth = nn.functional.one_hot(torch.tensor([CLASSES.index(t) for t in slices["tumour"]]))
    noise = torch.from_numpy(rng.random((2, 60, 3), np.float32))
    images = {
        "HR": shown((0.5 * truth + 0.5 * noise[0]).tolist()),
        "SR": shown((0.2 * truth + 0.8 * noise[1]).tolist()),
    }
    return classify_decisions(
        first_pixels, images, slices, classes=CLASSES, device="cpu", progress=False
    )


def test_auc_and_p_agree_with_other_packages(many):
    summary = classify_summary(many)
    for method, of in many.groupby("method"):
        truth = [CLASSES.index(t) for t in of["tumour"]]
        p = of[[f"p {name}" for name in CLASSES]].to_numpy()
        expected = roc_auc_score(truth, p, multi_class="ovr", average="macro")
        assert summary.loc[method, "auc"] == pytest.approx(expected)
    hr, sr = (many[many["method"] == m]["right"].to_numpy() for m in ("HR", "SR"))
    both = mcnemar(pd.crosstab(hr, sr), exact=True)
    assert summary.loc["SR", "to_wrong"] > 5
    assert summary.loc["SR", "p"] == pytest.approx(both.pvalue)


def test_auc_is_nan_where_a_class_is_missing(many):
    assert classify_summary(many[many["tumour"] != "glioma"])["auc"].isna().all()


@pytest.mark.parametrize("metric", ["p_true", "right"])
def test_the_tables_go_into_statistics(many, metric):
    found = statistics.paired_difference(
        many, metric=metric, method="SR", baseline="HR", region="whole", reference=None, seed=0
    )
    means = many.groupby("method")[metric].mean()
    assert found.value == pytest.approx(means["SR"] - means["HR"])  # two slices a patient
    assert (found.patients, found.slices) == (30, 60)


def test_a_network_is_asked_in_evaluation_and_stays_where_it_was():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).train()
    images, slices = {"HR": torch.rand(5, 1, 4, 4)}, about(CLASSES + CLASSES[:2])
    kept = network[1].running_mean.clone()
    classify_decisions(network, images, slices, classes=CLASSES, device="cpu", progress=False)
    assert torch.equal(network[1].running_mean, kept)
    assert not network.training


HR_OUTLINE = (slice(4, 12), slice(4, 12))  # of all masks but the last, which is empty
OUTLINES = {
    "HR": [[HR_OUTLINE], [HR_OUTLINE], [(slice(4, 6), slice(4, 12))], []],
    "SR": [
        [(slice(4, 12), slice(8, 16))],  # half of it, and as much beside
        [(slice(4, 5), slice(4, 12)), (slice(20, 24), slice(20, 24))],  # an eighth, one invented
        [HR_OUTLINE],
        [(slice(0, 4), slice(0, 4)), (slice(8, 9), slice(8, 11))],  # one is too small
    ],
}


def drawn(outlines):
    images = torch.zeros(len(outlines), 1, 32, 32)
    for image, places in zip(images, outlines):
        for rows, columns in places:
            image[0, rows, columns] = 1
    return images


def segmented(**changes):
    masks = drawn([[HR_OUTLINE]] * 3 + [[]]).bool()
    arguments = {"rule": "dice", "least": 0.5, "min_pixels": 5, "batch": 3} | changes
    return segment_decisions(
        lambda images: images - 0.5,
        {name: drawn(outlines) for name, outlines in OUTLINES.items()},
        arguments.pop("masks", masks),
        arguments.pop("slices", about(["glioma"] * 4)),
        device="cpu",
        progress=False,
        **arguments,
    )


def of(table, method, column):
    return table[table["method"] == method][column].tolist()


def test_segment_columns():
    assert segmented().columns.tolist() == [
        *("slice_id", "patient", "tumour", "method", "region", "mask_pixels", "pixels", "dice"),
        *("covered", "invented", "new", "found", "lost", "gained"),
    ]


def test_dice_and_share_covered_by_hand():
    table = segmented()
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert of(table, "HR", "dice") == [1, 1, 2 * 16 / 80, nan]
    assert of(table, "SR", "dice") == [0.5, 2 * 8 / 88, 1, nan]
    assert of(table, "SR", "covered") == [0.5, 0.125, 1, nan]
    assert of(table, "SR", "pixels") == [64, 24, 64, 19]
    assert of(table, "SR", "mask_pixels") == [64, 64, 64, 0]


@pytest.mark.parametrize(
    ("rule", "least", "found", "lost", "gained"),
    [
        ("dice", 0.5, [1, 0, 1], [0, 1, 0], [0, 0, 1]),
        ("dice", 0.6, [0, 0, 1], [1, 1, 0], [0, 0, 1]),
        ("covered", 0.1, [1, 1, 1], [0, 0, 0], [0, 0, 0]),
    ],
)
def test_found_lost_and_gained(rule, least, found, lost, gained):
    table = segmented(rule=rule, least=least)
    for column, expected in (("found", found), ("lost", lost), ("gained", gained)):
        assert of(table, "SR", column)[:3] == expected
        assert np.isnan(of(table, "SR", column)[3])
    assert not np.nansum(table[table["method"] == "HR"][["lost", "gained"]])


def test_invented_lesions():
    assert of(segmented(), "SR", "invented") == [0, 1, 0, 1]
    assert of(segmented(), "HR", "invented") == [0, 0, 0, 0]
    assert of(segmented(min_pixels=17), "SR", "invented") == [0, 0, 0, 0]
    assert of(segmented(min_pixels=3), "SR", "invented") == [0, 1, 0, 2]


def test_nothing_near_the_mask_is_invented():
    gap = np.hypot(20 - 11, 20 - 11)  # from the mask's corner to the component's
    assert of(segmented(margin=int(gap)), "SR", "invented")[1] == 1
    assert of(segmented(margin=int(gap) + 1), "SR", "invented")[1] == 0


def test_what_is_seen_on_the_reference_too_is_not_new():
    masks = drawn([[HR_OUTLINE]] * 3 + [[]]).bool()
    masks[0] = 0
    table = segmented(masks=masks)
    assert of(table, "SR", "invented")[0] == 1
    assert of(table, "SR", "new") == [0, 1, 0, 1]
    assert of(table, "HR", "new") == [0, 0, 0, 0]


def test_components_touch_at_corners():
    outline = np.eye(6, dtype=bool)
    (found,) = classifier._invented(outline, np.ones_like(outline), 6)
    assert np.array_equal(found, outline)
    assert ndimage.label(outline)[1] == 6


def test_segment_summary_by_hand():
    found = segment_summary(segmented())
    columns = ["slices", "patients", "lesions", "found", "lost", "gained", "invented", "new"]
    assert found.loc["HR", columns].tolist() == [4, 2, 3, 2, 0, 0, 0, 0]
    assert found.loc["SR", columns].tolist() == [4, 2, 3, 2, 1, 1, 2, 2]
    assert (found[columns].dtypes == "int64").all()
    assert found.loc["SR", "slices_invented"] == 2
    assert found.loc["SR", "dice"] == pytest.approx((0.5 + 2 / 11 + 1) / 3)
    assert found.loc["SR", "dice_difference"] == pytest.approx((-0.5 + 2 / 11 - 1 + 0.6) / 3)
    assert found.loc["SR", "p"] == 1
    assert np.isnan(found.loc["HR", "p"])


def test_mcnemar_by_hand():
    assert classifier._mcnemar(6, 0) == pytest.approx(2 / 2**6)
    assert classifier._mcnemar(0, 0) == 1


def test_segment_tables_go_into_statistics():
    table = segmented()
    found = statistics.paired_difference(
        table, metric="dice", method="SR", baseline="HR", region="tumour", reference=None, seed=0
    )
    assert (found.patients, found.slices, found.skipped) == (2, 3, 1)


IMAGES = {"HR": torch.rand(3, 1, 4, 4), "SR": torch.rand(3, 1, 4, 4)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": {"SR": IMAGES["SR"]}}, "no method 'HR' to hold the others against"),
        ({"images": {"HR": 2 * IMAGES["HR"]}}, r"method 'HR': expected values in \[0, 1\]"),
        ({"images": IMAGES | {"SR": IMAGES["SR"][1:]}}, "method 'SR': 2 images, 3 slices"),
        ({"images": IMAGES | {"SR": IMAGES["SR"][..., 1:]}}, "method 'SR': images are"),
        ({"slices": about(CLASSES).drop(columns="patient")}, "slices has no column 'patient'"),
        ({"slices": about(CLASSES).assign(slice_id="7")}, "slice 7 stands in slices twice"),
        ({"slices": about(["none", *CLASSES[1:]])}, "tumour 'none' is none of the classes"),
        ({"classes": ["glioma"]}, "classes must be at least two names"),
        ({"classifier": lambda x: x[:, 0, 0, :2]}, r"expected logits \(3, 3\) for 3 images, got"),
        ({"classifier": lambda x: x[:, 0, 0, :3] / 0}, "the logits hold NaN or infinite values"),
    ],
)
def test_classify_refuses(change, reason):
    arguments = {"classifier": first_pixels, "images": IMAGES, "slices": about(CLASSES)} | change
    positional = [arguments.pop(name) for name in ("classifier", "images", "slices")]
    arguments = {"classes": CLASSES, "device": "cpu", "progress": False} | arguments
    with pytest.raises(ValueError, match=reason):
        classify_decisions(*positional, **arguments)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"rule": "iou"}, ValueError, "no rule 'iou'; there are dice, covered"),
        ({"least": 0}, ValueError, "least must be above 0 and at most 1, got 0"),
        ({"min_pixels": 0}, ValueError, "min_pixels must be at least 1 and margin at least 0"),
        ({"masks": torch.zeros(4, 1, 32, 32)}, TypeError, "masks: expected bool"),
        ({"masks": torch.zeros(4, 1, 32, 31).bool()}, ValueError, "but masks"),
    ],
)
def test_segment_refuses(change, error, reason):
    with pytest.raises(error, match=reason):
        segmented(**change)


@pytest.mark.parametrize("summary", [classify_summary, segment_summary])
def test_summaries_need_the_reference(summary, classified):
    table = classified if summary is classify_summary else segmented()
    with pytest.raises(ValueError, match="no method 'GT' to hold the others against"):
        summary(table, reference="GT")

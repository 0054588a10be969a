import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from medsr_lib.assess import statistics
from medsr_lib.assess.decisions import segment, segment_summary, segmenter

CASES = pd.DataFrame(
    {"id": list("abcd"), "patient": ["p", "p", "q", "q"], "label": "glioma", "path": ""},
    index=range(10, 14),  # rows chosen from a larger table
)
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
    arguments = {"min_dice": 0.5, "min_pixels": 5, "masks": masks} | changes
    images = {name: drawn(outlines) for name, outlines in OUTLINES.items()}
    masks = arguments.pop("masks")
    return segment(lambda x: x - 0.5, images, masks, CASES, device="cpu", **arguments)


def of(table, method, column):
    return table[table["method"] == method][column].tolist()


def test_segment_columns():
    assert segmented().columns.tolist() == [
        *("id", "patient", "label", "method", "region", "mask_pixels", "pixels", "dice"),
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
    ("min_dice", "found", "lost"), [(0.5, [1, 0, 1], [0, 1, 0]), (0.6, [0, 0, 1], [1, 1, 0])]
)
def test_found_lost_and_gained(min_dice, found, lost):
    table = segmented(min_dice=min_dice)
    for column, expected in (("found", found), ("lost", lost), ("gained", [0, 0, 1])):
        assert of(table, "SR", column)[:3] == expected
        assert np.isnan(of(table, "SR", column)[3])
    assert not np.nansum(table[table["method"] == "HR"][["lost", "gained"]])


def test_invented_lesions():
    assert of(segmented(), "SR", "invented") == [0, 1, 0, 1]
    assert of(segmented(), "HR", "invented") == [0, 0, 0, 0]
    assert of(segmented(min_pixels=17), "SR", "invented") == [0, 0, 0, 0]
    assert of(segmented(min_pixels=3), "SR", "invented") == [0, 1, 0, 2]


def test_nothing_near_the_mask_is_invented(monkeypatch):
    gap = np.hypot(20 - 11, 20 - 11)  # from the mask's corner to the component's
    for margin, invented in ((int(gap), 1), (int(gap) + 1, 0)):
        monkeypatch.setattr(segmenter, "RIM", margin)
        assert of(segmented(), "SR", "invented")[1] == invented


def test_what_is_seen_on_the_reference_too_is_not_new():
    masks = drawn([[HR_OUTLINE]] * 3 + [[]]).bool()
    masks[0] = 0
    table = segmented(masks=masks)
    assert of(table, "SR", "invented")[0] == 1
    assert of(table, "SR", "new") == [0, 1, 0, 1]
    assert of(table, "HR", "new") == [0, 0, 0, 0]


def test_components_touch_at_corners():
    outline = np.eye(6, dtype=bool)
    (found,) = segmenter._invented(outline, np.ones_like(outline), 6)
    assert np.array_equal(found, outline)
    assert ndimage.label(outline)[1] == 6


def test_segment_summary_by_hand():
    found = segment_summary(segmented())
    columns = ["cases", "patients", "lesions", "found", "lost", "gained", "invented", "new"]
    assert found.loc["HR", columns].tolist() == [4, 2, 3, 2, 0, 0, 0, 0]
    assert found.loc["SR", columns].tolist() == [4, 2, 3, 2, 1, 1, 2, 2]
    assert (found[columns].dtypes == "int64").all()
    assert found.loc["SR", "cases_invented"] == 2
    assert found.loc["SR", "dice"] == pytest.approx((0.5 + 2 / 11 + 1) / 3)
    assert found.loc["SR", "dice_difference"] == pytest.approx((-0.5 + 2 / 11 - 1 + 0.6) / 3)
    assert np.isnan(found.loc["SR", "p"])  # of two patients
    assert np.isnan(found.loc["HR", "p"])


def test_segment_tables_go_into_statistics():
    table = segmented()
    found = statistics.paired_difference(
        table, metric="dice", method="SR", baseline="HR", region="tumour", reference=None, seed=0
    )
    assert (found.patients, found.cases, found.skipped) == (2, 3, 1)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"min_dice": 0}, ValueError, "min_dice must be above 0 and at most 1, got 0"),
        ({"min_pixels": 0}, ValueError, "min_pixels must be a whole number of at least 1, got 0"),
        ({"masks": torch.zeros(4, 1, 32, 32)}, TypeError, "masks: expected bool"),
        ({"masks": torch.zeros(4, 1, 32, 31).bool()}, ValueError, "but masks"),
    ],
)
def test_segment_refuses(change, error, reason):
    with pytest.raises(error, match=reason):
        segmented(**change)


def test_the_summary_needs_hr():
    table = segmented()
    with pytest.raises(ValueError, match="no method 'HR' to compare the others with"):
        segment_summary(table[table["method"] == "SR"])

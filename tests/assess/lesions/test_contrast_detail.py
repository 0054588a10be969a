import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from medsr_lib.assess.lesions.contrast_detail import contrast_detail, smallest_detectable
from medsr_lib.assess.lesions.insert import insert
from medsr_lib.restore import degrade, resample


@pytest.fixture(scope="module")
def tissue():
    """Ten noisy images of five patients, all of them normal."""
    rng = np.random.default_rng(0)
    images = 0.4 + 0.02 * rng.standard_normal((10, 96, 96))
    return [torch.from_numpy(image).float() for image in images]


def table(tissue, **changes):
    arguments = {
        "methods": {"bicubic": partial(resample.bicubic, scale=2)},
        "images": tissue,
        "normal_masks": [torch.ones(96, 96, dtype=torch.bool)] * len(tissue),
        "patients": list("AABBCCDDEE")[: len(tissue)],
        "degrade": partial(degrade.bicubic, scale=2),
        "diameters": [3, 6],
        "contrasts": [0.02],
        "places_per_image": 4,
        "psf": 0.0,
        "seed": 0,
        "resamples": 200,
        "progress": False,
    } | changes
    return contrast_detail(**arguments)


def test_a_row_for_every_method_diameter_and_contrast(tissue):
    found = table(tissue, contrasts=[0.02, 0.04])
    assert found["method"].tolist() == ["HR"] * 4 + ["bicubic"] * 4
    assert found["diameter"].tolist() == [3, 3, 6, 6] * 2
    assert found["contrast"].tolist() == [0.02, 0.04] * 4
    assert set(found["patients"]) == {5}
    assert set(found["images"]) == {10}
    assert set(found["skipped"]) == {0}
    assert (found["backgrounds"] > 20).all()
    assert ((found["low"] <= found["d"]) & (found["d"] <= found["high"])).all()


def test_detection_doubles_with_contrast(tissue):
    found = table(tissue, contrasts=[0.02, 0.04])["d"].to_numpy()
    np.testing.assert_allclose(found[1::2], 2 * found[::2], rtol=0.01)  # all of it is linear


def test_detection_is_lost_with_resolution(tissue):
    smaller, larger = (partial(f, scale=4) for f in (degrade.bicubic, resample.bicubic))
    found = table(tissue, degrade=smaller, methods={"bicubic": larger}).set_index(
        ["method", "diameter"]
    )["d"]
    assert found["bicubic", 3] < 0.8 * found["HR", 3]


def test_hr_in_white_noise_has_the_analytic_index():
    rng = np.random.default_rng(3)
    images = list(torch.from_numpy(0.4 + 0.02 * rng.standard_normal((20, 192, 192))).float())
    found = table(
        images,
        normal_masks=[torch.ones(192, 192, dtype=torch.bool)] * 20,
        patients=range(20),
        places_per_image=20,
        diameters=[6],
        contrasts=[0.01],
    )
    signal = insert(torch.zeros(21, 21), centre=(10, 10), diameter=6, contrast=0.01, seed=None)[0]
    analytic = signal.norm().item() / 0.02
    assert found["backgrounds"][0] > 200
    assert found["d"][0] == pytest.approx(analytic, rel=0.15)
    assert found["low"][0] < analytic < found["high"][0]


def test_a_method_that_wipes_lesions_out_detects_nothing(tissue):
    methods = {"grey": lambda lr: torch.full((len(lr), 1, 96, 96), 0.4)}
    found = table(tissue, methods=methods, observer="npw")
    assert (found["d"][found["method"] == "grey"] == 0).all()


def test_irregular_lesions_and_the_other_observer(tissue):
    found = table(tissue, shape="irregular", observer="npw", contrasts=[0.1], diameters=[6])
    assert (found["d"] > 3).all()
    pd.testing.assert_frame_equal(
        found, table(tissue, shape="irregular", observer="npw", contrasts=[0.1], diameters=[6])
    )


def test_images_without_room_are_counted(tissue):
    masks = [torch.ones(96, 96, dtype=torch.bool)] * 9 + [torch.zeros(96, 96, dtype=torch.bool)]
    found = table(tissue, normal_masks=masks)
    assert set(found["skipped"]) == {1}
    assert set(found["images"]) == {9}
    with pytest.raises(ValueError, match="no lesion of 6 pixels fits"):
        table(tissue, normal_masks=masks[-1:] * 10)


def test_lesions_go_where_their_contrast_fits(tissue):
    half = [torch.cat((image[:, :48] + 0.55, image[:, 48:]), 1).clamp(0, 1) for image in tissue]
    found = table(half, contrasts=[0.3])
    assert set(found["skipped"]) == {0}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"methods": {"HR": torch.clone}}, "no method may be called 'HR'"),
        ({"methods": {"small": torch.clone}}, "method 'small', image 0: SR is"),
        ({"patients": ["A"]}, "10 images, 10 masks and 1 patients"),
        ({"diameters": []}, "at least one method, image, diameter"),
    ],
)
def test_designs_that_cannot_be_measured(tissue, changes, wrong):
    with pytest.raises(ValueError, match=wrong):
        table(tissue, **changes)


def test_the_smallest_diameter_detected():
    rows = [("HR", 3, 0.5), ("HR", 6, 1.2), ("HR", 9, 2.0), ("SR", 3, 0.1), ("SR", 6, 0.4)]
    made = pd.DataFrame(rows, columns=["method", "diameter", "d"]).assign(contrast=0.1)
    found = smallest_detectable(made, threshold=1.0).set_index("method")
    assert found["diameter"]["HR"] == 6
    assert found["d"]["HR"] == 1.2
    assert math.isnan(found["diameter"]["SR"])
    with pytest.raises(ValueError, match="threshold must be positive"):
        smallest_detectable(made, threshold=0)

import re

import numpy as np
import pytest

from medsr_lib.data import chest_xray, phantom, source
from medsr_lib.data.phantom.chest import files
from medsr_lib.data.phantom.chest.chest import make_chest
from medsr_lib.data.phantom.chest.opacity import make_opacity
from medsr_lib.data.phantom.chest.picture import draw

SMALL = {"patients": 12, "seed": 3, "size": 110}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom.write_chest_xray(tmp_path_factory.mktemp("chest"), **SMALL)


@pytest.fixture(scope="module")
def table(folder):
    return source.index(folder)


def test_the_tree_and_the_names_are_the_originals(table):
    assert set(zip(table["split"], table["label"])) == {
        (split, label) for split in ("train", "test") for label in chest_xray.LABELS
    }
    assert set(table["subtype"]) == {"none", "bacteria", "virus"}
    assert table["patient"].nunique() == 12
    assert table["id"].is_unique
    assert table["duplicate_of"].isna().all()
    patterns = r"(NORMAL2-)?IM-\d{4}-0001(-\d{4})?|person\d+_(bacteria|virus)_\d+"
    assert all(re.fullmatch(patterns, name) for name in table["id"])


def test_patients_lie_on_one_side(table):
    assert table.groupby("patient")["split"].nunique().max() == 1


def test_the_files_reveal_the_class_as_the_originals_do(table):
    normal = table["label"] == "NORMAL"
    assert set(table["jpeg_quality"][normal]) == {96}
    assert set(table["jpeg_quality"][~normal]) == {75}
    assert table["bytes"][normal].min() > table["bytes"][~normal].max()
    assert table["height"][normal].min() > table["height"][~normal].max()
    aspect = table["width"] / table["height"]
    assert aspect[~normal].median() > aspect[normal].median() + 0.15
    assert set(table["channels"]) == {1, 3}


def test_masks_lie_inside_the_pictures_and_show_something(table):
    for row in table.itertuples():
        case = chest_xray.read_image(row.path)
        if row.label == "NORMAL":
            assert case.mask is None
        else:
            assert 0.005 < case.mask.float().mean() < 0.3


def test_some_have_had_both_kinds_and_several_images():
    shots = files.exposures(40)
    kinds = {p: {s.kind for s in shots if s.person == p} for p in range(40)}
    assert any(kind == {"bacteria", "virus"} for kind in kinds.values())
    assert len(shots) > 50
    assert len({s.name for s in shots}) == len(shots)


@pytest.mark.parametrize("patients", [5, 8, 24])
def test_both_classes_are_in_both_splits(patients):
    assert len({(s.split, s.label) for s in files.exposures(patients)}) == 4


def test_opacities_are_brighter_than_the_same_lung_without():
    rng = np.random.default_rng(0)
    thorax = make_chest(rng)
    for kind in ("bacteria", "virus"):
        opacity = make_opacity(kind, thorax, rng)
        shape, seeds = (150, 180), (np.random.default_rng(1) for _ in range(2))
        ill, mask = draw(thorax, opacity, shape=shape, rng=next(seeds))
        well, none = draw(thorax, None, shape=shape, rng=next(seeds))
        change = ill.astype(int) - well
        assert not none.any()
        assert change[mask].mean() > 12
        assert abs(change[:, :20]).max() <= 2
        assert change[mask].mean() > 8 * abs(change[~mask]).mean()


def test_a_picture_looks_like_a_chest():
    rng = np.random.default_rng(5)
    thorax = make_chest(rng)
    picture, _ = draw(thorax, None, shape=(240, 290), rng=rng)
    height, width = picture.shape
    middle, lung = slice(int(0.46 * width), int(0.54 * width)), slice(height // 3, height // 2)
    right = picture[lung, int(0.22 * width) : int(0.38 * width)].mean()
    left = picture[lung, int(0.66 * width) : int(0.78 * width)].mean()
    spine = picture[lung, middle].mean()
    belly = picture[int(0.9 * height) :, int(0.3 * width) : int(0.7 * width)].mean()
    assert max(right, left) + 50 < min(spine, belly)
    assert picture[: height // 12, : width // 12].mean() < 60  # air beside the neck

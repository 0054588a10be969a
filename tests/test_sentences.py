"""The computed sentences of notebooks 01 to 03 hold on two different runs."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medsr_lib.assess import sentences
from medsr_lib.assess.statistics import Contrast, Estimate
from medsr_lib.series import notebook as notebooks

GAIN = Estimate(0.5, 0.2, 0.8, p=0.01, cases=32, patients=16)
LOSS = Estimate(-0.5, -0.8, -0.2, p=0.01, cases=32, patients=16)
OPEN = Estimate(0.1, -0.2, 0.4, p=0.4, cases=32, patients=16)
UNKNOWN = Estimate(0.1, patients=1)


@pytest.fixture
def said(capsys):
    """What the cell with a computed sentence that holds a text prints, given a run's names."""

    def run(number, text, **names):
        (notebook,) = notebooks.find([number])
        cells = [c.source for c in notebook.code if "sentence" in notebooks.tags(c)]
        (source,) = [source for source in cells if text in source]
        exec(source, {"math": math, "np": np, "pd": pd, **names})
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("gain", "words"), [(GAIN, "beats"), (LOSS, "is worse than")])
@pytest.mark.parametrize("rest", [OPEN, UNKNOWN])
def test_02_says_what_the_network_gains(said, gain, words, rest):
    text = said(
        "02", "by PSNR", gains={"gain_psnr_over_bicubic": gain, "gain_psnr_over_linear": rest}
    )
    first, second = text.splitlines()
    value = f"{gain.value:+.2f}".replace("-", "−")
    assert first == f"ESPCN {words} bicubic by PSNR: {value} dB, n = 16 patients."
    assert second.startswith("ESPCN is not shown to differ from linear by PSNR: +0.10 dB")


def test_a_title_says_whether_more_steps_would_help():
    rising, flat = (pd.DataFrame({"psnr": [30, 31, 31.2, end]}) for end in (31.9, 31.25))
    assert "PSNR still rises, more steps would help (+0.70 dB" in sentences.rise("A", rising)
    assert "A: PSNR has flattened (+0.05 dB" in sentences.rise("A", flat)
    assert sentences.rise("A", rising[[]][:0]) == "A: not validated yet"  # no time to train


@pytest.mark.parametrize("gain", [1.32, -0.4])
def test_02_and_03_print_one_slice_and_all(said, gain):
    psnr = pd.DataFrame({"bicubic": [32.38, 30, 31]}, index=["7", "8", "9"])
    psnr = psnr.assign(ESPCN=psnr["bicubic"] + gain)
    psnr = psnr.assign(SRResNet=psnr["ESPCN"], SRGAN=psnr["ESPCN"] - 1)
    of = psnr.loc["8"]
    score = psnr.reset_index(names="id").melt("id", var_name="method", value_name="psnr")
    text = said("02", "all slices", scores=score.assign(seed=0), seed=0)
    assert f"slice 8: bicubic 30.00 dB -> ESPCN {of['ESPCN']:.2f} dB ({gain:+.2f})" in text
    assert f"all slices: bicubic 31.13 dB -> ESPCN {31.126667 + gain:.2f} dB" in text
    text = said("03", "all slices", psnr=psnr, chosen="7")
    assert f"slice 7: bicubic 32.38 dB -> SRGAN {31.38 + gain:.2f} dB ({gain - 1:+.2f})" in text


@pytest.mark.parametrize(
    ("found", "word"), [(GAIN, "higher"), (LOSS, "lower"), (OPEN, "not shown")]
)
def test_03_says_what_changes_in_the_tumour(said, found, word):
    gains = {Contrast("perceptual", "SRGAN", "SRResNet", "tumour"): found}
    text = said("03", "in the tumour", gains=gains)
    assert text.startswith(f"perceptual distance in the tumour, SRGAN against SRResNet: {word}")
    assert "n = 16 patients" in text


@pytest.mark.parametrize(
    ("psnr", "distance", "words"),
    [
        (33.5, 0.4, ": the trade that a GAN makes."),
        (34.2, 0.4, ": not the trade that a GAN makes."),
    ],
)
def test_03_says_whether_the_gan_traded(said, psnr, distance, words):
    validation = pd.DataFrame({"psnr": [33, psnr], "perceptual": [0.5, distance]})
    known = {"SRResNet": {"psnr": 34.0, "perceptual": 0.5}}
    gan = SimpleNamespace(validation=validation)
    text = said("03", "gan.validation", gan=gan, known=known)
    assert f"PSNR {psnr - 34:+.2f} dB".replace("-", "−") in text
    assert text.endswith(f"{words}\n")
    assert said("03", "gan.validation", gan=SimpleNamespace(validation=[]), known=known) == ""


def test_01_says_how_small_lesions_are_or_that_there_are_none(said):
    table = pd.DataFrame({"height": 100, "width": 100, "mask_pixels": [100, 200, 400]})
    assert "half of the 3 lesions a weight of less than 2.0 %" in said("01", "half =", table=table)
    without = table.assign(mask_pixels=pd.array([pd.NA] * 3, dtype="Int64"))
    assert said("01", "half =", table=without) == "No lesion is outlined in these images.\n"


def test_01_says_how_far_intensities_reach_if_it_is_known(said):
    known = said("01", "raw_max", table=pd.DataFrame({"raw_max": [250.0, 12_000]}))
    assert known == "The largest stored intensity goes from 250 to 12,000, a factor of 48.\n"
    for table in (pd.DataFrame({"raw_max": [255.0, 255]}), pd.DataFrame({"id": ["1"]})):
        assert "the same everywhere, or not known" in said("01", "raw_max", table=table)


@pytest.mark.parametrize("by_image", [87.5, 0.0])
def test_01_says_how_many_test_images_show_a_known_patient(said, by_image):
    leak = pd.Series({"split by image": by_image, "split by patient": 0.0})
    splits = SimpleNamespace(leak=lambda *args, **kwargs: leak)
    text = said("01", "leak =", splits=splits, table=None, seed=0)
    assert text.splitlines()[0].startswith(f"split by image:   {by_image:g} % of the test images")
    assert text.splitlines()[1] == "split by patient: 0 %"


@pytest.mark.parametrize(
    ("agreement", "title"),
    [
        ([0.999, 0.993], "Mask and border agree: Dice is at least 0.993"),
        ([0.999, 0.4], "Mask and border differ: Dice is at least 0.400"),
    ],
)
def test_01_says_whether_mask_and_border_agree(said, agreement, title):
    drawn = []
    keep = lambda path, draw, case, **texts: drawn.append((case, texts["title"]))  # noqa: E731
    show = SimpleNamespace(keep=keep, mask_and_border=None)
    names = {"show": show, "outlined": ["a", "b"], "out": Path()}
    said("01", "mask_and_border", agreement=agreement, **names)
    assert drawn == [("b", title)]

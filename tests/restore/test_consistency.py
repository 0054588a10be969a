from functools import partial

import pytest
import torch

from medsr_lib.restore import consistency, degrade, resample


@pytest.fixture
def smooth():
    """(1, 1, 48, 60) in [0.1, 0.9], with detail that scale 2 loses."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(60.0), indexing="ij")
    waves = torch.sin(x / 5) + torch.sin(y / 7 + x / 9) + 0.2 * torch.sin(x * 2.4)
    return (0.5 + 0.18 * waves)[None, None]


@pytest.mark.parametrize("name", ["bicubic", "blur", "kspace"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degrading_it_again_gives_lr(smooth, name, scale):
    to_lr = degrade.by_name(name, scale=scale)
    lr = to_lr(smooth)
    bicubic = partial(resample.bicubic, scale=scale)
    sr = consistency.project(bicubic, degrade=to_lr)(lr)
    before, after = ((to_lr(x) - lr).abs().mean() for x in (bicubic(lr), sr))
    assert after < 0.1 * before
    assert (sr - smooth).square().mean() < (bicubic(lr) - smooth).square().mean()
    assert sr.min() >= 0
    assert sr.max() <= 1


def test_it_agrees_with_lr_as_it_is_noise_and_all(smooth):
    to_lr = degrade.by_name("bicubic", scale=2, noise=0.02, seed=0)
    lr = to_lr(smooth)
    bicubic = partial(resample.bicubic, scale=2)
    sr = consistency.project(bicubic, degrade=to_lr)(lr)
    before, after = ((to_lr.clean(x) - lr).abs().mean() for x in (bicubic(lr), sr))
    assert after < 0.1 * before


def test_what_agrees_already_stays_as_it_is(smooth):
    to_lr = degrade.by_name("kspace", scale=2)
    lr = to_lr(smooth)
    sr = consistency.project(partial(resample.zero_fill, scale=2), degrade=to_lr)(lr)
    torch.testing.assert_close(sr, resample.zero_fill(lr, scale=2), atol=1e-4, rtol=0)


def test_what_lr_cannot_tell_is_left_to_the_method(smooth):
    to_lr = degrade.by_name("kspace", scale=2)
    sr = consistency.project(lambda lr: smooth, degrade=to_lr)(to_lr(smooth))
    torch.testing.assert_close(sr, smooth, atol=1e-5, rtol=0)

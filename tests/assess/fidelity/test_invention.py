import math
from functools import partial

import pytest
import torch

from medsr_lib.assess.fidelity import invention
from medsr_lib.restore import degrade, resample

SCALE = 4
SIZE = 96
y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
spot = (y - 40) ** 2 + (x - 52) ** 2 <= 36
far = (y - 40) ** 2 + (x - 52) ** 2 > 400
masks = {"spot": spot, "far": far}
kspace = partial(degrade.kspace, scale=SCALE)
enlarge = partial(resample.bicubic, scale=SCALE)
project = partial(resample.measured_part, scale=SCALE)


def noise(amplitude, seed=0):
    drawn = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return amplitude * (drawn - 0.5)


@pytest.fixture
def smooth():
    """A head whose bicubic LR, enlarged, is all but itself."""
    return (0.4 + 0.1 * torch.sin(y / 30) + 0.1 * torch.cos(x / 30))[None, None]


@pytest.fixture
def fine(smooth):
    """The same with a texture, inside the spot, that LR does not hold."""
    return smooth + 0.1 * torch.cos(torch.pi * (x + y)) * spot


def of_regions(sr, hr, degraded=None):
    lr = degrade.bicubic(hr, scale=SCALE) if degraded is None else degraded
    return invention.region_shares(sr, hr, lr, masks, upsample=enlarge)


def largest(shares):
    names = ("improvement", "omission", "unlike_both")
    return max(names, key=lambda name: getattr(shares, name).item())


def test_consistency_is_the_distance_to_lr_on_the_grid_of_sr(smooth, fine):
    assert invention.data_consistency(fine, kspace(fine), degrade=kspace).max() == 0
    lr = kspace(smooth) + noise(0.1)[..., :24, :24]
    found = invention.data_consistency(smooth + 0.05, lr, degrade=kspace)
    apart = (kspace(smooth) + 0.05 - lr).abs()[:, 0]
    repeated = apart.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)
    torch.testing.assert_close(found, repeated, atol=1e-5, rtol=0)


def test_consistency_shows_where_a_lesion_was_painted_in(smooth):
    bicubic = partial(degrade.bicubic, scale=SCALE)
    high = invention.data_consistency(smooth + 0.2 * spot, bicubic(smooth), degrade=bicubic)
    means = invention.region_means(high, masks)
    assert means["spot"] > 0.1
    assert means["far"] < 1e-6


def test_consistency_refuses_another_degradation(smooth):
    with pytest.raises(ValueError, match=r"degrade\(sr\) is \(1, 1, 48, 48\)"):
        invention.data_consistency(smooth, kspace(smooth), degrade=partial(degrade.kspace, scale=2))


def test_parts_of_the_error_add_up_and_are_orthogonal():
    error = noise(1.0)
    measured, null = invention.null_space_split(error, project=project)
    torch.testing.assert_close(measured + null, error, atol=1e-6, rtol=0)
    assert (measured * null).sum().abs() < 1e-5 * error.square().sum()


def test_the_measurement_is_blind_to_the_null_part():
    _, null = invention.null_space_split(noise(1.0), project=project)
    assert kspace(null).abs().max() < 1e-6


def test_null_share_of_white_noise_is_the_share_of_frequencies_not_measured():
    error = noise(1.0)
    _, null = invention.null_space_split(error, project=project)
    share = (null.square().sum() / error.square().sum()).item()
    assert share == pytest.approx(1 - (23 / 96) ** 2, abs=0.01)  # |k| < 12 of 96: 23 on each side


def test_clipping_is_no_projection():
    with pytest.raises(ValueError, match="not an orthogonal projection"):
        invention.null_space_split(
            noise(1.0), project=lambda e: resample.zero_fill(kspace(e), scale=SCALE)
        )


def test_perfect_sr_is_improvement(fine):
    found = of_regions(fine, fine)["spot"]
    assert largest(found) == "improvement"
    assert (found.d_im.item(), found.d_om.item()) == pytest.approx((0, 1))
    costs = torch.tensor([0.0, 1.0, 1.0])  # by the formulas, H = 0
    by_hand = torch.softmax(-costs / invention.TEMPERATURE, 0)
    torch.testing.assert_close(
        torch.cat((found.improvement, found.omission, found.unlike_both)), by_hand
    )


def test_formulas_by_hand():
    found = invention._shares(*(torch.tensor([v]) for v in (0.1, 0.2, 0.15)))
    # d_im = 2, d_om = 1.5, H = 2.5, 1 - exp(-2) = 0.864665
    costs = torch.tensor([2 + 1.5 * 0.864665, 1.5 + 2 * 0.864665, 0.301194])
    expected = torch.softmax(-costs / 0.25, 0)
    assert found.improvement.item() == pytest.approx(expected[0].item(), rel=1e-4)
    assert found.omission.item() == pytest.approx(expected[1].item(), rel=1e-4)
    assert found.unlike_both.item() == pytest.approx(expected[2].item(), rel=1e-4)


def test_blur_that_leaves_out_a_texture_is_omission(fine):
    found = of_regions(enlarge(degrade.bicubic(fine, scale=SCALE)), fine)["spot"]
    assert largest(found) == "omission"
    assert found.d_om.item() == 0


def test_a_lesion_painted_in_is_unlike_both_there_alone(smooth):
    found = of_regions(smooth + 0.2 * spot, smooth)
    assert largest(found["spot"]) == "unlike_both"
    assert found["spot"].unlike_both > 0.99
    assert found["far"].unlike_both.isnan()  # nothing to judge: all images are the same


def test_a_lesion_erased_although_lr_shows_it_is_unlike_both(smooth):
    found = of_regions(smooth, smooth + 0.2 * spot)["spot"]
    assert largest(found) == "unlike_both"


def test_noise_is_unlike_both(fine):
    assert largest(of_regions(fine + noise(0.5), fine)["spot"]) == "unlike_both"


def test_maps_sum_to_one_and_follow_what_was_done(smooth, fine):
    sr = smooth + 0.2 * ((y - 80) ** 2 + (x - 20) ** 2 <= 25)  # texture left out, lesion painted in
    lr = degrade.bicubic(fine, scale=SCALE)
    found = invention.shares(sr, fine, lr, upsample=enlarge)
    total = found.improvement + found.omission + found.unlike_both
    judged = ~total.isnan()
    torch.testing.assert_close(total[judged], torch.ones(int(judged.sum())))
    assert found.omission[0, 40, 52] > 0.9
    assert found.unlike_both[0, 80, 20] > 0.9
    assert not judged[0, 5, 90]


@pytest.fixture
def textured():
    """Noise that falls towards fine detail as an image does, and what bicubic makes of its LR."""
    frequency = torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.rfftfreq(SIZE))
    spectrum = torch.fft.rfft2(noise(1.0)) / (frequency + 0.02)
    hr = torch.fft.irfft2(spectrum, s=(SIZE, SIZE))
    hr = 0.5 + 0.1 * (hr - hr.mean()) / hr.std()
    return hr, enlarge(degrade.bicubic(hr, scale=SCALE))


def added(sr, hr, region="far"):
    lr = degrade.bicubic(hr, scale=SCALE)
    found = invention.region_additions(sr, hr, lr, masks, upsample=enlarge)[region]
    return tuple(value.item() for value in vars(found).values())


def low_pass(image, cut):
    """Frequencies below a cut, in cycles a pixel."""
    down, across = torch.fft.fftfreq(SIZE).abs(), torch.fft.rfftfreq(SIZE)
    kept = torch.maximum(down[:, None], across) < cut
    return torch.fft.irfft2(torch.fft.rfft2(image) * kept, s=(SIZE, SIZE))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_hr_and_its_mixtures_with_interpolation_invent_nothing(textured, share):
    hr, up = textured
    slope, unexplained, invented = added(share * hr + (1 - share) * up, hr)
    assert slope == pytest.approx(share, abs=1e-6)
    assert (unexplained, invented) == pytest.approx((0, 0), abs=1e-9)


def test_interpolation_adds_nothing_that_could_be_explained(textured):
    hr, up = textured
    slope, unexplained, invented = added(up, hr)
    assert (slope, invented) == (0, 0)
    assert math.isnan(unexplained)


def test_an_ideal_low_pass_of_hr_invents_next_to_nothing(textured):
    hr, _ = textured
    slope, unexplained, invented = added(low_pass(hr, 1 / (2 * SCALE)), hr)
    assert 0 < slope < 1
    assert unexplained < 0.02
    assert invented < 0.01


def test_noise_is_all_invented(textured):
    hr, up = textured
    drawn = noise(0.1, seed=1)
    slope, unexplained, invented = added(up + drawn, hr)
    assert abs(slope) < 0.05
    assert unexplained > 0.98
    there = masks["far"]
    energies = [float(v[0, 0][there].square().sum()) for v in (drawn, hr - up)]
    assert invented == pytest.approx(energies[0] / energies[1], rel=0.02)


def test_the_opposite_of_what_was_lost_and_a_painted_lesion_are_invented(textured):
    hr, up = textured
    slope, unexplained, invented = added(2 * up - hr, hr)
    assert slope == pytest.approx(-1, abs=1e-6)
    assert min(unexplained, invented) > 0.8
    assert min(added(hr + 0.3 * spot, hr, "spot")[1:]) > 0.8


def test_additions_by_hand():
    # One band of 4 pixels, which LR does not explain: b = 6/10, r = y - 0.6 x.
    x, y = torch.tensor([1.0, 3.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 1.0, 0.0])
    bands = torch.stack((torch.zeros(4), x, y)).double()[None, None]
    found = invention._additions(bands, torch.tensor([4]))
    assert found.slope.item() == pytest.approx(0.6)
    rest = 0.6**2 + 0.2**2 + 1
    assert found.unexplained.item() == pytest.approx(rest / 5)
    assert found.invented.item() == pytest.approx(rest / 10)


def test_lr_explains_above_half_its_nyquist_frequency_alone():
    u = torch.tensor([1.0, 2.0]).double()
    bands = torch.stack((u, torch.zeros(2).double(), 3 * u))[None].repeat(2, 1, 1)[:, None]
    found = invention._additions(bands, torch.tensor([2]))
    assert found.unexplained.item() == pytest.approx(0.5)
    assert found.slope.isnan()
    assert found.invented.isnan()


def test_bands_add_up_and_an_empty_region_has_no_additions(textured):
    hr, _ = textured
    torch.testing.assert_close(invention._bands(hr, SCALE).sum(0), hr, atol=1e-5, rtol=0)
    empty = {"none": torch.zeros(SIZE, SIZE, dtype=torch.bool)}
    lr = degrade.bicubic(hr, scale=SCALE)
    found = invention.region_additions(hr, hr, lr, empty, upsample=enlarge)["none"]
    assert all(value.isnan() for value in vars(found).values())
    with pytest.raises(ValueError, match="mask 'none' must be bool"):
        invention.region_additions(hr, hr, lr, {"none": torch.ones(4, 4)}, upsample=enlarge)


def test_the_distance_is_the_local_mean_of_the_absolute_difference(smooth):
    error = torch.zeros(1, SIZE, SIZE)
    error[0, 40, 52] = 1
    spread = invention._local_mean(error)
    assert spread.sum().item() == pytest.approx(1, abs=1e-6)
    assert spread[0, 40, 52].item() == spread.max().item()


def test_region_means_by_hand():
    values = torch.arange(8.0).reshape(2, 2, 2)
    mask = torch.tensor([[True, False], [False, True]])
    means = invention.region_means(values, {"two": mask, "none": torch.zeros(2, 2).bool()})
    assert means["two"].tolist() == [1.5, 5.5]
    assert means["none"].isnan().all()


def test_region_means_refuses_other_masks():
    with pytest.raises(ValueError, match="mask 'tumour' must be bool"):
        invention.region_means(torch.zeros(1, 4, 4), {"tumour": torch.ones(4, 4)})


def test_upsampling_of_another_scale_is_refused(fine):
    with pytest.raises(ValueError, match=r"upsample\(lr\) \(1, 1, 48, 48\)"):
        invention.shares(fine, fine, kspace(fine), upsample=partial(resample.bicubic, scale=2))

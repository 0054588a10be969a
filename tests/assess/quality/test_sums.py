import torch

from medsr_lib.assess.quality.sums import Sums


def test_sums_over_regions_that_overlap_are_those_of_each_region():
    draw = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 4, 20, 17, generator=draw) < 0.5
    masks[0, 1], masks[1, 2] = False, True
    maps = torch.rand(2, 3, 20, 17, generator=draw)
    sums = Sums(masks)
    everywhere, inside = sums(maps[0], inner=False), sums(maps[1], inner=True)
    inner = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(everywhere, (maps[0, :, None].double() * masks).sum((2, 3)))
    torch.testing.assert_close(inside, (maps[1, :, None].double() * masks)[inner].sum((2, 3)))
    assert torch.equal(sums.pixels, masks.sum((2, 3)).double())
    assert torch.equal(sums.inner_pixels, masks[inner].sum((2, 3)).double())

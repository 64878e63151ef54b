import pytest
import torch
from torch import nn

from irdream.errors import InputError
from irdream.models import ConvNeXt
from irdream.models.convnext import Block, GlobalResponse


def test_parameters() -> None:
    stem = 2 + 50 * 48 + 2 * 48
    steps = 2 * 48 + (9 * 48 + 1) * 96 + 2 * 96 + (9 * 96 + 1) * 192
    blocks = 2 * sum(8 * n * n + (50 + 2 + 5 + 8) * n for n in (48, 96, 192))
    expected = stem + steps + blocks + 2 * 192 + 193 * 11
    assert sum(p.numel() for p in ConvNeXt().parameters()) == expected == 1_030_765


@pytest.mark.parametrize(("n_mels", "frames"), [(16, 8), (17, 9), (19, 11), (24, 14), (33, 15)])
def test_every_band_and_frame_counts(n_mels: int, frames: int) -> None:
    torch.manual_seed(0)
    model = ConvNeXt(channels=[4, 4, 4], blocks=[1, 1, 1]).eval().double()
    log_mel = torch.randn(1, n_mels, frames, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(log_mel)[0, 0], log_mel)
    assert (gradient != 0).all()


def test_a_skipped_block_adds_nothing_and_the_others_more() -> None:
    torch.manual_seed(0)
    block = Block(4, 0.5)
    maps = torch.randn(64, 4, 5, 5)
    with torch.no_grad():
        added = block.eval()(maps) - maps
        trained = block.train()(maps) - maps
    skipped = (trained == 0).all(-1).all(-1).all(-1)
    assert 16 < skipped.sum() < 48
    torch.testing.assert_close(trained[~skipped], 2 * added[~skipped], rtol=1e-3, atol=1e-5)


def test_the_response_favors_channels_that_are_loud_over_the_map() -> None:
    response = GlobalResponse(2)
    maps = torch.ones(1, 2, 3, 3) * torch.tensor([3.0, 1.0])[:, None, None]
    assert torch.equal(response(maps), maps)
    nn.init.ones_(response.scale)
    expected = maps * (1 + torch.tensor([1.5, 0.5])[:, None, None])
    torch.testing.assert_close(response(maps), expected, rtol=1e-5, atol=0)


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"blocks=\[1\]; expected as many numbers as channels=\[4"):
        ConvNeXt(channels=[4, 8], blocks=[1])
    with pytest.raises(InputError, match=r"drop_path=1; expected a number, at least 0 below 1"):
        ConvNeXt(drop_path=1)

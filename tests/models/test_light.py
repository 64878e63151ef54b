from __future__ import annotations

import pytest
import torch

from irdream.errors import InputError
from irdream.models import Han2016BatchNorm, Light


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_how_many_parameters() -> None:
    assert parameters(Light()) == 329_565
    assert parameters(Light(width=32)) > 3 * parameters(Light())
    assert parameters(Light()) < parameters(Han2016BatchNorm()) / 3


def test_it_hears_the_loudest_moment_wherever_it_is() -> None:
    torch.manual_seed(0)
    model = Light(width=4).eval()
    quiet = torch.zeros(1, 128, 270)
    early, late = quiet.clone(), quiet.clone()
    event = 5.0 * torch.randn(128, 27, generator=torch.Generator().manual_seed(0))
    early[0, :, 81:108] = event
    late[0, :, 162:189] = event  # three poolings of three later
    assert torch.allclose(model(early), model(late), atol=1e-4)
    assert not torch.allclose(model(early), model(quiet), atol=1e-3)


def test_a_width_that_is_none() -> None:
    with pytest.raises(InputError, match=r"^model\.width=0; expected at least 1$"):
        Light(width=0)

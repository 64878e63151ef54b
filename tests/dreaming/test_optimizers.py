"""Steps of known size, for each item on its own."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.optimizers import NormalizedAscent
from irdream.errors import InputError

GRADIENT = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [1e-25, 1.0, 1e5]
).view(3, 1, 1)


@pytest.mark.parametrize(
    ("norm", "size"),
    [
        ("rms", lambda x: x.square().mean(dim=(1, 2)).sqrt()),
        ("mean_abs", lambda x: x.abs().mean(dim=(1, 2))),
        ("sign", lambda x: x.abs().amax(dim=(1, 2))),
    ],
)
def test_the_size_of_each_item_is_one(norm, size) -> None:
    gradient = GRADIENT if norm != "mean_abs" else GRADIENT[1:]
    direction = NormalizedAscent(norm=norm)(gradient)

    torch.testing.assert_close(size(direction), torch.ones(len(gradient)))
    assert (direction.sign() == gradient.sign()).all()


def test_none_leaves_the_gradient() -> None:
    assert torch.equal(NormalizedAscent(norm="none")(GRADIENT), GRADIENT)


@pytest.mark.parametrize("norm", ["rms", "mean_abs", "sign", "none"])
def test_a_zero_gradient_gives_no_step(norm) -> None:
    assert torch.equal(NormalizedAscent(norm=norm)(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimizer.norm='max'; expected rms, mean_abs, sign"):
        NormalizedAscent(norm="max")  # type: ignore[arg-type]

import pytest
import torch
from torch import nn

from irdream.models import Pons2017Multi, Pons2017Single

# 128 filters of 1 frame, 64 of 3 and 32 of 5, each 5 and 80 bands tall, with biases
FIRST = (128 * 1 + 64 * 3 + 32 * 5) * (5 + 80) + 2 * (128 + 64 + 32)
NORM = 2 * 448
DEEP = (448 * 9 + 1) * 128 + (128 * 9 + 1) * 128 + 4 * 128


@pytest.mark.parametrize(
    ("model", "expected", "thousands"),
    [
        (Pons2017Single(), FIRST + NORM + (448 * 4 + 1) * 11, 62),
        (Pons2017Multi(), FIRST + NORM + DEEP + 129 * 256 + 257 * 11, 743),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_the_paper(model: nn.Module, expected: int, thousands: int) -> None:
    """With the averages of the batch norms, as the paper counts."""
    parameters = sum(p.numel() for p in model.parameters())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
    averages = sum(2 * norm.num_features for norm in norms)
    assert parameters == expected
    assert (parameters + averages) // 1000 == thousands


@pytest.mark.parametrize(("n_mels", "frames"), [(128, 43), (96, 128), (5, 5)])
def test_layers(n_mels: int, frames: int) -> None:
    """Convolutions keep the size, and the grid is the same for any input."""
    shapes: list[tuple[int, ...]] = []
    model = Pons2017Multi().eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.AdaptiveMaxPool2d | nn.MaxPool2d | nn.Linear):
            layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, n_mels, frames))
    first = [(n, *size) for n in (128, 64, 32) for size in ((n_mels, frames), (4, 4))]
    deep = [(128, 4, 4), (128, 2, 2), (128, 2, 2), (128, 1, 1), (256,), (11,)]
    assert shapes == 2 * first + deep


def test_settings_of_the_authors() -> None:
    rates = [m.p for m in Pons2017Multi().modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.25, 0.25, 0.5, 0.5]
    assert [m.p for m in Pons2017Single().modules() if isinstance(m, nn.Dropout)] == [0.5]

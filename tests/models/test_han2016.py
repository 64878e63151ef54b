from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from irdream.models import Han2016, Han2016BatchNorm


@pytest.fixture(scope="module")
def published() -> Han2016:
    torch.manual_seed(0)
    return Han2016().eval()


@pytest.fixture(scope="module")
def variant() -> Han2016BatchNorm:
    torch.manual_seed(0)
    return Han2016BatchNorm().eval()


def windows(batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 128, 43, generator=generator) * 2 - 5


def test_parameters_of_the_paper(published: Han2016) -> None:
    assert sum(p.numel() for p in published.parameters()) == 1_446_123


def test_layers_of_the_paper(published: Han2016) -> None:
    """Table I of Han, Kim and Lee (2016), there as time x frequency x channels."""
    shapes: list[tuple[int, ...]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
        for layer in [*published.features, *published.classifier]
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AdaptiveMaxPool2d | nn.Linear)
    ]
    with torch.no_grad():
        published(windows(1))
    for hook in hooks:
        hook.remove()
    assert shapes == [
        (32, 130, 45), (32, 132, 47), (32, 44, 15),
        (64, 46, 17), (64, 48, 19), (64, 16, 6),
        (128, 18, 8), (128, 20, 10), (128, 6, 3),
        (256, 8, 5), (256, 10, 7), (256, 1, 1),
        (1024,), (11,),
    ]  # fmt: skip


def test_settings_of_the_paper(published: Han2016) -> None:
    slopes = [m.negative_slope for m in published.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.33] * 9
    dropouts = [m.p for m in published.modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [0.25, 0.25, 0.25, 0.5]
    assert published.output == "sigmoid"


@pytest.mark.parametrize("batch", [1, 3])
def test_output_shapes(published: Han2016, variant: Han2016BatchNorm, batch: int) -> None:
    with torch.no_grad():
        assert published(windows(batch)).shape == (batch, 11)
        assert variant(windows(batch)).shape == (batch, 11)


def test_other_numbers_of_instruments_and_other_windows() -> None:
    with torch.no_grad():
        assert Han2016(instruments=5)(torch.zeros(1, 96, 60)).shape == (1, 5)


def test_weights_start_as_glorot_and_bengio_say(published: Han2016) -> None:
    for layer in published.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        field = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
        inputs, outputs = layer.weight.shape[1] * field, layer.weight.shape[0] * field
        bound = math.sqrt(6 / (inputs + outputs))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.95 * bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert layer.bias is not None
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["published", "variant"])
def test_items_of_a_batch_do_not_mix_in_eval_mode(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    batch = windows(3)
    with torch.no_grad():
        together, alone = model(batch), torch.cat([model(item[None]) for item in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_the_variant_normalizes_its_input_and_each_convolution(variant: Han2016BatchNorm) -> None:
    assert variant.output == "softmax"
    kinds = [type(layer) for layer in variant.features]
    after = [kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.Conv2d]
    assert kinds[0] is nn.BatchNorm2d
    assert after == [nn.BatchNorm2d] * 8


def test_the_variant_hears_no_level_while_training(variant: Han2016BatchNorm) -> None:
    """A level is a constant in a log-mel, which the first batch norm takes away."""
    first = variant.features[0]
    assert isinstance(first, nn.BatchNorm2d)
    first.train()
    quiet = windows(2)[:, None]
    torch.testing.assert_close(first(quiet), first(quiet + 3), rtol=1e-3, atol=1e-3)
    first.reset_running_stats()
    first.eval()


def test_dropout_only_while_training(published: Han2016) -> None:
    with torch.no_grad():
        assert torch.equal(published(windows(1)), published(windows(1)))
        published.train()
        different = not torch.equal(published(windows(1)), published(windows(1)))
        published.eval()
    assert different

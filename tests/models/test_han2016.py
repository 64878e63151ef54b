import pytest
import torch
from torch import nn

from irdream.errors import InputError
from irdream.models import Han2016, Han2016BatchNorm, Light


@pytest.fixture(scope="module")
def published() -> Han2016:
    torch.manual_seed(0)
    return Han2016().eval()


def windows(batch: int) -> torch.Tensor:
    return torch.randn(batch, 128, 43, generator=torch.Generator().manual_seed(0)) * 2 - 5


def test_parameters() -> None:
    models = (Han2016(), Light(), Light(width=32))
    found = [sum(p.numel() for p in model.parameters()) for model in models]
    assert found == [1_446_123, 329_565, 1_241_261]


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


@pytest.mark.parametrize("model", [Han2016BatchNorm(), Light()], ids=lambda m: type(m).__name__)
def test_batch_norm_of_the_input_and_each_convolution(model: Han2016BatchNorm | Light) -> None:
    kinds = [type(layer) for layer in model.features]
    after = [kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.Conv2d]
    assert after == [nn.BatchNorm2d] * 8
    # A level is a constant in a log-mel, which the first one takes away.
    first, quiet = model.features[0].train(), windows(2)[:, None]
    torch.testing.assert_close(first(quiet), first(quiet + 3), rtol=1e-3, atol=1e-3)


def test_a_width_that_is_none() -> None:
    with pytest.raises(InputError, match=r"^width=0; expected a whole number, at least 1$"):
        Light(width=0)


@pytest.mark.parametrize(
    "part", [{"pooling": "blur"}, {"activation": "softplus"}, {"over_all": "attention"}]
)
def test_a_light_network_with_other_parts_learns_and_takes_any_size(part) -> None:
    torch.manual_seed(0)
    model = Light(width=2, **part)
    for size in ((128, 43), (12, 5), (1, 1)):
        assert model.eval()(torch.randn(2, *size)).shape == (2, 11)
    model.train()(torch.randn(4, 128, 43)).sum().backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())


def test_blur_pooling_hardly_minds_a_shift() -> None:
    torch.manual_seed(0)
    sound = torch.randn(1, 4, 60, 60).cumsum(3).cumsum(2)
    changes = []
    for pooling in ("max", "blur"):
        pool = next(
            m for m in Light(width=4, pooling=pooling).features if "Pool" in type(m).__name__
        )
        one, other = pool(sound)[..., :-1], pool(sound.roll(1, 3))[..., :-1]
        changes.append((one - other)[..., 1:].abs().mean())
    assert changes[1] < changes[0]
    flat = pool(torch.ones(1, 4, 9, 9))
    torch.testing.assert_close(flat, torch.ones(1, 4, 3, 3))  # taps sum to one, edges too

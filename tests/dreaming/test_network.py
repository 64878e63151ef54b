"""The simplified network computes the same with less work, and the user's own is not touched."""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from irdream.dreaming.network import frozen, simplified
from irdream.networks import in_eval

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm that is not the identity."""
    made = nn.BatchNorm2d(channels)
    for values in (made.running_mean, made.weight, made.bias):
        nn.init.normal_(values)  # type: ignore[arg-type]
    nn.init.uniform_(made.running_var, 0.3, 2.0)  # type: ignore[arg-type]
    return made


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules).double().eval()


def typical() -> nn.Sequential:
    return chain(nn.Conv2d(2, 2, 3), norm(2), nn.ReLU(), nn.MaxPool2d(2))


def planes() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 19, 17, generator=generator, dtype=torch.float64)


def kinds(model: nn.Module) -> list[str]:
    """Return the classes of the modules without children, in their order."""
    return [type(m).__name__ for m in model.modules() if not list(m.children())]


def output_and_gradient(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = model(1.0 * x)  # so that a model can overwrite it
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return y.detach(), torch.autograd.grad((weight * y).sum(), x)[0]


def assert_same_function(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    for a, b in zip(output_and_gradient(one, x), output_and_gradient(other, x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


MODULES: dict[str, Callable[[int], nn.Module]] = {
    "conv": lambda c: nn.Conv2d(c, c, 3, padding=1),
    "conv_without_bias": lambda c: nn.Conv2d(c, c, (2, 3), padding=(1, 1), bias=False),
    "conv_reflecting": lambda c: nn.Conv2d(c, c, 3, padding=1, padding_mode="reflect"),
    "grouped": lambda c: nn.Conv2d(c, c, 1, groups=c),
    "norm": norm,
    "norm_without_weights": lambda c: nn.BatchNorm2d(c, affine=False),
    "norm_of_the_batch": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "relu": lambda c: nn.ReLU(),
    "relu_in_place": lambda c: nn.ReLU(inplace=True),
    "leaky": lambda c: nn.LeakyReLU(0.3),
    "falling": lambda c: nn.LeakyReLU(-0.3),
    "flat": lambda c: nn.LeakyReLU(0.0),
    "elu": lambda c: nn.ELU(),
    "pool": lambda c: nn.MaxPool2d(2, stride=1),
    "padded_pool": lambda c: nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
    "adaptive_pool": lambda c: nn.AdaptiveMaxPool2d((9, 8)),
    "mean_pool": lambda c: nn.AvgPool2d(2, stride=1),
    "dropout": lambda c: nn.Dropout(0.5),
    "identity": lambda c: nn.Identity(),
    "nested": lambda c: nn.Sequential(nn.Conv2d(c, c, 3, padding=1), norm(c), nn.ReLU()),
}


@examples
@given(
    names=st.lists(st.sampled_from(sorted(MODULES)), min_size=2, max_size=8),
    shared=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=1),
    tapped=st.lists(st.integers(0, 7), max_size=2),
    hooked=st.lists(st.integers(0, 7), max_size=1),
)
def test_a_chain_its_gradient_and_its_layers_are_computed_as_before(
    names, shared, tapped, hooked
) -> None:
    torch.manual_seed(0)
    modules = [MODULES[name](2) for name in names]
    for here, there in shared:
        modules[here % len(modules)] = modules[there % len(modules)]
    for i in hooked:
        modules[i % len(modules)].register_forward_hook(lambda module, x, y: 1.5 * y)
    model = chain(*modules)
    layers = [str(i % len(modules)) for i in tapped]
    assume(has_a_gradient(model))
    before = state(model)
    rewritten = simplified(model, untouched=layers)

    assert_same_function(model, rewritten, planes())
    for name in layers:
        torch.testing.assert_close(
            layer(rewritten, name), layer(model, name), atol=1e-10, rtol=1e-10
        )
    assert state(model) == before


def has_a_gradient(model: nn.Module) -> bool:
    """Say whether it does not overwrite what its own gradient needs."""
    try:
        output_and_gradient(model, planes())
    except RuntimeError:
        return False
    return True


def state(model: nn.Module) -> list:
    """Return what could be touched: the modules and their settings, the weights bit for bit."""
    modules = [(id(m), m.extra_repr(), m.training, len(m._forward_hooks)) for m in model.modules()]
    weights = [
        (name, id(w), w.requires_grad, w.stride(), w.data_ptr(), w.flatten().tolist())
        for name, w in (*model.named_parameters(), *model.named_buffers())
    ]
    return [modules, weights]


@torch.no_grad()
def layer(model: nn.Module, name: str) -> Tensor:
    """Return a layer's output; the first one of a module that is used again."""
    outputs: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda module, x, y: outputs.append(y.clone())
    )
    model(planes())
    handle.remove()
    return outputs[0]


def test_batch_norm_is_folded_into_the_convolution_before_it() -> None:
    block = nn.Sequential(nn.Conv2d(4, 2, 1), nn.Dropout(), norm(2), nn.ELU())
    model = chain(norm(2), nn.Conv2d(2, 4, 3, bias=False), norm(4), nn.LeakyReLU(0.3), block)
    rewritten = simplified(model)

    assert kinds(rewritten) == [
        "BatchNorm2d", "Conv2d", "Identity", "LeakyReLU", "Conv2d", "Dropout", "Identity", "ELU",
    ]  # fmt: skip
    assert_same_function(model, rewritten, planes())


def test_pooling_is_done_before_the_activation_which_overwrites_it() -> None:
    model = chain(
        nn.Conv2d(2, 3, 3), nn.LeakyReLU(0.3), nn.Dropout(), nn.MaxPool2d(3),
        nn.Conv2d(3, 3, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 2),
        nn.ReLU(),
    )  # fmt: skip
    rewritten = simplified(model)

    assert kinds(rewritten) == [
        "Conv2d", "MaxPool2d", "Dropout", "LeakyReLU",
        "Conv2d", "AdaptiveMaxPool2d", "ReLU", "Flatten", "Linear", "ReLU",
    ]  # fmt: skip
    activations = nn.ReLU | nn.LeakyReLU
    assert all(m.inplace for m in rewritten.modules() if isinstance(m, activations))
    assert not any(m.inplace for m in model.modules() if isinstance(m, activations))
    with torch.no_grad():
        assert torch.equal(model(planes()), rewritten(planes()))  # bit for bit


def test_what_an_activation_gives_is_not_overwritten_once_the_pooling_has_moved() -> None:
    """A pooling's output could be overwritten; that of an activation is needed for its gradient."""
    for last in (nn.ReLU(inplace=True), nn.ELU(inplace=True)):
        model = chain(nn.ReLU(), nn.MaxPool2d(2), last)
        assert_same_function(model, simplified(model), planes())


@pytest.mark.parametrize("name", ["falling", "flat", "elu"])
def test_activations_that_fall_or_cannot_be_overwritten_stay(name) -> None:
    model = chain(nn.Conv2d(2, 2, 3), MODULES[name](2), nn.MaxPool2d(2))
    rewritten = simplified(model)
    assert kinds(rewritten) == kinds(model)
    assert_same_function(model, rewritten, planes())


def test_weights_that_are_not_folded_share_the_originals_memory() -> None:
    model = chain(nn.Conv2d(2, 2, 3), nn.ELU(), norm(2), nn.Flatten(), nn.Linear(2 * 17 * 15, 3))
    rewritten = simplified(model)

    for (name, there), here in zip(
        rewritten.state_dict().items(), model.state_dict().values(), strict=True
    ):
        assert there.data_ptr() == here.data_ptr(), name
    assert not any(w.requires_grad for w in rewritten.parameters())
    assert all(w.requires_grad for w in model.parameters())


def test_tied_weights_stay_tied() -> None:
    model = chain(nn.Conv2d(2, 2, 3), nn.ELU(), nn.Conv2d(2, 2, 3))
    model[2].weight = model[0].weight
    rewritten = simplified(model)

    assert rewritten[0].weight is rewritten[2].weight  # type: ignore[index]
    assert_same_function(model, rewritten, planes())


def test_modules_that_are_read_or_used_twice_are_left_alone() -> None:
    relu = nn.ReLU()
    model = chain(nn.Conv2d(2, 2, 3), relu, nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), relu)
    assert kinds(simplified(model)) == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d"]
    assert not simplified(model)[1].inplace  # type: ignore[index]

    model = typical()
    for name, expected in {
        "0": ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"],
        "1": ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"],
        "2": ["Conv2d", "Identity", "ReLU", "MaxPool2d"],
        "3": ["Conv2d", "Identity", "ReLU", "MaxPool2d"],
    }.items():
        assert kinds(simplified(model, untouched=[name])) == expected


def subclassed(module: nn.Module, forward: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """Return a module whose class computes something else."""
    module.__class__ = type("Subclass", (type(module),), {"forward": forward})
    return module


def standardized(self: Any, x: Tensor) -> Tensor:
    """Take weights of mean zero."""
    weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
    return nn.functional.conv2d(x, weight, self.bias)


SUBCLASSES: dict[str, Callable[[], list[nn.Module]]] = {
    "convolution": lambda: [subclassed(nn.Conv2d(2, 2, 3), standardized), norm(2)],
    "norm": lambda: [
        nn.Conv2d(2, 2, 3),
        subclassed(norm(2), lambda self, x: nn.BatchNorm2d.forward(self, x).square()),
    ],
    "dropout": lambda: [
        nn.Conv2d(2, 2, 3), subclassed(nn.Dropout(), lambda self, x: 0.5 * x), norm(2)
    ],
    "activation": lambda: [subclassed(nn.ReLU(), lambda self, x: x.neg()), nn.MaxPool2d(2)],
    "pooling": lambda: [
        nn.ReLU(), subclassed(nn.MaxPool2d(2), lambda self, x: -nn.functional.max_pool2d(-x, 2))
    ],
}  # fmt: skip


@pytest.mark.parametrize("modules", SUBCLASSES.values(), ids=SUBCLASSES)
def test_subclasses_may_compute_something_else(modules) -> None:
    torch.manual_seed(0)
    model = chain(*modules())
    assert_same_function(model, simplified(model), planes())


def old_norm(wrap: Callable[[nn.Module], Any]) -> Callable[[nn.Sequential], None]:
    def change(model: nn.Sequential) -> None:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            wrap(model[0])
            model(planes())  # its weight is no leaf before

    return change


def forward_of_its_own(model: nn.Sequential) -> None:
    first = model[0]
    first.forward = lambda x: 2.0 * nn.functional.conv2d(x, first.weight)  # type: ignore


CHANGES: dict[str, Callable[[Any], Any]] = {
    "pre": lambda m: m[0].register_forward_pre_hook(lambda m, x: (2 * x[0],)),
    "norm": lambda m: m[1].register_forward_pre_hook(lambda m, x: (x[0] - 1,)),
    "hook": lambda m: m[1].register_forward_hook(lambda m, x, y: 2 * y),
    "back": lambda m: m[0].register_full_backward_hook(lambda m, x, y: None),
    "back-pre": lambda m: m[2].register_full_backward_pre_hook(lambda m, y: None),
    "weight-norm": lambda m: nn.utils.parametrizations.weight_norm(m[0]),
    "spectral-norm": lambda m: nn.utils.parametrizations.spectral_norm(m[0]),
    "old-weight-norm": old_norm(nn.utils.weight_norm),
    "old-spectral-norm": old_norm(nn.utils.spectral_norm),
    "forward": forward_of_its_own,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_modules_with_hooks_or_weights_that_are_computed_are_left_alone(change) -> None:
    torch.manual_seed(0)
    model = typical()
    change(model)
    model.eval()
    rewritten = simplified(model)

    assert "BatchNorm2d" in kinds(rewritten) or "ReLU" in kinds(rewritten)
    assert_same_function(model, rewritten, planes())


def test_a_module_that_refuses_eval_mode_is_left_alone() -> None:
    model = chain(nn.Conv2d(2, 2, 3), norm(2), nn.ReLU())
    model[1].train()
    assert kinds(simplified(model)) == ["Conv2d", "BatchNorm2d", "ReLU"]


def test_a_chain_with_a_forward_of_its_own_is_left_alone() -> None:
    class Backward(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            for module in reversed(list(self)):
                input = module(input)
            return input

    model = Backward(nn.ReLU(), nn.MaxPool2d(2), norm(2), nn.Conv2d(2, 2, 3)).double().eval()
    assert kinds(simplified(model)) == kinds(model)
    model = chain(nn.Conv2d(2, 2, 3), norm(2))
    model.forward = lambda x: model[1](x)  # type: ignore[method-assign]
    assert kinds(simplified(model)) == kinds(model)


def test_a_model_that_cannot_be_copied_is_taken_as_it_is() -> None:
    model = chain(nn.Conv2d(2, 2, 3), norm(2))
    model.file = open(__file__, "rb")  # type: ignore[assignment]  # noqa: SIM115
    assert simplified(model) is model
    model.file.close()  # type: ignore[operator]
    model = chain(nn.Conv2d(2, 2, 3), norm(2))
    model.computed = model[0].weight * 2  # type: ignore[assignment]
    assert simplified(model) is model


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(typical())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(19, 5, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x[:, 0].mT)[0].mean(dim=1)


@pytest.mark.parametrize(
    "make",
    [scripted, lambda: torch.fx.symbolic_trace(typical()), lambda: Recurrent().double().eval()],
    ids=["scripted", "traced", "recurrent"],
)
def test_models_of_other_kinds_compute_the_same(make) -> None:
    model = make()
    assert_same_function(model, simplified(model), planes())


@pytest.mark.parametrize("hold", [frozen, in_eval])
def test_threads_hold_a_network_one_after_the_other(
    hold: Callable[[nn.Module], AbstractContextManager[None]],
) -> None:
    network, entered, leave = nn.Linear(2, 2), threading.Event(), threading.Event()

    def held() -> None:
        with hold(network):
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(1) as pool:
        with hold(network):
            other = pool.submit(held)
            assert not entered.wait(0.2)
        leave.set()
        other.result()
    assert network.training
    assert network.weight.requires_grad


def test_statistics_that_a_network_takes_in_eval_mode_too_are_put_back() -> None:
    network = nn.BatchNorm1d(2)
    network.eval = lambda: network  # type: ignore[method-assign]
    with frozen(network):
        network(torch.randn(4, 2))
        assert network.num_batches_tracked == 1
    assert network.num_batches_tracked == 0
    assert not network.running_mean.any()  # type: ignore[union-attr]

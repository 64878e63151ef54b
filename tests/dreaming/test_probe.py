"""The recognizer as the loop reads it: its layers, its answers, and nothing left behind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming import probe as module
from irdream.dreaming.network import check_layers, frozen
from irdream.dreaming.probe import probing
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

LAYERS = [
    "features", "features.0", "features.1", "features.2", "features.3", "features.4",
    "features.6", "classifier",
]  # fmt: skip


class Net(nn.Module):
    """A function of its modules and of log-mels (batch, 9, frames)."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, one in modules.items():
            setattr(self, name, one)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.function(self, log_mel)


def around(model: nn.Module) -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
    return Recognizer(frontend=frontend, model=model, window_seconds=0.2).double()


def log_mels(items: int = 2, frames: int = 23) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(items, 9, frames, generator=generator, dtype=torch.float64) - 4


def by_a_hook(recognizer: Recognizer, layer: str, log_mel: Tensor) -> Tensor:
    """Return a layer's first output (items, windows, ...) of the network itself."""
    outputs: list[Tensor] = []
    network = recognizer.model.get_submodule(layer)
    handle = network.register_forward_hook(lambda module, x, y: outputs.append(y.clone()))
    with torch.no_grad():
        windows = recognizer.eval().windows(log_mel)
        recognizer.model(windows.flatten(0, 1))
    handle.remove()
    return outputs[0].unflatten(0, windows.shape[:2])


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("reads_output", [True, False])
@pytest.mark.parametrize("layers", [*([layer] for layer in LAYERS), LAYERS, []], ids=len)
def test_activations_are_those_of_a_hook(tiny, layers, reads_output) -> None:
    recognizer, log_mel = tiny(), log_mels()
    with probing(recognizer, layers=layers, reads_output=reads_output) as probe:
        logits, activations = probe(log_mel)
        prepared = probe.activations(log_mel, layers[:2][::-1])
        assert probe.network is not recognizer.model

    assert list(activations) == layers
    assert list(prepared) == layers[:2][::-1]
    for layer in layers:
        close(activations[layer], by_a_hook(recognizer, layer, log_mel))
    for layer, found in prepared.items():
        close(found, activations[layer].detach())
    if reads_output:
        close(logits, recognizer.eval().window_logits(log_mel))
    else:
        assert logits.shape == (2, 0, 0)


def test_a_layer_that_is_not_there_is_refused_with_the_nearest_that_are(tiny) -> None:
    expected = (
        r"unknown layer 'feature.2' of TinyNet; expected one of these, .*:\n"
        r" +type +output\nfeatures.2 +LeakyReLU +6 x 7 x 8\n"
    )
    with pytest.raises(InputError, match=expected), probing(tiny(), layers=["feature.2"]):
        pass
    recognizer = tiny()
    recognizer.model = nn.Sequential(*[nn.Identity() for _ in range(25)])
    with pytest.raises(InputError, match=r"(?s)unknown layer '' of Seq.*\n\.\.\. and 5 more$"):
        check_layers(recognizer, [""])


class Counted(nn.Module):
    """Counts its calls in all copies."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.calls, self.inner = [], inner

    def __deepcopy__(self, memo: dict) -> "Counted":
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.inner(x)


def test_the_network_is_left_after_the_last_layer_that_is_read() -> None:
    early, late = Counted(nn.Linear(9, 5)), Counted(nn.Linear(5, 11))
    net = Net(lambda self, x: self.late(self.early(x.mean(dim=2))), early=early, late=late)
    with probing(around(net), layers=["early.inner"], reads_output=False) as probe:
        probe(log_mels())
        early.calls.clear()
        late.calls.clear()
        logits, activations = probe(log_mels())
        assert (early.calls, late.calls) == ([8], [])
        assert logits.shape == (2, 0, 0)
        assert activations["early.inner"].shape == (2, 4, 5)
        logits, _ = probe(log_mels(), output=True)  # of what was dreamed in the end
        assert (early.calls, late.calls) == ([8, 8], [8])
        assert logits.shape == (2, 4, 11)


@pytest.mark.parametrize("layer", ["shared", "again"])
def test_of_a_layer_that_is_used_twice_the_first_output_is_read(layer) -> None:
    shared = nn.Linear(9, 9)
    net = Net(
        lambda self, x: self.head(self.again(self.shared(x.mean(dim=2)).relu())),
        shared=shared, again=shared, head=nn.Linear(9, 11),
    )  # fmt: skip
    recognizer, log_mel = around(net), log_mels()
    with probing(recognizer, layers=[layer, "head"]) as probe:
        _, activations = probe(log_mel)
    close(activations[layer], by_a_hook(recognizer, "shared", log_mel))
    close(activations["head"], by_a_hook(recognizer, "head", log_mel))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_of_a_recurrent_layer_its_output_is_read_and_not_its_state(kind) -> None:
    rnn = kind(9, 6, num_layers=2, batch_first=True, bidirectional=True)
    net = Net(
        lambda self, x: self.head(self.rnn(x.mT)[0].mean(dim=1)), rnn=rnn, head=nn.Linear(12, 11)
    )
    recognizer, log_mel = around(net), log_mels()
    with probing(recognizer, layers=["rnn"]) as probe:
        logits, activations = probe(log_mel)
    windows = recognizer.windows(log_mel)
    expected = rnn(windows.flatten(0, 1).mT)[0]
    close(activations["rnn"], expected.unflatten(0, windows.shape[:2]))
    close(logits, recognizer.window_logits(log_mel))


def with_layer(layer: nn.Module, call: Callable[[Any, Tensor], Tensor]) -> Net:
    return Net(lambda self, x: call(self.layer, x), layer=layer)


class Giving(nn.Module):
    """Gives something that is no tensor."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.forward = made


def summed(layer: nn.Module, x: Tensor) -> Tensor:
    layer(x)
    return x.mean(2) @ torch.ones(9, 11).double()


@pytest.mark.parametrize(
    ("layer", "call", "told"),
    [
        (nn.Linear(9, 11), lambda layer, x: x.new_zeros(len(x), 11), r"was not reached by Net.f"),
        (nn.GRU(9, 11), lambda gru, x: gru(x.permute(2, 0, 1))[0].mean(0), r"gave \(10, 8, 11\) f"),
        (Giving(lambda x: {"x": x}), summed, r"gave dict .*windows; expected a tensor with an axi"),
        (Giving(lambda x: ()), summed, r"gave tuple .*windows; expected a tensor with an axis of "),
    ],
    ids=["not reached", "time first", "dictionary", "empty"],
)  # fmt: skip
def test_a_layer_without_an_axis_of_windows_is_refused(layer, call, told) -> None:
    with (
        probing(around(with_layer(layer, call)), layers=["layer"]) as probe,
        pytest.raises(InputError, match=rf"layer 'layer' {told}"),
    ):
        probe(log_mels())


def test_activations_that_are_overwritten_afterwards_are_read_as_they_were() -> None:
    def forward(self: Any, log_mel: Tensor) -> Tensor:
        x = self.first(log_mel.mean(dim=2))
        x += 1.0
        return self.relu(x)

    net = Net(forward, first=nn.Linear(9, 11), relu=nn.ReLU(inplace=True))
    recognizer, log_mel = around(net), log_mels().requires_grad_()
    with probing(recognizer, layers=["first", "relu"]) as probe:
        _, activations = probe(log_mel)
        torch.autograd.grad(activations["first"].sum() + activations["relu"].sum(), log_mel)

    assert activations["first"].lt(-1).any()
    close(activations["first"], by_a_hook(recognizer, "first", log_mel))
    close(activations["relu"], (activations["first"] + 1.0).relu())


@pytest.mark.parametrize("reads_output", [True, False])
def test_long_inputs_give_the_gradient_of_short_ones(tiny, monkeypatch, reads_output) -> None:
    """Of many windows activations are computed again for the gradient, in several parts."""

    def gradient(most: int) -> tuple[list[Tensor], list[int]]:
        monkeypatch.setitem(module.CHECKPOINTED, "cpu", most)
        log_mel, sizes = log_mels(3, 71).requires_grad_(), []
        with probing(tiny(), layers=["features.3"], reads_output=reads_output) as probe:
            probe(log_mel)
            probe.network.register_forward_pre_hook(lambda m, x: sizes.append(len(x[0])))
            logits, activations = probe(log_mel)
            found = [activations["features.3"], logits]
            score = torch.stack([x.square().sum() for x in found]).sum()
            (slope,) = torch.autograd.grad(score, log_mel)
            with torch.no_grad():
                close(probe(log_mel)[1]["features.3"], activations["features.3"])
        return [*found, slope], sizes

    whole, sizes = gradient(1000)
    in_parts, sizes_in_parts = gradient(16)
    for one, other in zip(whole, in_parts, strict=True):
        close(one, other)
    assert sizes[0] == 42
    assert sizes_in_parts[:11] == [4] * 10 + [2]
    assert max(sizes_in_parts) == 4


def per_module(self: Any, log_mel: Tensor) -> Tensor:
    """Take the modules of a chain one by one and keep what they give."""
    x, sums = log_mel[:, None], []
    for layer in self.chain:
        x = layer(x)
        sums.append(x.mean(dim=(2, 3)))
    return sum(sums)  # type: ignore[return-value]


def viewing(self: Any, log_mel: Tensor) -> Tensor:
    """Need activations in one layout, as many networks do."""
    return self.head(self.chain(log_mel[:, None]).view(len(log_mel), -1))


def overwriting(self: Any, log_mel: Tensor) -> Tensor:
    """Overwrite what a chain gives, which may be done after a pooling."""
    return self.chain(log_mel[:, None]).add_(1.0).square().mean(dim=(2, 3))


def asking(self: Any, log_mel: Tensor) -> Tensor:
    """Ask a module of a chain for what the simplified one does not have."""
    return self.chain(log_mel[:, None]).mean(dim=(2, 3)) + self.chain[1].running_mean


def deep(self: Any, log_mel: Tensor) -> Tensor:
    return self.conv(log_mel[:, None, None]).mean(dim=(2, 3, 4))


def half_the_gradient(self: Any, log_mel: Tensor) -> Tensor:
    """Give the same values with less gradient, once an activation overwrites its input."""
    values = self.chain(log_mel[:, None]).mean(dim=(2, 3))
    return (values + values.detach()) / 2 if self.chain[1].inplace else values


def farther(self: Any, log_mel: Tensor) -> Tensor:
    """Give values that are 0.1 % larger then."""
    values = self.chain(log_mel[:, None]).mean(dim=(2, 3))
    return values + 1e-3 * values.detach() * self.chain[1].inplace


def buggy(self: Any, log_mel: Tensor) -> Tensor:
    return half_the_gradient(self, log_mel) * (1 // (1 - bool(self.chain[1].inplace)))


def chained(function: Callable[[Any, Tensor], Tensor]) -> Net:
    """Return a network of a chain that can be simplified."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 11, 3)
    chains: dict[Any, list[nn.Module]] = {
        per_module: [convolution, nn.LeakyReLU(0.3), nn.MaxPool2d(2)],
        viewing: [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()],
        overwriting: [convolution, nn.ReLU(), nn.MaxPool2d(2)],
        asking: [convolution, nn.BatchNorm2d(11)],
    }
    chain = nn.Sequential(*chains.get(function, [convolution, nn.ReLU()]))
    head, conv = nn.Linear(3 * 7 * 8, 11), nn.Conv3d(1, 11, (1, 3, 3))  # weights of five axes
    return Net(function, chain=chain, head=head, conv=conv)


@pytest.mark.parametrize("function", [per_module, viewing, overwriting, asking, deep])
def test_a_network_that_cannot_be_simplified_is_read_as_it_is(function) -> None:
    recognizer, log_mel = around(chained(function)).eval(), log_mels().requires_grad_()
    expected = recognizer.window_logits(log_mel)
    with probing(recognizer) as probe:
        logits, _ = probe(log_mel)
    close(logits, expected)
    close(*(torch.autograd.grad(y.square().sum(), log_mel)[0] for y in (logits, expected)))


@pytest.mark.parametrize("function", [half_the_gradient, farther, asking])
def test_a_simplified_network_that_computes_something_else_is_not_used(function) -> None:
    recognizer = around(chained(function))
    with probing(recognizer) as probe:
        probe(log_mels())
        assert probe.network is recognizer.model


def test_what_no_misfit_explains_is_not_swallowed() -> None:
    with probing(around(chained(buggy))) as probe, pytest.raises(ZeroDivisionError):
        probe(log_mels())


def test_a_network_that_needs_one_layout_is_simplified_in_its_own() -> None:
    recognizer = around(chained(viewing))
    with probing(recognizer) as probe:
        probe(log_mels())
        assert probe.network is not recognizer.model
        assert isinstance(probe.network.chain[1], nn.Identity)  # type: ignore[index]


def test_convolutions_are_laid_out_for_speed_in_the_copy_alone(tiny) -> None:
    recognizer = tiny()
    with probing(recognizer) as probe:
        probe(log_mels())
        nets: Any = probe.network, recognizer.model
        inside, weight = (net.features[5].weight for net in nets)
        assert inside.is_contiguous(memory_format=torch.channels_last)
        assert weight.is_contiguous()


def test_frozen_holds_eval_mode_and_undoes_it_after_an_exception(tiny) -> None:
    recognizer = tiny().train()
    recognizer.model.features[1].eval()
    recognizer.model.classifier.bias.requires_grad_(False)
    before = [m.training for m in recognizer.modules()]

    def broken() -> None:
        with frozen(recognizer):
            assert not any(m.training for m in recognizer.modules())
            assert not any(w.requires_grad for w in recognizer.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert [m.training for m in recognizer.modules()] == before
    asked = [name for name, w in recognizer.named_parameters() if not w.requires_grad]
    assert asked == ["model.classifier.bias"]


def test_recurrent_layers_keep_their_gradient_on_cuda() -> None:
    """cuDNN gives one in training mode alone, where nothing but the dropout is another."""
    network = nn.Sequential(nn.GRU(4, 3, num_layers=2, dropout=0.5, batch_first=True)).eval()
    gru, given = network[0], torch.randn(2, 5, 4)
    expected = gru(given)[0]
    with frozen(network):
        assert gru.training
        assert not network.training
        torch.testing.assert_close(gru(given)[0], expected)
    assert (gru.training, gru.dropout) == (False, 0.5)


@pytest.mark.parametrize("copied", [True, False])
def test_no_hook_is_left_however_often_it_read(tiny, copied) -> None:
    recognizer = tiny()
    if not copied:
        recognizer.model.file = open(__file__, "rb")  # type: ignore[assignment]  # noqa: SIM115
    for error in (None, ZeroDivisionError, None):
        try:
            with probing(recognizer, layers=LAYERS) as probe:
                probe(log_mels())
                assert (probe.network is not recognizer.model) == copied
                if error:
                    raise error
        except ZeroDivisionError:
            pass
        assert not any(m._forward_hooks for m in recognizer.modules())
    if not copied:
        recognizer.model.file.close()  # type: ignore[operator]

"""The recognizer as the loop hears it: its layers, its answers, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming import probe as module
from irdream.dreaming.probe import check_layers, frozen, probing
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

LAYERS = [
    "features", "features.0", "features.1", "features.2", "features.3", "features.4",
    "features.6", "classifier",
]  # fmt: skip


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


def close(found: Tensor | None, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("reads_output", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_activations_are_those_of_a_hook(tiny, layer, reads_output) -> None:
    recognizer, log_mel = tiny(), log_mels()
    with probing(recognizer, layers=[layer], reads_output=reads_output) as listen:
        logits, activations = listen(log_mel)
        prepared = listen.activations(log_mel, [layer])

    close(activations[layer], by_a_hook(recognizer, layer, log_mel))
    close(prepared[layer], activations[layer].detach())
    if reads_output:
        close(logits, recognizer.eval().window_logits(log_mel))
    else:
        assert logits.shape == (2, 0, 0)


def test_all_layers_are_heard_at_once(tiny) -> None:
    recognizer, log_mel = tiny(), log_mels()
    with probing(recognizer, layers=LAYERS, reads_output=False) as listen:
        _, activations = listen(log_mel)
        chosen = listen.activations(log_mel, ["features.3", "features.0"])

    assert list(activations) == LAYERS
    for layer in LAYERS:
        close(activations[layer], by_a_hook(recognizer, layer, log_mel))
    assert list(chosen) == ["features.3", "features.0"]


def test_logits_are_the_recognizers_own(tiny) -> None:
    recognizer, log_mel = tiny(), log_mels()
    with probing(recognizer) as listen:
        logits, activations = listen(log_mel)
        assert listen.network is not recognizer.model

    close(logits, recognizer.eval().window_logits(log_mel))
    assert activations == {}


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

    def __init__(self, calls: list[int], inner: nn.Module) -> None:
        super().__init__()
        self.calls, self.inner = calls, inner

    def __deepcopy__(self, memo: dict) -> Counted:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.inner(x)


def test_the_network_is_left_after_the_last_layer_that_is_read() -> None:
    early: list[int] = []
    late: list[int] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.late = Counted(early, nn.Linear(9, 5)), Counted(late, nn.Linear(5, 11))

        def forward(self, log_mel: Tensor) -> Tensor:
            return self.late(self.early(log_mel.mean(dim=2)))

    with probing(around(Net()), layers=["early.inner"], reads_output=False) as listen:
        listen(log_mels())
        early.clear()
        late.clear()
        logits, activations = listen(log_mels())
        assert (early, late) == ([8], [])
        assert logits.shape == (2, 0, 0)
        assert activations["early.inner"].shape == (2, 4, 5)
        logits, _ = listen(log_mels(), output=True)  # of what was dreamed in the end
        assert (early, late) == ([8, 8], [8])
        assert logits is not None
        assert logits.shape == (2, 4, 11)


def test_a_layer_that_is_not_reached_is_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(9, 11), nn.Linear(9, 11)

        def forward(self, log_mel: Tensor) -> Tensor:
            return self.used(log_mel.mean(dim=2))

    with (
        probing(around(Net()), layers=["unused"]) as listen,
        pytest.raises(InputError, match=r"layer 'unused' was not reached by Net.forward; choose"),
    ):
        listen(log_mels())


class Twice(nn.Module):
    """Uses a layer twice, with another one in between."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(9, 9), nn.Linear(9, 11)
        self.again = self.shared

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.head(self.again(self.shared(log_mel.mean(dim=2)).relu()))


@pytest.mark.parametrize("layer", ["shared", "again"])
def test_of_a_layer_that_is_used_twice_the_first_output_is_heard(layer) -> None:
    recognizer, log_mel = around(Twice()), log_mels()
    with probing(recognizer, layers=[layer, "head"]) as listen:
        _, activations = listen(log_mel)

    close(activations[layer], by_a_hook(recognizer, "shared", log_mel))
    close(activations["head"], by_a_hook(recognizer, "head", log_mel))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_of_a_recurrent_layer_its_output_is_heard_and_not_its_state(kind) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(9, 6, num_layers=2, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 11)

        def forward(self, log_mel: Tensor) -> Tensor:
            return self.head(self.rnn(log_mel.mT)[0].mean(dim=1))

    recognizer, log_mel = around(Net()), log_mels()
    with probing(recognizer, layers=["rnn"]) as listen:
        logits, activations = listen(log_mel)
    windows = recognizer.windows(log_mel)
    expected = recognizer.model.rnn(windows.flatten(0, 1).mT)[0]  # type: ignore[operator]

    close(activations["rnn"], expected.unflatten(0, windows.shape[:2]))
    close(logits, recognizer.window_logits(log_mel))


class Dictionary(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


class Empty(nn.Module):
    def forward(self, x: Tensor) -> tuple:
        return ()


@pytest.mark.parametrize(
    ("layer", "call", "told"),
    [
        (nn.GRU(9, 11), lambda gru, x: gru(x.permute(2, 0, 1))[0].mean(0), r"\(10, 8, 11\) for 8 "),
        (Dictionary(), lambda layer, x: layer(x)["x"].mean(2) @ torch.ones(9, 11).double(), "dict"),
        (Empty(), lambda layer, x: (x, layer(x))[0].mean(2) @ torch.ones(9, 11).double(), "tuple"),
    ],
    ids=["time first", "dictionary", "empty"],
)
def test_a_layer_without_an_axis_of_windows_is_refused(layer, call, told) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, log_mel: Tensor) -> Tensor:
            return call(self.layer, log_mel)

    expected = rf"layer 'layer' gave {told}.*windows; expected a tensor with an axis of windows "
    with (
        probing(around(Net()), layers=["layer"]) as listen,
        pytest.raises(InputError, match=expected),
    ):
        listen(log_mels())


def test_activations_that_are_overwritten_afterwards_are_heard_as_they_were() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu = nn.Linear(9, 11), nn.ReLU(inplace=True)

        def forward(self, log_mel: Tensor) -> Tensor:
            x = self.first(log_mel.mean(dim=2))
            x += 1.0
            return self.relu(x)

    recognizer, log_mel = around(Net()), log_mels().requires_grad_()
    with probing(recognizer, layers=["first", "relu"]) as listen:
        _, activations = listen(log_mel)
        torch.autograd.grad(activations["first"].sum() + activations["relu"].sum(), log_mel)

    assert activations["first"].lt(-1).any()
    close(activations["first"], by_a_hook(recognizer, "first", log_mel))
    close(activations["relu"], (activations["first"] + 1.0).relu())


@pytest.mark.parametrize("reads_output", [True, False])
def test_long_inputs_give_the_gradient_of_short_ones(tiny, monkeypatch, reads_output) -> None:
    """Of many windows activations are computed again for the gradient, in several parts."""

    def gradient(most: int) -> tuple[list[Tensor], Tensor, list[int]]:
        monkeypatch.setitem(module.CHECKPOINTED, "cpu", most)
        log_mel, sizes = log_mels(3, 71).requires_grad_(), []
        with probing(tiny(), layers=["features.3"], reads_output=reads_output) as listen:
            listen(log_mel)
            listen.network.register_forward_pre_hook(lambda m, x: sizes.append(len(x[0])))
            logits, activations = listen(log_mel)
            heard = [activations["features.3"], logits]
            score = sum(x.square().sum() for x in heard)
            assert isinstance(score, Tensor)
            (slope,) = torch.autograd.grad(score, log_mel)
            with torch.no_grad():
                close(listen(log_mel)[1]["features.3"], activations["features.3"])
        return heard, slope, sizes

    heard, slope, sizes = gradient(1000)
    heard_in_parts, slope_in_parts, sizes_in_parts = gradient(16)
    for one, other in zip(heard, heard_in_parts, strict=True):
        close(one, other)
    close(slope, slope_in_parts)
    assert sizes[0] == 42
    assert sizes_in_parts[:11] == [4] * 10 + [2]
    assert max(sizes_in_parts) == 4


class PerModule(nn.Module):
    """Takes the modules of a chain one by one and keeps what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 11, 3), nn.LeakyReLU(0.3), nn.MaxPool2d(2))

    def forward(self, log_mel: Tensor) -> Tensor:
        x, sums = log_mel[:, None], []
        for layer in self.chain:
            x = layer(x)
            sums.append(x.mean(dim=(2, 3)))
        return sum(sums)  # type: ignore[return-value]


class Viewing(nn.Module):
    """Needs its activations in one layout, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
        self.head = nn.Linear(3 * 7 * 8, 11)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.head(self.chain(log_mel[:, None]).view(len(log_mel), -1))


class Overwriting(nn.Module):
    """Overwrites what a chain gives, which may be done after a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 11, 3), nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.chain(log_mel[:, None]).add_(1.0).square().mean(dim=(2, 3))


class Asking(nn.Module):
    """Asks a module of a chain for what the simplified one does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 11, 3), nn.BatchNorm2d(11))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.chain(log_mel[:, None]).mean(dim=(2, 3)) + self.chain[1].running_mean


class Deep(nn.Module):
    """Has weights of five axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 11, (1, 3, 3))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.conv(log_mel[:, None, None]).mean(dim=(2, 3, 4))


@pytest.mark.parametrize("network", [PerModule, Viewing, Overwriting, Asking, Deep])
def test_a_network_that_cannot_be_simplified_is_heard_as_it_is(network) -> None:
    torch.manual_seed(0)
    recognizer, log_mel = around(network()), log_mels().requires_grad_()
    recognizer.eval()
    expected = recognizer.window_logits(log_mel)
    with probing(recognizer) as listen:
        logits, _ = listen(log_mel)
    assert logits is not None
    close(logits, expected)
    slopes = [torch.autograd.grad(y.square().sum(), log_mel)[0] for y in (logits, expected)]
    close(*slopes)


class HalfTheGradient(nn.Module):
    """Gives the same values with less gradient, once an activation overwrites its input."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 11, 3), nn.ReLU())

    def forward(self, log_mel: Tensor) -> Tensor:
        values = self.chain(log_mel[:, None]).mean(dim=(2, 3))
        return (values + values.detach()) / 2 if self.chain[1].inplace else values


class Farther(nn.Module):
    """Gives values that are 0.1 % larger then."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Conv2d(1, 11, 3), nn.ReLU())

    def forward(self, log_mel: Tensor) -> Tensor:
        values = self.chain(log_mel[:, None]).mean(dim=(2, 3))
        return values + 1e-3 * values.detach() * self.chain[1].inplace


@pytest.mark.parametrize("network", [HalfTheGradient, Farther, Asking])
def test_a_simplified_network_that_computes_something_else_is_not_used(network) -> None:
    recognizer = around(network())
    with probing(recognizer) as listen:
        listen(log_mels())
        assert listen.network is recognizer.model


def test_what_no_misfit_explains_is_not_swallowed() -> None:
    class Buggy(HalfTheGradient):
        def forward(self, log_mel: Tensor) -> Tensor:
            return super().forward(log_mel) * (1 // (1 - bool(self.chain[1].inplace)))

    with probing(around(Buggy())) as listen, pytest.raises(ZeroDivisionError):
        listen(log_mels())


def test_a_network_that_needs_one_layout_is_simplified_in_its_own() -> None:
    recognizer = around(Viewing())
    with probing(recognizer) as listen:
        listen(log_mels())
        assert listen.network is not recognizer.model
        assert isinstance(listen.network.chain[1], nn.Identity)  # type: ignore[index]


def test_convolutions_are_laid_out_for_speed_in_the_copy_alone(tiny) -> None:
    recognizer = tiny()
    with probing(recognizer) as listen:
        listen(log_mels())
        inside = listen.network.features[5].weight  # type: ignore[index]
        assert inside.is_contiguous(memory_format=torch.channels_last)
        weight = recognizer.model.features[5].weight  # type: ignore[index]
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


@pytest.mark.parametrize("copied", [True, False])
def test_no_hook_is_left_however_often_it_listened(tiny, copied) -> None:
    recognizer = tiny()
    if not copied:
        recognizer.model.file = open(__file__, "rb")  # type: ignore[assignment]  # noqa: SIM115
    for error in (None, ZeroDivisionError, None):
        try:
            with probing(recognizer, layers=LAYERS) as listen:
                listen(log_mels())
                assert (listen.network is not recognizer.model) == copied
                if error:
                    raise error
        except ZeroDivisionError:
            pass
        assert not any(m._forward_hooks for m in recognizer.modules())
    if not copied:
        recognizer.model.file.close()  # type: ignore[operator]

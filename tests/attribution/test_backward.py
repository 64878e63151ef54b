"""Deconvolution, guided back-propagation, LRP and Grad-CAM, each computed once more by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.attribution import (
    LRP,
    AscendedMask,
    Deconvolution,
    GradCAM,
    GradientXInput,
    GuidedBackprop,
    baseline_of,
    check_method,
    target_logits,
    with_sound,
)
from irdream.attribution.backward import _Exchanged
from irdream.checkpoint_folder import load_recognizer
from irdream.dreaming.network import simplified
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.recognizer import window_starts
from tests.attribution.conftest import Deep, Linear


class TwoLayers(nn.Module):
    """log-mel (batch, 9, 10) -> 7 rectified units -> logits (batch, 3)."""

    def __init__(self, slope: float, rectify: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Linear(90, 7), nn.Linear(7, 3)
        self.slope, self.rectify = slope, rectify
        self.rectifier = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU()

    def forward(self, log_mel):
        hidden = self.first(log_mel.flatten(1) + 3)
        return self.second((self.rectify or self.rectifier)(hidden))


class Recurrent(Linear):
    """A network whose layer gives a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.dense = nn.GRU(9, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.dense(self.gru(log_mel.mT)[0].mean(dim=1))


def written_over(rectify: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that does not take what an in-place one gives, but what it leaves."""

    def rectified(hidden: Tensor) -> Tensor:
        rectify(hidden)
        return hidden

    return rectified


FUNCTIONS: dict[str, tuple[float, Callable[..., Tensor]]] = {
    "relu": (0.0, F.relu),
    "relu, in place": (0.0, written_over(partial(F.relu, inplace=True))),
    "relu_": (0.0, written_over(torch.relu_)),
    "Tensor.relu_": (0.0, Tensor.relu_),
    "leaky, in place": (0.3, written_over(partial(F.leaky_relu, negative_slope=0.3, inplace=True))),
    "leaky_relu_": (0.3, written_over(partial(F.leaky_relu_, negative_slope=0.3))),
}


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize(("method", "guided"), [(Deconvolution(), False), (GuidedBackprop(), True)])
def test_what_is_sent_back_is_rectified(method, guided, slope, around, log_mel, targets) -> None:
    recognizer, log_mel = around(TwoLayers(slope)), log_mel[..., :10]
    first, second = recognizer.model.first, recognizer.model.second
    expected = []
    for x, target in zip(log_mel, targets.tolist(), strict=True):
        sent = second.weight[target]
        sent = torch.where(sent > 0, sent, slope * sent)
        hidden = first.weight @ (x.flatten() + 3) + first.bias
        sent = torch.where(hidden > 0, sent, slope * sent) if guided else sent
        expected.append((sent @ first.weight).view(9, 10))
    base = baseline_of(recognizer, log_mel, "silence")
    wanted = torch.stack(expected).detach() * (log_mel - base)
    torch.testing.assert_close(method(recognizer, log_mel, targets), wanted)


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize(("method", "guided"), [(Deconvolution(), False), (GuidedBackprop(), True)])
def test_of_convolutions_and_pooling_by_hooks(method, guided, slope, around, log_mel, targets):
    torch.manual_seed(0)
    recognizer = around(Deep(slope=slope))
    base = baseline_of(recognizer, log_mel, "silence")
    found = method(recognizer, log_mel, targets)

    def rectified(module, given, y):
        slope = getattr(module, "negative_slope", 0.0)
        y = y.clone() if guided else given[0] + (y - given[0]).detach()
        y.register_hook(lambda sent: torch.where(sent > 0, sent, slope * sent))
        return y

    for module in recognizer.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.register_forward_hook(rectified)
    x = log_mel.clone().requires_grad_()
    value = target_logits(recognizer.window_logits(x), targets).sum()
    torch.testing.assert_close(found, torch.autograd.grad(value, x)[0] * (log_mel - base))


@pytest.mark.parametrize("method", [Deconvolution(), GuidedBackprop()])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_rectified_like_modules(method, name, around, log_mel, targets) -> None:
    slope, rectify = FUNCTIONS[name]
    maps = [method(around(TwoLayers(slope, how)), log_mel, targets) for how in (None, rectify)]
    torch.testing.assert_close(maps[0], maps[1])
    plain = GradientXInput()(around(TwoLayers(slope)), log_mel, targets)
    assert not torch.allclose(maps[0], plain)


@pytest.mark.parametrize("method", [Deconvolution(), GuidedBackprop()])
def test_where_leaky_relu_is_linear_it_is_the_gradient(method, around, log_mel, targets) -> None:
    recognizer = around(Deep(slope=1.0))
    recognizer.model.classifier[1] = nn.LeakyReLU(1.0)
    found = method(recognizer, log_mel, targets)
    torch.testing.assert_close(found, GradientXInput()(recognizer, log_mel, targets))


@pytest.mark.parametrize("method", [Deconvolution(), GuidedBackprop()])
def test_a_network_without_rectifiers_is_refused(method, around, log_mel, targets) -> None:
    with pytest.raises(InputError, match="of Linear, which calls neither ReLU nor LeakyReLU"):
        method(around(Linear()), log_mel, targets)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("method", [Deconvolution(), LRP()])
def test_a_scripted_network_is_refused(method, around, log_mel, targets) -> None:
    hidden = torch.jit.trace(Deep().eval(), log_mel[..., :10].float())
    with pytest.raises(InputError, match=r"TopLevelTracedModule, which calls .*, or hides it as"):
        method(around(hidden), log_mel, targets)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 10.0])
def test_lrp_sums_to_the_logit_without_biases(gamma, around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep(bias=False))
    logit = target_logits(recognizer.window_logits(log_mel), targets)
    total = LRP(gamma=gamma, epsilon=1e-12)(recognizer, log_mel, targets).sum(dim=(1, 2))
    torch.testing.assert_close(total, logit.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["shipped", "second", "robust"])
def test_lrp_and_what_biases_take_sum_to_the_logit(name) -> None:
    recognizer, method = load_recognizer(name).eval(), LRP()
    waveform = torch.randn(1, 33_000, generator=torch.Generator().manual_seed(0))
    log_mel, targets = recognizer.log_mel(waveform), torch.tensor([3])
    logit = target_logits(recognizer.window_logits(log_mel), targets).item()
    relevance = float(method(recognizer, log_mel, targets).sum())
    network = simplified(recognizer.model)
    biases = [one.requires_grad_() for n, one in network.named_parameters() if n.endswith("bias")]
    with _Exchanged(method._rules()):
        windows = recognizer.logits(recognizer.windows(log_mel)[0], network)
    windows.mean(dim=0)[3].backward()
    taken = sum((b.grad * b).sum().item() for b in biases if b.grad is not None)
    assert relevance + taken == pytest.approx(logit, rel=1e-4, abs=1e-3)
    assert abs(taken) > 0.01


def test_lrp_without_gamma_and_biases_is_gradient_times_input(around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep(bias=False))
    x = log_mel.clone().requires_grad_()
    value = target_logits(recognizer.window_logits(x), targets).sum()
    expected = torch.autograd.grad(value, x)[0] * log_mel
    found = LRP(gamma=0.0, epsilon=1e-12)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, expected)


class OneConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, (3, 4), bias=True), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(196, 3)
        )

    def forward(self, log_mel):
        return self.layers(log_mel[:, None])


def test_lrp_by_its_formulas(around, log_mel, targets) -> None:
    gamma, epsilon = 0.5, 1e-3
    recognizer = around(OneConvolution())
    convolution, _, _, dense = recognizer.model.layers
    basis = torch.eye(90, dtype=torch.float64).view(90, 1, 9, 10)
    with torch.no_grad():
        matrix = F.conv2d(basis, convolution.weight).flatten(1)  # (inputs, units)
        bias = convolution.bias[:, None].expand(4, 49).flatten()
        expected = []
        for excerpt, target in zip(log_mel[..., :10], targets.tolist(), strict=True):
            x = excerpt.flatten()
            y = x @ matrix + bias
            hidden = torch.where(y > 0, y, 0.2 * y)
            total = hidden @ dense.weight[target] + dense.bias[target]
            relevance = hidden * dense.weight[target] / (total + epsilon * total.sign()) * total
            found = torch.zeros(90, dtype=torch.float64)
            for unit in range(196):
                parts = x * matrix[:, unit]
                agrees = parts > 0 if y[unit] > 0 else parts < 0
                parts = parts * (1 + gamma * agrees)
                own = bias[unit] * (1 + gamma * (bias[unit] * y[unit] > 0))
                z = parts.sum() + own
                # As a gradient: of z, times y / z, of the layers above.
                upper = relevance[unit] / y[unit]
                found += parts * upper * y[unit] / (z + epsilon * z.sign())
            expected.append(found.view(9, 10))
    method = LRP(gamma=gamma, epsilon=epsilon)
    found = method(recognizer, log_mel[..., :10], targets)
    torch.testing.assert_close(found, torch.stack(expected))


def test_batch_norm_passes_relevance_on(around, log_mel, targets) -> None:
    class Normed(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(90, 3, bias=False)
            self.norm = nn.BatchNorm1d(9)
            nn.init.uniform_(self.norm.running_mean, -4, -2)  # type: ignore[arg-type]

        def forward(self, log_mel):
            return super().forward(self.norm(log_mel))

    recognizer, log_mel = around(Normed()), log_mel[..., :10]
    with torch.no_grad():
        weights = recognizer.model.dense.weight.view(3, 9, 10)
        expected = recognizer.model.norm(log_mel) * weights[targets]
    found = LRP(epsilon=1e-12)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, expected)


class Mapped(nn.Module):
    def __init__(self, kind: type[nn.Module] = nn.Conv2d) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.body = kind(1 if kind is nn.Conv2d else 9, 5, 3)
        self.rectifier, self.dense = nn.LeakyReLU(0.1, inplace=True), nn.Linear(5, 3)

    def forward(self, log_mel):
        given = log_mel[:, None] if isinstance(self.body, nn.Conv2d) else log_mel
        return self.dense(self.rectifier(self.body(given)).flatten(2).mean(dim=2))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.Conv1d])
def test_grad_cam_of_a_mean_over_places(kind, around, log_mel, targets) -> None:
    recognizer, log_mel = around(Mapped(kind)), log_mel[..., :10]
    model = recognizer.model
    with torch.no_grad():
        activations = model.rectifier(
            model.body(log_mel[:, None] if kind is nn.Conv2d else log_mel)
        )
        weights = model.dense.weight[targets] / activations[0, 0].numel()
        maps = torch.einsum("nc,nc...->n...", weights, activations).relu()
        maps = maps if kind is nn.Conv2d else maps[:, None]
        expected = F.interpolate(maps[:, None], size=(9, 10), mode="bilinear")[:, 0]
    found = GradCAM(layer="rectifier")(recognizer, log_mel, targets)
    torch.testing.assert_close(found, expected)
    assert not model.rectifier._forward_hooks


def test_grad_cam_takes_the_last_convolution(around, log_mel, targets) -> None:
    recognizer = around(Deep())
    found = GradCAM()(recognizer, log_mel, targets)
    torch.testing.assert_close(found, GradCAM(layer="features.4")(recognizer, log_mel, targets))


class Aside(Mapped):
    """A convolution of which nothing is used."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d)
        self.aside = nn.Conv2d(1, 2, 3)

    def forward(self, log_mel):
        self.aside(log_mel[:, None])
        return super().forward(log_mel)


@pytest.mark.parametrize(
    ("method", "network", "message"),
    [
        (
            GradCAM(layer="classifier.0"),
            Deep,
            r"'classifier.0' gave \(12, 12\); expected \(windows",
        ),
        (
            GradCAM(layer="gru"),
            Recurrent,
            r"'gru' gave a tuple of \(12, 10, 4\), \(1, 12, 4\); exp",
        ),
        (GradCAM(layer="nix"), Deep, "unknown layer 'nix' of Deep"),
        (GradCAM(), Linear, "Linear has no convolution; name a layer by attribution.layer"),
        (GradCAM(layer="aside"), Aside, "layer 'aside' has no part in the logits; choose another"),
    ],
)
def test_what_grad_cam_refuses(method, network, message, around, log_mel, targets) -> None:
    with pytest.raises(InputError, match=message):
        method(around(network()), log_mel, targets)


@pytest.mark.parametrize(
    ("layers", "network", "message"),
    [
        ("nix", Deep, "unknown layer 'nix' of Deep"),
        ("all", Linear, "Linear has no convolution; name a layer by attribution.layers"),
    ],
)
def test_layers_are_checked_before_anything_is_done(layers, network, message, around) -> None:
    with pytest.raises(InputError, match=message):
        check_method(Deconvolution(layers=layers), around(network()))
    check_method(GradientXInput(), around(network()))


@pytest.mark.parametrize("method", [LRP(), GradCAM(), Deconvolution(layers="all")])
def test_several_networks_are_refused(method, around, log_mel, targets) -> None:
    several = Ensemble([around(Deep()), around(Linear())])
    with pytest.raises(InputError, match="of several networks; expected a single one"):
        check_method(method, several)
    if not isinstance(method, Deconvolution):
        with pytest.raises(InputError, match="of several networks; expected a single one"):
            method(several, log_mel, targets)


class Third(nn.Module):
    """Class 0 is what is loud in the lowest third of the bands; the others do not matter."""

    def forward(self, log_mel):
        loud = log_mel[:, :3].mean(dim=(1, 2)) + 6
        return torch.stack([3 * loud, 0 * loud, 0 * loud], dim=1)


def test_an_ascended_mask_keeps_what_matters_and_nothing_else(around) -> None:
    recognizer, targets = around(Third()), torch.zeros(3, dtype=torch.long)
    waveform = torch.randn(3, 999, generator=torch.Generator().manual_seed(1)).double()
    log_mel = recognizer.log_mel(waveform)
    method = with_sound(AscendedMask(steps=40, sparsity=2.0, bins=3, frames=5), waveform)
    mask = method(recognizer, log_mel, targets)
    assert mask.shape == log_mel.shape
    assert 0 <= float(mask.min()) < float(mask.max()) <= 1
    assert float(mask[:, :2].mean()) > 0.7
    assert float(mask[:, 6:].mean()) < 0.1
    with pytest.raises(InputError, match=r"AscendedMask masks the sound.*give a sound file or"):
        AscendedMask()(recognizer, log_mel, targets)


def test_a_layers_map_is_what_its_strongest_channel_sends_back(around, log_mel) -> None:
    """By transposed convolutions and unpooling, window by window."""
    torch.manual_seed(3)
    recognizer = around(Deep(bias=False))
    first, last = recognizer.model.features[0], recognizer.model.features[4]
    windows = recognizer.windows(log_mel)
    silence = baseline_of(recognizer, log_mel, "silence").expand(1, 9, 10)
    with torch.no_grad():
        silent = recognizer.model.features[:5](silence[:, None])
        pooled, places = F.max_pool2d(
            F.leaky_relu(first(windows.flatten(0, 1)[:, None]), 0.3), 2, return_indices=True
        )
        values = (last(pooled) - silent).relu()
        channels = values.mean(dim=(2, 3)).unflatten(0, windows.shape[:2]).sum(dim=1).argmax(dim=1)
        alone = torch.zeros_like(values)
        for i in range(len(values)):
            channel = channels[i // windows.shape[1]]
            alone[i, channel] = values[i, channel]
        back = F.max_unpool2d(
            F.conv_transpose2d(alone, last.weight), places, [2, 2], output_size=[7, 8]
        )
        back = torch.where(back > 0, back, 0.3 * back)
        found = F.conv_transpose2d(back, first.weight)[:, 0].unflatten(0, windows.shape[:2])
    total = torch.zeros_like(log_mel)
    for i, start in enumerate(window_starts(log_mel.shape[-1], 10, 5)):
        total[..., start : start + 10] += found[:, i]
    total = total.relu()
    expected = (total / total.flatten(1).quantile(0.99, dim=1)[:, None, None]).clamp(max=1)
    maps = [*Deconvolution(layers="all").layer_maps(recognizer, log_mel)]
    assert [name for name, _, _ in maps] == ["features.0", "features.4"]
    assert torch.equal(maps[1][1], channels)
    torch.testing.assert_close(maps[1][2], expected)
    (only,) = Deconvolution(layers=["features.4"]).layer_maps(recognizer, log_mel)
    assert torch.equal(only[2], maps[1][2])
    with pytest.raises(
        InputError, match=r"gave \(\d+, 12\); expected .* another by attribution.layers"
    ):
        list(Deconvolution(layers="classifier.0").layer_maps(recognizer, log_mel))

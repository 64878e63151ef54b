"""Each method against a computation of its own, on networks that are small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from irdream.attribution import (
    LRP,
    AscendedMask,
    Deconvolution,
    GradCAM,
    GradientXInput,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
    baseline_of,
    target_logits,
    with_sound,
)
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.random_streams import item_keys, normal
from irdream.errors import InputError
from irdream.recognizer import window_starts
from tests.attribution.conftest import Deep, Linear, Quadratic

ALL = [
    GradientXInput(), IntegratedGradients(), SmoothGrad(), Occlusion(bands=3, frames=4),
    Deconvolution(), GuidedBackprop(), LRP(), GradCAM(), AscendedMask(bins=3, frames=5),
]  # fmt: skip
METHODS = [GradientXInput(), IntegratedGradients(steps=5), SmoothGrad(samples=3)]


def by_windows(recognizer, log_mel, explain):
    """Add up `explain(window, item)` of each window by a loop, and divide by their number."""
    total, starts = torch.zeros_like(log_mel), window_starts(log_mel.shape[-1], 10, 5)
    for i, excerpt in enumerate(log_mel):
        for first in starts:
            total[i, :, first : first + 10] += explain(excerpt[:, first : first + 10], i)
    return total / len(starts)


@pytest.mark.parametrize("method", [*METHODS, Occlusion(bands=1, frames=1)])
def test_on_a_linear_network_relevance_is_weight_times_input(
    method, around, log_mel, targets
) -> None:
    recognizer = around(Linear())
    weights = recognizer.model.dense.weight.detach().view(3, 9, 10)
    base = baseline_of(recognizer, log_mel, "silence")[0]
    expected = by_windows(recognizer, log_mel, lambda x, i: weights[targets[i]] * (x - base))
    torch.testing.assert_close(method(recognizer, log_mel, targets), expected)


@pytest.mark.parametrize("baseline", ["silence", "mean"])
@pytest.mark.parametrize("network", [Quadratic, Deep])
def test_integrated_gradients_sum_to_the_difference_of_logits(
    network, baseline, around, log_mel, targets
) -> None:
    torch.manual_seed(0)
    recognizer = around(network())
    base = baseline_of(recognizer, log_mel, baseline).expand_as(log_mel)
    logits = [target_logits(recognizer.window_logits(x), targets) for x in (log_mel, base)]
    method = IntegratedGradients(steps=300, baseline=baseline)
    total = method(recognizer, log_mel, targets).sum(dim=(1, 2))
    tolerance = 1e-9 if network is Quadratic else 5e-3  # the midpoint rule is exact on a parabola
    torch.testing.assert_close(total, logits[0] - logits[1], rtol=tolerance, atol=tolerance)


def test_integrated_gradients_of_a_parabola_by_hand(around, log_mel, targets) -> None:
    recognizer = around(Quadratic())
    base = baseline_of(recognizer, log_mel, "silence")[0]

    def explain(x, i):  # the mean of 2 m / 30 on the line is (m + m0) / 30
        third = slice(3 * int(targets[i]), 3 * int(targets[i]) + 3)
        found = torch.zeros_like(x)
        slope = (x[third].mean() + base.expand_as(x)[third].mean()) / 30
        found[third] = slope * (x - base)[third]
        return found

    expected = by_windows(recognizer, log_mel, explain)
    found = IntegratedGradients(steps=4)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, expected)


def test_integrated_gradients_are_the_mean_over_midpoints(around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep())
    base, total = baseline_of(recognizer, log_mel, "silence"), torch.zeros_like(log_mel)
    for share in (0.125, 0.375, 0.625, 0.875):
        x = (base + share * (log_mel - base)).requires_grad_()
        value = target_logits(recognizer.window_logits(x), targets).sum()
        total += torch.autograd.grad(value, x)[0]
    found = IntegratedGradients(steps=4)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, total / 4 * (log_mel - base))


def test_smoothgrad_is_the_mean_over_noisy_copies(around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep())
    total = torch.zeros_like(log_mel)
    for k in range(3):
        noise = normal(item_keys([7 + k]), 0, 9, 25)[0] * 4.0 * NATURAL_PER_DB
        x = (log_mel + noise).requires_grad_()
        value = target_logits(recognizer.window_logits(x), targets).sum()
        total += torch.autograd.grad(value, x)[0]
    base = baseline_of(recognizer, log_mel, "silence")
    found = SmoothGrad(samples=3, noise_db=4.0, seed=7)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, total / 3 * (log_mel - base))


def test_occlusion_is_what_the_logit_falls_by(around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep())
    base = baseline_of(recognizer, log_mel, "silence")[0]

    @torch.no_grad()
    def explain(x, i):
        found = torch.zeros_like(x)
        for top in (0, 4, 8):
            for left in (0, 6):
                patch = (slice(top, min(top + 4, 9)), slice(left, min(left + 6, 10)))
                silenced = x.clone()
                silenced[patch] = base[patch[0]]
                both = recognizer.logits(torch.stack([x, silenced]))[:, targets[i]]
                found[patch] = (both[0] - both[1]) / found[patch].numel()
        return found

    expected = by_windows(recognizer, log_mel, explain)
    found = Occlusion(bands=4, frames=6)(recognizer, log_mel, targets)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", [*METHODS, Occlusion(bands=4, frames=4)])
def test_an_item_does_not_depend_on_the_others(method, around, log_mel, targets) -> None:
    torch.manual_seed(0)
    recognizer = around(Deep())
    weights = {name: x.clone() for name, x in recognizer.model.state_dict().items()}
    together = method(recognizer, log_mel, targets)
    alone = method(recognizer, log_mel[1:2], targets[1:2])
    torch.testing.assert_close(together[1:2], alone)
    assert all(torch.equal(x, weights[name]) for name, x in recognizer.model.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in recognizer.parameters())


def test_baselines(around, log_mel) -> None:
    recognizer = around(Linear())
    silence = baseline_of(recognizer, log_mel, "silence")
    np.testing.assert_allclose(silence, np.full((1, 9, 1), np.log(1e-5)), rtol=1e-2)
    mean = baseline_of(recognizer, log_mel, "mean")
    np.testing.assert_allclose(mean, log_mel.numpy().mean(axis=2, keepdims=True))


class Hears(nn.Module):
    """Class 0 is what is loud in bands 3 to 5; the other bands do not reach the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 2, (1, 3), bias=False), nn.ReLU(), nn.Conv2d(2, 2, (1, 3), bias=False),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3, bias=False),
        )  # fmt: skip
        for weight in self.parameters():
            nn.init.uniform_(weight, 0.2, 0.6)
        nn.init.zeros_(self.layers[-1].weight[1:])  # type: ignore[index]
        self.register_buffer("bands", (torch.arange(9) // 3 == 1).double()[:, None])

    def forward(self, log_mel):
        return self.layers(((log_mel + 4) * self.bands)[:, None])


@pytest.mark.parametrize("method", ALL, ids=lambda one: type(one).__name__)
def test_relevance_lies_in_the_bands_that_a_network_hears(method, around) -> None:
    torch.manual_seed(0)
    recognizer, waveform = around(Hears()), 20 * torch.randn(2, 800).double()
    log_mel, target = recognizer.log_mel(waveform), torch.zeros(2, dtype=torch.long)
    found = with_sound(method, waveform)(recognizer, log_mel, target)
    heard, others = found[:, 3:6].mean(), found[:, [0, 1, 7, 8]].mean()
    if isinstance(method, AscendedMask):  # a gain, whose grid covers two bands or three
        assert heard > 0.3
        assert others < 0.02
    else:
        assert heard > 0
        assert not found[:, :3].any()
        assert not found[:, 6:].any()


class Logarithm(nn.Module):
    sample_rate_hz, hop_samples = 2000, 40

    def forward(self, waveform):
        return waveform.unfold(1, 40, 40).abs().mean(dim=2)[:, None].log().expand(-1, 9, -1)


def test_a_front_end_without_a_floor_needs_another_baseline(around, log_mel) -> None:
    recognizer = around(Linear())
    recognizer.frontend = Logarithm()
    with pytest.raises(InputError, match=r"Logarithm gives no number for silence; expected"):
        baseline_of(recognizer, log_mel, "silence")

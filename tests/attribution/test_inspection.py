"""Networks on waveforms, explained by the log-mel of the sound."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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
    check_method,
    with_sound,
)
from irdream.attribution.base import Inspected, inspected
from irdream.audio.stft import with_mel_gain
from irdream.checkpoint_folder import load_recognizer
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.frontends import ConstantQ, Waveform
from irdream.recognizer import Recognizer
from tests.attribution.conftest import Deep

RATE_HZ = 2000


class ToneDetector(nn.Module):
    """(batch, samples) -> the log power of a wavelet at 300 Hz, its loudest, and at 700 Hz."""

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(200) / RATE_HZ
        angle = 2 * torch.pi * torch.tensor([[300.0], [700.0]]) * time
        taper = torch.hann_window(200) / 100
        self.wavelets = nn.Parameter(torch.cat([taper * angle.cos(), taper * angle.sin()])[:, None])

    def forward(self, waveform: Tensor) -> Tensor:
        pairs = nn.functional.conv1d(waveform[:, None], self.wavelets).square().unflatten(1, (2, 2))
        return ((pairs.sum(dim=1).amax(dim=2) + 1e-6).log() + 14).relu()  # which is above 0


class InDisguise(nn.Module):
    """A network on log-mels as one on waveforms."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.frontend, self.model = recognizer.frontend, recognizer.model

    def forward(self, waveform: Tensor) -> Tensor:
        return self.model(self.frontend(waveform))


@pytest.fixture
def detector() -> Recognizer:
    frontend = Waveform(sample_rate_hz=RATE_HZ)
    return Recognizer(frontend=frontend, model=ToneDetector(), instruments=("low", "high")).eval()


@pytest.fixture
def tone() -> Tensor:
    """Noise of 2 s, and between 1 s and 1.3 s a tone of 300 Hz, (1, samples)."""
    time = torch.arange(2 * RATE_HZ) / RATE_HZ
    noise = 0.01 * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    there = ((time > 1.0) & (time < 1.3)).float()
    return (noise + 0.5 * there * torch.sin(2 * torch.pi * 300 * time))[None]


METHODS = [
    GradientXInput(), IntegratedGradients(steps=8), SmoothGrad(samples=4),
    Occlusion(bands=8, frames=4), AscendedMask(bins=2, frames=2), Deconvolution(),
    GuidedBackprop(),
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=lambda one: type(one).__name__)
def test_the_tone_that_a_network_on_waveforms_hears_is_found(method, detector, tone) -> None:
    grid = detector.stft_grid
    sounds, targets = tone.expand(2, -1), torch.tensor([0, 0])
    relevance = with_sound(method, sounds)(detector, grid(sounds), targets)
    assert relevance.shape == (2, 128, 2 * RATE_HZ // grid.hop_samples)
    torch.testing.assert_close(relevance[0], relevance[1])  # item by item
    assert detector.model.wavelets.requires_grad
    band, frame = divmod(int(relevance[0].argmax()), relevance.shape[-1])
    tolerance_hz = 8 * 7.8 if isinstance(method, Occlusion) else 10.0  # a patch, or a bin
    assert abs(float(grid.centers_hz[band]) - 300) < tolerance_hz
    assert 0.9 < frame * grid.hop_samples / RATE_HZ < 1.4


def test_relevance_is_the_change_of_the_answer_by_a_gain_on_the_sound(detector, tone) -> None:
    """Finite differences of the network itself, of the mean logit of its windows."""
    detector, tone = detector.double(), tone.double()
    grid = detector.stft_grid.double()
    log_mel = grid(tone)
    found = with_sound(GradientXInput(), tone)(detector, log_mel, torch.tensor([0]))
    silence = grid(torch.zeros_like(tone))[0, 0, 0]
    for band, frame in [(77, 16), (76, 17), (90, 16)]:
        gain, logits = torch.zeros_like(log_mel), []
        for sign in (1, -1):
            gain[0, band, frame] = sign * 1e-4
            louder = with_mel_gain(tone, gain, grid)
            logits.append(detector.window_logits(louder)[0, :, 0].mean())
        slope = (logits[0] - logits[1]) / 2e-4
        expected = (slope * (log_mel[0, band, frame] - silence)).detach()
        torch.testing.assert_close(found[0, band, frame], expected, rtol=1e-3, atol=1e-7)


@torch.no_grad()
def test_integrated_gradients_sum_to_the_difference_to_silence(detector, tone) -> None:
    log_mel, target = detector.stft_grid(tone), torch.tensor([0])
    method = with_sound(IntegratedGradients(steps=64), tone)
    sum_ = float(method(detector, log_mel, target).sum())
    ((one, _),) = inspected(detector, tone)
    silence = one.log_mel(torch.zeros_like(tone))
    loud, quiet = (float(one.window_logits(x)[0, :, 0].mean()) for x in (log_mel, silence))
    assert loud == pytest.approx(float(detector.window_logits(tone)[0, :, 0].mean()), abs=1e-3)
    assert sum_ == pytest.approx(loud - quiet, rel=0.02)


@pytest.mark.parametrize("method", [GradientXInput(), IntegratedGradients(steps=16)])
def test_a_network_on_log_mels_in_disguise_has_nearly_the_same_map(method) -> None:
    """Gains on bins and frames that overlap are no free choice of a log-mel: cosines 0.7, 0.85."""
    direct = load_recognizer("shipped")
    disguised = Recognizer(frontend=Waveform(), model=InDisguise(direct)).eval()
    time, generator = torch.arange(22_050) / 22_050, torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * (311 * time + torch.sin(2 * torch.pi * 6 * time))  # with vibrato
    tones = torch.stack([torch.sin(k * angle) / k for k in range(1, 20)]).sum(dim=0)
    sound = (0.1 * tones + 0.1 * torch.randn(22_050, generator=generator))[None]
    log_mel = direct.log_mel(sound)
    target = direct.window_logits(log_mel).mean(dim=1).argmax(dim=1)
    explain = with_sound(method, sound)
    maps = [explain(each, log_mel, target) for each in (direct, disguised)]
    assert torch.cosine_similarity(*(x.flatten() for x in maps), dim=0) > 0.7
    smooth = [nn.functional.avg_pool2d(x, 3, 1).flatten() for x in maps]
    assert torch.cosine_similarity(*smooth, dim=0) > 0.85


def test_log_mels_of_a_network_that_gets_them_are_left_alone(around, log_mel, targets) -> None:
    recognizer, sound = around(Deep()), torch.zeros(3, 1000).double()
    ((one, part),) = inspected(recognizer, sound)
    assert one is recognizer
    assert part == slice(None)
    plain = GradientXInput()(recognizer, log_mel, targets)
    found = with_sound(GradientXInput(), sound)(recognizer, log_mel, targets)
    assert torch.equal(found, plain)


def test_constant_q_and_several_networks_of_different_front_ends(detector, tone) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.dense = nn.Linear(24, 2)

        def forward(self, bands: Tensor) -> Tensor:
            return self.dense(bands.mean(dim=2)).relu()

    cqt = ConstantQ(sample_rate_hz=RATE_HZ, hop_samples=50, n_bins=24, f_min_hz=100.0)
    other = Recognizer(frontend=cqt, model=Net(), instruments=("low", "high")).eval()
    for recognizer in (other, Ensemble([detector, other])):
        log_mel = recognizer.stft_grid(tone)
        found = with_sound(GradientXInput(), tone)(recognizer, log_mel, torch.tensor([0]))
        assert found.shape == log_mel.shape
        assert bool(found.isfinite().all())
        assert bool(found.any())
    grid = other.stft_grid
    found = with_sound(Deconvolution(), tone)(other, grid(tone), torch.tensor([0]))
    assert bool(found.any())


@pytest.mark.parametrize("method", [LRP(), GradCAM(layer="0.model")])
def test_what_needs_the_layers_is_refused(method, detector, tone) -> None:
    with pytest.raises(InputError, match="network that gets no log-mel"):
        with_sound(method, tone)(detector, detector.stft_grid(tone), torch.tensor([0]))
    with pytest.raises(InputError, match="network that gets no log-mel"):
        check_method(method, detector)
    inside = Inspected(detector, tone)
    maps = Deconvolution(layers=["0"]).layer_maps(inside, inside.log_mel(tone))
    with pytest.raises(InputError, match=r"layers=\['0'\] of a network that .*; leave attribution"):
        next(maps)

import pytest
import torch
from torch import nn

from irdream import attribute
from irdream.attribution import AscendedMask, GradientXInput, Occlusion, SmoothGrad
from irdream.audio import write_wav
from irdream.audio.stft import with_mel_mask
from irdream.errors import InputError
from irdream.frontends import HanLogMel


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.dense = nn.Linear(9, 4)

    def forward(self, log_mel):
        return self.dense(log_mel.mean(dim=2))


def test_log_mels_of_a_network_of_ones_own() -> None:
    network, log_mels = Net(), torch.randn(3, 9, 20)
    found = attribute(network, log_mels, method=GradientXInput())
    assert torch.equal(found.targets, network(log_mels).argmax(dim=1))
    lowest = log_mels.amin(dim=(1, 2), keepdim=True)  # stands for silence
    expected = network.dense.weight[found.targets][:, :, None] / 20 * (log_mels - lowest)
    torch.testing.assert_close(found.relevance, expected.detach())
    assert found.mask(0.1).sum(dim=(1, 2)).tolist() == [18] * 3
    with pytest.raises(InputError, match=r"^share=20; expected a number above 0, at most 1$"):
        found.mask(20)
    with pytest.raises(InputError, match="there is no sound to be masked; expected waveforms"):
        found.sound()
    whole = attribute(network, log_mels, method=Occlusion(bands=9, frames=20))
    logits = network(log_mels) - network(lowest.expand_as(log_mels))
    expected = logits.gather(1, whole.targets[:, None])[:, :, None].expand_as(log_mels) / 180
    torch.testing.assert_close(whole.relevance, expected)


def test_occlusion_needs_no_gradient() -> None:
    class InNumPy(Net):
        def forward(self, log_mel):
            return torch.from_numpy(super().forward(log_mel).numpy())

    found = [
        attribute(network, torch.ones(1, 9, 20).cumsum(1), 1, method=Occlusion()).relevance
        for network in (Net(), InNumPy())
    ]
    assert found[0].any()
    assert torch.equal(*found)


def test_a_sound_is_heard_at_the_rate_that_is_given() -> None:
    network = nn.Sequential(nn.Conv1d(1, 3, 9), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    found = attribute(network, torch.randn(1, 4000), 1, sample_rate_hz=4000)
    assert found.recognizer.sample_rate_hz == 4000
    with pytest.raises(TypeError, match=r"attribute\(\) got an unexpected keyword argument 'lable"):
        attribute(network, torch.randn(1, 4000), 1, lables=["a", "b", "c"])  # type: ignore[call-arg]


def test_a_sound_file_for_several_targets(tmp_path) -> None:
    time = torch.arange(4000) / 2000
    write_wav(tmp_path / "a.wav", 0.5 * torch.sin(2 * torch.pi * 300 * time), sample_rate_hz=2000)
    frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
    found = attribute(
        Net(), str(tmp_path / "a.wav"), ["x", "z"], method=Occlusion(bands=3, frames=5),
        frontend=frontend, labels=["w", "x", "y", "z"], window_frames=25,
    )  # fmt: skip
    assert found.targets.tolist() == [1, 3]
    assert found.relevance.shape == found.log_mel.shape == (2, 9, 100)
    assert found.probabilities.shape == (2, 4)
    relevant, rest = found.sound(share=0.3)
    torch.testing.assert_close(relevant + rest, found.waveform)
    figure = found.show(1)
    assert [ax.get_title() for ax in figure.axes[:3]][1] == "for z"
    drawn = figure.axes[1].images[0].get_array()
    largest = found.relevance[1].abs().quantile(0.99)
    torch.testing.assert_close(torch.tensor(drawn).float(), found.relevance[1] / largest)


def test_a_mask_that_a_method_gives_is_heard_and_drawn_as_it_is() -> None:
    frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
    sound, method = 0.1 * torch.randn(1, 2000), AscendedMask(steps=2)
    found = attribute(
        Net(), sound, 1, method=method, frontend=frontend, labels=["w", "x", "y", "z"]
    )
    assert torch.equal(found.mask(0.1), found.relevance)
    relevant, rest = found.sound()
    torch.testing.assert_close(relevant + rest, sound)
    expected = with_mel_mask(sound, found.relevance, found.recognizer.frontend)
    torch.testing.assert_close(relevant, expected)
    drawn = [found.show().axes[i].images[0].get_array() for i in (0, 2)]
    before, after = (torch.tensor(one) for one in drawn)
    expected = before + 20 * found.relevance[0].log10()
    expected = expected.clamp(min=before.min())  # the quietest that is drawn
    torch.testing.assert_close(after, expected, atol=1e-3, rtol=0)


def test_a_network_on_waveforms_is_explained_by_the_log_mel_of_its_sound() -> None:
    network, sounds = nn.Linear(2000, 3).double(), 0.1 * torch.randn(2, 2000)
    found = attribute(network, sounds, method=GradientXInput())
    assert found.relevance.shape == (2, 128, 3)
    relevant, rest = found.sound()
    torch.testing.assert_close(relevant + rest, sounds.double())
    assert next(ax.get_ylabel() for ax in found.show().axes) == "frequency (Hz)"
    with pytest.raises(InputError, match="a waveform of 50 samples is too short; expected more"):
        attribute(nn.Linear(50, 3), torch.randn(1, 50))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("smoothgrad", r"method='smoothgrad'; expected one of irdream.attribution, such as Smooth"),
        (SmoothGrad, r"method=SmoothGrad is a class; expected SmoothGrad\(\.\.\.\)"),
        (lambda recognizer, log_mel, targets: log_mel.mean(dim=1), r"function gave \(2, 20\); exp"),
        (
            lambda recognizer, log_mel, targets: log_mel > 0,
            r"expected .* floating point \(items, 9",
        ),
        (
            lambda recognizer, log_mel, targets: 0 / (0 * log_mel),
            r"function gave values that are no",
        ),
        (lambda recognizer, log_mel, targets: None, r"function gave a NoneType; expected the rele"),
    ],
)
def test_a_method_that_is_none_is_refused(method, message) -> None:
    with pytest.raises(InputError, match=message):
        attribute(Net(), torch.randn(2, 9, 20), method=method)

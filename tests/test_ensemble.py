"""Several recognizers as one: what its numbers are, and that each member hears its dreams."""

import pytest
import torch
from torch import Tensor, nn

from irdream import checkpoint, dream
from irdream.audio import resample
from irdream.checkpoint_folder import load_recognizer
from irdream.dreaming.parametrizations import LogMel, StftGain, Waveform
from irdream.dreaming.probe import probing
from irdream.dreaming.transforms import Transform
from irdream.ensemble import Ensemble, as_one
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


class Net(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, classes)."""

    def __init__(self, n_mels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_mels, 16), nn.Tanh(), nn.Linear(16, classes))

    def forward(self, log_mel: Tensor) -> Tensor:
        return 8.0 * self.layers(log_mel.mean(dim=2) / 5 + 1)


def made(
    seed: int, *, rate_hz: int = 4000, seconds: float = 0.5, labels: str = "abc", hop: int = 50
) -> Recognizer:
    torch.manual_seed(seed)
    frontend = HanLogMel(sample_rate_hz=rate_hz, n_fft=128, hop_samples=hop, n_mels=10)
    model = Net(10, len(labels))
    return Recognizer(
        frontend=frontend, model=model, instruments=tuple(labels), window_seconds=seconds
    ).eval()


def sounds(items: int = 2, samples: int = 6000) -> Tensor:
    """Return tones in noise at 4000 Hz, (items, samples)."""
    noise = torch.randn(items, samples, generator=torch.Generator().manual_seed(0))
    tone = torch.sin(torch.arange(samples) * torch.linspace(0.2, 1.5, items)[:, None])
    return (tone + 0.1 * noise) / 1.6


def test_a_transposed_network_hears_a_tone_where_it_would_be() -> None:
    one = made(1)
    tone = torch.sin(torch.arange(9000) * 2 * torch.pi * 500 / 4000)[None]
    lower = one.transposed(-12)
    assert (lower.sample_rate_hz, lower.window_seconds, lower.model) == (8000, 0.25, one.model)
    slow = resample(tone, from_hz=4000, to_hz=8000)  # played at 4000 Hz: 250 Hz
    both = as_one([one, lower])
    expected = (one(tone).log() + one(slow).log()) / 2
    torch.testing.assert_close(both(slow), expected.softmax(dim=-1), atol=0.02, rtol=0)
    lower_twice = as_one([lower, made(1).transposed(-12)])  # whose front ends are alike
    torch.testing.assert_close(lower_twice(slow), lower(slow), atol=0.02, rtol=0)
    assert one.transposed(0) is one


def test_twice_the_same_network_is_that_network() -> None:
    one, waveform = made(1), sounds()
    twice = Ensemble([one, made(1)])
    assert twice.frontend is one.frontend
    torch.testing.assert_close(twice(waveform), one(waveform))
    log_mel = one.log_mel(waveform)
    torch.testing.assert_close(
        twice.log_probabilities(twice.window_logits(log_mel)),
        one.log_probabilities(one.window_logits(log_mel)),
    )


def test_labels_that_mean_the_same_are_one() -> None:
    one, other, waveform = made(1, labels="abc"), made(2, labels="abc"), sounds()
    as_named = Ensemble([one, other])(waveform)
    one.instruments, other.instruments = ("flu", "hi_hat", "x"), ("Flute", "Hi-Hat", "X")
    both = Ensemble([one, other])
    assert both.instruments == ("flu", "hi_hat", "x")
    assert torch.equal(both(waveform), as_named)
    assert Ensemble([other, one]).instruments == ("Flute", "Hi-Hat", "X")


def test_probabilities_are_the_geometric_mean_of_those_of_common_labels() -> None:
    one, other = made(1, labels="abcd"), made(2, labels="dxba")
    both, waveform = Ensemble([one, other]), sounds(samples=2000)  # a window
    assert both.instruments == ("a", "b", "d")
    first, second = one(waveform)[:, [0, 1, 3]], other(waveform)[:, [3, 2, 0]]
    product = (first * second).sqrt()
    torch.testing.assert_close(both(waveform), product / product.sum(dim=1, keepdim=True))


def test_members_hear_by_their_own_front_end_rate_and_window() -> None:
    one, other = made(1), made(2, rate_hz=3000, seconds=1.5)
    both, waveform = Ensemble([one, other]), sounds()  # 1.5 s
    assert (both.sample_rate_hz, both.window_seconds, both.hop_samples) == (4000, 1.5, 1)
    own = resample(waveform, from_hz=4000, to_hz=3000)
    logs = (one(waveform).log() + other(own).log()) / 2
    torch.testing.assert_close(both(waveform), logs.softmax(dim=1))


def test_each_member_decides_on_the_whole_before_they_are_averaged() -> None:
    """A window of which one of them is sure does not decide alone."""
    members = [made(1), made(2)]
    tones = sounds(4)
    waveform = torch.cat([tones[0, :3000], tones[3, :3000]])[None]
    wholes = [one.window_probabilities(waveform).mean(dim=1).log() for one in members]
    found = Ensemble(members)(waveform)
    torch.testing.assert_close(found, ((wholes[0] + wholes[1]) / 2).softmax(dim=1))
    by_window = Ensemble(members).window_probabilities(waveform).mean(dim=1)
    assert (found - by_window).abs().max() > 0.01


def test_windows_of_members_with_fewer_are_interpolated_in_time() -> None:
    one, other = made(1), made(2, seconds=1.0)
    both, log_mel = Ensemble([one, other]), one.log_mel(sounds())
    many = one.log_probabilities(one.window_logits(log_mel))
    few = other.log_probabilities(other.window_logits(log_mel))
    assert (many.shape[1], few.shape[1]) == (5, 2)
    found = both.window_logits(log_mel)
    for k in range(5):
        expected = many[:, k] + few[:, 0].lerp(few[:, 1], k / 4)
        torch.testing.assert_close(found[:, k], expected / 2)


def test_other_settings_of_a_front_end_are_another_one() -> None:
    assert isinstance(Ensemble([made(1), made(2)]).frontend, HanLogMel)
    differing = Ensemble([made(1), made(2, hop=40)])
    torch.testing.assert_close(differing.log_mel(sounds()), sounds())
    assert differing.analysis.n_fft == 256


def test_too_few_labels_in_common_are_refused() -> None:
    with pytest.raises(InputError, match="labels a, b, c; c, d; expected two or more in common"):
        Ensemble([made(1), made(2, labels="cd")])
    with pytest.raises(InputError, match="no network is given; expected one or more"):
        checkpoint.load(path=[])


# Dreams


class Noted(Transform):
    """Notes what it is asked to view."""

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        self.seen.append((tuple(log_mel.shape), tuple(keys.tolist())))
        return log_mel


@pytest.mark.parametrize("rate_hz", [4000, 3000])
@pytest.mark.parametrize("parametrization", [StftGain(), Waveform()])
def test_each_member_hears_the_dream(parametrization, rate_hz) -> None:
    members = [made(1), made(1, rate_hz=rate_hz)]
    settings = {"parametrization": parametrization, "step_size": 2.0, "steps": 30}
    dreams = dream(members, sounds(), "c", confidence=None, progress=False, **settings)
    assert dreams.waveform is not None
    for one in members:
        before, after = (
            one(resample(x, from_hz=4000, to_hz=one.sample_rate_hz))[:, 2]
            for x in (sounds(), dreams.waveform)
        )
        assert (after > before + 0.1).all()
    torch.testing.assert_close(  # the loop and the recognizer say the same
        dreams.after.probabilities,
        Ensemble(members).window_logits(Ensemble(members).log_mel(dreams.waveform)).softmax(-1)
        .mean(dim=1),
    )  # fmt: skip


def test_each_member_gets_random_views_of_its_own_log_mel() -> None:
    members, view = [made(1), made(2, hop=40)], Noted()
    settings = {"transform": view, "steps": 1, "parametrization": StftGain()}
    dream(members, sounds(), "c", confidence=None, progress=False, **settings)
    (first, keys), (second, other_keys) = view.seen[:2]
    assert (first, second) == ((2, 10, 120), (2, 10, 150))
    assert not {*keys} & {*other_keys}


def test_spectrograms_are_dreamed_where_the_front_ends_are_equal() -> None:
    dreams = dream([made(1), made(1)], sounds(), "c", progress=False, parametrization=LogMel())
    assert (dreams.after.probabilities[:, 2] > 0.9).all()
    with pytest.raises(InputError, match="LogMel dreams spectrograms, and these networks have sev"):
        dream([made(1), made(2, hop=40)], sounds(), "c", parametrization=LogMel())


def test_layers_of_several_networks_are_refused() -> None:
    both = Ensemble([made(1), made(2)])
    expected = r"layer 'layers.0' of several networks; expected a single one"
    with pytest.raises(InputError, match=expected), probing(both, layers=["layers.0"]):
        pass


def test_networks_that_are_no_recognizers_are_refused_among_several() -> None:
    with pytest.raises(InputError, match="model has a Net among several; expected recognizers"):
        dream([made(1), Net(10, 3)], sounds(), "c")


def test_nothing_is_left_in_the_members() -> None:
    members = [made(1), made(2).train()]
    dream(members, sounds(), "c", steps=2, parametrization=StftGain(), progress=False)
    assert [one.training for one in members] == [False, True]
    for one in members:
        assert all(w.requires_grad and w.grad is None for w in one.parameters())
        assert not any(module._forward_hooks for module in one.modules())


def test_several_checkpoints_are_one_recognizer() -> None:
    both = checkpoint.load(path=["robust", "second"], device="cpu")
    members = [load_recognizer(name) for name in ("robust", "second")]
    waveform = sounds(1, 22_050)
    logs = torch.stack([one(waveform).log() for one in members]).mean(dim=0)
    torch.testing.assert_close(both(waveform), logs.softmax(dim=1))
    assert both.where == "2 networks (geometric mean of probabilities), on cpu"
    assert checkpoint.load(path=["robust"]) is checkpoint.load(path="robust")

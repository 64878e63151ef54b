"""Dreaming from Python in a few lines."""

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

import irdream
from irdream import dream
from irdream.api import sound_settings
from irdream.audio import load_audio, write_wav
from irdream.cli.keys import CONF
from irdream.dreaming.ascent import Ascent, Octave
from irdream.dreaming.constraints import FrequencyBand
from irdream.dreaming.network_checks import Given
from irdream.dreaming.objectives import Diversity, Layer, LogProbability, Margin
from irdream.dreaming.optimizers import MarginStep, NormalizedAscent
from irdream.dreaming.parametrizations import Fourier, LogMel, Waveform
from irdream.dreaming.transforms import Jitter
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

RATE = 4000


class OnLogMels(nn.Module):
    """log-mels (batch, 12, frames) -> logits (batch, 5), with batch norm and dropout."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()
        )
        self.head = nn.Linear(6, classes)

    def forward(self, log_mel: Tensor) -> Tensor:
        return 5.0 * self.head(self.features(log_mel[:, None] / 4 + 1).mean(dim=(2, 3)))


class OnSound(nn.Module):
    """Waveforms (batch, samples) -> logits (batch, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 8, 65, stride=16)
        self.head = nn.Linear(8, 5)

    def forward(self, waveform: Tensor) -> Tensor:
        return 9.0 * self.head(self.filters(waveform[:, None]).abs().mean(dim=2))


@pytest.fixture
def on_log_mels() -> OnLogMels:
    torch.manual_seed(0)
    return OnLogMels()


@pytest.fixture
def on_sound() -> OnSound:
    torch.manual_seed(0)
    return OnSound()


@pytest.fixture
def frontend() -> HanLogMel:
    return HanLogMel(sample_rate_hz=RATE, n_fft=128, hop_samples=100, n_mels=12)


@pytest.fixture
def recognizer(frontend) -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(frontend=frontend, model=OnLogMels(11))


@pytest.fixture
def waveform() -> Tensor:
    return tones(5, 9000)


@pytest.fixture
def file(tmp_path) -> Path:
    write_wav(tmp_path / "my.wav", tones(1, 5000)[0], sample_rate_hz=RATE)
    return tmp_path / "my.wav"


def tones(items: int, samples: int = 3000) -> Tensor:
    hz = torch.linspace(200, 900, items)[:, None]
    noise = torch.randn(items, samples, generator=torch.Generator().manual_seed(1))
    return 0.4 * torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE) + 0.1 * noise


def log_mels(items: int = 3, frames: int = 20) -> Tensor:
    return torch.randn(items, 12, frames, generator=torch.Generator().manual_seed(2)) - 4


def rises(dreams) -> bool:
    curve = dreams.probability_curve
    return bool((curve.nan_to_num().amax(dim=0) > 1.02 * curve[0]).all())


QUICK = {"steps": 5, "confidence": None}
SPECTROGRAM = {"parametrization": LogMel(), "transform": None, "keep": "best"}


# What is dreamed --------------------------------------------------------------------------


def test_a_network_on_log_mels(on_log_mels) -> None:
    dreams = dream(on_log_mels, log_mels(), 3, step_size=1.0, **QUICK)

    assert rises(dreams)
    assert dreams.signal.shape == (3, 12, 20)
    assert dreams.waveform is None
    answer = on_log_mels.eval()(dreams.log_mel).softmax(dim=1)
    torch.testing.assert_close(dreams.after.probabilities, answer.detach())
    recognizer = Recognizer(
        frontend=Given(), model=on_log_mels, instruments=list("01234"), window_seconds=20
    )
    same = Ascent(
        parametrization=LogMel(), objective=LogProbability(), optimizer=NormalizedAscent(),
        step_size=1.0, **QUICK,
    ).run(recognizer, None, torch.tensor([3, 3, 3]), [0, 1, 2], log_mel=log_mels())  # fmt: skip
    assert torch.equal(dreams.signal, same.signal)


def test_a_network_on_waveforms(on_sound) -> None:
    dreams = dream(on_sound, tones(2), 3, step_size=2.0, **QUICK)

    assert rises(dreams)
    assert dreams.waveform is not None
    assert dreams.waveform.shape == dreams.log_mel.shape == (2, 3000)
    change = (dreams.waveform - tones(2)).square().mean(dim=1) / tones(2).square().mean(dim=1)
    assert (change.sqrt() <= 5 * 0.02 + 1e-6).all()
    answer = on_sound(dreams.waveform).softmax(dim=1)
    torch.testing.assert_close(dreams.after.probabilities, answer.detach())


def test_a_network_on_log_mels_with_a_front_end(on_log_mels, frontend) -> None:
    settings = {"step_size": 1.0, **SPECTROGRAM, **QUICK}
    dreams = dream(on_log_mels, tones(2), 3, frontend=frontend, **settings)
    assert rises(dreams)
    assert dreams.signal.shape == (2, 12, 30)

    sound = {"parametrization": Waveform(), "step_size": 2.0, "transform": None, "keep": "best"}
    dreams = dream(on_log_mels, tones(2), 3, frontend=frontend, **sound, **QUICK)
    assert rises(dreams)
    assert dreams.waveform is not None
    torch.testing.assert_close(dreams.log_mel, frontend(dreams.waveform))


def test_a_front_end_may_give_a_frame_more(on_log_mels, file) -> None:
    """As torch.stft does, and so torchaudio and librosa."""

    class Centered(nn.Module):
        sample_rate_hz, hop_samples = RATE, 500

        def forward(self, waveform: Tensor) -> Tensor:
            return torch.stft(waveform, 22, 500, return_complex=True, window=torch.ones(22)).abs()

    dreams = dream(
        on_log_mels, str(file), 3, frontend=Centered(), steps=2, parametrization=LogMel()
    )
    assert dreams.log_mel.shape == (1, 12, 11)
    found = dreams.recognizer.predict(str(file))["3"]
    assert found == pytest.approx(float(dreams.before.probabilities[0, 3]), abs=1e-5)


def test_log_mels_need_no_front_end(on_log_mels, frontend) -> None:
    dreams = dream(on_log_mels, log_mels(), 3, frontend=frontend, **QUICK)
    assert torch.equal(dreams.signal, dream(on_log_mels, log_mels(), 3, **QUICK).signal)


def test_a_single_waveform_is_one_item(on_sound) -> None:
    one = dream(on_sound, tones(1)[0], 3, **QUICK)
    assert torch.equal(one.signal, dream(on_sound, tones(1), 3, **QUICK).signal)


def test_a_recognizer_on_sounds_and_on_log_mels(recognizer, waveform) -> None:
    on_sounds = dream(recognizer, waveform, "flute", step_size=1.0, **SPECTROGRAM, **QUICK)
    assert rises(on_sounds)
    on_log_mels = dream(recognizer, recognizer.log_mel(waveform), ["flu"], step_size=1.0, **QUICK)
    assert torch.equal(on_sounds.signal, on_log_mels.signal)


def test_a_recognizer_whose_weights_are_in_double_precision(recognizer, waveform) -> None:
    expected = dream(recognizer, waveform[:1], "flu", **QUICK)
    recognizer.model.double()
    dreams = dream(recognizer, waveform[:1], "flu", **QUICK)
    torch.testing.assert_close(dreams.sound(), expected.sound(), atol=1e-2, rtol=0)


def test_torchs_default_type_may_be_another(recognizer, waveform) -> None:
    expected = dream(recognizer, waveform[:1], "flu", **QUICK)
    torch.set_default_dtype(torch.float64)
    try:
        dreams = dream(recognizer, waveform[:1], "flu", **QUICK)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(dreams.probability_curve, expected.probability_curve)


def test_by_default_a_sound_is_dreamed_as_the_command_line_does(recognizer, waveform) -> None:
    dreams = dream(recognizer, waveform[:2], "flute", steps=3)
    ascent = Ascent(
        objective=LogProbability(), optimizer=NormalizedAscent(), **{**sound_settings(), "steps": 3}
    )
    same = ascent.run(recognizer, waveform[:2], torch.tensor([2, 2]), [0, 1])
    assert dreams.waveform is not None
    torch.testing.assert_close(dreams.waveform, same.waveform, rtol=0, atol=0)
    assert dreams.steps.tolist() == [3, 3]

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["task=dream"])
    typed = instantiate(config.task.ascent, step_size=config.dream.step_size, _convert_="all")
    of_python = Ascent(objective=LogProbability(), optimizer=NormalizedAscent(), **sound_settings())
    assert contents(typed) == contents(of_python)


def contents(thing: Any) -> Any:
    """Return what an object was made with, so that two can be compared."""
    if isinstance(thing, list | tuple):
        return [contents(part) for part in thing]
    if not hasattr(thing, "__dict__"):
        return thing
    return type(thing).__name__, {name: contents(part) for name, part in vars(thing).items()}


def test_the_shipped_recognizer_and_a_sound_file(file) -> None:
    dreams = dream("shipped", file, ["flute", "sax"], steps=2, step_size=0.5, **SPECTROGRAM)

    sound = load_audio(file, sample_rate_hz=22_050)
    assert dreams.signal.shape == (2, 128, len(sound) // 512)
    targets = torch.tensor([2, 7])
    assert (dreams.after.of_target(targets) > 2 * dreams.before.of_target(targets)).all()


def test_a_sound_file_is_read_at_the_rate_of_what_hears_it(
    on_sound, on_log_mels, frontend, file
) -> None:
    path = str(file)
    assert dream(on_sound, path, 1, steps=1).signal.shape == (1, 27_563)  # at 22,050 Hz
    assert dream(on_sound, path, 1, steps=1, sample_rate_hz=RATE).signal.shape == (1, 5000)
    dreams = dream(on_log_mels, path, 1, frontend=frontend, steps=1, **SPECTROGRAM)
    assert dreams.signal.shape == (1, 12, 50)


def test_an_axis_of_one_channel_is_left_out(on_sound, on_log_mels) -> None:
    for network, start in ((on_sound, tones(2)), (on_log_mels, log_mels(2))):
        dreams = dream(network, start[:, None], 3, **QUICK)
        assert torch.equal(dreams.signal, dream(network, start, 3, **QUICK).signal)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.float64, torch.float16])
def test_a_start_of_another_type_is_heard_in_the_networks(on_log_mels, kind) -> None:
    is_torch = isinstance(kind, torch.dtype)
    start: Any = log_mels().to(kind) if is_torch else log_mels().numpy().astype(kind)
    dreams = dream(on_log_mels, start, 1, **QUICK)
    expected = dream(on_log_mels, torch.as_tensor(start).float(), 1, **QUICK)

    assert dreams.signal.dtype == torch.float32
    assert torch.equal(dreams.signal, expected.signal)
    doubled = dream(on_log_mels.double(), start, 1, **QUICK)
    assert doubled.signal.dtype == torch.float64


def test_the_start_is_not_changed(on_log_mels) -> None:
    start = log_mels().requires_grad_()
    dreams = dream(on_log_mels, start, 1, step_size=3.0, **QUICK)
    assert torch.equal(start, log_mels())
    assert start.grad is None
    assert not dreams.signal.requires_grad


# Targets ----------------------------------------------------------------------------------


def test_a_single_start_is_dreamed_toward_several_targets(on_log_mels) -> None:
    together = dream(on_log_mels, log_mels(1), range(5), step_size=1.0, **QUICK)

    assert together.signal.shape == (5, 12, 20)
    assert rises(together)
    for target in (0, 4):
        alone = dream(on_log_mels, log_mels(1), target, step_size=1.0, **QUICK)
        torch.testing.assert_close(alone.signal[0], together.signal[target], atol=1e-5, rtol=0)


NUMBERS = [3, "3", np.int64(3), torch.tensor(3), torch.tensor([3, 3]), np.array([3, 3]), (3,)]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        *((number, None) for number in NUMBERS),
        *((target, ["a", "b", "c", "kazoo", "e"]) for target in (3, "kazoo", [3, "kazoo"])),
        ("kazoo", dict(enumerate(["a", "b", "c", "kazoo", "e"]))),
        ("kazoo", np.array(["a", "b", "c", "kazoo", "e"])),
        # a number is a number, also where labels are numbers
        *((target, ["9", "3", "7", "1", "0"]) for target in (3, "1")),
    ],
)
def test_a_target_is_a_number_or_a_label(on_log_mels, target, labels) -> None:
    dreams = dream(on_log_mels, log_mels(2), target, labels=labels, step_size=1.0, **QUICK)
    expected = dream(on_log_mels, log_mels(2), 3, step_size=1.0, **QUICK)
    assert torch.equal(dreams.signal, expected.signal)


def test_outputs_become_probabilities_as_the_network_says(on_log_mels) -> None:
    softmax = dream(on_log_mels, log_mels(2), 1, **QUICK)
    sigmoid = dream(on_log_mels, log_mels(2), 1, output="sigmoid", **QUICK)
    on_log_mels.output = "sigmoid"
    by_itself = dream(on_log_mels, log_mels(2), 1, **QUICK)

    logits = on_log_mels.eval()(log_mels(2)).detach()
    torch.testing.assert_close(softmax.before.scores, logits.softmax(dim=1))
    torch.testing.assert_close(sigmoid.before.scores, logits.sigmoid())
    assert torch.equal(by_itself.signal, sigmoid.signal)
    assert not torch.equal(softmax.signal, sigmoid.signal)


# Windows ----------------------------------------------------------------------------------


def test_a_network_can_see_windows_of_a_long_start(on_log_mels) -> None:
    dreams = dream(on_log_mels, log_mels(2, 50), 3, window_frames=20, step_size=1.0, **QUICK)

    windows = [dreams.log_mel[..., first : first + 20] for first in (0, 10, 20, 30)]
    heard = torch.stack([on_log_mels.eval()(x).softmax(dim=1)[:, 3] for x in windows], dim=1)
    torch.testing.assert_close(dreams.after.windows, heard.detach())
    torch.testing.assert_close(dreams.after.of_target(torch.tensor([3, 3])), heard.mean(1).detach())


def test_windows_of_a_waveform_are_in_samples(on_sound) -> None:
    dreams = dream(on_sound, tones(1), 3, window_frames=1000, steps=1)
    assert dreams.after.windows.shape == (1, 5)


# Settings ---------------------------------------------------------------------------------


def test_all_settings_of_the_loop_can_be_given(on_log_mels) -> None:
    dreams = dream(
        on_log_mels, log_mels(), 3, parametrization=Fourier(of=LogMel()), objective=Margin(),
        optimizer=MarginStep(), octaves=2, transform=Jitter(frames=2), confidence=0.9, steps=8,
        step_size=2.0, patience=2,
    )  # fmt: skip
    assert rises(dreams)
    assert len(dreams.probability_curve) <= 17


def test_the_settings_are_those_of_an_ascent() -> None:
    named = {name: one.default for name, one in inspect.signature(dream).parameters.items()}
    for field in fields(Ascent):
        default = named[field.name]
        assert default in (None, "default") or default == field.default
    given = {"steps": 2, "transform": None, "confidence": None, "keep": "last", "patience": 4}
    ascent = dream(OnLogMels(), log_mels(), 0, **given).ascent
    assert {name: getattr(ascent, name) for name in given} == given


@pytest.mark.parametrize("make", [list, np.array, torch.tensor])
def test_each_item_can_have_a_step_size(on_log_mels, make) -> None:
    sizes = make([1, 2.0, 4])
    dreams = dream(on_log_mels, log_mels(), 3, step_sizes=sizes, steps=1, confidence=None)
    change = (dreams.signal - log_mels()).square().mean(dim=(1, 2)).sqrt()
    torch.testing.assert_close(change / change[0], torch.tensor([1.0, 2.0, 4.0]))
    assert dreams.show(1).get_suptitle().startswith("start-1 toward 3")


def test_groups_can_be_asked_to_differ(on_log_mels) -> None:
    """Slices that are smaller than the batch do not split them."""
    start, groups = log_mels(1).expand(6, -1, -1), [7, 7, 7, 3, 3, 3]
    settings = {"groups": groups, "start_noise": 0.5, "step_size": 1.0, **QUICK}
    apart = LogProbability() + 300.0 * Diversity("features.2")

    @torch.no_grad()
    def alikeness(dreams) -> float:
        features = on_log_mels.eval().features[:3](dreams.log_mel[:, None] / 4 + 1).flatten(2)
        grams = nn.functional.normalize((features @ features.mT).flatten(1), dim=1)
        return float((grams[:3] @ grams[:3].T).mean() + (grams[3:] @ grams[3:].T).mean())

    different = dream(on_log_mels, start, 3, objective=apart, **settings)
    alike = dream(on_log_mels, start, 3, **settings)
    sliced = dream(on_log_mels, start, 3, objective=apart, slice_windows=1, **settings)
    assert alikeness(different) < alikeness(alike) - 1e-3
    torch.testing.assert_close(sliced.signal, different.signal, atol=1e-4, rtol=0)


def test_seeds_are_those_of_the_items(on_log_mels) -> None:
    settings = {"transform": Jitter(frames=5), "start_noise": 1.0, **QUICK}
    first = dream(on_log_mels, log_mels(), 3, **settings)
    seeds: tuple[Any, ...] = (np.int64(0), 1)
    same, other = (dream(on_log_mels, log_mels(), 3, seed=s, **settings).signal for s in seeds)
    assert torch.equal(first.signal, same)
    assert not torch.allclose(first.signal, other)
    fewer = dream(on_log_mels, log_mels()[:2], 3, **settings)
    torch.testing.assert_close(fewer.signal, first.signal[:2], atol=1e-4, rtol=0)


def test_octaves_are_told_once_each(on_log_mels, capsys) -> None:
    told: list[Octave] = []
    dream(on_log_mels, log_mels(), 3, octaves=3, on_octave=told.append, **QUICK)

    assert [octave.index for octave in told] == [2, 1, 0]
    assert all(octave.signal.shape == (3, 12, 20) for octave in told)
    assert capsys.readouterr() == ("", "")  # no bar where nobody watches


def test_the_network_can_be_asked_while_it_is_dreamed_on(on_log_mels) -> None:
    answers = []
    dream(
        on_log_mels, torch.randn(2, 12, 20) - 4, 3, objective=Layer("features.0"), steps=1,
        on_octave=lambda octave: answers.append(on_log_mels(octave.signal)), progress=False,
    )  # fmt: skip
    assert answers[0].shape == (2, 5)


def test_the_network_is_left_as_it_was(on_log_mels, frontend) -> None:
    on_log_mels.features[3].eval()
    on_log_mels.head.bias.requires_grad_(False)
    before = {k: v.clone() for k, v in on_log_mels.state_dict().items()}
    modes = [m.training for m in (*on_log_mels.modules(), *frontend.modules())]
    asked = [w.requires_grad for w in on_log_mels.parameters()]
    dream(on_log_mels, tones(2), 3, frontend=frontend, **QUICK)
    with pytest.raises(InputError):
        dream(on_log_mels, tones(2), 3, frontend=frontend, objective=Layer("no"))

    assert [m.training for m in (*on_log_mels.modules(), *frontend.modules())] == modes
    assert [w.requires_grad for w in on_log_mels.parameters()] == asked
    assert all(torch.equal(v, before[k]) for k, v in on_log_mels.state_dict().items())
    assert all(w.grad is None for w in on_log_mels.parameters())
    assert not any(m._forward_hooks for m in on_log_mels.modules())


# What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(1, 1, 2, 3, 4), r"start has shape \(1, 2, 3, 4\) and type torch.float32; exp"),
        (torch.zeros(1, 2, 3, 4), r"start has shape \(1, 2, 3, 4\) and type torch.float32; expe"),
        (torch.zeros(2, 12, 20, dtype=torch.int16), r"int16; expected floating point .* by 32768"),
        (torch.zeros(0, 12, 20), r"start has shape \(0, 12, 20\) and type torch.float32; expec"),
        (torch.tensor(1.0), r"start has shape \(\) and type torch.float32; expected floating p"),
        (
            np.zeros((9000, 2)),
            r"start has shape \(9000, 2\); expected \(items, samples\): start.T, or start.mean",
        ),
        (["a.wav", "b.wav"], r"start is a list of 2 paths; expected one sound file: call"),
        ((np.zeros(9000), 22_050), r"start cannot be read, a tuple .* or the path of a sound file"),
        (torch.full((2, 12, 20), torch.nan), r"start has values that are not finite; replace th"),
        ("nowhere.wav", r"no such file: 'nowhere.wav'|nowhere.wav"),
    ],
)
def test_a_start_that_is_none_is_refused(on_log_mels, start, message) -> None:
    with pytest.raises(InputError, match=message):
        dream(on_log_mels, start, 3)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, r"unknown target 5; expected a number from 0 to 4 or one of ape, bee, cat, dog, eel"),
        (-1, r"unknown target -1; expected a number from 0 to 4 or one of [^;]*$"),
        ("bees", r"unknown target 'bees'; expected .* eel; did you mean 'bee'\?"),
        (True, r"unknown target True; expected a number from 0 to 4 or one of ape, "),
        (1.5, r"unknown target 1.5; expected a number from 0 to 4 or one of ape, "),
        (None, r"unknown target None; expected a number from 0 to 4"),
        ([0, "fox"], r"unknown target 'fox'; expected a number from 0 to 4"),
        ([0, 1], r"2 targets for 3 starts; expected one target, one start, or as many of one as"),
        ([], r"0 targets for 3 starts; expected one target, one start, or as many"),
    ],
)
def test_a_target_that_is_none_is_refused(on_log_mels, target, message) -> None:
    with pytest.raises(InputError, match=message):
        dream(on_log_mels, log_mels(), target, labels=["ape", "bee", "cat", "dog", "eel"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"^steps=0; expected a whole number, at least 1"),
        ({"step_sizes": [1.0]}, r"step_sizes has 1 values; expected one for each of 3 items"),
        ({"step_sizes": 0.5}, r"step_sizes has no list of values; expected one for each of 3"),
        ({"step_sizes": [1, 0, 1]}, r"step_sizes=\[1, 0, 1\]; expected numbers above 0"),
        ({"seed": 1.5}, r"^seed=1.5; expected a whole number"),
        ({"groups": [1, 2, 3, 4]}, r"groups has 4 values; expected one for each of 3 items"),
        ({"groups": [1, 2, 1]}, r"items of one group do not stand side by side; sort them"),
        ({"labels": ["a", "b"]}, r"gave \(2, 5\) for windows \(2, 12, 20\); expected \(2, 2\): "),
        ({"labels": ["a", "a"]}, r"labels 'a', 'a'; expected two or more names, all different"),
        ({"output": "tanh"}, r"OnLogMels.output='tanh'; expected 'softmax' or 'sigmoid'"),
        ({"window_frames": 0}, r"^window_frames=0; expected a whole number, at least 1, or null"),
        ({"window_frames": 2.5}, r"^window_frames=2.5; expected a whole number, at least 1"),
        ({"window_frames": 30}, r"20 frames are too short; expected at least one window of 30"),
        ({"constraint": FrequencyBand(high_hz=200.0)}, r"Given has no mel_basis, which this const"),
        ({"optimizer": MarginStep}, r"optimizer=MarginStep is a class; expected MarginStep\("),
        ({"objective": Layer("head.0")}, r"unknown layer 'head.0' of OnLogMels; expected one of"),
    ],
)
def test_settings_that_do_not_fit_are_refused(on_log_mels, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        dream(on_log_mels, log_mels(), 0, **settings)


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        (nn.Identity(), 0, r"Identity gave \(2, 12, 20\) for windows \(2, 12, 20\); expected \(2"),
        ("nowhere", 0, r"no checkpoint at 'nowhere'"),
        ("shipped", "flut", r"unknown target 'flut'; .* cel \(cello\), .*mean 'flu"),
    ],
)
def test_a_model_or_an_instrument_that_is_none_is_refused(model, target, message) -> None:
    start = tones(1, 23_000) if model == "shipped" else log_mels()
    with pytest.raises(InputError, match=message):
        dream(model, start, target)


# The package ------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, irdream; from irdream import __version__\n"
        "print([name for name in ('torch', 'numpy', 'omegaconf') if name in sys.modules])\n"
        "print('dream' in irdream.__all__, hasattr(irdream, 'nothing'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "True False"], done.stderr


def test_the_package_gives_what_it_names() -> None:
    assert irdream.dream is dream
    assert irdream.InputError is InputError
    with pytest.raises(AttributeError, match=r"module 'irdream' has no attribute 'dreem'"):
        irdream.dreem  # noqa: B018


def test_a_network_on_waveforms_is_not_dreamed_as_a_spectrogram() -> None:
    network = nn.Sequential(nn.Linear(400, 3))
    with pytest.raises(InputError, match=r"LogMel dreams spectrograms, and this network takes wav"):
        dream(network, torch.randn(2, 400), 1, parametrization=LogMel(), progress=False)


def test_a_window_of_one_frame_is_a_window() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    dreams = dream(network, torch.randn(1, 8, 5), 1, window_frames=1, steps=2, progress=False)
    assert dreams.after.windows.shape == (1, 5)


@pytest.mark.parametrize("given", [{"labels": ["a"] * 11}, {"window_frames": 3}])
def test_what_a_recognizer_has_is_not_given_again(recognizer, given) -> None:
    with pytest.raises(InputError, match=r"window_frames belong to the recognizer; expected none"):
        dream(recognizer, torch.randn(1, 8000), 1, progress=False, **given)

"""What `dream` returns: sounds, files, figures, words, a notebook's cell."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor, nn

from irdream import dream
from irdream.audio import load_audio, write_wav
from irdream.datasets.starts import FileStart
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import Layer, LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import Fourier, LogMel, Waveform
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim, StftGain
from irdream.tasks.dream import dream as task
from irdream.tracking import NullTracker

RATE = 4000
PAPER: dict[str, Any] = {
    "parametrization": LogMel(), "transform": None, "keep": "best", "steps": 3, "step_size": 2.0,
    "confidence": None, "progress": False,
}  # fmt: skip


class Net(nn.Module):
    """log-mels (batch, 12, frames) -> logits (batch, 3), with dropout that eval mode turns off."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(6, 3)

    def forward(self, log_mel: Tensor) -> Tensor:
        return 5.0 * self.head(self.features(log_mel[:, None] / 4 + 1).mean(dim=(2, 3)))


def made(seed: int = 0) -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=RATE, n_fft=128, hop_samples=100, n_mels=12)
    return Recognizer(frontend=frontend, model=Net(seed), instruments=["hat", "kick", "snare"])


def tones(items: int, samples: int = 5050) -> Tensor:
    hz = torch.linspace(200, 900, items)[:, None]
    noise = torch.randn(items, samples, generator=torch.Generator().manual_seed(1))
    return 0.4 * torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE) + 0.1 * noise


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_wav(tmp_path / "my.wav", tones(1)[0], sample_rate_hz=RATE)
    return tmp_path / "my.wav"


def test_a_dream_of_sound_is_its_sound() -> None:
    dreams = dream(made(), tones(2), "kick", steps=2, progress=False)
    assert dreams.waveform is not None
    assert torch.equal(dreams.sound(), dreams.waveform)


def test_a_dreamed_spectrogram_becomes_sound() -> None:
    recognizer, sound = made(), tones(2)
    dreams = dream(recognizer, sound, "kick", **PAPER)
    expected = StftGain()(
        dream=dreams.log_mel, original=recognizer.log_mel(sound), waveform=sound,
        frontend=recognizer.frontend,
    )  # fmt: skip
    torch.testing.assert_close(dreams.sound(), expected, rtol=0, atol=0)
    assert dreams.sound().shape == sound.shape

    log_mel = recognizer.log_mel(sound)
    alone = dream(recognizer, log_mel, "kick", **PAPER)
    silence = torch.zeros(2, 5000)
    about: Any = {"waveform": silence, "frontend": recognizer.frontend}
    expected = GriffinLim()(dream=alone.log_mel, original=log_mel, **about)
    torch.testing.assert_close(alone.sound(), expected, rtol=0, atol=0)


def test_spectrograms_of_nobody_knows_what_have_a_picture_and_no_sound(tmp_path: Path) -> None:
    dreams = dream(Net(), torch.randn(1, 12, 20) - 4, 1, step_size=1.0, steps=2, progress=False)
    with pytest.raises(InputError, match=r"spectrograms of Given, which cannot become sound; exp"):
        dreams.sound()
    with pytest.raises(InputError, match=r"cannot become sound"):
        dreams.save(tmp_path)
    with pytest.raises(InputError, match=r"^the network was given log-mels, and how .* frontend="):
        dreams.recognizer.predict(torch.zeros(100))
    assert dreams._repr_html_() is None
    axes = {ax.get_title(): ax for ax in dreams.show().axes}
    assert axes["dream"].get_xlabel() == "frame"
    assert axes["original"].get_ylabel() == "band"


@pytest.mark.filterwarnings("ignore:spectrograms from")
@pytest.mark.parametrize("wrapped", [None, Fourier(of=LogMel(range_db=None))])
def test_magnitudes_are_not_made_sound_as_if_they_were_logarithms(wrapped) -> None:
    class Magnitudes(HanLogMel):
        def forward(self, waveform: Tensor) -> Tensor:
            return super().forward(waveform).exp()

    frontend = Magnitudes(sample_rate_hz=RATE, n_fft=128, hop_samples=100, n_mels=12)
    how: Any = {"parametrization": wrapped, "steps": 2, "progress": False}
    dreams = dream(Net(), tones(1), 1, frontend=frontend, **how)
    with pytest.raises(InputError, match=r"of Magnitudes, which cannot .* natural log of magnitud"):
        dreams.sound()


def test_files_are_those_of_the_command_line(file: Path, tmp_path: Path) -> None:
    recognizer, judge = made().eval(), made(seed=1).eval()
    write_wav(file, tones(2, 20_000), sample_rate_hz=4 * RATE)  # in two channels
    table = dream(recognizer, file, "kick", judge=judge, **PAPER).save(tmp_path / "python")

    kept = {name: value for name, value in PAPER.items() if name != "progress"}
    task(
        recognizer=recognizer, start=FileStart(path=file), target="kick", judge=judge,
        ascent=Ascent(objective=LogProbability(), optimizer=NormalizedAscent(), **kept),
        tracker=NullTracker(), output_dir=tmp_path / "typed",
    )  # fmt: skip
    typed = [path.relative_to(tmp_path / "typed") for path in (tmp_path / "typed").rglob("*")]
    assert sorted(path for path in typed if path.parts[0] != "steps") == sorted(
        path.relative_to(tmp_path / "python") for path in (tmp_path / "python").rglob("*")
    )
    assert soundfile.info(tmp_path / "python" / "sounds" / "my-to-kick-dream.wav").channels == 2
    same = "dreams.csv", "probabilities.csv", "curves.csv", "sounds/my-to-kick-dream.wav"
    for name in same:
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "typed" / name).read_bytes()
    assert 0 < table["judge_probability"].tolist()[0] < 1
    assert len(pd.read_csv(tmp_path / "python" / "dreams.csv")) == len(table) == 1


def test_what_was_saved_is_what_was_dreamed(file: Path, tmp_path: Path) -> None:
    recognizer = made().train()  # whose dropout must not be heard
    dreams = dream(recognizer, file, ["kick", "snare", "kick"], **PAPER)
    table = dreams.save(tmp_path / "out", figures=1)
    assert table["file"].tolist() == [
        "my-to-kick-variation-0", "my-to-snare-variation-0", "my-to-kick-variation-1",
    ]  # fmt: skip
    assert len(list((tmp_path / "out" / "spectrograms").iterdir())) == 1
    path = tmp_path / "out" / "sounds" / "my-to-snare-variation-0-dream.wav"
    sound, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE
    peak = float(dreams.sound()[1].abs().max())  # beyond full scale, and so the WAV is scaled
    np.testing.assert_allclose(sound * peak / 0.99, dreams.sound()[1], rtol=0, atol=2e-4)
    assert recognizer.training
    of_wav = recognizer.predict(path)["snare"]
    assert table["target_probability_wav"].tolist()[1] == pytest.approx(of_wav, abs=1e-5)


def test_the_judge_answers_before_and_after(file: Path, tmp_path: Path, capsys) -> None:
    judge = made(seed=1)
    dreams = dream(made(), file, "kick", judge=judge, **PAPER)
    assert dreams.judge_before is not None
    assert dreams.judge_after is not None
    table = dreams.save(tmp_path)
    after = float(dreams.judge_after.probabilities[0, 1])
    assert after == pytest.approx(table["judge_probability"][0])
    expected = judge.predict(load_audio(file, sample_rate_hz=RATE))["kick"]
    before = float(dreams.judge_before.probabilities[0, 1])
    assert before == pytest.approx(expected, abs=1e-4)
    assert f"judge {before:.2f} → {after:.2f}" in repr(dreams)
    assert judge.training

    recognizer = made()
    alone = dream(recognizer, file, "kick", judge=recognizer, **PAPER)
    assert alone.judge_before is alone.judge_after is None
    assert "judge: none, since it is one of the recognizers" in capsys.readouterr().out
    judge.window_seconds = 60.0
    assert dream(made(), file, "kick", judge=judge, **PAPER).judge is None
    assert "judge: none, since its window is 60 s and a sound has" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"judge is a Net; expected a checkpoint or a recognizer"):
        dream(made(), file, "kick", judge=Net(), **PAPER)
    with pytest.raises(InputError, match=r"no checkpoint at 'nobody'"):
        dream(made(), file, "kick", judge="nobody", **PAPER)


def test_a_repr_says_what_came_of_it(file: Path) -> None:
    dreams = dream(made(), file, ["kick", "snare"], **PAPER)
    for i, (line, name) in enumerate(
        zip(repr(dreams).splitlines(), ["kick", "snare"], strict=True)
    ):
        target = made().instruments.index(name)
        before, after = (x.probabilities[i, target] for x in (dreams.before, dreams.after))
        assert line == f"my toward {name}: {before:.2f} → {after:.2f}, {dreams.steps[i]} steps"
    many = dream(made(), tones(10), "kick", **PAPER)
    assert repr(many).splitlines()[0].startswith("start-0 toward kick: ")
    assert repr(many).splitlines()[8:] == ["... and 2 more dreams"]
    layer = dream(made(), file, 0, objective=Layer("features.0"), **PAPER)
    assert re.fullmatch(r"my: objective [\d.]+ → [\d.]+, \d steps?", repr(layer))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_writes_its_files(kind, tmp_path: Path) -> None:
    dreams = dream(made().to(kind), tones(1), "kick", steps=1, progress=False)
    assert not dreams.save(tmp_path)["target_probability_wav"].hasnans
    shares = dreams.recognizer.predict(tones(1)[0])
    assert sum(shares.values()) == pytest.approx(1, abs=1e-6)


def test_inside_autocast_dreams_are_in_single_precision_and_write_their_files(tmp_path) -> None:
    expected = dream(made(), tones(1), "kick", steps=1, progress=False)
    with torch.autocast("cpu"):
        dreams = dream(made(), tones(1), "kick", steps=1, progress=False)
        assert not dreams.save(tmp_path)["target_probability_wav"].hasnans
    assert dreams.log_mel.dtype == torch.float32
    before = expected.before.probabilities
    torch.testing.assert_close(dreams.before.probabilities, before, atol=0.02, rtol=0)


def test_results_are_told_apart_and_can_be_keys() -> None:
    one, other = (dream(made(), tones(2), "kick", steps=1, progress=False) for _ in range(2))
    assert other in {one: 1, other: 2}
    assert [one, other].index(other) == 1


def test_a_notebook_shows_pictures_and_plays_sounds() -> None:
    dreams = dream(made(), tones(6), "kick", parametrization=Waveform(), steps=1, progress=False)
    html = dreams._repr_html_()
    assert html is not None
    assert html.count('src="data:image/png;base64,') == 4
    assert html.count('src="data:audio/flac;base64,') == 12
    assert "... and 2 more dreams" in html
    assert repr(dreams).splitlines()[0] in html
    figure = dreams.show(5)
    assert figure.get_suptitle() == repr(dreams).splitlines()[5]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_neither_hydra_nor_mlflow_is_imported(file: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from irdream import dream\n"
        f"dreams = dream('shipped', {str(file)!r}, 'flute', steps=1, judge='second')\n"
        f"dreams.save({str(tmp_path / 'out')!r}); dreams.show(); dreams._repr_html_()\n"
        "print([m for m in ('hydra', 'omegaconf', 'mlflow', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr

"""Dream one cello toward a flute in six ways and show them side by side.

    python examples/six_dreams.py

The excerpt is the embedded test set's `cel-0007`, rendered music, as in the README. Written are
docs/engine.png and docs/engine/*.ogg, all sounds on one scale. A dream that is no sound yet
becomes one by a gain on the original's spectrum. What the recognizer says of a dream's sound is
what it says of a 16-bit WAV that was written and read back; the ogg files are compressed copies
for the page. Takes about 15 s on one core; prints the table of docs/engine.md.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from irdream import dream
from irdream.audio import write_wav
from irdream.checkpoint_folder import load_recognizer
from irdream.datasets.soundfont import SoundFont
from irdream.datasets.starts import ExcerptStart
from irdream.dreaming.constraints import MaskingProjection
from irdream.dreaming.optimizers import LeastChange
from irdream.dreaming.parametrizations import Fourier, LogMel, StftGain, Waveform
from irdream.dreaming.transforms import with_jitter
from irdream.files import replacing
from irdream.measures import dreams as measures
from irdream.measures.dreams import snr_db
from irdream.recognizer import Recognizer
from irdream.reports.dreams import predict_file
from irdream.reports.figures import BLUE, GRAY, ORANGE, save_figure

ROOT = Path(__file__).parents[1]
TARGET = "flu"
PEAK = 0.99  # of the loudest of the sounds
RANGE_DB, DIFFERENCE_DB = 80.0, 20.0  # what the colors show
TICKS_HZ = (100, 500, 1000, 3000, 8000)
LETTERS = "ABCDEF"
# A color is 2 dB of level or 1 dB of change, which also keeps the picture's file small.
LEVEL = {"cmap": colormaps["magma"].resampled(40), "vmin": -RANGE_DB, "vmax": 0.0}
CHANGE = {
    "cmap": colormaps["RdBu_r"].resampled(41),
    "vmin": -DIFFERENCE_DB,
    "vmax": DIFFERENCE_DB,
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to dream: what it is called, what is typed for it, and the same for `dream`."""

    title: str
    typed: str
    settings: dict[str, Any]


PAPER: dict[str, Any] = {  # the rest, as experiment=paper_dream has it
    "parametrization": LogMel(), "transform": None, "step_size": 0.25, "steps": 100,
    "confidence": 0.9, "keep": "best",
}  # fmt: skip
WAYS = {
    "fixed-steps": Way(
        title="log_mel, steps of 0.25 dB",
        typed="parametrization=log_mel dream.step_size=0.25",
        settings={"parametrization": LogMel(), "step_size": 0.25},
    ),
    "least-change": Way(
        title="log_mel, least_change",
        typed="optimizer=least_change dream.step_size=0.5",
        settings={"optimizer": LeastChange(), "step_size": 0.5, "patience": 3},
    ),
    "octaves": Way(
        title="log_mel, 3 octaves, jitter",
        typed="dream.octaves=3 dream.jitter_frames=8",
        settings={"octaves": 3, "transform": with_jitter(None, 8)},
    ),
    "fourier": Way(
        title="fourier",
        typed="parametrization=fourier",
        settings={"parametrization": Fourier(of=LogMel(), decay=(0.5, 0.5))},
    ),
    "masked-gain": Way(
        title="stft_gain, masking",
        typed="parametrization=stft_gain parametrization.keep_peak=false constraint=masking",
        settings={"parametrization": StftGain(), "constraint": MaskingProjection()},
    ),
    "waveform": Way(
        title="waveform",
        typed="parametrization=waveform dream.steps=200",
        settings={"parametrization": Waveform(), "steps": 200},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Dreamed:
    """One dream, with its log-mel (n_mels, frames) in dB, its sound (samples,) and measures."""

    name: str
    way: Way
    log_mel_db: np.ndarray
    sound: Tensor
    probability: float
    rmse_db: float
    snr_db: float
    steps: int


def main(folder: Path = ROOT / "docs", waveform: Tensor | None = None) -> list[Dreamed]:
    """Dream in all ways; write the picture and the sounds; return the dreams.

    Args:
        folder: gets engine.png and engine/*.ogg.
        waveform: (samples,) at 22,050 Hz; None: the excerpt of the README.
    """
    recognizer = load_recognizer("shipped")
    waveform = cello(recognizer) if waveform is None else waveform
    dreamed = [dream_one(recognizer, waveform, name) for name in WAYS]
    sounds = {"original": waveform, **{one.name: one.sound for one in dreamed}}
    scale = PEAK / max(float(sound.abs().max()) for sound in sounds.values())
    sounds = {name: sound * scale for name, sound in sounds.items()}
    on_wav = {name: hear_as_wav(recognizer, sound) for name, sound in sounds.items()}

    (folder / "engine").mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        write_ogg(folder / "engine" / f"{name}.ogg", sound, recognizer.sample_rate_hz)
    log_mel_db = recognizer.log_mel(waveform[None])[0].numpy() * measures.DB_PER_NATURAL
    save_figure(draw(recognizer, log_mel_db, dreamed, on_wav), folder / "engine.png")
    print(table(dreamed, on_wav))
    return dreamed


def cello(recognizer: Recognizer) -> Tensor:
    """Return the first three seconds of the embedded test set's first cello, (samples,)."""
    start = ExcerptStart(dataset=SoundFont(root=ROOT / "data" / "soundfont"), count=1)
    excerpts, _ = start.excerpts(sample_rate_hz=recognizer.sample_rate_hz, min_seconds=1.0)
    return excerpts[0].waveform


def dream_one(recognizer: Recognizer, waveform: Tensor, name: str) -> Dreamed:
    """Dream a waveform (samples,) in one of the ways."""
    original = recognizer.log_mel(waveform[None])
    dreams = dream(recognizer, waveform, TARGET, **PAPER | WAYS[name].settings)
    sound = dreams.sound()
    place = recognizer.instruments.index(TARGET)
    return Dreamed(
        name=name,
        way=WAYS[name],
        log_mel_db=dreams.log_mel[0].numpy() * measures.DB_PER_NATURAL,
        sound=sound[0],
        probability=float(dreams.after.probabilities[0, place]),
        rmse_db=float(measures.rmse_db(original, dreams.log_mel)[0]),
        snr_db=float(snr_db(waveform[None], sound)[0]),
        steps=int(dreams.steps[0]),
    )


def hear_as_wav(recognizer: Recognizer, sound: Tensor) -> float:
    """Return the target's probability in a 16-bit WAV of (samples,)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dream.wav"
        write_wav(path, sound, sample_rate_hz=recognizer.sample_rate_hz)
        answer = predict_file(path, TARGET, recognizer)
    return float(answer.probabilities[0, recognizer.instruments.index(TARGET)])


def write_ogg(path: Path, sound: Tensor, sample_rate_hz: int) -> None:
    """Write (samples,) as mono Ogg Vorbis of the best quality, whole or not at all."""
    encoded = io.BytesIO()
    coding = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.0}
    soundfile.write(encoded, sound.numpy(), sample_rate_hz, **coding)
    with replacing(path) as file:
        file.write(encoded.getbuffer())


def table(dreamed: Sequence[Dreamed], on_wav: Mapping[str, float]) -> str:
    """Return the dreams as a table in Markdown."""
    head = "| | typed | flute, spectrogram | flute, WAV | RMSE | SNR | steps |\n"
    rows = [
        f"| {letter} [{one.name}](engine/{one.name}.ogg) | `{one.way.typed}` "
        f"| {one.probability:.2f} | {on_wav[one.name]:.2f} | {one.rmse_db:.1f} dB "
        f"| {one.snr_db:.1f} dB | {one.steps} |"
        for letter, one in zip(LETTERS, dreamed, strict=True)
    ]
    return head + "| --- " * 7 + "|\n" + "\n".join(rows)


# The picture -------------------------------------------------------------------------------


def draw(
    recognizer: Recognizer,
    original_db: np.ndarray,
    dreamed: Sequence[Dreamed],
    on_wav: Mapping[str, float],
) -> Figure:
    """Draw the original, the dreams, three in a row, and below each its difference.

    Args:
        recognizer: knows what the axes of a log-mel are.
        original_db: (n_mels, frames).
        dreamed: six dreams.
        on_wav: the target's probability in the WAVs, by name, "original" among them.
    """
    peak = float(original_db.max())
    figure = Figure(figsize=(10, 9), layout="constrained")
    halves = figure.subfigures(2, 1, squeeze=False, hspace=0.03)[:, 0]
    for half, three in zip(halves, (slice(0, 3), slice(3, 6)), strict=True):
        axes = half.subplots(2, 4)
        level = _spectrogram(axes[0, 0], original_db - peak, recognizer, LEVEL)
        _name(axes[0, 0], "the original, a cello", f"flute {on_wav['original']:.2f}")
        axes[0, 0].set_ylabel("frequency (Hz)", fontsize=9, labelpad=1)
        axes[0, 0].set_xlabel("time (s)", fontsize=9)
        change = level
        for one, letter, column in zip(dreamed[three], LETTERS[three], axes.T[1:], strict=True):
            level = _spectrogram(column[0], one.log_mel_db - peak, recognizer, LEVEL)
            change = _spectrogram(column[1], one.log_mel_db - original_db, recognizer, CHANGE)
            heard = f"flute {one.probability:.2f}, as WAV {on_wav[one.name]:.2f}"
            _name(column[0], f"{letter}  {one.way.title}", heard)
            measured = f"RMSE {one.rmse_db:.1f} dB, SNR {one.snr_db:.1f} dB"
            column[1].set_title(measured, fontsize=9, pad=4)
            column[0].tick_params(labelleft=False, labelbottom=False)
            column[1].tick_params(labelleft=False)
            column[1].set_xlabel("time (s)", fontsize=9)
        _bar(half, level, axes[0, 3], "dB re loudest of original")
        _bar(half, change, axes[1, 3], "dream − original (dB)")
        summary = _probabilities if three.start == 0 else _ratios
        summary(axes[1, 0], dreamed, on_wav)
    return figure


def _spectrogram(
    ax: Axes, values_db: np.ndarray, recognizer: Recognizer, colors: dict[str, Any]
) -> AxesImage:
    n_mels, frames = values_db.shape
    seconds = frames * recognizer.hop_samples / recognizer.sample_rate_hz
    extent = (0.0, seconds, -0.5, n_mels - 0.5)
    image = ax.imshow(
        values_db, extent=extent, origin="lower", aspect="auto", interpolation="nearest", **colors
    )
    centers_hz = recognizer.centers_hz()
    assert centers_hz is not None  # of a checkpoint that comes along
    places = np.interp(TICKS_HZ, centers_hz.numpy(), np.arange(n_mels))
    ax.set_yticks(places, [str(hz) for hz in TICKS_HZ])
    ax.xaxis.set_major_locator(MultipleLocator(0.5 if seconds < 2 else 1.0))
    ax.tick_params(labelsize=8)
    return image


def _name(ax: Axes, title: str, heard: str) -> None:
    ax.set_title(title, fontsize=10, fontweight="bold", pad=17)
    ax.annotate(
        heard, (0.5, 1.0), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
        ha="center", fontsize=9,
    )  # fmt: skip


def _bar(figure: SubFigure, image: AxesImage, ax: Axes, label: str) -> None:
    bar = figure.colorbar(image, ax=ax, extend="both", pad=0.03, aspect=20)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _probabilities(ax: Axes, dreamed: Sequence[Dreamed], on_wav: Mapping[str, float]) -> None:
    places = _rows(ax, "probability of a flute")
    of_spectrogram, of_sound = (
        [one.probability for one in dreamed],
        [on_wav[one.name] for one in dreamed],
    )
    ax.hlines(places, of_sound, of_spectrogram, color=GRAY, linewidth=1.2, zorder=1)
    ax.plot(of_spectrogram, places, "o", color=ORANGE, markersize=7, label="spectrogram")
    look = {"color": "white", "markeredgecolor": "black", "markersize": 5}
    ax.plot(of_sound, places, "D", label="WAV", **look)
    ax.axvline(0.9, color="black", linewidth=0.9, linestyle="--", zorder=0)
    ax.set_xlim(0, 1.04)
    ax.legend(fontsize=8, frameon=False, loc="lower left", borderpad=0, handletextpad=0.1)


def _ratios(ax: Axes, dreamed: Sequence[Dreamed], on_wav: Mapping[str, float]) -> None:
    places = _rows(ax, "SNR of the sound (dB)")
    ax.barh(places, [one.snr_db for one in dreamed], color=BLUE, height=0.55)
    ax.axvline(0, color="black", linewidth=0.8)


def _rows(ax: Axes, label: str) -> np.ndarray:
    """Give an axis a row for each dream, the first on top, and return their places."""
    places = np.arange(len(LETTERS))[::-1]
    ax.set_yticks(places, list(LETTERS), fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlabel(label, fontsize=9)
    ax.grid(axis="x", color=GRAY, alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return places


if __name__ == "__main__":
    main()

"""A batch of dreams: its rows say what stands in its files and planes, and nothing else."""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from irdream.audio.masking import masking_violation
from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, LowResolution, StftGain, Waveform
from irdream.dreaming.targets import Item, item_seed
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.measures import sounds
from irdream.paper.controls import random_change
from irdream.paper.stages import Row, Stage
from irdream.paper.trial import KINDS, Trial, without_stop
from irdream.recognizer import Recognizer
from irdream.sonification import StftGain as Gain

RATE_HZ = 8000
DB = 20.0 / math.log(10.0)
BAR = 0.3  # in the place of 0.9, which dreams of this network hardly reach
SETTINGS: Any = {"n_fft": 256, "hop_samples": 200}
IDS = ["log_mel", "stft_gain", "waveform"]


def heard_by(my_package: ModuleType, seed: int) -> Recognizer:
    torch.manual_seed(seed)
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_mels=12, **SETTINGS)
    model = my_package.MyNet()
    with torch.no_grad():  # untrained, it would give every instrument 1 in 11
        model.layers[8].weight *= 30.0
    return Recognizer(frontend=frontend, model=model, window_seconds=0.5).eval()


@pytest.fixture
def recognizer(my_package: ModuleType) -> Recognizer:
    return heard_by(my_package, 0)


@pytest.fixture
def second(my_package: ModuleType) -> Recognizer:
    return heard_by(my_package, 1)


@pytest.fixture(autouse=True)
def _bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irdream.paper.trial.BAR", BAR)


def excerpts(samples: int = 5001) -> list[Excerpt]:
    """Return a tone with overtones and a noise; no dream of them comes near full scale."""
    time = torch.arange(samples) / RATE_HZ
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    tone = sum(0.03 / n * torch.sin(2 * math.pi * 220 * n * time) for n in range(1, 8))
    tone = tone + 0.0005 * noise[0]
    return [
        Excerpt(waveform=tone, labels=("vio", "gel"), name="tone", recording="A"),
        Excerpt(waveform=0.01 * noise[1], labels=(), name="noise"),
    ]


ITEMS = [Item(1, "gel"), Item(0, "vio"), Item(0, "gel")]  # the last is heard from the start


def ascent(parametrization: Any = None, **changes: Any) -> Ascent:
    settings: dict[str, Any] = {
        "parametrization": parametrization or LogMel(),
        "objective": LogProbability(),
        "optimizer": NormalizedAscent(),
        "step_size": 0.5 if isinstance(parametrization, Waveform) else 1.0,
        "steps": 4,
        "confidence": None,
    }
    return Ascent(**{**settings, **changes})


def flat(**given: Tensor) -> Tensor:
    """A way to sound that takes no notice of the dream."""
    return 0.5 * given["waveform"]


def trial(recognizer: Recognizer, parametrization: Any = None, **changes: Any) -> Trial:
    made = ascent(parametrization)
    is_sound = "sound" in made.parametrization.kinds
    settings: dict[str, Any] = {
        "recognizer": recognizer,
        "second": None,
        "ascent": made,
        "ways": {"sound": None} if is_sound else {"gain": Gain(), "flat": flat},
        "seed": 3,
    }
    return Trial(**{**settings, **changes})


def read(path: Path) -> Tensor:
    """Return the sound that stands in a WAV, full scale being 32767."""
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    return torch.from_numpy(pcm.astype(np.float64) / 32767)


def wav(folder: Path, row: Row, kind: str = "") -> Path:
    return folder / f"{row['file']}-{row['way']}-{kind or row['kind']}.wav"


def probabilities(recognizer: Recognizer, log_mel: Tensor) -> Tensor:
    """ReadLayers to a log-mel (n_mels, frames) window by window; the mean, (instruments,)."""
    frames, last = recognizer.window_frames, log_mel.shape[1] - recognizer.window_frames
    starts = sorted({*range(0, last + 1, frames // 2), last})
    with torch.no_grad():
        each = [recognizer.model(log_mel[None, :, s : s + frames]) for s in starts]
    return torch.cat(each).softmax(dim=1).mean(dim=0)


def rms_db(change: Tensor) -> float:
    return float((DB * change.double()).square().mean().sqrt())


# Rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [LogMel(), StftGain(), Waveform()], ids=IDS)
def test_a_row_for_each_way_kind_and_item(recognizer, changed) -> None:
    made = trial(recognizer, changed)
    rows = made(excerpts(), ITEMS).rows

    expected = [
        (way, kind, name, target)
        for way in made.ways
        for kind in KINDS
        for name, target in (("noise", "gel"), ("tone", "vio"), ("tone", "gel"))
    ]
    assert [(r["way"], r["kind"], r["excerpt"], r["target"]) for r in rows] == expected


def test_what_is_known_of_an_item(recognizer) -> None:
    stage = trial(recognizer)(excerpts(), ITEMS)
    about = ("recording", "labels", "toward", "file")
    assert [tuple(row[name] for name in about) for row in stage.rows[:3]] == [
        ("noise", "", "other", "noise-to-gel"),
        ("A", "vio gel", "own", "tone-to-vio"),
        ("A", "vio gel", "other", "tone-to-gel"),
    ]
    for row, item in zip(stage.rows, ITEMS * 6, strict=True):
        waveform = excerpts()[item.excerpt].waveform
        before = probabilities(recognizer, recognizer.log_mel(waveform[None])[0])
        target = recognizer.instruments.index(item.target)
        assert row["before"] == pytest.approx(float(before[target]), abs=1e-5)
        assert row["before_on_top"] is (int(before.argmax()) == target)


def control(made: Trial, stage: Stage, i: int) -> Tensor:
    """Return the log-mel of an item's random change, (n_mels, frames)."""
    item, planes = ITEMS[i], stage.planes
    waveform = excerpts()[item.excerpt].waveform[None]
    size_db = torch.tensor([rms_db(planes["dream"][i] - planes["original"][i])])
    seed = item_seed(made.seed, excerpts()[item.excerpt].name, item.target)
    changed = made.ascent.parametrization
    log_mel, _ = random_change(made.recognizer, changed, waveform, size_db, [seed])
    return log_mel[0]


@pytest.mark.parametrize("changed", [LogMel(), StftGain(), Waveform()], ids=IDS)
def test_measures_on_the_spectrogram_are_those_of_the_planes(recognizer, second, changed) -> None:
    made = trial(recognizer, changed, second=second)
    stage = made(excerpts(), ITEMS)

    for place, row in enumerate(stage.rows):
        i = place % len(ITEMS)
        original, target = stage.planes["original"][i], recognizer.instruments.index(row["target"])
        log_mel = {
            "dream": stage.planes["dream"][i],
            "undreamed": original,
            "random": control(made, stage, i),
        }[row["kind"]]
        change, loose = log_mel - original, 2e-3 if row["kind"] == "random" else 1e-5
        assert row["rmse_db"] == pytest.approx(rms_db(change), rel=loose, abs=1e-6)
        assert row["mse_db2"] == pytest.approx(rms_db(change) ** 2, rel=2 * loose, abs=1e-6)
        largest = float(change.abs().max() * DB)
        assert row["max_abs_db"] == pytest.approx(largest, rel=10 * loose, abs=1e-6)
        steps = [float(log_mel.diff(dim=axis).abs().mean()) for axis in (0, 1)]
        assert row["total_variation_db"] == pytest.approx(DB * sum(steps) / 2, rel=loose)
        for probe, prefix in ((recognizer, ""), (second, "transfer_")):
            answer = probabilities(probe, log_mel)
            assert_answer(row, prefix, answer, target)


def assert_answer(row: Row, prefix: str, answer: Tensor, target: int) -> None:
    probability = float(answer[target])
    assert row[f"{prefix}target_probability"] == pytest.approx(probability, abs=1e-4)
    assert row[f"{prefix}on_top"] is (int(answer.argmax()) == target)
    is_sure = int(answer.argmax()) == target and probability >= BAR
    assert abs(probability - BAR) > 1e-4, "the test cannot tell"
    assert row[f"{prefix}at_0.9"] is is_sure


@pytest.mark.parametrize("changed", [LogMel(), StftGain(), Waveform()], ids=IDS)
def test_measures_of_the_sound_are_those_of_the_files(
    recognizer, second, changed, tmp_path
) -> None:
    made = trial(recognizer, changed, second=second)
    stage = made(excerpts(), ITEMS, folder=tmp_path)

    assert len(list(tmp_path.iterdir())) == len(made.ways) * 4 * len(ITEMS)
    for place, row in enumerate(stage.rows):
        i = place % len(ITEMS)
        x = excerpts()[ITEMS[i].excerpt].waveform.double()
        y = read(wav(tmp_path, row))
        original = stage.planes["original"][i]
        log_mel = recognizer.log_mel(y[None].float())[0]
        if row["kind"] == "dream":
            kept = read(wav(tmp_path, row, "original"))
            assert float((kept - x).abs().max()) <= 0.501 / 32767  # nothing had to be scaled
            found = stage.planes[f"wav-{row['way']}"][i]
            torch.testing.assert_close(found, log_mel, rtol=1e-4, atol=1e-4)

        assert row["snr_db"] == pytest.approx(
            float(10 * torch.log10(x.square().sum() / (y - x).square().sum())), rel=1e-4
        )
        assert row["db_x"] == pytest.approx(
            float(20 * torch.log10((y - x).abs().max() / x.abs().max())), rel=1e-4
        )
        assert row["wav_rmse_db"] == pytest.approx(rms_db(log_mel - original), rel=1e-3)
        wanted = {
            "dream": stage.planes["dream"][i] - original,
            "undreamed": torch.zeros_like(original),
            "random": control(made, stage, i) - original,
        }[row["kind"]]
        if row["kind"] == "undreamed":
            assert math.isnan(row["realized_correlation"])
        else:
            pair = torch.stack([wanted.flatten(), (log_mel - original).flatten()]).double()
            expected = float(torch.corrcoef(pair)[0, 1])
            assert row["realized_correlation"] == pytest.approx(expected, abs=1e-3)
        assert_judged(row, x[None], y[None])

        heard = recognizer.log_mel((y / y.abs().max())[None].float())[0]  # its peak at 1
        target = recognizer.instruments.index(row["target"])
        assert_answer(row, "wav_", probabilities(recognizer, heard), target)
        assert_answer(row, "transfer_wav_", probabilities(second, heard), target)


def assert_judged(row: Row, x: Tensor, y: Tensor) -> None:
    """Compare what is defined elsewhere with a call for this sound alone."""
    violation = masking_violation(x, y, **SETTINGS, sample_rate_hz=RATE_HZ)
    expected = {
        "segmental_snr_db": sounds.segmental_snr_db(x, y, frame_samples=256, hop_samples=128),
        "log_spectral_distance_db": sounds.log_spectral_distance_db(x, y, **SETTINGS),
        "masking_excess_db": violation.excess_db,
        "noise_to_mask_db": violation.noise_to_mask_db,
        "flatness": sounds.spectral_flatness(y, **SETTINGS),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), rel=1e-3, abs=1e-4), name
    # Shares of bins and frames: one of them may lie at the limit.
    assert row["masking_violation"] == pytest.approx(float(violation.share), abs=2e-3)
    voiced = float(sounds.voiced_share(y, sample_rate_hz=RATE_HZ))
    assert row["voiced_share"] == pytest.approx(voiced, abs=0.011)


# Controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [StftGain(), Waveform()], ids=IDS[1:])
def test_undreamed_sound_is_the_original_within_16_bits(recognizer, changed, tmp_path) -> None:
    stage = trial(recognizer, changed)(excerpts(), ITEMS, folder=tmp_path)
    undreamed = [row for row in stage.rows if row["kind"] == "undreamed"]
    assert len(undreamed) == len(ITEMS)
    for row, item in zip(undreamed, ITEMS, strict=True):
        waveform = excerpts()[item.excerpt].waveform
        assert float((read(wav(tmp_path, row)) - waveform).abs().max()) <= 0.501 / 32767
        assert (row["rmse_db"], row["max_abs_db"]) == (0.0, 0.0)
        assert row["snr_db"] > 60
        assert row["masking_violation"] < 0.02


class Counted(Gain):
    """Remembers how many items it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __call__(self, **given: Any) -> Tensor:
        self.counts.append(len(given["dream"]))
        return super().__call__(**given)


def test_an_excerpt_is_sonified_undreamed_once(recognizer) -> None:
    counted, items = Counted(), [Item(1, "gel"), Item(0, "vio"), Item(1, "sax"), Item(0, "gel")]
    rows = trial(recognizer, ways={"gain": counted})(excerpts(), items).rows

    assert counted.counts == [4, 2, 4]
    undreamed = [row for row in rows if row["kind"] == "undreamed"]
    assert [row["excerpt"] for row in undreamed] == ["noise", "tone", "noise", "tone"]
    assert min(row["snr_db"] for row in undreamed) > 50
    assert undreamed[0]["snr_db"] == undreamed[2]["snr_db"] != undreamed[1]["snr_db"]


@pytest.mark.parametrize(
    "changed",
    [LogMel(), StftGain(), Waveform(), LowResolution(of=StftGain())],
    ids=[*IDS, "low_resolution"],
)
def test_the_random_change_is_as_large_as_the_dream(recognizer, changed) -> None:
    rows = trial(recognizer, changed)(excerpts(), ITEMS).rows
    dreams, others = ([r for r in rows if r["kind"] == kind] for kind in ("dream", "random"))
    for dream, other in zip(dreams, others, strict=True):
        assert dream["rmse_db"] > 0.05
        assert other["rmse_db"] == pytest.approx(dream["rmse_db"], rel=0.02)


def test_transfer_is_measured_only_with_a_second_recognizer(recognizer) -> None:
    rows = trial(recognizer)(excerpts(), ITEMS).rows
    assert not [name for row in rows for name in row if name.startswith("transfer")]


@pytest.mark.parametrize("changed", [LogMel(), StftGain()], ids=IDS[:2])
def test_steps_are_those_of_each_dream_and_of_no_control(recognizer, changed) -> None:
    made = trial(recognizer, changed, ascent=ascent(changed, steps=9, confidence=BAR))
    rows = made(excerpts(), ITEMS).rows

    names = ("steps", "steps_to_flip", "steps_to_0.9")
    for place, row in enumerate(rows):
        assert [name in row for name in names] == [row["kind"] == "dream"] * 3
        if row["kind"] != "dream":
            continue
        item = ITEMS[place % len(ITEMS)]
        excerpt = excerpts()[item.excerpt]
        alone = made.ascent.run(
            recognizer,
            excerpt.waveform[None],
            torch.tensor([recognizer.instruments.index(item.target)]),
            [item_seed(made.seed, excerpt.name, item.target)],
        )
        curve = alone.probability_curve[:, 0].tolist()
        late = [step for step, p in enumerate(curve) if p >= BAR]
        assert row["steps"] == int(alone.steps[0])
        expected = [float(alone.flip_steps[0]), float(late[0]) if late else math.nan]
        found = [row["steps_to_flip"], row["steps_to_0.9"]]
        assert found == pytest.approx(expected, nan_ok=True)
    assert len({row["steps"] for row in rows if row["kind"] == "dream"}) > 1, "nothing is told"


def test_without_a_stop_all_steps_are_taken() -> None:
    stopping = ascent(confidence=0.5, patience=3)
    going_on = without_stop(stopping, steps=7)
    assert going_on == replace(stopping, confidence=None, patience=None, keep="last", steps=7)


# Files --------------------------------------------------------------------------------------


def louder(**given: Tensor) -> Tensor:
    return 101.0 * given["waveform"]


def test_what_is_louder_than_full_scale_is_scaled_with_its_original(recognizer, tmp_path) -> None:
    quiet = excerpts()[0]
    peak = float(quiet.waveform.abs().max())
    loud = replace(quiet, waveform=quiet.waveform / peak, name="loud")
    items = [Item(0, "sax"), Item(1, "sax")]
    stage = trial(recognizer, ways={"louder": louder})([quiet, loud], items, folder=tmp_path)

    for place, row in enumerate(stage.rows):
        x = [quiet, loud][place % 2].waveform.double()
        y, scale = read(wav(tmp_path, row)), 0.99 / 101 / float(x.abs().max())
        assert float(y.abs().max()) == pytest.approx(0.99, abs=1e-4)
        # What is 101 times the original is 40 dB away from it, whatever the scale.
        assert row["snr_db"] == pytest.approx(-40.0, abs=1e-3)
        assert row["db_x"] == pytest.approx(40.0, abs=1e-3)
        if row["kind"] == "dream":
            original = read(wav(tmp_path, row, "original"))
            torch.testing.assert_close(original, scale * x, rtol=0, atol=1.6e-5)
            at_its_scale = recognizer.log_mel((y / scale)[None].float())[0]
            found = stage.planes["wav-louder"][place % 2]
            torch.testing.assert_close(found, at_its_scale, rtol=1e-4, atol=1e-4)


def test_an_original_at_full_scale_is_scaled_with_a_quiet_dream(recognizer, tmp_path) -> None:
    tone = excerpts()[0]
    loud = replace(tone, waveform=tone.waveform / tone.waveform.abs().max())
    made = trial(recognizer, ways={"flat": flat})
    row = made([loud], [Item(0, "sax")], folder=tmp_path).rows[0]
    original, dream = read(wav(tmp_path, row, "original")), read(wav(tmp_path, row))
    assert float(original.abs().max()) == pytest.approx(0.99, abs=1e-4)
    assert float(dream.abs().max()) == pytest.approx(0.495, abs=1e-4)
    assert row["snr_db"] == pytest.approx(6.0206, abs=1e-3)


def test_keep_decides_which_files_stay(recognizer, tmp_path) -> None:
    made = trial(recognizer, ways={"gain": Gain()})
    made(
        excerpts(), ITEMS, folder=tmp_path / "kept",
        keep=lambda item, kind: item.excerpt == 1 or (item.target, kind) == ("vio", "random"),
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "noise-to-gel-gain-dream.wav",
        "noise-to-gel-gain-original.wav",
        "noise-to-gel-gain-random.wav",
        "noise-to-gel-gain-undreamed.wav",
        "tone-to-vio-gain-random.wav",
    ]
    made(excerpts(), ITEMS, folder=tmp_path / "none", keep=lambda item, kind: False)
    assert not (tmp_path / "none").exists()


def test_what_is_kept_does_not_change_the_rows(recognizer, tmp_path) -> None:
    made = trial(recognizer)
    kept, gone = made(excerpts(), ITEMS, folder=tmp_path), made(excerpts(), ITEMS)
    assert str(kept.rows) == str(gone.rows)  # NaN is not NaN, but is written alike
    assert set(kept.planes) == set(gone.planes)


def loud_at_last(**given: Tensor) -> Tensor:
    return torch.cat([given["waveform"][:-1], torch.full_like(given["waveform"][-1:], math.nan)])


def test_nothing_is_left_in_the_temporary_folder(recognizer, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trial(recognizer)(excerpts(), ITEMS)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="the waveform has NaN or infinite values"):
        trial(recognizer, ways={"bad": loud_at_last})(excerpts(), ITEMS)
    assert list(tmp_path.iterdir()) == []


def test_odd_names_are_kept_in_rows_and_mended_in_files(recognizer, tmp_path) -> None:
    names = ["../../up", "a/b: ü?*", "名前 🎻", "\n", "x" * 300]
    tone = excerpts()[0]
    odd = [replace(tone, name=name) for name in names]
    items = [Item(i, "sax") for i in range(len(names))]
    folder = tmp_path / "a" / "b"
    rows = trial(recognizer, ways={"gain": Gain()})(odd, items, folder=folder).rows

    assert [row["excerpt"] for row in rows] == names * 3
    assert len({row["file"] for row in rows}) == len(names)
    for row in rows:
        assert len(read(wav(folder, row))) == len(tone.waveform)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {folder}
    assert len(files) == 4 * len(names)


# Edges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [LogMel(), StftGain(), Waveform()], ids=IDS)
def test_silence_is_measured_beside_a_sound_without_touching_it(recognizer, changed) -> None:
    tone = excerpts()[0]
    silence = replace(tone, waveform=torch.zeros_like(tone.waveform), name="silence")
    both, items = [tone, silence], [Item(0, "sax"), Item(1, "sax")]
    made = trial(recognizer, changed)
    rows, alone = made(both, items).rows, made(both, items[:1]).rows

    of_tone = [row for row in rows if row["excerpt"] == "tone"]
    for row, other in zip(of_tone, alone, strict=True):
        for name in ("rmse_db", "snr_db", "wav_target_probability", "masking_violation"):
            assert row[name] == pytest.approx(other[name], rel=1e-2, abs=1e-3)
    for row in [row for row in rows if row["excerpt"] == "silence"]:
        assert all(math.isfinite(row[name]) for name in ("rmse_db", "wav_target_probability"))
        assert math.isnan(row["snr_db"]) or row["snr_db"] == -math.inf


class FakeApi:
    """Scores a pair by the level of the second sound."""

    def create(self, **settings: object) -> None:
        pass

    def measure_from_arrays(self, original: np.ndarray, dream: np.ndarray, rate_hz: int) -> Any:
        return SimpleNamespace(moslqo=np.sqrt(np.mean(dream**2) / np.mean(original**2)))


def test_visqol_is_asked_for_each_sound_where_it_is_wanted(recognizer, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", SimpleNamespace(VisqolApi=FakeApi))  # type: ignore
    ways = {"flat": flat, "louder": louder}
    long_enough = excerpts(samples=8000)
    rows = trial(recognizer, ways=ways, with_visqol=True)(long_enough, ITEMS).rows
    assert [row["visqol"] for row in rows] == pytest.approx([0.5] * 9 + [101.0] * 9, rel=1e-3)
    assert "visqol" not in trial(recognizer, ways=ways)(excerpts(), ITEMS).rows[0]

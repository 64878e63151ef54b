"""A batch of dreams: its rows say what stands in its files and arrays, and nothing else."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from irdream.audio.masking import masking_violation
from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.parametrizations import Fourier, LogMel, LowResolution, StftGain, Waveform
from irdream.dreaming.targets import Item, item_seed
from irdream.measures import dreams as measures
from irdream.paper.trial import KINDS, Keep, Trial, random_change
from irdream.recognizer import Recognizer
from irdream.sonification import StftGain as Gain
from tests.tiny import RATE_HZ, my_net, tiny_ascent

DB = 20.0 / math.log(10.0)
BAR = 0.3  # in the place of 0.9, which dreams of this network hardly reach
SETTINGS: Any = {"n_fft": 256, "hop_samples": 200}
Row = dict[str, Any]
all_kinds = pytest.mark.parametrize(
    "changed", [LogMel(), StftGain(), Waveform()], ids=["log_mel", "stft_gain", "waveform"]
)
of_sounds = pytest.mark.parametrize(
    "changed", [StftGain(), Waveform()], ids=["stft_gain", "waveform"]
)


def make_recognizer(my_package: ModuleType, seed: int) -> Recognizer:
    made = my_net(my_package, seed, window_seconds=0.5)
    with torch.no_grad():  # untrained, it would give every instrument 1 in 11
        made.model.layers[8].weight *= 30.0  # type: ignore[index]
    return made


@pytest.fixture
def recognizer(my_package: ModuleType) -> Recognizer:
    return make_recognizer(my_package, 0)


@pytest.fixture
def second(my_package: ModuleType) -> Recognizer:
    return make_recognizer(my_package, 1)


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


ITEMS = [Item(1, "gel"), Item(0, "vio"), Item(0, "gel")]  # the last is there from the start


def ascent(parametrization: Any = None, **changes: Any) -> Ascent:
    size = 0.5 if isinstance(parametrization, Waveform) else 1.0
    return tiny_ascent(parametrization, step_size=size, confidence=None, **changes)


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


def run(
    made: Trial,
    some: Sequence[Excerpt],
    items: Sequence[Item] = ITEMS,
    folder: Path | None = None,
    keep: Keep | None = None,
) -> tuple[list[Row], dict[str, Tensor]]:
    """Return rows and arrays; all WAVs are kept where there is a folder."""
    keep = keep or (lambda item, kind: folder is not None)
    table, arrays = made(some, items, folder=folder or Path("nowhere"), keep=keep)
    return table.to_dict("records"), {name: torch.from_numpy(x) for name, x in arrays.items()}


def read(path: Path) -> Tensor:
    """Return the sound that stands in a WAV, full scale being 32767."""
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    return torch.from_numpy(pcm.astype(np.float64) / 32767)


def wav(folder: Path, row: Row, kind: str = "") -> Path:
    return folder / f"{row['file']}-{row['way']}-{kind or row['kind']}.wav"


def probabilities(recognizer: Recognizer, log_mel: Tensor) -> Tensor:
    """Return the mean over the windows of a log-mel (n_mels, frames), (instruments,)."""
    frames, last = recognizer.window_frames, log_mel.shape[1] - recognizer.window_frames
    starts = sorted({*range(0, last + 1, frames // 2), last})
    with torch.no_grad():
        each = [recognizer.model(log_mel[None, :, s : s + frames]) for s in starts]
    return torch.cat(each).softmax(dim=1).mean(dim=0)


def rms_db(change: Tensor) -> float:
    return float((DB * change.double()).square().mean().sqrt())


# Rows ---------------------------------------------------------------------------------------


@all_kinds
def test_a_row_for_each_way_kind_and_item(recognizer, changed) -> None:
    made = trial(recognizer, changed)
    rows, _ = run(made, excerpts())
    expected = [
        (way, kind, name, target)
        for way in made.ways
        for kind in KINDS
        for name, target in (("noise", "gel"), ("tone", "vio"), ("tone", "gel"))
    ]
    assert [(r["way"], r["kind"], r["excerpt"], r["target"]) for r in rows] == expected
    assert not [name for row in rows for name in row if name.startswith("transfer")]


def test_what_is_known_of_an_item(recognizer) -> None:
    rows, _ = run(trial(recognizer), excerpts())
    about = ("recording", "labels", "toward", "file")
    assert [tuple(row[name] for name in about) for row in rows[:3]] == [
        ("noise", "", "other", "noise-to-gel"),
        ("A", "vio;gel", "own", "tone-to-vio"),
        ("A", "vio;gel", "other", "tone-to-gel"),
    ]
    for row, item in zip(rows, ITEMS * 6, strict=True):
        waveform = excerpts()[item.excerpt].waveform
        before = probabilities(recognizer, recognizer.log_mel(waveform[None])[0])
        target = recognizer.instruments.index(item.target)
        assert row["before"] == pytest.approx(float(before[target]), abs=1e-5)
        assert row["before_on_top"] is (int(before.argmax()) == target)


def control(made: Trial, arrays: dict[str, Tensor], i: int) -> Tensor:
    """Return the log-mel of an item's random change, (n_mels, frames)."""
    excerpt = excerpts()[ITEMS[i].excerpt]
    size_db = torch.tensor([rms_db(arrays["dream"][i] - arrays["original"][i])])
    seed = item_seed(made.seed, excerpt.name, ITEMS[i].target)
    changed = made.ascent.parametrization
    return random_change(made.recognizer, changed, excerpt.waveform[None], size_db, [seed])[0][0]


def wanted(made: Trial, arrays: dict[str, Tensor], row: Row, i: int) -> Tensor:
    """Return the log-mel that a row is about."""
    if row["kind"] == "random":
        return control(made, arrays, i)
    return arrays["dream" if row["kind"] == "dream" else "original"][i]


@all_kinds
def test_measures_on_the_spectrogram_are_those_of_the_arrays(recognizer, second, changed) -> None:
    made = trial(recognizer, changed, second=second)
    rows, arrays = run(made, excerpts())

    for place, row in enumerate(rows):
        i = place % len(ITEMS)
        target = recognizer.instruments.index(row["target"])
        log_mel = wanted(made, arrays, row, i)
        change, loose = log_mel - arrays["original"][i], 2e-3 if row["kind"] == "random" else 1e-5
        assert row["rmse_db"] == pytest.approx(rms_db(change), rel=loose, abs=1e-6)
        assert row["mse_db2"] == pytest.approx(rms_db(change) ** 2, rel=2 * loose, abs=1e-6)
        largest = float(change.abs().max() * DB)
        assert row["max_abs_db"] == pytest.approx(largest, rel=10 * loose, abs=1e-6)
        steps = [float(log_mel.diff(dim=axis).abs().mean()) for axis in (0, 1)]
        assert row["total_variation_db"] == pytest.approx(DB * sum(steps) / 2, rel=loose)
        for network, prefix in ((recognizer, ""), (second, "transfer_")):
            assert_predicted(row, prefix, probabilities(network, log_mel), target)


def assert_predicted(row: Row, prefix: str, predicted: Tensor, target: int) -> None:
    probability, on_top = float(predicted[target]), int(predicted.argmax()) == target
    assert row[f"{prefix}target_probability"] == pytest.approx(probability, abs=1e-4)
    assert row[f"{prefix}on_top"] is on_top
    assert abs(probability - BAR) > 1e-4, "the test cannot tell"
    assert row[f"{prefix}at_0.9"] is (on_top and probability >= BAR)


@all_kinds
def test_measures_of_the_sound_are_those_of_the_files(
    recognizer, second, changed, tmp_path
) -> None:
    made = trial(recognizer, changed, second=second)
    rows, arrays = run(made, excerpts(), folder=tmp_path)

    assert len(list(tmp_path.iterdir())) == len(made.ways) * 4 * len(ITEMS)
    for place, row in enumerate(rows):
        i = place % len(ITEMS)
        x, y = excerpts()[ITEMS[i].excerpt].waveform.double(), read(wav(tmp_path, row))
        original, log_mel = arrays["original"][i], recognizer.log_mel(y[None].float())[0]
        if row["kind"] == "dream":
            kept = read(wav(tmp_path, row, "original"))
            assert float((kept - x).abs().max()) <= 0.501 / 32767  # nothing had to be scaled
            found = arrays[f"wav-{row['way']}"][i]
            torch.testing.assert_close(found, log_mel, rtol=1e-4, atol=1e-4)
        if row["kind"] == "undreamed":
            assert math.isnan(row["realized_correlation"])
        else:
            changes = [wanted(made, arrays, row, i) - original, log_mel - original]
            pair = torch.stack([change.flatten() for change in changes]).double()
            expected = float(torch.corrcoef(pair)[0, 1])
            assert row["realized_correlation"] == pytest.approx(expected, abs=1e-3)
        assert row["wav_rmse_db"] == pytest.approx(rms_db(log_mel - original), rel=1e-3)
        assert_judged(row, x[None], y[None])

        read_anew = recognizer.log_mel((y / y.abs().max())[None].float())[0]  # its peak at 1
        target = recognizer.instruments.index(row["target"])
        assert_predicted(row, "wav_", probabilities(recognizer, read_anew), target)
        assert_predicted(row, "transfer_wav_", probabilities(second, read_anew), target)


def assert_judged(row: Row, x: Tensor, y: Tensor) -> None:
    """Compare what is defined elsewhere with a call for this sound alone."""
    violation = masking_violation(x, y, **SETTINGS, sample_rate_hz=RATE_HZ)
    expected = {
        "snr_db": 10 * torch.log10(x.square().sum() / (y - x).square().sum()),
        "db_x": 20 * torch.log10((y - x).abs().max() / x.abs().max()),
        "segmental_snr_db": measures.segmental_snr_db(x, y, frame_samples=256, hop_samples=128),
        "log_spectral_distance_db": measures.log_spectral_distance_db(x, y, **SETTINGS),
        "masking_excess_db": violation.excess_db,
        "noise_to_mask_db": violation.noise_to_mask_db,
        "flatness": measures.spectral_flatness(y, **SETTINGS),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), rel=1e-3, abs=1e-4), name
    # Shares of bins and frames: one of them may lie at the limit.
    assert row["masking_violation"] == pytest.approx(float(violation.share), abs=2e-3)
    voiced = float(measures.voiced_share(y, sample_rate_hz=RATE_HZ))
    assert row["voiced_share"] == pytest.approx(voiced, abs=0.011)


@pytest.mark.parametrize("changed", [LogMel(), StftGain()], ids=["log_mel", "stft_gain"])
def test_steps_are_those_of_each_dream_and_of_no_control(recognizer, changed) -> None:
    made = trial(recognizer, changed, ascent=replace(ascent(changed, steps=9), confidence=BAR))
    rows, _ = run(made, excerpts())

    names = ("steps", "steps_to_flip", "steps_to_0.9")
    for place, row in enumerate(rows):
        if row["kind"] != "dream":
            assert all(math.isnan(row[name]) for name in names)
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
        late = [float(step) for step, p in enumerate(curve) if p >= BAR]
        expected = [alone.steps[0], alone.flip_steps[0], late[0] if late else math.nan]
        assert [row[name] for name in names] == pytest.approx([*map(float, expected)], nan_ok=True)
    assert len({row["steps"] for row in rows if row["kind"] == "dream"}) > 1, "nothing is told"


# Controls -----------------------------------------------------------------------------------


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
    rows, _ = run(trial(recognizer, ways={"gain": counted}), excerpts(), items)

    assert counted.counts == [4, 2, 4]
    undreamed = [row for row in rows if row["kind"] == "undreamed"]
    assert [row["excerpt"] for row in undreamed] == ["noise", "tone", "noise", "tone"]
    assert min(row["snr_db"] for row in undreamed) > 50
    assert undreamed[0]["snr_db"] == undreamed[2]["snr_db"] != undreamed[1]["snr_db"]


def originals() -> Tensor:
    """Return a pure tone, a quiet noise, a tone that ends in digital silence, and a loud noise."""
    time = torch.arange(9999) / RATE_HZ
    tone = torch.sin(2 * math.pi * 440 * time)
    noise = torch.randn(2, 9999, generator=torch.Generator().manual_seed(0))
    half = torch.where(time < 0.6, tone, 0.0)
    return torch.stack([tone, 0.001 * noise[0], half, 0.2 * noise[1]])


def sizes_db(one: Tensor, other: Tensor) -> Tensor:
    return ((other - one) * DB).square().mean(dim=(1, 2)).sqrt()


@all_kinds
@pytest.mark.parametrize("wanted", [(0.1, 2.0, 1.0, 0.3), (5.0, 0.05, 9.0, 3.0)])
def test_a_random_change_is_as_large_as_wanted(recognizer, changed, wanted) -> None:
    waveform, wanted_db = originals(), torch.tensor(wanted)
    log_mel, sound = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 3, 4])

    found_db = sizes_db(recognizer.log_mel(waveform), log_mel)
    torch.testing.assert_close(found_db, wanted_db, rtol=0.02, atol=0)
    if isinstance(changed, LogMel):
        assert sound is None
    else:
        assert sound is not None
        assert sound.shape == waveform.shape
        torch.testing.assert_close(log_mel, recognizer.log_mel(sound))


@all_kinds
def test_no_random_change_gives_the_original(recognizer, changed) -> None:
    waveform = originals()
    log_mel, sound = random_change(recognizer, changed, waveform, torch.zeros(4), [1, 2, 3, 4])
    if isinstance(changed, StftGain):  # there and back
        torch.testing.assert_close(sound, waveform, rtol=0, atol=1e-5)
    else:
        assert sound is None or torch.equal(sound, waveform)
        assert torch.equal(log_mel, recognizer.log_mel(waveform))


@all_kinds
def test_a_random_change_belongs_to_its_item_alone(recognizer, changed) -> None:
    waveform, wanted_db, seeds = originals(), torch.tensor([1.0, 2.0, 3.0, 4.0]), [7, 8, 9, 10]
    together, _ = random_change(recognizer, changed, waveform, wanted_db, seeds)
    turned, _ = random_change(recognizer, changed, waveform.flip(0), wanted_db.flip(0), seeds[::-1])
    torch.testing.assert_close(together, turned.flip(0), rtol=1e-4, atol=1e-4)
    for i in range(4):
        one = slice(i, i + 1)
        alone, _ = random_change(recognizer, changed, waveform[one], wanted_db[one], seeds[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-4)


@all_kinds
def test_other_seeds_give_other_noise(recognizer, changed) -> None:
    waveform, wanted_db = originals()[3:].expand(3, -1), torch.full((3,), 2.0)
    log_mel, _ = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 1])
    likeness = torch.corrcoef((log_mel - recognizer.log_mel(waveform)).flatten(1))
    assert likeness[0, 2] > 0.999
    assert likeness[0, 1].abs() < 0.2


@of_sounds
def test_random_changes_of_silence_are_numbers(recognizer, changed) -> None:
    waveform = originals()
    waveform[1] = 0.0
    wanted_db = torch.full((4,), 2.0)
    log_mel, sound = random_change(recognizer, changed, waveform, wanted_db, [1, 2, 3, 4])
    assert sound is not None
    assert log_mel.isfinite().all()
    assert sound.isfinite().all()
    found_db = sizes_db(recognizer.log_mel(waveform), log_mel)
    if isinstance(changed, StftGain):  # a gain of nothing is nothing
        assert not sound[1].any()
        found_db, wanted_db = found_db[[0, 2, 3]], wanted_db[[0, 2, 3]]
    torch.testing.assert_close(found_db, wanted_db, rtol=0.02, atol=0)


class Mine(LogMel):
    kinds = ("sound",)


@pytest.mark.parametrize(
    ("given", "as_if"),
    [
        (Fourier(of=StftGain()), StftGain()),
        (LowResolution(of=StftGain()), StftGain()),
        (Fourier(of=Waveform()), Waveform()),
        (LowResolution(of=Waveform()), Waveform()),
        (Mine(), Waveform()),
    ],
    ids=["fourier gain", "low gain", "fourier wave", "low wave", "one's own sound"],
)
def test_what_is_dreamed_in_other_terms_is_changed_in_its_own(recognizer, given, as_if) -> None:
    waveform, wanted_db = originals()[:1], torch.tensor([2.0])
    found, _ = random_change(recognizer, given, waveform, wanted_db, [1])
    expected, _ = random_change(recognizer, as_if, waveform, wanted_db, [1])
    assert torch.equal(found, expected)


# Files --------------------------------------------------------------------------------------


def louder(**given: Tensor) -> Tensor:
    return 101.0 * given["waveform"]


def test_what_is_louder_than_full_scale_is_scaled_with_its_original(recognizer, tmp_path) -> None:
    quiet = excerpts()[0]
    loud = replace(quiet, waveform=quiet.waveform / quiet.waveform.abs().max(), name="loud")
    both, items = [quiet, loud], [Item(0, "sax"), Item(1, "sax")]
    rows, arrays = run(trial(recognizer, ways={"louder": louder}), both, items, tmp_path)

    for place, row in enumerate(rows):
        x = both[place % 2].waveform.double()
        y, scale = read(wav(tmp_path, row)), 0.99 / 101 / float(x.abs().max())
        assert float(y.abs().max()) == pytest.approx(0.99, abs=1e-4)
        # What is 101 times the original is 40 dB away from it, whatever the scale.
        assert (row["snr_db"], row["db_x"]) == pytest.approx((-40.0, 40.0), abs=1e-3)
        if row["kind"] == "dream":
            original = read(wav(tmp_path, row, "original"))
            torch.testing.assert_close(original, scale * x, rtol=0, atol=1.6e-5)
            at_its_scale = recognizer.log_mel((y / scale)[None].float())[0]
            found = arrays["wav-louder"][place % 2]
            torch.testing.assert_close(found, at_its_scale, rtol=1e-4, atol=1e-4)


def test_keep_decides_which_files_stay_and_changes_nothing_else(recognizer, tmp_path) -> None:
    made = trial(recognizer, ways={"gain": Gain()})

    def keep(item: Item, kind: str) -> bool:
        return item.excerpt == 1 or (item.target, kind) == ("vio", "random")

    kept, arrays = run(made, excerpts(), ITEMS, tmp_path / "kept", keep)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "noise-to-gel-gain-dream.wav",
        "noise-to-gel-gain-original.wav",
        "noise-to-gel-gain-random.wav",
        "noise-to-gel-gain-undreamed.wav",
        "tone-to-vio-gain-random.wav",
    ]
    gone, others = run(made, excerpts(), ITEMS, tmp_path / "none", lambda item, kind: False)
    assert not (tmp_path / "none").exists()
    assert str(kept) == str(gone)  # NaN is not NaN, but is written alike
    assert set(arrays) == set(others)


@all_kinds
def test_silence_is_measured_beside_a_sound_without_touching_it(recognizer, changed) -> None:
    tone = excerpts()[0]
    silence = replace(tone, waveform=torch.zeros_like(tone.waveform), name="silence")
    both, items = [tone, silence], [Item(0, "sax"), Item(1, "sax")]
    made = trial(recognizer, changed)
    rows, alone = run(made, both, items)[0], run(made, both, items[:1])[0]

    of_tone = [row for row in rows if row["excerpt"] == "tone"]
    for row, other in zip(of_tone, alone, strict=True):
        for name in ("rmse_db", "snr_db", "wav_target_probability", "masking_violation"):
            assert row[name] == pytest.approx(other[name], rel=1e-2, abs=1e-3)
    for row in [row for row in rows if row["excerpt"] == "silence"]:
        assert all(math.isfinite(row[name]) for name in ("rmse_db", "wav_target_probability"))
        assert math.isnan(row["snr_db"]) or row["snr_db"] == -math.inf

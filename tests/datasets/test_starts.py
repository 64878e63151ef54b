import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.datasets import starts
from irdream.datasets.base import ExcerptFile, Excerpts, PartName
from irdream.datasets.starts import DreamStart, ExcerptStart, FileStart, NoiseStart, evenly
from irdream.errors import InputError
from irdream.instruments import CODES

RATE_HZ = 8_000
KINDS = ("original", "dream")
BROWN: Any = "brown"


def files(labels: Sequence[Sequence[str]]) -> list[ExcerptFile]:
    return [
        ExcerptFile(path=Path(f"{i}.wav"), name=f"{i}", labels=tuple(codes), recording=f"{i}")
        for i, codes in enumerate(labels)
    ]


class Data:
    """A data set of ramps of 4 s; files named in `broken` cannot be read."""

    name = "mine"

    def __init__(
        self, labels: Sequence[Sequence[str]], broken: Sequence[str] = (), *, seconds: float = 4.0
    ) -> None:
        self.files, self.broken, self.seconds = files(labels), broken, seconds

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        def load(path: Path) -> Tensor:
            if path.stem in self.broken:
                raise InputError(f"{path.name!r} is cut off")
            return torch.linspace(0, 1, round(self.seconds * sample_rate_hz))

        return Excerpts(self.files if name == "test" else [], load)


def write(path: Path, sound: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate_hz)
    return path


def ramp(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.linspace(0, 0.5, round(seconds * rate_hz))


# Evenly over the instruments


LABELS = st.lists(st.sampled_from([(), *((code,) for code in CODES), ("cel", "voi"), ("dru",)]))


@settings(deadline=None, max_examples=60)
@given(labels=LABELS, count=st.integers(1, 30), seed=st.integers(0, 3))
def test_evenly_is_balanced(labels: list[tuple[str, ...]], count: int, seed: int) -> None:
    some = files(labels)
    chosen = evenly(some, count=count, seed=seed)
    assert len(chosen) == len(set(chosen)) == min(count, len(some))
    there = Counter((file.labels or ("",))[0] for file in some)
    taken = Counter((some[i].labels or ("",))[0] for i in chosen)
    most = max(taken.values(), default=0)
    # Whoever has fewer than the others by two has no more to give.
    assert all(taken[code] >= min(there[code], most - 1) for code in there)


@settings(deadline=None, max_examples=60)
@given(order=st.permutations(range(20)))
def test_evenly_does_not_depend_on_the_order_of_the_files(order: list[int]) -> None:
    some = files([(CODES[i % 3],) for i in range(20)])
    shuffled = [some[i] for i in order]
    expected = [some[i].name for i in evenly(some, count=7, seed=5)]
    assert [shuffled[i].name for i in evenly(shuffled, count=7, seed=5)] == expected


# Excerpts of a data set


@pytest.mark.parametrize(("seconds", "samples"), [(None, 32_000), (9.0, 32_000), (1.5, 12_000)])
def test_excerpts_of_a_data_set_are_cut(seconds: float | None, samples: int) -> None:
    dataset = Data([("cel",), ("flu", "voi"), ("flu",)])
    start = ExcerptStart(dataset=dataset, count=2, seconds=seconds)
    good, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert start.has_original
    assert not bad
    assert [excerpt.labels[0] for excerpt in good] == ["cel", "flu"]
    assert good[0].name == "0"
    for excerpt in good:
        assert torch.equal(excerpt.waveform, torch.linspace(0, 1, 32_000)[:samples])


def test_bad_files_of_a_data_set_do_not_stop_the_others() -> None:
    start = ExcerptStart(dataset=Data([("cel",)] * 4, broken=["1", "2"]), count=4)
    good, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert {excerpt.name for excerpt in good} == {"0", "3"}
    assert sorted(bad) == ["'1.wav' is cut off", "'2.wav' is cut off"]
    short = ExcerptStart(dataset=Data([("cel",)], seconds=0.9), seconds=None)
    good, bad = short.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert (good, bad) == ([], ["'0' is too short: 0.900 s, at least 1 s expected"])


# Sound files


def test_a_folder_gives_its_good_files_and_says_which_are_bad(tmp_path: Path) -> None:
    write(tmp_path / "a" / "good.wav", np.stack([ramp(2.0), -ramp(2.0) / 2], axis=1))
    write(tmp_path / "b" / "good.wav", ramp(1.0))
    write(tmp_path / "short.flac", ramp(0.5))
    (tmp_path / "broken.wav").write_text("no sound")
    (tmp_path / "notes.txt").write_text("no sound file")
    start = FileStart(path=tmp_path)
    good, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert start.has_original
    assert [(excerpt.name, excerpt.labels) for excerpt in good] == [("a-good", ()), ("b-good", ())]
    assert [len(excerpt.waveform) for excerpt in good] == [16_000, 8_000]
    assert [float(excerpt.waveform.abs().max()) for excerpt in good] == [1.0, 1.0]
    assert len(bad) == 2
    assert "broken.wav" in bad[0]
    assert "is not readable as sound" in bad[0]
    assert "short.flac" in bad[1]
    assert "is too short: 0.500 s, at least 1 s expected" in bad[1]


def test_what_is_silent_or_cancels_out_is_left_out_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "cancels.wav", np.stack([ramp(2.0), -ramp(2.0)], axis=1))
    write(tmp_path / "good.wav", ramp(2.0))
    write(tmp_path / "late.wav", np.concatenate([np.zeros(2 * RATE_HZ), ramp(1.0)]))
    write(tmp_path / "silent.wav", np.zeros(2 * RATE_HZ))
    start = FileStart(path=tmp_path, seconds=1.5)
    good, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert [excerpt.name for excerpt in good] == ["good"]
    assert [line.rpartition("/")[2].partition(";")[0] for line in bad] == [
        "cancels.wav' has channels that cancel each other out: their mean is silent",
        "'late' is silent in its first 1.5 s",
        "silent.wav' is silent",
    ]
    assert bad[1].endswith("take more of it by start.seconds")
    whole, bad = FileStart(path=tmp_path).excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert [excerpt.name for excerpt in whole] == ["good", "late"]


def test_one_file_also_in_the_home_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "[my] sound.wav", ramp(2.5))
    (excerpt,), bad = FileStart(path="~/[my] sound.wav").excerpts(
        sample_rate_hz=RATE_HZ, min_seconds=1.0
    )
    assert not bad
    assert (excerpt.name, len(excerpt.waveform)) == ("[my] sound", 20_000)


def test_a_file_is_decoded_once_for_each_content_and_rate(tmp_path: Path, monkeypatch) -> None:
    own, rates = starts.load_audio, []

    def load_audio(path: Path, *, sample_rate_hz: int, min_seconds: float) -> Tensor:
        rates.append(sample_rate_hz)
        return own(path, sample_rate_hz=sample_rate_hz, min_seconds=min_seconds)

    monkeypatch.setattr(starts, "load_audio", load_audio)

    def heard(level: float, rate_hz: int, seconds: float | None = None) -> Tensor:
        soundfile.write(tmp_path / "a.wav", level * np.sin(np.arange(9000)), 8000)
        start = FileStart(path=tmp_path, seconds=seconds)
        (excerpt,), _ = start.excerpts(sample_rate_hz=rate_hz, min_seconds=1.0)
        return excerpt.waveform

    first = heard(0.3, 8000)
    assert torch.equal(heard(0.3, 8000, seconds=1.0), first[:8000])
    assert rates == [8000]
    heard(0.3, 4000)
    heard(0.2, 8000)
    assert rates == [8000, 4000, 8000]


def test_a_file_that_resampling_makes_too_short_does_not_stop_the_others(tmp_path: Path) -> None:
    # 44,093 Hz is resampled by exactly one half (see audio.py): 22,047 samples for 1 s.
    write(tmp_path / "odd.wav", ramp(1.0, 44_093), 44_093)
    write(tmp_path / "plain.wav", ramp(1.0, 44_100), 44_100)
    good, bad = FileStart(path=tmp_path).excerpts(sample_rate_hz=22_050, min_seconds=1.0)
    assert [excerpt.name for excerpt in good] == ["plain"]
    assert [line.split(":")[0] for line in bad] == ["'odd' is too short"]


# Noise


def noise(color: Any, *, seconds: float = 8.0, seed: int = 0) -> np.ndarray:
    start = NoiseStart(count=1, seconds=seconds, color=color, seed=seed)
    good, _ = start.excerpts(sample_rate_hz=22_050, min_seconds=1.0)
    return good[0].waveform.numpy()


def db_per_octave(sound: np.ndarray) -> float:
    """The slope of the mean power between 50 Hz and 10 kHz, over bands of a third octave."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / 22_050)
    edges = 50 * 2 ** (np.arange(24) / 3)
    bands = [power[(hz >= a) & (hz < b)].mean() for a, b in itertools.pairwise(edges)]
    return float(np.polyfit(np.arange(23) / 3, 10 * np.log10(bands), 1)[0])


@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -3.01)])
@pytest.mark.parametrize("seconds", [8.0, 3.00003])  # even and odd numbers of samples
def test_colors(color: str, slope: float, seconds: float) -> None:
    assert db_per_octave(noise(color, seconds=seconds)) == pytest.approx(slope, abs=0.3)


def test_a_noise_follows_from_the_seed_and_its_number() -> None:
    start = NoiseStart(count=3, seconds=1.25, color="pink")
    good, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert (start.name, start.has_original, bad) == ("pink noise", False, [])
    assert [excerpt.name for excerpt in good] == ["pink-0", "pink-1", "pink-2"]
    for excerpt in good:
        assert (excerpt.waveform.shape, excerpt.waveform.dtype) == ((10_000,), torch.float32)
        assert float(excerpt.waveform.abs().max()) == pytest.approx(1)
        assert excerpt.labels == ()
    assert not torch.allclose(good[0].waveform, good[1].waveform)
    few = NoiseStart(count=2, seconds=1.25, color="pink")
    again, _ = few.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert all(map(torch.equal, [x.waveform for x in again], [x.waveform for x in good[:2]]))
    assert (noise("white", seed=1) != noise("white", seed=2)).any()


# All of them


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp: ExcerptStart(dataset=Data([("cel",)]), count=0),
         "count=0; expected a whole number, at least 1"),
        (lambda tmp: ExcerptStart(dataset=Data([])),
         "the test part of 'mine' is empty; try start.part=training"),
        (lambda tmp: ExcerptStart(dataset=Data([("cel",)]), part="training"),
         "the training part of 'mine' is empty; try start.part=test"),
        (lambda tmp: FileStart(path=None),
         "start.path is not set; expected a sound file or a folder of them, such as start.path=my"),
        (lambda tmp: FileStart(path=tmp / "nowhere"), "no such file or folder"),
        (lambda tmp: FileStart(path=tmp), "no sound file below"),
        (lambda tmp: DreamStart(path=None),
         "start.path is not set; expected the folder of a run of task=dream, with dreams.csv"),
        (lambda tmp: NoiseStart(color=BROWN), "color=brown; expected white or pink"),
        (lambda tmp: NoiseStart(count=0), "count=0; expected a whole number, at least 1"),
        (lambda tmp: NoiseStart(seed=-1), "seed=-1; expected a whole number, at least 0"),
        *(
            (make, "start.seconds=0.5; expected at least 1, the length of the recognizer's window")
            for make in (
                lambda tmp: ExcerptStart(dataset=Data([("cel",)]), seconds=0.5),
                lambda tmp: FileStart(path=tmp, seconds=0.5),
                lambda tmp: NoiseStart(seconds=0.5),
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_started_from(make, message, tmp_path) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        make(tmp_path).excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)


@pytest.mark.parametrize("silence", [0, 0.5])
def test_a_part_of_a_long_file_is_taken(tmp_path: Path, silence: float) -> None:
    ramp = np.linspace(-1, 1, 5 * RATE_HZ)
    soundfile.write(tmp_path / "long.wav", ramp, RATE_HZ, subtype="FLOAT")
    start = FileStart(path=tmp_path / "long.wav", offset=1.5, seconds=2.0)
    ((excerpt,), bad) = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert bad == []
    expected = torch.from_numpy(ramp[12_000:28_000] / -ramp[12_000]).float()  # its peak is 1
    torch.testing.assert_close(excerpt.waveform, expected, atol=1e-6, rtol=0)
    ramp[2 * RATE_HZ : 4 * RATE_HZ] = silence
    soundfile.write(tmp_path / "a.wav", ramp, RATE_HZ)
    start = FileStart(path=tmp_path / "a.wav", offset=2.0, seconds=1.5)
    _, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    silent = "'a' is silent in its first 1.5 s after 2 s; take more of it by start.seconds"
    assert bad == [silent]


def test_a_part_beyond_the_end_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.linspace(-1, 1, 5 * RATE_HZ), RATE_HZ)
    last = FileStart(path=tmp_path / "a.wav", offset=4.0, seconds=3.0)
    ((excerpt,), _) = last.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert len(excerpt.waveform) == RATE_HZ
    beyond = FileStart(path=tmp_path / "a.wav", offset=4.5)
    message = (
        "nothing to dream on: start.offset=4.5 in 'a', which ends at 5.000 s; expected at most "
        "4.000, so that a window of 1 s is left"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        beyond.listed(sample_rate_hz=RATE_HZ, min_seconds=1.0)


def test_dreams_of_a_run_and_what_is_asked_of_them(tmp_path: Path) -> None:
    rows = ["file,labels,target", "a,cel;hi hat,flu", "b,,flu", "c,flu,flu", "d,cel,sax"]
    (tmp_path / "dreams.csv").write_text("\n".join(rows))
    ramp = np.linspace(-1, 1, 2 * RATE_HZ)
    for name in "abc":
        for kind, by in (("original", 0.4), ("dream", 0.5), ("difference", 0.1)):
            write(tmp_path / "sounds" / f"{name}-{kind}.wav", by * ramp)
    start = DreamStart(path=tmp_path, count=3)
    excerpts, bad = start.excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert not bad
    assert [one.name for one in excerpts] == [f"{x}-{k}" for x in "abc" for k in KINDS]
    assert excerpts[1].labels == ("cel", "hi hat")
    assert start.wanted == {
        "a-original": ["cel", "flu"], "a-dream": ["flu"], "b-original": ["", "flu"],
        "b-dream": ["flu"], "c-original": ["flu"], "c-dream": ["flu"],
    }  # fmt: skip
    assert start.change("a-original", sample_rate_hz=RATE_HZ) is None
    change = start.change("a-dream", sample_rate_hz=RATE_HZ)
    assert change is not None
    np.testing.assert_allclose(change, ramp, atol=1e-3)  # at full scale: a share is asked of it
    _, bad = DreamStart(path=tmp_path).excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    assert len(bad) == 2  # of d
    (tmp_path / "dreams.csv").write_text("file;labels;target\na;cel;flu")  # of a spreadsheet
    with pytest.raises(InputError, match="has no file; found file;labels;target"):
        DreamStart(path=tmp_path).excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)


def test_a_folder_that_is_typed_as_a_dot_has_its_name(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "drums").mkdir()
    monkeypatch.chdir(tmp_path / "drums")
    assert FileStart(path=Path()).name == "drums"
    assert FileStart(path=Path("..") / "drums").name == "drums"

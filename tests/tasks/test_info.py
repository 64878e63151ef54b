"""What would run: the plan is held against the task itself, and must leave no trace."""

from __future__ import annotations

import functools
import logging
import random
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from irdream.datasets.base import Excerpt, ExcerptFile, Excerpts
from irdream.datasets.folder import Folder
from irdream.datasets.irmas import Irmas
from irdream.datasets.soundfont import SoundFont
from irdream.datasets.starts import ExcerptStart, FileStart, NoiseStart
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.constraints import RmseBudget, TimeRange
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import LeastChange, NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, StftGain, Waveform
from irdream.dreaming.targets import plan as plan_items
from irdream.dreaming.transforms import Chain, Noise
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer, new_recognizer
from irdream.sonification import StftGain as Gain
from irdream.tasks import dream as dream_module
from irdream.tasks.doctor import doctor
from irdream.tasks.dream import dream
from irdream.tasks.evaluate import evaluate
from irdream.tasks.info import Plan, duration, plan
from irdream.tasks.info import dream as dream_info
from irdream.tasks.info.measuring import Laps, no_trace
from irdream.tasks.info.untouched import few
from irdream.tasks.info.words import named, size, time_line
from irdream.tasks.paper import Study, paper
from irdream.tasks.prepare import prepare
from irdream.tasks.train import train
from irdream.tracking import NullTracker

RATE_HZ = 1000
TINY = {"sample_rate_hz": RATE_HZ, "n_fft": 128, "hop_samples": 40, "n_mels": 12}


class Start:
    """Two tones of 2 s and one of 1.4 s."""

    has_original = True

    def __init__(self, *, bad: tuple[str, ...] = (), seconds: float = 2.0) -> None:
        self.bad, self.seconds = list(bad), seconds

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float) -> tuple[list[Excerpt], list]:
        time = torch.arange(round(self.seconds * sample_rate_hz)) / sample_rate_hz
        tone = 0.5 * torch.sin(2 * torch.pi * 120 * time)
        short = tone[: round(0.7 * len(tone))]
        return [
            Excerpt(waveform=tone, labels=("cel",), name="low"),
            Excerpt(waveform=tone.flip(0), labels=("flu",), name="back"),
            Excerpt(waveform=short, labels=("voi",), name="short"),
        ], self.bad


@pytest.fixture
def recognizer(my_package) -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(
        frontend=HanLogMel(**TINY), model=my_package.MyNet(), thresholds={"s1": 0.3}
    ).eval()


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    """Work where a file that is left behind is seen."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quick(monkeypatch) -> None:
    """Drawing takes longest."""

    def touch(figure: object, path: Path) -> None:
        path.touch()

    for place in ("dream", "evaluate"):
        monkeypatch.setattr(f"irdream.tasks.{place}.save_figure", touch)


@pytest.fixture
def sounds(tmp_path) -> Path:
    """Four notes of each of three instruments, two of them of one recording."""
    root, rng = tmp_path / "sounds", np.random.default_rng(0)
    for code in ("cel", "flu", "voi"):
        (root / code).mkdir(parents=True)
        for k in range(4):
            sound = 0.1 * rng.standard_normal(round(2.2 * RATE_HZ))
            soundfile.write(root / code / f"{code}{k // 2}__{k % 2 + 1}.wav", sound, RATE_HZ)
    return root


def ascent(**changes: Any) -> Ascent:
    settings: dict[str, Any] = {
        "parametrization": LogMel(), "objective": LogProbability(), "optimizer": NormalizedAscent(),
        "steps": 5, "step_size": 1.0,
    }  # fmt: skip
    return Ascent(**{**settings, **changes})


def dreaming(recognizer: Recognizer, **changes: Any) -> functools.partial[Any]:
    settings: dict[str, Any] = {
        "start": Start(), "target": "flu", "ascent": ascent(), "figures": 0,
    }  # fmt: skip
    return partial(dream, recognizer=recognizer, **{**settings, **changes})


def training(sounds: Path, **changes: Any) -> functools.partial[Any]:
    settings: dict[str, Any] = {
        "recognizer": new_recognizer(
            frontend={"_target_": "irdream.frontends.HanLogMel", **TINY},
            model={"_target_": "my_package.MyNet"},
            trust=["my_package"],
        ),
        "dataset": Folder(root=sounds, name="notes"),
        "optimizer": partial(torch.optim.Adam, lr=0.01),
        "scheduler": None,
        "augmentation": None,
        "epochs": 3,
        "batch_size": 4,
        "validation_share": 0.34,
        "trust": ["my_package"],
    }
    return partial(train, **{**settings, **changes})


def text(made: Plan) -> str:
    return "\n".join(made.lines)


def without_times(made: Plan) -> list[str]:
    """Return the lines without the seconds, and without bytes, which may differ by a digit."""
    return [line.split(": about")[0] for line in made.lines if not line.startswith("time")]


# Dreams --------------------------------------------------------------------------------------


def test_a_dream_is_planned_as_it_is_then_dreamed(recognizer, tmp_path) -> None:
    task = dreaming(
        recognizer, target=["flu", "sax"], figures=4, ascent=ascent(octaves=2, confidence=None)
    )
    planned = plan(task)
    task(tracker=NullTracker(), output_dir=tmp_path / "run")

    assert planned.lines[0] == (
        "dream      3 excerpts of 1.4 to 2.0 s toward flu, sax: 6 dreams, at most 10 steps each"
    )
    curves = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert set(curves["file"].value_counts()) == {11}  # the original and all steps
    files = [path for path in (tmp_path / "run").rglob("*.*") if path.is_file()]
    counts = [sum(path.suffix == kind for path in files) for kind in (".wav", ".png", ".csv")]
    assert "writes     {} WAVs, {} figures, {} tables: about".format(*counts) in text(planned)
    assert counts == [18, 5, 2]
    whole = sum(path.stat().st_size for path in files)
    found = re.search(r"about (\d+) kB", text(planned))
    assert found is not None
    assert float(found[1]) == pytest.approx(whole / 1000, rel=0.1)
    assert planned.seconds is not None
    assert planned.seconds > 0


def test_nothing_is_left_behind(recognizer, empty_folder, quick, capfd) -> None:
    weights = {k: v.clone() for k, v in recognizer.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    first, again = plan(dreaming(recognizer)), plan(dreaming(recognizer))

    assert without_times(first) == without_times(again)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == repr(np.random.get_state())
    assert all(torch.equal(weights[k], v) for k, v in recognizer.state_dict().items())
    assert not recognizer.training
    assert all(p.requires_grad for p in recognizer.parameters())
    assert list(empty_folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_was_measured_takes_part_in_proportion(recognizer, quick, monkeypatch) -> None:
    """Steps by seconds of sound; the first figure and sound take longer; tables come once."""
    clock = SimpleNamespace(step_seconds=0.01, other_seconds=0.5)
    monkeypatch.setattr(dream_info, "timed", lambda ascent: clock)
    monkeypatch.setattr(dream_module, "_dream_all", lambda *_: [])
    monkeypatch.setattr(dream_info, "_try", lambda planned, folder: two_dreams())

    def two_dreams() -> Laps:
        laps = Laps()
        laps.laps = {"sound": [1.0, 0.5], "figures": [2.0, 0.25, 0.125]}
        return laps

    loop = ascent(steps=100, octaves=2)
    planned = plan(dreaming(recognizer, ascent=loop, figures=24, target="all"))
    # Two excerpts of 2 s and one of 1.4 s, each toward 11; 20 of the first length at once.
    dreamed = (0.5 + 200 * 0.01) * 11 * 5.4 / (2 * 20)
    sound = 1.5 + 0.5 * (11 * 5.4 / 2 - 2)
    figures = 2.25 + 22 * 0.25 + 0.125
    assert planned.seconds == pytest.approx(dreamed + sound + figures)
    assert "at most 27 s: 3.7 dreaming, 15.3 sound, 7.9 figures" in text(planned)
    assert "(0.010 s a step of 40 s of sound, measured on 3; dreams that" in text(planned)


def test_every_choice_is_told(recognizer, quick) -> None:
    loop = ascent(
        optimizer=LeastChange(), jitter_frames=2, transform=Chain(transforms=[Noise(db=1.0)]),
        confidence=0.8, patience=3,
    )  # fmt: skip
    task = dreaming(
        recognizer, target="incorrect", ascent=loop, step_size=[0.5, 1.0], budget_db=[1, 2],
        variations=2, start=Start(bad=("a.wav is cut off; copy it again",)),
    )  # fmt: skip
    told = text(plan(task))
    assert (
        "toward another instrument each, 2 step sizes, 2 budgets, 2 variations: 24 dreams" in told
    )
    assert "skips 1 unreadable file: a.wav is cut off" in told
    assert "MyNet; cpu, " in told
    assert "LogMel, least_change" in told
    assert "0.5, 1 dB a step; objective log_probability; 1 octave" in told
    assert "random views: Noise, jitter of 2 frames; budget [1, 2] dB" in told
    assert "stops at 0.8, or after 3 steps without gain" in told
    assert "sound      StftGain(max_gain_db=60)" in told


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({"start": NoiseStart(count=2)}, "GriffinLim"),
        ({"ascent": ascent(parametrization=Waveform())}, "the dream itself"),
        ({"sonification": Gain(max_gain_db=9.0)}, "StftGain(max_gain_db=9)"),
    ],
    ids=["noise", "waveform", "chosen"],
)
def test_how_it_becomes_sound(recognizer, quick, changes, sound) -> None:
    assert f"sound      {sound}" in text(plan(dreaming(recognizer, **changes)))


def test_a_long_file_is_tried_on_its_beginning(recognizer, quick, monkeypatch) -> None:
    lengths = []
    run = Ascent.run

    def watched(self: Ascent, recognizer: Recognizer, waveform: torch.Tensor, *a: Any, **k: Any):
        lengths.append(waveform.shape)
        return run(self, recognizer, waveform, *a, **k)

    monkeypatch.setattr(Ascent, "run", watched)
    task = dreaming(recognizer, start=Start(seconds=100.0))
    assert "3 excerpts of 70.0 to 100.0 s" in text(plan(task))
    assert lengths == [(2, 6 * RATE_HZ), (1, 40 * RATE_HZ)]

    lengths.clear()
    late = ascent(constraint=TimeRange(start_seconds=50.0, end_seconds=60.0))
    plan(dreaming(recognizer, start=Start(seconds=100.0), ascent=late))
    assert lengths[-1] == (1, 100 * RATE_HZ)  # the beginning alone is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "floot"}, "flute"),
        ({"variations": 0}, "dream.variations=0; expected at least 1"),
        ({"step_size": [0.5, -1]}, "expected a number above 0"),
        ({"budget_db": 1, "ascent": ascent(constraint=RmseBudget(db=1))}, "are both given"),
        ({"ascent": ascent(optimizer=LeastChange(), confidence=None)}, "needs to know how far"),
        ({"start": FileStart(path="nowhere.wav")}, "no such file or folder: 'nowhere.wav'"),
    ],
    ids=["target", "variations", "step", "budget", "goal", "file"],
)
def test_what_a_dream_refuses_is_refused(recognizer, quick, changes, message) -> None:
    task = dreaming(recognizer, **changes)
    with pytest.raises(InputError, match=message) as planned:
        plan(task)
    with pytest.raises(InputError) as done:
        task(tracker=NullTracker(), output_dir=Path("run"))
    assert str(planned.value) == str(done.value)


def test_nothing_to_dream_on(recognizer) -> None:
    nothing = SimpleNamespace(has_original=True, excerpts=lambda **_: ([], ["a.wav is empty"]))
    with pytest.raises(InputError, match=r"nothing to dream on: a\.wav is empty"):
        plan(dreaming(recognizer, start=nothing))


# Data sets that are not there yet ------------------------------------------------------------


def test_what_is_not_rendered_yet_stays_so(recognizer, tmp_path, quick) -> None:
    root = tmp_path / "rendered"
    dataset = SoundFont(root=root, test_excerpts=2, training_recordings=3)
    planned = plan(dreaming(recognizer, start=ExcerptStart(dataset=dataset, count=5)))
    assert "5 excerpts of 3.0 s toward flu: 5 dreams" in text(planned)
    assert "renders the test part (22 excerpts) of soundfont first" in text(planned)
    assert "rendering" in text(planned)

    prepared = plan(partial(prepare, dataset=dataset))
    assert "counts about 66 training excerpts and 22 for the test" in text(prepared)
    assert "renders the training part (33 recordings) and the test part (22 ex" in text(prepared)
    assert prepared.seconds is not None
    assert prepared.seconds > 0
    assert not root.exists()


def test_decoded_audio_is_not_cached(recognizer, sounds, tmp_path, quick) -> None:
    for path in sounds.rglob("*.wav"):
        sound, _ = soundfile.read(path)
        soundfile.write(path, np.repeat(sound, 2), 2 * RATE_HZ)
    dataset = Folder(root=sounds, cache_dir=tmp_path / "cache")
    start = ExcerptStart(dataset=dataset, count=2, seconds=1.0)
    plan(dreaming(recognizer, start=start))
    assert dataset.cache_dir == tmp_path / "cache"
    assert not (tmp_path / "cache").exists()


def test_what_would_be_fetched_is_named(tmp_path) -> None:
    (tmp_path / "IRMAS-TestingData-Part3").mkdir()
    planned = plan(partial(prepare, dataset=Irmas(root=tmp_path, download=True)))
    assert "fetches IRMAS-TrainingData.zip, IRMAS-TestingData-Part1.zip" in text(planned)
    assert planned.seconds is None
    with pytest.raises(InputError, match=r"dataset\.root is not set"):
        plan(partial(prepare, dataset=Irmas(root=None, download=True)))


def test_a_data_set_of_ones_own_is_not_made_ready() -> None:
    def refuse() -> None:
        raise AssertionError("it was")

    dataset: Any = SimpleNamespace(name="mine", prepare=refuse)
    planned = plan(partial(prepare, dataset=dataset))
    assert planned.lines[0] == (
        "prepare    mine: SimpleNamespace.prepare(), then its excerpts are counted"
    )
    assert planned.seconds is None


# Training ------------------------------------------------------------------------------------


def test_a_training_is_planned_as_it_then_runs(my_package, sounds, tmp_path, empty_folder) -> None:
    task = training(sounds, patience=9)
    recognizer = task.keywords["recognizer"]
    weights = {k: v.clone() for k, v in recognizer.state_dict().items()}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    planned = plan(task)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weights[k], v) for k, v in recognizer.state_dict().items())
    assert recognizer.training
    assert list(empty_folder.iterdir()) == []
    assert without_times(planned) == without_times(plan(task))

    metrics = task(tracker=NullTracker(), output_dir=tmp_path / "run")
    assert metrics["train/epochs"] == 3
    card = (tmp_path / "run" / "checkpoint" / "recognizer.json").read_text()
    counts = [int(n) for n in re.findall(r'(?:training|validation)_excerpts": (\d+)', card)]
    assert planned.lines[0] == (
        f"train      notes: {counts[0]} excerpts and {counts[1]} for validation, by recording"
    )
    batches = -(-2 * counts[0] // 4)  # two windows an excerpt
    assert f"at most 3 of {batches} batches of 4 windows; ends 9 after the best" in text(planned)
    parameters = sum(p.numel() for p in recognizer.parameters())
    assert f"MyNet, {parameters:,} parameters; cpu" in text(planned)
    assert "Adam(lr=0.01); constant rate; no augmentation" in text(planned)


def test_a_training_that_is_scored_says_on_what(my_package, sounds) -> None:
    count = len(Folder(root=sounds).part("test", sample_rate_hz=1))
    planned = text(plan(training(sounds, test=True)))
    assert f"scores {count} excerpts, the test part of notes; not in the time" in planned
    assert "history.csv, test/" in planned


def test_log_mels_that_are_kept_are_not_made_again(my_package, sounds, tmp_path) -> None:
    task = training(sounds, cache_dir=tmp_path / "cache", epochs=1)
    plan(task)
    assert not (tmp_path / "cache").exists()
    task(tracker=NullTracker(), output_dir=tmp_path / "run")
    assert "reading audio" not in text(plan(task))


def test_a_training_that_goes_on(my_package, sounds, tmp_path) -> None:
    training(sounds, epochs=1)(tracker=NullTracker(), output_dir=tmp_path / "run")
    state = (tmp_path / "run" / "training" / "state.pt").read_bytes()
    task = training(sounds, resume=str(tmp_path / "run"), register="mine", alias="best", epochs=1)
    planned = plan(task)
    assert f"goes on after epoch 1 of {tmp_path / 'run'}" in text(planned)
    assert "registers models:/mine@best" in text(planned)
    assert "training," not in next(x for x in planned.lines if x.startswith("time"))  # none left
    assert (tmp_path / "run" / "training" / "state.pt").read_bytes() == state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resume": "nowhere"}, "nothing to resume in train.resume='nowhere'"),
        ({"optimizer": partial(torch.optim.Adam, lr=-1.0)}, "cannot build the optimizer"),
        ({"validation_share": 2.0}, "validation_share=2.0 is out of range"),
        ({"register": "a/b"}, "a/b"),
        ({"batch_size": 0}, "train.batch_size=0 is too small"),
        ({"test": True, "test_robust_db": [-1.0]}, "evaluate.robust_db=[-1.0]; expected finite"),
    ],
    ids=["resume", "optimizer", "split", "register", "batch", "test"],
)
def test_what_a_training_refuses_is_refused(my_package, sounds, changes, message) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        plan(training(sounds, **changes))


# Evaluation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", ["checkpoint", "validation", 0.25])
def test_an_evaluation_is_planned_as_it_then_runs(
    recognizer, sounds, tmp_path, quick, threshold, empty_folder
) -> None:
    task = partial(
        evaluate, recognizer=recognizer, dataset=Folder(root=sounds, name="notes"),
        threshold=threshold, validation_share=0.34,
    )  # fmt: skip
    planned = plan(task)
    assert list(empty_folder.iterdir()) == []
    metrics = task(tracker=NullTracker(), output_dir=tmp_path / "run")
    count = round(metrics["eval/excerpts"])
    assert planned.lines[0] == f"evaluate   {count} excerpts, the test part of notes"
    expected = {
        "checkpoint": "the checkpoint's threshold, 0.30",
        "validation": "threshold chosen on 4 excerpts of the training part",
        0.25: "threshold 0.25",
    }
    assert expected[threshold] in text(planned)
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(
        planned.lines[-1].removeprefix("writes").strip().split(", ")
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"robust_db": [-1.0]}, "evaluate.robust_db=[-1.0]; expected finite numbers, 0 or more"),
        ({"robust_db": [1.0], "robust_steps": 0}, "evaluate.robust_steps=0 is too small"),
        ({"robust_db": [1.0], "robust_windows": 0}, "evaluate.robust_windows=0 is too small"),
        ({"robust_db": [1.0], "part": "tests"}, "evaluate.part='tests' is unknown; expected"),
        ({"part": "tests"}, "evaluate.part='tests' is unknown; expected"),
    ],
)
def test_what_an_evaluation_refuses_is_refused(
    recognizer, sounds, tmp_path, quick, changes, message
) -> None:
    dataset = Folder(root=sounds, name="notes")
    task = partial(evaluate, recognizer=recognizer, dataset=dataset, **changes)
    for refuse in (lambda: plan(task), lambda: task(tracker=NullTracker(), output_dir=tmp_path)):
        with pytest.raises(InputError, match=re.escape(message)):
            refuse()


def test_that_it_is_misled_is_told(recognizer, sounds, quick) -> None:
    dataset = Folder(root=sounds, name="notes")
    task = partial(evaluate, recognizer=recognizer, dataset=dataset, robust_db=[0.5, 1])
    planned = plan(task)
    told = "misleads   at most 256 windows by up to 0.5, 1 dB, 20 steps each; the time is without"
    assert told in text(planned)
    assert planned.lines[-1].endswith("robustness.csv, robustness.png")


class Odd:
    """A data set whose last excerpt has a label of its own; long ones, far apart."""

    name = "odd"

    def __init__(self, last: str) -> None:
        self.labels = [*["flu"] * 98, "voi", last]

    def part(self, name: str, *, sample_rate_hz: int) -> Excerpts:
        files = [
            ExcerptFile(path=Path(str(i)), name=str(i), labels=(label,), recording=str(i))
            for i, label in enumerate(self.labels)
        ]
        return Excerpts(files, lambda path: torch.randn(60 * sample_rate_hz))


def test_a_label_that_is_not_known_is_found_wherever_it_is(recognizer, quick) -> None:
    with pytest.raises(InputError, match=r"labels in the test part of 'odd' .* not know: kazoo"):
        plan(partial(evaluate, recognizer=recognizer, dataset=Odd("kazoo")))


def test_the_whole_of_long_excerpts_is_counted(recognizer, quick, monkeypatch) -> None:
    """A few of 100, each cut to half of its length, stand for all of the sound."""
    monkeypatch.setattr(Laps, "of", lambda self, phase: [1.0] if phase == "listening" else [0.0])
    dataset = Odd("sax")
    planned = plan(partial(evaluate, recognizer=recognizer, dataset=dataset))
    heard = few(dataset.part("test", sample_rate_hz=RATE_HZ).files)
    assert {0, 98, 99} <= set(heard)  # the first of each label
    assert 10 <= len(heard) <= 14
    assert planned.seconds == pytest.approx(2 * 100 / len(heard), rel=0.02)


# The paper -----------------------------------------------------------------------------------


def study(recognizer: Recognizer, **changes: Any) -> Study:
    ascents = {
        "log_mel": ascent(confidence=0.9), "stft_gain": ascent(parametrization=StftGain()),
    }  # fmt: skip
    settings = {"second": None, "ascents": ascents, "sonifications": {"gain": Gain()}}
    return Study(recognizer=recognizer, **{**settings, **changes})


def test_the_dreams_of_the_paper_are_counted(recognizer, sounds, tmp_path, empty_folder) -> None:
    made = study(recognizer, second=recognizer, cache_dir=tmp_path / "cache")
    settings: dict[str, Any] = {
        "study": made, "dataset": Folder(root=sounds, name="notes"), "per_instrument": 2,
        "grid_per_instrument": 1, "steps": 4, "seconds": 1.5, "noises": 2, "noise_steps": 3,
    }  # fmt: skip
    planned = plan(partial(paper, **settings))
    # Two of each of three instruments, own and other, in two ways; three toward 11; two colors.
    assert f"excerpts, noise: {2 * 12 + 33 + 2 * 44} dreams" in text(planned)
    assert "12 dreams of log_mel and of stft_gain until heard, at most 5 steps" in text(planned)
    assert "33 dreams of log_mel toward all targets, 4 steps" in text(planned)
    assert "44 dreams of log_mel and of stft_gain from white and pink noise" in text(planned)
    assert planned.seconds is not None
    assert not (tmp_path / "cache").exists()
    assert list(empty_folder.iterdir()) == []

    trial = made.trial("log_mel")
    excerpts, _ = Start().excerpts(sample_rate_hz=RATE_HZ, min_seconds=1.0)
    items = plan_items(["all"], ["low"], [("cel",)], seed=0)
    made.run("until heard", trial, excerpts, items)
    kept = plan(partial(paper, **{**settings, "parts": "excerpts"}))
    assert "excerpts: 57 dreams" in text(kept)
    assert f"kept       12 dreams in {tmp_path / 'cache'}/paper" in text(kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": ["sounds"]}, r"paper.parts=\['sounds'\]; expected some of excerpts, noise"),
        ({"noises": 1}, "paper.noises=1; expected at least 2"),
    ],
    ids=["parts", "number"],
)
def test_what_the_paper_refuses_is_refused(recognizer, sounds, changes, message) -> None:
    dataset = Folder(root=sounds)
    with pytest.raises(InputError, match=message):
        plan(partial(paper, study=study(recognizer), dataset=dataset, **changes))


def test_no_excerpt_of_the_paper_can_be_read(recognizer, sounds) -> None:
    for path in sounds.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing to dream on: .*wav"):
        plan(partial(paper, study=study(recognizer), dataset=Folder(root=sounds), seconds=1.0))


# Others --------------------------------------------------------------------------------------


def test_the_doctor_opens_no_store(tmp_path) -> None:
    planned = plan(partial(doctor, store=tmp_path / "mlruns"))
    assert f"marked RUNNING in {tmp_path / 'mlruns'}" in text(planned)
    assert not (tmp_path / "mlruns").exists()
    assert "in http://there:5000" in text(
        plan(partial(doctor, store="x", server="http://there:5000"))
    )


def test_a_task_of_ones_own() -> None:
    def mine(**_: Any) -> None:
        raise AssertionError("it was called")

    planned = plan(partial(mine, depth=3, name="x"))
    assert planned.lines == (f"task       {__name__}.mine, called with depth, name",)
    assert planned.seconds is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "1 s"),
        (8.6, "9 s"),
        (89, "89 s"),
        (210, "3.5 min"),
        (5399, "90.0 min"),
        (6000, "1.7 h"),
    ],
)
def test_times_are_told_in_their_unit(seconds, told) -> None:
    assert duration(seconds) == told


def test_parts_of_a_time_are_told_in_the_unit_of_the_whole() -> None:
    told = time_line({"one": 90.0, "other": 120.0, "little": 1.0}, " (measured)", at_most=False)
    assert told == "time       about 3.5 min: 1.5 one, 2.0 other (measured)"
    assert time_line({"one": 0.0}) == "time       at most 1 s"


@pytest.mark.parametrize(("count", "told"), [(20, "1 kB"), (2.4e6, "2 MB"), (1.5e9, "1.5 GB")])
def test_sizes(count, told) -> None:
    assert size(count) == told


def test_things_are_named_by_what_they_hold() -> None:
    assert named(partial(torch.optim.SGD, lr=0.01, nesterov=True)) == "SGD(lr=0.01, nesterov=True)"
    assert named([RmseBudget(db=2.0), LogMel()]) == "RmseBudget(db=2), LogMel"
    assert named(torch.nn.Linear) == "Linear"
    assert named(torch.nn.Linear(2, 3)) == "Linear"
    assert named(NormalizedAscent()) == "normalized_ascent(rms)"


def test_warnings_are_heard_again_after_a_trial(caplog) -> None:
    folders = []

    def fail() -> None:
        with no_trace() as folder:
            folders.append(folder)
            logging.getLogger("irdream").warning("hidden")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    logging.getLogger("irdream").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    assert not folders[0].exists()

"""The dream task as a function: files, measures, order, and what is skipped."""

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from irdream.audio import load_audio
from irdream.datasets.base import Excerpt
from irdream.datasets.starts import FileStart
from irdream.dreaming.constraints import MaxChange
from irdream.dreaming.objectives import Diversity, Layer, LogProbability
from irdream.dreaming.parametrizations import LogMel, Maco, StftGain, Waveform
from irdream.dreaming.transforms import Jitter
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.processes import Interrupted, interrupt
from irdream.progress import DreamBar
from irdream.recognizer import Recognizer
from irdream.reports import dream_table, figures
from irdream.reports.dreams import predict_file
from irdream.tasks import dream as task
from irdream.tasks.dream import dream
from tests.tiny import RATE_HZ, Notebook, my_net, tiny_ascent


class Start:
    """Excerpts of two lengths, one of them silent."""

    has_original, level = True, 1.0

    def __init__(self, *, bad: tuple[str, ...] = ()) -> None:
        self.bad = list(bad)

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float):
        time = torch.arange(2 * sample_rate_hz) / sample_rate_hz
        low = 0.5 * self.level * torch.sin(2 * torch.pi * 300 * time)
        return [
            Excerpt(waveform=low, labels=("cel",), name="a/low: 1"),
            Excerpt(waveform=low[: RATE_HZ + 333], labels=("flu", "pia"), name="short"),
            Excerpt(waveform=torch.zeros(2 * RATE_HZ), labels=("voi",), name="silence"),
        ], self.bad


@pytest.fixture
def recognizer(my_package) -> Recognizer:
    return my_net(my_package)


def not_drawn(_: object, path: Path, *, again: bool = True) -> None:
    """Stand for `save_figure`: an empty file, which may be there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(exist_ok=again)


@pytest.fixture
def run(recognizer, tmp_path) -> Callable[..., tuple[dict, pd.DataFrame, Notebook]]:
    """Return metrics, table and tracker of a run, by default in `tmp_path` and without figures."""

    def run(folder: Path = tmp_path, **changes):
        tracker = Notebook()
        settings = {"start": Start(), "target": "all", "ascent": tiny_ascent(), "figures": 0}
        settings |= changes
        drawn = mock.patch.object(figures, "save_figure", not_drawn)
        with contextlib.nullcontext() if settings["figures"] else drawn:  # drawing takes longest
            metrics = dream(recognizer=recognizer, tracker=tracker, output_dir=folder, **settings)
        return metrics, pd.read_csv(folder / "dreams.csv"), tracker

    return run


@contextlib.contextmanager
def titles_drawn() -> Iterator[list[str]]:
    """Give the titles of the figures, which are not drawn."""
    titles: list[str] = []
    with (
        mock.patch.object(dream_table, "figure_of", lambda *_, title, **__: titles.append(title)),
        mock.patch.object(figures, "save_figure", not_drawn),
    ):
        yield titles


def test_every_excerpt_meets_every_target_in_order(run, recognizer, tmp_path) -> None:
    metrics, table, _ = run(figures=2)

    assert metrics["dream/count"] == 33
    assert table["name"].tolist() == ["a/low: 1"] * 11 + ["short"] * 11 + ["silence"] * 11
    assert table["target"].tolist() == list(recognizer.instruments) * 3
    assert len(list((tmp_path / "spectrograms").glob("*.png"))) == 2
    assert len(list((tmp_path / "sounds").glob("*.wav"))) == 99


def test_targets_follow_the_labels(run) -> None:
    _, table, _ = run(target="correct")
    assert table["target"].tolist() == ["cel", "flu", "voi"]
    _, table, _ = run(target="incorrect", seed=3)
    wrong = zip(table["target"], table["labels"], strict=True)
    assert not any(target in labels for target, labels in wrong)


@pytest.mark.parametrize(
    "parametrization", [LogMel(), Waveform(), StftGain()], ids=["log_mel", "waveform", "stft_gain"]
)
def test_the_table_tells_what_is_in_the_files(run, recognizer, tmp_path, parametrization) -> None:
    loop = tiny_ascent(parametrization, step_size=3.0)
    _, table, _ = run(target="sax", ascent=loop)

    row = table.iloc[0]
    original, dreamed = (
        load_audio(tmp_path / "sounds" / f"{row.file}-{kind}.wav", sample_rate_hz=RATE_HZ)
        for kind in ("original", "dream")
    )
    with torch.no_grad():
        logits = recognizer.window_logits(recognizer.log_mel(dreamed[None]))
        heard = recognizer.probabilities(logits).mean(dim=1)
    target = recognizer.instruments.index("sax")
    assert row.target_probability_wav == pytest.approx(float(heard[0, target]), abs=1e-5)
    assert row.target_probability > row.target_probability_before
    assert row.rmse_db > 0.1
    assert row.max_abs_db > row.rmse_db
    assert -1 <= row.onset_correlation <= 1
    assert row.warble_db > 0
    assert len(original) == len(dreamed) == 2 * RATE_HZ


@pytest.mark.parametrize("parametrization", [LogMel(), StftGain(), Waveform()])
def test_a_file_is_dreamed_in_its_channels_at_its_rate(run, tmp_path, parametrization) -> None:
    time = np.arange(2 * 44_100) / 44_100
    both = np.stack([0.4 * np.sin(2 * np.pi * hz * time**2) for hz in (440, 660)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 44_100)
    loop = tiny_ascent(parametrization, step_size=3.0)
    start = FileStart(path=str(tmp_path / "a.wav"), offset=0.3, seconds=1.5)
    _, table, _ = run(target="sax", ascent=loop, start=start)

    sounds = [
        soundfile.read(tmp_path / "sounds" / f"{table.iloc[0].file}-{kind}.wav")
        for kind in ("original", "dream", "difference")
    ]
    assert [(sound.shape, rate_hz) for sound, rate_hz in sounds] == [((66_150, 2), 44_100)] * 3
    original, dream, difference = (sound for sound, _ in sounds)
    assert np.abs(dream - original).max() > 0.01
    scale = np.vdot(difference, dream - original) / np.vdot(difference, difference)
    np.testing.assert_allclose(dream - original, scale * difference, atol=1e-3)
    part = both[13_230:79_380]
    level = np.vdot(original, part) / np.vdot(original, original)
    np.testing.assert_allclose(level * original, part, atol=1e-3)
    if not isinstance(parametrization, LogMel):
        assert table.iloc[0].target_probability_wav == pytest.approx(
            table.iloc[0].target_probability, abs=0.02
        )


def test_a_loud_gain_is_predicted_from_its_wav_as_it_was_dreamed(run, tmp_path) -> None:
    """A file is read with its peak at 1."""
    loop = tiny_ascent(
        parametrization=StftGain(keep_peak=True), step_size=3.0, confidence=None, keep="last"
    )
    start = Start()
    start.level = 2.0
    _, table, _ = run(target=["sax", "flu"], ascent=loop, start=start)

    tones = table[table["name"] != "silence"]
    np.testing.assert_allclose(tones.target_probability_wav, tones.target_probability, atol=0.005)
    for name in tones["file"]:
        peaks = [
            np.abs(soundfile.read(tmp_path / "sounds" / f"{name}-{kind}.wav")[0]).max()
            for kind in ("original", "dream")
        ]
        np.testing.assert_allclose(peaks, 1.0, atol=1e-3)


def test_curves_start_at_the_original_and_reach_the_dream(run, tmp_path) -> None:
    _, table, tracker = run(target="tru")

    curves = pd.read_csv(tmp_path / "curves.csv")
    for _, row in table.iterrows():
        curve = curves[curves.file == row.file].target_probability.to_numpy()
        assert curve[0] == pytest.approx(row.target_probability_before, abs=1e-5)
        assert curve.max() == pytest.approx(row.target_probability, abs=1e-5)
    assert len(tracker.over_steps("dream/curve/target_probability")) == 5
    assert len(tracker.over_steps("dream/curve/objective")) == 5


def test_the_tracker_gets_measures_and_files(run) -> None:
    metrics, _, tracker = run(target="flu", figures=1)

    assert tracker.files == [
        "index.html", "dreams.csv", "probabilities.csv", "curves.csv", "curves.png", "spectrograms",
        "sounds", "steps",
    ]  # fmt: skip
    stable = [
        "on_top", "at_0.9", "wav_on_top", "wav_at_0.9", "target_probability",
        "target_probability_wav", "rmse_db", "steps", "unchanged",
    ]  # fmt: skip
    for name in stable:
        assert tracker.metrics[f"dream/{name}"] == metrics[f"dream/{name}"]


class Noise(Start):
    has_original = False


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, []),
        ({"start": Noise()}, ["lim"]),
        ({"ascent": tiny_ascent(Maco(of=LogMel()), step_size=0.05)}, ["lim"]),
    ],
    ids=["excerpts", "noise", "phases"],
)
def test_what_is_no_change_of_an_original_is_made_sound_from_its_spectrogram_alone(
    run, monkeypatch, changes, used
) -> None:
    made = []
    monkeypatch.setattr(task, "GriffinLim", lambda: made.append("lim") or task.StftGain())
    run(target="flu", **changes)
    assert made == used


def test_several_step_sizes_are_items_of_one_batch(run, tmp_path) -> None:
    sizes = [0.25, 1.0, 2]
    loop = tiny_ascent(steps=1, confidence=None)
    _, table, _ = run(target=["sax", "flu"], ascent=loop, step_size=sizes)

    assert table["name"].tolist() == ["a/low: 1"] * 6 + ["short"] * 6 + ["silence"] * 6
    assert table["target"].tolist() == (["sax"] * 3 + ["flu"] * 3) * 3
    assert table["step_size"].tolist() == sizes * 6
    assert table["file"].iloc[0] == "a_low_1-to-sax-step-0.25"
    assert table["file"].is_unique
    assert len(list((tmp_path / "sounds").glob("*.wav"))) == 3 * 18
    np.testing.assert_allclose(table.rmse_db[:3], sizes, rtol=1e-4)  # a tone, nowhere at the floor
    for _, group in table.groupby(["name", "target"]):
        assert group.rmse_db.is_monotonic_increasing
        assert (group.rmse_db <= group.step_size + 1e-4).all()


class Named(Start):
    """One short excerpt of each of some names."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float):
        _, short, _ = super().excerpts(sample_rate_hz=sample_rate_hz, min_seconds=min_seconds)[0]
        return [replace(short, name=name) for name in self.names], []


def test_dreams_whose_names_agree_have_their_own_files(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dream_table, "figure_of", lambda *_, **__: None)
    monkeypatch.setattr(
        figures, "save_figure", lambda _, path: not_drawn(_, path, again=path.stem == "curves")
    )
    names = ["x" * 100 + "1", "x" * 100 + "2", "take #1", "take 1", "Take_1", "é", "e\u0301"]
    sizes, loop = [0.12345678, 0.12345679], tiny_ascent(steps=1)
    _, table, _ = run(target="sax", ascent=loop, start=Named(*names), step_size=sizes,
        figures=99,
    )  # fmt: skip
    assert len(table) == 7 * 2
    assert table["step_size"].tolist() == 7 * sizes
    for kinds, folder in ((["-original.wav", "-dream.wav", "-difference.wav"], "sounds"),
                          ([".png"], "spectrograms")):  # fmt: skip
        expected = {f"{file}{kind}" for file in table["file"] for kind in kinds}
        written = [path.name for path in (tmp_path / folder).iterdir()]
        assert set(written) == expected
        assert len({name.casefold() for name in written}) == len(table) * len(kinds)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves["file"]) == set(table["file"])


@pytest.mark.parametrize("constraint", [None, MaxChange(db=9.0), [MaxChange(db=9.0)]])
def test_several_budgets_are_kept_each_by_its_own_item(run, constraint) -> None:
    loop = tiny_ascent(steps=6, confidence=None, constraint=constraint)
    _, table, _ = run(target="sax", ascent=loop, budget_db=[0.5, 1.5, 100])

    assert table["budget_db"].tolist() == [0.5, 1.5, 100.0] * 3
    assert table["file"].is_unique
    assert (table.rmse_db <= table.budget_db + 1e-3).all()
    tone = table[table["name"] == "short"]
    np.testing.assert_allclose(tone.rmse_db[:2], [0.5, 1.5], atol=0.01)
    assert tone.rmse_db.iloc[2] > 2.0
    assert loop.constraint is constraint  # of the caller: as it was


def test_variations_differ_in_their_random_numbers_alone(run, tmp_path) -> None:
    loop = tiny_ascent(start_noise=1.0, confidence=None)
    _, table, _ = run(target=["sax", "flu"], ascent=loop, variations=3, figures=4)

    assert table["variation"].tolist() == [0, 1, 2] * 6
    assert table["file"].iloc[:3].tolist() == [
        "a_low_1-to-sax-variation-0", "a_low_1-to-sax-variation-1", "a_low_1-to-sax-variation-2",
    ]  # fmt: skip
    assert table["file"].is_unique
    assert len(list((tmp_path / "sounds").glob("*.wav"))) == 3 * 18
    assert len(list((tmp_path / "spectrograms").glob("*.png"))) == 4
    for _, group in table.groupby(["name", "target"]):
        assert group.rmse_db.nunique() == 3
    _, first, _ = run(target="sax", ascent=loop)
    np.testing.assert_allclose(first.rmse_db, table.rmse_db.iloc[[0, 6, 12]], rtol=1e-4)


def test_variations_of_one_dream_are_one_group(run, monkeypatch) -> None:
    seen: set[tuple] = set()

    class Watched(Diversity):
        def __call__(self, heard, targets):
            places: dict[int, list[int]] = {}
            for item, group in zip(heard.items.tolist(), heard.groups.tolist(), strict=True):
                places.setdefault(group, []).append(item)
            seen.update(tuple(items) for items in places.values())
            return super().__call__(heard, targets)

    monkeypatch.setattr(task, "BATCH_SECONDS", 8.0)  # 4 dreams at most, of 2 s each
    loop = tiny_ascent(
        objective=LogProbability() + 0.1 * Watched("layers.2"), steps=1, confidence=None,
        start_noise=1.0,
    )  # fmt: skip
    run(target=["sax", "flu"], ascent=loop, variations=3, step_size=[1, 2],
    )  # fmt: skip
    assert seen == {(0, 1, 2), (3, 4, 5)}


@pytest.mark.parametrize(("seconds", "most"), [(0.1, 1), (4.0, 3)])
def test_blocks_of_memory_do_not_change_the_table(run, monkeypatch, seconds, most) -> None:
    loop, target = (
        tiny_ascent(transform=Jitter(frames=3), confidence=0.12),
        ["flu", "sax", "tru", "cel"],
    )
    _, whole, _ = run(ascent=loop, target=target)
    batches = []
    dream_batch = task._dream_batch
    monkeypatch.setattr(
        task, "_dream_batch",
        lambda r, a, excerpts, items, *more: batches.append(len(items))
        or dream_batch(r, a, excerpts, items, *more),
    )  # fmt: skip
    monkeypatch.setattr(task, "BATCH_SECONDS", seconds)
    _, parted, _ = run(ascent=loop, target=target)

    assert sum(batches) == 12
    assert max(batches) == most
    pd.testing.assert_frame_equal(whole, parted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variations": 0}, r"^variations=0; expected a whole number, at least 1"),
        ({"step_size": [1.0, -2]}, r"^step_size=\[1.0,-2\]; expected a number above 0, or a list"),
        ({"budget_db": True}, r"^budget_db=true; expected a number above 0, or a list of"),
        ({"target": "zither"}, r"unknown instrument 'zither'"),
    ],
)
def test_values_that_are_none_are_refused(run, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        run(**changes)


def test_what_cannot_be_read_is_listed(run, caplog) -> None:
    run(target="flu", start=Start(bad=("'x.wav' is empty",)))
    assert "skipped 1 excerpt" in caplog.text
    assert "'x.wav' is empty" in caplog.text


def test_nothing_to_dream_on_is_an_error(run, caplog) -> None:
    class Nothing(Start):
        def excerpts(self, **_):
            return [], ["'x.wav' is empty (0 frames); replace it", "'y.wav' is silent"]

    with pytest.raises(InputError, match=r"nothing to dream on: 'x.wav' is empty \(0 frames\)"):
        run(start=Nothing())
    assert caplog.messages == ["skipped 1 excerpt:\n  'y.wav' is silent"]


@pytest.mark.parametrize("confidence", [None, 0.2, 0.99])
def test_the_bars_of_success_do_not_depend_on_where_a_dream_stops(run, confidence) -> None:
    loop = tiny_ascent(confidence=confidence, step_size=4.0, steps=8)
    metrics, table, _ = run(target="sax", ascent=loop)
    for where, end in (("", ""), ("wav_", "_wav")):
        p, on_top = table[f"target_probability{end}"], table[f"prediction{end}"] == "sax"
        assert table[f"{where}on_top"].tolist() == on_top.tolist()
        assert table[f"{where}at_0.9"].tolist() == (on_top & (p >= 0.9)).tolist()
        for bar in ("on_top", "at_0.9"):
            assert metrics[f"dream/{where}{bar}"] == table[f"{where}{bar}"].mean()


def test_a_dream_that_changes_nothing_is_counted_and_has_no_snr(run, capsys) -> None:
    """What has the confidence from the start is left as it is; a sound is then copied."""
    loop = tiny_ascent(confidence=1e-6, parametrization=Waveform())
    metrics, table, _ = run(ascent=loop, start=Named("x"))
    rows = table.to_dict("records")
    (first,) = [row for row in rows if row["target"] == row["prediction_before"]]
    assert (first["unchanged"], first["snr_db"]) == (True, np.inf)
    changed = [row["snr_db"] for row in rows if not row["unchanged"]]
    assert metrics["dream/unchanged"] == (count := 11 - len(changed))
    assert metrics["dream/snr_db"] == pytest.approx(np.mean(changed), rel=1e-4)
    printed = capsys.readouterr().out
    assert printed.count(" unchanged \n") == count
    assert f"{count} of 11 dreams changed nothing; the SNR is of the {11 - count} tha" in printed


def test_of_an_objective_without_a_target_none_is_told(run, tmp_path, capsys) -> None:
    loop = tiny_ascent(objective=Layer("layers.0"))
    metrics, table, tracker = run(target=["sax", "flu"], ascent=loop, figures=1)
    assert table["file"].tolist() == ["a_low_1", "short", "silence"]  # one each, not one a target
    assert np.isnan(table["target"].to_numpy(float)).all()
    assert not [name for name in metrics if "target" in name or "on_top" in name or "0.9" in name]
    assert "dream/curve/target_probability" not in tracker.metrics
    assert len(tracker.over_steps("dream/curve/objective")) == 5
    assert len(list((tmp_path / "sounds").glob("*.wav"))) == 9
    assert len(list((tmp_path / "spectrograms").glob("*.png"))) == 1
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert np.isnan(curves["target_probability"].to_numpy()).all()
    assert len(curves) == 15
    for row in table.to_dict("records"):
        curve = curves[curves["file"] == row["file"]]["objective"].tolist()
        assert curve.index(max(curve)) == row["steps"]
        assert row["objective_before"] == pytest.approx(curve[0], rel=1e-4)
        assert row["objective"] == pytest.approx(max(curve), rel=1e-4)
        assert {row["prediction_before"], row["prediction"], row["prediction_wav"]} <= set(CODES)
    for name in ("objective", "objective_before"):
        assert metrics[f"dream/{name}"] == pytest.approx(table[name].mean(), rel=1e-4)
    printed = capsys.readouterr().out
    assert " by layer('layers.0'), 4 steps x 1 octave, on cpu" in printed
    assert re.search(r"objective \S+ → \S+ \(median\); first guess of the WAVs: \w+", printed)
    assert "sax " not in printed
    assert "heard" not in printed


def test_of_lists_in_one_batch_each_dream_says_which_it_is(run, capsys) -> None:
    loop = tiny_ascent(steps=1)
    with titles_drawn() as titles:
        _, table, _ = run(target=["sax", "flu"], ascent=loop, start=Named("x"),
            step_size=[0.5, 1], budget_db=[1, 2], variations=2, figures=99,
        )  # fmt: skip
    assert titles[0].startswith("x toward saxophone, step size 0.5, budget 1 dB, variation 0: ")
    assert titles[-1].startswith("x toward flute, step size 1, budget 2 dB, variation 1: ")
    assert len(set(titles)) == len(table) == 16
    assert table["file"].iloc[0] == "x-to-sax-step-0.5-budget-1-variation-0"
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("excerpt toward step budget dB variation p before" in line for line in printed)
    assert sum(line.startswith("x flu 0.5 2 1 ") for line in printed) == 1


# The judge --------------------------------------------------------------------------------------


def another(my_package, instruments: tuple[str, ...] = CODES, rate_hz: int = RATE_HZ) -> Recognizer:
    """Return a network of other weights, for another sample rate if wanted."""
    return my_net(my_package, 1, rate_hz=rate_hz, instruments=instruments)


def test_a_judge_predicts_the_wav_and_the_undreamed_sound(run, my_package, tmp_path) -> None:
    judge = another(my_package, rate_hz=6000)
    metrics, table, tracker = run(
        target=["sax", "flu"], judge=judge, ascent=tiny_ascent(step_size=3.0)
    )
    for row in table.to_dict("records"):
        of_dream, of_original = (
            predict_file(tmp_path / "sounds" / f"{row['file']}-{kind}.wav", row["target"], judge)
            for kind in ("dream", "original")
        )
        index = torch.tensor([CODES.index(row["target"])])
        assert row["judge_probability"] == pytest.approx(float(of_dream.of_target(index)), abs=1e-5)
        assert row["judge_on_top"] == of_dream.on_top(index).item()
        assert row["undreamed_judge_on_top"] == of_original.on_top(index).item()
    assert table["judge_on_top"].mean() == metrics["dream/judge_on_top"]
    assert table["undreamed_judge_on_top"].mean() == metrics["dream/undreamed_judge_on_top"]
    assert tracker.metrics["dream/judge_on_top"] == metrics["dream/judge_on_top"]


def test_what_both_networks_predict_and_what_lies_between_is_kept(
    run, recognizer, my_package, tmp_path
) -> None:
    loop = tiny_ascent(
        step_size=3.0, parametrization=StftGain(), steps=24, confidence=None, keep="last"
    )
    given = {"judge": another(my_package), "figures": 1, "target": "sax", "command": ["a=b"]}
    _, table, _ = run(ascent=loop, **given)
    kept = pd.read_csv(tmp_path / "probabilities.csv")
    assert len(kept) == 3 * 2 * len(CODES)
    sax = kept[kept["label"] == "sax"].pivot(index="file", columns="network")
    for row in table.to_dict("records"):
        told = sax.loc[row["file"]]
        assert told["dream", "judge"] == pytest.approx(row["judge_probability"], abs=1e-5)
        assert told["dream", "recognizer"] == pytest.approx(row["target_probability_wav"], abs=1e-5)
        before = told["original", "recognizer"]
        assert before == pytest.approx(row["target_probability_before"], abs=1e-5)
    steps = sorted((path.parent.name, path.stem) for path in (tmp_path / "steps").rglob("*.wav"))
    name = table["file"][0]
    assert steps == sorted((steps, name) for steps in ("2", "4", "8", "16"))
    run(folder=tmp_path, ascent=replace(loop, steps=12), **given)  # has none of 16 steps
    kept_steps = {path.parent.name for path in (tmp_path / "steps").rglob("*.wav")}
    assert kept_steps == {"1", "2", "4", "8"}
    page = (tmp_path / "index.html").read_text()
    assert "<h1>3 dreams toward saxophone</h1>" in page
    assert "<code>python main.py a=b</code>" in page


def test_a_judge_says_nothing_of_a_target_that_it_does_not_know(run, my_package, capsys) -> None:
    others = {"sax": "zither", "flu": "Flute"}  # the second is the same in other words
    judge = another(my_package, tuple(others.get(code, code) for code in CODES[::-1]))
    metrics, table, _ = run(target=["sax", "flu"], judge=judge)
    assert table["judge_on_top"].isna().tolist() == [True, False] * 3
    assert metrics["dream/judge_on_top_undefined"] == 3
    said = capsys.readouterr().out
    assert "judge: not asked about sax (saxophone), which it does not know" in said
    assert re.search(r"the judge agrees in \d of 3 that it was asked about \(undreamed \d\)", said)


def test_a_layer_is_not_judged(run, my_package) -> None:
    loop = tiny_ascent(objective=Layer("layers.0"))
    metrics, table, _ = run(ascent=loop, judge=another(my_package))
    assert table["judge_on_top"].isna().tolist() == [True] * 3
    assert not [name for name in metrics if "judge" in name]


@pytest.mark.parametrize("why", ["it is one of the recognizers", "it knows none of the labels"])
def test_who_is_no_judge(run, recognizer, my_package, capsys, why) -> None:
    stranger = another(my_package, tuple(f"drum {i}" for i in range(len(CODES))))
    judge = recognizer if "recognizers" in why else stranger
    metrics, _, _ = run(target="sax", judge=judge)
    assert f"judge: none, since {why}" in capsys.readouterr().out
    assert not [name for name in metrics if "judge" in name]


def test_a_judge_of_longer_windows_is_not_asked(run, my_package, capsys) -> None:
    judge = another(my_package)
    judge.window_seconds = 9.5
    metrics, table, _ = run(target="sax", judge=judge)
    assert re.search(
        r"judge: none, since its window is 9.5 s and a sound has \d.\d{3} s",
        capsys.readouterr().out,
    )
    assert table["judge_on_top"].isna().tolist() == [True] * 3
    assert not [name for name in metrics if "judge" in name]


# Interrupted ------------------------------------------------------------------------------------


def interrupted(run, tmp_path: Path, **changes) -> tuple[Interrupted, list[str]]:
    """Dream until a signal comes; return what is said, and the names of the dreams in the table.

    Each has its three sounds, and there are no others.
    """
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, **{"target": ["cel", "sax"], **changes})
    table = tmp_path / "dreams.csv"
    names = pd.read_csv(table)["file"].tolist() if table.exists() else []
    sounds = [path.name for path in (tmp_path / "sounds").glob("*")]
    kinds = ("original", "dream", "difference")
    assert sorted(sounds) == sorted(f"{name}-{kind}.wav" for name in names for kind in kinds)
    return caught.value, names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dreams_that_are_finished_are_written_when_a_signal_comes(
    run, tmp_path, monkeypatch, capsys, number
) -> None:
    monkeypatch.setattr(task, "BATCH_SECONDS", 4.0)  # two items of 2 s
    before = signal.signal(number, interrupt)
    shown: list[int] = []

    def show(self: DreamBar, step: int, items: int, finished: int) -> None:
        shown.append(step)
        if shown == [0, 1, 2, 3, 0, 1]:  # in the second batch
            signal.raise_signal(number)

    monkeypatch.setattr(DreamBar, "show", show)
    error, names = interrupted(run, tmp_path, ascent=tiny_ascent(confidence=None))
    signal.signal(number, before)
    assert shown == [0, 1, 2, 3, 0, 1]
    assert names == ["a_low_1-to-cel", "a_low_1-to-sax"]
    assert str(error).startswith(
        f"2 of 6 dreams are finished and kept in {tmp_path}; type the same"
    )
    assert error.number == number
    assert "a/low: 1" in capsys.readouterr().out


def test_of_a_batch_that_is_interrupted_the_items_at_their_goal_are_kept(
    run, tmp_path, monkeypatch
) -> None:
    loop = tiny_ascent(confidence=0.01)  # an excerpt has it where it is predicted from the start
    _, whole, _ = run(folder=tmp_path / "whole", ascent=loop)
    early = whole[(whole["name"] != "short") & (whole["steps"] == 0)]
    assert early["name"].tolist() == ["a/low: 1", "silence"]

    def show(self: DreamBar, step: int, items: int, finished: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(DreamBar, "show", show)
    error, names = interrupted(run, tmp_path / "own", target="all", ascent=loop)
    assert names == early["file"].tolist()
    assert str(error).startswith("2 of 33 dreams are finished")


def test_a_signal_while_the_page_is_written_says_that_all_is_kept(
    run, tmp_path, monkeypatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("irdream.reports.dream_page.write_run_page", stop)
    error, names = interrupted(run, tmp_path)
    assert len(names) == 6
    assert str(error) == f"all dreams are finished and kept in {tmp_path}"


def test_where_no_dream_is_finished_nothing_is_written(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(DreamBar, "show", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    error, names = interrupted(run, tmp_path, ascent=tiny_ascent(confidence=None))
    assert names == []
    assert str(error) == "no dream was finished; type the same line again to dream all"
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_leaves_a_row_for_each_dream_that_was_written(
    run, tmp_path, monkeypatch
) -> None:
    heard: list[Path] = []

    def twice(path: Path, *arguments) -> object:
        answer = predict_file(path, *arguments)
        heard.append(path)
        if len(heard) == 3:
            path.unlink()  # as if it came before the sounds were written
            for kind in ("original", "difference"):
                path.with_name(path.name.replace("-dream.", f"-{kind}.")).unlink()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return answer

    monkeypatch.setattr(dream_table, "predict_file", twice)
    error, names = interrupted(run, tmp_path)
    assert len(names) == 2
    assert str(error).startswith("2 of 6 dreams are finished")

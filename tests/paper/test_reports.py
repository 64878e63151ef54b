"""What stands in the tables, figures and sections of both experiments."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from irdream.dreaming.targets import Item
from irdream.instruments import CODES
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.paper import excerpts_report, noise_report
from irdream.paper.excerpts import ExcerptFindings, dream_excerpts
from irdream.paper.excerpts_report import report_excerpts
from irdream.paper.noise import NoiseFindings, by_noise, dream_noise
from irdream.paper.noise_report import report_noise
from irdream.paper.part import Part, provenance
from irdream.paper.sound_report import SHOWN, WAY_NAMES
from irdream.paper.study import Found
from irdream.reports.pages import Section
from irdream.reports.tables import mean_of, records, rows_of
from irdream.stopwatch import Stopwatch


@pytest.fixture
def excerpts(finished, music, undrawn) -> ExcerptFindings:
    """What `finished` found; nothing is dreamed again."""
    return dream_excerpts(
        finished.study, music("cel", "flu+pia", "0.8 s sax"), per_instrument=1,
        grid_per_instrument=1, steps=4, seconds=1.0, stopwatch=Stopwatch(),
    )  # fmt: skip


@pytest.fixture
def noises(finished, undrawn) -> NoiseFindings:
    return dream_noise(finished.study, count=2, steps=3, permutations=20, stopwatch=Stopwatch())


def section(part: Part, title: str) -> Section:
    (found,) = [one for one in part.sections if one.title.startswith(title)]
    return found


def recorded(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple[tuple, dict]]:
    """Return what a figure will be asked to draw."""
    calls: list[tuple[tuple, dict]] = []

    def draw(*args: Any, **settings: Any) -> Figure:
        calls.append((args, settings))
        return Figure(figsize=(1, 1))

    monkeypatch.setattr(module, name, draw)
    return calls


# Excerpts ---------------------------------------------------------------------------------------


def test_a_row_for_each_dream_way_and_kind(finished) -> None:
    dreams = pd.read_csv(finished.folder / "excerpts" / "dreams.csv")
    counts = dreams.groupby(["ascent", "way", "kind"]).size()
    ways = [("log_mel", "gain"), ("log_mel", "fast_griffin_lim")]
    ways += [(name, name) for name in ("stft_gain", "waveform")]
    assert set(counts.index) == {
        (*one, kind) for one in ways for kind in ("dream", "undreamed", "random")
    }
    assert set(counts) == {3 * 2}  # excerpts, toward own and other
    grid = pd.read_csv(finished.folder / "excerpts" / "all_targets.csv")
    assert len(grid) == 3 * 11 * 3
    assert (grid.loc[grid["kind"] == "dream", "steps"] == 4).all()
    before = pd.read_csv(finished.folder / "excerpts" / "before_after.csv")
    assert before["dreams"].tolist() == [
        name
        for name in ("until heard, log_mel", "until heard, stft_gain", "until heard, waveform",
                     "log_mel, 4 steps")
        for _ in range(2)
    ]  # fmt: skip
    assert before["n"].tolist() == [3] * 7 + [30]


def test_distances_are_the_means_of_the_pairs(finished) -> None:
    pairs = pd.read_csv(finished.folder / "excerpts" / "pairs.csv")
    table = pd.read_csv(finished.folder / "excerpts" / "distances.csv").set_index("own")
    assert list(table.index) == list(table.columns) == list(CODES)
    values = table.to_numpy(dtype=float)
    for pair in records(pairs):  # one excerpt of each
        value = values[CODES.index(pair["own"]), CODES.index(pair["wrong"])]
        assert value == pytest.approx(pair["mse_cw"], abs=1e-5)
    assert np.isfinite(values).sum() == len(pairs) == 10 + 10 + 9
    assert np.isnan(values[CODES.index("flu"), CODES.index("pia")])  # its other label


def test_ways_are_of_dreams_toward_other_instruments(finished) -> None:
    dreams = pd.read_csv(finished.folder / "excerpts" / "dreams.csv")
    ways = pd.read_csv(finished.folder / "excerpts" / "ways.csv")
    assert set(ways["dreams"]) == {3}
    row = rows_of(ways, way="gain", kind="random")
    of = rows_of(dreams, way="gain", kind="random", toward="other")
    assert float(row["snr_db"].iloc[0]) == pytest.approx(np.median(of["snr_db"]), abs=1e-5)
    mean = of["masking_violation"].to_numpy().mean()
    assert float(row["masking_violation"].iloc[0]) == pytest.approx(mean, abs=1e-5)


def test_the_tables_of_the_page_show_every_measure(excerpts, finished, tmp_path) -> None:
    part = report_excerpts(excerpts, finished.study, tmp_path)

    tables = section(part, "From a dream to sound").tables
    assert [table.title for table in tables] == list(SHOWN)
    for table, shown in zip(tables, SHOWN.values(), strict=True):
        assert set(table.columns[2:]) == {
            heading for name, (heading, _) in shown.items() if name != "visqol"
        }
        names = [WAY_NAMES[w] for w in ("gain", "fast_griffin_lim", "stft_gain", "waveform")]
        assert [row[0] for row in table.rows] == [name for name in names for _ in range(3)]
    assert tables[0].rows[0][2] in ("0%", "33%", "67%", "100%")
    own, others = section(part, "The recogniser").tables
    assert len(own.rows) == 11
    systems = [row[0] for row in others.rows]
    ours = [system for system in systems if system.startswith("irdream (")]
    assert ours[:2] == ["irdream (S1)", "irdream (S1, oracle threshold)"]
    assert systems[len(ours)] == "second (S1)"
    assert systems[len(ours) + 1].startswith("Bosch")
    before, size = section(part, "Confidence and accuracy").tables
    assert "transfer" in before.columns
    assert len(before.rows) == len(size.rows) == 8


def test_figure_2_shows_what_was_dreamed(excerpts, finished, tmp_path, monkeypatch) -> None:
    ((args, settings),) = [
        call
        for calls in [recorded(monkeypatch, excerpts_report, "targets_figure")]
        for _ in [report_excerpts(excerpts, finished.study, tmp_path)]
        for call in calls
    ]
    originals, dreams = args
    places = [i for i, item in enumerate(excerpts.grid.items) if item.excerpt == 2]
    assert settings["row_names"] == ["cel-0", "sax-2"]
    assert settings["own"] == [CODES.index("cel"), CODES.index("sax")]
    np.testing.assert_allclose(
        dreams[1], DB_PER_NATURAL * np.stack([excerpts.grid.planes["dream"][i] for i in places])
    )
    assert originals[1].shape == dreams[1][0].shape != originals[0].shape  # 0.8 s and 1.0 s
    for row, place in zip(settings["probabilities"][1], places, strict=True):
        assert (row == excerpts.grid.planes["after"][place]).all()
    assert (settings["probabilities_before"][1] == excerpts.grid.planes["before"][places[0]]).all()


def test_the_sounds_of_the_page_are_those_of_their_names(excerpts, finished, tmp_path) -> None:
    part = report_excerpts(excerpts, finished.study, tmp_path)

    figure_2 = section(part, "Examples: cello and saxophone").comparisons
    assert [one.title for one in figure_2] == [
        "cel-0 toward every instrument", "sax-2 toward every instrument",
    ]  # fmt: skip
    labels = [sound.label for sound in figure_2[0].sounds]
    assert labels[:3] == ["original", "cello", "clarinet"]
    assert figure_2[0].sounds[2].path.name == "cel-0-to-cla-gain-dream.wav"
    compared = section(part, "From a dream to sound").comparisons
    assert [one.title.split(" toward ")[0] for one in compared] == [
        "cel-0 (cello)", "flu+pia-1 (flute, piano)", "sax-2 (saxophone)",
    ]  # fmt: skip
    sounds = compared[1].sounds
    assert [sound.label for sound in sounds] == [
        "original", "gain, after", "fast Griffin-Lim, after", "undreamed: fast Griffin-Lim, after",
        "gain, in the loop", "waveform, in the loop",
    ]  # fmt: skip
    ends = ["gain-original", "gain-dream", "fast_griffin_lim-dream", "fast_griffin_lim-undreamed",
            "stft_gain-dream", "waveform-dream"]  # fmt: skip
    for sound, end in zip(sounds, ends, strict=True):
        assert sound.path.name.startswith("flu_pia-1-to-")
        assert sound.path.name.endswith(f"-{end}.wav")
        assert sound.path.is_file()


def test_the_listening_test_has_both_ways_and_no_pair_twice(excerpts, finished, tmp_path) -> None:
    """With few excerpts, too: "stft_gain" ends as "gain" does."""
    report_excerpts(excerpts, finished.study, tmp_path)

    text = (tmp_path / "abx.html").read_text()
    names = [
        pair["name"]
        for found in re.findall(r"\{.*\}", text)
        if '"pairs"' in found
        for pair in json.loads(found)["pairs"]
    ]
    assert len(names) == len(set(names)) == 2 * 3
    assert [name.rsplit(", ")[-1] for name in names] == ["gain"] * 3 + ["stft_gain"] * 3
    assert all(" toward " in name for name in names)
    assert "tones of a test" in text


def test_claims_of_the_excerpts(excerpts, finished, tmp_path) -> None:
    part = report_excerpts(excerpts, finished.study, tmp_path)
    by_code = {claim.code: claim for claim in part.claims}

    assert list(by_code) == [*(f"C{k}" for k in range(1, 8)), "E1"]
    assert by_code["C1"].verdict == "not tested"
    assert by_code["C3"].verdict == "holds"
    log_mel = rows_of(excerpts.table, ascent="log_mel", toward="other", kind="dream", way="gain")
    assert by_code["C4"].measured.startswith(f"RMSE {mean_of(log_mel, 'rmse_db'):.2f} (")
    assert "of 29 pairs" in by_code["C5"].measured
    assert "of 22 dreams of 2 excerpts (cello, saxophone)" in by_code["C6"].measured
    assert "waveform (no dream to survive)" in by_code["E1"].measured
    assert part.data == "tones of a test"


def test_without_ways_in_the_loop_nothing_is_said_of_them(excerpts, finished, tmp_path) -> None:
    study = replace(finished.study, ascents={"log_mel": finished.study.ascents["log_mel"]})
    alone = replace(
        excerpts, until_confident={"log_mel": excerpts.until_confident["log_mel"]},
        table=rows_of(excerpts.table, ascent="log_mel"),
    )  # fmt: skip
    part = report_excerpts(alone, study, tmp_path)
    assert [claim.code for claim in part.claims] == [f"C{k}" for k in range(1, 8)]


# Noise ------------------------------------------------------------------------------------------


def test_tables_of_the_noises(finished) -> None:
    folder = finished.folder / "noise"
    table = pd.read_csv(folder / "noises.csv")
    assert len(table) == 2 * 2 * 2 * 11 * 3  # colors, ascents, noises, targets, kinds
    assert (table.loc[table["kind"] == "dream", "steps"] == 3).all()
    patterns = pd.read_csv(folder / "patterns.csv")
    assert len(patterns) == 2 * 2 * 2
    assert list(patterns.columns) == [
        "noise", "dreamed", "compared", "within", "between", "p", "d", "silhouette",
    ]  # fmt: skip
    assert patterns["p"].between(1 / 22, 1).all()
    distances = pd.read_csv(folder / "noise_distances.csv")
    assert len(distances) == 2 * 2 * (22 + 2 * 55 + 1 + 11)


def test_figure_3_shows_what_was_dreamed(noises, finished, tmp_path, monkeypatch) -> None:
    calls = recorded(monkeypatch, noise_report, "noise_figure")
    monkeypatch.setattr(noise_report, "SHOWN_NOISES", 1)
    part = report_noise(noises, finished.study, tmp_path)

    (args, white), (_, pink) = calls
    dreams = noises.found["white", "log_mel"]
    after = by_noise(dreams.of("after"), 2)
    assert args[0].shape == dreams.of("original")[:1].shape
    np.testing.assert_allclose(args[1], DB_PER_NATURAL * by_noise(dreams.of("dream"), 2)[:1])
    assert white["targets"] == list(range(11))
    np.testing.assert_allclose(white["probabilities"], [np.diagonal(after[0])])
    np.testing.assert_allclose(white["mean_outputs"], after.mean(axis=0))
    np.testing.assert_allclose(
        white["outputs_before"], by_noise(dreams.of("before"), 2)[:, 0].mean(axis=0)
    )
    assert white["regions"] is noises.regions["white"]
    assert pink["regions"] is noises.regions["pink"]
    assert "The first 1 of 2 noises" in section(part, "Noise").pictures[0].caption


def test_the_sections_of_the_noises(noises, finished, tmp_path) -> None:
    part = report_noise(noises, finished.study, tmp_path)

    assert [claim.code for claim in part.claims] == ["C8", "C9"]
    assert part.claims[0].measured.startswith("2 noises of each color, 3 steps; ")
    assert part.claims[1].measured.startswith("white: ")
    patterns, means, sound = section(part, "Noise").tables
    assert len(patterns.rows) == 8
    assert len(means.rows) == len(sound.rows) == 2 * 2 * 3
    (distances,) = section(part, "Do the dreamed noises sound alike?").tables
    assert len(distances.rows) == 2 * 2 * 4
    white = rows_of(noises.table, color="white", ascent="log_mel", kind="random")
    assert means.rows[2][:3] == ["white", "log_mel", "random"]
    assert means.rows[2][3] == f"{white['target_probability'].to_numpy().mean():.2f}"
    of = rows_of(noises.distances, color="white", ascent="log_mel", pair="two noises")
    assert distances.rows[2][3] == f"{np.median(of['profile_db']):.2f}"


def test_the_sounds_of_the_noises(noises, finished, tmp_path) -> None:
    part = report_noise(noises, finished.study, tmp_path)

    compared = section(part, "Do the dreamed noises").comparisons
    assert [one.title for one in compared] == [
        f"{color} noise, dreamed as {ascent}"
        for color in ("white", "pink")
        for ascent in ("log_mel", "stft_gain")
    ]
    for one, color, way in zip(
        compared, ("white", "white", "pink", "pink"), ("gain", "stft_gain") * 2, strict=True
    ):
        names = [sound.path.name for sound in one.sounds]
        assert names[0] == f"{color}-0-to-cel-{way}-original.wav"
        assert names[1:] == [f"{color}-0-to-{code}-{way}-dream.wav" for code in CODES]
        assert all((tmp_path / "sounds" / name).is_file() for name in names)


def test_the_baseline_by_hand() -> None:
    """Three noises toward two targets, which are a cello and a clarinet."""
    heard = np.array([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2]])
    items = [Item(i, target) for i in range(3) for target in ("cel", "cla")]
    dreams = Found(
        items=items, table=pd.DataFrame(), planes={"before": list(heard.repeat(2, axis=0))},
        sounds=[],
    )  # fmt: skip
    findings: Any = type("Findings", (), {})()
    findings.noises, findings.found = {"pink": [None] * 3}, {("pink", "log_mel"): dreams}
    assert noise_report._baseline(findings) == (
        "pink noise is heard as clarinet in 2 of 3, with a mean probability of 0.60"
    )


# Provenance -------------------------------------------------------------------------------------


def test_provenance_tells_what_to_write_down(finished) -> None:
    study = finished.study
    told = provenance(study.recognizer, None, data="tones", seed=7, seconds=90.0)

    assert (told["Data"], told["Seed"], told["Second recognizer"]) == ("tones", "7", "none")
    assert re.fullmatch(r"Gullible, weights [0-9a-f]{12}", told["Checkpoint"])
    assert told["Time"].startswith("1.5 min")
    assert "cpu" in told["Machine"]
    both = provenance(study.recognizer, study.second, data="tones", seed=7, seconds=0)
    assert both["Checkpoint"] == told["Checkpoint"] != both["Second recognizer"]


def test_provenance_names_the_training_data(finished) -> None:
    recognizer = finished.study.recognizer
    recognizer.card = {"data": {"name": "music", "training_excerpts": 12}}
    try:
        told = provenance(recognizer, None, data="", seed=0, seconds=0)
    finally:
        recognizer.card = {}
    assert told["Checkpoint"].endswith(", trained on 12 excerpts of music")


def test_what_means_over_noises_leave_out_is_said() -> None:
    table = pd.DataFrame(
        {
            "color": ["pink"] * 3 + ["white"] * 2,
            "snr_db": [10.0, 20.0, np.inf, 5.0, 7.0],
            "flatness": [0.5, np.nan, np.nan, np.nan, np.nan],
        }
    )
    means = noise_report._averaged(table, ["color"], ["snr_db", "flatness"], "mean")
    assert means["snr_db"].tolist() == [15.0, 6.0]
    said = noise_report._undefined(table, ["color"], {"snr_db": "SNR dB", "flatness": "flatness"})
    assert said == (
        " Left out, since not defined: pink: SNR dB of 1 of 3; pink: flatness of 2 of 3."
    )
    assert noise_report._undefined(table.iloc[3:], ["color"], {"snr_db": "SNR dB"}) == ""

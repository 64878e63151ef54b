"""What stands in the tables, figures and sections of both experiments."""

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.instruments import CODES
from irdream.paper.excerpts import ExcerptFindings, dream_excerpts
from irdream.paper.noise import NoiseFindings, dream_noise
from irdream.paper.pages import NOISE_TABLES, WAY_NAMES, WAY_TABLES, Chapter, page_of
from irdream.paper.report import _baseline, report_excerpts, report_noise
from irdream.progress import Stopwatch
from irdream.reports.pages import Section
from irdream.reports.tables import mean_of, rows_of


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


def section(chapter: Chapter, title: str) -> Section:
    (found,) = [one for one in chapter.sections if one.title.startswith(title)]
    return found


# Excerpts ---------------------------------------------------------------------------------------


def test_tables_of_the_excerpts(finished) -> None:
    folder = finished.folder / "excerpts"
    dreams, grid, before, ways, pairs, distances = (
        pd.read_csv(folder / f"{name}.csv")
        for name in ("dreams", "all_targets", "before_after", "ways", "pairs", "distances")
    )
    counts = dreams.groupby(["ascent", "way", "kind"]).size()
    both = [("log_mel", "gain"), ("log_mel", "fast_griffin_lim")]
    both += [(name, name) for name in ("stft_gain", "waveform")]
    assert set(counts.index) == {
        (*one, kind) for one in both for kind in ("dream", "undreamed", "random")
    }
    assert set(counts) == {3 * 2}  # excerpts, toward own and other
    assert len(grid) == 3 * 11 * 3
    assert (grid.loc[grid["kind"] == "dream", "steps"] == 4).all()
    sets = [f"until confident, {name}" for name in ("log_mel", "stft_gain", "waveform")]
    sets.append("log_mel, 4 steps")
    assert before["dreams"].tolist() == [name for name in sets for _ in range(2)]
    assert before["n"].tolist() == [3] * 7 + [30]

    assert set(ways["dreams"]) == {3}  # those toward other instruments
    row = rows_of(ways, way="gain", kind="random").iloc[0]
    of = rows_of(dreams, way="gain", kind="random", toward="other")
    assert row["snr_db"] == pytest.approx(np.median(of["snr_db"]), abs=1e-5)
    assert row["masking_violation"] == pytest.approx(of["masking_violation"].mean(), abs=1e-5)

    distances = distances.set_index("own")
    assert list(distances.index) == list(distances.columns) == list(CODES)
    for pair in pairs.to_dict("records"):  # one excerpt of each
        value = distances.loc[pair["own"], pair["wrong"]]
        assert value == pytest.approx(pair["mse_cw"], abs=1e-5)
    assert distances.notna().sum().sum() == len(pairs) == 10 + 10 + 9
    assert np.isnan(distances.loc["flu", "pia"])  # its other label


def test_the_tables_of_the_page_show_every_measure(excerpts, finished, tmp_path) -> None:
    chapter = report_excerpts(excerpts, finished.study.recognizer, tmp_path)

    tables = section(chapter, "From a dream to sound").tables
    assert [table.title for table in tables] == list(WAY_TABLES)
    for table, shown in zip(tables, WAY_TABLES.values(), strict=True):
        assert set(table.columns[2:]) == {heading for heading, _ in shown.values()}
        names = [WAY_NAMES[w] for w in ("gain", "fast_griffin_lim", "stft_gain", "waveform")]
        assert [row[0] for row in table.rows] == [name for name in names for _ in range(3)]
    assert tables[0].rows[0][2] in ("0%", "33%", "67%", "100%")
    own, others = section(chapter, "The recogniser").tables
    assert len(own.rows) == 11
    systems = [row[0] for row in others.rows]
    ours = [system for system in systems if system.startswith("irdream (")]
    assert ours[:2] == ["irdream (S1)", "irdream (S1, oracle threshold)"]
    assert systems[len(ours)] == "second (S1)"
    assert systems[len(ours) + 1].startswith("Bosch")
    before, size = section(chapter, "Confidence and accuracy").tables
    assert "transfer" in before.columns
    assert size.columns[4:9] == ["steps", "flipped", "to flip", "reached 0.9", "to 0.9"]
    assert len(before.rows) == len(size.rows) == 8
    mse, rho = section(chapter, "Correct against wrong").tables
    assert [row[0] for row in mse.rows] == [row[0] for row in rho.rows] == list(CODES)
    assert mse.rows[0][1] == rho.rows[0][1] == "–"  # toward its own


def test_the_sounds_of_the_page_are_those_of_their_names(excerpts, finished, tmp_path) -> None:
    chapter = report_excerpts(excerpts, finished.study.recognizer, tmp_path)

    figure_2 = section(chapter, "Examples: cello and saxophone").comparisons
    assert [one.title for one in figure_2] == [
        "cel-0 toward every instrument", "sax-2 toward every instrument",
    ]  # fmt: skip
    labels = [sound.label for sound in figure_2[0].sounds]
    assert labels[:3] == ["original", "cello", "clarinet"]
    assert figure_2[0].sounds[2].path.name == "cel-0-to-cla-gain-dream.wav"
    compared = section(chapter, "From a dream to sound").comparisons
    assert [one.title.split(" toward ")[0] for one in compared] == [
        "cel-0 (cello)", "flu+pia-1 (flute, piano)", "sax-2 (saxophone)",
    ]  # fmt: skip
    expected = {
        "original": "gain-original", "gain, after": "gain-dream",
        "fast Griffin-Lim, after": "fast_griffin_lim-dream",
        "undreamed: fast Griffin-Lim, after": "fast_griffin_lim-undreamed",
        "gain, in the loop": "stft_gain-dream", "waveform, in the loop": "waveform-dream",
    }  # fmt: skip
    sounds = {sound.label: sound.path for sound in compared[1].sounds}
    assert list(sounds) == list(expected)
    for label, path in sounds.items():
        assert path.name.startswith("flu_pia-1-to-")
        assert path.name.endswith(f"-{expected[label]}.wav")
        assert path.is_file()


def test_the_listening_test_has_both_ways_and_no_pair_twice(excerpts, finished, tmp_path) -> None:
    """With few excerpts, too: "stft_gain" ends as "gain" does."""
    report_excerpts(excerpts, finished.study.recognizer, tmp_path)

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
    chapter = report_excerpts(excerpts, finished.study.recognizer, tmp_path)
    by_code = {claim.code: claim for claim in chapter.claims}

    assert list(by_code) == [*(f"C{k}" for k in range(1, 8)), "E1"]
    assert (by_code["C1"].verdict, by_code["C3"].verdict) == ("not tested", "holds")
    log_mel = rows_of(excerpts.table, ascent="log_mel", toward="other", kind="dream", way="gain")
    assert by_code["C4"].measured.startswith(f"RMSE {mean_of(log_mel, 'rmse_db'):.2f} (")
    assert "of 29 pairs" in by_code["C5"].measured
    assert "of 22 dreams of 2 excerpts (cello, saxophone)" in by_code["C6"].measured
    assert "waveform (no dream to survive)" in by_code["E1"].measured


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


def test_the_sections_of_the_noises(noises, finished, tmp_path) -> None:
    chapter = report_noise(noises, finished.study.recognizer, tmp_path)

    assert [claim.code for claim in chapter.claims] == ["C8", "C9"]
    assert chapter.claims[0].measured.startswith("2 noises of each color, 3 steps; ")
    assert chapter.claims[1].measured.startswith("white: ")
    patterns, means, sound = section(chapter, "Noise").tables
    assert len(patterns.rows) == 8
    assert [means.title, sound.title] == list(NOISE_TABLES)
    assert len(means.rows) == len(sound.rows) == 2 * 2 * 3
    (distances,) = section(chapter, "Do the dreamed noises sound alike?").tables
    assert len(distances.rows) == 2 * 2 * 4
    white = rows_of(noises.table, color="white", ascent="log_mel", kind="random")
    mean = mean_of(white, "target_probability")
    assert means.rows[2][:4] == ["white", "log_mel", "random", f"{mean:.2f}"]
    of = rows_of(noises.distances, color="white", ascent="log_mel", pair="two noises")
    assert distances.rows[2][3] == f"{np.median(of['profile_db']):.2f}"
    compared = section(chapter, "Do the dreamed noises").comparisons
    for one, found in zip(compared, noises.found, strict=True):
        (color, ascent), names = found, [sound.path.name for sound in one.sounds]
        way = {"log_mel": "gain"}.get(ascent, ascent)
        assert one.title == f"{color} noise, dreamed as {ascent}"
        assert names[0] == f"{color}-0-to-cel-{way}-original.wav"
        assert names[1:] == [f"{color}-0-to-{code}-{way}-dream.wav" for code in CODES]
        assert all((tmp_path / "sounds" / name).is_file() for name in names)


def test_the_baseline_by_hand() -> None:
    """Three noises toward two targets, which are a cello and a clarinet."""
    before = [0.1, 0.9, 0.3, 0.7, 0.8, 0.2]
    columns = {"color": "pink", "ascent": "log_mel", "kind": "dream", "target": ["cel", "cla"] * 3}
    table = pd.DataFrame(columns | {"before": before, "before_on_top": np.array(before) > 0.5})
    findings: Any = SimpleNamespace(count=3, bands={"pink": None}, table=table)
    assert _baseline(findings) == (
        "pink noise is recognized as clarinet in 2 of 3, with a mean probability of 0.60"
    )


# Provenance -------------------------------------------------------------------------------------


def test_provenance_tells_what_to_write_down(finished, monkeypatch) -> None:
    study = finished.study
    chapter = Chapter(claims=[], sections=[], metrics={}, data="tones")
    monkeypatch.setattr(study.recognizer, "card", {"data": {"name": "m", "training_excerpts": 12}})
    told = page_of([chapter], study, 90.0).provenance

    trained = r"Gullible, weights ([0-9a-f]{12}), trained on 12 excerpts of m"
    first = re.fullmatch(trained, told["Checkpoint"])
    second = re.fullmatch(r"Gullible, weights ([0-9a-f]{12})", told["Second recognizer"])
    assert first is not None
    assert second is not None
    assert first[1] != second[1]
    assert (told["Data"], told["Seed"]) == ("tones", "0")
    assert told["Time"].startswith("1.5 min")
    assert "cpu" in told["Machine"]

"""The page of a run's dreams: what it holds."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from irdream.reports.dream_page import MAX_DREAMS, write_run_page
from tests.sweeps.test_gallery import files_in, given_in, notes_in

RATE_HZ = 22_050
LABELS = ("cel", "flu", "vio", "snare")
NAMES = ("one", "two", "three")


def tone(hz: float, level: float, seconds: float) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


def write_run(folder: Path, *, seconds: float = 1.0, judge: bool = True) -> pd.DataFrame:
    """Write what a run leaves: three dreams of a quiet tone, the first with some on the way."""
    (folder / "sounds").mkdir(parents=True)
    for k, name in enumerate(NAMES):
        for kind, hz, level in (("original", 220, 0.1), ("dream", 440 * (k + 1), 0.8)):
            path = folder / "sounds" / f"{name}-{kind}.wav"
            soundfile.write(path, tone(hz, level, seconds), RATE_HZ)
    for steps in (5, 20, 10):
        (folder / "steps" / str(steps)).mkdir(parents=True)
        path = folder / "steps" / str(steps) / "one.wav"
        soundfile.write(path, tone(300 + steps, 0.5, seconds), RATE_HZ)
    rows = [
        {"file": name, "network": network, "label": label, "original": 0.1 * k, "dream": 0.3 * k}
        for name in NAMES
        for network in ("recognizer", "judge")[: 1 + judge]
        for k, label in enumerate(LABELS)
    ]
    pd.DataFrame(rows).to_csv(folder / "probabilities.csv", index=False)
    table = pd.DataFrame(
        {
            "name": NAMES, "labels": ["cel;hi hat", "flu", None], "target": "flu", "file": NAMES,
            "steps": 60, "on_top": True, "at_0.9": True, "wav_on_top": True, "wav_at_0.9": True,
            "target_probability": 1.0, "target_probability_wav": [0.9, 0.8, 0.95],
            "judge_probability": [0.2, 0.7, 0.5] if judge else None, "rmse_db": 3.0,
            "judge_on_top": [False, True, True] if judge else None, "snr_db": np.inf,
            "undreamed_judge_on_top": False if judge else None, "prediction_wav": "flu",
        }
    )  # fmt: skip
    return table


def page_of(folder: Path, table: pd.DataFrame, **changes: Any) -> str:
    given: dict[str, Any] = {"command": ["task=dream", "target=flute"], "labels": LABELS, **changes}
    write_run_page(table, folder, **given)
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_says_what_happened_and_how_to_have_it_otherwise(tmp_path: Path) -> None:
    words = ["task=dream", "target=flute", "+dream.strength=2", "start.path=my file.wav"]
    page = page_of(tmp_path, write_run(tmp_path), command=words)
    assert "<h1>3 dreams toward flute</h1>" in page
    assert "flute is the first guess in 3 of 3 WAVs" in page
    assert "the judge agrees in 2 (undreamed 0)." in page
    commands = [x.replace("&#39;", "'") for x in re.findall("<dd><code>(.*?)</code>", page)]
    assert commands == [
        "python main.py task=dream target=flute +dream.strength=2 'start.path=my file.wav'",
        "python main.py task=dream target=flute 'start.path=my file.wav' dream.strength=quiet",
        "python main.py task=dream target=flute 'start.path=my file.wav' dream.strength=strong",
        "python main.py task=dream +dream.strength=2 'start.path=my file.wav' target=vio",
    ]
    assert "<code>" not in page_of(tmp_path, write_run(tmp_path / "b"), command=[])


def test_dreams_are_sorted_by_the_judge_and_without_one_by_the_recognizer(tmp_path: Path) -> None:
    given = given_in(page_of(tmp_path, write_run(tmp_path)))
    assert [e["title"] for e in given["entries"]] == [
        "two (flute) → flute", "three → flute", "one (cello, hi hat) → flute",
    ]  # fmt: skip
    assert [e["isOwn"] for e in given["entries"]] == [True, False, False]
    assert given["measures"] == ["p", "p WAV", "p judge", "RMSE dB", "SNR dB"]
    assert given["order"] == "p judge"
    assert given["entries"][0]["values"] == [1.0, 0.8, 0.7, 3.0, "∞"]
    alone = given_in(page_of(tmp_path, write_run(tmp_path / "alone", judge=False)))
    assert [e["title"].split()[0] for e in alone["entries"]] == ["three", "one", "two"]


def test_sounds_are_played_at_one_loudness_and_their_own_is_told(tmp_path: Path) -> None:
    """A sine of amplitude a has 20 log10 a - 3.0 LUFS at 1 kHz, and 0.95 less at 220 Hz."""
    page = page_of(tmp_path, write_run(tmp_path))
    entry = next(e for e in given_in(page)["entries"] if e["title"].startswith("one"))
    voices = {voice["name"]: voice for voice in entry["voices"]}
    assert list(voices) == ["original", "dream", "difference", "after 5", "after 10", "after 20"]
    for voice in voices.values():
        assert voice["level"] + voice["gain"] == pytest.approx(-23.0)
    assert voices["original"]["level"] == pytest.approx(-23.0 - 0.95, abs=0.05)
    assert voices["dream"]["peak"] == pytest.approx(20 * np.log10(0.8), abs=0.01)
    assert voices["dream"]["level"] - voices["original"]["level"] == pytest.approx(18.1, abs=0.7)
    assert voices["difference"]["file"] is None
    assert (entry["unit"], entry["rate"]) == ("LUFS", RATE_HZ)
    assert "−23.0 LUFS (ITU-R BS.1770-4)".replace("−", "-") in entry["levelNote"]
    assert len(files_in(page)) == 4 + 3  # the original is the same for all


def test_short_sounds_are_matched_by_rms_and_loud_peaks_lower_all(tmp_path: Path) -> None:
    table = write_run(tmp_path, seconds=0.3)
    clicks = np.zeros(round(0.3 * RATE_HZ))
    clicks[::4000] = 0.5
    soundfile.write(tmp_path / "sounds" / "two-dream.wav", clicks, RATE_HZ)
    entries = given_in(page_of(tmp_path, table))["entries"]
    quiet = {voice["name"]: voice for voice in entries[1]["voices"]}
    assert entries[1]["unit"] == "dB"
    assert "RMS, since ITU-R BS.1770 has no value for less than 0.4 s" in entries[1]["levelNote"]
    assert quiet["original"]["level"] == pytest.approx(-23.01, abs=0.02)
    assert quiet["dream"]["gain"] == pytest.approx(-23.0 - quiet["dream"]["level"])
    loud = {voice["name"]: voice for voice in entries[0]["voices"]}
    assert loud["dream"]["peak"] + loud["dream"]["gain"] == pytest.approx(-1.0, abs=1e-6)
    heard = [voice["level"] + voice["gain"] for voice in loud.values()]
    np.testing.assert_allclose(heard, heard[0])


def test_a_silent_sound_has_no_gain(tmp_path: Path) -> None:
    table = write_run(tmp_path)
    soundfile.write(tmp_path / "sounds" / "two-original.wav", np.zeros(RATE_HZ), RATE_HZ)
    original, dream, _ = given_in(page_of(tmp_path, table))["entries"][0]["voices"]
    assert (original["level"], original["gain"]) == (None, 0.0)
    assert dream["level"] + dream["gain"] == pytest.approx(-23.0)


def test_both_networks_are_shown_with_the_target_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("irdream.reports.dream_page.MOST_BARS", 3)
    recognizer, judge = given_in(page_of(tmp_path, write_run(tmp_path)))["entries"][0]["networks"]
    assert recognizer["name"] == "What dreamed it, one network or several as one"
    assert judge["name"] == "The judge, which had no part in it"
    rows = [(label, is_target) for label, is_target, *_ in judge["rows"]]
    assert rows == [("flute", True), ("snare", False), ("violin", False)]
    np.testing.assert_allclose(judge["rows"][1][2:], [0.3, 0.9])
    assert judge["more"] == 1
    (tmp_path / "probabilities.csv").unlink()
    assert given_in(page_of(tmp_path, write_run(tmp_path / "b")))["entries"][0]["networks"] == []


def test_of_too_many_dreams_the_last_are_left_out(tmp_path: Path, monkeypatch) -> None:
    assert MAX_DREAMS == 500
    monkeypatch.setattr("irdream.reports.dream_page.MAX_DREAMS", 2)
    page = page_of(tmp_path, write_run(tmp_path))
    assert [e["title"].split()[0] for e in given_in(page)["entries"]] == ["two", "three"]
    assert "Left out: 1 of 3 dreams, the last of this order." in notes_in(page)

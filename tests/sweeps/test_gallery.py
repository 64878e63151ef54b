import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from irdream.sweeps.job import STATUSES
from irdream.sweeps.overview import read_sweep, write_gallery
from tests.sweeps import test_overview


def write_sound(path: Path, *, seed: int = 0, frames: int = 300) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-9999, 9999, frames, np.int16)
    soundfile.write(path, samples, 22_050)


def write_job(
    root: Path, job: int, words: str, names: list[str], /, *, target: str = "flu", **changed: Any
) -> Path:
    """Write a job with a dream of each name; originals are alike in all jobs."""
    place, rows = test_overview.write_job(root, job, f"task=dream {words}", **changed), []
    for k, name in enumerate(names):
        file = f"{name}-to-{target}"
        write_sound(place / "sounds" / f"{file}-dream.wav", seed=1000 + 100 * job + k)
        write_sound(place / "sounds" / f"{file}-original.wav", seed=k)
        rows.append(
            {
                "name": name, "target": target, "wav_at_0.9": k == 0, "target_probability": 0.5 + k,
                "target_probability_wav": 0.25, "rmse_db": job + k / 10,
                "snr_db": np.inf if job else 3.0, "file": file,
            }
        )  # fmt: skip
    if rows:
        pd.DataFrame(rows).to_csv(place / "dreams.csv", index=False)
    return place


def write_sweep(root: Path) -> None:
    """Write 2 x 3 jobs of two dreams each; the last one failed."""
    for job in range(6):
        words = f"dream.step_size={[0.5, 0.25][job // 3]} dream.octaves={[1, 2, 10][job % 3]}"
        failed = {"status": "failed", "error": "error: no octave <b>fits</b>"} if job == 5 else {}
        write_job(root, job, words, ["cel-1", "voi-2"] if job < 5 else [], **failed)


def gallery(root: Path, title: str = "") -> str:
    path = root / "gallery.html"
    write_gallery(read_sweep(root), path, title=title)
    return path.read_text(encoding="utf-8")


def given_in(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="given">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


def files_in(text: str) -> list[tuple[str, bytes]]:
    """Return kind and content of the files in a page, in the order of their numbers."""
    found = re.findall(r'<script type="text/plain" id="file-(\d+)">(.*?)</script>', text)
    assert [int(number) for number, _ in found] == list(range(len(found)))
    uris = [uri.partition(";base64,") for _, uri in found]
    return [(head, base64.b64decode(content)) for head, _, content in uris]


def notes_in(text: str) -> list[str]:
    return re.findall(r'<p class="note">([^{<]+)</p>', text)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("sweep")
    write_sweep(root)
    return gallery(root)


def test_the_swept_values_and_the_excerpt_are_axes(page: str):
    given = given_in(page)
    assert given["swept"] == 2
    assert given["axes"] == [
        {"name": "dream.step_size", "values": ["0.25", "0.5"], "isNumeric": True},
        {"name": "dream.octaves", "values": ["1", "2", "10"], "isNumeric": True},
        {"name": "excerpt", "values": ["cel-1", "voi-2"], "isNumeric": False},
    ]


def test_each_dream_has_its_place_and_its_measures(page: str):
    given = given_in(page)
    assert given["measures"] == [
        "p", "p WAV", "WAV at 0.9", "RMSE dB", "SNR dB",
    ]  # fmt: skip
    found = {(e["number"], *e["at"]): e for e in given["entries"]}
    assert list(found) == [
        (0, 1, 0, 0), (1, 1, 1, 0), (2, 1, 2, 0), (3, 0, 0, 0), (4, 0, 1, 0),
        (0, 1, 0, 1), (1, 1, 1, 1), (2, 1, 2, 1), (3, 0, 0, 1), (4, 0, 1, 1),
        (5, 0, 2, None),
    ]  # fmt: skip
    assert found[0, 1, 0, 1]["title"] == "voi-2 → flute"
    assert found[0, 1, 0, 1]["values"] == [1.5, 0.25, False, 0.1, 3.0]
    assert found[3, 0, 0, 0]["values"] == [0.5, 0.25, True, 3.0, "∞"]
    assert found[5, 0, 2, None] == {
        "number": 5, "at": [0, 2, None], "text": "failed: no octave <b>fits</b>",
        "hasFailed": True,
    }  # fmt: skip


def test_the_page_holds_each_sound_once(page: str, tmp_path: Path):
    files = files_in(page)
    assert [kind for kind, _ in files] == ["data:audio/flac"] * 12  # two originals
    write_sweep(tmp_path)
    entries = given_in(page)["entries"]
    for k, entry in enumerate(entries[:10]):
        name = "cel-1" if k < 5 else "voi-2"
        assert [voice["name"] for voice in entry["voices"]] == ["original", "dream", "difference"]
        for voice in entry["voices"][:2]:
            file = f"{name}-to-flu-{voice['name']}.wav"
            path = tmp_path / str(entry["number"]) / "sounds" / file
            samples, _ = soundfile.read(io.BytesIO(files[voice["file"]][1]), dtype="int16")
            np.testing.assert_array_equal(samples, soundfile.read(path, dtype="int16")[0])


def test_what_was_typed_and_written_is_text(tmp_path: Path):
    evil = "</script><script>alert(1)</script>"
    for job in range(2):
        write_job(tmp_path, job, f"a={evil}{job} b={evil}", ["cel-1"])
    row = {"name": evil, "target": evil, "on_top": True, "rmse_db": 1.0, "file": evil}
    pd.DataFrame([row]).to_csv(tmp_path / "0" / "dreams.csv", index=False)
    test_overview.write_record(tmp_path, 2, json.dumps({"status": evil}).encode())
    page = gallery(tmp_path, title=evil)
    assert page.count("<script>") == 3
    assert "alert(1)</script>" not in page
    given = given_in(page)
    assert given["axes"][0]["values"] == [f"{evil}0", f"{evil}1"]
    assert given["entries"][0]["title"] == f"{evil} → {evil}"
    assert "b=&lt;/script&gt;" in page
    assert any(note.startswith("Not read: job 2: status=&#39;&lt;") for note in notes_in(page))


def test_the_notes_say_what_is_there_and_what_is_missing(tmp_path: Path):
    write_sweep(tmp_path)
    (tmp_path / "1" / "sounds" / "cel-1-to-flu-dream.wav").unlink()
    (tmp_path / "2" / "sounds" / "cel-1-to-flu-dream.wav").write_bytes(b"RIFF")
    test_overview.write_record(tmp_path, 6, b"{}")
    page = gallery(tmp_path)
    assert notes_in(page) == [
        "6 jobs, 1 failed; 10 dreams.",
        f"Not read: job 6: status=None; expected one of {', '.join(STATUSES)}.",
        "Missing or damaged: sounds (2).",
    ]
    first, second, third, *_ = given_in(page)["entries"]
    assert len(first["voices"]) == 3
    assert (second["voices"], third["voices"]) == ([], [])
    assert second["trouble"] == "Its sound is not on this page."


def test_of_too_many_dreams_each_job_keeps_its_first(tmp_path: Path, monkeypatch):
    write_sweep(tmp_path)
    monkeypatch.setattr("irdream.sweeps.overview.MAX_DREAMS", 9)
    page = gallery(tmp_path)
    given = given_in(page)
    assert [(e["number"], e["title"]) for e in given["entries"][:5]] == [
        (job, "cel-1 → flute") for job in range(5)
    ]
    assert len(given["entries"]) == 6
    assert [axis["name"] for axis in given["axes"]] == ["dream.step_size", "dream.octaves"]
    assert notes_in(page)[1] == ("Left out: 5 of 10 dreams; each job&#39;s first ones are shown.")
    monkeypatch.setattr("irdream.sweeps.overview.MAX_DREAMS", 3)
    few = given_in(gallery(tmp_path))["entries"]
    assert [entry.get("text") for entry in few] == [
        None, None, None, "left out", "left out", "failed: no octave <b>fits</b>",
    ]  # fmt: skip


def test_a_page_that_would_be_too_large_leaves_sounds_out_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_sweep(tmp_path)
    whole = gallery(tmp_path)
    sizes = [len(f"{kind};base64,") + 4 * -(-len(data) // 3) for kind, data in files_in(whole)]
    below = sum(sizes[:3]) + 100
    monkeypatch.setattr("irdream.reports.dream_page.MAX_CHARACTERS", below)
    page = gallery(tmp_path)
    assert files_in(page) == files_in(whole)[:3]
    assert notes_in(page)[1] == (
        f"Left out, to keep this page below {below / 1e6:g} MB: sounds (9 of 12)."
    )
    entries = given_in(page)["entries"]
    assert [len(entry["voices"]) for entry in entries[:10]] == [3, 3] + [0] * 8
    monkeypatch.setattr("irdream.reports.dream_page.MAX_CHARACTERS", 0)
    nothing = gallery(tmp_path)
    assert files_in(nothing) == []
    assert notes_in(nothing)[1].endswith("below 0 MB: sounds (12 of 12).")


def test_several_dreams_of_an_excerpt_in_one_job_have_axes_of_their_own(tmp_path: Path):
    for job in range(2):
        place = write_job(tmp_path, job, f"seed={job}", ["cel-1", "voi-2"])
        rows = [
            {"name": name, "target": target, "step_size": step, "budget_db": None, "file": "f"}
            for name, target in (("cel-1", "flu"), ("cel-1", "org"), ("voi-2", "pia"))
            for step in (0.5, 0.25)
        ]
        pd.DataFrame(rows).to_csv(place / "dreams.csv", index=False)
    given = given_in(gallery(tmp_path))
    assert [(axis["name"], axis["values"]) for axis in given["axes"]] == [
        ("seed", ["0", "1"]),
        ("excerpt", ["cel-1", "voi-2"]),
        ("target of the dream", ["flute", "organ", "piano"]),
        ("step_size of the dream", ["0.25", "0.5"]),
    ]
    assert [e["at"] for e in given["entries"] if e["number"] == 1] == [
        [1, 0, 0, 1], [1, 0, 0, 0], [1, 0, 1, 1], [1, 0, 1, 0], [1, 1, 2, 1], [1, 1, 2, 0],
    ]  # fmt: skip


def test_dreams_without_a_target_say_what_they_are_taken_for(tmp_path: Path):
    place = write_job(tmp_path, 0, "objective=layer", ["cel-1"])
    rows = [
        {
            "name": name, "target": None, "target_probability": None, "wav_at_0.9": None,
            "prediction_wav": "sax", "objective": objective, "unchanged": unchanged,
            "rmse_db": 1.0, "file": name,
        }
        for name, objective, unchanged in (("a", 2.0, False), ("b", 3.0, True))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(place / "dreams.csv", index=False)
    page = gallery(tmp_path)
    given = given_in(page)
    assert [entry["title"] for entry in given["entries"]] == [
        "a (predicted: saxophone)", "b (predicted: saxophone)",
    ]  # fmt: skip
    assert given["measures"] == ["objective", "RMSE dB"]
    assert [entry["values"] for entry in given["entries"]] == [[2.0, 1.0], [3.0, 1.0]]
    assert "1 of the dreams changed nothing." in notes_in(page)
    pd.DataFrame(rows[:1]).to_csv(place / "dreams.csv", index=False)
    assert notes_in(gallery(tmp_path))[0] == "1 job, 0 failed; 1 dream."


def test_a_target_of_each_excerpt_is_no_axis(tmp_path: Path):
    for job, target in enumerate(("flute", "voi")):
        write_job(tmp_path, job, f"target={target}", ["cel-1"], target=target[:3])
    given = given_in(gallery(tmp_path))
    assert [(axis["name"], axis["values"]) for axis in given["axes"]] == [
        ("target", ["flute", "voice"])
    ]


def test_excerpts_that_jobs_do_not_share_stand_by_their_place(tmp_path: Path):
    for job in range(2):
        write_job(tmp_path, job, f"start.seed={job}", [f"noise-{job}-{k}" for k in range(2)])
    given = given_in(gallery(tmp_path))
    assert given["axes"][1] == {"name": "excerpt", "values": ["1", "2"], "isNumeric": True}
    assert [entry["at"] for entry in given["entries"]] == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_a_job_found_finished_before_is_read_where_it_is(tmp_path: Path):
    write_job(tmp_path / "before", 4, "seed=1", ["cel-1"])
    write_job(tmp_path / "now", 0, "seed=0", ["cel-1"])
    folder = str(tmp_path / "before" / "4")
    write_job(tmp_path / "now", 1, "seed=1", [], status="skipped", folder=folder)
    write_job(tmp_path / "now", 2, "seed=2", [], status="running")
    write_job(tmp_path / "now", 3, "seed=3", [])
    entries = given_in(gallery(tmp_path / "now"))["entries"]
    assert [entry.get("text") for entry in entries] == [None, None, "not finished", "no dreams"]
    assert len(entries[1]["voices"]) == 3


def test_one_job_has_no_axes(tmp_path: Path):
    write_job(tmp_path, 0, "seed=0", ["cel-1"])
    page = gallery(tmp_path, title="Sweep x")
    assert (given_in(page)["axes"], given_in(page)["entries"][0]["at"]) == ([], [])
    assert "<h1>Sweep x</h1>" in page
    assert '<p class="shared">task=dream seed=0</p>' in page


def test_a_sweep_without_dreams_has_no_gallery(tmp_path: Path):
    write_job(tmp_path, 0, "seed=0", [])
    write_gallery(read_sweep(tmp_path), tmp_path / "gallery.html", title="")
    assert not (tmp_path / "gallery.html").exists()

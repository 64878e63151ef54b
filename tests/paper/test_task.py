"""The whole task: its files, its metrics, what is refused, and what a killed run leaves behind."""

import logging
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from irdream.checkpoint_folder import new_recognizer, save_recognizer
from irdream.dreaming.ascent import Ascent
from irdream.errors import InputError
from irdream.reports.tables import rows_of

ROOT = Path(__file__).parents[2]
CODES = [f"C{k}" for k in range(1, 10)] + ["E1"]
EXCERPTS = ("cel", "flu+pia", "0.8 s sax")  # of the fixture `finished`
FILES = {
    "report.html", "report.md", "excerpts/abx.html", "excerpts/all_targets.csv",
    "excerpts/before_after.csv", "excerpts/distances.csv", "excerpts/dreams.csv",
    "excerpts/figure_2.png", "excerpts/pairs.csv", "excerpts/recognition/calibration.csv",
    "excerpts/recognition/confusion.csv",
    "excerpts/recognition/confusion.png", "excerpts/recognition/predictions.csv",
    "excerpts/recognition/scores.csv", "excerpts/recognition/scores.png",
    "excerpts/recognition/summary.csv", "excerpts/ways.csv", "excerpts/ways.png",
    "noise/figure_3_pink.png", "noise/figure_3_white.png", "noise/noise_distances.csv",
    "noise/noises.csv", "noise/patterns.csv",
}  # fmt: skip
METRICS = {
    "paper/micro_f1", "paper/macro_f1", "paper/top1", "paper/c2_at_0.9", "paper/c3_at_0.9",
    "paper/c4_rmse_db", "paper/c5_share", "paper/c5_rho", "paper/gain/survival",
    "paper/gain/snr_db", "paper/gain/masking_violation", "paper/gain/realized_correlation",
    "paper/stft_gain/survival", "paper/waveform/snr_db", "paper/fast_griffin_lim/snr_db",
}  # fmt: skip
NOISE_METRICS = {
    f"paper/{color}/{place}_{value}"
    for color in ("white", "pink")
    for place in ("spectrogram", "bands")
    for value in ("within", "p")
}
SOUNDS = 3 * 6 + 2 * 12 + 4 * 12  # excerpts, examples, noises


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data")]


def links_of(page: Path) -> list[Path]:
    """Return the links of a Markdown page, all of which lead to files beside it."""
    links = [page.parent / unquote(s) for s in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    assert all(link.is_file() and link.is_relative_to(page.parent) for link in links)
    return links


def claim_codes(page: Path) -> list[str]:
    return re.findall(r"^\| (\w\d) \|", page.read_text(), flags=re.MULTILINE)


# What is written --------------------------------------------------------------------------------


def test_all_files_are_there(finished) -> None:
    files = [path for path in finished.folder.rglob("*.*") if path.suffix != ".wav"]
    assert {path.relative_to(finished.folder).as_posix() for path in files} == FILES
    assert all(path.stat().st_size for path in finished.folder.rglob("*.*"))
    for folder in ("excerpts/sounds", "excerpts/sounds/all_targets", "noise/sounds"):
        assert list((finished.folder / folder).glob("*-dream.wav"))
        assert list((finished.folder / folder).glob("*-original.wav"))


def test_the_pages_need_nothing_else(finished) -> None:
    for name in ("report.html", "excerpts/abx.html"):
        assert all(s.startswith(("data:", "#")) for s in Links(finished.folder / name).found)
    links = Links(finished.folder / "report.html").found
    assert len([link for link in links if link.startswith("data:audio/flac")]) == SOUNDS
    assert len([link for link in links if link.startswith("data:image/png")]) == 6
    assert len(links_of(finished.folder / "report.md")) == 6 + SOUNDS


def test_every_claim_is_there_once_and_in_order_with_its_data(finished) -> None:
    html, text = ((finished.folder / f"report.{end}").read_text() for end in ("html", "md"))
    assert claim_codes(finished.folder / "report.md") == CODES
    assert re.findall(r'id="claim-(\w+)"', html) == CODES
    assert "Data: tones of a test; white and pink noise. Nothing here is a result on IRMAS" in text
    assert "| Data | tones of a test; white and pink noise |" in text


def test_the_metrics_are_finite_and_have_their_names(finished) -> None:
    metrics = finished.metrics
    assert metrics.keys() >= METRICS | NOISE_METRICS
    assert all(name.startswith("paper/") for name in metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    verdicts = ("holds", "holds_in_part", "does_not_hold", "not_tested")
    counted = {name for name in metrics if name.startswith("paper/claims_")}
    assert counted <= {f"paper/claims_{verdict}" for verdict in verdicts}
    assert sum(metrics[name] for name in counted) == 10
    assert (metrics["paper/excerpts"], metrics["paper/c3_at_0.9"]) == (3, 1.0)
    table = pd.read_csv(finished.folder / "excerpts" / "ways.csv")
    (gain,) = rows_of(table, way="gain", kind="dream").to_dict("records")
    assert metrics["paper/gain/snr_db"] == pytest.approx(gain["snr_db"], abs=1e-5)
    pairs = pd.read_csv(finished.folder / "excerpts" / "pairs.csv")
    assert metrics["paper/c5_rho"] == pytest.approx(pairs["rho"].mean(), abs=1e-5)
    assert finished.tracker.metrics == metrics
    assert finished.tracker.files == ["report.html", "report.md", "excerpts", "noise"]


def test_what_is_published_has_no_sounds(finished) -> None:
    folder = finished.folder.parent / "published"
    assert {path.suffix for path in folder.rglob("*.*")} == {".md", ".csv", ".png"}
    assert {path.name for path in folder.glob("*.csv")} == {
        Path(name).name for name in FILES if name.endswith(".csv") and name.count("/") == 1
    }
    assert len(links_of(folder / "README.md")) == 6
    assert claim_codes(folder / "README.md") == CODES


def test_a_second_run_dreams_nothing_and_prints_the_same(
    finished, run, music, undrawn, capsys, caplog, monkeypatch
) -> None:
    caplog.set_level(logging.INFO)
    folder = finished.folder.parent / "again"
    monkeypatch.setattr(Ascent, "run", lambda *_, **__: pytest.fail("dreams again"))
    again = run(finished.study, music(*EXCERPTS), folder=folder)

    assert again.metrics == finished.metrics
    for name in ("excerpts/dreams.csv", "noise/noises.csv", "excerpts/ways.csv"):
        assert (folder / name).read_bytes() == (finished.folder / name).read_bytes()
    started = [line for line in caplog.messages if "dreams" in line]
    assert len(started) == 8
    assert all(re.search(r" dreams, \d batches done$", line) for line in started)
    printed = capsys.readouterr().out
    assert all(code in printed for code in CODES)
    assert f"report: {folder / 'report.html'}" in printed


# Parts of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", ["noise", ["noise", "noise"]])
def test_noise_alone(run, study, music, undrawn, parts) -> None:
    small = study(dreamed=("log_mel",), second=None, cache_dir=None)
    alone = run(small, music("broken cel"), parts=parts)

    assert claim_codes(alone.folder / "report.md") == ["C8", "C9"]
    assert {name for name in alone.metrics if "claims" not in name} == NOISE_METRICS
    assert alone.tracker.files == ["report.html", "report.md", "noise"]
    assert not (alone.folder / "excerpts").exists()
    assert len(list((alone.folder / "stages" / "paper").glob("*/*.safetensors"))) == 2
    assert len(links_of(alone.folder / "report.md")) == 2 + 2 * 12
    assert small.cache_dir is None


def test_excerpts_alone_of_one_instrument(run, study, music, undrawn) -> None:
    small = study(dreamed=("log_mel",), second=None)
    alone = run(small, music("gac", "gac"), parts=["excerpts"], per_instrument=2, seconds=0.5)

    page = alone.folder / "report.md"
    assert claim_codes(page) == CODES[:7]  # nothing is dreamed as sound
    assert links_of(page)
    text = page.read_text()
    assert "Examples: acoustic guitar" in text
    assert "| transfer |" not in text
    assert "second recogniser predicts" not in text
    assert "| Second recognizer | none |" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parts": ["noises"]},
            r"^parts=\[noises\]; expected excerpts or noise, or a list of some",
        ),
        ({"parts": []}, r"^parts=\[\]; expected excerpts or noise, or a list of some of excerpts"),
        ({"per_instrument": 0}, r"^per_instrument=0; expected a whole number, at least 1$"),
        ({"grid_per_instrument": 0}, r"^grid_per_instrument=0; expected a whole number, at least"),
        ({"steps": 0}, r"^steps=0; expected a whole number, at least 1$"),
        ({"noise_steps": -3}, r"^noise_steps=-3; expected a whole number, at least 1$"),
        ({"noises": 1}, r"^noises=1; expected a whole number, at least 2$"),
        ({"permutations": 19}, r"^permutations=19; expected a whole number, at least 20$"),
        ({"seconds": 0.49}, r"paper.seconds=0.49; expected at least 0.5, the length of the rec"),
        ({}, r"none of 1 excerpts of 'music' is readable and label"),
    ],
)
def test_what_is_refused_before_anything_is_done(run, study, music, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        run(study(), music("broken cel"), **changes)


@pytest.mark.slow
def test_with_all_figures_drawn(finished, run, music) -> None:
    drawn = run(finished.study, music(*EXCERPTS), folder=finished.folder.parent / "drawn")

    assert drawn.metrics == finished.metrics
    pictures = list(drawn.folder.rglob("*.png"))
    assert len(pictures) == 6
    assert all(path.stat().st_size > 10_000 for path in pictures)


# In processes of their own ----------------------------------------------------------------------


@pytest.fixture
def tiny_checkpoint(my_package, tmp_path) -> Iterator[Path]:
    """A network of a user's own, of 8000 Hz and twelve mel bands."""
    frontend = {
        "_target_": "irdream.frontends.HanLogMel",
        "sample_rate_hz": 8000, "n_fft": 256, "hop_samples": 200, "n_mels": 12,
    }  # fmt: skip
    recognizer = new_recognizer(
        frontend=frontend, model={"_target_": "my_package.MyNet"}, trust=["my_package"]
    )
    recognizer.thresholds = {"s1": 0.2, "s2": 0.5}
    save_recognizer(recognizer, tmp_path / "tiny")
    return tmp_path / "tiny"


def begin(*words: str, cwd: Path, path: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, str(ROOT / "main.py"), "experiment=paper_fast", "tracker=none",
            f"cache_dir={cwd / 'cache'}", f"hydra.run.dir={cwd / 'run'}", *words,
        ],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )  # fmt: skip


def kill_after_a_stage(process: subprocess.Popen[str], cache: Path) -> None:
    """Kill a run as soon as something of it is kept."""
    deadline = time.monotonic() + 300
    while not list(cache.glob("paper/*/*.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -9


def check_that_it_resumed(process: subprocess.Popen[str], cwd: Path) -> None:
    printed, logged = process.communicate(timeout=600)
    assert process.returncode == 0, logged
    assert re.findall(r"INFO: (.*), \d batches done", logged)
    assert f"report: {cwd / 'run' / 'report.html'}" in printed
    assert (cwd / "run" / "report.html").stat().st_size > 100_000
    assert links_of(cwd / "run" / "report.md")


def test_a_killed_run_resumes_where_it_was(tmp_path, tiny_checkpoint, my_package) -> None:
    words = [
        f"checkpoint={tiny_checkpoint}", "trust=[my_package]", "paper.second=null",
        "paper.parts=[noise]", "paper.noise_steps=2", "paper.permutations=20",
    ]  # fmt: skip
    path = str(Path(my_package.__path__[0]).parent)
    first = begin(*words, cwd=tmp_path, path=path)
    kill_after_a_stage(first, tmp_path / "cache")
    assert not (tmp_path / "run" / "report.html").exists()

    check_that_it_resumed(begin(*words, cwd=tmp_path, path=path), tmp_path)
    assert claim_codes(tmp_path / "run" / "report.md") == ["C8", "C9"]


@pytest.mark.slow
def test_the_embedded_data_and_the_shipped_recognizers(tmp_path) -> None:
    kill_after_a_stage(begin(cwd=tmp_path), tmp_path / "cache")

    second = begin(f"paper.publish={tmp_path / 'published'}", cwd=tmp_path)
    check_that_it_resumed(second, tmp_path)
    assert claim_codes(tmp_path / "run" / "report.md") == CODES
    assert claim_codes(tmp_path / "published" / "README.md") == CODES
    table = pd.read_csv(tmp_path / "run" / "excerpts" / "dreams.csv")
    assert len(set(table["target"])) == 11

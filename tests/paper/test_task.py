"""The whole task: its files, its metrics, what is refused, and what a killed run leaves behind."""

from __future__ import annotations

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

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from irdream.dreaming.ascent import Ascent
from irdream.errors import InputError
from irdream.recognizer import new_recognizer, save_recognizer
from irdream.reports.pages import Page
from irdream.reports.tables import records, rows_of
from irdream.tasks.paper import LARGE_BYTES, _publish, shrink

ROOT = Path(__file__).parents[2]
CODES = [f"C{k}" for k in range(1, 10)] + ["E1"]
EXCERPTS = ("cel", "flu+pia", "0.8 s sax")  # of the fixture `finished`
FILES = {
    "report.html", "report.md", "excerpts/abx.html", "excerpts/all_targets.csv",
    "excerpts/before_after.csv", "excerpts/before_after.png", "excerpts/distances.csv",
    "excerpts/distances.png", "excerpts/dreams.csv", "excerpts/figure_2.png", "excerpts/pairs.csv",
    "excerpts/recognition/confusion.csv", "excerpts/recognition/confusion.png",
    "excerpts/recognition/predictions.csv", "excerpts/recognition/scores.csv",
    "excerpts/recognition/scores.png", "excerpts/recognition/summary.csv", "excerpts/ways.csv",
    "excerpts/ways.png", "noise/figure_3_pink.png", "noise/figure_3_white.png",
    "noise/noise_distances.csv", "noise/noises.csv", "noise/patterns.csv",
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
CLAIMS_METRICS = {
    f"paper/claims_{verdict}"
    for verdict in ("holds", "holds_in_part", "does_not_hold", "not_tested")
}


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data")]


def markdown_links(page: Path) -> list[Path]:
    return [page.parent / unquote(link) for link in re.findall(r"\]\(([^)]+)\)", page.read_text())]


def claim_codes(page: Path) -> list[str]:
    return re.findall(r"^\| (\w\d) \|", page.read_text(), flags=re.MULTILINE)


# What is written --------------------------------------------------------------------------------


def test_all_files_are_there(finished) -> None:
    written = {
        path.relative_to(finished.folder).as_posix()
        for path in finished.folder.rglob("*.*")
        if path.suffix != ".wav" and path.parent.name != "spectrograms"
    }
    assert written == FILES
    assert all(path.stat().st_size for path in finished.folder.rglob("*.*"))
    assert len(list((finished.folder / "excerpts" / "spectrograms").glob("*.png"))) == 3
    for folder in ("excerpts/sounds", "excerpts/sounds/all_targets", "noise/sounds"):
        assert list((finished.folder / folder).glob("*-dream.wav"))
        assert list((finished.folder / folder).glob("*-original.wav"))


@pytest.mark.parametrize("name", ["report.html", "excerpts/abx.html"])
def test_the_pages_need_nothing_else(finished, name) -> None:
    links = Links(finished.folder / name).found
    assert all(link.startswith(("data:", "#")) for link in links)
    if name == "report.html":
        sounds = [link for link in links if link.startswith("data:audio/flac")]
        assert len(sounds) == 3 * 6 + 2 * 12 + 4 * 12  # excerpts, examples, noises
        assert len([link for link in links if link.startswith("data:image/png")]) == 11


def test_the_links_of_the_other_page_lead_to_files_beside_it(finished) -> None:
    links = markdown_links(finished.folder / "report.md")
    assert len(links) == 11 + 3 * 6 + 2 * 12 + 4 * 12
    assert all(link.is_file() and link.is_relative_to(finished.folder) for link in links)


def test_every_claim_is_there_once_and_in_order(finished) -> None:
    assert claim_codes(finished.folder / "report.md") == CODES
    html = (finished.folder / "report.html").read_text()
    assert re.findall(r'id="claim-(\w+)"', html) == CODES


def test_the_page_says_on_what_data(finished) -> None:
    text = (finished.folder / "report.md").read_text()
    assert "Data: tones of a test; white and pink noise. Nothing here is a result on IRMAS" in text
    assert "| Data | tones of a test; white and pink noise |" in text


def test_the_metrics_are_finite_and_have_their_names(finished) -> None:
    metrics = finished.metrics
    assert metrics.keys() >= METRICS | NOISE_METRICS
    assert all(name.startswith("paper/") for name in metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    counted = {name for name in metrics if name.startswith("paper/claims_")}
    assert counted <= CLAIMS_METRICS
    assert sum(metrics[name] for name in counted) == 10
    assert metrics["paper/excerpts"] == 3
    assert metrics["paper/c3_at_0.9"] == 1.0
    table = pd.read_csv(finished.folder / "excerpts" / "ways.csv")
    (gain,) = records(rows_of(table, way="gain", kind="dream"))
    assert metrics["paper/gain/snr_db"] == pytest.approx(gain["snr_db"], abs=1e-5)
    pairs = pd.read_csv(finished.folder / "excerpts" / "pairs.csv")
    assert metrics["paper/c5_rho"] == pytest.approx(pairs["rho"].mean(), abs=1e-5)


def test_the_tracker_gets_metrics_and_files(finished) -> None:
    assert finished.tracker.metrics == finished.metrics
    assert finished.tracker.files == ["report.html", "report.md", "excerpts", "noise"]


def test_what_is_published_has_no_sounds(finished) -> None:
    folder = finished.folder.parent / "published"
    kinds = {path.suffix for path in folder.rglob("*.*")}
    assert kinds == {".md", ".csv", ".png"}
    assert {path.name for path in folder.glob("*.csv")} == {
        Path(name).name for name in FILES if name.endswith(".csv") and name.count("/") == 1
    }
    links = markdown_links(folder / "README.md")
    assert len(links) == 8  # without the spectrograms beside the sounds
    assert all(link.is_file() and link.is_relative_to(folder) for link in links)
    assert claim_codes(folder / "README.md") == CODES


def test_a_large_table_is_not_published(tmp_path) -> None:
    tables = {"run/a/small.csv": 99_999, "run/a/large.csv": 100_000}
    (tmp_path / "run" / "a").mkdir(parents=True)
    for name, size in tables.items():
        (tmp_path / name).write_bytes(b"x" * size)
    page = Page(title="T", lead=[], claims=[], sections=[], provenance={})
    for _ in range(2):  # again over the first
        _publish(page, tmp_path / "run", tmp_path / "there" / "paper")
    names = [path.name for path in sorted((tmp_path / "there" / "paper").iterdir())]
    assert names == ["README.md", "small.csv"]


def test_a_large_picture_takes_fewer_bytes_and_looks_the_same(tmp_path) -> None:
    slope = np.linspace(0, 255, 600)
    drawn = np.stack(np.broadcast_arrays(slope, slope[:500, None], 128.0), axis=2)
    drawn += np.random.default_rng(0).normal(0, 3, drawn.shape)
    path = tmp_path / "a.png"
    Image.fromarray(drawn.clip(0, 255).astype(np.uint8)).save(path)
    size = path.stat().st_size
    assert size > LARGE_BYTES
    shrink(path)

    with Image.open(path) as after:
        difference = np.asarray(after.convert("RGB"), float) - drawn
    assert path.stat().st_size < size / 2
    assert np.abs(difference).mean() < 8
    blocks = difference.reshape(10, 50, 10, 60, 3).mean(axis=(1, 3))
    assert np.abs(blocks).max() < 8  # nowhere another color


def test_a_small_picture_stays_as_it_is(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(path)
    before = path.read_bytes()
    shrink(path)
    assert path.read_bytes() == before


def test_the_claims_are_printed(finished, run, music, undrawn, capsys, caplog) -> None:
    """And a second run with the same cache dreams nothing and finds the same."""
    caplog.set_level(logging.INFO)
    folder = finished.folder.parent / "again"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ascent, "run", lambda *_, **__: pytest.fail("dreams again"))
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
def test_noise_alone(run, study, music, undrawn, parts, tmp_path) -> None:
    small = study(dreamed=("log_mel",), second=None, cache_dir=None)
    alone = run(small, music("broken cel"), parts=parts)

    assert claim_codes(alone.folder / "report.md") == ["C8", "C9"]
    assert {name for name in alone.metrics if "claims" not in name} == NOISE_METRICS
    assert alone.tracker.files == ["report.html", "report.md", "noise"]
    assert not (alone.folder / "excerpts").exists()
    assert len(list((alone.folder / "stages" / "paper").glob("*/*.safetensors"))) == 2
    links = markdown_links(alone.folder / "report.md")
    assert len(links) == 2 + 2 * 12
    assert all(link.is_relative_to(alone.folder / "noise") for link in links)
    assert all(link.is_file() for link in links)
    assert small.cache_dir is None


def test_excerpts_alone_of_one_instrument(run, study, music, undrawn) -> None:
    small = study(dreamed=("log_mel",), second=None)
    alone = run(small, music("gac", "gac"), parts=["excerpts"], per_instrument=2, seconds=0.5)

    assert claim_codes(alone.folder / "report.md") == CODES[:7]  # nothing is dreamed as sound
    text = (alone.folder / "report.md").read_text()
    assert "Examples: acoustic guitar" in text
    assert "| transfer |" not in text
    assert "second recogniser hears" not in text
    assert "| Second recognizer | none |" in text
    assert all(link.is_file() for link in markdown_links(alone.folder / "report.md"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": ["noises"]}, r"paper.parts=\['noises'\]; expected some of excerpts, noise$"),
        ({"parts": ["noise", "all"]}, r"paper.parts=\['noise', 'all'\]; expected some of exc"),
        ({"parts": []}, r"paper.parts=\[\]; expected some of excerpts, noise"),
        ({"per_instrument": 0}, r"paper.per_instrument=0; expected at least 1$"),
        ({"grid_per_instrument": 0}, r"paper.grid_per_instrument=0; expected at least 1$"),
        ({"steps": 0}, r"paper.steps=0; expected at least 1$"),
        ({"noise_steps": -3}, r"paper.noise_steps=-3; expected at least 1$"),
        ({"noises": 1}, r"paper.noises=1; expected at least 2, to compare them$"),
        ({"permutations": 19}, r"paper.permutations=19; expected at least 20, for a p below 0.05"),
        ({"seconds": 0.49}, r"paper.seconds=0.49; expected at least 0.5, the length of the rec"),
    ],
)
def test_what_is_refused_before_anything_is_done(run, study, music, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        run(study(), music("broken cel"), **changes)


def test_nothing_that_can_be_read_is_an_error(run, study, music) -> None:
    with pytest.raises(InputError, match=r"none of 1 excerpts of 'music' is readable and label"):
        run(study(), music("broken cel"))


@pytest.mark.slow
def test_with_all_figures_drawn(finished, run, music) -> None:
    drawn = run(finished.study, music(*EXCERPTS), folder=finished.folder.parent / "drawn")

    assert drawn.metrics == finished.metrics
    pictures = list(drawn.folder.rglob("*.png"))
    assert len(pictures) == 11
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


def check_what_was_gone_on_with(process: subprocess.Popen[str], cwd: Path) -> None:
    printed, told = process.communicate(timeout=600)
    assert process.returncode == 0, told
    assert re.findall(r"INFO: (.*), \d batches done", told)
    assert f"report: {cwd / 'run' / 'report.html'}" in printed
    assert (cwd / "run" / "report.html").stat().st_size > 100_000
    assert all(link.is_file() for link in markdown_links(cwd / "run" / "report.md"))


def test_a_killed_run_goes_on_where_it_was(tmp_path, tiny_checkpoint, my_package) -> None:
    words = [
        f"checkpoint={tiny_checkpoint}", "trust=[my_package]", "paper.second=null",
        "paper.parts=[noise]", "paper.noise_steps=2", "paper.permutations=20",
    ]  # fmt: skip
    path = str(Path(my_package.__path__[0]).parent)
    first = begin(*words, cwd=tmp_path, path=path)
    kill_after_a_stage(first, tmp_path / "cache")
    assert not (tmp_path / "run" / "report.html").exists()

    second = begin(*words, cwd=tmp_path, path=path)
    check_what_was_gone_on_with(second, tmp_path)
    assert claim_codes(tmp_path / "run" / "report.md") == ["C8", "C9"]


@pytest.mark.slow
def test_the_embedded_data_and_the_shipped_recognizers(tmp_path) -> None:
    first = begin(cwd=tmp_path)
    kill_after_a_stage(first, tmp_path / "cache")

    second = begin(f"paper.publish={tmp_path / 'published'}", cwd=tmp_path)
    check_what_was_gone_on_with(second, tmp_path)
    assert claim_codes(tmp_path / "run" / "report.md") == CODES
    assert claim_codes(tmp_path / "published" / "README.md") == CODES
    table = pd.read_csv(tmp_path / "run" / "excerpts" / "dreams.csv")
    assert len(set(table["target"])) == 11

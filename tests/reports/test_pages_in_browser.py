"""The report and the listening test in Chromium."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.figure import Figure

from irdream.paper.pages import write_abx
from irdream.reports.figures import save_figure
from irdream.reports.pages import (
    Claim,
    Comparison,
    Page,
    Picture,
    Section,
    Sound,
    Table,
    write_html,
)
from tests.browser import IN_CHROMIUM, Browser

pytestmark = IN_CHROMIUM


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Two pairs of a soft and a loud noise."""
    noise = np.random.default_rng(0).uniform(-1, 1, (4, 11_025)) * [[0.01], [0.1], [0.01], [0.1]]
    paths = [tmp_path / f"{k}.wav" for k in range(4)]
    for path, samples in zip(paths, noise, strict=True):
        soundfile.write(path, samples, 22_050)
    return paths


@pytest.fixture
def page(tmp_path: Path, sounds: list[Path]) -> Path:
    picture = tmp_path / "wide.png"
    save_figure(Figure(figsize=(11, 3)), picture)
    claims = [
        Claim(code=f"C{k}", says="It " + "says " * 30, measured="2.0", verdict="holds", why="so")
        for k in range(3)
    ]
    frame = pd.DataFrame(np.eye(11), columns=[f"instrument {k}" for k in range(11)])
    section = Section(
        title="Excerpts",
        tables=[Table(title="Wide", frame=frame)],
        pictures=[Picture(title="Wide", path=picture, caption="", alt="nothing")],
        comparisons=[
            Comparison(
                title="Noise", caption="", sounds=[Sound(label=p.stem, path=p) for p in sounds]
            )
        ],
    )  # fmt: skip
    path = tmp_path / "page.html"
    provenance = {"command": "x" * 200}
    write_html(
        Page(title="T", lead=[], claims=claims, sections=[section], provenance=provenance), path
    )
    return path


PLAY_ALL = """(async () => {
  const heard = [];
  for (const sound of document.querySelectorAll("audio")) {
    await sound.play();
    while (sound.currentTime === 0) await new Promise((done) => setTimeout(done, 10));
    const playing = [...document.querySelectorAll("audio")].filter((other) => !other.paused);
    heard.push([sound.duration, sound.error, playing.length, playing[0] === sound]);
  }
  return heard;
})()"""


def test_sounds_play_one_at_a_time_and_nothing_is_requested(browser: Browser, page: Path):
    browser.open(page)
    assert browser.run(PLAY_ALL) == [[0.5, None, 1, True]] * 4
    assert browser.requested() == {"file", "data"}
    assert browser.complaints() == []


def test_a_foreign_script_and_a_request_are_refused(browser: Browser, page: Path):
    page.write_text(
        page.read_text().replace(
            "</main>", "<script>document.title = 'mine'</script><img src='https://a.test/b.png'>"
        )
    )
    browser.open(page)
    assert browser.run("document.title") == "T"
    assert sum("Content Security Policy" in text for text in browser.complaints()) == 2


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_the_page_is_no_wider_than_the_window(browser: Browser, page: Path, width: int):
    browser.open(page, width=width)
    assert browser.overflow() == 0
    wider = "boxes.filter((box) => box.scrollWidth > box.clientWidth).length"
    pictures = "[...document.querySelectorAll('.picture')]"
    assert browser.run(f"((boxes) => {wider})({pictures})") == (1 if width == 400 else 0)
    assert browser.run("getComputedStyle(document.querySelector('.claims tr')).display") == (
        "block" if width == 400 else "table-row"
    )


READY = """(async () => {
  while (document.getElementById("start").disabled) await new Promise((r) => setTimeout(r, 10));
})()"""


RECORD = """(() => {
  window.played = [];
  const Real = AudioBufferSourceNode;
  window.AudioBufferSourceNode = function (context, options) {
    const peak = Math.max(...options.buffer.getChannelData(0).map(Math.abs));
    played.push(peak > 0.05 ? "dream" : "original");
    return new Real(context, options);
  };
})()"""


def listen(browser: Browser) -> str:
    """Play A, B and X by their keys and return what the page holds then."""
    for key in "abx":
        browser.press(key)
    browser.run("new Promise((done) => setTimeout(done, 60))")
    return browser.run("document.documentElement.outerHTML")


def test_a_session_runs_to_its_result(browser: Browser, tmp_path: Path, sounds: list[Path]):
    path = tmp_path / "abx.html"
    pairs = {"one": (sounds[0], sounds[1]), "two": (sounds[2], sounds[3])}
    write_abx(pairs, path, trials=16)
    browser.open(path, width=400)
    browser.run(READY)
    browser.run(RECORD)
    browser.run("document.getElementById('start').click()")
    for _ in range(16):
        assert browser.run("document.getElementById('x-is-a').disabled")
        listen(browser)
        assert not browser.run("document.getElementById('x-is-a').disabled")
        browser.run("document.getElementById('x-is-a').click()")
    written = io.StringIO(browser.run("document.getElementById('csv').value"))
    rows = list(csv.DictReader(written))
    assert browser.run("played") == [row[letter] for row in rows for letter in "abx"]
    assert all(row["a"] != row["b"] for row in rows)
    right = sum(int(row["right"]) for row in rows)
    assert right == sum(row["x"] == row["a"] for row in rows)  # "X is A" was every answer
    assert browser.run("document.getElementById('score').textContent").startswith(f"{right} of 16")
    assert browser.run("document.querySelector('#rows').innerText").split()[1::3] == ["8", "8"]
    assert browser.overflow() == 0
    assert browser.requested() == {"file"}
    assert browser.complaints() == []


def test_the_page_looks_the_same_whatever_was_drawn(browser, tmp_path, sounds) -> None:
    path = tmp_path / "abx.html"
    write_abx({"one": (sounds[0], sounds[1])}, path, trials=3)
    seen = set()
    for drawn in (0, 1):
        browser.open(path)
        browser.run(READY)
        browser.run(f"crypto.getRandomValues = (values) => values.fill({drawn})")
        browser.run("document.getElementById('start').click()")
        seen.add(listen(browser))
    assert len(seen) == 1

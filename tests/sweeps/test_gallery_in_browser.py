"""The gallery of a sweep in Chromium."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irdream.sweeps.overview import read_sweep, write_gallery
from tests.browser import IN_CHROMIUM, Browser
from tests.sweeps.test_gallery import write_job, write_sound, write_sweep

pytestmark = IN_CHROMIUM


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """2 x 3 jobs with sounds of half a second; the last job failed."""
    root = tmp_path / "sweep"
    write_sweep(root)
    for number in range(5):
        for k, name in enumerate(("cel-1", "voi-2")):
            for kind in ("dream", "original"):
                sound = root / str(number) / "sounds" / f"{name}-to-flu-{kind}.wav"
                write_sound(sound, frames=11_025, seed=10 * number + k)
    path = tmp_path / "gallery.html"
    write_gallery(read_sweep(root), path, title="T")
    return path


DRAWN = """(async () => {
  const seen = [];
  for (const picture of document.querySelectorAll(".card canvas")) {
    picture.scrollIntoView();
    while (!picture.dataset.drawn) await new Promise((r) => setTimeout(r, 10));
    seen.push(picture.getContext("2d").getImageData(60, 60, 60, 1).data.join());
  }
  return seen;
})()"""

PLAY_ALL = """(async () => {
  const heard = [];
  for (const button of document.querySelectorAll(".card .plays button")) {
    button.click();
    while (!(player.position() > 0.05)) await new Promise((done) => setTimeout(done, 10));
    const plays = [...document.querySelectorAll(".plays button[aria-pressed=true]")];
    heard.push([player.seconds(), player.state.isPlaying, plays.length, plays[0] === button]);
  }
  return heard;
})()"""


def click(browser: Browser, element: str) -> None:
    browser.run(f"document.{element}.click()")


def choose(browser: Browser, control: str, value: int) -> None:
    """Set a select or a slider, as if a person had."""
    browser.run(f"""(() => {{
      const control = document.querySelector('{control}');
      control.value = {value};
      control.dispatchEvent(new Event("input"));
    }})()""")


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.run(f"[...document.querySelectorAll('{selector}')].map((e) => e.textContent)")


def cells(browser: Browser) -> list[list[str]]:
    """Return the first line of each cell of the grid."""
    return browser.run(
        "[...document.querySelectorAll('#grid tbody tr')].map((row) => [...row.querySelectorAll("
        "'td')].map((cell) => cell.querySelector('p')?.textContent ?? cell.textContent))"
    )


def measure(browser: Browser, number: int) -> list[float]:
    """Return a measure of each card in the order of the list; NaN where there is none."""
    found = browser.run(
        "[...document.querySelectorAll('#list .card')].map((card) => "
        f"card.querySelectorAll('dd')[{number}]?.textContent ?? 'nan')"
    )
    return [float(text.replace("∞", "inf").replace("–", "nan")) for text in found]


def test_the_grid_is_filled_and_nothing_is_requested(browser: Browser, page: Path):
    browser.open(page)
    assert texts(browser, "#grid thead th") == ["octaves1", "octaves2", "octaves10"]
    assert texts(browser, "#grid tbody th") == ["step_size0.25", "step_size0.5"]
    dream = "cel-1 → flute"
    assert cells(browser) == [
        [dream, dream, "failed: no octave <b>fits</b>"], [dream, dream, dream],
    ]  # fmt: skip
    assert len(set(browser.run(DRAWN))) == 5  # each job's noise is another
    assert browser.requested() <= {"file", "data"}
    assert browser.complaints() == []


def test_sounds_play_one_at_a_time(browser: Browser, page: Path):
    browser.open(page)
    assert browser.run(PLAY_ALL) == [[0.5, True, 1, True]] * 10
    last = 'querySelector(".card:last-child .plays button")'
    click(browser, last)
    click(browser, last)
    assert not browser.run("player.state.isPlaying")
    assert texts(browser, ".plays [aria-pressed=true]") == []
    click(browser, last)
    browser.press("Escape")
    assert not browser.run("player.state.isPlaying")


def test_axes_can_be_chosen(browser: Browser, page: Path):
    browser.open(page)
    choose(browser, "#rows", 2)
    assert texts(browser, "#grid tbody th") == ["excerptcel-1", "excerptvoi-2"]
    failed = "failed: no octave <b>fits</b>"
    flute = ["cel-1 → flute", "voi-2 → flute"]
    assert cells(browser) == [[flute[0]] * 2 + [failed], [flute[1]] * 2 + [failed]]
    choose(browser, '[data-axis="0"]', 1)
    assert cells(browser) == [[flute[0]] * 3, [flute[1]] * 3]
    choose(browser, "#columns", 2)  # that of the rows: they are swapped
    assert browser.run("document.getElementById('rows').value") == "1"
    assert texts(browser, "#grid tbody th") == ["octaves1", "octaves2", "octaves10"]
    choose(browser, "#rows", -1)
    assert texts(browser, "#grid tbody th") == [""]
    assert browser.run("document.querySelector('[data-axis=\"1\"]').type") == "range"
    choose(browser, '[data-axis="1"]', 2)
    assert texts(browser, "#rest output") == ["10"]
    assert cells(browser) == [flute]
    assert browser.complaints() == []


def test_the_list_is_sorted_by_buttons_and_keys(browser: Browser, page: Path):
    browser.open(page)
    click(browser, "getElementById('list-view')")
    click(browser, "getElementById('orders').children[3]")
    largest = [4.1, 4.0, 3.1, 3.0, 2.1, 2.0, 1.1, 1.0, 0.1, 0.0, np.nan]
    np.testing.assert_array_equal(measure(browser, 3), largest)
    assert texts(browser, "#orders [aria-pressed=true]") == ["RMSE dB ↓"]
    assert texts(browser, ".card .settings")[0] == "dream.step_size 0.25, dream.octaves 2, job 4"
    browser.press("4")
    np.testing.assert_array_equal(measure(browser, 3), [*largest[9::-1], np.nan])
    assert texts(browser, "#state") == ["Sorted by RMSE dB, from the smallest."]
    browser.press("5")
    expected = [np.inf] * 8 + [3.0, 3.0, np.nan]
    np.testing.assert_array_equal(measure(browser, 4), expected)
    browser.press("g")
    assert len(cells(browser)) == 2
    assert browser.run("document.getElementById('orders').hidden")
    browser.press("l")
    assert len(measure(browser, 0)) == 11
    assert len(set(browser.run(DRAWN))) == 10


def test_a_dream_is_opened_and_the_next_one_follows(browser: Browser, page: Path):
    browser.open(page)
    click(browser, "querySelector('.enlarge')")
    drawn = "document.getElementById('player').dataset.drawn"
    browser.wait(drawn)
    is_open = "document.getElementById('large').open"
    assert browser.run(is_open)
    assert texts(browser, "#player-title") == ["cel-1 → flute"]
    assert texts(browser, "#player-settings") == ["dream.step_size 0.25, dream.octaves 1, job 3"]
    browser.press("n")
    assert texts(browser, "#player-settings")[0].endswith("octaves 2, job 4")
    browser.press("p")
    browser.press("p")
    assert texts(browser, "#player-settings")[0].endswith("octaves 10, job 2")
    click(browser, "querySelector('#voices button')")
    browser.wait("player.position() > 0.05")
    click(browser, "getElementById('close')")
    browser.wait("!player.state.isPlaying")  # the event that silences it comes in a later task
    assert not browser.run(is_open)


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_the_page_is_no_wider_than_the_window(browser: Browser, page: Path, width: int):
    browser.open(page, width=width)
    assert browser.overflow() == 0
    click(browser, "getElementById('list-view')")
    assert browser.overflow() == 0
    click(browser, "querySelector('.enlarge')")
    assert browser.overflow() == 0


class Frame(Browser):
    """A frame within the tab; shares the browser's pipe."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.__dict__.update(browser.__dict__)
        self.session = session


def test_it_works_in_a_sandboxed_frame(browser: Browser, page: Path):
    outer = page.with_name("outer.html")
    outer.write_text(
        f'<iframe sandbox="allow-scripts" src="{page.name}" width="1200" height="850"></iframe>'
    )
    browser.open(outer)
    targets: list[dict[str, Any]] = browser.send("Target.getTargets")["targetInfos"]
    inner = next(t["targetId"] for t in targets if t["type"] == "iframe")
    session = browser.send("Target.attachToTarget", targetId=inner, flatten=True)["sessionId"]
    frame = Frame(browser, session)
    for domain in ("Runtime", "Network", "Log"):
        frame.send(f"{domain}.enable")
    assert frame.run("window.origin") == "null"
    assert len(frame.run(DRAWN)) == 5
    assert frame.run(PLAY_ALL) == [[0.5, True, 1, True]] * 10
    click(frame, "querySelector('.enlarge')")
    assert frame.run("document.getElementById('large').open")
    click(frame, "getElementById('close')")
    click(frame, "getElementById('list-view')")
    assert len(measure(frame, 3)) == 11
    assert frame.complaints() == []
    assert frame.requested() <= {"file", "data"}


def test_a_page_of_176_jobs_opens_at_once(browser: Browser, tmp_path: Path):
    for job in range(176):
        words = f"a={job % 4} b={job // 4 % 4} target={'abcdefghijk'[job // 16]}"
        place = write_job(tmp_path / "sweep", job, words, ["cel-1"])
        write_sound(place / "sounds" / "cel-1-to-flu-dream.wav", frames=66_150, seed=job)
    path = tmp_path / "gallery.html"
    write_gallery(read_sweep(tmp_path / "sweep"), path, title="")
    assert path.stat().st_size > 2e7
    browser.open(path)
    assert browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd") < 10_000
    assert len(cells(browser)) == 4
    loaded = "document.querySelectorAll('.card canvas[data-drawn]').length"
    click(browser, "getElementById('list-view')")
    assert len(measure(browser, 3)) == 176
    browser.wait(loaded)
    assert 0 < browser.run(loaded) < 100  # those in sight, and a little more

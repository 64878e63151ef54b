"""The page of a run's dreams in Chromium: it plays, switches, draws, and fits."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser import IN_CHROMIUM, Browser
from tests.reports.test_dream_page import RATE_HZ, page_of, write_run
from tests.sweeps.test_gallery import given_in

pytestmark = IN_CHROMIUM


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page_of(tmp_path / "run", write_run(tmp_path / "run"))
    return tmp_path / "run" / "index.html"


def opened(browser: Browser, page: Path, **size: int) -> None:
    browser.open(page, **size)
    browser.wait("document.getElementById('player').dataset.drawn")


RECORD = """(() => { // what is let through, by name, from the gains that are set
  window.gains = [];
  const Real = GainNode;
  window.GainNode = function (context, options) {
    const node = new Real(context, options);
    gains.push([options.gain, node]);
    return node;
  };
})()"""


def voice(browser: Browser) -> str:
    return browser.run("player.state.voice")


def test_keys_play_and_switch_without_losing_the_position(browser: Browser, page: Path) -> None:
    opened(browser, page)
    assert browser.run("document.getElementById('player-title').textContent").startswith("one")
    assert voice(browser) == "dream"
    browser.run(RECORD)
    browser.press(" ")
    browser.wait("player.position() > 0.3")
    for key, name in (("x", "original"), ("x", "dream"), ("d", "difference"), ("a", "original")):
        before = browser.run("player.position()")
        browser.press(key)
        assert voice(browser) == name
        assert 0 <= browser.run("player.position()") - before < 0.5
    # Buses of six voices: that of the original is open, the others are closed or closing.
    browser.wait(
        "gains.filter(([, node]) => node.gain.value > 0.99 && node.gain.value <= 1).length"
    )
    factors = browser.run(
        "gains.filter(([gain]) => gain !== 0 && gain !== 1).map(([gain]) => gain)"
    )
    levels = {v["name"]: v["gain"] for v in given_in(page.read_text())["entries"][2]["voices"]}
    linear = {name: 10 ** (gain / 20) for name, gain in levels.items()}
    expected = [
        linear["original"], linear["dream"], linear["difference"], -linear["difference"],
        linear["after 5"], linear["after 10"], linear["after 20"],
    ]  # fmt: skip
    np.testing.assert_allclose(factors, expected, rtol=1e-6)
    browser.press(" ")
    assert not browser.run("player.state.isPlaying")
    assert browser.complaints() == []
    assert browser.requested() <= {"file", "data"}


def test_what_is_played_is_what_is_in_the_files(browser: Browser, page: Path) -> None:
    """To the last bit but one: Chromium has a scale of its own for 16 bits."""
    opened(browser, page)
    entry = given_in(page.read_text())["entries"][2]
    for name, hz in (("original", 220), ("dream", 440), ("after 10", 310)):
        samples = browser.run(f"""(() => {{
          const voice = player.state.entry.voices.find(({{ name }}) => name === "{name}");
          return [...player.buffers.get(voice.file).getChannelData(0)];
        }})()""")
        path = page.parent / ("steps/10/one.wav" if " " in name else f"sounds/one-{name}.wav")
        np.testing.assert_allclose(samples, soundfile.read(path)[0], atol=2**-15)
        assert np.argmax(np.abs(np.fft.rfft(samples))) == hz  # of one second
    assert entry["rate"] == browser.run("player.buffers.values().next().value.sampleRate")


def test_spectrograms_have_the_tone_where_the_axis_says(browser: Browser, page: Path) -> None:
    opened(browser, page)
    share = browser.run(f"""(() => {{
      const canvas = document.querySelector('.panel[data-voice=dream] canvas');
      const height = canvas.height;
      const column = canvas.getContext("2d").getImageData(canvas.width / 2, 0, 1, height).data;
      const reds = [...Array(height).keys()].map((y) => column[4 * y]);
      const brightest = (reds.indexOf(Math.max(...reds)) + 0.5) / height;
      return 1 - brightest - heightOf(440, {RATE_HZ});
    }})()""")
    assert abs(share) < 0.02
    ticks = (
        "[...document.querySelector('.panel').querySelectorAll('.tick')].map((t) => t.textContent)"
    )
    expected = ["0 s", "0.2", "0.4", "0.6", "0.8", "1", "100 Hz", "300", "1000", "3000", "8000"]
    assert browser.run(ticks) == expected
    browser.press("x")
    browser.wait("player.position() > 0.2")
    cursor = "parseFloat(getComputedStyle(document.querySelector('.cursor')).left)"
    assert browser.run(cursor) > 20


def test_the_strip_goes_from_the_original_to_the_dream(browser: Browser, page: Path) -> None:
    opened(browser, page)
    strip = "[...document.querySelectorAll('#strip button')]"
    assert browser.run(f"{strip}.map((b) => b.textContent)") == [
        "original", "5 steps", "10 steps", "20 steps", "60 steps",
    ]  # fmt: skip
    browser.run(f"{strip}[1].click()")
    assert voice(browser) == "after 5"
    browser.wait("player.position() > 0.05")
    browser.press("ArrowRight")
    assert voice(browser) == "after 10"
    assert browser.run(f"{strip}.findIndex((b) => b.ariaPressed === 'true')") == 2
    browser.press("n")  # a dream without such steps
    assert browser.run("document.getElementById('way').hidden")
    assert voice(browser) == "dream"


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_every_control_has_a_name(browser, page, width) -> None:
    opened(browser, page, width=width)
    assert browser.overflow() == 0
    controls = "[...document.querySelectorAll('button, input, select')]"
    names = "(e) => e.textContent || e.ariaLabel || e.labels?.[0]?.textContent"
    assert all(browser.run(f"{controls}.map({names})"))
    browser.run("document.querySelectorAll('.enlarge')[1].click()")
    browser.wait("document.getElementById('player-title').textContent.startsWith('three')")
    assert browser.overflow() == 0
    assert browser.complaints() == []

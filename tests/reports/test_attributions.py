from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from irdream.reports.attributions import (
    means_rows,
    methods_markdown,
    methods_table,
    write_attributions_page,
    write_map,
)
from tests.browser import IN_CHROMIUM, Browser


def rows(kind: str, faithfulness: list[float]) -> pd.DataFrame:
    names = [f"x{i}" for i in range(len(faithfulness))]
    return pd.DataFrame({"map": kind, "name": names, "faithfulness": faithfulness, "increase": 1.0})


def test_a_table_of_methods_has_means_intervals_and_the_controls_once() -> None:
    runs = {
        name: pd.concat([rows("A", values), rows("random", [0.1, 0.1]), rows("edges", [0.2, 0.2])])
        for name, values in {"one": [0.2, 0.6], "two": [0.9, 0.9]}.items()
    }
    table = methods_table(runs, {"one": 0.1, "two": 0.25})
    assert table["method"].tolist() == ["one", "two", "random (control)", "edges (control)"]
    assert table["excerpts"].tolist() == [2] * 4
    np.testing.assert_allclose(table["faithfulness"], [0.4, 0.9, 0.1, 0.2])
    assert table.loc[0, ["faithfulness_low", "faithfulness_high"]].tolist() == [0.2, 0.6]
    assert table["passes"].tolist()[:2] == [True, False]
    assert "drop" not in table
    lines = methods_markdown(table).splitlines()
    assert lines[0] == (
        "| method | excerpts | increase | faithfulness | left when shuffled | sanity check |"
    )
    low = 0.025**0.5  # Clopper and Pearson, two of two
    assert (
        lines[2]
        == f"| `one` | 2 | 1.00 ({low:.2f} to 1.00) | 0.40 (0.20 to 0.60) | 0.10 | passes |"
    )
    assert lines[3].endswith("| 0.25 | **fails** |")
    assert lines[4].endswith("| 0.10 (0.10 to 0.10) |  |  |")


@pytest.mark.parametrize(
    ("value", "color"), [(2.0, (0xE0, 0x20, 0x10)), (-2.0, (0x10, 0x60, 0xE0))]
)
def test_a_map_lies_where_a_page_draws_the_frequency(value, color, tmp_path: Path) -> None:
    centers_hz = np.linspace(100, 7900, 40)
    relevance = np.zeros((40, 3))
    relevance[10, 1] = value  # 2100 Hz
    write_map(tmp_path / "maps" / "a.png", relevance, centers_hz, 16_000)
    with Image.open(tmp_path / "maps" / "a.png") as picture:
        pixels = np.array(picture)
    assert pixels.shape == (144, 3, 4)
    tops = np.flatnonzero(pixels[:, 1, 3] == pixels[..., 3].max())
    mel = [2595 * np.log10(1 + hz / 700) for hz in (50, centers_hz[10], 8000)]
    expected = 144 * (mel[2] - mel[1]) / (mel[2] - mel[0]) - 0.5
    assert tops.mean() == pytest.approx(expected, abs=1)
    assert tuple(pixels[tops[0], 1, :3]) == color
    assert not pixels[:, 0, 3].any()


@IN_CHROMIUM[0]
@IN_CHROMIUM[1]
def test_the_page_plays_the_parts_and_draws_the_map_where_it_is(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "sounds").mkdir()
    time = np.arange(16_000) / 16_000
    low, high = (0.3 * np.sin(2 * np.pi * hz * time) for hz in (440, 2000))
    for part, sound in {"original": low + high, "relevant": low, "rest": high}.items():
        soundfile.write(tmp_path / "sounds" / f"a-{part}.wav", sound, 16_000)
    relevance = np.zeros((40, 10))
    relevance[2] = 1.0  # 500 Hz
    write_map(tmp_path / "maps" / "a.png", relevance, np.linspace(100, 7900, 40), 16_000)
    row = {"name": "a", "labels": "flu", "target": "flu", "file": "a", "energy_share": 0.5}
    row |= {"probability": 0.9, "probability_relevant": 0.8, "probability_rest": 0.1}
    table = pd.DataFrame([row | {"map": kind} for kind in ("SmoothGrad", "random", "edges")])
    points = {"SmoothGrad": ([0, 0.8, 1.0], [1.0, 0.2, 0]), "random": ([0, 0, 1.0], [1.0, 1.0, 0])}
    pd.concat(
        pd.DataFrame(
            {"file": "a", "map": kind, "share": [0, 0.5, 1], "insertion": a, "deletion": b}
        )
        for kind, (a, b) in points.items()
    ).to_csv(tmp_path / "curves.csv", index=False)
    means = methods_table({"SmoothGrad": table}, {})
    write_attributions_page(table, tmp_path, means=means, command=["task=attribute"])
    browser.open(tmp_path / "index.html")
    browser.wait("document.getElementById('player').dataset.drawn")
    said = browser.run("document.getElementById('player-settings').textContent")
    assert said.startswith("SmoothGrad. Probability of flute: 0.90 in the whole, 0.80 in the")
    cells = "[...document.querySelectorAll('.means td, .means th')].map((b) => b.textContent)"
    assert browser.run(cells) == [cell for row in means_rows(means) for cell in row]
    buttons = "[...document.querySelectorAll('#voices button')].map((b) => b.textContent)"
    assert browser.run(buttons) == ["Original", "Relevant", "Rest"]
    for key, name in (("x", "original"), ("x", "relevant"), ("d", "rest"), ("a", "original")):
        browser.press(key)
        assert browser.run("player.state.voice") == name
    rest = "player.state.entry.voices.find((v) => v.name === 'rest').file"
    assert browser.run(rest) is None  # it is played as the one less the other
    reddest = """(() => {
      const canvas = document.querySelector('.panel[data-voice=rest] canvas');
      const { data } = canvas.getContext("2d").getImageData(canvas.width / 2, 0, 1, canvas.height);
      const excess = [...Array(canvas.height).keys()].map((y) => data[4 * y] - data[4 * y + 2]);
      const most = Math.max(...excess);
      return [most, 1 - (excess.indexOf(most) + 0.5) / canvas.height - heightOf(500, 16000)];
    })()"""
    browser.wait("document.querySelector('.panel[data-voice=rest] canvas').dataset.drawn")
    most, distance = browser.run(reddest)
    assert most > 100
    assert abs(distance) < 0.03
    keys = "[...document.querySelectorAll('#curves figcaption span')].map((b) => b.textContent)"
    assert browser.run(keys) == ["SmoothGrad 0.65", "random 0.25", "SmoothGrad 0.35", "random 0.75"]
    line = "document.querySelector('#curves polyline.line-0').getAttribute('points')"
    places = [[float(x) for x in pair.split(",")] for pair in browser.run(line).split()]
    assert places[0] < places[1] < places[2]  # from left to right
    assert places[1][1] - places[2][1] == pytest.approx(0.2 * (places[0][1] - places[2][1]))
    for width in (400, 1280):
        browser.open(tmp_path / "index.html", width=width)
        assert browser.overflow() == 0
    assert browser.complaints() == []
    assert browser.requested() <= {"file", "data"}

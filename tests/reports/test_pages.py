import base64
import io
import math
import os
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import soundfile

from irdream.errors import InputError
from irdream.reports.pages import (
    Claim,
    Comparison,
    Page,
    Picture,
    Section,
    Sound,
    Table,
    escape_markdown,
    load_picture,
    load_sound,
    write_html,
    write_markdown,
)

HOSTILE = "<script>alert(1)</script> & \"q\" 'a' | a_b* `c` [d](e)"
TEMPLATES = Path(__file__).parents[2] / "src/irdream/reports/templates"
VOID = {"meta", "img", "br", "link", "input", "hr"}
HEADINGS = ["h1", "h2", "h3", "h4"]


class Parsed(HTMLParser):
    """The elements of a page with their attributes, its text, and whether it is well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def every(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    def values(self, attribute: str) -> list[str]:
        return [found[attribute] for _, found in self.elements if attribute in found]


def write_png(path: Path, *, width: int = 6, height: int = 4) -> Path:
    matplotlib.image.imsave(path, np.zeros((height, width, 3)))
    return path


def write_sound(path: Path, *, subtype: str = "PCM_16", frames: int = 500) -> Path:
    samples = np.random.default_rng(frames).uniform(-1, 1, (frames, 1))
    soundfile.write(path, samples, 22_050, subtype=subtype)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a page is written to; its pictures and sounds are elsewhere."""
    folder = tmp_path / "pages"
    folder.mkdir()
    return folder


def build(elsewhere: Path, text: str = "text") -> Page:
    """Return a page with one of each kind, all of whose words are `text`."""
    picture, sound = write_png(elsewhere / "p.png"), write_sound(elsewhere / "s.wav")
    frame = pd.DataFrame({f"x {text}": [text, "b"], "number": [1.5, None]})
    section = Section(
        title=text,
        paragraphs=[text],
        tables=[Table(title=text, frame=frame, caption=text)],
        pictures=[Picture(title=text, path=picture, caption=text, alt=text)],
        comparisons=[
            Comparison(title=text, sounds=[_sound(text, sound)] * count, caption=text)
            for count in (2, 1)
        ],
    )
    claims = [
        Claim(code=f"{text}1", says=text, measured=text, verdict="does not hold", why=text),
        Claim(code=f"{text}2", says=text, measured=text, verdict="holds", why=text),
    ]
    return Page(
        title=text, lead=[text], claims=claims, sections=[section, section], provenance={text: text}
    )


def _sound(text: str, path: Path) -> Sound:
    return Sound(label=text, path=path, note=text)


def html_of(page: Page, folder: Path) -> str:
    write_html(page, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def markdown_of(page: Page, folder: Path) -> str:
    write_markdown(page, folder / "page.md")
    return (folder / "page.md").read_text(encoding="utf-8")


def test_a_page_is_one_file_that_asks_for_nothing(folder, tmp_path):
    text = html_of(build(tmp_path), folder)
    parsed = Parsed(text)
    assert [path.name for path in folder.iterdir()] == ["page.html"]
    sources = parsed.values("src")
    assert len(parsed.every("audio")) == 6
    assert len(parsed.every("img")) == 2
    assert len(sources) == 8
    assert all(source.startswith(("data:image/png;", "data:audio/flac;")) for source in sources)
    assert all(link.startswith("#") for link in parsed.values("href"))
    assert "://" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert not re.search(r"url\(|@import|srcset|<link", text)


def test_the_policy_forbids_requests_and_foreign_scripts(folder, tmp_path):
    policy = Parsed(html_of(build(tmp_path), folder)).every("meta")[1]["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert (rules["img-src"], rules["media-src"]) == ("data:", "data:")
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["script-src"])


def test_embedded_pictures_and_sounds_are_the_very_ones(folder, tmp_path):
    parsed = Parsed(html_of(build(tmp_path), folder))
    image, sound = parsed.every("img")[0], parsed.every("audio")[0]
    assert decoded(image["src"]) == (tmp_path / "p.png").read_bytes()
    assert (image["width"], image["height"]) == ("6", "4")
    samples, rate_hz = soundfile.read(io.BytesIO(decoded(sound["src"])), dtype="int16")
    expected, _ = soundfile.read(tmp_path / "s.wav", dtype="int16")
    assert rate_hz == 22_050
    np.testing.assert_array_equal(samples, expected)


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",")[1], validate=True)


def test_a_page_can_be_read_without_eyes_or_mouse(folder, tmp_path):
    parsed = Parsed(html_of(build(tmp_path), folder))
    assert parsed.every("html") == [{"lang": "en"}]
    levels = [HEADINGS.index(tag) for tag, _ in parsed.elements if tag in HEADINGS]
    assert levels[0] == 0
    assert 0 not in levels[1:]
    assert max(np.diff(levels)) == 1
    assert all(image["alt"] for image in parsed.every("img"))
    assert all(sound["aria-label"] and "controls" in sound for sound in parsed.every("audio"))
    assert len(parsed.every("caption")) == len(parsed.every("table")) == 3
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in parsed.values("href")} <= set(ids)
    assert set(parsed.values("aria-labelledby")) <= set(ids)
    assert parsed.text.count("does not hold") == 2  # in the count and in the row
    assert "✗" in parsed.text


def test_what_is_in_the_data_cannot_become_markup(folder, tmp_path):
    plain, hostile = (Parsed(html_of(build(tmp_path, text), folder)) for text in ("text", HOSTILE))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert hostile.text.count(HOSTILE) == plain.text.count("text") - style_words(plain)
    assert HOSTILE in hostile.values("alt")


def style_words(parsed: Parsed) -> int:
    """Count the word "text" in the style sheet, which is part of a page's text."""
    return sum((TEMPLATES / name).read_text().count("text") for name in ("style.css", "page.css"))


def test_a_page_of_nothing_and_a_title_that_is_no_utf_8(folder):
    page = Page(title="T", lead=[], claims=[], sections=[], provenance={})
    parsed = Parsed(html_of(page, folder))
    assert parsed.every("table", "section", "footer", "audio") == []
    assert markdown_of(page, folder) == "# T\n\n"
    page = Page(title="a\udcffb", lead=[], claims=[], sections=[], provenance={})
    assert "<h1>a?b</h1>" in html_of(page, folder)


def test_markdown(folder, tmp_path):
    page = build(tmp_path)
    lines = markdown_of(page, folder).splitlines()
    assert lines[:5] == ["# text", "", "text", "", "## The claims, one by one"]
    assert "| text1 | text | text | **does not hold** | text |" in lines
    table = lines.index("| x text | number |")
    assert lines[table - 2 : table + 4] == [
        "**Table S1. text** text", "", "| x text | number |", "| --- | ---: |", "| text | 1.50 |",
        "| b | – |",
    ]  # fmt: skip
    assert "![text](page_files/p.png)" in lines
    assert "**Figure S2. text** text" in lines
    assert "- [text](page_files/s.wav), text" in lines
    assert not any(one == two == "" for one, two in pairwise(lines))


def test_markdown_keeps_every_sign_of_the_data(folder, tmp_path):
    lines = markdown_of(build(tmp_path, f"{HOSTILE}\n\nnext"), folder).splitlines()
    plain = markdown_of(build(tmp_path), folder).splitlines()
    assert len(lines) == len(plain)
    for line, expected in zip(lines, plain, strict=True):
        bars = len(re.findall(r"(?<!\\)\|", line))
        assert bars == expected.count("|")
        assert not re.search(r"(?<!\\)[<`]", line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\nc", "a b c"),
        ("a|b", r"a\|b"),
        ("log_mel *x*", r"log\_mel \*x\*"),
        ("$p$ & \\", r"\$p\$ \& \\"),
        ("- 3 dB", r"\- 3 dB"),
        ("-3 dB", "-3 dB"),
        ("1. one", r"1\. one"),
        ("1.5 dB", "1.5 dB"),
        ("---", r"\---"),
        ("# one", r"\# one"),
        (1.5, "1.5"),
        ("", ""),
    ],
)
def test_escaped_markdown(text, expected):
    assert escape_markdown(text) == expected


def test_files_beside_the_page_are_linked_where_they_are(folder):
    (folder / "a (1)").mkdir()
    (folder / "pictures").mkdir()
    sound = write_sound(folder / "a (1)" / "ü b.wav")
    text = markdown_of(with_sounds(sound), folder)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links == ["a%20%281%29/%C3%BC%20b.wav"]
    assert (folder / unquote(links[0])).samefile(sound)
    assert not (folder / "page_files").exists()


def with_sounds(*paths: Path) -> Page:
    comparison = Comparison(title="", sounds=[_sound("s", path) for path in paths], caption="")
    section = Section(title="", comparisons=[comparison])
    return Page(title="", lead=[], claims=[], sections=[section], provenance={})


def test_files_of_one_name_from_two_folders_are_both_copied(folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = write_sound(tmp_path / "a" / "s.wav", frames=10)
    second = write_sound(tmp_path / "b" / "s.wav", frames=20)
    page = with_sounds(first, second, first)
    for _ in range(2):  # and again over what is there
        links = re.findall(r"\]\(([^)]+)\)", markdown_of(page, folder))
        assert links == ["page_files/s.wav", "page_files/s-2.wav", "page_files/s.wav"]
    copies = {path.name: path.read_bytes() for path in (folder / "page_files").iterdir()}
    assert copies == {"s.wav": first.read_bytes(), "s-2.wav": second.read_bytes()}


def test_a_copy_does_not_replace_a_file_that_is_linked(folder, tmp_path):
    (folder / "page_files").mkdir()
    inside = write_sound(folder / "page_files" / "s.wav", frames=10)
    kept = inside.read_bytes()
    text = markdown_of(with_sounds(inside, write_sound(tmp_path / "s.wav", frames=20)), folder)
    assert re.findall(r"\]\(([^)]+)\)", text) == ["page_files/s.wav", "page_files/s-2.wav"]
    assert inside.read_bytes() == kept


def test_a_page_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "s.wav")
    write_markdown(with_sounds(Path("s.wav")), "page.md")
    assert "[s](s.wav)" in Path("page.md").read_text()


def test_markdown_refuses_a_file_that_is_not_there(folder):
    with pytest.raises(InputError, match=r"^no such file: 'gone\.wav'; check the path$"):
        write_markdown(with_sounds(Path("gone.wav")), folder / "page.md")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("subtype", "kind"), [("PCM_16", "int16"), ("PCM_24", "int32")])
def test_a_sound_is_embedded_without_loss(tmp_path, subtype, kind):
    path = write_sound(tmp_path / "s.wav", subtype=subtype)
    recording = load_sound(path)
    assert (recording.frames, recording.sample_rate_hz) == (500, 22_050)
    assert recording.seconds == pytest.approx(500 / 22_050)
    samples, _ = soundfile.read(io.BytesIO(decoded(recording.uri)), dtype=kind)
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype=kind)[0])


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (load_sound, "float.wav", r"^sound='.*float.wav'; expected 16 or 24 bit \(.+\)$"),
        (load_sound, "picture.png", r"^sound='.*png'; expected 16 or 24 bit \(.+\)$"),
        (load_sound, "gone.wav", r"^sound='.*gone.wav'; expected 16 or 24 bit \(.+\)$"),
        (load_sound, "empty.wav", r"^sound='.*empty.wav'; expected a sound; it is empty$"),
        (load_picture, "float.wav", r"^picture='.*float.wav'; expected a PNG file \(.+\)$"),
        (load_picture, ".", r"^picture='.*'; expected a PNG file \(.*Is a directory.*\)$"),
    ],
)
def test_files_that_cannot_be_shown_are_refused(tmp_path, load, name, message):
    write_sound(tmp_path / "float.wav", subtype="FLOAT")
    write_sound(tmp_path / "empty.wav", frames=0)
    write_png(tmp_path / "picture.png")
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_link_to_a_name_that_is_no_utf_8(folder):
    sound = write_sound(folder / "s.wav")
    odd = sound.rename(os.fsdecode(bytes(folder) + b"/\xff.wav"))
    assert "](%FF.wav)" in markdown_of(with_sounds(odd), folder)


def luminance(color: str) -> float:
    """Return the relative luminance of #rgb or #rrggbb (WCAG 2.2)."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_contrast(scheme):
    assert contrast("#777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    schemes = re.findall(r":root \{(.+?)\}", (TEMPLATES / "style.css").read_text(), re.DOTALL)
    colors = {}
    for text in [schemes[0], schemes[scheme]]:
        colors |= dict(re.findall(r"--([\w-]+): (#\w+);", text))
    pairs = [
        (text, ground) for text in ("text", "quiet", "accent") for ground in ("paper", "shade")
    ]
    pairs += [(name, f"{name}-shade") for name in ("good", "part", "bad", "open")]
    pairs += [("on-button", "button")]
    for text, ground in pairs:
        assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


# What a page holds


def test_cells_are_shown_in_the_format_of_their_column():
    frame = pd.DataFrame(
        {
            "name": ["cello", None],
            "share": [0.5, math.nan],
            "rmse": [2.1849, -0.5],
            "count": [110, 7],
            "wins": [True, False],
            "nullable": pd.array([1, None], dtype="Int64"),
            "mixed": [0.25, "many"],
        }
    )
    table = Table(title="", frame=frame, formats={"share": ".0%"}, digits=1)
    assert table.columns == ["name", "share", "rmse", "count", "wins", "nullable", "mixed"]
    assert table.rows == [
        ["cello", "50%", "2.2", "110", "yes", "1", "0.2"],
        ["–", "–", "-0.5", "7", "no", "–", "many"],
    ]
    assert table.numeric == [False, True, True, True, False, True, False]


def test_a_format_holds_for_a_column_of_objects_too():
    frame = pd.DataFrame({"value": pd.Series([0.123, None], dtype=object)})
    assert Table(title="", frame=frame, formats={"value": ".1f"}).rows == [["0.1"], ["–"]]


def test_a_table_without_rows_and_columns_named_by_numbers():
    table = Table(title="", frame=pd.DataFrame({"a": pd.Series([], dtype=float)}))
    assert (table.rows, table.columns, table.numeric) == ([], ["a"], [True])
    table = Table(title="", frame=pd.DataFrame({1: [0.5], 2: [0.5]}), formats={"1": ".1f"})
    assert (table.columns, table.rows) == (["1", "2"], [["0.5", "0.50"]])


def test_verdicts_are_counted_in_their_order():
    verdicts = ("not tested", "holds", "not tested")
    claims = [
        Claim(code=code, says="", measured="", verdict=verdict, why="")
        for code, verdict in zip("123", verdicts, strict=True)
    ]
    found = Page(title="", lead=[], claims=claims, sections=[], provenance={})
    assert list(found.tally.items()) == [("holds", 1), ("not tested", 2)]

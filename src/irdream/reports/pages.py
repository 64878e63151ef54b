"""A page about a reproduction, as one HTML file that needs nothing else, and as Markdown.

A page holds claims, tables, pictures and sounds to compare. All its text is plain text: it is
escaped, by Jinja for HTML and by `escape_markdown` for Markdown.

The HTML carries its pictures as PNG and its sounds as FLAC (lossless) in data URIs. A content
security policy (W3C, CSP Level 3) forbids every request, and every script but the page's own,
which are named by their SHA-256: it can be sent by mail, and be shown in a sandboxed frame,
as MLflow does.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote

import jinja2
import pandas as pd
import PIL.Image
import rich.table
import soundfile
from markupsafe import Markup
from pandas.api import types
from rich.console import Console
from rich.text import Text

from irdream.errors import InputError
from irdream.files import replacing

Verdict = Literal["holds", "holds in part", "does not hold", "not tested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NOTHING = "–"  # a cell without a value
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper and its verdict; each claim of a page has its own code."""

    code: str
    says: str
    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows with a title, and a caption in sentences."""

    title: str
    frame: pd.DataFrame  # without its index; names are shown as they are
    caption: str = ""
    digits: int = 2  # of floats in columns that `formats` does not name
    formats: Mapping[str, str] = field(default_factory=dict)  # by column, as ".3f" or ".0%"

    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.frame.columns]

    @property
    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers, which are aligned to the right."""
        return [types.is_numeric_dtype(k) and not types.is_bool_dtype(k) for k in self.frame.dtypes]

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells as they are shown: "–" without a value, else in the column's format."""
        columns = [
            [self._cell(value, self.formats.get(str(name))) for value in column]
            for name, column in self.frame.items()
        ]
        return [list(cells) for cells in zip(*columns, strict=True)]

    def _cell(self, value: object, spec: str | None) -> str:
        if types.is_scalar(value) and pd.isna(value) is True:
            return NOTHING
        if types.is_bool(value):
            return "yes" if value else "no"
        default = f".{self.digits}f" if types.is_float(value) else ""
        return format(value, default if spec is None else spec)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file, its title and caption, and a description for those who cannot see it."""

    title: str
    path: Path
    caption: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A WAV file of 16 or 24 bit, what it is, and a note such as the recognizer's answer."""

    label: str
    path: Path
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Sounds that are to be played one after the other."""

    title: str
    sounds: Sequence[Sound]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page, in this order."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    comparisons: Sequence[Comparison] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: title, paragraphs, the table of claims, sections, and where its numbers come from."""

    title: str
    lead: Sequence[str]
    claims: Sequence[Claim]
    sections: Sequence[Section]
    provenance: Mapping[str, str]
    says: str = "The paper says"  # heading of the claims

    @property
    def tally(self) -> dict[Verdict, int]:
        """Count the claims of each verdict that occurs, in the order of `VERDICTS`."""
        found = Counter(claim.verdict for claim in self.claims)
        return {verdict: found[verdict] for verdict in VERDICTS if verdict in found}


class Image(NamedTuple):
    """A PNG for a page: its data URI and its size in pixels."""

    uri: str
    width: int
    height: int


class Recording(NamedTuple):
    """A sound for a page: lossless FLAC in a data URI, its frames and their rate."""

    uri: str
    frames: int
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate_hz


def write_html(page: Page, path: str | Path) -> None:
    """Write a page as one HTML file that needs no other; see `render_html`."""
    write_text(render_html("page.html.j2", scripts=["page.js"], page=page), path)


def write_markdown(page: Page, path: str | Path) -> None:
    """Write a page as Markdown (as GitHub reads it) that links to its pictures and sounds.

    Files elsewhere are copied into the folder `<stem>_files` beside the page. Raises InputError
    when one is missing.
    """
    template = _environment().get_template("page.md.j2")
    write_text(template.render(page=page, link=_linker(Path(path))), path)


def print_claims(page: Page, path: Path) -> None:
    """Print the claims of a page with their verdicts, and where it is."""
    table = rich.table.Table("", page.says.lower(), "verdict", "measured")
    for claim in page.claims:
        table.add_row(claim.code, Text(claim.says), claim.verdict, Text(claim.measured))
    console = Console()
    console.print(table)
    console.print(f"report: {path}", soft_wrap=True)


def render_html(template: str, *, scripts: Sequence[str], **values: Any) -> str:
    """Fill an HTML template of this package with `values`; only these `scripts` of it may run.

    Raises InputError when a picture is no PNG, or a sound no WAV of 16 or 24 bit.
    """
    sources = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in scripts]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in sources]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(scripts=[Markup(s) for s in sources], policy=policy, **values)


def write_text(text: str, path: str | Path) -> None:
    """Write text as UTF-8, whole or not at all; what UTF-8 cannot hold becomes "?"."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", errors="replace"))


def load_picture(path: str | Path) -> Image:
    """Read a PNG for a page; raise InputError when it is missing or none."""
    try:
        content = Path(path).read_bytes()
        with PIL.Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            width, height = image.size
    except OSError as error:
        raise InputError(f"picture={str(path)!r}; expected a PNG file ({error})") from None
    return Image(_data_uri("image/png", content), width, height)


def load_sound(path: str | Path) -> Recording:
    """Read a WAV for a page; its FLAC decodes to the very samples of the file.

    Raises InputError when it is missing, unreadable, empty, or not of 16 or 24 bit (FLAC knows no
    floating point).
    """
    flac = io.BytesIO()
    try:
        with soundfile.SoundFile(io.BytesIO(Path(path).read_bytes())) as sound:
            samples, rate_hz = sound.read(dtype="int32", always_2d=True), sound.samplerate
            soundfile.write(flac, samples, rate_hz, format="FLAC", subtype=sound.subtype)
    except (OSError, soundfile.SoundFileError, ValueError) as error:
        reason = str(error).split(": ")[-1].rstrip(". ")
        raise InputError(f"sound={str(path)!r}; expected 16 or 24 bit ({reason})") from None
    if not len(samples):
        raise InputError(f"sound={str(path)!r}; expected a sound; it is empty")
    return Recording(_data_uri("audio/flac", flac.getvalue()), len(samples), rate_hz)


def escape_markdown(text: object) -> str:
    """Return text that Markdown shows as it is: one line, each sign with a meaning escaped."""
    line = re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", " ".join(str(text).split()))
    return re.sub(r"^(\d*)([-+.)=])(?=[-=\s]|$)", r"\1\\\2", line)  # a list, a rule


def _linker(page: Path) -> Callable[[Path], str]:
    """Return what gives the link to a file, relative to the page, and copies it if need be."""
    root = page.parent.resolve()
    folder = root / f"{page.stem}_files"
    places: dict[Path, Path] = {}

    def copied(source: Path) -> Path:
        number, place = 1, folder / source.name
        while place in places.values():
            number += 1
            place = folder / f"{source.stem}-{number}{source.suffix}"
        with replacing(place) as file:
            file.write(source.read_bytes())
        return place

    def link(path: Path) -> str:
        source = Path(path).resolve()
        if not source.is_file():
            raise InputError(f"no such file: {str(path)!r}; check the path")
        if source not in places:
            places[source] = source if source.is_relative_to(root) else copied(source)
        return quote(os.fsencode(places[source].relative_to(root).as_posix()))

    return link


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(picture=load_picture, sound=load_sound, md=escape_markdown)
    return environment


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""A page as one HTML file that needs nothing else, and as Markdown with files beside it.

The HTML carries its pictures as PNG and its sounds as FLAC (lossless) in data URIs. A content
security policy (W3C, CSP Level 3) forbids every request, and every script but the page's own,
which are named by their SHA-256: it can be sent by mail, and be shown in a sandboxed frame,
as MLflow does. All text is escaped, by Jinja for HTML and by `escape_markdown` for Markdown.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import jinja2
import soundfile
from markupsafe import Markup

from irdream.errors import InputError
from irdream.files import replacing
from irdream.reports.report import Page

_TEMPLATES = Path(__file__).parent / "templates"
_PNG = b"\x89PNG\r\n\x1a\n"
_INTEGER_TYPES: dict[str, Literal["int16", "int32"]] = {"PCM_16": "int16", "PCM_24": "int32"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """A PNG for a page: its data URI and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A sound for a page: lossless FLAC in a data URI, its frames and their rate."""

    uri: str
    frames: int
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        """Return how long it lasts."""
        return self.frames / self.sample_rate_hz


def write_html(page: Page, path: str | Path) -> None:
    """Write a page as one HTML file that needs no other, whole or not at all.

    Raises:
        InputError: when a picture is no PNG, or a sound no WAV of 16 or 24 bit.
        OSError: from the system (no such folder, no permission, full disk).
    """
    text = render_html("page.html.j2", scripts=["page.js"], page=page)
    write_text(text, path)


def write_markdown(page: Page, path: str | Path) -> None:
    """Write a page as Markdown (as GitHub reads it) that links to its pictures and sounds.

    A file in the page's folder or below is linked where it is; others are copied into the
    folder `<stem>_files` beside the page.

    Raises:
        InputError: when a picture or a sound is missing.
        OSError: from the system (no such folder, no permission, full disk).
    """
    template = _environment().get_template("page.md.j2")
    write_text(template.render(page=page, link=_Beside(Path(path)).link), path)


def render_html(template: str, *, scripts: Sequence[str], **values: Any) -> str:
    """Fill an HTML template of this package.

    Args:
        template: its file name.
        scripts: file names of the scripts that it runs; the policy allows these alone.
        values: what the template names; it also gets `scripts` and `policy`.

    Raises:
        InputError: when a picture is no PNG, or a sound no WAV of 16 or 24 bit.
    """
    sources = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in scripts]
    return (
        _environment()
        .get_template(template)
        .render(scripts=[Markup(s) for s in sources], policy=_policy(sources), **values)
    )


def write_text(text: str, path: str | Path) -> None:
    """Write text as UTF-8, whole or not at all; what UTF-8 cannot hold becomes "?".

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", errors="replace"))


def load_picture(path: str | Path) -> Image:
    """Read a PNG for a page.

    Raises:
        InputError: when it is missing or no PNG.
    """
    content = _content(path, "picture")
    if content[:8] != _PNG or content[12:16] != b"IHDR":
        raise InputError(f"picture={str(path)!r}; expected a PNG; save it as one")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return Image(uri=_data_uri("image/png", content), width=width, height=height)


def load_sound(path: str | Path) -> Recording:
    """Read a WAV for a page; its FLAC decodes to the very samples of the file.

    Raises:
        InputError: when it is missing, unreadable, or not of 16 or 24 bit (FLAC knows no
            floating point).
    """
    try:
        with soundfile.SoundFile(io.BytesIO(_content(path, "sound"))) as sound:
            subtype, sample_rate_hz = sound.subtype, sound.samplerate
            samples = sound.read(dtype=_INTEGER_TYPES.get(subtype, "int16"), always_2d=True)
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].rstrip(". ")
        raise InputError(f"sound={str(path)!r}; expected a WAV file ({reason})") from None
    if subtype not in _INTEGER_TYPES or len(samples) == 0:
        raise InputError(
            f"sound={str(path)!r} has {len(samples)} frames of {subtype}; "
            f"expected some of PCM_16 or PCM_24; write it again"
        )
    flac = io.BytesIO()
    soundfile.write(flac, samples, sample_rate_hz, format="FLAC", subtype=subtype)
    uri = _data_uri("audio/flac", flac.getvalue())
    return Recording(uri=uri, frames=len(samples), sample_rate_hz=sample_rate_hz)


def escape_markdown(text: object) -> str:
    """Return text that Markdown shows as it is: one line, each sign with a meaning escaped."""
    line = re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", " ".join(str(text).split()))
    return re.sub(r"^(\d*)([-+.)=])(?=[-=\s]|$)", r"\1\\\2", line)  # a list, a rule


class _Beside:
    """Links of a Markdown page to its files, copied where they are elsewhere.

    Args:
        page: where the page will be.
    """

    def __init__(self, page: Path) -> None:
        self.root = page.parent.resolve()
        self.folder = self.root / f"{page.stem}_files"
        self.places: dict[Path, Path] = {}

    def link(self, path: Path) -> str:
        """Return the link to a file, relative to the page and percent-encoded."""
        source = Path(path).resolve()
        if not source.is_file():
            raise InputError(f"no such file: {str(path)!r}; check the path")
        if source not in self.places:
            inside = source.is_relative_to(self.root)
            self.places[source] = source if inside else self._copy(source)
        return quote(os.fsencode(self.places[source].relative_to(self.root).as_posix()))

    def _copy(self, source: Path) -> Path:
        number, place = 1, self.folder / source.name
        while place in self.places.values():
            number += 1
            place = self.folder / f"{source.stem}-{number}{source.suffix}"
        self.folder.mkdir(exist_ok=True)
        with replacing(place) as file:
            file.write(source.read_bytes())
        return place


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


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _content(path: str | Path, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what}={str(path)!r}: {error.strerror}; check the path") from None


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""A local page to dream a sound of one's own:  make app, or python -m irdream.app

A sound is dropped, an instrument and a strength are chosen, and the page of the dream comes back:
the very page that `task=dream` writes. It listens on 127.0.0.1 alone, and asks nothing of the
network. A small server of the standard library, since gradio 6 wants an older Pillow than the one
that is pinned, and 22 more packages.

A dream is one POST: the body is the sound, the answer a line of JSON each second with the share
that is done, and at the end the address of its page, or an error in one line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from irdream import checkpoint, instruments, runtime
from irdream.api import sound_settings
from irdream.datasets.starts import FileStart
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.errors import InputError, told
from irdream.files import distinct_names
from irdream.recognizer import Recognizer
from irdream.reports.pages import render_html
from irdream.tasks.dream import dream
from irdream.tracking import NullTracker

HOST = "127.0.0.1"
MOST_BYTES = 200_000_000
STRENGTHS = "quiet", "clear", "strong"


class App(ThreadingHTTPServer):
    """The server; it dreams one sound at a time, and writes a folder for each; port 0: any."""

    daemon_threads = True

    def __init__(
        self,
        recognizer: Recognizer,
        judge: Recognizer | None,
        folder: Path,
        *,
        port: int = 0,
        steps: int = 60,
        networks: Sequence[str] = (),  # the words of a command line that name both
    ) -> None:
        self.recognizer, self.judge, self.folder, self.steps = recognizer, judge, folder, steps
        self.networks = networks
        self.dreaming = threading.Lock()
        super().__init__((HOST, port), _Handler)
        self.address = f"http://{HOST}:{self.server_address[1]}/"

    def dream(self, sound: bytes, given: dict[str, str], progress: Any) -> str:
        """Dream a sound and return the name of its run's folder.

        Raises InputError for a sound that cannot be read or kept, a bad target, strength, offset or
        length, of which nothing is kept.
        """
        name = Path(given.get("name", "sound.wav").replace("\\", "/"))
        run = f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{secrets.token_hex(3)}"
        path = self.folder / run / f"{distinct_names([name.stem])[0]}{name.suffix}"
        path.parent.mkdir(parents=True)
        try:
            path.write_bytes(sound)
            self._dream(path, given, progress)
        except ConnectionError:
            raise
        except (InputError, OSError) as error:  # a full disk, a name that is too long
            shutil.rmtree(path.parent)
            line = str(error).removeprefix("nothing to dream on: ")
            raise InputError(line.replace(str(path), name.name)) from None
        return run

    def _dream(self, path: Path, given: dict[str, str], progress: Any) -> None:
        """Dream the sound of a file, and write beside it."""
        offset, seconds = (_number(given, key) for key in ("offset", "seconds"))
        target, strength = given.get("target", ""), given.get("strength", "clear")
        settings = {**sound_settings(), "steps": self.steps}
        ascent = Ascent(objective=LogProbability(), optimizer=NormalizedAscent(), **settings)
        if self.dreaming.locked():
            progress(None)
        with self.dreaming:
            dream(
                recognizer=self.recognizer,
                judge=self.judge,
                start=FileStart(path=path, offset=offset or 0.0, seconds=seconds),
                target=target,
                ascent=ascent,
                strength=strength,  # type: ignore[arg-type]
                tracker=NullTracker(),
                output_dir=path.parent,
                figures=1,
                command=[
                    "task=dream", f"target={target}", f"dream.strength={strength}", "start=file",
                    f"start.path={path}", f"start.offset={offset or 0:g}",
                    f"start.seconds={'null' if seconds is None else f'{seconds:g}'}",
                    *self.networks,
                ],
                progress=progress,
            )  # fmt: skip


def _number(given: dict[str, str], key: str) -> float | None:
    text = given.get(key, "").strip()
    try:
        number = float(text) if text else None
        if number is None or math.isfinite(number):
            return number
        raise ValueError
    except ValueError:
        raise InputError(f"{key}={text!r}; expected a number of seconds") from None


class _Handler(BaseHTTPRequestHandler):
    server: App

    def do_GET(self) -> None:
        """Answer with the form, or with the page of a dream."""
        place = unquote(urlsplit(self.path).path)
        page = self.server.folder / place.strip("/") / "index.html"
        if not self._is_local():
            self.send_error(HTTPStatus.FORBIDDEN)
        elif place == "/":
            recognizer = self.server.recognizer
            labels = [(x, instruments.name(x)) for x in recognizer.instruments]
            text = render_html(
                "app.html.j2", scripts=["app.js"], labels=labels, strengths=STRENGTHS
            )
            # The form's own requests and the frame of a dream are allowed, nothing beyond.
            own = "connect-src 'self'; frame-src 'self'; form-action"
            self._send(text.replace("form-action", own, 1).encode())
        elif page.resolve().is_relative_to(self.server.folder.resolve()) and page.is_file():
            self._send(page.read_bytes())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Dream the sound that is sent; tell how far it is, and then where its page is."""
        given = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        size = int(self.headers.get("Content-Length", 0))
        if not self._is_local() or urlsplit(self.path).path != "/dream":
            return self.send_error(HTTPStatus.FORBIDDEN)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        try:
            if size > MOST_BYTES:
                for first in range(0, size, MOST_BYTES):  # a browser reads no answer before
                    self.rfile.read(min(MOST_BYTES, size - first))
                raise InputError(
                    f"the sound has {size / 1e6:.0f} MB; expected at most {MOST_BYTES / 1e6:.0f}: "
                    "use a shorter one, or the command line"
                )
            run = self.server.dream(self.rfile.read(size), given, lambda x: self._tell(share=x))
            self._tell(page=f"/{quote(run)}/", folder=str(self.server.folder / run))
        except InputError as error:
            self._tell(error=str(error))
        except ConnectionError:
            pass  # the browser has left, and with it the dream
        except Exception as error:
            self._tell(error=f"a defect: {told(error)}; the terminal says more")
            raise

    def _is_local(self) -> bool:
        """Refuse other pages of the browser: their origin, or a name that leads to this host."""
        origin = self.headers.get("Origin")
        hosts = {f"{host}:{self.server.server_address[1]}" for host in (HOST, "localhost")}
        return self.headers.get("Host") in hosts and (
            not origin or urlsplit(origin).netloc in hosts
        )

    def _tell(self, **what: Any) -> None:
        self.wfile.write(json.dumps(what).encode() + b"\n")

    def _send(self, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


def main() -> None:
    """Load both networks and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m irdream.app")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--checkpoint", default=["robust", "second"], nargs="+", help="that dream")
    parser.add_argument("--judge", default="musicnn", help="that had no part in it")
    parser.add_argument("--folder", default="outputs/app", type=Path, help="for the runs")
    given = parser.parse_args()
    runtime.set_threads(None)
    try:
        recognizer, judge = (checkpoint.load(path=path) for path in (given.checkpoint, given.judge))
        networks = [f"checkpoint=[{','.join(given.checkpoint)}]", f"judge={given.judge}"]
        app = App(recognizer, judge, given.folder, port=given.port, networks=networks)
        print(f"open {app.address} (Ctrl-C ends it)", flush=True)
        app.serve_forever()
    except InputError as error:
        parser.exit(1, f"error: {error}\n")
    except (OSError, OverflowError) as error:
        parser.exit(1, f"error: --port {given.port}: {told(error)}; choose another\n")
    except KeyboardInterrupt:
        print("stopped", flush=True)
        os._exit(0)  # with a thread that dreams, torch would abort at a usual end


if __name__ == "__main__":
    main()

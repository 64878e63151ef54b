import errno
import hashlib
import io
import itertools
import os
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from irdream.datasets.download import Archive, fetch_archives, unpack
from irdream.datasets.irmas import Irmas
from irdream.datasets.openmic import OpenMic
from irdream.errors import InputError

USAGE = namedtuple("usage", "total used free")
NAME = "IRMAS-TrainingData.zip"
FOLDER = "IRMAS-TrainingData"
SOUNDS = {f"{FOLDER}/{code}/{i}.wav": os.urandom(5_000) for code in ("cel", "flu") for i in (1, 2)}


def zip_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return stream.getvalue()


ZIP = zip_bytes(SOUNDS | {f"{FOLDER}/README.txt": b"about"})


def archive(data: bytes = ZIP, *, where: str = "http://x", md5: str = "") -> Archive:
    md5 = md5 or hashlib.md5(data).hexdigest()
    return Archive(url=f"{where}/{NAME}?download=1", md5=md5, folder=FOLDER, sounds=4)


@dataclass
class Server:
    """What the local server does, and what it was asked."""

    data: bytes = ZIP
    ranges: bool = True
    breaks_after: Iterator[int] = field(default_factory=lambda: iter(()))
    answers: Iterator[int] = field(default_factory=lambda: iter(()))
    chunked: bool = False
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def fetch(self, root: Path, *, attempts: int = 3, md5: str = "") -> None:
        wanted = archive(self.data, where=self.url, md5=md5)
        fetch_archives(root, [wanted], attempts=attempts, wait_seconds=0.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.requests.append((self.path, asked))
            if (code := next(state.answers, 200)) != 200:
                self.send_error(code)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if start >= len(state.data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_body(state.data[start:], start)

        def send_body(self, body: bytes, start: int) -> None:
            self.send_response(206 if start else 200)
            if start:
                last = len(state.data) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.data)}")
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            part = body[: next(state.breaks_after, len(body))]
            if state.chunked:
                end = b"0\r\n\r\n" if len(part) == len(body) else b""
                part = f"{len(part):x}\r\n".encode() + part + b"\r\n" + end
            self.wfile.write(part)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http_server.server_address[1]}/files"
        yield state
        http_server.shutdown()
        thread.join()


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def assert_whole(root: Path) -> None:
    for name, data in SOUNDS.items():
        assert (root / name).read_bytes() == data
    assert visible(root) == [FOLDER]
    assert [path.name for path in root.iterdir() if path.name.startswith(".unpack")] == []


class TestDownload:
    def test_fetches_checks_and_unpacks_once(self, tmp_path: Path, server: Server) -> None:
        root = tmp_path / "not" / "yet"
        server.fetch(root)
        assert_whole(root)
        assert server.requests == [(f"/files/{NAME}?download=1", None)]
        server.fetch(root)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("begun", "behaves", "asked"),
        [
            (ZIP[:7_000], {}, ["bytes=7000-"]),
            (b"", {"breaks_after": [5_000, 6_000, 1]},
             [None, "bytes=5000-", "bytes=11000-", "bytes=11001-"]),
            (b"", {"breaks_after": [5_000], "ranges": False}, [None, "bytes=5000-"]),
            (b"", {"breaks_after": [5_000], "chunked": True}, [None, None]),
            (ZIP, {}, []),
            (ZIP + b"more", {}, [f"bytes={len(ZIP) + 4}-", None]),
            (b"", {"answers": [503, 429]}, [None, None, None]),
        ],
        ids=["another run stopped", "it breaks", "no ranges", "no length", "nothing lacks",
             "too long", "passing errors"],
    )  # fmt: skip
    def test_a_transfer_is_completed(self, tmp_path, server, begun, behaves, asked) -> None:
        for name, value in behaves.items():
            setattr(server, name, iter(value) if isinstance(value, list) else value)
        if begun:
            (tmp_path / f"{NAME}.part").write_bytes(begun)
        server.fetch(tmp_path)
        assert_whole(tmp_path)
        assert [header for _, header in server.requests] == asked

    @pytest.mark.parametrize(
        ("ranges", "breaks_after", "kept"),
        [
            (True, itertools.chain([6_000], itertools.repeat(0)), ZIP[:6_000]),
            (False, itertools.cycle([2_000, 1_000]), ZIP[:2_000]),
        ],
        ids=["nothing comes any more", "no ranges, broken here and there"],
    )
    def test_gives_up_after_some_attempts_and_keeps_what_came(
        self, tmp_path: Path, server: Server, ranges: bool, breaks_after: Any, kept: bytes
    ) -> None:
        server.ranges, server.breaks_after = ranges, breaks_after
        with pytest.raises(InputError, match="the connection broke; check the network and run"):
            server.fetch(tmp_path, attempts=3)
        assert len(server.requests) == 3
        assert (tmp_path / f"{NAME}.part").read_bytes() == kept

    @pytest.mark.parametrize("code", [403, 404])
    def test_what_is_not_there_is_not_asked_for_again(self, tmp_path, server, code) -> None:
        server.answers = iter([code])
        with pytest.raises(InputError, match=rf"cannot fetch http.*: HTTP {code} .*check the addr"):
            server.fetch(tmp_path)
        assert len(server.requests) == 1

    def test_no_server_at_all(self, tmp_path: Path, server: Server) -> None:
        server.url = "http://127.0.0.1:9/files"
        with pytest.raises(InputError, match=r"cannot fetch .*Connection refused; check the netwo"):
            server.fetch(tmp_path)

    def test_a_wrong_md5_removes_the_file(self, tmp_path: Path, server: Server) -> None:
        expected = f"{NAME} arrived with MD5 {hashlib.md5(ZIP).hexdigest()}, not 0+; it was removed"
        with pytest.raises(InputError, match=expected):
            server.fetch(tmp_path, md5="0" * 32)
        assert visible(tmp_path) == []

    def test_an_archive_fetched_by_hand_is_used_and_kept(self, tmp_path, server) -> None:
        (tmp_path / NAME).write_bytes(ZIP[:-1])
        with pytest.raises(InputError, match=rf"{NAME}' has MD5 .*; remove it and retry"):
            server.fetch(tmp_path)
        assert visible(tmp_path) == [NAME]  # left to its owner
        (tmp_path / NAME).write_bytes(ZIP)
        server.fetch(tmp_path)
        assert not server.requests
        assert visible(tmp_path) == [FOLDER, NAME]

    def test_a_half_unpacked_folder_is_completed(self, tmp_path: Path, server: Server) -> None:
        names = list(SOUNDS)
        (tmp_path / names[0]).parent.mkdir(parents=True)
        (tmp_path / names[0]).write_bytes(SOUNDS[names[0]][:100])
        (tmp_path / FOLDER / "mine.txt").write_text("kept")
        server.fetch(tmp_path)
        assert_whole(tmp_path)
        assert (tmp_path / FOLDER / "mine.txt").read_text() == "kept"

    def test_a_disk_that_is_full_or_fills_up(self, tmp_path, server, monkeypatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: USAGE(10, 0, 10))
            match = r"cannot fetch .*GB needed, 0\.0 GB free; make room"
            with pytest.raises(InputError, match=match):
                server.fetch(tmp_path)
        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(InputError, match=r"cannot write below .*: No space left on device; fr"):
            server.fetch(tmp_path)
        assert len(server.requests) == 2

    def test_a_root_that_cannot_be_written_to(self, tmp_path: Path, server: Server) -> None:
        (tmp_path / "root").write_text("")
        with pytest.raises(InputError, match=r"cannot write below '.*root': File exists"):
            server.fetch(tmp_path / "root")
        held = FileLock(tmp_path / ".irdream-download.lock")
        with held, pytest.raises(InputError, match=r"another download is at work in .*; wait for"):
            server.fetch(tmp_path)


@pytest.mark.parametrize(
    ("make_root", "match"),
    [
        (lambda _: None, r"dataset\.root is not set; {} is"),
        (lambda tmp: tmp / "x", r"no such folder: dataset\.root='.*x'; {} is"),
        (lambda tmp: tmp, "no (IRMAS tree|openmic.*csv) below '.*'; {} is"),
    ],
    ids=["none", "missing", "empty"],
)
@pytest.mark.parametrize(
    ("kind", "source"),
    [
        (Irmas, r"Zenodo record 1290750, .* 9 GB .*CC BY-NC-SA 3\.0; .*dataset=irmas"),
        (OpenMic, r"Zenodo record 1432913, 2\.6 GB .*CC BY 4\.0; .*dataset=openmic"),
    ],
)
def test_without_a_tree_one_line_says_where_to_get_it(
    tmp_path: Path, make_root: Any, match: str, kind: Any, source: str
) -> None:
    data = kind(root=make_root(tmp_path))  # making one costs nothing and cannot fail
    expected = f"{match.format(kind.title)} {source} dataset.root=... dataset.download=true"
    with pytest.raises(InputError, match=f"^{expected}$"):
        data.part("training", sample_rate_hz=22_050)


class TestUnpack:
    def zipped(self, root: Path, members: dict[str, bytes]) -> Path:
        path = root / "a.zip"
        path.write_bytes(zip_bytes(members))
        return path

    def tarred(self, root: Path, members: dict[str, bytes]) -> Path:
        path = root / "a.tgz"
        with tarfile.open(path, "w:gz") as opened:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                opened.addfile(info, io.BytesIO(data))
        return path

    @pytest.mark.parametrize("pack", ["zipped", "tarred"])
    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            (["Test/a.wav", "Test/extra/b.npz", "Test/._a.wav"], ["a.wav"]),
            (["Test/Part1/a.wav", "__MACOSX/Test/._a.wav"], ["Part1/a.wav"]),
            (["Part1/a.wav"], ["Part1/a.wav"]),
        ],
        ids=["unwanted and hidden", "with the leading folder", "without it"],
    )
    def test_what_is_wanted_lands_in_the_folder(self, tmp_path, members, expected, pack) -> None:
        path = getattr(self, pack)(tmp_path, {name: name.encode() for name in members})
        folder = tmp_path / "Test"
        unpack(path, folder, leave_out=["extra"])
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert [str(file.relative_to(folder)) for file in files] == expected
        assert files[0].read_bytes() == members[0].encode()
        assert sorted(os.listdir(tmp_path)) == ["Test", path.name]

    @pytest.mark.parametrize("pack", ["zipped", "tarred"])
    @pytest.mark.parametrize("name", ["/tmp/a.wav", "x/../../a.wav"])
    def test_nothing_leaves_the_folder(self, tmp_path: Path, name: str, pack: str) -> None:
        root = tmp_path / "root"
        root.mkdir()
        path = getattr(self, pack)(root, {"good.wav": b"x", name: b"x"})
        with pytest.raises(InputError, match=r"its member .* would leave the folder; fetch it ag"):
            unpack(path, root / "folder")
        assert os.listdir(root) == [path.name]
        assert os.listdir(tmp_path) == ["root"]

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("damage", ["no zip", "cut", "flipped"])
    def test_a_damaged_zip_leaves_nothing(self, tmp_path: Path, damage: str, method: int) -> None:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", method) as opened:
            for i in range(2):
                opened.writestr(f"folder/{i}.wav", os.urandom(1_000).hex())
        data = bytearray(path.read_bytes())
        data[500:600] = bytes(100)
        path.write_bytes({"no zip": b"x" * 100, "cut": data[:-10], "flipped": data}[damage])
        with pytest.raises(InputError, match=r"cannot unpack '.*a\.zip': .*; fetch it again"):
            unpack(path, tmp_path / "folder")
        assert os.listdir(tmp_path) == ["a.zip"]

    def test_a_damaged_tar_and_a_killed_attempt_leave_nothing(self, tmp_path: Path) -> None:
        path = self.tarred(tmp_path, {"a.wav": os.urandom(5_000), "b.wav": os.urandom(5_000)})
        whole = path.read_bytes()
        path.write_bytes(whole[:-4_000])
        with pytest.raises(InputError, match=r"cannot unpack '.*a\.tgz': .*; fetch it again"):
            unpack(path, tmp_path / "folder")
        assert os.listdir(tmp_path) == ["a.tgz"]
        (tmp_path / ".unpack-folder").mkdir()
        (tmp_path / ".unpack-folder" / "old.wav").write_text("old")
        path.write_bytes(whole)
        unpack(path, tmp_path / "folder")
        assert sorted(os.listdir(tmp_path / "folder")) == ["a.wav", "b.wav"]
        assert sorted(os.listdir(tmp_path)) == ["a.tgz", "folder"]

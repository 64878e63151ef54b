"""The local page: a sound is sent, its dream comes back; and in Chromium, as a person would."""

import html
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir

from irdream.app import App, main
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from tests.browser import CHROMIUM

RATE_HZ = 8000


@pytest.fixture
def app(my_package, tmp_path: Path) -> Iterator[App]:
    """A server with two small networks and random weights."""
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=256, hop_samples=200, n_mels=12)
        networks.append(Recognizer(frontend=frontend, model=my_package.MyNet()).eval())
    names = ["checkpoint=[mine]", "judge=other"]
    app = App(networks[0], networks[1], tmp_path / "app", steps=12, networks=names)
    thread = threading.Thread(target=app.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield app
    app.shutdown()
    app.server_close()
    thread.join()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Three seconds of a tone that rises."""
    time = np.arange(3 * RATE_HZ) / RATE_HZ
    soundfile.write(tmp_path / "my sound.wav", 0.5 * np.sin(900 * time * (1 + time)), RATE_HZ)
    return tmp_path / "my sound.wav"


def asked(app: App, method: str, place: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", app.server_address[1], timeout=60)
    connection.request(method, place, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def dreamed(app: App, sound: bytes, **given: str) -> list[dict]:
    words = {"name": "my sound.wav", "target": "flu", "strength": "clear", **given}
    status, text = asked(app, "POST", f"/dream?{urlencode(words)}", sound)
    assert status == 200
    return [json.loads(line) for line in text.splitlines()]


def test_a_sound_that_is_sent_comes_back_as_the_page_of_its_dream(app: App, sound: Path) -> None:
    *steps, last = dreamed(app, sound.read_bytes(), offset="0.5", seconds="1.5", strength="strong")
    shares = [told["share"] for told in steps]
    assert len(shares) == 13  # before each of 12 steps, and at the end
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    status, page = asked(app, "GET", last["page"])
    assert status == 200
    assert "<h1>1 dream toward flute</h1>" in page
    assert "dream.strength=strong" in page
    assert "start.offset=0.5 start.seconds=1.5" in page
    assert "'checkpoint=[mine]' judge=other" in html.unescape(page)  # which dream the same again
    folder = app.folder / last["page"].strip("/")
    (row,) = pd.read_csv(folder / "dreams.csv").to_dict("records")
    assert row["target_probability"] > row["target_probability_before"]
    assert 0 <= row["judge_probability"] <= 1
    dream, rate_hz = soundfile.read(folder / "sounds" / f"{row['file']}-dream.wav")
    assert (len(dream), rate_hz) == (12_000, RATE_HZ)


@pytest.mark.parametrize(
    ("body", "given", "message"),
    [
        (b"no sound", {"name": "a/my [a] ü.m4a"}, "'my [a] ü.m4a' is not readable as sound"),
        (b"", {"name": f"a.{'w' * 300}"}, "File name too long: 'a.www"),
        (None, {"target": "zither"}, "unknown instrument 'zither'; expected one of cel (cello)"),
        (None, {"offset": "9"}, "start.offset=9 in 'my_sound', which ends at 3.000 s"),
        (None, {"seconds": "long"}, "seconds='long'; expected a number of seconds"),
        (None, {"seconds": "nan"}, "seconds='nan'; expected a number of seconds"),
        (None, {"strength": "huge"}, "strength=huge; expected quiet or clear or strong"),
    ],
)
def test_what_cannot_be_dreamed_is_answered_in_one_line(app, sound, body, given, message) -> None:
    (told,) = dreamed(app, sound.read_bytes() if body is None else body, **given)
    assert message in told["error"]
    assert "\n" not in told["error"]
    assert list(app.folder.iterdir()) == []


def test_a_sound_that_is_too_long_is_refused_before_it_is_read(app, sound, monkeypatch) -> None:
    monkeypatch.setattr("irdream.app.MOST_BYTES", 1000)
    (told,) = dreamed(app, bytes(5_000_000))  # more than a socket holds; all of it is taken
    assert "the sound has 5 MB; expected at most 0: use a shorter one" in told["error"]
    assert not app.folder.exists()


def test_a_second_sound_waits_and_is_told_so(app: App, sound: Path) -> None:
    app.dreaming.acquire()
    told: list[dict] = []
    second = threading.Thread(target=lambda: told.extend(dreamed(app, sound.read_bytes())))
    second.start()
    second.join(timeout=0.5)
    assert told == []
    app.dreaming.release()
    second.join()
    assert told[0] == {"share": None}
    assert told[1] == {"share": 0.0}
    assert "page" in told[-1]


def test_by_default_it_asks_the_networks_of_the_command_line(monkeypatch) -> None:
    conf, asked = Path(__file__).parents[1] / "conf", []

    def load(path: str | list[str]) -> None:
        asked.append(path)
        if len(asked) == 2:
            raise InputError("enough")

    monkeypatch.setattr("irdream.app.checkpoint.load", load)
    monkeypatch.setattr(sys, "argv", ["app"])
    with pytest.raises(SystemExit):
        main()
    with initialize_config_dir(config_dir=str(conf), version_base="1.3"):
        config = compose("config", ["task=dream"])
    assert asked == [config.checkpoint, config.judge]


@pytest.mark.parametrize("word", ["--checkpoint=nowhere", "--judge=nowhere"])
def test_a_network_that_is_not_there_is_one_line(word, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["app", word])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert re.match(r"error: .*'nowhere'.*\n$", capsys.readouterr().err)


def test_a_port_that_there_is_not_is_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["app", "--port=99999"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    expected = r"error: --port 99999: OverflowError: .*port must be 0-65535.*; choose another\n$"
    assert re.match(expected, capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_it_in_the_middle_of_a_dream(sound: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "irdream.app", "--port=0", f"--folder={tmp_path}"]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert app.stdout is not None
    port = int(re.search(r":(\d+)/", app.stdout.readline())[1])  # type: ignore[index]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/dream?name=a.wav&target=flu", body=sound.read_bytes())
    answer = connection.getresponse()
    assert json.loads(answer.readline()) == {"share": 0.0}
    answer.readline()
    app.send_signal(signal.SIGINT)
    rest, _ = app.communicate(timeout=60)
    assert app.returncode == 0
    assert rest.splitlines()[-1] == "stopped"


def test_it_listens_here_alone_and_answers_no_other_page(app: App, tmp_path: Path) -> None:
    assert app.server_address[0] == "127.0.0.1"
    (tmp_path / "index.html").write_text("secret")
    assert asked(app, "GET", "/")[0] == 200
    assert asked(app, "GET", "/", Host="a.test")[0] == 403
    assert asked(app, "POST", "/dream", Origin="https://a.test")[0] == 403
    assert asked(app, "POST", "/other")[0] == 403
    for place in ("/../", "/%2e%2e/", "/nowhere/"):
        assert asked(app, "GET", place)[0] == 404


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or os.name == "nt", reason="needs Chromium")
def test_a_person_drops_a_sound_and_sees_its_dream(
    app, sound, tmp_path, browser, monkeypatch
) -> None:
    browser.visit(app.address, width=400)
    assert browser.overflow() == 0

    def send(path: Path) -> str:
        node = browser.send("DOM.getDocument")["root"]["nodeId"]
        field = browser.send("DOM.querySelector", nodeId=node, selector="#sound")["nodeId"]
        browser.send("DOM.setFileInputFiles", files=[str(path)], nodeId=field)
        browser.run("document.getElementById('target').value = 'sax'")
        browser.run("document.getElementById('go').click()")
        browser.wait("!document.getElementById('go').disabled")
        return browser.run("document.getElementById('state').textContent")

    (tmp_path / "bad.wav").write_text("no sound")
    assert "is not readable as sound" in send(tmp_path / "bad.wav")
    assert browser.run("document.getElementById('page').hidden")
    (tmp_path / "long.wav").write_bytes(bytes(20_000_000))
    with monkeypatch.context() as patch:
        patch.setattr("irdream.app.MOST_BYTES", 1_000_000)
        assert "the sound has 20 MB; expected at most 1" in send(tmp_path / "long.wav")
    assert send(sound).startswith("Done.")
    assert not browser.run("document.getElementById('page').hidden")
    assert browser.run("document.getElementById('page').src").startswith(app.address)
    assert browser.overflow() == 0
    assert browser.complaints() == []
    assert browser.requested() <= {"http", "data", "blob"}

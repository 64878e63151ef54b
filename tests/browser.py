"""Chromium for tests, driven through its own protocol (DevTools, over a pipe)."""

import itertools
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync", "--disable-background-networking", "--disable-component-update",
    "--mute-audio", "--remote-debugging-pipe",
]  # fmt: skip

IN_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or os.name == "nt", reason="needs Chromium"),
]


class Browser:
    """One tab of a headless Chromium; events are kept in `events`."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        to_read, self.to_write = os.pipe()
        self.to_listen, to_answer = os.pipe()
        shell = f'exec "$@" 3<&{to_read} 4>&{to_answer}'
        command = ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            command, pass_fds=(to_read, to_answer), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_answer)
        self.numbers, self.rest, self.session = itertools.count(1), b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            assert select.select([self.to_listen], [], [], 30)[0], "Chromium says nothing"
            read = os.read(self.to_listen, 2**20)
            assert read, "Chromium has ended"
            self.rest += read
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Evaluate an expression, as if a person had clicked; wait if it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path, *, width: int = 1280, height: int = 900) -> None:
        self.visit(path.as_uri(), width=width, height=height)

    def visit(self, address: str, *, width: int = 1280, height: int = 900) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.events.clear()
        self.send("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}  # others write nothing
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def wait(self, condition: str) -> None:
        """Wait until a condition holds, 10 s at most."""
        look = f"(look = (n) => {condition} ? done(1) : n ? setTimeout(look, 20, n - 1) : done(0))"
        assert self.run(f"new Promise((done, _, look) => {look}(500))"), condition

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def requested(self) -> set[str]:
        """Return the schemes of everything that was asked for since the page was opened."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return {event["params"]["request"]["url"].split(":")[0] for event in sent}

    def complaints(self) -> list[str]:
        """Return what the browser wrote into its log: refused scripts, requests, errors."""
        written = [e["params"] for e in self.events if e.get("method") == "Log.entryAdded"]
        thrown = [e for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        return [entry["entry"]["text"] for entry in written] + [str(event) for event in thrown]

    def close(self) -> None:
        os.close(self.to_write)
        os.close(self.to_listen)
        self.process.terminate()
        self.process.wait(timeout=20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()

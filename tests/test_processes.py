"""Only a process that is surely gone counts as dead; one that is ended says what it keeps."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from irdream import processes
from irdream.processes import Interrupted, interrupt, keeping, state, stopping, this_process


@pytest.fixture(scope="module")
def gone() -> str:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return str(child.pid)


def test_a_process_is_dead_when_its_machine_says_so(gone: str) -> None:
    here, now = this_process(), time.time()
    assert state(here, now) == "alive"
    assert state({**here, "pid": gone}, now) == "dead"
    assert state({**here, "pid": int(gone)}, now) == "dead"
    assert state({**here, "boot_id": "another"}, now) == "dead"


def test_of_another_machine_nothing_is_known(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, now = this_process(), time.time()
    assert state({**here, "host": "another", "pid": gone}, now) == "elsewhere"
    assert state({**here, "pid": "?"}, now) == "elsewhere"
    assert state({}, now) == "elsewhere"
    monkeypatch.setattr(processes.os, "name", "nt")  # there os.kill would end it
    assert state({**here, "pid": gone}, now) == "elsewhere"


def test_a_process_that_began_later_has_only_the_number() -> None:
    assert state(this_process(), since=1e9) == "dead"


def test_a_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    while child.pid and psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert state({**this_process(), "pid": str(child.pid)}, time.time()) == "dead"
    child.wait()


def test_a_process_of_others_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int) -> psutil.Process:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(processes.psutil, "Process", denied)
    assert state(this_process(), time.time()) == "alive"


# Signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = [signal.signal(signal.SIGINT, interrupt), signal.signal(signal.SIGTERM, interrupt)]
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_block_end_and_the_second_one_interrupts_it(
    number, capfd: pytest.CaptureFixture[str]
) -> None:
    with stopping() as came:
        assert not came
        signal.raise_signal(number)
        assert came == [number]
        assert "once more stops at once" in capfd.readouterr().err
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(number)
    assert caught.value.number == number


def test_after_the_block_a_signal_interrupts_as_before() -> None:
    with stopping() as came:
        pass
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    assert came == []


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do for what runs behind them
    with stopping() as came:
        signal.raise_signal(signal.SIGINT)
    assert came == []


def test_a_thread_is_left_alone() -> None:
    came: list[object] = []

    def work() -> None:
        with stopping() as signals:
            came.append(list(signals))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert came == [[]]
    assert signal.getsignal(signal.SIGINT) is interrupt


@pytest.mark.parametrize(
    ("error", "said", "number"),
    [
        (KeyboardInterrupt(), "two of three", signal.SIGINT),
        (Interrupted(number=signal.SIGTERM), "two of three", signal.SIGTERM),
        (Interrupted("an inner block knew better"), "an inner block knew better", signal.SIGINT),
    ],
)
def test_what_is_kept_is_said_once(error, said, number) -> None:
    with pytest.raises(Interrupted) as caught, keeping(lambda: "two of three"):
        raise error
    assert (str(caught.value), caught.value.number) == (said, number)


def test_an_error_is_no_interrupt() -> None:
    with pytest.raises(RuntimeError, match="full"), keeping(lambda: "two of three"):
        raise RuntimeError("full")

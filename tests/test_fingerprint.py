"""Two values are the same when they and their code are; what nobody can know is never the same."""

import functools
import importlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from irdream.dreaming.random_streams import normal
from irdream.fingerprint import UnknowableError, code_of, fingerprint_of
from irdream.frontends import HanLogMel

# Data ---------------------------------------------------------------------------------------


DIFFERENT = [
    None, False, 0, 0.0, -0.0, "", "0", b"", (), [], {}, set(), (0,), [0], {0: 0}, {"0": 0},
    {0: "0"}, {0}, frozenset({0}), [[0], 0], [0, [0]], float("nan"), 1j, range(3), Path("a"), ...,
    torch.float32, torch.device("cpu"), torch.zeros(1), torch.zeros(1, 1), torch.zeros(0),
    torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.bfloat16),
    torch.ones(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.complex64), torch.tensor(False),
    np.zeros(1), np.zeros(1, np.float32), np.zeros((1, 1)), np.float32(0), np.array(["a"]),
    np.array([None]), np.array([0], dtype=object), np.datetime64("2026-01-01"),
]  # fmt: skip


def test_plain_values_and_arrays_differ_by_type_shape_and_content() -> None:
    found = [fingerprint_of(value) for value in DIFFERENT]
    assert len(set(found)) == len(found), [found.index(one) for one in found]
    assert found == [fingerprint_of(value) for value in DIFFERENT]


def test_the_order_of_keys_and_the_layout_of_memory_do_not_count() -> None:
    assert fingerprint_of({"a": 1, "b": [2]}) == fingerprint_of({"b": [2], "a": 1})
    assert fingerprint_of(set("abc")) == fingerprint_of(set("cba"))
    image = torch.arange(24.0).view(1, 2, 3, 4)
    assert fingerprint_of(image) == fingerprint_of(image.to(memory_format=torch.channels_last))
    assert fingerprint_of(image.numpy()) == fingerprint_of(image.numpy().copy(order="F"))


def test_values_that_hold_themselves_are_described() -> None:
    def around(content: str) -> list[Any]:
        circle: list[Any] = [content]
        return [*circle, circle.append(circle) or circle]

    assert fingerprint_of(around("a")) == fingerprint_of(around("a"))
    assert fingerprint_of(around("a")) != fingerprint_of(around("b"))


# Objects ------------------------------------------------------------------------------------


class Mine:
    def __init__(self, gain: float) -> None:
        self._gain = gain

    def score(self) -> float:
        return self._gain

    @functools.cached_property
    def kept(self) -> float:
        return self._gain


class Half(Mine):
    _gain = 0.5

    def __init__(self) -> None:
        pass


class Slotted:
    __slots__ = ("gain",)

    def __init__(self, gain: float) -> None:
        self.gain = gain


class Listed(list):
    pass


class Pair(NamedTuple):
    a: float
    b: float


class Choice(Enum):
    half, quarter = 0.5, 0.25


class Hidden(nn.Module):
    """A front end that keeps nothing of its argument in an attribute that is plain and public."""

    def __init__(self, gain: float, where: str) -> None:
        super().__init__()
        if where == "private":
            self._gain = gain
        elif where == "list":
            self.gains = [gain]
        elif where == "buffer":
            self.register_buffer("gain", torch.tensor(gain), persistent=False)
        elif where == "parameter":
            self.gain = nn.Parameter(torch.tensor(gain))
        elif where == "submodule":
            self.inner = Hidden(gain, "private")
        elif where == "function":
            self.scale = lambda x: gain * x
        elif where == "hook":
            self.register_forward_pre_hook(louder(gain))


def louder(gain: float, power: float = 2.0) -> Callable[..., Any]:
    def function(heard: Any, targets: Any = None, *, power: float = power) -> Any:
        return gain

    return function


MAKERS: dict[str, Callable[[float], Any]] = {
    "private attribute": Mine,
    "slot": Slotted,
    "bound method": lambda gain: Mine(gain).score,
    "what is inherited from a list": lambda gain: Listed([gain]),
    "named tuple": lambda gain: Pair(1.0, gain),
    "choice": Choice,
    "closure": louder,
    "default": lambda gain: louder(1.0, gain),
    "partial": lambda gain: functools.partial(louder, gain),
    "decorated function": lambda gain: torch.no_grad()(louder(gain)),
    "numpy's scalar": np.float32,
    **{
        f"front end with a {where}": functools.partial(Hidden, where=where)
        for where in ("private", "list", "buffer", "parameter", "submodule", "function", "hook")
    },
    "layer of torch": lambda gain: nn.Conv2d(1, 1, 1, stride=int(1 / gain), bias=False),
    "recurrent layer": lambda gain: nn.LSTM(1, 1, dropout=gain, num_layers=2),
    "our front end": lambda gain: HanLogMel(n_fft=64, n_mels=4, floor=gain),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_an_object_was_built_with_counts_wherever_it_keeps_it(make) -> None:
    torch.manual_seed(0)
    first = fingerprint_of(make(0.5))
    torch.manual_seed(0)
    assert fingerprint_of(make(0.5)) == first
    torch.manual_seed(0)
    assert fingerprint_of(make(0.25)) != first


@pytest.mark.parametrize("make", [lambda: Mine(0.5), Half], ids=["beside others", "alone"])
def test_what_is_only_kept_does_not_count(make: Callable[[], Mine]) -> None:
    used = make()
    assert used.kept == 0.5
    assert fingerprint_of(used) == fingerprint_of(make())


@pytest.mark.slow
def test_a_compiled_network_is_known_by_what_was_compiled() -> None:
    def compiled(weight: float) -> nn.Module:
        model = nn.Linear(1, 1)
        nn.init.constant_(model.weight, weight)
        nn.init.constant_(model.bias, weight)
        return torch.compile(model, backend="eager")  # type: ignore[return-value]

    assert fingerprint_of(compiled(1.0)) == fingerprint_of(compiled(1.0))
    assert fingerprint_of(compiled(1.0)) != fingerprint_of(compiled(2.0))


def test_functions_and_classes_differ() -> None:
    things = [
        Mine, Slotted, louder, len, print, torch.sin, torch.cos, torch.relu, np.sin, normal,
        nn.Linear, nn.functional.relu, torch.optim.Adam, torch.optim.SGD, logging.getLogger("a"),
        lambda x: 2 * x, lambda x: 3 * x, lambda x, y: 2 * x, lambda x: torch.sin(x),
        lambda x: torch.cos(x), lambda x: {"a", "b", x}, os, functools.partial(len), [].append,
    ]  # fmt: skip
    found = [fingerprint_of(thing) for thing in things]
    assert len(set(found)) == len(found)
    assert found == [fingerprint_of(thing) for thing in things]


# What nobody can know -----------------------------------------------------------------------


def in_a_notebook(text: str) -> Any:
    """Return `made` of a cell."""
    cell: dict[str, Any] = {"__name__": "a_notebook"}
    sys.modules["a_notebook"] = ModuleType("a_notebook")
    exec(compile(text, "<cell>", "exec"), cell)
    vars(sys.modules["a_notebook"]).update(cell)
    return cell["made"]


class Stubborn:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("no")


UNKNOWABLE: dict[str, Callable[[], Any]] = {
    "function of a notebook": lambda: in_a_notebook("def made(x): return x"),
    "class of a notebook": lambda: in_a_notebook("class made: pass"),
    "object of a notebook": lambda: in_a_notebook("class A:\n  pass\nmade = A()"),
    "lambda of a text": lambda: eval("lambda x: x"),
    "class made while running": lambda: type("Made", (Mine,), {}),
    "lock": threading.Lock,
    "open file": Path(os.devnull).open,
    "object that refuses": Stubborn,
    "tensor without content": lambda: torch.ones(1, device="meta"),
    "very deep list": lambda: functools.reduce(lambda inner, _: [inner], range(10_000), []),
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", UNKNOWABLE.values(), ids=UNKNOWABLE)
def test_what_nobody_can_know_is_refused(make: Callable[[], Any]) -> None:
    value = make()
    for held in (value, {"deep": [value]}):
        with pytest.raises(UnknowableError):
            fingerprint_of(held)
    if isinstance(value, io.IOBase):
        value.close()


def test_a_refusal_names_what_cannot_be_known() -> None:
    with pytest.raises(UnknowableError, match="no source of <lambda>"):
        fingerprint_of(eval("lambda x: x"))


# Code ---------------------------------------------------------------------------------------


class Package:
    """A user's own code on sys.path; `load()` imports it as a new process would."""

    FILES = {  # noqa: RUF012
        "mine/__init__.py": "SETTING = 1\n",
        "mine/net.py": """
            import torch
            from mine import (  # of one's own
                filters,
            )
            from .base import Base
            from levels import FLOOR

            class Net(Base):
                def forward(self, x):
                    from mine.late import later
                    return later(filters.filtered(x)) + FLOOR
        """,
        "mine/base.py": "from torch import nn\n\nclass Base(nn.Module):\n    pass\n",
        "mine/filters.py": "def filtered(x):\n    return x\n",
        "mine/late.py": "import helper\n\ndef later(x):\n    return helper.half(x)\n",
        "levels.py": "FLOOR = 1e-5\n",
        "helper.py": "def half(x):\n    return x / 2\n",
        "mine/unused.py": "",
        "other.py": "",
    }

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in self.FILES.items():
            self.write(name, "\n".join(line[12:] or line for line in text.split("\n"))
                       if name == "mine/net.py" else text)  # fmt: skip

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(text)

    def append(self, name: str) -> None:
        self.write(name, (self.root / name).read_text() + "\nCHANGED = True\n")

    def load(self) -> Any:
        importlib.invalidate_caches()
        for name in [n for n in sys.modules if n.split(".")[0] in ("mine", "levels", "helper")]:
            del sys.modules[name]
        return importlib.import_module("mine.net").Net


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("irdream.fingerprint._first_seen", {})
    package = Package(tmp_path)
    yield package
    for name in [n for n in sys.modules if n.split(".")[0] in ("mine", "levels", "helper")]:
        del sys.modules[name]


USED = sorted(Package.FILES.keys() - {"mine/unused.py", "other.py"})


@pytest.mark.parametrize("name", USED)
def test_an_object_is_another_once_any_code_that_it_uses_has_changed(
    package: Package, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = fingerprint_of(package.load()())
    assert fingerprint_of(package.load()()) == before
    package.append(name)
    monkeypatch.setattr("irdream.fingerprint._first_seen", {})
    assert fingerprint_of(package.load()()) != before


def test_code_beside_it_does_not_count(package: Package) -> None:
    before = fingerprint_of(package.load()())
    package.append("mine/unused.py")
    package.append("other.py")
    assert fingerprint_of(package.load()()) == before


def test_classes_of_one_name_in_two_modules_differ(package: Package) -> None:
    text = "from torch import nn\n\nclass Mel(nn.Module):\n    pass\n"
    found = set()
    for name in ("mine/one.py", "mine/two.py"):
        package.write(name, text)
        importlib.invalidate_caches()
        module = importlib.import_module(name[:-3].replace("/", "."))
        found.add(fingerprint_of(module.Mel()))
    assert len(found) == 2


def test_what_runs_and_what_is_there_by_now_are_two(package: Package) -> None:
    net = package.load()
    before = fingerprint_of(net())
    package.append("helper.py")  # which this process goes on using as it was
    changed = fingerprint_of(net())
    sys.modules["irdream.fingerprint"]._first_seen.clear()  # as a new process begins
    assert len({before, changed, fingerprint_of(package.load()())}) == 3


@pytest.mark.parametrize("name", sorted(Package.FILES.keys() - {"other.py"}))
def test_a_package_is_another_once_any_of_its_files_or_imports_has_changed(package, name) -> None:
    sys.modules.pop("mine", None)
    before = code_of(["mine.net.Net"])
    assert code_of(["mine"]) == code_of(["mine.unused", "mine"]) == before
    package.append(name)
    assert code_of(["mine"]) != before
    assert "mine" not in sys.modules


def test_a_module_in_one_file_and_one_in_a_folder_without_init_are_found(package: Package) -> None:
    package.write("plain/net.py", "import levels\n")
    package.write("alone.py", "from plain import net\n")
    importlib.invalidate_caches()
    for name in ("alone.py", "plain/net.py", "levels.py"):
        before = code_of(["alone.Net"])
        package.append(name)
        assert code_of(["alone.Net"]) != before


def test_libraries_and_what_is_nowhere_are_known_by_name() -> None:
    assert code_of(["torch", "json", "no_such_package"]) == code_of([])


def test_an_installed_package_counts_with_its_files_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("irdream.fingerprint._first_seen", {})
    site = tmp_path / "site-packages"
    (site / "installed_net").mkdir(parents=True)
    (site / "installed_net" / "__init__.py").write_text("import installed_helper\n")
    (site / "installed_net" / "kernel.cu").write_text("1")
    (site / "installed_helper.py").write_text("")
    monkeypatch.syspath_prepend(site)
    before = code_of(["installed_net"])
    (site / "installed_helper.py").write_text("changed")
    assert code_of(["installed_net"]) == before
    (site / "installed_net" / "kernel.cu").write_text("2")
    assert code_of(["installed_net"]) != before


def test_irdreams_own_code_counts_with_the_checkpoints_that_come_along() -> None:
    from irdream.fingerprint import _package

    files = _package("irdream")
    assert {"irdream", "irdream.sweeps.sweep", "irdream.models.han2016"} <= files.keys()
    assert "irdream/checkpoints/shipped/weights.safetensors" in files

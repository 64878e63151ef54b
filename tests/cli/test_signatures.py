"""Signatures that are read from the source are those that Python sees."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from hydra.utils import get_object

from irdream.cli.signatures import parameters

CONF = Path(__file__).parents[2] / "conf"
TARGETS = sorted(
    {
        target
        for path in CONF.glob("*/*.yaml")
        for target in re.findall(r"_target_: (irdream[\w.]+)", path.read_text())
    }
)


def test_there_are_targets() -> None:
    assert len(TARGETS) > 50


@pytest.mark.parametrize("target", TARGETS)
def test_they_are_those_that_python_sees(target) -> None:
    seen = inspect.signature(get_object(target)).parameters.values()
    named = {one.name: one for one in seen if one.kind is not inspect.Parameter.VAR_POSITIONAL}
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in seen)
    found = parameters(target)
    if takes_any:
        assert found is None
    else:
        assert found == {name: str(one.annotation) for name, one in named.items()}


@pytest.mark.parametrize(
    "target",
    ["torch.optim.SGD", "my.Net", "irdream.nowhere.Thing", "irdream.errors.InputError", ""],
)
def test_of_anything_else_nothing_is_known(target) -> None:
    assert parameters(target) is None

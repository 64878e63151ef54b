"""Keys have the types of the arguments they are passed to, read from the source."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from irdream import arguments
from irdream.arguments import fits
from irdream.cli import keys, reference
from irdream.cli.keys import CONF, all_keys, groups, hint, lines, parameters, sections
from irdream.errors import InputError

TARGETS = sorted(
    {
        target
        for path in CONF.glob("*/*.yaml")
        for target in re.findall(r"_target_: (irdream[\w.]+)", path.read_text())
    }
)


def test_keys_stand_in_the_yaml_with_a_comment_each_and_a_type_that_allows_their_default() -> None:
    found: dict[str, Any] = yaml.safe_load((CONF / "config.yaml").read_text())
    defaults = {
        f"{name}.{key}" if isinstance(value, dict) else name: value if key == "" else value[key]
        for name, value in found.items()
        if name not in ("defaults", "hydra")
        for key in (value if isinstance(value, dict) else [""])
    }
    assert list(all_keys()) == list(defaults)
    assert sections() == (
        "dream",
        "attribute",
        "train",
        "predict",
        "evaluate",
        "compare",
        "paper",
        "study",
        "sweep",
    )
    assert [name for name, line in lines().items() if not line.words] == []
    untyped = [name for name, key in all_keys().items() if key.hint is None]
    wrong = [name for name, key in all_keys().items() if not fits(defaults[name], key.hint)]
    assert (untyped, wrong) == ([], [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dream.octaves", "a whole number, at least 1"),
        ("dream.confidence", "a number between 0 and 1, or null"),
        (
            "train.split",
            "recording or source or excerpt",
        ),  # a name that its module gives to the words
        ("threads", "a whole number, at least 1, or null"),  # what main.py reads itself
        ("sweep.force", "true or false"),  # what is passed to nothing
        ("target", "text, or a list of texts, or null"),
    ],
)
def test_a_key_is_what_its_argument_is(name, expected) -> None:
    assert all_keys()[name].expected() == expected


def test_groups_are_what_a_task_is_made_of_and_some_may_be_null() -> None:
    assert list(groups())[:3] == ["dataset", "frontend", "model"]
    nullable = {name for name, may_be_none in groups().items() if may_be_none}
    assert {"scheduler", "transform", "constraint"} <= nullable
    assert nullable.isdisjoint({"dataset", "objective", "start", "tracker", "task"})


def test_comments_are_read_from_the_yaml(tmp_path) -> None:
    (tmp_path / "config.yaml").write_text(
        "# All.\nseed: 0 # of it: all\nname:\ndream: # how\n  ratio: [1, 2] # two\n    deep: 1\n"
    )
    assert {name: line[1:] for name, line in lines(tmp_path / "config.yaml").items()} == {
        "seed": ("0", "of it: all"),
        "name": ("", ""),
        "dream": ("", "how"),
        "dream.ratio": ("[1, 2]", "two"),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_says_what_python_sees(target) -> None:
    made = get_object(target)
    seen = inspect.signature(made).parameters.values()
    named = {one.name: one for one in seen if one.kind is not inspect.Parameter.VAR_POSITIONAL}
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in seen):
        assert parameters(target) is None
        return
    found = parameters(target)
    assert found == {name: str(one.annotation) for name, one in named.items()}
    for name, known in arguments.hints(made).items():
        if (read := hint(target, name)) is not None:
            assert read == known


@pytest.mark.parametrize("target", ["torch.optim.SGD", "my.Net", "irdream.nowhere.Thing", ""])
def test_of_anything_else_nothing_is_known(target) -> None:
    assert parameters(target) is None
    assert hint(target, "lr") is None


def test_only_of_irdream_a_name_can_be_missing() -> None:
    assert keys.is_missing("irdream.nowhere.Thing")
    assert not keys.is_missing("irdream.models.Han2016")
    assert not keys.is_missing("my.Net")


# The page of all keys


def test_a_key_has_its_default_its_range_and_its_meaning_and_each_choice_a_line() -> None:
    page = reference.page()
    row = "| `dream.octaves` | `1` | a whole number, at least 1 | levels, the coarsest first; 1: f"
    assert row in page
    assert "| `log_mel` | Dream the spectrogram, as the paper did | `python main.py task=d" in page
    for path in CONF.glob("*/*.yaml"):
        assert f"| `{path.stem}` | " in page
    written = (CONF.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == page, "run: python -m irdream.cli.reference > docs/configuration.md"


def test_a_choice_must_say_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "# @package _global_\n# One,\n# two:\n#   python main.py a=b\n# More: x\nb: 1\n"
    )
    assert reference.choice(path) == ("One, two", "python main.py a=b")
    path.write_text("b: 1\n")
    with pytest.raises(InputError, match=r"a\.yaml says nothing; expected '# What it is:"):
        reference.choice(path)

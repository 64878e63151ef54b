"""The page of all keys says all that there is."""

from pathlib import Path

import pytest

from irdream.cli import reference
from irdream.cli.keys import CONF
from irdream.errors import InputError


def test_a_key_has_its_default_its_range_and_its_meaning_and_each_choice_a_line() -> None:
    page = reference.page()
    row = "| `dream.octaves` | `1` | a whole number, at least 1 | levels, the coarsest first; 1: f"
    assert row in page
    assert "| `log_mel` | Dream the spectrogram, as the paper did | `python main.py task=d" in page
    for path in CONF.glob("*/*.yaml"):
        assert f"| `{path.stem}` | " in page


def test_a_choice_must_say_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "# @package _global_\n# One,\n# two:\n#   python main.py a=b\n# More: x\nb: 1\n"
    )
    assert reference.choice(path) == ("One, two", "python main.py a=b")
    path.write_text("b: 1\n")
    with pytest.raises(InputError, match=r"a\.yaml says nothing; expected '# What it is:"):
        reference.choice(path)

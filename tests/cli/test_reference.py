"""The page of all keys is up to date, and says all that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from irdream.cli import reference
from irdream.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference.page(ROOT / "conf"), (
        "run: python -m irdream.cli.reference > docs/configuration.md"
    )


def test_a_key_has_its_default_its_range_and_its_meaning() -> None:
    page = reference.page(ROOT / "conf")
    row = "| `dream.octaves` | `1` | a whole number, at least 1 | levels, the coarsest first; 1: f"
    assert row in page
    assert "| `log_mel` | Dream the spectrogram, as the paper did | `python main.py task=d" in page
    for path in (ROOT / "conf").glob("*/*.yaml"):
        assert f"| `{path.stem}` | " in page


def test_comments_are_read_from_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "# All.\nseed: 0 # of it: all\nname:\ndream: # how\n  ratio: [1, 2] # two\n    deep: 1\n"
    )
    assert reference.documented(tmp_path / "config.yaml") == {
        "seed": ("0", "of it: all"),
        "name": ("", ""),
        "dream": ("", "how"),
        "dream.ratio": ("[1, 2]", "two"),
    }


def test_a_choice_must_say_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "# @package _global_\n# One,\n# two:\n#   python main.py a=b\n# More: x\nb: 1\n"
    )
    assert reference.choice(path) == ("One, two", "python main.py a=b")
    path.write_text("b: 1\n")
    with pytest.raises(InputError, match=r"a\.yaml says nothing; expected '# What it is:"):
        reference.choice(path)

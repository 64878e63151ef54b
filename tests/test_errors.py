from __future__ import annotations

import pytest

from irdream.errors import InputError, nearest, need, told


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("flut", "; did you mean 'flute'?"),
        ("celo", "; did you mean 'cello' or 'cel'?"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_nearest_words(word: str, said: str) -> None:
    assert nearest(word, ["cello", "cel", "flute", "piano"]) == said


def test_as_many_as_were_asked_for() -> None:
    known = ["flute", "flut", "flu", "fluted"]
    assert nearest("flutes", iter(known), count=1).count("'") == 2
    assert nearest("flutes", known, count=2).count(" or ") == 1
    assert nearest("flute", []) == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TypeError("of another\n type"), "TypeError: of another type"),
        (AssertionError(), "AssertionError"),
        (InputError("too short"), "too short"),
        (ValueError("y" * 1000), "y" * 300),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_of_others_is_told_in_one_line(error: Exception, said: str) -> None:
    assert told(error) == said


def test_what_is_not_installed_is_named_with_its_remedy() -> None:
    need("json")
    with pytest.raises(
        InputError, match=r"^no_such is not installed; expected it: pip install 'ird"
    ):
        need("no_such")

import pytest

from irdream.errors import InputError, nearest, need, told


def test_nearest_words() -> None:
    known = ["cello", "cel", "flute", "piano"]
    assert nearest("flut", iter(known)) == "; did you mean 'flute'?"
    assert nearest("celo", known) == "; did you mean 'cello' or 'cel'?"
    assert nearest("celo", known, count=1) == "; did you mean 'cello'?"
    assert nearest("xyz", known) == nearest("", known) == nearest("flute", []) == ""


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

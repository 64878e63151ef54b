from __future__ import annotations

import pytest

from irdream import instruments
from irdream.errors import InputError
from irdream.instruments import CODES, NAMES, parse


def test_the_order_is_that_of_the_alphabet() -> None:
    assert list(CODES) == sorted(CODES)
    assert len(CODES) == 11
    assert [instruments.index(code) for code in CODES] == list(range(11))
    assert (instruments.index("cel"), instruments.index("voi")) == (0, 10)


def test_names() -> None:
    assert instruments.name("gac") == "acoustic guitar"
    assert len(set(NAMES.values())) == 11


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, "  {}\n".format])
def test_codes_and_names_are_understood(code: str, change) -> None:
    assert parse(change(code)) == code
    assert parse(change(NAMES[code])) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("acoustic_guitar", "gac"),
        ("Electric-Guitar", "gel"),
        ("singing voice", "voi"),
        ("Singing_Voice", "voi"),
        ("vocals", "voi"),
    ],
)
def test_other_spellings(text: str, code: str) -> None:
    assert parse(text) == code


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("flut", "did you mean 'flute' or 'flu'?"),
        ("Chello", "did you mean 'cello' or 'cel'?"),
        ("saxofone", "did you mean 'saxophone'?"),
    ],
)
def test_a_misspelt_instrument(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"^unknown instrument '{text}'; expected") as raised:
        parse(text)
    assert str(raised.value).endswith(f"; {hint}")


@pytest.mark.parametrize("text", ["kazoo", "", "all", "guitar", "flu, flu", "fl\nu"])
def test_no_instrument(text: str) -> None:
    with pytest.raises(InputError, match=r"^unknown instrument ") as raised:
        parse(text)
    message = str(raised.value)
    assert repr(text) in message
    assert "cel (cello), cla (clarinet)" in message
    assert "\n" not in message


@pytest.mark.parametrize("wrong", [None, 3, True])
def test_what_is_no_text_is_no_instrument(wrong: object) -> None:
    with pytest.raises(InputError, match=f"^unknown instrument {wrong}; expected one of"):
        parse(wrong)  # type: ignore[arg-type]


def test_unknown_codes_have_no_place() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        instruments.index("kaz")

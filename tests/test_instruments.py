from typing import Any

import numpy as np
import pytest

from irdream import instruments
from irdream.errors import InputError
from irdream.instruments import CODES, NAMES, find, labels_of, parse


def test_codes_stand_in_alphabetical_order_and_have_names() -> None:
    assert list(CODES) == sorted(CODES)
    assert instruments.name("gac") == "acoustic guitar"
    assert len(set(NAMES.values())) == len(CODES) == 11


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, "  {}\n".format])
def test_codes_and_names_are_understood(change) -> None:
    for code in CODES:
        assert parse(change(code)) == parse(change(NAMES[code])) == code


def test_other_spellings() -> None:
    assert [parse(text) for text in ("acoustic_guitar", "Electric-Guitar")] == ["gac", "gel"]
    assert {parse(text) for text in ("singing voice", "Singing_Voice", "vocals")} == {"voi"}


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


def test_capitals_and_the_form_of_unicode_do_not_matter() -> None:
    labels = ["Flo\u0308te", "Hi-Hat (open)"]
    assert find("fl\u00f6te", labels) == labels[0]
    with pytest.raises(InputError, match=r"did you mean 'Hi-Hat \(open\)'\?"):
        parse("hi-hat", labels)


@pytest.mark.parametrize(
    "given",
    [("kick", "1"), ["kick", 1], np.array(["kick", "1"]), {1: "1", 0: "kick"}, {"1": 1, "kick": 0}],
)
def test_labels_of_all_kinds_are_text(given: Any) -> None:
    assert labels_of(given) == ("kick", "1")


def test_of_many_labels_the_first_fifty_are_told() -> None:
    assert instruments.first_of([*"abc"]) == "a, b, c"
    assert instruments.first_of([f"c{i}" for i in range(521)]).endswith("c48, c49, 471 more")
    many = instruments.in_words(["flu", *map(str, range(60))])
    assert many.startswith("flu (flute), 0, ")
    assert many.endswith("47, 48, 11 more")


@pytest.mark.parametrize("given", [[], ["a"], ["a", ""], ["a", "b", "a"], [1, "1"]])
def test_labels_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"^mine: labels .*; expected two or more names, all di"):
        labels_of(given, "mine: ")


@pytest.mark.parametrize("wrong", ["kazoo", "", "all", "guitar", "flu, flu", "fl\nu", None, 3])
def test_what_is_no_instrument_is_told_in_one_line(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"^unknown instrument ") as raised:
        parse(wrong)
    message = str(raised.value)
    assert repr(wrong) in message
    assert "cel (cello), cla (clarinet)" in message
    assert "\n" not in message

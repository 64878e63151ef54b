"""From the words a user types to items."""

import pytest

from irdream.dreaming.targets import Item, item_seed, parse_targets, plan
from irdream.errors import InputError
from irdream.instruments import CODES

NAMES, LABELS = ["a", "b", "c"], [("cel",), ("flu", "pia"), ("voi",)]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("flute", ["flu"]),
        ("flu", ["flu"]),
        ("Electric Guitar", ["gel"]),
        ("flute, sax", ["flu", "sax"]),
        (["flute", "flu", "vio"], ["flu", "vio"]),
        ("all", ["all"]),
        (["incorrect"], ["incorrect"]),
    ],
)
def test_targets_are_codes_names_lists_or_special(target, expected) -> None:
    assert parse_targets(target) == expected


def test_a_label_may_have_a_comma() -> None:
    assert parse_targets("Violin, fiddle", ["Flute", "Violin, fiddle"]) == ["Violin, fiddle"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("flut", r"unknown instrument 'flut'; expected one of cel \(cello\), .*mean 'flu"),
        ("corect", r"unknown instrument 'corect'; .*did you mean 'correct' or 'incorrect'\?"),
        (["ALL", "flute"], "target: ALL has others beside it; expected it alone"),
        ("", "target is empty; expected an instrument, all, correct or incorrect"),
        ([], "target is empty"),
    ],
)
def test_what_is_no_target_is_refused(target, message) -> None:
    with pytest.raises(InputError, match=message):
        parse_targets(target)


def test_every_excerpt_goes_toward_every_target() -> None:
    items = plan(["flu", "sax"], NAMES, LABELS, seed=0)
    assert items == [Item(i, code) for i in range(3) for code in ("flu", "sax")]
    assert len(plan(["all"], NAMES, LABELS, seed=0)) == 33


def test_correct_is_the_first_label() -> None:
    items = plan(["correct"], NAMES, LABELS, seed=0)
    assert [item.target for item in items] == ["cel", "flu", "voi"]


def test_incorrect_is_none_of_the_labels_and_depends_on_the_name_alone() -> None:
    names = [f"excerpt {i}" for i in range(300)]
    labels = [("flu", "pia")] * 300
    items = plan(["incorrect"], names, labels, seed=1)

    assert {item.target for item in items} == set(CODES) - {"flu", "pia"}
    alone = plan(["incorrect"], names[7:8], labels[7:8], seed=1)
    assert alone[0].target == items[7].target
    assert items != plan(["incorrect"], names, labels, seed=2)


@pytest.mark.parametrize("target", ["correct", "incorrect"])
def test_what_depends_on_labels_needs_one(target) -> None:
    with pytest.raises(InputError, match=rf"target={target} needs a label and 'y' has none; exp"):
        plan([target], ["x", "y"], [("flu",), ()], seed=0)
    assert len(plan(["all"], ["y"], [()], seed=0)) == 11


def test_every_step_size_meets_every_budget_and_variations_stand_side_by_side() -> None:
    items = plan(
        ["flu", "sax"], NAMES[:2], LABELS[:2], seed=0,
        step_sizes=[0.5, 1.0], budgets_db=[1.0, 2.0, None], variations=2,
    )  # fmt: skip
    assert items == [
        Item(excerpt, target, step_size, budget_db, variation)
        for excerpt in range(2)
        for target in ("flu", "sax")
        for step_size in (0.5, 1.0)
        for budget_db in (1.0, 2.0, None)
        for variation in range(2)
    ]
    assert len(set(items)) == 48


def test_an_items_seed_follows_from_what_it_is() -> None:
    seeds = {
        item_seed(s, n, t, v)
        for s in (0, 1) for n in "ab" for t in ("flu", "sax") for v in (0, 1, 2)
    }  # fmt: skip
    assert len(seeds) == 24
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert item_seed(3, "a", "flu", 0) == item_seed(3, "a", "flu")

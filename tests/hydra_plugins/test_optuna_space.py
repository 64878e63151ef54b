"""From Hydra's override grammar to what Optuna searches."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hydra_plugins.irdream._optuna_space import Parameter, read_space
from irdream.errors import InputError


class Options:
    """Stands for Hydra's loader: what a group has."""

    def get_group_options(self, group, results_filter=None) -> list[str]:
        assert group == "optimizer"
        return ["adam", "adamw", "sgd"]


def only(line: str) -> Parameter:
    (parameter,) = read_space({}, [line], Options()).searched  # type: ignore[arg-type]
    return parameter


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("k=a,b,c", ("a", "b", "c")),
        ("k=1,2.5,null,true", ("1", "2.5", "null", "True")),
        ("k=shuffle(c,a,b)", ("c", "a", "b")),
        ("k=sort(c,a,b)", ("a", "b", "c")),
        ("k=a,b,a", ("a", "b")),
        ("k=[flute,cello],sax", ("[flute,cello]", "sax")),
        ("k='a b',c", ("'a b'", "c")),
        ("k=choice(a)", ("a",)),
        ("optimizer=glob(adam*)", ("adam", "adamw")),
        ("optimizer=glob(*,exclude=adam*)", ("sgd",)),
    ],
)
def test_choices_are_kept_as_one_would_type_them(line, choices) -> None:
    parameter = only(line)
    assert parameter.choices == choices
    assert [parameter.override(c) for c in choices] == [
        f"{line.partition('=')[0]}={c}" for c in choices
    ]


@pytest.mark.parametrize(
    ("line", "low", "high", "step", "log"),
    [
        ("k=interval(0.05,2)", 0.05, 2.0, None, False),
        ("k=interval(1,3)", 1.0, 3.0, None, False),
        ("k=int(interval(1,8))", 1, 8, None, False),
        ("k=tag(log, interval(0.01,1))", 0.01, 1.0, None, True),
        ("k=tag(log, int(interval(1,64)))", 1, 64, None, True),
        ("k=range(4)", 0, 3, 1, False),
        ("k=range(1,4)", 1, 3, 1, False),
        ("k=range(1,10,4)", 1, 9, 4, False),
        ("k=range(1,9,4)", 1, 5, 4, False),
        ("k=range(5,1,-2)", 3, 5, 2, False),
        ("k=tag(log, range(1,65))", 1, 64, 1, True),
        ("k=range(0,1,0.25)", 0.0, 0.75, 0.25, False),
        ("k=range(0,0.3,0.1)", 0.0, 0.2, 0.1, False),
        ("k=range(1.5,0,-0.5)", 0.5, 1.5, 0.5, False),
        ("k=float(range(1,4))", 1.0, 3.0, 1.0, False),
    ],
)
def test_numbers_have_ends_a_step_and_a_scale(line, low, high, step, log) -> None:
    assert only(line) == Parameter("k", (), low, high, step, log)
    assert type(only(line).low) is type(only(line).high) is type(low)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_a_range_has_the_values_that_hydra_gives_it(start, stop, step) -> None:
    line = f"k=range({start},{stop},{step})"
    values = sorted(OverridesParser.create().parse_override(line).value().range())  # type: ignore[union-attr]
    if not values:
        with pytest.raises(InputError, match="expected at least one number"):
            only(line)
        return
    found = only(line)
    assert list(range(int(found.low), int(found.high) + 1, int(found.step or 1))) == values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k=interval(2,0.05)", r"^k=interval\(2,0.05\); expected the lower number first$"),
        ("k=interval(0,inf)", r"k=interval\(0,inf\); expected finite numbers"),
        ("k=interval(nan,1)", "expected finite numbers"),
        ("k=tag(log,interval(0,1))", r"expected numbers above 0 with tag\(log, ...\)"),
        ("k=tag(log,range(0,4))", "expected numbers above 0"),
        ("k=tag(log,range(1,9,2))", "on whole numbers in steps of 1"),
        ("k=tag(log,range(1,2,0.5))", r"expected tag\(log, ...\) on an interval"),
        ("k=range(4,1)", "expected at least one number, the end being left out"),
        ("k=range(1,4,0)", "expected finite numbers and a step other than 0"),
        ("k=range(1,inf)", "expected finite numbers and a step other than 0"),
        ("k=tag(ln,interval(1,2))", "expected no tag but log, and that on numbers"),
        ("k=tag(log,choice(1,2))", "expected no tag but log"),
        ("optimizer=glob(x*)", "expected a pattern that some choice of the group matches"),
        ("k=1", r"nothing to search; expected at least one key=interval\(a,b\)"),
    ],
)
def test_what_cannot_be_searched_is_refused(line, message) -> None:
    with pytest.raises(InputError, match=message):
        only(line)


def test_the_command_line_wins_over_the_yaml_and_fixed_values_stay() -> None:
    params = {"a": "interval(0,1)", "b": "1,2", "c": None, "d": [1, 2]}
    space = read_space(params, ["task=dream", "b=7", "+e=x,y", "~f"])

    assert [parameter.key for parameter in space.searched] == ["a", "+e"]
    assert space.fixed == ["b=7", "c=null", "d=[1, 2]", "task=dream", "~f"]
    assert space.kinds == {"a": "float", "+e": "x,y"}
    assert space.overrides({"a": 0.1 + 0.2, "+e": "y"}) == [
        "a=0.30000000000000004", "b=7", "c=null", "d=[1, 2]", "task=dream", "+e=y", "~f",
    ]  # fmt: skip


def test_a_grid_is_typed_in_round_numbers() -> None:
    assert only("k=range(0,1,0.1)").override(0.1 * 3) == "k=0.3"
    assert only("k=range(0,4)").override(3) == "k=3"


def test_the_probes_show_each_choice_once() -> None:
    space = read_space({}, ["s=1", "a=x,y,z", "b=interval(2,3)", "c=u,v"])
    assert space.probes() == [
        ["s=1", "a=x", "b=2.0", "c=u"],
        ["s=1", "a=y", "b=2.0", "c=u"],
        ["s=1", "a=z", "b=2.0", "c=u"],
        ["s=1", "a=x", "b=2.0", "c=v"],
    ]


def test_optuna_searches_the_same() -> None:
    optuna = pytest.importorskip("optuna", minversion="4")
    lines = ["a=x,y", "b=tag(log,interval(1,2))", "c=range(1,9,2)", "d=range(0,1,0.25)"]
    trial = optuna.create_study().ask()
    for parameter in read_space({}, lines).searched:
        parameter.suggest(trial)
    assert trial.distributions == {
        "a": optuna.distributions.CategoricalDistribution(("x", "y")),
        "b": optuna.distributions.FloatDistribution(1.0, 2.0, log=True),
        "c": optuna.distributions.IntDistribution(1, 7, step=2),
        "d": optuna.distributions.FloatDistribution(0.0, 0.75, step=0.25),
    }

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.measures.bootstrap import mean_interval
from irdream.studies.report import averages, claim_of, compared, points_figure, shown


def rows(**more: Any) -> pd.DataFrame:
    """Rows of two variants, two seeds and four recordings; `b` has twice of `a`, and 1."""
    table = pd.DataFrame(
        [
            {
                "data": data, "variant": variant, "seed": seed, "recording": f"r{i}",
                "excerpt": f"e{i}", "value": (i + 1.0) * (2.0 if variant == "b" else 1.0),
                "yes": float(variant == "b"),
            }
            for data in ("rendered", "recorded") for variant in "ab" for seed in (0, 1)
            for i in range(4)
        ]
    )  # fmt: skip
    return table.assign(**more)


def test_differences_and_ratios_are_of_pairs() -> None:
    table = rows().sample(frac=1.0, random_state=0)  # their order does not matter
    assert compared(table, "value", "b", "a").estimate == 2.5  # (1 + 2 + 3 + 4) / 4
    ratio = compared(table, "value", "b", "a", ratio=True)
    assert ratio == pytest.approx((2.0, 2.0, 2.0))
    assert compared(table, "value", "b").estimate == 5.0
    assert math.isnan(compared(table, "value", "c", "a").low)


def test_a_control_of_no_seed_is_compared_with_each_seed() -> None:
    table: Any = rows()
    control = table[(table["variant"] == "a") & (table["seed"] == 0)]
    table = pd.concat([table[table["variant"] == "b"], control.assign(seed=None)])
    found = compared(table, "value", "b", "a")
    assert found.estimate == 2.5
    assert found.low < 2.5 < found.high


@pytest.mark.parametrize(
    ("above", "verdict"), [(1.9, "holds"), (2.0, "does not hold"), (5.0, "does not hold")]
)
def test_a_verdict_follows_from_the_whole_interval(above, verdict) -> None:
    rule = {"says": "b is twice a", "rows": "all", "measure": "value", "of": "b", "less": "a"}
    claim = claim_of("X1", rule | {"ratio": True, "above": above}, {"all": rows()})
    assert claim.verdict == verdict
    assert claim.measured == "rendered: 2.00 (2.00 to 2.00); recorded: 2.00 (2.00 to 2.00)"
    assert f"ratio is above {above:g}" in claim.why


def test_a_verdict_in_part_and_none() -> None:
    table: Any = rows()
    table.loc[table["data"] == "recorded", "value"] = 1.0
    rule = {"says": "more", "rows": "all", "measure": "value", "of": "b", "less": "a", "above": 0.0}
    assert claim_of("X1", rule, {"all": table}).verdict == "holds in part"
    some = rule | {"where": {"data": "rendered"}}
    assert claim_of("X1", some, {"all": table}).verdict == "holds"
    assert claim_of("X1", rule, {"all": table[table["seed"] == 0]}).verdict == "not tested"


def test_averages_have_exact_bounds_where_all_say_the_same() -> None:
    found = averages(rows(), ["variant"], ["yes", "value"])
    of_a = found[(found["variant"] == "a") & (found["measure"] == "yes")].iloc[0]
    assert (of_a["estimate"], of_a["low"], of_a["n"]) == (0.0, 0.0, 16)
    assert of_a["high"] == pytest.approx(1 - 0.025 ** (1 / 4))  # Clopper and Pearson, 4 recordings
    table = shown(found)
    assert list(table.columns) == ["variant", "yes", "value"]
    unsized = averages(rows(size=math.nan), ["variant", "size"], ["value"])
    assert list(shown(unsized)["size"]) == ["–", "–"]
    assert table["value"].str.match(r"^\d\.\d\d \(\d\.\d\d to \d\.\d\d\)$").all()


def test_groups_that_cross_are_both_drawn() -> None:
    values = [0.0, 0.0, 1.0, 1.0]  # all of the spread is between seeds
    by_seed = mean_interval(values, groups="abab", crossed=[0, 0, 1, 1])
    assert by_seed == (0.5, 0.0, 1.0)
    assert mean_interval(values, groups="abab") == (0.5, 0.5, 0.5)
    assert math.isnan(mean_interval(values, groups="abab", crossed=[0, 0, 0, 0]).low)


def test_a_figure_has_a_panel_for_each_data_and_listener_and_a_line_for_each_variant() -> None:
    table = pd.concat([rows(size=x, listener=w) for x in (2.0, 4.0) for w in ("one", "two")])
    found = averages(table, ["data", "listener", "variant", "size"], ["value"])
    figure = points_figure(
        found, x="size", line="variant", row="data", column="listener", labels=("dB", "share")
    )
    panels = figure.axes
    assert [ax.get_title() for ax in panels[:2]] == ["rendered, one", "rendered, two"]
    lines = [ax.lines[0].get_ydata() for ax in panels]
    assert len(panels) == 4
    assert all(np.allclose(line, 2.5) for line in lines)
    words = points_figure(
        found.assign(all=""), x="listener", line="variant", row="data", column="all",
        labels=("", ""),
    )  # fmt: skip
    assert [text.get_text() for text in words.axes[-1].get_xticklabels()] == ["one", "two"]

"""Each claim of the paper: its statistic, its interval, and its verdict by its rule."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.instruments import CODES
from irdream.measures.bootstrap import Interval
from irdream.measures.recognition import Report
from irdream.measures.table import IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS
from irdream.paper import claims
from irdream.reports.pages import Claim


def rows(count: int, **columns: Any) -> pd.DataFrame:
    """Return so many dreams of one recording each, all at 0.9; `at_09` is its column."""
    defaults = {
        "recording": np.arange(count), "excerpt": np.arange(count).astype(str), "labels": "cel",
        "toward": "other", "at_0.9": True, "on_top": True, "target_probability": 0.95,
        "before": 0.1, "steps": 5, "rmse_db": 2.0, "max_abs_db": 9.0,
    }  # fmt: skip
    named = {re.sub("(at|to)_09$", r"\1_0.9", name): x for name, x in columns.items()}
    return pd.DataFrame(defaults | named, index=range(count))


def report(truth: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> Report:
    return Report(
        dataset="toy, test part", instruments=CODES, names=tuple(map(str, range(len(truth)))),
        truth=truth, scores={"s1": scores, "s2": scores}, thresholds={"s1": threshold},
    )  # fmt: skip


def irmas(labels: int) -> Report:
    """Return a report on as many excerpts as the IRMAS test set has, and so many labels."""
    truth = np.zeros((IRMAS_TEST_EXCERPTS, 11), bool)
    truth.flat[np.arange(len(truth)) * 11] = True
    truth[: labels - len(truth), 1] = True
    return report(truth, truth.astype(float))


def assert_verdict(claim: Claim, code: str, verdict: str) -> None:
    assert (claim.code, claim.verdict) == (code, verdict)
    assert claim.says.endswith(".")
    assert "Rule: " in claim.why or verdict == "not tested"


# C1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "high", "verdict"),
    [
        (IRMAS_TEST_LABELS, 0.602, "holds"),
        (IRMAS_TEST_LABELS, 0.6019, "does not hold"),
        (IRMAS_TEST_LABELS - 1, 0.602, "not tested"),
    ],
)
def test_only_the_irmas_test_set_can_tell_of_the_state_of_the_art(labels, high, verdict) -> None:
    found = {
        "micro_f1": Interval(0.59, 0.58, high),
        "macro_f1": Interval(0.51, 0.5, 0.52),
        "top1": Interval(0.7, 0.68, 0.72),
    }
    claim = claims.recognition_claim(irmas(labels), found)

    assert_verdict(claim, "C1", verdict)
    assert claim.measured == (
        f"micro F1 0.59 (0.58 to {high:.2f}), macro F1 0.51 (0.50 to 0.52), "
        "top-1 on single-label excerpts 0.70 (0.68 to 0.72); toy, test part"
    )
    assert ("this is other data" in claim.why) == (verdict == "not tested")


def test_without_single_labels_there_is_no_top_1() -> None:
    truth = np.array([[True] * 2 + [False] * 9] * 3)
    pairs = report(truth, truth.astype(float))
    claim = claims.recognition_claim(pairs, pairs.intervals)

    assert "no excerpt has a single label" in claim.measured
    assert "nan" not in claim.measured


# C2 and C3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "verdict", "share"),
    [
        (20, "holds", "100% (83% to 100%)"),
        (19, "holds in part", "95%"),
        (18, "holds in part", "90%"),
        (17, "does not hold", "85%"),
        (0, "does not hold", "0% (0% to 17%)"),
    ],
)
@pytest.mark.parametrize(("toward", "code"), [("own", "C2"), ("other", "C3")])
def test_all_dreams_must_be_there(there, verdict, share, toward, code) -> None:
    is_there = np.arange(20) < there
    dreams = rows(
        20, toward=toward, at_09=is_there, target_probability=np.where(is_there, 0.96, 0.7)
    )
    elsewhere = rows(20, toward="own" if toward == "other" else "other", at_09=there < 20)
    claim = claims.success_claim(pd.concat([elsewhere, dreams], ignore_index=True), toward)

    assert_verdict(claim, code, verdict)
    assert claim.measured.startswith(share)
    mean, least = 0.7 + there * 0.26 / 20, 0.96 if there == 20 else 0.7
    assert claim.measured.endswith(
        "100% (83% to 100%) on top; "
        f"probability in the mean {mean:.3f}, at least {least:.3f} (before: 0.100); 20 dreams"
    )


def test_what_needed_no_dream_is_said_of_own_labels() -> None:
    dreams = rows(4, toward="own", steps=[0, 0, 0, 3])
    assert claims.success_claim(dreams, "own").why.startswith("75% of them needed no step. Rule")
    assert "needed" not in claims.success_claim(rows(4), "other").why


# C4 to C6 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stopped", "fixed", "verdict"),
    [
        (2.0, 9.0, "holds"),
        (9.0, 1.5, "holds"),
        (2.5, 0.1, "holds"),
        (2.51, 9.0, "holds in part"),
        (0.1, 1.49, "holds in part"),
        (1.0, 9.0, "holds in part"),
        (9.0, 4.0, "holds in part"),
        (0.99, 4.01, "does not hold"),
    ],
)
def test_about_two_decibels(stopped, fixed, verdict) -> None:
    dreams = pd.concat([rows(3, rmse_db=stopped), rows(3, toward="own", rmse_db=2.0)])
    grid = rows(4, rmse_db=fixed, max_abs_db=[10, 20, 30, 40])
    claim = claims.size_claim(dreams, grid, 8)

    assert_verdict(claim, "C4", verdict)
    assert f"RMSE {stopped:.2f} ({stopped:.2f} to {stopped:.2f}) dB" in claim.measured
    assert f"{fixed:.2f} ({fixed:.2f} to {fixed:.2f}) dB after 8 steps" in claim.measured
    assert "largest difference in the mean 25 dB" in claim.measured


@pytest.mark.parametrize(
    ("farther", "verdict"),
    [(20, "holds"), (16, "holds"), (12, "holds in part"), (10, "does not hold")],
)
def test_most_pairs_by_the_interval_or_by_the_estimate(farther, verdict) -> None:
    pairs = pd.DataFrame({"recording": range(20), "farther": np.arange(20) < farther, "rho": 1.0})
    claim = claims.pairs_claim(pairs)

    assert_verdict(claim, "C5", verdict)
    assert claim.measured.startswith(f"{farther / 20:.0%} (")
    assert "of 20 pairs" in claim.measured


@pytest.mark.parametrize(
    ("rho", "text"),
    [
        ([0.7, 0.8, 0.9], "the two changes share something."),
        ([1.1, 1.2, 1.3], "the two changes oppose each other."),
        ([0.7, 0.9, 1.1], "as at right angles."),
        ([1.0, 1.0, 1.0], "as at right angles."),
        ([0.7, np.nan, 0.9], "the two changes share something."),
        ([0.7], "there are too few recordings to say more."),
    ],
)
def test_rho_tells_whether_changes_share_or_oppose(rho, text) -> None:
    pairs = pd.DataFrame({"recording": range(len(rho)), "farther": True, "rho": rho})
    claim = claims.pairs_claim(pairs)
    assert claim.why.endswith(text)
    assert f"is {np.nanmean(rho):.2f} (" in claim.measured


@pytest.mark.parametrize(
    ("on_top", "verdict"),
    [(20, "holds"), (19, "holds in part"), (18, "holds in part"), (17, "does not hold")],
)
def test_examples_have_their_targets_on_top(on_top, verdict) -> None:
    examples = rows(
        20, excerpt=["a", "b"] * 10, labels=["cel;pia", "sax"] * 10,
        toward=["own"] * 2 + ["other"] * 18, on_top=np.arange(20) < on_top,
        at_09=np.arange(20) < 12,
    )  # fmt: skip
    claim = claims.example_claim(examples)

    assert_verdict(claim, "C6", verdict)
    assert claim.measured == (
        f"{on_top} of 20 dreams of 2 excerpts (cello, saxophone) have their target on top, "
        "10 of 18 toward others at 0.9 or more"
    )


# C7 and E1 --------------------------------------------------------------------------------------


def ways(*changes: dict[str, Any]) -> pd.DataFrame:
    """Return rows of dreams, and beside each an undreamed control with a twentieth above mask."""
    usual = {
        "kind": "dream", "snr_db": 12.6, "masking_violation": 0.005, "survival": 1.0,
        "survival_low": 0.7, "survival_high": 1.0,
    }  # fmt: skip
    dreams = [{"way": f"way_{i}", **usual, **change} for i, change in enumerate(changes)]
    controls = [{**row, "kind": "undreamed", "masking_violation": 0.05} for row in dreams]
    return pd.DataFrame(dreams + controls)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "holds in part"),
        ({"masking_violation": 0.01, "survival": 0.95}, "holds in part"),
        ({"masking_violation": 0.0101}, "does not hold"),
        ({"survival": 0.949}, "does not hold"),
        ({"survival": np.nan}, "does not hold"),
        ({"masking_violation": np.nan}, "does not hold"),
    ],
)
def test_a_way_must_be_quiet_and_survive(change, verdict) -> None:
    loud, mute = {"masking_violation": 0.3}, {"survival": 0.0}
    assert_verdict(claims.audible_claim(ways(loud, mute, change)), "C7", verdict)


def test_every_way_is_named_beside_its_control() -> None:
    table = ways({"way": "gain"}, {"way": "mel_inversion", "snr_db": np.inf})
    measured = claims.audible_claim(table).measured
    assert measured.endswith("gain 0.5% (5.0%), 13 dB; mel inversion 0.5% (5.0%), inf dB")


@pytest.mark.parametrize(
    ("after", "inside", "verdict"),
    [
        (0.59, 0.95, "holds"),
        (0.6, 0.95, "holds in part"),
        (0.59, 0.94, "holds in part"),
        (0.6, 0.94, "does not hold"),
        (np.nan, 0.95, "holds"),  # another way is left
        (0.6, np.nan, "not tested"),
    ],
)
def test_survival_after_the_loop_and_inside(after, inside, verdict) -> None:
    table = ways(
        {"way": "gain", "survival": 0.1}, {"way": "griffin_lim", "survival": after},
        {"way": "waveform", "survival": inside},
    )  # fmt: skip
    claim = claims.sound_claim(table, ["waveform"])

    assert_verdict(claim, "E1", verdict)
    assert claim.measured.startswith("gain 10% (70% to 100%); griffin lim ")
    assert ("no dream to survive" in claim.measured) == bool(np.isnan([after, inside]).any())
    assert "nan" not in claim.measured


# C8 and C9 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.0499, 0.1), (0.001, 0.1), "holds"),
        ((0.05, 0.1), (0.001, 0.1), "holds in part"),
        ((0.001, 0.5), (0.001, 0.1), "holds in part"),
        ((0.5, 0.1), (0.05, 0.1), "does not hold"),
    ],
)
def test_a_pattern_for_every_color_and_place(first, second, verdict) -> None:
    patterns = pd.DataFrame([first, second], columns=["p", "between"]).assign(
        noise=["white", "pink"], compared=["in place", "over the bands"], within=0.4, d=1.26
    )
    claim = claims.pattern_claim(patterns, "3 noises")

    assert_verdict(claim, "C8", verdict)
    assert claim.measured == (
        "3 noises; correlation of residuals toward one target against different ones, "
        f"white, in place: 0.40 against {first[1]:.2f} (p = {first[0]:.4f}, d = 1.3); "
        f"pink, over the bands: 0.40 against {second[1]:.2f} (p = {second[0]:.4f}, d = 1.3)"
    )


def distances(color: str, own: float, apart: float, noises: float) -> pd.DataFrame:
    pairs = {
        "dream and its noise": own, "two targets, one noise": apart, "two noises": noises,
        "one target, two noises": 99.0,
    }  # fmt: skip
    values = [(pair, x + spread) for pair, x in pairs.items() for spread in (-1, 0, 5)]
    return pd.DataFrame(values, columns=["pair", "profile_db"]).assign(color=color)


@pytest.mark.parametrize(
    ("own", "apart", "verdict"),
    [
        (2.0, 2.0, "holds"),
        (2.01, 2.0, "holds in part"),
        (2.0, 2.01, "holds in part"),
        (2.01, 2.01, "holds in part"),  # of one color
    ],
)
def test_dreams_no_farther_than_two_noises_are_alike(own, apart, verdict) -> None:
    table = pd.concat([distances("white", own, apart, 2.0), distances("pink", 1.0, 1.5, 3.0)])
    claim = claims.alike_claim(table)

    assert_verdict(claim, "C9", verdict)
    assert claim.measured == (
        f"white: dream and its noise {own:.2f} dB, dreams toward two targets {apart:.2f} dB, two "
        "undreamed noises 2.00 dB; pink: dream and its noise 1.00 dB, dreams toward two targets "
        "1.50 dB, two undreamed noises 3.00 dB"
    )
    assert claims.alike_claim(distances("white", 3.0, 2.1, 2.0)).verdict == "does not hold"

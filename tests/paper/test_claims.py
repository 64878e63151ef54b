from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.instruments import CODES
from irdream.measures.bootstrap import Interval
from irdream.measures.published import IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS
from irdream.measures.recognition import (
    Report,
    average_scores,
    top1_accuracy,
)
from irdream.paper import claims
from irdream.paper.patterns import Consistency
from irdream.paper.tables import before_after_table, left_out, ways_table

WAY = {
    "kind": "dream", "snr_db": 12.6, "masking_violation": 0.005, "survival": 1.0,
    "survival_low": 0.7, "survival_high": 1.0,
}  # fmt: skip


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


def irmas(labels: int = IRMAS_TEST_LABELS) -> Report:
    """Return a report on as many excerpts as the IRMAS test set has, and so many labels."""
    truth = np.zeros((IRMAS_TEST_EXCERPTS, 11), bool)
    truth.flat[np.arange(len(truth)) * 11] = True
    truth[: labels - len(truth), 1] = True
    return report(truth, truth.astype(float))


def consistency(p_value: float, difference: float = 0.3) -> Consistency:
    return Consistency(
        within=0.4, between=0.4 - difference, difference=difference, p_value=p_value,
        effect_size=1.26, silhouette=0.2, pairs_within=9, pairs_between=90,
    )  # fmt: skip


def ways(*changes: dict[str, Any]) -> pd.DataFrame:
    """Return rows of dreams, and beside each an undreamed control with a twentieth above mask."""
    dreams = [{"way": f"way_{i}", **WAY, **change} for i, change in enumerate(changes)]
    controls = [{**row, "kind": "undreamed", "masking_violation": 0.05} for row in dreams]
    return pd.DataFrame(dreams + controls)


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

    assert (claim.code, claim.verdict) == ("C1", verdict)
    assert f"micro F1 0.59 (0.58 to {high:.2f}), macro F1 0.51 (0.50 to 0.52)" in claim.measured
    assert "top-1 on single-label excerpts 0.70 (0.68 to 0.72)" in claim.measured
    assert claim.measured.endswith("toy, test part")
    assert ("this is other data" in claim.why) == (verdict == "not tested")


def test_without_single_labels_there_is_no_top_1() -> None:
    truth = np.array([[True] * 2 + [False] * 9] * 3)
    pairs = report(truth, truth.astype(float))
    claim = claims.recognition_claim(pairs, pairs.intervals)

    assert "no excerpt has a single label" in claim.measured
    assert "nan" not in claim.measured


def test_intervals_of_recognition_are_around_the_scores() -> None:
    random = np.random.default_rng(0)
    truth = random.random((40, 11)) < 0.15
    truth[:, 0] |= ~truth.any(axis=1)
    scores = 0.5 * truth + random.random((40, 11)) * 0.6
    toy = report(np.vstack([truth, np.zeros((1, 11), bool)]), np.vstack([scores, np.ones(11)]))

    found = toy.intervals

    expected = average_scores(truth, scores >= 0.5)  # the one without a label is not scored
    assert found["micro_f1"].estimate == pytest.approx(expected["micro_f1"])
    assert found["macro_f1"].estimate == pytest.approx(expected["macro_f1"])
    assert found["top1"].estimate == top1_accuracy(scores, truth)
    for one in found.values():
        assert 0 <= one.low < one.estimate < one.high <= 1


# C2 and C3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "verdict", "share"),
    [
        (20, "holds", "100% (83% to 100%)"),
        (19, "holds in part", "95%"),
        (18, "holds in part", "90%"),
        (17, "does not hold", "85%"),
        (10, "does not hold", "50%"),
        (0, "does not hold", "0% (0% to 17%)"),
    ],
)
@pytest.mark.parametrize(("toward", "code"), [("own", "C2"), ("other", "C3")])
def test_all_dreams_must_be_heard(heard, verdict, share, toward, code) -> None:
    is_heard = np.arange(20) < heard
    dreams = rows(
        20, toward=toward, at_09=is_heard, target_probability=np.where(is_heard, 0.96, 0.7)
    )
    elsewhere = rows(20, toward="own" if toward == "other" else "other", at_09=heard < 20)
    claim = claims.success_claim(pd.concat([elsewhere, dreams], ignore_index=True), toward)

    assert (claim.code, claim.verdict) == (code, verdict)
    assert claim.measured.startswith(share)
    assert "100% (83% to 100%) on top" in claim.measured
    mean, least = 0.7 + heard * 0.26 / 20, 0.96 if heard == 20 else 0.7
    assert f"in the mean {mean:.3f}, at least {least:.3f} (before: 0.100)" in claim.measured
    assert claim.measured.endswith("20 dreams")


def test_what_needed_no_dream_is_told_of_own_labels() -> None:
    dreams = rows(4, toward="own", steps=[0, 0, 0, 3])
    assert claims.success_claim(dreams, "own").why.startswith("75% of them needed no step. Rule")
    dreams = rows(1, toward="own", steps=0, before=0.95)
    claim = claims.success_claim(dreams, "own")
    assert claim.why.startswith("100% of them")
    assert "(before: 0.950); 1 dreams" in claim.measured
    assert "needed" not in claims.success_claim(rows(4), "other").why


def test_rows_of_one_recording_count_as_one() -> None:
    claim = claims.success_claim(rows(20, recording="one"), "other")
    assert claim.measured.startswith("100% (3% to 100%)")  # exact bounds of one trial: 0.025


# C4 ---------------------------------------------------------------------------------------------


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

    assert (claim.code, claim.verdict) == ("C4", verdict)
    assert f"RMSE {stopped:.2f} ({stopped:.2f} to {stopped:.2f}) dB" in claim.measured
    assert f"{fixed:.2f} ({fixed:.2f} to {fixed:.2f}) dB after 8 steps" in claim.measured
    assert "largest difference in the mean 25 dB" in claim.measured


# C5 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("farther", "verdict"),
    [(20, "holds"), (16, "holds"), (12, "holds in part"), (10, "does not hold")],
)
def test_most_pairs_by_the_interval_or_by_the_estimate(farther, verdict) -> None:
    pairs = pd.DataFrame(
        {"recording": range(20), "farther": np.arange(20) < farther, "rho": np.full(20, 1.0)}
    )
    claim = claims.pairs_claim(pairs)

    assert (claim.code, claim.verdict) == ("C5", verdict)
    assert claim.measured.startswith(f"{farther / 20:.0%} (")
    assert "of 20 pairs" in claim.measured


@pytest.mark.parametrize(
    ("rho", "text"),
    [
        ([0.7, 0.8, 0.9], "the two changes share something."),
        ([1.1, 1.2, 1.3], "the two changes oppose each other."),
        ([0.7, 0.9, 1.1], "as at right angles."),
        ([0.9, 1.1, 1.3], "as at right angles."),
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


# C6 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_top", "verdict"),
    [(20, "holds"), (19, "holds in part"), (18, "holds in part"), (17, "does not hold")],
)
def test_examples_have_their_targets_on_top(on_top, verdict) -> None:
    examples = rows(
        20, excerpt=["a", "b"] * 10, labels=["cel pia", "sax"] * 10,
        toward=["own"] * 2 + ["other"] * 18, on_top=np.arange(20) < on_top,
        at_09=np.arange(20) < 12,
    )  # fmt: skip
    claim = claims.example_claim(examples)

    assert (claim.code, claim.verdict) == ("C6", verdict)
    assert claim.measured == (
        f"{on_top} of 20 dreams of 2 excerpts (cello, saxophone) have their target on top, "
        "10 of 18 toward others at 0.9 or more"
    )


def test_one_example_is_enough_to_say_so() -> None:
    claim = claims.example_claim(rows(1, toward="own"))
    assert claim.measured.startswith("1 of 1 dreams of 1 excerpts (cello) have their")
    assert "0 of 0 toward others" in claim.measured


# C7 and E1 --------------------------------------------------------------------------------------


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
    claim = claims.audible_claim(ways(loud, mute, change))
    assert (claim.code, claim.verdict) == ("C7", verdict)


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

    assert (claim.code, claim.verdict) == ("E1", verdict)
    assert claim.measured.startswith("gain 10% (70% to 100%); griffin lim ")
    assert ("no dream to survive" in claim.measured) == bool(np.isnan([after, inside]).any())
    assert "nan" not in claim.measured


# C8 and C9 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (consistency(0.0499), consistency(0.001), "holds"),
        (consistency(0.05), consistency(0.001), "holds in part"),
        (consistency(0.001, difference=-0.1), consistency(0.001), "holds in part"),
        (consistency(0.5), consistency(0.05), "does not hold"),
    ],
)
def test_a_pattern_for_every_color_and_place(first, second, verdict) -> None:
    patterns = {("white", "in place"): first, ("pink", "over the bands"): second}
    claim = claims.pattern_claim(patterns, "3 noises")

    assert (claim.code, claim.verdict) == ("C8", verdict)
    assert claim.measured.startswith("3 noises; ")
    assert (
        f"white, in place: 0.40 against {first.between:.2f} (p = {first.p_value:.4f}, d = 1.3); "
        "pink, over the bands: 0.40 against "
    ) in claim.measured


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

    assert (claim.code, claim.verdict) == ("C9", verdict)
    assert claim.measured == (
        f"white: dream and its noise {own:.2f} dB, dreams toward two targets {apart:.2f} dB, two "
        "undreamed noises 2.00 dB; pink: dream and its noise 1.00 dB, dreams toward two targets "
        "1.50 dB, two undreamed noises 3.00 dB"
    )


def test_dreams_that_are_far_from_all_are_not_alike() -> None:
    assert claims.alike_claim(distances("white", 3.0, 2.1, 2.0)).verdict == "does not hold"


# Tables -----------------------------------------------------------------------------------------


def measured(count: int, **columns: Any) -> pd.DataFrame:
    """Return rows of one way with the measures of its sounds."""
    values = {"way": "gain", "kind": "dream", "wav_at_0.9": True, "snr_db": 10.0}
    return rows(count, **values | {"masking_violation": 0.1, "wav_on_top": True} | columns)


def one_row(table: pd.DataFrame) -> dict[str, Any]:
    (row,) = table.to_dict("records")
    return row


def test_survival_counts_what_had_success_on_the_spectrogram() -> None:
    alive, lost = [True, True, True, True, False, False], [True, True, True, False, True, True]
    dream = one_row(ways_table(measured(6, at_09=alive, wav_at_09=lost)))
    assert dream["survival"] == 3 / 4
    assert dream["dreams"] == 6
    control = measured(6, at_09=alive, wav_at_09=lost, kind="random")
    assert one_row(ways_table(control))["survival"] == 5 / 6


def test_without_any_success_there_is_no_survival() -> None:
    row = one_row(ways_table(measured(3, at_09=False)))
    assert np.isnan([row["survival"], row["survival_low"], row["survival_high"]]).all()
    assert row["snr_db"] == 10.0


def test_measures_are_medians_and_shares_are_means() -> None:
    row = one_row(
        ways_table(
            measured(
                4, snr_db=[1, 2, 4, 100], masking_violation=[0, 0, 0, 1],
                wav_on_top=[True, False, False, False], visqol=[1.0, 2.0, 3.0, 5.0],
            )
        )
    )  # fmt: skip
    assert (row["snr_db"], row["visqol"]) == (3.0, 2.5)
    assert (row["masking_violation"], row["wav_on_top"]) == (0.25, 0.25)
    assert row["snr_db_low"] <= 3.0 <= row["snr_db_high"] <= 100
    assert "transfer_on_top" not in row  # nothing heard it


def test_what_measures_of_sounds_leave_out_is_counted_and_said() -> None:
    """A copy has no SNR, a silent original none either."""
    sizes = {"rmse_db": [0.0, 1.0, 2.0, 3.0], "snr_db": [np.inf, 10, 20, -np.inf]}
    table = ways_table(measured(4, **sizes, wav_rmse_db=[np.nan, 1, 3, 5], visqol=np.nan))
    row = one_row(table)
    assert (row["snr_db"], row["snr_db_undefined"], row["unchanged"]) == (15.0, 1, 1)
    assert (row["wav_rmse_db"], row["wav_rmse_db_undefined"]) == (3.0, 1)
    assert (row["visqol_undefined"], row["dreams"]) == (4, 4)
    assert np.isnan(row["visqol"])
    assert left_out(table, {"snr_db": "SNR dB", "visqol": "ViSQOL"}) == (
        "Left out: gain, dream: 1 of 4 changed nothing; gain, dream: SNR dB of 1 of 4 is not "
        "defined."
    )
    assert left_out(table, {"flatness": "flatness"}) == ""
    control = ways_table(measured(4, **sizes, kind="undreamed"))
    assert one_row(control)["unchanged"] == 0  # it is meant to be
    assert one_row(control)["snr_db_undefined"] == 2
    assert left_out(ways_table(measured(4)), {"snr_db": "SNR dB"}) == ""


def test_ways_stand_in_the_order_of_the_dreams() -> None:
    parts = [
        measured(2, way=way, kind=kind)
        for way in ("waveform", "gain")
        for kind in ("dream", "undreamed", "random")
    ]
    table = ways_table(pd.concat(parts, ignore_index=True))

    assert table["way"].tolist() == ["waveform"] * 3 + ["gain"] * 3
    assert table["kind"].tolist() == ["dream", "undreamed", "random"] * 2
    assert table["dreams"].tolist() == [2] * 6


def test_a_single_dream_has_a_row_without_intervals() -> None:
    row = one_row(ways_table(measured(1)))
    assert (row["survival"], row["snr_db"]) == (1.0, 10.0)
    assert np.isnan([row["snr_db_low"], row["masking_violation_high"]]).all()


def test_before_and_after_by_hand() -> None:
    own = rows(
        3, set="until heard", toward="own", before_on_top=[True, True, False],
        before=[0.9, 0.8, 0.1], target_probability=[0.9, 0.95, 0.85], steps=[0, 4, 7],
        at_09=[True, True, False], steps_to_flip=[0, 0, np.nan],
        steps_to_09=[0, 4, np.nan], rmse_db=[0, 1, 2], mse_db2=[0, 1, 4],
        max_abs_db=[0, 3, 6], transfer_on_top=[True, False, False],
    )  # fmt: skip
    none = own.assign(toward="other", **dict.fromkeys(["steps_to_flip", "steps_to_0.9"], np.nan))
    first, second = before_after_table(pd.concat([own, none])).to_dict("records")

    expected = {
        "dreams": "until heard", "toward": "own", "n": 3, "top before": 2 / 3, "top": 1.0,
        "≥ 0.9": 2 / 3, "p before": 0.6, "p": 0.9, "least p": 0.85, "steps": 4.0, "unchanged": 1,
        "flipped": 2 / 3, "to flip": 0.0, "reached 0.9": 2 / 3, "to 0.9": 2.0,
        "RMSE dB": 1.0, "MSE dB²": 5 / 3, "max dB": 3.0, "transfer": 1 / 3,
    }  # fmt: skip
    assert first == pytest.approx(expected)
    assert (second["toward"], second["n"]) == ("other", 3)
    assert np.isnan([second["to flip"], second["to 0.9"]]).all()
    assert (second["flipped"], second["reached 0.9"]) == (0, 0)


def test_before_and_after_without_a_second_recognizer() -> None:
    dreams = rows(1, set="a", before_on_top=False, steps_to_flip=0, steps_to_09=0, mse_db2=4.0)
    row = one_row(before_after_table(dreams))
    assert np.isnan(row["transfer"])
    assert row["n"] == 1


@pytest.mark.parametrize(
    "claim",
    [
        lambda: claims.success_claim(rows(2), "other"),
        lambda: claims.size_claim(rows(2), rows(2), 3),
        lambda: claims.pattern_claim({("white", "in place"): consistency(0.01)}, "2"),
        lambda: claims.alike_claim(distances("white", 1, 1, 1)),
    ],
)
def test_every_verdict_comes_with_its_rule(claim: Callable[[], Any]) -> None:
    made = claim()
    assert "Rule: " in made.why
    assert made.says.endswith(".")

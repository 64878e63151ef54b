"""The nine claims of Cochran and Kim against what was measured, each with its rule.

The rule for "holds", "holds in part" and "does not hold" stands beside the verdict. Intervals are
95 % by bootstrap over recordings (`irdream.measures.bootstrap`).

Source: C. Cochran and Y. Kim, "DeepDream applied to an instrument recognition CNN".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.measures.bootstrap import Interval, mean_interval, share_interval
from irdream.measures.recognition import Report
from irdream.reports.pages import Claim, Verdict
from irdream.reports.tables import mean_of, rows_of

SIGNIFICANT = 0.05
NEARLY_ALL = 0.9  # a share that counts as "in part" where the paper says all
ABOUT_2_DB, WITHIN_FACTOR_2_DB = (1.5, 2.5), (1.0, 4.0)
AFTER_LOOP, IN_LOOP = 0.6, 0.95  # of survival on the WAV: at most, at least
NO_VIOLATION = 0.01  # share of bins above the masking threshold that counts as none
HAN_V1_F1 = 0.602  # micro F1 of Han et al., arXiv v1


def _verdict(whole: bool, part: bool) -> Verdict:
    return "holds" if whole else "holds in part" if part else "does not hold"


def recognition_claim(report: Report, found: Mapping[str, Interval]) -> Claim:
    """C1: the network beside the state of the art; only the IRMAS test set can tell."""
    single = f"top-1 on single-label excerpts {found['top1'].text()}"
    if np.isnan(found["top1"].estimate):
        single = "no excerpt has a single label"
    verdict: Verdict = "not tested"
    why = "The published scores are on the recorded IRMAS test set; this is other data."
    if report.is_irmas_test:
        verdict = "holds" if found["micro_f1"].high >= HAN_V1_F1 else "does not hold"
        why = f"Rule: the interval of micro F1 reaches that of Han et al. (arXiv v1), {HAN_V1_F1}."
    return Claim(
        code="C1",
        says="The recogniser stands beside the state of the art (Figure 1).",
        measured=(
            f"micro F1 {found['micro_f1'].text()}, macro F1 {found['macro_f1'].text()}, {single}; "
            f"{report.dataset}"
        ),
        verdict=verdict,
        why=why,
    )


def success_claim(dreams: pd.DataFrame, toward: str) -> Claim:
    """C2 and C3: all dreams are classified as their target, with above 90 % confidence.

    One row of `dreams` for each log-mel dream until confident; `toward` is "own" or "other".
    """
    rows = rows_of(dreams, toward=toward)
    share, on_top = (share_interval(rows[name], rows["recording"]) for name in ("at_0.9", "on_top"))
    probability = rows["target_probability"]
    own = toward == "own"
    unmoved = f"{(rows['steps'] == 0).mean():.0%} of them needed no step. " if own else ""
    says = "the correct label" if own else "a random wrong label"
    return Claim(
        code="C2" if own else "C3",
        says=f"Excerpts dreamed to {says} are all classified so, above 90% confidence.",
        measured=(
            f"{share.text(0, '%')} at 0.9 or more, {on_top.text(0, '%')} on top; probability in "
            f"the mean {probability.mean():.3f}, at least {probability.min():.3f} "
            f"(before: {mean_of(rows, 'before'):.3f}); {len(rows)} dreams"
        ),
        verdict=_verdict(share.estimate == 1, share.estimate >= NEARLY_ALL),
        why=f"{unmoved}Rule: all, or in part from {NEARLY_ALL:.0%}.",
    )


def size_claim(dreams: pd.DataFrame, grid: pd.DataFrame, steps: int) -> Claim:
    """C4: spectrograms differ by about 2 dB on average.

    One row of `dreams` for each dream until confident, of `grid` for each of so many `steps`.
    """
    stopped, fixed = (
        mean_interval(rows["rmse_db"], rows["recording"])
        for rows in (rows_of(dreams, toward="other"), grid)
    )
    about, near = (
        any(low <= one.estimate <= high for one in (stopped, fixed))
        for low, high in (ABOUT_2_DB, WITHIN_FACTOR_2_DB)
    )
    return Claim(
        code="C4",
        says="The spectrograms differ by about 2 dB on average.",
        measured=(
            f"RMSE {stopped.text()} dB when a dream toward another instrument stops; "
            f"{fixed.text()} dB after {steps} steps; largest difference in the mean "
            f"{mean_of(grid, 'max_abs_db'):.0f} dB"
        ),
        verdict=_verdict(about, near),
        why=(
            "Rule: either mean is within 1.5 to 2.5 dB, in part 1 to 4 dB. The paper does not "
            "say when it stops, and where one stops decides the size: the figure is a setting "
            "as much as a finding."
        ),
    )


def pairs_claim(pairs: pd.DataFrame) -> Claim:
    """C5: dreamed-correct and dreamed-wrong differ more than either does from the original."""
    share = share_interval(pairs["farther"], pairs["recording"])
    rho = mean_interval(pairs["rho"], pairs["recording"])
    direction = "as at right angles"
    if np.isnan(rho.low):
        direction = "there are too few recordings to say more"
    elif rho.high < 1:
        direction = "the two changes share something"
    elif rho.low > 1:
        direction = "the two changes oppose each other"
    return Claim(
        code="C5",
        says=(
            "A dream toward the correct and one toward a wrong label differ more than either "
            "from the original, for most pairs."
        ),
        measured=(
            f"{share.text(0, '%')} of {len(pairs)} pairs; "
            f"rho = MSE(c, w) / (MSE(o, c) + MSE(o, w)) is {rho.text()}"
        ),
        verdict=_verdict(share.low > 0.5, share.estimate > 0.5),
        why=(
            "Rule: more than half, by the interval. Two changes of one size at right angles give "
            f"all pairs and rho = 1, so the claim alone proves little; here {direction}."
        ),
    )


def example_claim(examples: pd.DataFrame) -> Claim:
    """C6: Figure 2, a cello and a saxophone excerpt toward the others, a row for each dream."""
    wrong, share = rows_of(examples, toward="other"), mean_of(examples, "on_top")
    first = [str(labels).split(";")[0] for labels in examples.drop_duplicates("excerpt")["labels"]]
    names = ", ".join(instruments.name(code) for code in first)
    return Claim(
        code="C6",
        says="A cello and a saxophone excerpt can be dreamed toward the other instruments.",
        measured=(
            f"{examples['on_top'].sum()} of {len(examples)} dreams of {len(first)} "
            f"excerpts ({names}) have their target on top, "
            f"{wrong['at_0.9'].sum()} of {len(wrong)} toward others at 0.9 or more"
        ),
        verdict=_verdict(share == 1, share >= NEARLY_ALL),
        why="Examples, not a sample: see the figure. Rule: all, or in part from 90%.",
    )


def audible_claim(ways: pd.DataFrame) -> Claim:
    """C7: the change cannot be heard; by a masking model, from `summary_of` by way and kind."""
    dreams = rows_of(ways, kind="dream").to_dict("records")
    controls = {row["way"]: row for row in rows_of(ways, kind="undreamed").to_dict("records")}
    parts = [
        f"{row['way'].replace('_', ' ')} {row['masking_violation']:.1%} "
        f"({controls[row['way']]['masking_violation']:.1%}), {row['snr_db']:.0f} dB"
        for row in dreams
    ]
    survives = any(
        row["masking_violation"] <= NO_VIOLATION and row["survival"] >= IN_LOOP for row in dreams
    )
    return Claim(
        code="C7",
        says="When the dreams are sonified, the change cannot be heard.",
        measured=(
            "bins above the masking threshold (of the undreamed control), SNR: " + "; ".join(parts)
        ),
        verdict=_verdict(False, survives),
        why=(
            "By a masking model, not by ears: the ABX page is there for listeners. Rule: in part "
            f"where a way leaves at most {NO_VIOLATION:.0%} of the bins above the threshold and "
            f"{IN_LOOP:.0%} of its dreams survive as WAVs. The model takes a change for added "
            "noise; a gain of some decibels over a band can be heard as a change of timbre below "
            "that threshold."
        ),
    )


def sound_claim(ways: pd.DataFrame, in_loop: list[str]) -> Claim:
    """Ours: dreams sonified afterwards do not survive, those dreamed as sound (`in_loop`) do."""
    parts, after, inside = [], [], []
    for row in rows_of(ways, kind="dream").to_dict("records"):
        share = Interval(*(row[f"survival{end}"] for end in ("", "_low", "_high")))
        text = "(no dream to survive)"
        if not np.isnan(share.estimate):
            text = share.text(0, "%")
            (inside if row["way"] in in_loop else after).append(share.estimate)
        parts.append(f"{row['way'].replace('_', ' ')} {text}")
    fails, survives = all(one < AFTER_LOOP for one in after), all(one >= IN_LOOP for one in inside)
    verdict: Verdict = "not tested"
    if after and inside:
        verdict = _verdict(fails and survives, fails or survives)
    return Claim(
        code="E1",
        says=(
            "Not in the paper, our expectation: sonified afterwards, under 60% of the dreams "
            "survive as a WAV; dreamed as sound, at least 95%."
        ),
        measured="; ".join(parts),
        verdict=verdict,
        why=(
            "Rule: every way after the loop below 60%, every way inside at 95% or more; in part "
            "where one of the two is so. Of the dreams that succeed on the spectrogram."
        ),
    )


def pattern_claim(patterns: pd.DataFrame, dreams: str) -> Claim:
    """C8: dreamed noise shows a pattern for each instrument; `dreams`: how many, in words.

    One row of `patterns` for each `Consistency`, with `noise` and `compared`.
    """
    sure = (patterns["p"] < SIGNIFICANT) & (patterns["within"] > patterns["between"])
    parts = [
        f"{row['noise']}, {row['compared']}: {row['within']:.2f} against {row['between']:.2f} "
        f"(p = {row['p']:.4f}, d = {row['d']:.1f})"
        for row in patterns.to_dict("records")
    ]
    return Claim(
        code="C8",
        says="Dreamed noise shows a recurring pattern for each instrument (Figure 3).",
        measured=(
            f"{dreams}; correlation of residuals toward one target against different ones, "
            + "; ".join(parts)
        ),
        verdict=_verdict(bool(sure.all()), bool(sure.any())),
        why=(
            "Rule: residuals toward one target are more alike than toward different ones, "
            f"p < {SIGNIFICANT} by permutation, for each color, bin by bin and in the bands' "
            "means. A small r says that most of a dream is its noise's own."
        ),
    )


def alike_claim(distances: pd.DataFrame) -> Claim:
    """C9: by ear the dreamed noises are alike; here by the distance of band profiles."""
    medians = distances.groupby(["color", "pair"], sort=False)["profile_db"].median().unstack()
    own, apart, noises = (
        medians[pair] for pair in ("dream and its noise", "two targets, one noise", "two noises")
    )
    alike = np.array([own <= noises, apart <= noises])
    parts = [
        f"{color}: dream and its noise {own[color]:.2f} dB, dreams toward two "
        f"targets {apart[color]:.2f} dB, two undreamed noises {noises[color]:.2f} dB"
        for color in medians.index
    ]
    return Claim(
        code="C9",
        says="By ear the dreamed noises are alike.",
        measured="; ".join(parts),
        verdict=_verdict(bool(alike.all()), bool(alike.any())),
        why=(
            "By the RMSE between mean band levels of the WAVs, not by ears. Rule: dreams are no "
            "farther from their noise, nor from each other, than two undreamed noises are."
        ),
    )

"""Tables, figures, sounds and claims C8 and C9 of the dreamed noises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.paper import claims
from irdream.paper.figures import noise_figure
from irdream.paper.noise import NoiseFindings, by_noise
from irdream.paper.part import Part, axes, draw
from irdream.paper.study import Study
from irdream.reports.pages import Comparison, Picture, Section, Sound, Table
from irdream.reports.tables import records, rows_of, save_table

SHOWN_NOISES = 3
MEANS = {  # of the tables on the page: column, heading, format
    "Dreamed noise and its controls": {
        "target_probability": ("p", ".2f"),
        "on_top": ("on top", ".0%"),
        "wav_on_top": ("WAV on top", ".0%"),
        "transfer_on_top": ("transfer", ".0%"),
        "rmse_db": ("RMSE dB", ".2f"),
        "realized_correlation": ("realised r", ".2f"),
        "snr_db": ("SNR dB", ".1f"),
    },
    "What kind of sound it is": {
        "masking_violation": ("above mask", ".1%"),
        "flatness": ("flatness", ".2f"),
        "voiced_share": ("voiced", ".0%"),
        "total_variation_db": ("TV dB", ".2f"),
    },
}


def report_noise(found: NoiseFindings, study: Study, folder: Path) -> Part:
    """Write all files of the experiment and return what it has to say."""
    for dreams in found.found.values():
        dreams.copy_sounds(folder / "sounds")
    save_table(found.table, folder / "noises.csv")
    save_table(found.distances, folder / "noise_distances.csv")
    patterns = _pattern_table(found)
    save_table(patterns, folder / "patterns.csv")
    count = len(next(iter(found.noises.values())))
    of_log_mel = {
        (color, place): one
        for (color, ascent, place), one in found.patterns.items()
        if ascent == "log_mel"
    }
    sounds = rows_of(found.distances, ascent="log_mel")
    made = [
        claims.pattern_claim(of_log_mel, f"{count} noises of each color, {found.steps} steps"),
        claims.alike_claim(sounds),
    ]
    pictures = [_figure_3(found, color, study, folder) for color in found.noises]
    sections = [
        Section(
            title="Noise",
            paragraphs=[
                f"{count} white and {count} pink noises of one window, each dreamed toward every "
                f"instrument in {found.steps} steps without a stop. Undreamed noise is the "
                f"baseline: {_baseline(found)}.",
                "Outlined are bands that recur: brighter or darker in the dreams of all noises "
                "toward this instrument than toward the others, by a permutation test with the "
                "family-wise error at 5%, over the frames' mean, since the network can find its "
                "pattern at any time.",
            ],
            tables=[
                Table(
                    title="Is there a pattern for each instrument?",
                    frame=patterns,
                    digits=3,
                    caption=(
                        "Mean correlation of residuals (dream minus noise) of different noises, "
                        "toward one target and toward different ones; p by permutation of the "
                        "targets within each noise; Cohen's d; mean silhouette."
                    ),
                ),
                *(_measure_table(found, title) for title in MEANS),
            ],
            pictures=pictures,
        ),
        Section(
            title="Do the dreamed noises sound alike?",
            paragraphs=[
                "Median distances between the WAVs: frame by frame, and between the mean levels of "
                "the mel bands, in which two noises of one color are equal up to chance.",
            ],
            tables=[_distance_table(found)],
            comparisons=list(_comparisons(found, folder / "sounds")),
        ),
    ]
    return Part(
        claims=made, sections=sections, metrics=_metrics(found), data="white and pink noise"
    )


def _pattern_table(found: NoiseFindings) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "noise": color,
            "dreamed": ascent,
            "compared": place,
            "within": one.within,
            "between": one.between,
            "p": one.p_value,
            "d": one.effect_size,
            "silhouette": one.silhouette,
        }
        for (color, ascent, place), one in found.patterns.items()
    )


def _measure_table(found: NoiseFindings, title: str) -> Table:
    shown = {name: about for name, about in MEANS[title].items() if name in found.table}
    frame = _averaged(found.table, ["color", "ascent", "kind"], list(shown), "mean")
    headings = {name: heading for name, (heading, _) in shown.items()}
    frame.columns = ["color", "ascent", "kind", *headings.values()]
    return Table(
        title=title,
        frame=frame,
        formats=dict(shown.values()),
        caption=(
            "Means over the noises and targets. Sound: a gain on the noise's spectrum, after "
            "(log_mel) or in the loop (stft_gain)."
        )
        + _undefined(found.table, ["color", "ascent", "kind"], headings),
    )


def _distance_table(found: NoiseFindings) -> Table:
    measures = ["profile_db", "rmse_db"]
    frame = _averaged(found.distances, ["color", "ascent", "pair"], measures, "median")
    return Table(
        title="Distances of the sounds (dB)",
        frame=frame.rename(columns={"profile_db": "band means dB", "rmse_db": "by frame dB"}),
    )


def _averaged(table: pd.DataFrame, by: list[str], names: list[str], how: str) -> pd.DataFrame:
    """Return the mean or the median of columns for each group, in the order of the rows.

    What is not finite is left out; see `_undefined`.
    """
    finite = table[names].astype(float).replace([np.inf, -np.inf], np.nan)
    groups = pd.concat([table[by], finite], axis=1).groupby(by, sort=False)
    return groups.agg(dict.fromkeys(names, how)).reset_index()


def _undefined(table: pd.DataFrame, by: list[str], names: Mapping[str, str]) -> str:
    """Say of how many rows of each group a mean is not, where some have no finite value."""
    told = []
    for group, rows in table.groupby(by, sort=False):
        for name, heading in names.items():
            count = int((~np.isfinite(rows[name].to_numpy(dtype=float))).sum())
            if 0 < count < len(rows):
                told.append(f"{', '.join(map(str, group))}: {heading} of {count} of {len(rows)}")  # type: ignore[arg-type]
    return f" Left out, since not defined: {'; '.join(told)}." if told else ""


def _figure_3(found: NoiseFindings, color: str, study: Study, folder: Path) -> Picture:
    dreams, codes = found.found[color, "log_mel"], study.recognizer.instruments
    count = len(found.noises[color])
    planes = {name: by_noise(dreams.of(name), count) for name in ("original", "dream", "after")}
    targets = [codes.index(item.target) for item in dreams.items[: len(codes)]]
    reached = np.stack([planes["after"][:, t, code] for t, code in enumerate(targets)], axis=1)
    shown = slice(None, SHOWN_NOISES)
    figure = noise_figure(
        DB_PER_NATURAL * planes["original"][shown, 0],
        DB_PER_NATURAL * planes["dream"][shown],
        regions=found.regions[color],
        probabilities=reached[shown],
        mean_outputs=planes["after"].mean(axis=0),
        outputs_before=by_noise(dreams.of("before"), count)[:, 0].mean(axis=0),
        instruments=codes,
        **axes(study.recognizer),
        targets=targets,
        title=f"{color} noise, {found.steps} steps toward each instrument",
    )
    return draw(
        figure,
        folder / f"figure_3_{color}.png",
        title=f"The paper's Figure 3: {color} noise dreamed toward every instrument",
        caption=(
            f"The first {len(planes['original'][shown])} of {count} noises, and below them the "
            "mean difference of those; the outputs are means over all."
        ),
        alt="Rows of noises, columns of targets, mean differences and outputs below",
    )


def _baseline(found: NoiseFindings) -> str:
    """Tell what undreamed noises are heard as."""
    parts = []
    for color, noises in found.noises.items():
        dreams = found.found[color, "log_mel"]
        heard = by_noise(dreams.of("before"), len(noises))[:, 0]
        top = heard.argmax(axis=1)
        code = np.bincount(top).argmax()
        name = instruments.name(dreams.items[code].target)
        parts.append(
            f"{color} noise is heard as {name} in {int((top == code).sum())} of {len(noises)}, "
            f"with a mean probability of {heard[:, code].mean():.2f}"
        )
    return "; ".join(parts)


def _comparisons(found: NoiseFindings, sounds: Path) -> Iterator[Comparison]:
    for (color, ascent), dreams in found.found.items():
        rows = records(rows_of(dreams.table, kind="dream", excerpt=f"{color}-0"))
        yield Comparison(
            title=f"{color} noise, dreamed as {ascent}",
            picture=None,
            sounds=list(_sounds(sounds, rows)),
            caption="One noise toward every instrument.",
        )


def _sounds(folder: Path, rows: Sequence[dict]) -> Iterator[Sound]:
    first = rows[0]
    yield Sound(label="noise", path=folder / f"{first['file']}-{first['way']}-original.wav")
    for row in rows:
        yield Sound(
            label=instruments.name(row["target"]),
            path=folder / f"{row['file']}-{row['way']}-dream.wav",
            note=f"p {row['wav_target_probability']:.2f}",
        )


def _metrics(found: NoiseFindings) -> dict[str, float]:
    metrics = {}
    for (color, ascent, place), one in found.patterns.items():
        if ascent == "log_mel":
            key = f"paper/{color}/{'spectrogram' if place == 'in place' else 'bands'}"
            metrics[f"{key}_within"], metrics[f"{key}_p"] = one.within, one.p_value
    return metrics

"""What the experiments have to say: their files, and the claims and sections of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from irdream import instruments
from irdream.paper import claims, figures, pages
from irdream.paper.excerpts import ExcerptFindings, examples, first_of_each
from irdream.paper.noise import NoiseFindings
from irdream.recognizer import Recognizer
from irdream.reports.figures import save_figure
from irdream.reports.pages import Claim, Comparison, Picture, Section, Sound, Table
from irdream.reports.recognition import instrument_table, summary_table, write_report
from irdream.reports.tables import mean_of, rows_of, save_table

COMPARED = 4  # excerpts whose sounds stand side by side
ABX_TRIALS, ABX_WAYS = 16, ("gain", "stft_gain")


def report_excerpts(found: ExcerptFindings, recognizer: Recognizer, folder: Path) -> pages.Chapter:
    """Write all files of the first experiment and return its chapter."""
    for one in found.until_confident.values():
        one.copy_sounds(folder / "sounds")
    found.grid.copy_sounds(folder / "sounds" / "all_targets")
    of_ascent = {name: _one_row_each(one.table) for name, one in found.until_confident.items()}
    dreams, grid = of_ascent["log_mel"], _one_row_each(found.grid.table)
    sets = [one.assign(set=f"until confident, {name}") for name, one in of_ascent.items()]
    sets.append(grid.assign(set=f"log_mel, {found.steps} steps"))
    mse, rho = (
        found.pairs.pivot_table(index="own", columns="wrong", values=value)
        .reindex(index=recognizer.instruments, columns=recognizer.instruments)
        .reset_index()
        for value in ("mse_cw", "rho")
    )
    ways = pages.summary_of(rows_of(found.table, toward="other"), ["way", "kind"])
    before_after = pages.before_after_table(pd.concat(sets, ignore_index=True))
    tables = {
        "dreams": found.table, "all_targets": found.grid.table, "pairs": found.pairs, "ways": ways,
        "before_after": before_after, "distances": mse,
    }  # fmt: skip
    for name, table in tables.items():
        save_table(table, folder / f"{name}.csv")
    pairs = _listening_pairs(found, folder / "sounds")
    pages.write_abx(pairs, folder / "abx.html", trials=ABX_TRIALS, note=found.data)
    return pages.Chapter(
        claims=_excerpt_claims(found, dreams, grid, ways),
        sections=[
            _recognition(found, folder),
            _success(before_after, has_second=found.second is not None),
            _correct_against_wrong(mse, rho),
            _figure_2(found, recognizer, folder),
            _sounds(found, ways, folder),
        ],
        metrics=_excerpt_metrics(found, dreams, ways),
        data=found.data,
    )


def _excerpt_claims(
    found: ExcerptFindings, dreams: pd.DataFrame, grid: pd.DataFrame, ways: pd.DataFrame
) -> list[Claim]:
    in_loop = [name for name in found.until_confident if name != "log_mel"]
    shown = [found.excerpts[i].name for i in examples(found.excerpts)]
    return [
        claims.recognition_claim(found.report, found.report.intervals),
        claims.success_claim(dreams, "own"),
        claims.success_claim(dreams, "other"),
        claims.size_claim(dreams, grid, found.steps),
        claims.pairs_claim(found.pairs),
        claims.example_claim(rows_of(grid, excerpt=shown)),
        claims.audible_claim(ways),
        *([claims.sound_claim(ways, in_loop)] if in_loop else []),
    ]


def _correct_against_wrong(mse: pd.DataFrame, rho: pd.DataFrame) -> Section:
    return Section(
        title="Correct against wrong",
        paragraphs=[
            "The mean squared difference between a dream toward the excerpt's own label and one "
            "toward a wrong label, and rho, which relates it to the size of both changes: 1 at "
            "right angles; below, the changes share something."
        ],
        tables=[
            Table(title="MSE between correct and wrong (dB²)", frame=mse, digits=1),
            Table(title="Rho", frame=rho),
        ],
    )


def _recognition(found: ExcerptFindings, folder: Path) -> Section:
    titles = {"scores.png": "The paper's Figure 1: the recogniser", "confusion.png": "Confusion"}
    caption = f"{found.report.dataset}; {found.data}."
    pictures = [
        _picture(path, titles[path.name], caption)
        for path in write_report(found.report, folder / "recognition")
        if path.name in titles
    ]
    systems, caption = rows_of(summary_table(found.report), group="all"), ""
    if found.second is not None:
        ours, other = len(found.report.settings), summary_table(found.second).iloc[:1]
        other = other.assign(system=other["system"].str.replace("irdream", "second"))
        systems = pd.concat([systems[:ours], other, systems[ours:]], ignore_index=True)
        caption = "The second recogniser predicts the dreams of the first, for the transfer."
    columns = ["system", "data", "excerpts", "micro_f1", "macro_f1", "top1", "note"]
    headings = {"micro_f1": "micro F1", "macro_f1": "macro F1", "top1": "top-1"}
    title = "Averages beside published systems"
    systems = pd.DataFrame(systems).filter(columns).rename(columns=headings)
    return Section(
        title="The recogniser",
        paragraphs=[
            "Published scores are on the recorded IRMAS test set and can be compared with nothing "
            "else."
        ],
        tables=[
            Table(title="By instrument", frame=instrument_table(found.report), digits=3),
            Table(title=title, frame=systems, digits=3, caption=caption),
        ],
        pictures=pictures,
    )


def _success(table: pd.DataFrame, *, has_second: bool) -> Section:
    about = ["dreams", "toward", "n"]
    shares = ["top before", "top", "≥ 0.9", *(["transfer"] if has_second else [])]
    steps = ["steps", "flipped", "to flip", "reached 0.9", "to 0.9"]
    return Section(
        title="Confidence and accuracy, before and after",
        paragraphs=[
            "Until confident: a dream stops when its target has the confidence; an excerpt that "
            "has it from the start does not change. With a fixed number of steps every dream "
            "moves, and the last iterate is taken. Steps are medians, those to a flip (the target "
            "first on top) and to 0.9 over the dreams that got there, whose shares stand beside "
            "them; all else are means over all dreams."
        ],
        tables=[
            Table(
                title="Before and after",
                frame=table.filter([*about, *shares, "p before", "p", "least p"]),
                formats=dict.fromkeys(shares, ".0%"),
                caption="Transfer: the second recogniser has the target on top." * has_second,
            ),
            Table(
                title="Steps, and the size of the change",
                frame=table.filter([*about, "unchanged", *steps, "RMSE dB", "MSE dB²", "max dB"]),
                formats=dict(zip(steps, (".1f", ".0%", ".1f", ".0%", ".1f"), strict=True)),
                caption="RMSE, MSE and the largest difference are between log-mels in dB (C4).",
            ),
        ],
    )


def _figure_2(found: ExcerptFindings, recognizer: Recognizer, folder: Path) -> Section:
    shown = [found.excerpts[i] for i in examples(found.excerpts)]
    return Section(
        title=f"Examples: {' and '.join(instruments.name(one.labels[0]) for one in shown)}",
        paragraphs=["Excerpts toward every instrument, all panels on one scale of dB."],
        pictures=[
            _picture(
                folder / "figure_2.png",
                "The paper's Figure 2: excerpts dreamed toward every instrument",
                "Below each panel the recogniser's outputs, and dream minus original.",
                figures.targets_figure(found, recognizer),
            )
        ],
        comparisons=[
            _toward_all(
                f"{one.name} toward every instrument",
                rows_of(found.grid.table, excerpt=one.name, kind="dream"),
                folder / "sounds" / "all_targets",
                "The log-mel dreams of the figure, as a gain on the original's spectrum.",
            )
            for one in shown
        ],
    )


def _sounds(found: ExcerptFindings, ways: pd.DataFrame, folder: Path) -> Section:
    named = ways.assign(way=[pages.WAY_NAMES.get(way, way) for way in ways["way"]])
    title, caption = "Ways from a dream to sound", "Dots with 95% intervals by bootstrap."
    return Section(
        title="From a dream to sound",
        paragraphs=[
            "Dreams toward a random other instrument, until confident, each written as a 16-bit "
            "WAV, read back and analyzed anew; and two controls: the undreamed excerpt through the "
            "same sonification, and a random change of equal RMSE. After: made of the log-mel "
            "dream. In the loop: the gain on the spectrum, or the waveform, is what is dreamed. A "
            "blinded listening test is in excerpts/abx.html, in the folder of the run.",
            "Survival: of the dreams with 0.9 on the spectrogram, the share that has it on the "
            "WAV (of controls the share of all). Realised r: correlation between the change that "
            "was wanted and the one in the WAV. Shares are means, the others medians; "
            "excerpts/ways.csv has their intervals.",
        ],
        tables=pages.page_tables(named, ["way", "kind"], pages.WAY_TABLES),
        pictures=[_picture(folder / "ways.png", title, caption, figures.ways_figure(named))],
        comparisons=list(_every_way(found, folder / "sounds")),
    )


def _every_way(found: ExcerptFindings, folder: Path) -> Iterator[Comparison]:
    """Return of one excerpt an instrument the sounds of its dream toward another, in every way."""
    caption = (
        "Each sound is the WAV that was written and read, scaled down where it exceeds full scale; "
        "the original has the scale of the gain."
    )
    heads = {"dream": "", "undreamed": "undreamed: "}
    labels = sorted({excerpt.labels[0] for excerpt in found.excerpts})
    for excerpt in [found.excerpts[i] for i in first_of_each(found.excerpts, labels, 1)][:COMPARED]:
        rows = rows_of(found.table, excerpt=excerpt.name, toward="other").to_dict("records")
        original = folder / f"{rows[0]['file']}-gain-original.wav"
        sounds = [Sound(label="original", path=original, note=f"p {rows[0]['before']:.2f}")]
        for row in rows:
            kind, way = row["kind"], row["way"]
            if kind == "dream" or (kind, way) == ("undreamed", "fast_griffin_lim"):
                sounds.append(_sound(row, heads[kind] + (pages.WAY_NAMES.get(way) or way), folder))
        own = ", ".join(map(instruments.name, excerpt.labels))
        title = f"{excerpt.name} ({own}) toward {instruments.name(rows[0]['target'])}"
        yield Comparison(title=title, sounds=sounds, caption=caption)


def _listening_pairs(found: ExcerptFindings, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return originals and dreams toward another instrument, in two ways to sound."""
    pairs = {}
    for way in ABX_WAYS:
        rows = rows_of(found.table, kind="dream", toward="other", way=way).to_dict("records")
        rows = [row for row in rows if (folder / f"{row['file']}-{way}-dream.wav").is_file()]
        for row in rows[: ABX_TRIALS // len(ABX_WAYS)]:
            name = f"{row['excerpt']} toward {instruments.name(row['target'])}, {way}"
            original, dream = (f"{row['file']}-{way}-{kind}.wav" for kind in ("original", "dream"))
            pairs[name] = (folder / original, folder / dream)
    return pairs


def _excerpt_metrics(
    found: ExcerptFindings, dreams: pd.DataFrame, ways: pd.DataFrame
) -> dict[str, float]:
    metrics = {name.replace("eval/", "paper/"): x for name, x in found.report.metrics().items()}
    own, other = (rows_of(dreams, toward=toward) for toward in ("own", "other"))
    metrics |= {
        "paper/c2_at_0.9": mean_of(own, "at_0.9"),
        "paper/c3_at_0.9": mean_of(other, "at_0.9"),
        "paper/c4_rmse_db": mean_of(other, "rmse_db"),
        "paper/c5_share": mean_of(found.pairs, "farther"),
        "paper/c5_rho": mean_of(found.pairs.dropna(subset=["rho"]), "rho"),
    }
    measures = ["survival", "snr_db", "masking_violation", "realized_correlation"]
    for row in rows_of(ways, kind="dream").to_dict("records"):
        for name in [*measures, *(f"{name}_undefined" for name in measures), "unchanged"]:
            metrics[f"paper/{row['way']}/{name}"] = float(row.get(name, np.nan))
    return {name: x for name, x in metrics.items() if np.isfinite(x)}


def report_noise(found: NoiseFindings, recognizer: Recognizer, folder: Path) -> pages.Chapter:
    """Write all files of the second experiment and return its chapter."""
    for dreams in found.found.values():
        dreams.copy_sounds(folder / "sounds")
    tables = {"noises": found.table, "noise_distances": found.distances, "patterns": found.patterns}
    for name, table in tables.items():
        save_table(table, folder / f"{name}.csv")
    of_log_mel, metrics = rows_of(found.patterns, dreamed="log_mel"), {}
    for row in of_log_mel.to_dict("records"):
        place = "spectrogram" if row["compared"] == "in place" else "bands"
        for value in ("within", "p"):
            metrics[f"paper/{row['noise']}/{place}_{value}"] = row[value]
    dreams = f"{found.count} noises of each color, {found.steps} steps"
    return pages.Chapter(
        claims=[
            claims.pattern_claim(of_log_mel, dreams),
            claims.alike_claim(rows_of(found.distances, ascent="log_mel")),
        ],
        sections=[_noise(found, recognizer, folder), _alike(found, folder / "sounds")],
        metrics=metrics,
        data="white and pink noise",
    )


def _noise(found: NoiseFindings, recognizer: Recognizer, folder: Path) -> Section:
    count, by = found.count, ["color", "ascent", "kind"]
    measures = list(chain(*pages.NOISE_TABLES.values()))
    means = pages.summary_of(found.table, by, medians=(), means=measures)
    patterns = (
        "Mean correlation of residuals (dream minus noise) of different noises, toward one target "
        "and toward different ones; p by permutation of the targets within each noise; Cohen's d; "
        "mean silhouette."
    )
    sound = (
        "Means over the noises and targets. Sound: a gain on the noise's spectrum, after (log_mel) "
        "or in the loop (stft_gain). "
    )
    title = "Is there a pattern for each instrument?"
    return Section(
        title="Noise",
        paragraphs=[
            f"{count} white and {count} pink noises of one window, each dreamed toward every "
            f"instrument in {found.steps} steps without a stop. Undreamed noise is the baseline: "
            f"{_baseline(found)}.",
            "Outlined are bands that recur: brighter or darker in the dreams toward this "
            "instrument than toward the others, by a permutation test with the family-wise error "
            "at 5%, over the frames' mean, since the network can find its pattern at any time.",
        ],
        tables=[
            Table(title=title, frame=found.patterns, digits=3, caption=patterns),
            *pages.page_tables(means, by, pages.NOISE_TABLES, sound),
        ],
        pictures=[
            _picture(
                folder / f"figure_3_{color}.png",
                f"The paper's Figure 3: {color} noise dreamed toward every instrument",
                f"The first of {count} noises, and below them the mean difference of those; the "
                "outputs are means over all.",
                figures.noise_figure(found, color, recognizer),
            )
            for color in found.bands
        ],
    )


def _alike(found: NoiseFindings, folder: Path) -> Section:
    columns = {"profile_db": "band means dB", "rmse_db": "by frame dB"}
    medians = found.distances.groupby(["color", "ascent", "pair"], sort=False).median()
    distances = medians.filter(list(columns)).rename(columns=columns).reset_index()
    return Section(
        title="Do the dreamed noises sound alike?",
        paragraphs=[
            "Median distances between the WAVs: frame by frame, and between the mean levels of "
            "the mel bands, in which two noises of one color are equal up to chance."
        ],
        tables=[Table(title="Distances of the sounds (dB)", frame=distances)],
        comparisons=[
            _toward_all(
                f"{color} noise, dreamed as {ascent}",
                rows_of(dreams.table, excerpt=f"{color}-0", kind="dream"),
                folder,
                "One noise toward every instrument.",
            )
            for (color, ascent), dreams in found.found.items()
        ],
    )


def _baseline(found: NoiseFindings) -> str:
    """Say what undreamed noises are recognized as."""
    parts = []
    for color in found.bands:
        rows = rows_of(found.table, color=color, ascent="log_mel", kind="dream")
        code = rows_of(rows, before_on_top=True)["target"].mode()[0]
        of_code = rows_of(rows, target=code)
        parts.append(
            f"{color} noise is recognized as {instruments.name(str(code))} in "
            f"{of_code['before_on_top'].sum()} of {found.count}, "
            f"with a mean probability of {of_code['before'].mean():.2f}"
        )
    return "; ".join(parts)


def _one_row_each(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a dream: the measures of the spectrogram are the same for every way."""
    return rows_of(table, kind="dream", way=table["way"].iloc[0])


def _toward_all(title: str, rows: pd.DataFrame, folder: Path, caption: str) -> Comparison:
    """Return the sounds of one excerpt and of its dreams toward every instrument."""
    dreams = rows.to_dict("records")
    original = folder / f"{dreams[0]['file']}-{dreams[0]['way']}-original.wav"
    sounds = [Sound(label="original", path=original)]
    sounds += [_sound(row, instruments.name(row["target"]), folder) for row in dreams]
    return Comparison(title=title, sounds=sounds, caption=caption)


def _sound(row: Mapping[str, Any], label: str, folder: Path) -> Sound:
    path = folder / f"{row['file']}-{row['way']}-{row['kind']}.wav"
    note = f"p {row['wav_target_probability']:.2f}, SNR {row['snr_db']:.0f} dB"
    return Sound(label=label, path=path, note=note)


def _picture(path: Path, title: str, caption: str, figure: Figure | None = None) -> Picture:
    """Return a PNG as a picture of the page; draw it first where a figure is given."""
    if figure is not None:
        save_figure(figure, path)
    alt = f"{title}. {caption} The numbers are in the tables."
    return Picture(title=title, path=path, caption=caption, alt=alt)

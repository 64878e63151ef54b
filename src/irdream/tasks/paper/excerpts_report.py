"""Tables, figures, sounds and claims C1 to C7 of the excerpts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.evaluation import claims
from irdream.evaluation.abx import AbxPair, write_abx
from irdream.evaluation.dreams import DB_PER_NATURAL
from irdream.evaluation.figures import save_figure, spectrograms_figure
from irdream.evaluation.paper_charts import before_after_figure, distance_figure, ways_figure
from irdream.evaluation.paper_figures import targets_figure
from irdream.evaluation.report import Comparison, Picture, Section, Sound, Table
from irdream.evaluation.tables import (
    instrument_table,
    mean_of,
    records,
    rows_of,
    save_table,
    summary_table,
)
from irdream.tasks.evaluate import write_report
from irdream.tasks.paper.excerpts import ExcerptFindings, examples, first_of_each
from irdream.tasks.paper.part import Part, draw
from irdream.tasks.paper.study import Found, Study

COMPARED = 4  # excerpts whose sounds stand side by side
ABX_TRIALS = 16
ABX_WAYS = ("gain", "stft_gain")
WAY_NAMES = {
    "gain": "gain, after",
    "mel_inversion": "mel inversion, after",
    "griffin_lim": "Griffin-Lim, after",
    "fast_griffin_lim": "fast Griffin-Lim, after",
    "stft_gain": "gain, in the loop",
    "waveform": "waveform, in the loop",
}
SHOWN = {  # of ways.csv on the page: tables of column, heading, format
    "What is left of a dream in the sound": {
        "survival": ("survival", ".0%"),
        "wav_on_top": ("WAV on top", ".0%"),
        "wav_target_probability": ("p on WAV", ".2f"),
        "realized_correlation": ("realised r", ".2f"),
        "transfer_on_top": ("transfer", ".0%"),
        "transfer_wav_on_top": ("of WAV", ".0%"),
    },
    "How far the sound is from the original": {
        "rmse_db": ("RMSE dB", ".2f"),
        "wav_rmse_db": ("of WAV", ".2f"),
        "snr_db": ("SNR dB", ".1f"),
        "segmental_snr_db": ("segmental", ".1f"),
        "db_x": ("dB_x", ".1f"),
        "log_spectral_distance_db": ("LSD dB", ".1f"),
        "masking_violation": ("above mask", ".1%"),
        "noise_to_mask_db": ("NMR dB", ".1f"),
        "visqol": ("ViSQOL", ".2f"),
    },
    "What kind of sound it is": {
        "flatness": ("flatness", ".4f"),
        "voiced_share": ("voiced", ".0%"),
        "total_variation_db": ("TV dB", ".2f"),
    },
}


def report_excerpts(found: ExcerptFindings, study: Study, folder: Path) -> Part:
    """Write all files of the experiment and return what it has to say."""
    for one in found.until_heard.values():
        one.copy_sounds(folder / "sounds")
    found.grid.copy_sounds(folder / "sounds" / "all_targets")
    dreams = _only_dreams(found.until_heard["log_mel"].table)
    grid = _only_dreams(found.grid.table)
    save_table(found.table, folder / "dreams.csv")
    save_table(found.grid.table, folder / "all_targets.csv")
    save_table(found.pairs, folder / "pairs.csv")
    others = rows_of(found.table, toward="other")
    ways = claims.ways_table(others)
    save_table(ways, folder / "ways.csv")
    f1 = claims.recognition_intervals(found.report)
    in_loop = [name for name in study.ascents if name != "log_mel"]
    example_names = [found.excerpts[i].name for i in examples(found.excerpts)]
    made = [
        claims.recognition_claim(found.report, f1),
        claims.success_claim(dreams, "own"),
        claims.success_claim(dreams, "other"),
        claims.size_claim(dreams, grid, found.grid_steps),
        claims.pairs_claim(found.pairs),
        claims.example_claim(rows_of(grid, excerpt=example_names)),
        claims.audible_claim(ways),
    ]
    if in_loop:
        made.append(claims.sound_claim(ways, in_loop))
    sections = [
        _recognition(found, folder),
        _success(found, dreams, grid, folder),
        _distances(found, study, folder),
        _figure_2(found, study, folder),
        _sound(found, study, ways, folder),
    ]
    _write_abx(found, folder)
    return Part(
        claims=made, sections=sections, metrics=_metrics(ways, dreams, found), data=found.data
    )


def _only_dreams(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a dream: what is measured on the spectrogram is the same for every way."""
    return rows_of(table, kind="dream", way=table["way"].iloc[0])


def _recognition(found: ExcerptFindings, folder: Path) -> Section:
    paths = write_report(found.report, folder / "recognition")
    names = {"scores.png": "The paper's Figure 1: the recogniser", "confusion.png": "Confusion"}
    pictures = [
        Picture(
            title=names[path.name],
            path=path,
            caption=f"{found.report.dataset}; {found.data}.",
            alt=f"{names[path.name]}: see the tables for the numbers",
        )
        for path in paths
        if path.suffix == ".png"
    ]
    return Section(
        title="The recogniser",
        paragraphs=[
            "Precision, recall and F1 by instrument, and the averages beside published systems. "
            "Published scores are on the recorded IRMAS test set and can be compared with nothing "
            "else.",
        ],
        tables=[
            Table(title="By instrument", frame=instrument_table(found.report), digits=3),
            _averages(found),
        ],
        pictures=pictures,
    )


def _averages(found: ExcerptFindings) -> Table:
    """Return ours, those of the second recognizer, and the published ones."""
    summary, ours, caption = summary_table(found.report), len(found.report.averages), ""
    if found.second is not None:
        rows = summary_table(found.second).iloc[:1]
        rows = rows.assign(system=rows["system"].str.replace("irdream", "second"))
        summary = pd.concat([summary[:ours], rows, summary[ours:]], ignore_index=True)
        caption = "The second recogniser hears the dreams of the first, for the transfer."
    headings = {"micro_f1": "micro F1", "macro_f1": "macro F1", "top1": "top-1"}
    shown = ["system", "data", "excerpts", *headings, "note"]
    frame = pd.DataFrame({headings.get(name, name): summary[name] for name in shown})
    title = "Averages beside published systems"
    return Table(title=title, frame=frame, digits=3, caption=caption)


def _success(
    found: ExcerptFindings, dreams: pd.DataFrame, grid: pd.DataFrame, folder: Path
) -> Section:
    sets = [
        _only_dreams(one.table).assign(set=f"until heard, {name}")
        for name, one in found.until_heard.items()
    ]
    fixed = grid.assign(set=f"log_mel, {found.grid_steps} steps")
    table = claims.before_after_table(pd.concat([*sets, fixed], ignore_index=True))
    save_table(table, folder / "before_after.csv")
    shares, caption = ["top before", "top", "≥ 0.9"], ""
    if found.second is not None:
        shares.append("transfer")
        caption = "Transfer: the second recogniser has the target on top."
    heard, moved = ["p before", "p", "least p"], ["RMSE dB", "MSE dB²", "max dB"]
    steps = ["steps", "to flip", "to 0.9"]
    figure = before_after_figure(
        dreams["before"],
        dreams["target_probability"],
        dreams["toward"] == "own",
        confidence=0.9,
        title="until heard, log-mel",
    )
    return Section(
        title="Confidence and accuracy, before and after",
        paragraphs=[
            "Until heard: a dream stops when its target has the confidence; an excerpt that has it "
            "from the start does not change. With a fixed number of steps every dream moves, and "
            "the last iterate is taken. Steps are medians, over the dreams that got there; all "
            "else are means.",
        ],
        tables=[
            Table(
                title="Before and after",
                frame=table.filter(["dreams", "toward", "n", *shares, *heard]),
                formats=dict.fromkeys(shares, ".0%"),
                caption=caption,
            ),
            Table(
                title="Steps, and the size of the change",
                frame=table.filter(["dreams", "toward", "n", *steps, *moved]),
                formats=dict.fromkeys(steps, ".1f"),
                caption=(
                    "RMSE, MSE and the largest difference are between log-mels in dB of magnitude "
                    "(C4)."
                ),
            ),
        ],
        pictures=[
            draw(
                figure,
                folder / "before_after.png",
                title="Target probability before and after",
                caption="A line is a dream; the diamonds are means.",
                alt="Target probabilities rise from before to after; the numbers are in the table",
            )
        ],
    )


def _distances(found: ExcerptFindings, study: Study, folder: Path) -> Section:
    codes = list(study.recognizer.instruments)
    mse, rho = (
        found.pairs.pivot_table(index="own", columns="wrong", values=value)
        .reindex(index=codes, columns=codes)
        .to_numpy()
        for value in ("mse_cw", "rho")
    )
    figure = distance_figure(mse, rho, codes, title=f"{found.grid_steps} steps, log-mel")
    frame = pd.DataFrame(mse, columns=codes)
    frame.insert(0, "own", codes)
    save_table(frame, folder / "distances.csv")
    return Section(
        title="Correct against wrong",
        paragraphs=[
            "The mean squared difference between a dream toward the excerpt's own label and one "
            "toward a wrong label, and rho, which relates it to the size of both changes.",
        ],
        tables=[Table(title="MSE between correct and wrong (dB²)", frame=frame, digits=1)],
        pictures=[
            draw(
                figure,
                folder / "distances.png",
                title="Distances of dreams (C5)",
                caption="Rho of 1: right angles; below, the changes share something.",
                alt="Two heat maps of eleven own labels by eleven wrong targets",
            )
        ],
    )


def _figure_2(found: ExcerptFindings, study: Study, folder: Path) -> Section:
    codes = study.recognizer.instruments
    rows = examples(found.excerpts)
    labels = [found.excerpts[e].labels[0] for e in rows]
    places = [[i for i, item in enumerate(found.grid.items) if item.excerpt == e] for e in rows]
    log_mel, heard = found.grid.planes, found.grid.planes
    figure = targets_figure(
        [DB_PER_NATURAL * log_mel["original"][of[0]] for of in places],
        [[DB_PER_NATURAL * log_mel["dream"][i] for i in of] for of in places],
        row_names=[found.excerpts[e].name for e in rows],
        instruments=codes,
        probabilities_before=np.stack([heard["before"][of[0]] for of in places]),
        probabilities=np.stack([[heard["after"][i] for i in of] for of in places]),
        own=[codes.index(label) for label in labels],
        title=f"{found.grid_steps} steps toward each instrument ({found.data})",
        **_axes(study),
    )
    return Section(
        title=f"Examples: {' and '.join(map(instruments.name, labels))}",
        paragraphs=["Excerpts toward every instrument, all panels on one scale of dB."],
        pictures=[
            draw(
                figure,
                folder / "figure_2.png",
                title="The paper's Figure 2: excerpts dreamed toward every instrument",
                caption="Below each panel the recogniser's outputs, and dream minus original.",
                alt="Rows of log-mel spectrograms, bars of eleven outputs and difference panels",
            )
        ],
        comparisons=[_example(found, e, folder / "sounds" / "all_targets") for e in rows],
    )


def _example(found: ExcerptFindings, excerpt: int, sounds: Path) -> Comparison:
    """Return the sounds of one excerpt toward every instrument."""
    name = found.excerpts[excerpt].name
    rows = records(rows_of(found.grid.table, excerpt=name, kind="dream"))
    first = sounds / f"{rows[0]['file']}-{rows[0]['way']}-original.wav"
    dreams = [
        Sound(
            label=instruments.name(row["target"]),
            path=sounds / f"{row['file']}-{row['way']}-dream.wav",
            note=f"p {row['wav_target_probability']:.2f}, SNR {row['snr_db']:.0f} dB",
        )
        for row in rows
    ]
    return Comparison(
        title=f"{name} toward every instrument",
        picture=None,
        sounds=[Sound(label="original", path=first), *dreams],
        caption="The log-mel dreams of the figure, as a gain on the original's spectrum.",
    )


def _sound(found: ExcerptFindings, study: Study, ways: pd.DataFrame, folder: Path) -> Section:
    named = ways.assign(way=ways["way"].map(lambda way: WAY_NAMES.get(way, way)))
    return Section(
        title="From a dream to sound",
        paragraphs=[
            "Dreams toward a random other instrument, until heard. Each is written as a 16-bit "
            "WAV, read back and heard anew. Beside each dream stand its controls: the undreamed "
            "excerpt through the same sonification, and a random change of equal RMSE. A blinded "
            "listening test is in excerpts/abx.html, in the folder of the run.",
            "After: made of the log-mel dream, by a gain on the original's spectrum, by mel "
            "inversion with the original's phase, or by Griffin-Lim. In the loop: the gain, or the "
            "waveform, is what is dreamed.",
            "Survival: of the dreams with 0.9 on the spectrogram, the share that has it on the "
            "WAV (of controls the share of all). Realised r: correlation between the change that "
            "was wanted and the one in the WAV. Survival, on top, transfer and the share of bins "
            "above the masking threshold are means, the others medians; excerpts/ways.csv has "
            "their intervals.",
        ],
        tables=[_way_table(title, named) for title in SHOWN],
        pictures=[
            draw(
                ways_figure(named),
                folder / "ways.png",
                title="Ways from a dream to sound",
                caption="Dots with 95% intervals by bootstrap over recordings.",
                alt="Dots of survival, correlation, SNR and masking violation for each way",
            )
        ],
        comparisons=list(_comparisons(found, study, folder)),
    )


def _way_table(title: str, ways: pd.DataFrame) -> Table:
    shown = {name: about for name, about in SHOWN[title].items() if name in ways}
    frame = ways.filter(["way", "kind", *shown])
    frame.columns = ["way", "kind", *(heading for heading, _ in shown.values())]
    return Table(title=title, frame=frame, formats=dict(shown.values()))


def _comparisons(found: ExcerptFindings, study: Study, folder: Path) -> Iterator[Comparison]:
    """Yield the sounds of some dreams toward another instrument, in every way."""
    log_mel = found.until_heard["log_mel"]
    chosen = first_of_each(found.excerpts, sorted({e.labels[0] for e in found.excerpts}), 1)
    for excerpt in chosen[:COMPARED]:
        labels = found.excerpts[excerpt].labels
        place, item = next(
            (i, item)
            for i, item in enumerate(log_mel.items)
            if item.excerpt == excerpt and item.target not in labels
        )
        name = found.excerpts[excerpt].name
        rows = records(rows_of(found.table, excerpt=name, target=item.target))
        file = rows[0]["file"]
        picture = folder / "spectrograms" / f"{file}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        save_figure(_pair_figure(log_mel, place, item.target, study), picture)
        yield Comparison(
            title=(
                f"{name} ({', '.join(map(instruments.name, labels))}) "
                f"toward {instruments.name(item.target)}"
            ),
            picture=picture,
            sounds=list(_sounds(folder / "sounds", rows, file)),
            caption="The log-mel dream. Each sound is the WAV that was written and heard.",
        )


def _sounds(sounds: Path, rows: list[dict], file: str) -> Iterator[Sound]:
    original = sounds / f"{file}-gain-original.wav"
    yield Sound(label="original", path=original, note=f"p {rows[0]['before']:.2f}")
    for row in rows:
        if row["kind"] != "dream" and not (
            row["kind"] == "undreamed" and row["way"] == "fast_griffin_lim"
        ):
            continue
        name = WAY_NAMES.get(row["way"], row["way"])
        yield Sound(
            label=name if row["kind"] == "dream" else f"undreamed: {name}",
            path=sounds / f"{file}-{row['way']}-{row['kind']}.wav",
            note=f"p {row['wav_target_probability']:.2f}, SNR {row['snr_db']:.0f} dB",
        )


def _pair_figure(found: Found, i: int, target: str, study: Study):
    return spectrograms_figure(
        DB_PER_NATURAL * found.planes["original"][i],
        DB_PER_NATURAL * found.planes["dream"][i],
        instruments=study.recognizer.instruments,
        probabilities_before=found.planes["before"][i],
        probabilities_after=found.planes["after"][i],
        target=target,
        confidence=study.confidence,
        **_axes(study),
    )


def _axes(study: Study) -> dict:
    recognizer = study.recognizer
    return {
        "hop_seconds": recognizer.hop_samples / recognizer.sample_rate_hz,
        "mel_frequencies_hz": recognizer.mel_centers_hz().numpy(),
    }


def _write_abx(found: ExcerptFindings, folder: Path) -> None:
    """Write the listening test: dreams toward another instrument in two ways to sound."""
    pairs = []
    for way in ABX_WAYS:
        rows = records(rows_of(found.table, kind="dream", toward="other", way=way))
        of_way = [(row, folder / "sounds" / f"{row['file']}-{way}") for row in rows]
        pairs += [
            AbxPair(
                name=f"{row['excerpt']} toward {instruments.name(row['target'])}, {way}",
                original=file.with_name(f"{file.name}-original.wav"),
                dream=file.with_name(f"{file.name}-dream.wav"),
            )
            for row, file in of_way
            if file.with_name(f"{file.name}-dream.wav").is_file()
        ][: ABX_TRIALS // len(ABX_WAYS)]
    write_abx(pairs, folder / "abx.html", trials=ABX_TRIALS, note=found.data)


def _metrics(ways: pd.DataFrame, dreams: pd.DataFrame, found: ExcerptFindings) -> dict[str, float]:
    metrics = {f"paper/{name}": x for name, x in found.report.metrics().items() if "/" in name}
    metrics = {name.replace("eval/", ""): x for name, x in metrics.items()}
    for toward, code in (("own", "c2"), ("other", "c3")):
        metrics[f"paper/{code}_success"] = mean_of(rows_of(dreams, toward=toward), "success")
    metrics["paper/c4_rmse_db"] = mean_of(rows_of(dreams, toward="other"), "rmse_db")
    metrics["paper/c5_share"] = mean_of(found.pairs, "farther")
    metrics["paper/c5_rho"] = mean_of(found.pairs, "rho")
    for row in records(rows_of(ways, kind="dream")):
        for name in ("survival", "snr_db", "masking_violation", "realized_correlation"):
            metrics[f"paper/{row['way']}/{name}"] = float(row[name])
    return {name: x for name, x in metrics.items() if np.isfinite(x)}

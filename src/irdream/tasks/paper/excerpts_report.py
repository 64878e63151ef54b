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
    "gain": "gain on the original's spectrum, after",
    "mel_inversion": "mel inversion, original phase, after",
    "griffin_lim": "Griffin-Lim, after",
    "fast_griffin_lim": "fast Griffin-Lim, after",
    "stft_gain": "gain dreamed in the loop",
    "waveform": "waveform dreamed in the loop",
}
SHOWN = {  # of ways.csv on the page: column, heading, format
    "survival": ("survival", ".0%"),
    "realized_correlation": ("realised r", ".2f"),
    "wav_on_top": ("on top of WAV", ".0%"),
    "wav_target_probability": ("p on WAV", ".2f"),
    "rmse_db": ("RMSE dB", ".2f"),
    "wav_rmse_db": ("RMSE of WAV dB", ".2f"),
    "snr_db": ("SNR dB", ".1f"),
    "segmental_snr_db": ("segmental SNR dB", ".1f"),
    "db_x": ("dB_x", ".1f"),
    "log_spectral_distance_db": ("LSD dB", ".1f"),
    "masking_violation": ("above mask", ".1%"),
    "noise_to_mask_db": ("NMR dB", ".1f"),
    "visqol": ("ViSQOL", ".2f"),
    "transfer_on_top": ("transfer", ".0%"),
    "transfer_wav_on_top": ("transfer of WAV", ".0%"),
    "flatness": ("flatness", ".4f"),
    "voiced_share": ("voiced", ".0%"),
    "total_variation_db": ("TV dB", ".2f"),
}


def report_excerpts(found: ExcerptFindings, study: Study, folder: Path) -> Part:
    """Write all files of the experiment and return what it has to say."""
    folder.mkdir(parents=True, exist_ok=True)
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
    tables = [summary_table(found.report)]
    if found.second is not None:
        rows = summary_table(found.second).iloc[:1]
        tables.insert(0, rows.assign(system=rows["system"].str.replace("irdream", "second")))
    summary = pd.concat(tables, ignore_index=True)
    kept = ["system", "data", "excerpts", "micro_f1", "macro_f1", "top1", "note"]
    return Section(
        title="The recogniser",
        paragraphs=[
            "Precision, recall and F1 by instrument, and the averages beside published systems. "
            "Published scores are on the recorded IRMAS test set and can be compared with nothing "
            "else.",
        ],
        tables=[
            Table(title="By instrument", frame=instrument_table(found.report), digits=3),
            Table(
                title="Averages beside published systems",
                frame=summary.filter(kept),
                digits=3,
                caption="The second recogniser hears the dreams of the first, for the transfer.",
            ),
        ],
        pictures=pictures,
    )


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
    shares = ("top before", "top", "≥ 0.9", "transfer")
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
                title="Before and after, and the size of the change",
                frame=table,
                formats={**dict.fromkeys(shares, ".0%"), "steps": ".0f"},
                caption=(
                    "RMSE, MSE and the largest difference are between log-mels in dB of magnitude "
                    "(C4). Transfer: the second recogniser has the target on top."
                ),
            )
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
    places = [[i for i, item in enumerate(found.grid.items) if item.excerpt == e] for e in rows]
    log_mel, heard = found.grid.planes, found.grid.planes
    figure = targets_figure(
        [DB_PER_NATURAL * log_mel["original"][of[0]] for of in places],
        [[DB_PER_NATURAL * log_mel["dream"][i] for i in of] for of in places],
        row_names=[found.excerpts[e].name for e in rows],
        instruments=codes,
        probabilities_before=np.stack([heard["before"][of[0]] for of in places]),
        probabilities=np.stack([[heard["after"][i] for i in of] for of in places]),
        own=[codes.index(found.excerpts[e].labels[0]) for e in rows],
        title=f"{found.grid_steps} steps toward each instrument ({found.data})",
        **_axes(study),
    )
    return Section(
        title="A cello and a saxophone",
        paragraphs=["Two excerpts toward every instrument, all panels on one scale of dB."],
        pictures=[
            draw(
                figure,
                folder / "figure_2.png",
                title="The paper's Figure 2: excerpts dreamed toward every instrument",
                caption="Below each panel the recogniser's outputs, and dream minus original.",
                alt="Rows of log-mel spectrograms, bars of eleven outputs and difference panels",
            )
        ],
    )


def _sound(found: ExcerptFindings, study: Study, ways: pd.DataFrame, folder: Path) -> Section:
    named = ways.assign(way=ways["way"].map(lambda way: WAY_NAMES.get(way, way)))
    shown = {name: about for name, about in SHOWN.items() if name in named}
    frame = named.filter(["way", "kind", "dreams", *shown])
    frame.columns = ["way", "kind", "dreams", *(heading for heading, _ in shown.values())]
    return Section(
        title="From a dream to sound",
        paragraphs=[
            "Dreams toward a random other instrument, until heard. Each is written as a 16-bit "
            "WAV, read back and heard anew. Beside each dream stand its controls: the undreamed "
            "excerpt through the same sonification, and a random change of equal RMSE. A blinded "
            "listening test is in abx.html, beside the tables.",
            "Survival: of the dreams with 0.9 on the spectrogram, the share that has it on the "
            "WAV (of controls the share of all). Realised r: correlation between the change that "
            "was wanted and the one in the WAV. Survival, transfer and the share of bins above the "
            "masking threshold are means, the others medians; ways.csv has their intervals.",
        ],
        tables=[
            Table(
                title="Ways from a dream to sound",
                frame=frame,
                formats={heading: spec for heading, spec in shown.values()},
            )
        ],
        pictures=[
            draw(
                ways_figure(named),
                folder / "ways.png",
                title="Ways from a dream to sound",
                caption="Dots with 95 % intervals by bootstrap over recordings.",
                alt="Dots of survival, correlation, SNR and masking violation for each way",
            )
        ],
        comparisons=list(_comparisons(found, study, folder)),
    )


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
            sounds=list(_sounds(found, rows, file)),
            caption="The log-mel dream. Each sound is the WAV that was written and heard.",
        )


def _sounds(found: ExcerptFindings, rows: list[dict], file: str) -> Iterator[Sound]:
    original = found.until_heard["log_mel"].sounds / f"{file}-gain-original.wav"
    yield Sound(label="original", path=original, note=f"p {rows[0]['before']:.2f}")
    for row in rows:
        if row["kind"] != "dream" and not (
            row["kind"] == "undreamed" and row["way"] == "fast_griffin_lim"
        ):
            continue
        name = WAY_NAMES.get(row["way"], row["way"])
        yield Sound(
            label=name if row["kind"] == "dream" else f"undreamed: {name}",
            path=found.until_heard[row["ascent"]].sounds / f"{file}-{row['way']}-{row['kind']}.wav",
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
    for one in found.until_heard.values():
        for row in records(rows_of(one.table, kind="dream", toward="other", way=list(ABX_WAYS))):
            dream = one.sounds / f"{row['file']}-{row['way']}-dream.wav"
            original = one.sounds / f"{row['file']}-{row['way']}-original.wav"
            if dream.is_file() and original.is_file():
                name = f"{row['excerpt']} toward {row['target']}, {row['way']}"
                pairs.append(AbxPair(name=name, original=original, dream=dream))
    count = ABX_TRIALS // len(ABX_WAYS)
    chosen = [p for way in ABX_WAYS for p in [q for q in pairs if q.name.endswith(way)][:count]]
    if chosen:
        write_abx(chosen, folder / "abx.html", trials=ABX_TRIALS, note=found.data)


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

"""Tables, figures, sounds and claims C1 to C7 of the excerpts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from irdream import instruments
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.measures.table import BAR
from irdream.paper import claims
from irdream.paper.charts import before_after_figure, distance_figure
from irdream.paper.excerpts import ExcerptFindings, examples
from irdream.paper.figures import targets_figure
from irdream.paper.part import Part, axes, draw
from irdream.paper.sound_report import sound_section, write_listening_test
from irdream.paper.study import Study
from irdream.paper.tables import before_after_table, ways_table
from irdream.reports.pages import Comparison, Picture, Section, Sound, Table
from irdream.reports.recognition import instrument_table, summary_table, write_report
from irdream.reports.tables import mean_of, records, rows_of, save_table


def report_excerpts(found: ExcerptFindings, study: Study, folder: Path) -> Part:
    """Write all files of the experiment and return what it has to say."""
    for one in found.until_confident.values():
        one.copy_sounds(folder / "sounds")
    found.grid.copy_sounds(folder / "sounds" / "all_targets")
    dreams = _only_dreams(found.until_confident["log_mel"].table)
    grid = _only_dreams(found.grid.table)
    save_table(found.table, folder / "dreams.csv")
    save_table(found.grid.table, folder / "all_targets.csv")
    save_table(found.pairs, folder / "pairs.csv")
    others = rows_of(found.table, toward="other")
    ways = ways_table(others)
    save_table(ways, folder / "ways.csv")
    f1 = found.report.intervals
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
        sound_section(found, study, ways, folder),
    ]
    write_listening_test(found, folder)
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
        for name, one in found.until_confident.items()
    ]
    fixed = grid.assign(set=f"log_mel, {found.grid_steps} steps")
    table = before_after_table(pd.concat([*sets, fixed], ignore_index=True))
    save_table(table, folder / "before_after.csv")
    shares, caption = ["top before", "top", "≥ 0.9"], ""
    if found.second is not None:
        shares.append("transfer")
        caption = "Transfer: the second recogniser has the target on top."
    heard, moved = ["p before", "p", "least p"], ["RMSE dB", "MSE dB²", "max dB"]
    to_there = ["steps", "flipped", "to flip", "reached 0.9", "to 0.9"]
    figure = before_after_figure(
        dreams["before"],
        dreams["target_probability"],
        dreams["toward"] == "own",
        confidence=BAR,
        title="until heard, log-mel",
    )
    return Section(
        title="Confidence and accuracy, before and after",
        paragraphs=[
            "Until heard: a dream stops when its target has the confidence; an excerpt that has it "
            "from the start does not change. With a fixed number of steps every dream moves, and "
            "the last iterate is taken. Steps are medians, those to a flip (the target first on "
            "top) and to 0.9 over the dreams that got there, whose shares stand beside them; all "
            "else are means over all dreams.",
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
                frame=table.filter(["dreams", "toward", "n", "unchanged", *to_there, *moved]),
                formats=dict(zip(to_there, (".1f", ".0%", ".1f", ".0%", ".1f"), strict=True)),
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
        **axes(study.recognizer),
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


def _metrics(ways: pd.DataFrame, dreams: pd.DataFrame, found: ExcerptFindings) -> dict[str, float]:
    metrics = {f"paper/{name}": x for name, x in found.report.metrics().items() if "/" in name}
    metrics = {name.replace("eval/", ""): x for name, x in metrics.items()}
    for toward, code in (("own", "c2"), ("other", "c3")):
        metrics[f"paper/{code}_at_0.9"] = mean_of(rows_of(dreams, toward=toward), "at_0.9")
    metrics["paper/c4_rmse_db"] = mean_of(rows_of(dreams, toward="other"), "rmse_db")
    metrics["paper/c5_share"] = mean_of(found.pairs, "farther")
    metrics["paper/c5_rho"] = mean_of(found.pairs, "rho")
    for row in records(rows_of(ways, kind="dream")):
        for name in ("survival", "snr_db", "masking_violation", "realized_correlation"):
            metrics[f"paper/{row['way']}/{name}"] = float(row[name])
            metrics[f"paper/{row['way']}/{name}_undefined"] = row.get(f"{name}_undefined", np.nan)
        metrics[f"paper/{row['way']}/unchanged"] = float(row["unchanged"])
    return {name: x for name, x in metrics.items() if np.isfinite(x)}

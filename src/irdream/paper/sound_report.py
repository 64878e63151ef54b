"""From a dream to sound: tables, figure, sounds to compare and the listening test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from irdream import instruments
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.measures.table import BAR
from irdream.paper.charts import ways_figure
from irdream.paper.excerpts import ExcerptFindings, first_of_each
from irdream.paper.listening_test import AbxPair, write_abx
from irdream.paper.part import axes, draw
from irdream.paper.study import Found, Study
from irdream.paper.tables import left_out
from irdream.reports.dream_figures import spectrograms_figure
from irdream.reports.figures import save_figure
from irdream.reports.pages import Comparison, Section, Sound, Table
from irdream.reports.tables import records, rows_of

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


def sound_section(
    found: ExcerptFindings, study: Study, ways: pd.DataFrame, folder: Path
) -> Section:
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
    headings = {name: heading for name, (heading, _) in shown.items()}
    caption = left_out(ways, headings)
    return Table(title=title, frame=frame, formats=dict(shown.values()), caption=caption)


def _comparisons(found: ExcerptFindings, study: Study, folder: Path) -> Iterator[Comparison]:
    """Yield the sounds of some dreams toward another instrument, in every way."""
    log_mel = found.until_confident["log_mel"]
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
            caption=(
                "The log-mel dream. Each sound is the WAV that was written and heard. What exceeds "
                "full scale is scaled down, so ways may differ in loudness; the original has the "
                "scale of the gain."
            ),
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
        confidence=BAR,
        **axes(study.recognizer),
    )


def write_listening_test(found: ExcerptFindings, folder: Path) -> None:
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

"""What networks that had no part hear of dreams of recordings, against how much was changed.

    python -m benchmarks.frontier phrases --strangers musicnn=FOLDER vgg=FOLDER

Each setting and target is a run of `task=dream` on the first three seconds of all sound files of a
folder; its dreams are also measured on the way. What is finished is not done again, and what
earlier commands did in `--runs` stands in the table, too. Everything is measured on WAVs. The
files' names begin with the code of their instrument, as flu-0016.wav does, and are not dreamed
toward that. A stranger is a checkpoint's folder, such as examples/musicnn_checkpoint.py makes;
where it knows tags, an instrument's answer is its highest tag, among six instruments.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.report import ROOT
from irdream.audio import load_audio
from irdream.checkpoint_folder import load_recognizer
from irdream.ensemble import as_one
from irdream.files import replacing
from irdream.measures.dreams import rmse_db
from irdream.measures.table import BAR
from irdream.recognizer import Recognizer
from irdream.reports.dream_table import kept_in
from irdream.reports.dreams import predict_file
from irdream.reports.figures import plain, save_figure
from irdream.reports.tables import save_table

TAGS = {
    "cel": ["cello"],
    "flu": ["flute"],
    "gac": ["guitar"],
    "pia": ["piano"],
    "vio": ["violin"],
    "voi": ["vocal", "vocals", "singing", "female", "male", "voice", "woman", "man",
            "female vocal", "male vocal", "female voice", "male voice"],
}  # fmt: skip
JUDGE, LEAST_STEPS = "musicnn", 10
SETTING = ["network", "parametrization", "strength", "steps"]
NETWORKS = ["shipped", "robust", "robust,second"]
PARAMETRIZATIONS = [
    "fourier_stft_gain", "low_resolution_stft_gain", "stft_gain", "harmonic", "harmonic_and_gain",
]  # fmt: skip


def answer(path: Path, code: str, recognizer: Recognizer) -> tuple[bool, float]:
    """Return whether an instrument is on top of a WAV, and its probability."""
    names = list(recognizer.instruments)
    found = predict_file(path, "", recognizer).probabilities[0].tolist()
    if code in names:
        values = dict(zip(names, found, strict=True))
    else:
        tags = {each: [tag for tag in TAGS[each] if tag in names] for each in TAGS}
        values = {
            each: max(found[names.index(tag)] for tag in known)
            for each, known in tags.items()
            if known
        }
    return max(values, key=values.__getitem__) == code, values[code]


def on_the_way(run: Path, file: str, steps: int) -> Iterator[tuple[int, Path]]:
    """Yield the WAVs of a dream, by the steps that were taken."""
    yield 0, run / "sounds" / f"{file}-original.wav"
    for folder in sorted((run / "steps").iterdir(), key=lambda folder: int(folder.name)):
        if LEAST_STEPS <= int(folder.name) < steps:
            yield int(folder.name), folder / f"{file}.wav"
    yield steps, run / "sounds" / f"{file}-dream.wav"


@torch.no_grad()
def measured(
    run: Path, recognizer: Recognizer, others: Mapping[str, Recognizer]
) -> list[dict[str, object]]:
    """Return a row for each dream of a run after some steps."""

    def log_mel(path: Path) -> Tensor:
        sound = load_audio(path, sample_rate_hz=recognizer.sample_rate_hz, allow_silence=True)
        return recognizer.analysis(sound[None])

    rows = []
    for one in pd.read_csv(run / "dreams.csv").to_dict("records"):
        code, file = one["target"], str(one["file"])
        if file.startswith(code):
            continue
        for steps, path in on_the_way(run, file, one["steps"]):
            undreamed = run / "sounds" / f"{file}-original.wav"
            on_top, probability = answer(path, code, recognizer)
            row = {"file": file, "steps": steps, "on top": on_top}
            row["at 0.9"] = on_top and probability >= BAR
            row |= {name: answer(path, code, other)[0] for name, other in others.items()}
            row["RMSE dB"] = float(rmse_db(log_mel(undreamed), log_mel(path)))
            rows.append(row | kept_in(undreamed, path, recognizer))
    return rows


def dreamed(run: Path, words: Sequence[str]) -> None:
    """Run `task=dream` into a folder, unless that is done."""
    job = run / "job.json"
    if not job.exists() or json.loads(job.read_text())["status"] != "finished":
        shutil.rmtree(run, ignore_errors=True)
        main_py = [sys.executable, str(ROOT / "main.py"), "task=dream", *words]
        subprocess.run([*main_py, f"hydra.run.dir={run}"], check=True, cwd=ROOT)


def read(path: Path) -> pd.DataFrame:
    """Return a run's rows with its setting, which its folder is named after."""
    setting = zip(SETTING, path.parent.name.rsplit("-", 3)[:3], strict=False)
    return pd.read_csv(path).assign(**dict(setting))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each setting: means, and the median error of pitch."""
    groups: Any = table.drop(columns="file").groupby(SETTING, sort=False)
    means: pd.DataFrame = groups.mean()
    means["pitch_error_cents"] = groups["pitch_error_cents"].median()
    return means.assign(dreams=groups.size()).reset_index()


def drawn(means: pd.DataFrame, strangers: Sequence[str]) -> Figure:
    """Draw the mean share of the strangers over the RMSE, a panel for each network."""
    networks = list(dict.fromkeys(means["network"]))
    figure = Figure(figsize=(4.2 * len(networks), 4.0), layout="constrained")
    panels = figure.subplots(1, len(networks), sharex=True, sharey=True, squeeze=False)[0]
    for ax, network in zip(panels, networks, strict=True):
        of_network = means[means["network"] == network]
        lines: Any = of_network.groupby(["parametrization", "strength"], sort=False)
        for (name, strength), line in lines:
            heard = line[list(strangers)].mean(axis=1)
            ax.plot(line["RMSE dB"], heard, marker="o", markersize=3, label=f"{name}, {strength}")
        ax.set_title(f"dreamed by {network}", fontsize=10)
        ax.set_xlabel("RMSE (dB)", fontsize=9)
        ax.legend(fontsize=7, frameon=False)
        plain(ax)
    panels[0].set_ylabel(f"target on top for {' and '.join(strangers)} (mean)", fontsize=9)
    return figure


def as_markdown(means: pd.DataFrame, command: str) -> str:
    """Return the table as a page."""
    cores = os.cpu_count()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cells = [[f"{x:.2f}" if isinstance(x, float) else str(x) for x in row] for row in means.values]
    lines = [list(means.columns), ["---"] * means.shape[1], *cells]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# What networks that had no part hear of dreams\n\n"
        f"`{command}`, {date.today()}, {cores} CPU cores, {where}. Shares of the WAVs, means over "
        "the dreams; the error of pitch is a median. Steps 0: undreamed. What earlier commands did "
        "stands in the table, too. `judge`: "
        f"the checkpoint {JUDGE}.\n\n![The frontier](frontier.png)\n\n{rows}\n"
    )


def main(words: Sequence[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description=__doc__)
    parser.add_argument("phrases", type=Path)
    parser.add_argument("--strangers", nargs="+", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--targets", nargs="+", default=["flu", "vio", "gac"])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--parametrizations", nargs="+", default=PARAMETRIZATIONS)
    parser.add_argument("--strengths", nargs="+", default=["clear"])
    parser.add_argument("--more", nargs="*", default=[], help="what else is typed in each run")
    parser.add_argument("--runs", type=Path, default=ROOT / "outputs" / "frontier")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "frontier")
    given = parser.parse_args(words)
    strangers = dict(pair.split("=", 1) for pair in given.strangers)
    others = {"judge": load_recognizer(JUDGE)}
    others |= {name: load_recognizer(folder) for name, folder in strangers.items()}
    for setting in itertools.product(
        given.networks, given.parametrizations, given.strengths, given.targets
    ):
        network, parametrization, strength, target = setting
        run = (given.runs / "-".join(setting)).absolute()
        dreamed(run, [
            "start=file", f"start.path={given.phrases.absolute()}", "start.seconds=3",
            f"target={target}", f"checkpoint=[{network}]", f"parametrization={parametrization}",
            f"dream.strength={strength}", "dream.figures=1000", "tracker=none", *given.more,
        ])  # fmt: skip
        if not (kept := run / "frontier.csv").exists():
            recognizer = as_one([load_recognizer(name) for name in network.split(",")])
            save_table(pd.DataFrame(measured(run, recognizer, others)), kept)
        print(*setting, flush=True)
    means = summary(pd.concat(map(read, sorted(given.runs.glob("*/frontier.csv")))))
    given.output.mkdir(parents=True, exist_ok=True)
    save_table(means, given.output / "frontier.csv")
    save_figure(drawn(means, list(strangers) or ["judge"]), given.output / "frontier.png")
    chosen = {"strangers": [f"{name}=FOLDER" for name in strangers], "networks": given.networks}
    chosen |= {"parametrizations": given.parametrizations, "strengths": given.strengths}
    chosen |= {"targets": given.targets}
    options = [f"--{name} {' '.join(values)}" for name, values in chosen.items() if values]
    command = " ".join(["python -m benchmarks.frontier phrases", *options])
    with replacing(given.output / "README.md") as file:
        file.write(as_markdown(means, command).encode())
    return means


if __name__ == "__main__":
    main()

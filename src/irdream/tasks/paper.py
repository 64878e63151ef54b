"""Reproduce Cochran and Kim: dream excerpts and noise, measure, and say which claims hold.

All parts are kept as they are finished: a killed run goes on where it was when the same is asked
for again, and a finished one only writes its report anew.

Files in `output_dir`: excerpts/ and noise/ (see there), report.html (self-contained), and
report.md, which links to their figures and sounds.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from irdream.datasets.base import DataSet, announce, counted, part_words
from irdream.errors import InputError
from irdream.files import replacing
from irdream.measures.scoring import listed_part
from irdream.paper.excerpts import dream_excerpts
from irdream.paper.excerpts_report import report_excerpts
from irdream.paper.noise import dream_noise
from irdream.paper.noise_report import report_noise
from irdream.paper.part import Part, provenance
from irdream.paper.study import Study
from irdream.reports.pages import Claim, Page, write_html, write_markdown
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

PARTS = ("excerpts", "noise")
LARGE_BYTES = 300_000  # of a picture
TITLE = "DeepDream applied to an instrument recognition CNN, reproduced"
LEAST_PERMUTATIONS = 20  # the least p is then 1 / 21
NOT_STATED = (
    "The paper (A. Cochran and Y. Kim) does not state the layer, the step size, the number of "
    "steps, octaves, the log floor, or whether the output is a softmax. Here log p of the target "
    "is raised by steps of fixed size along its gradient; all of it can be changed on the command "
    "line, and the claims are to be read with that in mind."
)


def paper(
    *,
    study: Study,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    parts: Sequence[str] = PARTS,
    per_instrument: int = 10,
    grid_per_instrument: int = 2,
    steps: int = 20,
    seconds: float = 3.0,
    noises: int = 6,
    noise_steps: int = 20,
    permutations: int = 2000,
    publish: str | Path | None = None,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Run the experiments, or go on with them, and write the report.

    Args:
        study: how to dream, and what with.
        dataset: of the excerpts.
        tracker: gets metrics, tables, figures, sounds and pages.
        output_dir: where the files are written.
        parts: "excerpts", "noise" or both.
        per_instrument: excerpts of each instrument, dreamed toward own and other until heard.
        grid_per_instrument: excerpts of each that are dreamed toward all instruments.
        steps: of these dreams, whatever is heard.
        seconds: of each excerpt.
        noises: of each color.
        noise_steps: of each dream of noise, whatever is heard.
        permutations: of the targets, in the tests for a pattern.
        publish: a folder that gets the report without sounds, its tables and figures; None: none.
        info: only say what would be dreamed.
        stopwatch: counts where the time goes.

    Returns:
        `paper/...`: the numbers behind the claims; `paper/claims_<verdict>`: how many there are.

    Raises:
        InputError: an unknown part, a number out of range, nothing to dream on.
    """
    stopwatch = stopwatch or Stopwatch()
    parts = [parts] if isinstance(parts, str) else list(parts)
    if not parts or not set(parts) <= set(PARTS):
        raise InputError(f"paper.parts={parts}; expected some of {', '.join(PARTS)}")
    _check(
        study.recognizer.window_seconds,
        per_instrument=per_instrument,
        grid_per_instrument=grid_per_instrument,
        steps=steps,
        seconds=seconds,
        noises=noises,
        noise_steps=noise_steps,
        permutations=permutations,
    )
    told = []
    if "excerpts" in parts:
        files, rate_hz = (
            listed_part(dataset, "test", study.recognizer),
            study.recognizer.sample_rate_hz,
        )
        where = part_words(files, "test", dataset, rate_hz)
        told += [
            f"at most {per_instrument} excerpts of each instrument (of {where}) in "
            f"{counted(len(study.ascents), 'way')}, {grid_per_instrument} of each toward all "
            f"instruments, {counted(steps, 'step')}"
        ]
    if "noise" in parts:
        told += [f"{noises} noises of each color, {counted(noise_steps, 'step')}"]
    print(f"paper: {'; '.join(told)}; on {study.recognizer.device}", flush=True)
    if info:
        return {}
    if study.cache_dir is None:
        study = replace(study, cache_dir=output_dir / "stages")
    found: list[Part] = []
    if "excerpts" in parts:
        announce(dataset)
        excerpts = dream_excerpts(
            study,
            dataset,
            per_instrument=per_instrument,
            grid_per_instrument=grid_per_instrument,
            steps=steps,
            seconds=seconds,
            stopwatch=stopwatch,
        )
        with stopwatch("tables and figures"):
            found.append(report_excerpts(excerpts, study, output_dir / "excerpts"))
    if "noise" in parts:
        noise = dream_noise(
            study,
            count=noises,
            steps=noise_steps,
            permutations=permutations,
            stopwatch=stopwatch,
        )
        with stopwatch("tables and figures"):
            found.append(report_noise(noise, study, output_dir / "noise"))
    page = _page(found, study, stopwatch)
    with stopwatch("tables and figures"):
        write_html(page, output_dir / "report.html")
        write_markdown(page, output_dir / "report.md")
        if publish is not None:
            _publish(page, output_dir, Path(publish).expanduser())
    metrics = {name: value for part in found for name, value in part.metrics.items()}
    for verdict, count in page.tally.items():
        metrics[f"paper/claims_{verdict.replace(' ', '_')}"] = float(count)
    with stopwatch("tracking"):
        tracker.log_metrics(metrics)
        for name in ("report.html", "report.md", *dict.fromkeys(parts)):
            tracker.log_file(output_dir / name)
    _print(page.claims, output_dir)
    return metrics


def _check(window_seconds: float, **values: float) -> None:
    """Raise InputError for a number out of range, before anything is dreamed."""
    least = {
        "seconds": (window_seconds, ", the length of the recognizer's window"),
        "noises": (2, ", to compare them"),
        "permutations": (LEAST_PERMUTATIONS, ", for a p below 0.05"),
    }
    for name, value in values.items():
        limit, why = least.get(name, (1, ""))
        if value < limit:
            raise InputError(f"paper.{name}={value:g}; expected at least {limit:g}{why}")


def _page(found: Sequence[Part], study: Study, stopwatch: Stopwatch) -> Page:
    """Put the parts together."""
    data = "; ".join(part.data for part in found)
    claims = [claim for part in found for claim in part.claims]
    return Page(
        title=TITLE,
        lead=[
            f"Data: {data}. Nothing here is a result on IRMAS unless the data say so.",
            NOT_STATED,
        ],
        claims=sorted(claims, key=lambda claim: claim.code),
        sections=[section for part in found for section in part.sections],
        provenance=provenance(
            study.recognizer, study.second, data=data, seed=study.seed, seconds=stopwatch.total()
        ),
    )


def _publish(page: Page, output_dir: Path, folder: Path) -> None:
    """Write the report without its sounds, and the tables that are small."""
    folder.mkdir(parents=True, exist_ok=True)
    silent = replace(page, sections=[replace(s, comparisons=()) for s in page.sections])
    write_markdown(silent, folder / "README.md")
    for picture in sorted((folder / "README_files").glob("*.png")):
        shrink(picture)
    for path in sorted(output_dir.glob("*/*.csv")):
        if path.stat().st_size < 100_000:
            shutil.copy(path, folder / path.name)


def shrink(picture: Path) -> None:
    """Give a large PNG a palette of 256 colors, dithered, so that its color bars stay true."""
    if picture.stat().st_size < LARGE_BYTES:
        return
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
    content = io.BytesIO()
    small.save(content, format="PNG", optimize=True)
    with replacing(picture) as file:
        file.write(content.getbuffer())


def _print(claims: Sequence[Claim], output_dir: Path) -> None:
    """Print the claims and where the report is."""
    table = Table()
    for column in ("", "the paper says", "verdict", "measured"):
        table.add_column(column)
    for claim in claims:
        table.add_row(claim.code, Text(claim.says), claim.verdict, Text(claim.measured))
    console = Console()
    console.print(table)
    console.print(f"report: {output_dir / 'report.html'}", soft_wrap=True)

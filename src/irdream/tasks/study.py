"""Run an experiment of `irdream.studies`, or resume it: train networks, dream, compare, report.

Files in `output_dir`: report.html (self-contained), report.md, figure.png, and a CSV for each
table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from irdream.arguments import Count, Positive, Seed, checked
from irdream.datasets.base import DataSet, counted
from irdream.datasets.folder import Folder
from irdream.datasets.soundfont import SoundFont
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.processes import keeping
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.reports.pages import print_claims
from irdream.runtime import choose_device
from irdream.studies.report import Tables, write
from irdream.studies.runner import Runner
from irdream.tasks.common import log_results
from irdream.tracking import Tracker


@checked
def study(
    *,
    experiment: Callable[[Runner], Tables] | None,
    question: Mapping[str, Any],
    network: Callable[..., Recognizer],
    train: Callable[..., dict[str, float]],
    load: Callable[..., Recognizer],
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    recorded: ExistingPath | None = None,
    judges: Sequence[str] = (),
    seeds: Annotated[Sequence[Seed], Len(1)] = (0, 1, 2),
    per_instrument: Count = 2,
    seconds: Positive = 1.5,
    steps: Count = 30,
    cache_dir: str | Path | None = None,
    publish: str | Path | None = None,
    device: str | int = "auto",
    trust: Sequence[str] = (),
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Run an experiment, or resume it, and write its report.

    Arguments that conf/config.yaml has as keys of `study` are explained there; `network`, `train`
    and `load` in `studies.runner.Runner`.

    Args:
        experiment: one of `irdream.studies`.
        question: what is asked, with the rules of the verdicts; see `studies.report.write`.
        dataset: its training part is trained on, its test part is dreamed; of a mixture with
            rendered music that of the music.
        cache_dir: where networks and measured cells are kept; None: in `output_dir`.

    Returns `study/<claim>`: 1 where it holds, 0.5 in part, 0 where it does not; none if not tested.
    Raises InputError for no experiment, nothing to train on or to dream, or too short sounds.
    """
    if experiment is None:
        raise InputError("task=study has no experiment; expected one: experiment=robust_dreams")
    name = getattr(experiment, "func", experiment).__name__
    stopwatch = stopwatch or Stopwatch()
    members = getattr(dataset, "datasets", {"": dataset}).values()
    first = next((one for one in members if isinstance(one, SoundFont)), dataset)
    sounds = {"rendered" if isinstance(first, SoundFont) else dataset.name: first}
    sounds |= {} if recorded is None else {"recorded": Folder(root=recorded)}
    print(
        f"study: {name}, {counted(len(seeds), 'seed')}, dreams of {' and '.join(sounds)} sounds, "
        f"judged by {', '.join(judges) or 'nobody'}",
        flush=True,
    )
    if info:
        return {}
    runner = Runner(
        name=name, network=network, train=train if isinstance(train, partial) else partial(train),
        dataset=dataset, dreamed=sounds, load=load, judges={one: load(path=one) for one in judges},
        cache_dir=Path(cache_dir or output_dir).expanduser(), seeds=seeds,
        per_instrument=per_instrument, seconds=seconds, steps=steps, device=choose_device(device),
        trust=trust, stopwatch=stopwatch,
    )  # fmt: skip
    _ = runner.batches  # what cannot be dreamed is refused before a network is trained
    with keeping(lambda: "networks and what was measured are kept; to resume type the same line"):
        tables = experiment(runner)
    folders = [output_dir, *([] if publish is None else [Path(publish).expanduser()])]
    with stopwatch("tables and figures"):
        page = write(tables, question, runner, folders)
    worth = {"holds": 1.0, "holds in part": 0.5, "does not hold": 0.0}
    metrics = {f"study/{c.code}": worth[c.verdict] for c in page.claims if c.verdict in worth}
    with stopwatch("tracking"):
        log_results(
            tracker, metrics, output_dir, sorted(path.name for path in output_dir.glob("*.*"))
        )
    print_claims(page, output_dir / "report.html")
    return metrics

"""How long attribution takes:  python -m benchmarks.attribute --threads 1

Seconds of `gradient_x_input` and of 32 steps of `integrated_gradients` on eleven excerpts of 3 s of
noise, by the checkpoint `shipped`, and the latter over 32 steps of a dream's ascent on the same.

It takes two minutes on a core and writes results/benchmark_attribute.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.report import count, heading, parser, ratio, seconds, summary, take_turns, write
from irdream import runtime
from irdream.attribution import GradientXInput, IntegratedGradients
from irdream.checkpoint_folder import load_recognizer
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel

STEPS = 32


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    made = parser("attribute", __doc__, rounds=3)
    made.add_argument("--excerpts", type=count, default=11)
    options = made.parse_args(arguments)
    device = runtime.choose_device(options.device)
    report = heading(device, runtime.set_threads(options.threads))
    recognizer = load_recognizer("shipped").to(device)
    waveform = 0.1 * torch.randn(options.excerpts, 3 * 22_050, device=device)
    log_mel = recognizer.log_mel(waveform)
    targets = torch.zeros(options.excerpts, dtype=torch.long, device=device)
    ascent = Ascent(
        parametrization=LogMel(), objective=LogProbability(), optimizer=NormalizedAscent(),
        step_size=0.5, steps=STEPS, octaves=1, confidence=None,
    )  # fmt: skip
    given, seeds = (recognizer, log_mel, targets), list(range(options.excerpts))
    work = {
        "gradient_x_input": partial(GradientXInput(), *given),
        "integrated_gradients": partial(IntegratedGradients(steps=STEPS), *given),
        "ascent": partial(ascent.run, recognizer, waveform, targets, seeds, log_mel=log_mel),
    }
    contenders = {name: partial(seconds, one, device) for name, one in work.items()}
    contenders["gradient_x_input"]()  # the first one is slower
    found = take_turns(contenders, rounds=options.rounds)
    report |= {
        "excerpts": options.excerpts,
        "seconds": {name: summary(values) for name, values in found.items()},
        "integrated_gradients_over_ascent": ratio(found["integrated_gradients"], found["ascent"]),
    }
    write(report, options.output)
    return report


if __name__ == "__main__":
    main()

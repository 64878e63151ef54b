"""Stages come back as they were, and only to what asks for the very same thing."""

from __future__ import annotations

import functools
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import irdream
from irdream.dreaming.constraints import BandRange, FrequencyBand, MaskingProjection
from irdream.dreaming.objectives import Direction, Logit, LogProbability
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel, LowResolution, StftGain
from irdream.dreaming.transforms import Jitter, Noise
from irdream.frontends import HanLogMel
from irdream.paper.stages import Stage, Stages
from irdream.paper.trial import Trial
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim

# Run here and in other processes, so it stands in one piece.
MAKE_TRIAL = """
import torch
from torch import nn

from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.constraints import BandRange, MaskingProjection
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.objectives import MaskingPenalty
from irdream.dreaming.optimizers import NormalizedAscent
from irdream.dreaming.parametrizations import LogMel
from irdream.dreaming.targets import Item
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.sonification import GriffinLim, StftGain
from irdream.paper.stages import Stages
from irdream.paper.trial import Trial


def trial():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 12)), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 11),
    )
    frontend = HanLogMel(sample_rate_hz=8000, n_fft=256, hop_samples=200, n_mels=12)
    recognizer = Recognizer(frontend=frontend, model=model).eval()
    ascent = Ascent(
        parametrization=LogMel(),
        objective=LogProbability() - 0.1 * MaskingPenalty(),
        optimizer=NormalizedAscent(),
        constraint=[MaskingProjection(margin_db=-60.0), BandRange(least_db=-90.0)],
        steps=2,
    )
    return Trial(
        recognizer=recognizer, second=None, ascent=ascent, seed=1,
        ways={"gain": StftGain(), "griffin_lim": GriffinLim(iterations=2)},
    )


def excerpts():
    time = torch.arange(9000) / 8000
    return [Excerpt(waveform=torch.sin(2000 * time), labels=("flu",), name="tone")]
"""
THEN_BE_KILLED = """
import os, signal, sys
from pathlib import Path

from irdream.paper.stages import Stage

print(Stages(Path("folder"), trial()).folder.name, flush=True)
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
Stages(Path(sys.argv[1]), 1)("stage", lambda: Stage(rows=[{"x": 1}]))
"""
made_here: dict[str, Any] = {}
exec(MAKE_TRIAL, made_here)
ROWS = [
    {"name": "ü/\n\udcff 名", "none": None, "yes": True, "no": False, "whole": 3, "third": 1 / 3},
    {"name": "", "low": -math.inf, "high": math.inf, "tiny": 5e-324, "big": 2**70},
]


def trial(**changes: Any) -> Trial:
    return replace(made_here["trial"](), **changes)


def signed(value: Any) -> str:
    return Stages(Path("folder"), value).folder.name


class Killed(NamedTuple):
    """A process that said the signature of its trial, and was killed while it wrote a stage."""

    said: str
    folder: Path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    source = str(Path(irdream.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", MAKE_TRIAL + THEN_BE_KILLED, str(folder)],
        env={**os.environ, "PYTHONPATH": source, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return Killed(done.stdout.strip(), folder)


def test_a_stage_comes_back_as_it_was(tmp_path: Path) -> None:
    planes = {
        "half": torch.tensor([1.5, math.nan, -math.inf], dtype=torch.bfloat16),
        "double": torch.tensor([[1 / 3]], dtype=torch.float64),
        "flags": torch.tensor([[True], [False]]),
        "whole": torch.tensor([-(2**62), 7]),
        "complex": torch.tensor([1 + 2j]),
        "none of it": torch.empty(0, 4),
        "number": torch.tensor(2.0),
        "turned": torch.arange(6.0).view(2, 3).T,
        "gradient": torch.ones(2, requires_grad=True),
    }
    planes["the same again"] = planes["double"]

    first = Stages(tmp_path, 1)("stage", lambda: Stage(rows=ROWS, planes=planes))
    second = Stages(tmp_path, 1)("stage", lambda: pytest.fail("it is there"))

    for stage in (first, second):
        assert stage.rows == ROWS
        assert [type(x) for row in stage.rows for x in row.values()] == [
            type(x) for row in ROWS for x in row.values()
        ]
        assert set(stage.planes) == set(planes)
        for name, plane in stage.planes.items():
            assert not plane.requires_grad
            torch.testing.assert_close(plane, planes[name].detach(), rtol=0, atol=0, equal_nan=True)


def test_nan_comes_back(tmp_path: Path) -> None:
    for _ in range(2):
        stage = Stages(tmp_path, 1)("stage", lambda: Stage(rows=[{"x": math.nan}]))
        assert math.isnan(stage.rows[0]["x"])


def test_a_stage_of_nothing_is_one(tmp_path: Path) -> None:
    stages = Stages(tmp_path, 1)
    stages("stage", Stage)
    assert stages("stage", lambda: pytest.fail("it is there")) == Stage()


def test_a_stage_is_made_once_for_each_name_and_signature(tmp_path: Path) -> None:
    made: list[str] = []

    def make(what: str) -> Stage:
        made.append(what)
        return Stage(rows=[{"what": what}])

    one, other = Stages(tmp_path, {"seed": 0}), Stages(tmp_path, {"seed": 1})
    assert not one.has("a")
    for _ in range(2):
        assert one("a", lambda: make("one a")).rows == [{"what": "one a"}]
        assert one("b", lambda: make("one b")).rows == [{"what": "one b"}]
        assert other("a", lambda: make("other a")).rows == [{"what": "other a"}]
    assert made == ["one a", "one b", "other a"]
    assert (one.has("a"), one.has("b"), other.has("a"), other.has("b")) == (True, True, True, False)
    assert one.folder != other.folder
    assert one.folder.parent == other.folder.parent == tmp_path


# Damage -------------------------------------------------------------------------------------


def test_what_could_not_be_made_or_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages(tmp_path, 1)

    def stopped() -> Stage:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages("stage", stopped)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *paths: stopped())
        with pytest.raises(KeyboardInterrupt):
            stages("stage", lambda: Stage(rows=ROWS))
    with pytest.raises(TypeError, match="not JSON serializable"):
        stages("stage", lambda: Stage(rows=[{"x": torch.ones(1)}]))
    assert not stages.has("stage")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert stages("stage", lambda: Stage(rows=[{"x": 1}])).rows == [{"x": 1}]


def test_a_stage_whose_writing_was_killed_is_made_anew(killed: Killed) -> None:
    assert len(list(killed.folder.rglob("*.part"))) == 1  # else it was killed too early
    stages = Stages(killed.folder, 1)
    assert not stages.has("stage")
    assert stages("stage", lambda: Stage(rows=[{"x": 2}])).rows == [{"x": 2}]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole + b"more",
        lambda whole: bytes(len(whole)),
        lambda whole: whole.replace(b'\\"name\\"', b"'name'..."),
        lambda whole: whole.replace(b'"rows"', b'"cols"'),
        lambda whole: whole.replace(b'"__metadata__"', b'"__metabata__"'),
        lambda whole: b"PK\x03\x04 no safetensors at all",
    ],
    ids=["empty", "head", "half", "last", "longer", "zeros", "json", "key", "metadata", "other"],
)
def test_a_damaged_stage_is_made_anew_and_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage
) -> None:
    stages = Stages(tmp_path, 1)
    stages("stage", lambda: Stage(rows=ROWS, planes={"x": torch.ones(3)}))
    path = stages.folder / "stage.safetensors"
    path.write_bytes(damage(path.read_bytes()))

    again = Stage(rows=[{"x": 1}], planes={"x": torch.zeros(2)})
    for _ in range(2):
        found = stages("stage", lambda: again)
        assert (found.rows, found.planes["x"].tolist()) == ([{"x": 1}], [0, 0])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{path} is damaged" in caplog.text
    assert "is made anew" in caplog.text


# What decides a stage -----------------------------------------------------------------------


def test_the_same_trial_has_the_same_signature_in_another_process(killed: Killed) -> None:
    assert killed.said == signed(trial())


def model(**changes: Any) -> nn.Module:
    """Return a network; the weights are the same whatever the changes."""
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "stride": 1, **changes}
    return nn.Sequential(nn.Unflatten(1, (1, 12)), nn.Conv2d(1, 2, **settings))


def recognizer(frontend: dict[str, Any] | None = None, **changes: Any) -> Recognizer:
    settings = {"sample_rate_hz": 8000, "n_fft": 256, "hop_samples": 200, "n_mels": 12}
    made = HanLogMel(**{**settings, **(frontend or {})})
    return Recognizer(**{"frontend": made, "model": model(), **changes})


def nudged(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        weight = next(network.parameters())
        weight.view(-1)[-1] = torch.nextafter(weight.view(-1)[-1], torch.tensor(math.inf))
    return network


RECOGNIZERS = {
    "as it is": recognizer(),
    "another weight": nudged(recognizer()),
    "another stride": recognizer(model=model(stride=2)),
    "another class": recognizer(model=nn.Sequential(*model().children(), nn.ReLU())),
    "another floor": recognizer({"floor": 1e-6}),
    "another hop": recognizer({"hop_samples": 100}),
    "sigmoids": recognizer(output="sigmoid"),
    "other windows": recognizer(window_seconds=0.5),
    "other labels": recognizer(instruments=("cel", "flu")),
    "built otherwise": recognizer(spec={"model": {"_target_": "a.Net", "scale": 2.0}}),
}


def test_recognizers_that_hear_otherwise_differ() -> None:
    assert signed(recognizer()) == signed(RECOGNIZERS["as it is"])
    signatures = {name: signed(made) for name, made in RECOGNIZERS.items()}
    assert len(set(signatures.values())) == len(RECOGNIZERS), signatures


def test_trials_that_dream_otherwise_differ() -> None:
    base, ascent = trial(), trial().ascent
    ways = base.ways
    others = [
        base,
        trial(recognizer=nudged(trial().recognizer)),
        trial(second=recognizer()),
        trial(seed=2),
        trial(with_visqol=True),
        trial(ways={"gain": ways["gain"]}),
        trial(ways={**ways, "griffin_lim": GriffinLim(iterations=3)}),
        trial(ways={**ways, "griffin_lim": GriffinLim(iterations=2, momentum=0.0)}),
    ]
    changes = [
        {"step_size": 0.5},
        {"steps": 3},
        {"confidence": None},
        {"keep": "last"},
        {"octaves": 2},
        {"transform": Jitter(frames=1)},
        {"parametrization": LogMel(range_db=(-80.0, 20.0))},
        {"parametrization": StftGain()},
        {"parametrization": StftGain(max_gain_db=6.0)},
        {"parametrization": LowResolution(of=StftGain())},
        {"parametrization": LowResolution(of=StftGain(), shared=True)},
        {"objective": LogProbability()},
        {"objective": Logit()},
        {"objective": LogProbability() + 0.5 * Logit()},
        {"objective": Direction("6", [1.0, 2.0])},
        {"objective": Direction("6", [1.0, 3.0])},
        {"optimizer": NormalizedAscent(momentum=0.5)},
        {"optimizer": torch.optim.Adam},
        {"optimizer": functools.partial(torch.optim.Adam, betas=(0.5, 0.9))},
        {"optimizer": functools.partial(torch.optim.Adam, betas=(0.6, 0.9))},
        {"constraint": BandRange(least_db=-80.0)},
        {"constraint": BandRange(least_db=[-80.0] * 12)},
        {"constraint": MaskingProjection(margin_db=3.0)},
        {"constraint": FrequencyBand(low_hz=100.0)},
        {"transform": Noise(db=1.0)},
        {"transform": Noise(db=2.0)},
    ]
    others += [replace(base, ascent=replace(ascent, **change)) for change in changes]
    signatures = [signed(other) for other in others]
    assert len(set(signatures)) == len(others), [signatures.index(s) for s in signatures]

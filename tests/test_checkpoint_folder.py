import copy
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from irdream import checkpoint_folder as module
from irdream.checkpoint_folder import load_recognizer, new_recognizer, save_recognizer
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.instruments import CODES
from irdream.recognizer import Recognizer, same_weights

Settings = dict[str, Any]
MY_NET: Settings = {"_target_": "my_package.MyNet"}


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType) -> Path:
    """A checkpoint of the user's own network."""
    recognizer = new_recognizer(frontend=tiny_frontend, model=MY_NET, trust=["my_package"])
    save_recognizer(recognizer, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edited(folder: Path, **changes: Any) -> Path:
    path = folder / "recognizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_network_that_is_not_ours_comes_back_bit_for_bit(
    tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType, output: str
) -> None:
    made = new_recognizer(
        frontend=tiny_frontend, model=MY_NET | {"output": output}, trust=["my_package"]
    )
    made.thresholds = {"s1": 0.123456789, "s2": 0.5}
    made.card = {"data": {"name": "rendered"}, "top1": 0.9, "é": None}
    made.temperature = 1.7
    train_a_little(made)
    save_recognizer(made, tmp_path / "new" / "checkpoint")
    loaded = load_recognizer(str(tmp_path / "new" / "checkpoint"), trust=["my_package"])
    assert (loaded.thresholds, loaded.card) == (made.thresholds, made.card)
    assert loaded.spec == made.spec
    assert loaded.output == output
    assert loaded.instruments == CODES
    assert not loaded.training
    waveform = torch.rand(2, 3000)
    made.eval()
    log_mel = made.log_mel(waveform)
    with torch.no_grad():
        assert torch.equal(loaded.log_mel(waveform), log_mel)
        assert torch.equal(loaded.window_logits(log_mel), made.window_logits(log_mel))


def train_a_little(recognizer: Recognizer) -> None:
    optimizer = torch.optim.Adam(recognizer.model.parameters(), lr=0.01)
    recognizer.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = [p.clone() for p in recognizer.model.parameters()]
    for _ in range(3):
        logits = recognizer.logits(torch.randn(4, 12, 25))
        loss = -recognizer.log_probabilities(logits)[:, 0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = recognizer.model.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: torch.compile(model, backend="eager"),
        torch.nn.DataParallel,
        lambda model: model.half(),
        lambda model: model.double(),
    ],
    ids=["compiled", "data parallel", "half", "double"],
)
def test_wrapped_networks_and_those_of_another_type_are_saved_as_plain_ones(
    checkpoint: Path, tmp_path: Path, change
) -> None:
    plain = load_recognizer(checkpoint, trust=["my_package"])
    about = {"window_seconds": plain.window_seconds, "instruments": plain.instruments}
    other = Recognizer(frontend=plain.frontend, model=change(copy.deepcopy(plain.model)), **about)
    save_recognizer(other, tmp_path / "other")
    found = load_recognizer(tmp_path / "other", trust=["my_package"])
    sound = torch.randn(5000, generator=torch.Generator().manual_seed(0)) / 10
    assert found.predict(sound) == pytest.approx(plain.predict(sound), abs=1e-3)


def test_saving_and_loading_change_nothing_around(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    numbers = torch.get_rng_state()
    with torch.inference_mode():
        made = load_recognizer(checkpoint, trust=["my_package"])
    assert torch.equal(torch.get_rng_state(), numbers)
    assert not any(weight.is_inference() for weight in made.parameters())
    made.spec = {}
    made.train()
    layers: Any = made.model.layers
    layers[1].eval()  # as fixed statistics are held in a training
    save_recognizer(made, "~/mine")
    assert (tmp_path / "mine" / "recognizer.json").is_file()
    assert (made.training, layers[1].training) == (True, False)


def test_weights_that_share_memory_can_be_saved(
    tmp_path: Path, tiny_frontend: Settings, my_package: ModuleType
) -> None:
    spec = {"_target_": "my_package.Tied"}
    made = new_recognizer(frontend=tiny_frontend, model=spec, trust=["my_package"])
    save_recognizer(made, tmp_path)
    loaded = load_recognizer(tmp_path, trust=["my_package"])
    assert torch.equal(loaded.model.again, made.model.again)  # type: ignore[arg-type]


def test_nothing_is_unpickled(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint must not be unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert load_recognizer(checkpoint, trust=["my_package"]).window_frames == 25
    assert sorted(os.listdir(checkpoint)) == ["recognizer.json", "weights.safetensors"]


@pytest.mark.parametrize("name", module.NAMES)
def test_what_comes_along_is_whole_and_small(name: str) -> None:
    folder = module.CHECKPOINTS / name
    assert load_recognizer(name).thresholds
    assert (folder / "CARD.md").is_file()
    assert (folder / "weights.safetensors").stat().st_size < 8e6


def test_what_was_not_built_from_a_spec_cannot_be_saved(tmp_path: Path) -> None:
    class Local(nn.Identity):
        pass

    local = Recognizer(frontend=HanLogMel(), model=Local(), instruments=("a", "b", "c"))
    with pytest.raises(InputError, match=r"the model is a .*<locals>.Local, which no check"):
        save_recognizer(local, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match=r"^a Local cannot be saved; expected a recognizer: Recog"):
        save_recognizer(Local(), tmp_path / "x")  # type: ignore[arg-type]


def test_a_front_end_with_weights_is_refused(tmp_path: Path) -> None:
    frontend = nn.Conv1d(1, 8, 9)
    frontend.sample_rate_hz, frontend.hop_samples = 22_050, 512  # type: ignore[assignment]
    message = r"^frontend Conv1d has weights, which are neither trained nor kept; expected them in"
    with pytest.raises(InputError, match=message):
        save_recognizer(Recognizer(frontend=frontend, model=nn.Identity()), tmp_path / "x")
    spec = {"_target_": "torch.nn.Conv1d", "in_channels": 1, "out_channels": 8, "kernel_size": 9}
    with pytest.raises(InputError, match=message):
        new_recognizer(frontend=spec, model={"_target_": "torch.nn.Identity"})


def test_what_is_learned_beside_parameters_and_buffers_is_not_lost_silently(
    checkpoint: Path, tmp_path: Path
) -> None:
    made = load_recognizer(checkpoint, trust=["my_package"])
    made.model.constant = torch.ones(3)  # does not matter
    save_recognizer(made, tmp_path / "x")
    head = next(m for m in made.model.modules() if isinstance(m, nn.Linear))
    head.mean = torch.ones(3)
    head.register_forward_hook(lambda module, given, output: output + 9 * output.cumsum(1))
    message = r"cannot be built again as .* other logits; .* is learned in parameters and buffers"
    with pytest.raises(InputError, match=message):
        save_recognizer(made, tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_numbers_of_numpy_and_paths_may_stand_in_a_card(checkpoint: Path) -> None:
    made = load_recognizer(checkpoint, trust=["my_package"])
    made.card = {
        "top1": np.float32(0.5),
        "f1": np.arange(2),
        "by": torch.tensor(3),
        "in": Path("a"),
    }
    save_recognizer(made, checkpoint)
    card = load_recognizer(checkpoint, trust=["my_package"]).card
    assert card == {"top1": 0.5, "f1": [0, 1], "by": 3, "in": "a"}


def test_a_device_that_is_not_there_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"device='nowhere' cannot be used .*; expected auto, cpu"):
        load_recognizer(checkpoint, trust=["my_package"], device="nowhere")


@pytest.mark.parametrize("file", ["weights.safetensors", "recognizer.json"])
def test_a_full_disk_leaves_the_old_checkpoint(
    checkpoint: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in checkpoint.iterdir()}

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == (1 if file == "weights.safetensors" else 2):
            raise OSError(errno.ENOSPC, "No space left on device")

    calls: list[int] = []
    before, old = contents(), load_recognizer(checkpoint, trust=["my_package"])
    old.card = {"more": 1}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_recognizer(old, checkpoint)
    assert contents() == before


# What is refused


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Change the bytes of the weights."""

    def damage(folder: Path) -> Path:
        path = folder / "weights.safetensors"
        path.write_bytes(change(path.read_bytes()))
        return folder

    return damage


def description(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "recognizer.json").write_bytes(data)


def key(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: edited(folder, **changes)


def fewer_weights(data: bytes) -> bytes:
    kept = safetensors.torch.load(data)
    del kept["layers.8.bias"]
    return safetensors.torch.save(kept)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda folder: (folder / "weights.safetensors").unlink(),
        r"no checkpoint at .* \(weights.safetensors is missing\)",
    ),
    "cut-off weights": (weights(lambda data: data[:-10]), r"checkpoint .* is damaged: "),
    "empty weights": (weights(lambda data: b""), "is damaged: .*; copy it again, or train again"),
    "weights missing": (weights(fewer_weights), "do not fit my_package.MyNet: .*layers.8.bias"),
    "other weights": (key(model=MY_NET | {"width": 7}), "fit my_package.MyNet: .* size mismatch"),
    "cut-off description": (description(b'{"format": 1,'), "is damaged: Expecting property name"),
    "no text": (description(b'{"\xff\xfe'), "is damaged"),
    "a list": (description(b"[]"), "recognizer.json' is no recognizer; expected format, instrum"),
    "keys missing": (description(b'{"format": 1}'), "is no recognizer"),
    "another type": (key(model="my_package.MyNet"), "is no recognizer"),
    "format": (key(format=2), "has format 2; expected 1: use the version of irdream that wrote it"),
    "one label": (key(instruments=["kick"]), "has the labels 'kick'; expected two or more names"),
    "equal labels": (key(instruments=["a", "b", "a"]), "has the labels 'a', 'b', 'a'; expected tw"),
    "empty label": (key(instruments=["a", ""]), "has the labels 'a', ''; expected two or more"),
    "output": (key(output="sigmoid"), "has the output 'sigmoid'; expected 'softmax', as my_"),
    "temperature": (key(temperature=0), "has the temperature 0; expected a number above 0"),
    "unknown output": (key(model=MY_NET | {"output": "tanh"}), "MyNet.output='tanh'; expected 'so"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoints(
    checkpoint: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(checkpoint)
    refused(checkpoint, message, trust=["my_package"])


def refused(path: Path | str, message: str, **settings: Any) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_recognizer(path, **settings)
    assert "\n" not in str(error.value)


def test_no_checkpoint(tmp_path: Path) -> None:
    names = "'shipped', 'second', 'robust', 'musicnn'"
    expected = rf"\(recognizer.json is missing\); expected .*{names}, runs:/"
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    refused(tmp_path / "run", expected)
    (tmp_path / "run" / "checkpoint" / "recognizer.json").touch()
    refused(tmp_path / "run", r"is missing\); expected .*run/checkpoint$")
    refused(tmp_path / "nothing", expected)
    refused("~/there/is/no/such/folder", r"no checkpoint at '/.*/there/is/no/such/folder'")
    file = tmp_path / "model.pt"
    file.write_bytes(b"x")
    refused(file, expected)


def test_a_package_must_be_named_to_be_trusted(checkpoint: Path) -> None:
    message = r"'my_package.MyNet' is not trusted; .* to allow it add 'trust=\[my_package\]'"
    refused(checkpoint, message)
    refused(checkpoint, message, trust=["my_pack", "other"])
    assert load_recognizer(checkpoint, trust=["my_package.MyNet"]).instruments == CODES


@pytest.mark.parametrize("part", ["model", "frontend"])
@pytest.mark.parametrize(
    "target",
    [
        "os.system", "builtins.eval", "torch.hub.load", "torch.load", "subprocess.Popen",
        "irdream.checkpoint_folder.load_recognizer", "irdream.models", "irdream.models_of_mine.Net",
        "torch.nnx.Linear", "",
    ],
)  # fmt: skip
def test_targets_that_are_not_trusted(checkpoint: Path, part: str, target: str) -> None:
    edited(checkpoint, **{part: {"_target_": target, "command": "true"}})
    refused(checkpoint, f"'{target}' is not trusted", trust=["my_package"])


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("irdream.models.Han2017", {}, "cannot import 'irdream.models.Han2017': "),
        ("irdream.models.han2017.Han", {}, "cannot import .* No module named"),
        ("torch.nn..", {}, "cannot import 'torch.nn..'"),
        ("irdream.models.Han2016", {"instrumets": 11}, "Han2016: .* unexpected keyword argument"),
        ("irdream.models.Han2016", {"instruments": "many"}, "cannot build .*Han2016: "),
        ("irdream.models.han2016.FILTERS", {}, "FILTERS cannot be built; expected a class of tor"),
        ("torch.nn.init.calculate_gain", {"nonlinearity": "relu"}, "gain cannot be built; expect"),
    ],
)
def test_models_that_cannot_be_built(
    tiny_frontend: Settings, target: str, arguments: Settings, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        new_recognizer(frontend=tiny_frontend, model={"_target_": target, **arguments})
    assert "\n" not in str(error.value)


def test_the_same_weights_are_one_network_wherever_they_lie(checkpoint: Path) -> None:
    one, copy, other = (load_recognizer(checkpoint, trust=["my_package"]) for _ in range(3))
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    assert same_weights(one, copy)
    assert not same_weights(one, other)
    unknown = (Recognizer(frontend=HanLogMel(), model=nn.Identity()) for _ in range(2))
    assert not same_weights(*unknown)  # without a spec: what it is, nobody knows

"""A checkpoint: one folder, from which a recognizer is built again.

`weights.safetensors` is the model's state (a front end has none), and `recognizer.json` says
what to build, with its arguments, labels, thresholds, scores and data. Nothing in it is
unpickled, and it can name only what `trust` allows: our own models and front ends, `torch.nn`,
and packages that the user names on purpose.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from irdream.errors import InputError, told
from irdream.files import NAMES, checkpoint_for, pitched, replacing
from irdream.instruments import CODES, labels_of
from irdream.networks import in_eval, unwrapped
from irdream.recognizer import Recognizer
from irdream.runtime import choose_device

FORMAT = 1
CHECKPOINTS = Path(__file__).parent / "checkpoints"
TRUSTED = ("irdream.frontends", "irdream.models", "torch.nn")
_KEYS: dict[str, Any] = {
    "format": int,
    "instruments": list,
    "output": str,
    "window_seconds": int | float,
    **dict.fromkeys(("frontend", "model", "thresholds", "card"), dict),
}


def new_recognizer(
    *,
    frontend: Mapping[str, Any],
    model: Mapping[str, Any],
    labels: Sequence[str] = CODES,
    window_seconds: float = 1.0,
    device: str | torch.device = "cpu",
    trust: Sequence[str] = (),
) -> Recognizer:
    """Build an untrained recognizer from `{"_target_": ..., **arguments}` of its parts.

    An argument that has a `_target_` is built likewise, and must be trusted likewise. A model that
    takes `instruments`, the number of its outputs, gets that of the labels unless it is given.
    """
    spec = {"frontend": dict(frontend), "model": dict(model)}
    takes = inspect.signature(_class_of(spec["model"], trust)).parameters
    if "instruments" in takes and takes["instruments"].default != len(labels):
        spec["model"].setdefault("instruments", len(labels))
    built = {part: _build(values, trust=trust) for part, values in spec.items()}
    _check_fixed(built["frontend"])
    names = getattr(built["model"], "not_kept", ())
    not_kept = {name: spec["model"].pop(name, None) for name in names}
    recognizer = Recognizer(**built, instruments=labels, window_seconds=window_seconds, spec=spec)
    recognizer.not_kept = not_kept
    return _placed(recognizer, device)


def save_recognizer(recognizer: Recognizer, folder: str | Path) -> None:
    """Write a checkpoint: weights first, then the description that makes it valid.

    What a recognizer that was built in Python lacks in its spec is taken from the classes of its
    parts: `_target_`, and arguments that are attributes of the same name. Raises InputError when it
    cannot be built again from its spec. Each of the two files is whole or absent.
    """
    if not isinstance(recognizer, Recognizer):
        raise InputError(
            f"a {type(recognizer).__name__} cannot be saved; expected a recognizer: "
            "Recognizer(frontend=..., model=..., instruments=...)"
        )
    _check_fixed(recognizer.frontend)
    model = unwrapped(recognizer.model)
    parts = {"frontend": recognizer.frontend, "model": model}
    known = recognizer.spec
    spec = {part: _spec_of(part, one, known.get(part, {})) for part, one in parts.items()}
    attributes = (value for module in model.modules() for value in vars(module).values())
    if spec != known or any(isinstance(value, Tensor) for value in attributes):
        _check_built_again(recognizer, spec)
    folder = Path(folder).expanduser()
    state = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)  # tied ones too
        for key, value in model.state_dict().items()
    }
    about = {
        "format": FORMAT,
        **spec,
        **({"channel_axis": True} if recognizer.channel_axis else {}),
        "instruments": list(recognizer.instruments),
        "output": recognizer.output,
        "window_seconds": recognizer.window_seconds,
        "temperature": recognizer.temperature,
        "thresholds": recognizer.thresholds,
        "card": recognizer.card,
    }
    text = json.dumps(about, indent=2, default=_plain) + "\n"
    with replacing(folder / "weights.safetensors") as file:
        file.write(safetensors.torch.save(state))
    with replacing(folder / "recognizer.json") as file:
        file.write(text.encode())


def _plain(value: Any) -> Any:
    """Return what JSON has for a value of a card: numbers and lists of NumPy's, else its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _check_fixed(frontend: nn.Module) -> None:
    """Check that a front end has nothing to be trained, which would be neither trained nor kept."""
    if any(weight.requires_grad for weight in frontend.parameters()):
        raise InputError(
            f"frontend {type(frontend).__name__} has weights, which are neither trained nor kept; "
            "expected them in the model, with frontend=Waveform(), or their requires_grad False if "
            "its arguments alone give them"
        )


def _spec_of(part: str, module: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `_target_` and the arguments of a part, missing ones from its attributes."""
    if "_target_" in given:
        return dict(given)
    kind = type(module)
    target = f"{kind.__module__}.{kind.__qualname__}"
    is_found = kind.__module__ != "__main__" and "." not in kind.__qualname__
    if not is_found or isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            f"the {part} is a {target}, which no checkpoint can name; expected a class at the top "
            "of a module that can be imported, such as my_package.Net"
        )
    spec = {"_target_": target, **given}
    for name, argument in inspect.signature(kind).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        value = getattr(module, name, argument.empty)
        if name not in spec and (value is None or isinstance(value, int | float | str)):
            spec[name] = value
        if name not in spec and argument.default is argument.empty:
            raise InputError(
                f"the {part} {target} takes {name!r}, which is not known; expected it in the "
                f"recognizer's spec: spec={{{part!r}: {{{name!r}: ...}}}}"
            )
    return spec


@torch.no_grad()
def _check_built_again(recognizer: Recognizer, spec: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a spec with the recognizer's weights gives the same logits."""
    trust = [str(one["_target_"]).partition(".")[0] for one in spec.values()]
    built = {part: _build(one, trust=trust).to(recognizer.device) for part, one in spec.items()}
    samples = math.ceil(recognizer.window_seconds * recognizer.sample_rate_hz)
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(1, samples, generator=generator, device="cpu") / 10
    again = copy.copy(recognizer)
    again._modules = built
    problem = "it gives other logits"
    try:
        built["model"].load_state_dict(unwrapped(recognizer.model).state_dict(), assign=True)
        with in_eval(recognizer):
            first = recognizer.window_probabilities(waveform)
        if torch.allclose(first, again.eval().window_probabilities(waveform), atol=1e-4):
            return
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
    raise InputError(
        f"the recognizer cannot be built again as {json.dumps(spec)}: {problem}; expected the "
        "arguments of frontend and model in its spec, and what is learned in parameters and buffers"
    )


@torch.inference_mode(False)
def load_recognizer(
    path: str | Path, *, device: str | torch.device = "cpu", trust: Sequence[str] = ()
) -> Recognizer:
    """Load a checkpoint folder, in eval mode.

    Those of NAMES come with irdream: "shipped", Han's network; "second", another network trained on
    other music, which says whether a dream transfers; "robust", to dream with; "musicnn". Raises
    InputError when it is missing, damaged, of another format, or names code outside the allow-list.
    """
    path, semitones = pitched(str(path))
    folder = CHECKPOINTS / path if path in NAMES else Path(path).expanduser()
    about, weights = _read(folder)
    spec = {part: about[part] for part in ("frontend", "model")}
    labels = labels_of(about["instruments"], f"checkpoint {str(folder)!r} has the ")
    with torch.random.fork_rng([]):  # first weights, which are not used
        built = {part: _build(values, trust=trust) for part, values in spec.items()}
    target = spec["model"]["_target_"]
    try:
        built["model"].load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"weights of {str(folder)!r} do not fit {target}: {reason}") from error
    others = {key: about[key] for key in ("window_seconds", "thresholds", "card")}
    temperature = about.get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise InputError(
            f"checkpoint {str(folder)!r} has the temperature {temperature!r}; expected a number "
            "above 0"
        )
    has_own = isinstance(getattr(built["model"], "output", None), str)
    others |= {"temperature": float(temperature), "output": None if has_own else about["output"]}
    recognizer = Recognizer(**built, instruments=labels, **others, spec=spec)
    recognizer.channel_axis = about.get("channel_axis", False) is True
    if recognizer.output != about["output"]:
        raise InputError(
            f"checkpoint {str(folder)!r} has the output {about['output']!r}; "
            f"expected {recognizer.output!r}, as {target} has it"
        )
    return _placed(recognizer, device).eval().transposed(semitones)


def _placed(recognizer: Recognizer, device: str | torch.device) -> Recognizer:
    """Move to a device, convolutions in the layout that is a third faster on a CPU."""
    if not any(map(is_lazy, recognizer.model.parameters())):
        recognizer.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return recognizer.to(choose_device(str(device)))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        about = json.loads((folder / "recognizer.json").read_text())
        weights = safetensors.torch.load((folder / "weights.safetensors").read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"no checkpoint at {str(folder)!r} ({Path(error.filename).name} is missing); "
            f"expected {checkpoint_for(folder)}"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"checkpoint {str(folder)!r} is damaged: {error}; copy it again, or train again"
        ) from error
    if not isinstance(about, dict) or not all(isinstance(about.get(k), _KEYS[k]) for k in _KEYS):
        raise InputError(
            f"{str(folder / 'recognizer.json')!r} is no recognizer; expected {', '.join(_KEYS)}"
        )
    if about["format"] != FORMAT:
        raise InputError(
            f"checkpoint {str(folder)!r} has format {about['format']}; expected {FORMAT}: "
            "use the version of irdream that wrote it, or train again"
        )
    return about, weights


def _build(spec: Mapping[str, Any], *, trust: Sequence[str]) -> Any:
    """Call the `_target_` of a spec with its other entries, if it may be called."""
    made = _class_of(spec, trust)
    arguments = {name: value for name, value in spec.items() if name != "_target_"}
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            arguments[name] = _build(value, trust=trust)
    try:
        return made(**arguments)
    except Exception as error:  # whatever a model of one's own raises
        raise InputError(f"cannot build {spec['_target_']}: {told(error)}") from error


def _class_of(spec: Mapping[str, Any], trust: Sequence[str]) -> type[nn.Module]:
    """Import the `_target_` of a spec, if it is trusted."""
    target = str(spec.get("_target_", ""))
    allowed = (*TRUSTED, *trust)
    if target not in trust and not any(target.startswith(f"{package}.") for package in allowed):
        raise InputError(
            f"{target!r} is not trusted; expected something in {', '.join(allowed)}; "
            f"to allow it add 'trust=[{target.split('.')[0]}]'"
        )
    module, _, name = target.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module of one's own raises
        raise InputError(f"cannot import {target!r}: {told(error)}") from error
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise InputError(f"{target} cannot be built; expected a class of torch.nn.Module")
    return made

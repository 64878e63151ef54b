"""What Hydra and OmegaConf say of a command line, in one line with the nearest known key.

Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from omegaconf.errors import ConfigKeyError

from irdream.cli.keys import CONF, groups, known_keys
from irdream.errors import nearest, told

EXTRAS = {"joblib": "joblib", "ray": "ray", "slurm": "slurm", "submitit": "slurm"}  # of launchers


def explain(error: Exception) -> str:
    """Return an error of Hydra or OmegaConf as one line, with the nearest known word."""
    text = str(error)
    for pattern, tell in _TOLD.items():
        if match := re.search(pattern, text):
            return tell(match, error)
    if match := re.search(r"full_key: (\S+)", text):
        if isinstance(error, ConfigKeyError):
            return unknown_key(match[1])
        return f"{match[1]}: {text.strip().splitlines()[0]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3]) or told(error)


def needed_extra(text: str) -> str | None:
    """Say which extra a launcher needs whose plugin is not installed; None for other errors."""
    match = re.search(r"Could not (?:find|load) 'hydra/launcher/([a-z]+)", text)
    match = match or re.search(r"plugin class : 'hydra_plugins\.hydra_([a-z]+)_\w*launcher", text)
    if match is None or match[1] not in EXTRAS:
        return None
    extra = EXTRAS[match[1]]
    return f'hydra/launcher={extra} needs the extra {extra}; pip install "irdream[{extra}]"'


def unknown_key(key: str) -> str:
    """Say that there is no such key, and which one may be meant."""
    known = known_keys()
    if not key.startswith("task."):  # whose keys are filled by others
        known = {name: choices for name, choices in known.items() if name[:5] != "task."}
    section, _, last = key.rpartition(".")
    if key.startswith("hydra.sweeper.params"):
        return f"{key} is not there yet; expected a + before it, and quotes: '+{key}=...'"
    if known.get(key) == []:
        return f"{key} is not in this configuration; expected 'defaults: [config]' in its yaml"
    if choices := known.get(key):
        group = key.partition(".")[0]
        return (
            f"{key} is no key of the {group} that is chosen; it belongs to "
            f"{group}={' or '.join(choices)}"
        )
    elsewhere = [name for name in known if name.rpartition(".")[2] == last]  # dream.steps for steps
    depth = min((name.count(".") for name in elsewhere), default=0)
    if elsewhere := [name for name in elsewhere if name.count(".") == depth]:
        return f"unknown key {key!r}; did you mean {' or '.join(map(repr, elsewhere[:3]))}?"
    beside = [name for name in known if name.rpartition(".")[0] == section]
    names = {name.rpartition(".")[2]: name for name in beside}
    near = re.sub(r"'(\w+)'", lambda word: repr(names[word[1]]), nearest(last, names, count=2))
    if key.startswith("hydra."):
        remedy = "; python main.py --cfg hydra shows Hydra's"
    elif near := near or nearest(key, known, count=2):
        remedy = near
    elif beside and section:
        remedy = f"; expected one of {', '.join(beside)}"
    else:
        remedy = "; python -m irdream.cli.reference shows all"
    return f"unknown key {key!r}{remedy}"


def unknown_target(key: str, target: str) -> str:
    """Say that irdream has nothing of this name, and what may be meant."""
    texts = (path.read_text(encoding="utf-8") for path in CONF.glob("**/*.yaml"))
    known = {match for text in texts for match in re.findall(r"_target_: (irdream\.\S+)", text)}
    return f"{key}_target_={target} is not in irdream{nearest(target, sorted(known))}"


def _no_choice(match: re.Match[str], error: Exception) -> str:
    if needed := needed_extra(str(error)):
        return needed
    found = re.search(r"Available options in '([^']+)'", str(error))
    group = found[1] if found else match[1].rpartition("/")[0]
    choice = match[1].removeprefix(group).lstrip("/")
    listed = str(error).partition("Available options")[2].partition("Config search path")[0]
    options = [line.strip() for line in listed.splitlines()[1:] if line.strip()]
    if (within := choice.rpartition("/")[0]) and (CONF / group / within).is_dir():
        options = [f"{within}/{one.stem}" for one in sorted((CONF / group / within).glob("*.yaml"))]
    elif within or choice.endswith((".yaml", ".yml")):
        name = Path(choice).stem
        return (
            f"unknown {group} {choice!r}; expected a name: of FOLDER/{group}/{name}.yaml it is "
            f"--config-dir FOLDER {group}={name}"
        )
    if "," in choice:
        return f"{group}={choice} has several choices; expected one, or -m for a job with each"
    near = nearest(choice, options, count=2)
    return f"unknown {group} {choice!r}; expected one of {', '.join(options)}{near}"


def _no_argument(match: re.Match[str], error: Exception) -> str:
    target = re.search(r"call to target '([\w.]+)'", str(error))
    names = _arguments_of(target[1]) if target else []
    expected = f"; expected {' or '.join(sorted(names))}" if names else ""
    near = nearest(match[1], names) or expected
    return f"unknown key {match[1]!r}{f' of {target[1]}' if target else ''}{near}"


def _arguments_of(target: str) -> list[str]:
    """Return the arguments of a target that Hydra could import."""
    module, _, name = target.rpartition(".")
    with contextlib.suppress(AttributeError, ImportError, TypeError, ValueError):
        return [*inspect.signature(getattr(importlib.import_module(module), name)).parameters]
    return []


def _not_built(match: re.Match[str], error: Exception) -> str:
    return f"{_where(error)}cannot build {match[1]}: {told(error.__cause__ or error)}"


def _not_found(match: re.Match[str], error: Exception) -> str:
    package, cause = match[1].partition(".")[0], error.__cause__ or error
    cause = cause.__cause__ or cause  # Hydra has two of its own above it
    is_away = isinstance(cause, ModuleNotFoundError) and cause.name == package
    remedy = f"; put the folder of {package} on PYTHONPATH" if is_away else ""
    module, _, name = match[1].rpartition(".")
    is_lacking = module and isinstance(cause, ModuleNotFoundError) and cause.name == match[1]
    reason = f"{module} has no {name}; check the name" if is_lacking else told(cause)
    return f"{_where(error)}cannot import {match[1]}: {reason}{remedy}"


def _where(error: Exception) -> str:
    """Return the key that an error of Hydra's belongs to, from its group on, and a colon."""
    match = re.search(r"full_key: (\S+)", str(error))
    parts = match[1].split(".") if match else []
    places = [i for i, part in enumerate(parts) if part != "task" and part in groups()]
    return f"{'.'.join(parts[places[-1] if places else 0 :])}: " if parts else ""


def _no_value(match: re.Match[str], error: Exception) -> str:
    if match[1] in known_keys():
        return f"{match[1]} has no value; expected {match[1]}=VALUE"
    return _unreadable(match, error)


def _unreadable(match: re.Match[str], error: Exception) -> str:
    word = str(getattr(error, "override", "") or "")
    return (
        f"cannot read {word!r}; expected key=value, in quotes where it has brackets, commas or "
        "spaces: 'key=[1,2]'"
    )


_TOLD: dict[str, Callable[[re.Match[str], Exception], str]] = {
    r"Could not find '([\w@/]+/[^']*)'": _no_choice,
    r"Could not (?:override|delete from config\.) '([^']+)'": lambda match, _: unknown_key(
        match[1]
    ),
    r"An item is already at '([^']+)'": (
        lambda match, _: f"+{match[1]} adds a key that is there; leave out the +"
    ),
    r"Multiple values for ([\w/@.]+)\.": (
        lambda match, _: (
            f"{match[1]} is chosen twice; type {match[1]}=CHOICE without +, or in the defaults of "
            f"a yaml 'override /{match[1]}: CHOICE'"
        )
    ),
    r"Error parsing override '([^']+)'\s+missing EQUAL": _no_value,
    r"Ambiguous value for argument '(([^=']+)=([^']*))'": (
        lambda match, _: (
            f"{match[1]} has several values; add -m for a job with each, or type a list: "
            f"'{match[2]}=[{match[3]}]'"
        )
    ),
    r"does not support sweep type : INTERVAL": lambda *_: (
        "interval(...) is searched with hydra/sweeper=optuna; expected it, or values: KEY=1,2,3"
    ),
    r"LexerNoViableAlt|no viable alternative|(mismatched|extraneous) input|token recognition": (
        _unreadable
    ),
    r"Error merging override (.+)": (
        lambda match, error: f"{match[1]}: {str(error.__cause__).splitlines()[0]}"
    ),
    r"unexpected keyword argument '(\w+)'": _no_argument,
    r"Error locating target '([^']*)'": _not_found,
    r"Error in (?:call to target|collecting args and kwargs for) '([^']*)'": _not_built,
    r"Error in creating partial\(([^,]*),": _not_built,
}

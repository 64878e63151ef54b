"""Mistakes on the command line in words: what Hydra and OmegaConf say, and the nearest known key.

Nothing heavy is imported here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf.errors import ConfigKeyError

from irdream.cli import settings
from irdream.errors import nearest, told

CONF = Path(__file__).resolve().parents[3] / "conf"
EXTRAS = {  # of irdream, by what launchers are called
    "joblib": "joblib",
    "ray": "ray",
    "slurm": "slurm",
    "submitit": "slurm",
}
Known = Mapping[str, Sequence[str]]  # a key, and the choices of its group that have it


@functools.cache
def known_keys(conf: Path) -> dict[str, list[str]]:
    """Return all keys: those of the schema, and with its choices each key of conf/<group>/.

    Reading the yamls takes some 30 ms.
    """
    known: dict[str, list[str]] = {name: [] for name in (*settings.keys(), *settings.sections())}
    known["experiment"] = []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(conf.glob("**/*.yaml")):
        if path.parent == conf:
            continue
        text = path.read_text(encoding="utf-8")
        group = path.parent.relative_to(conf).as_posix()
        prefix = "" if "@package _global_" in text else f"{group.replace('/', '.')}."
        for key in _flat(yaml.load(text, Loader=loader), prefix):
            choices = known.setdefault(key, [])
            if key.startswith(group.replace("/", ".")):
                choices.append(path.stem)
    return known


def _flat(node: Any, prefix: str) -> Iterator[str]:
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = [(k, v) for k, v in node.items() if k != "defaults" and not str(k).startswith("_")]
    elif isinstance(node, list) and any(isinstance(value, dict) for value in node):
        items = list(enumerate(node))
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _flat(value, f"{prefix}{key}.")


def unknown_key(key: str, known: Known) -> str:
    """Say that there is no such key, and which one may be meant."""
    if not key.startswith("task."):  # whose keys are filled by others
        known = {name: choices for name, choices in known.items() if name[:5] != "task."}
    section, _, last = key.rpartition(".")
    if group_choices := known.get(key):
        group = key.partition(".")[0]
        return (
            f"{key} is no key of the {group} that is chosen; it belongs to "
            f"{group}={' or '.join(group_choices)}"
        )
    there = [name for name in known if name.rpartition(".")[0] == section]
    if elsewhere := _elsewhere(last, known):
        return f"unknown key {key!r}; did you mean {' or '.join(map(repr, elsewhere[:3]))}?"
    by_last = {name.rpartition(".")[2]: name for name in there}
    if near := nearest(last, by_last, count=2):
        for name in sorted(by_last, key=len, reverse=True):
            near = near.replace(f"'{name}'", repr(by_last[name]))
        return f"unknown key {key!r}{near}"
    if key.startswith("hydra."):
        return f"unknown key {key!r}; python main.py --cfg hydra shows Hydra's"
    if near := nearest(key, known, count=2):
        return f"unknown key {key!r}{near}"
    if there and section:
        return f"unknown key {key!r}; expected one of {', '.join(there)}"
    return (
        f"unknown key {key!r}; python main.py --cfg job shows all, docs/configuration.md what for"
    )


def _elsewhere(last: str, known: Known) -> list[str]:
    """Return the right word in other places, such as dream.steps for steps, nearest the top."""
    names = [name for name in known if name.rpartition(".")[2] == last]
    depth = min((name.count(".") for name in names), default=0)
    return [name for name in names if name.count(".") == depth]


def needed_extra(text: str) -> str | None:
    """Say which extra a launcher needs whose plugin is not installed; None for other errors."""
    match = re.search(r"Could not (?:find|load) 'hydra/launcher/([a-z]+)", text)
    match = match or re.search(r"plugin class : 'hydra_plugins\.hydra_([a-z]+)_\w*launcher", text)
    if match is None or match[1] not in EXTRAS:
        return None
    extra = EXTRAS[match[1]]
    return f'hydra/launcher={extra} needs the extra {extra}; pip install "irdream[{extra}]"'


def explain(error: Exception, *, known: Known | None = None) -> str:
    """Return an error of Hydra or OmegaConf as one line, with the nearest known word.

    Args:
        error: what was raised.
        known: keys and the choices that have them; see `known_keys`.
    """
    text, known = str(error), known or {}
    if needed := needed_extra(text):
        return needed
    for pattern, tell in _TOLD:
        if match := re.search(pattern, text):
            return tell(match, known, error)
    if isinstance(error, ConfigKeyError) and (match := re.search(r"full_key: (\S+)", text)):
        return unknown_key(match[1], known)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if match := re.search(r"full_key: (\S+)", text):
        return f"{match[1]}: {lines[0]}"
    return " ".join(lines[:3])


def _no_choice(match: re.Match[str], known: Known, error: Exception) -> str:
    group, _, choice = match[1].rpartition("/")
    listed = str(error).partition("Available options")[2].partition("Config search path")[0]
    options = [line.strip() for line in listed.splitlines()[1:] if line.strip()]
    near = nearest(choice, options, count=2)
    return f"unknown {group} {choice!r}; expected one of {', '.join(options)}{near}"


def _no_key(match: re.Match[str], known: Known, error: Exception) -> str:
    return unknown_key(match[1], known)


def _no_argument(match: re.Match[str], known: Known, error: Exception) -> str:
    target = re.search(r"call to target '([\w.]+)'", str(error))
    near = nearest(match[1], [key.rpartition(".")[2] for key in known])
    return f"unknown key {match[1]!r}{f' of {target[1]}' if target else ''}{near}"


def _not_built(match: re.Match[str], known: Known, error: Exception) -> str:
    return f"{_where(error)}cannot build {match[1]}: {told(error.__cause__ or error)}"


def _not_found(match: re.Match[str], known: Known, error: Exception) -> str:
    package, cause = match[1].partition(".")[0], error.__cause__ or error
    cause = cause.__cause__ or cause  # Hydra has two of its own above it
    is_away = isinstance(cause, ModuleNotFoundError) and cause.name == package
    remedy = f"; put the folder of {package} on PYTHONPATH" if is_away else ""
    return f"{_where(error)}cannot import {match[1]}: {told(cause)}{remedy}"


def unknown_target(key: str, target: str, conf: Path = CONF) -> str:
    """Say that irdream has nothing of this name, and what may be meant."""
    texts = (path.read_text(encoding="utf-8") for path in conf.glob("**/*.yaml"))
    known = {match for text in texts for match in re.findall(r"_target_: (irdream\.\S+)", text)}
    return f"{key}_target_={target} is not in irdream{nearest(target, sorted(known))}"


def _where(error: Exception) -> str:
    """Return the key that an error of Hydra's belongs to, from its group on, and a colon."""
    match = re.search(r"full_key: (\S+)", str(error))
    parts = match[1].split(".") if match else []
    known = settings.keys()
    groups = [i for i, part in enumerate(parts) if part != "task" and part in known]
    return f"{'.'.join(parts[groups[-1] if groups else 0 :])}: " if parts else ""


def _unreadable(match: re.Match[str], known: Known, error: Exception) -> str:
    word = str(getattr(error, "override", "") or "")
    return (
        f"cannot read {word!r}; expected key=value, in quotes where it has brackets, commas or "
        "spaces: 'key=[1,2]'"
    )


_TOLD: tuple[tuple[str, Callable[[re.Match[str], Known, Exception], str]], ...] = (
    (r"Could not find '([\w@/]+/[^'/]+)'", _no_choice),
    (r"Could not override '([^']+)'", _no_key),
    (r"Could not delete from config\. '([^']+)' does not exist", _no_key),
    (
        r"An item is already at '([^']+)'",
        lambda match, *_: f"+{match[1]} adds a key that is there; leave out the +",
    ),
    (
        r"Multiple values for ([\w/@.]+)\.",
        lambda match, *_: f"{match[1]} is chosen twice; type {match[1]}=CHOICE without +",
    ),
    (
        r"Error parsing override '([^'=]+)'\s+missing EQUAL",
        lambda match, known, error: (
            f"{match[1]} has no value; expected {match[1]}=VALUE"
            if match[1] in known
            else _unreadable(match, known, error)
        ),
    ),
    (
        r"Ambiguous value for argument '(([^=']+)=([^']*))'",
        lambda match, *_: (
            f"{match[1]} has several values; add -m for a job with each, or type a list: "
            f"'{match[2]}=[{match[3]}]'"
        ),
    ),
    (r"LexerNoViableAlt|no viable alternative|mismatched input|extraneous input|token recognition",
     _unreadable),
    (
        r"Error merging override (.+)",
        lambda match, _, error: f"{match[1]}: {str(error.__cause__).splitlines()[0]}",
    ),
    (r"unexpected keyword argument '(\w+)'", _no_argument),
    (r"Error locating target '([^']*)'", _not_found),
    (r"Error in (?:call to target|collecting args and kwargs for) '([^']*)'", _not_built),
    (r"Error in creating partial\(([^,]*),", _not_built),
)  # fmt: skip

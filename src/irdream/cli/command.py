"""The command line without Hydra: configurations are checked, mistakes told in one line each.

`check` holds a composed configuration, wherever its keys come from, against the arguments that they
are passed to (`irdream.cli.keys`). `line` turns errors into one line with the nearest word. Nothing
heavy is imported here, so that a typo is answered at once.
"""

from __future__ import annotations

import atexit
import errno
import functools
import inspect
import os
import re
import shutil
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from irdream import arguments
from irdream.arguments import shown
from irdream.cli import keys
from irdream.cli.hydra_errors import explain, needed_extra, unknown_key, unknown_target
from irdream.errors import InputError, nearest
from irdream.files import NAMES, checkpoint_for, pitched
from irdream.instruments import CODES

_OF_LAUNCHERS = ("joblib.", "ray.")  # what is raised there is no defect: a process has died
_NO_MEMORY = re.compile(r"(?:unable|tried) to allocate [\d.]+ \w+", re.IGNORECASE)  # NumPy, torch
_SYSTEM = {  # errors of the system that a person can mend, and how
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space and run again"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), "change its permissions, or choose another folder"
    ),
    **dict.fromkeys((errno.EROFS, errno.EEXIST, errno.ENOTDIR), "choose another folder"),
    errno.ENOENT: "check the path",
    errno.EISDIR: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EFBIG: "raise the limit on the size of files, 'ulimit -f', or choose another disk",
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.EIO: "check the disk, or choose another",
}
TRUSTED = ("irdream.", "torch.optim.", "torch.nn.", "functools.partial")
_FLAGS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run",
    "--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir",
    "--experimental-rerun", "--info",
)  # fmt: skip
_SHORT_FLAGS = tuple("hcprmsi")


def check_flags(words: Sequence[str]) -> None:
    """Check the words that begin with a dash, before Hydra answers with its usage."""
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and not any(known.startswith(flag) for known in _FLAGS):
            near = nearest(flag, _FLAGS, count=1)
            raise InputError(
                f"unknown flag {flag!r}{near}; keys are typed without dashes: target=flute; "
                "see --help and --hydra-help"
            )
        if re.match(r"-[^-]", word) and not word[1:].startswith(_SHORT_FLAGS):
            raise InputError(f"unknown flag {word!r}; see --help and --hydra-help")


def flags_first(words: Sequence[str]) -> list[str]:
    """Return the words with flags and their values before keys, the one order argparse takes."""
    is_flag = [
        word.startswith("-")
        or (before.startswith("-") and not (word.startswith("~") or "=" in before + word))
        for before, word in zip(["", *words], words, strict=False)
    ]
    order = sorted(range(len(words)), key=lambda i: not is_flag[i])
    return [words[i] for i in order]


def without_files(words: list[str]) -> list[str]:
    """Return the words of a command; with `--info` or `info=true` such that leave no files."""
    words = ["info=true" if word == "--info" else word for word in words]
    if any(re.fullmatch(r"\+*info=true", word, re.IGNORECASE) for word in words):
        folder = tempfile.mkdtemp(prefix="irdream-info-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        words += [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
    return words


def check_info(task: functools.partial[Any]) -> bool:
    """Return True where a task takes `info`; raise InputError where it would run instead."""
    if "info" not in inspect.signature(task.func).parameters:
        name = f"{task.func.__module__}.{task.func.__qualname__}"
        raise InputError(
            f"info=true, and {name} has no argument 'info' that lets it only say what it would do; "
            "leave info out"
        )
    return True


def prepare(config: DictConfig, typed: Sequence[str]) -> None:
    """Let each `_target_` that was typed start anew, and trust it.

    The keys of the choice that it replaces are taken away, but for those that were typed for it and
    those that say how it is built, such as `_partial_`.
    """
    keys = [word.lstrip("+").partition("=")[0] for word in typed]
    targets = typed_targets(typed)
    with open_dict(config):
        for node, target in targets.items():
            kept = {key.removeprefix(f"{node}.").partition(".")[0] for key in keys}
            replaced: Any = OmegaConf.select(config, node)
            for key in [str(key) for key in replaced]:
                if not key.startswith("_") and key not in kept:
                    del replaced[key]
            if target.startswith("torch.optim."):  # which needs what the task has
                replaced._partial_ = True
        if targets and OmegaConf.is_list(trust := config.get("trust")):
            packages = [target.partition(".")[0] for target in targets.values()]
            config.trust = list(dict.fromkeys([*trust, *packages]))


def typed_targets(words: Sequence[str]) -> dict[str, str]:
    """Return the typed `<node>._target_=<target>` by node, such as model: my_package.Net."""
    found = [re.fullmatch(r"\+*(?!hydra\.)([\w.]+)\._target_=(.+)", word) for word in words]
    return {match[1]: match[2].strip("'\"") for match in found if match}


def check(config: DictConfig) -> None:
    """Check keys, types, ranges, the target's words, paths, and what would be called with what.

    Raises InputError with a line for each value that cannot be used, or one on another mistake;
    OmegaConfBaseException where an interpolation leads nowhere.
    """
    from irdream.dreaming.targets import parse_targets

    plain: Any = OmegaConf.to_container(config)
    plain.pop("hydra", None)  # Hydra checks its own
    _check_names(plain)
    known = keys.all_keys()
    values = {}
    for name in known:
        found = OmegaConf.select(config, name)  # interpolations are followed
        is_node = OmegaConf.is_config(found)
        values[name] = OmegaConf.to_container(found, resolve=True) if is_node else found
    arguments.check({name: (values[name], key.hint) for name, key in known.items()})
    given = values["checkpoint"]
    ours = {given} if isinstance(given, str) else {*given}
    # the labels of others are known when they are loaded
    known_labels = {pitched(one)[0] for one in ours} <= {*NAMES}
    wanted = keys.hint(str(OmegaConf.select(config, "task._target_")), "target")
    arguments.check({"target": (values["target"], wanted)})  # null is for some tasks
    if values["target"] is not None:
        parse_targets(values["target"], CODES if known_labels else None)
    _check_targets(plain, (*TRUSTED, *(f"{package}." for package in values["trust"])))
    try:
        task = OmegaConf.to_container(config.task, resolve=True, throw_on_missing=True)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error.full_key).removeprefix("task.")
        raise InputError(f"{key} is not set; expected {key}=...") from error
    _check_paths(plain, task)


def _check_names(plain: Mapping[str, Any]) -> None:
    """Raise InputError for a key that there is not, and for one that is missing."""
    names, groups, sections = keys.all_keys(), keys.groups(), keys.sections()
    there = [name for name in plain if name not in sections]
    for section in (name for name in sections if name in plain):
        if not isinstance(plain[section], Mapping):
            first = next(name for name in names if name.startswith(f"{section}."))
            given = f"{section}={shown(plain[section])}"
            raise InputError(f"{given}; expected keys below it, such as {first}=...")
        there += [f"{section}.{key}" for key in plain[section]]
    for name in there:
        if name not in names and name not in groups:
            if isinstance(plain.get(name), Mapping) and (keys.CONF / name).is_dir():
                raise InputError(
                    f"{name} is no key of a task; expected '# @package _global_' as the first line "
                    f"of a yaml in {name}/"
                )
            raise InputError(unknown_key(name))
    for name in (*sections, *names, *groups):
        if name not in there and name not in plain:
            expected = f"; expected {names[name].expected()}" if name in names else ""
            raise InputError(f"{name} is missing{expected}; do not take it away")
    for name, may_be_none in groups.items():
        if not (isinstance(plain[name], Mapping | list) or (may_be_none and plain[name] is None)):
            raise InputError(
                f"{name}={shown(plain[name])}; expected a choice of the group, see conf/{name}"
            )
        if isinstance(plain[name], Mapping) and "_target_" not in plain[name]:
            raise InputError(unknown_key(f"{name}.{next(iter(plain[name]), '')}"))


def _check_targets(plain: Mapping[str, Any], trusted: tuple[str, ...]) -> None:
    """Raise InputError for a `_target_` that is not trusted, or arguments it does not take."""
    given: dict[str, tuple[Any, Any]] = {}
    for place, target, values in keys.targets(plain):
        if not target.startswith(trusted):
            raise InputError(
                f"{place}_target_={target} is not trusted; expected something in irdream, "
                f"torch.optim or torch.nn; to allow it add 'trust=[{target.split('.')[0]}]'"
            )
        if keys.is_missing(target):
            raise InputError(unknown_target(place, target))
        if (names := keys.parameters(target)) is None:
            continue
        for name, value in values.items():
            if name not in names:
                expected = f"; expected {' or '.join(sorted(names))}"
                near = nearest(name, names) or (expected if names else ", which takes none")
                raise InputError(f"unknown key '{place}{name}' of {target}{near}")
            if value != "???" and "${" not in str(value):
                given[f"{place}{name}"] = value, keys.hint(target, name)
    arguments.check(given)


def _check_paths(plain: Mapping[str, Any], task: Any) -> None:
    """Raise InputError for a path that is not there, and a file where a folder is to be made."""
    for place, target, given in keys.targets(task, "task."):
        annotations = keys.parameters(target) or {}
        for name, value in given.items():
            is_path = "ExistingPath" in annotations.get(name, "") and not given.get("download")
            is_checkpoint = name == "path" and target.endswith(
                (".checkpoint.load", ".load_optional")
            )
            problem_of = _problem_of_checkpoint if is_checkpoint else _problem_of_path
            paths: Any = value if isinstance(value, list) and is_checkpoint else [value]
            for path in paths if is_path or is_checkpoint else ():
                if isinstance(path, str) and (problem := problem_of(path)):
                    raise InputError(f"{_typed_key(plain, place + name)}={path} {problem}")
    for name in ("store", "cache_dir", "paper.publish"):
        value = _at(plain, name)
        path = Path(value or ".").expanduser()
        if file := next((one for one in (path, *path.parents) if one.is_file()), None):
            raise InputError(f"{name}={value} is no folder: {str(file)!r} is a file")


def _problem_of_path(path: str) -> str:
    if os.path.exists(there := os.path.expanduser(path)):
        return ""
    folder, name = os.path.split(there)
    names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    return f"does not exist; expected a file or a folder{nearest(name, names)}"


def _problem_of_checkpoint(path: str) -> str:
    path, _ = pitched(path)
    is_known = path.startswith(("runs:/", "models:/")) or path in NAMES
    if is_known or (Path(path).expanduser() / "recognizer.json").is_file():
        return ""
    return f"is no checkpoint; expected {checkpoint_for(path)}"


def _typed_key(plain: Mapping[str, Any], place: str) -> str:
    """Return where a value of the task was set: task.start.path is start.path."""
    node, key = plain, ""
    for part in place.split("."):
        node, key = _at(node, part), f"{key}.{part}"
        while isinstance(node, str) and (match := re.fullmatch(r"\$\{([\w.]+)\}", node)):
            node, key = _at(plain, match[1]), match[1]
    return key.lstrip(".")


def _at(node: Any, place: str) -> Any:
    for part in place.split("."):
        node = node[int(part) if isinstance(node, list) else part]
    return node


def line(error: Exception, *, trust: Sequence[str] = ()) -> str | None:
    """Return what to tell the user of an error, a line a value; None for a defect of irdream."""
    cause: BaseException | None = error
    while cause is not None:
        if (said := _of_cause(cause, trust)) is not None:
            return "\n".join(f"error: {one}" for one in said.splitlines())
        cause = cause.__cause__ or cause.__context__
    match = re.fullmatch(r"invalid literal for int\(\) with base 10: '(.*)'", str(error))
    if match and "omegaconf" in traceback.extract_tb(error.__traceback__)[-1].filename:
        return f"error: {match[1]!r} is no item of a list; expected a number, such as 0"
    if type(error).__module__.startswith("yaml."):
        return f"error: {' '.join(str(error).split())}"
    asked = traceback.extract_tb(error.__traceback__)[-1:]
    is_hydras = type(error).__module__.startswith(("hydra.", "omegaconf.")) or (
        isinstance(error, ValueError)
        and any(re.search("/(hydra|joblib)/", frame.filename) for frame in asked)
    )
    return f"error: {explain(error)}" if is_hydras else None


def _of_cause(error: BaseException, trust: Sequence[str]) -> str | None:
    """Return a message for an error that the user can mend; None for any other."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        where = f" {str(error.filename)!r}" if error.filename else ""
        return f"{os.strerror(error.errno)}{where}; {_SYSTEM[error.errno]}"
    if asked := _NO_MEMORY.search(str(error)):
        return f"out of memory: {asked[0]}; take shorter sounds, or a smaller train.batch_size"
    if isinstance(error, UnicodeDecodeError):
        around = error.object[max(0, error.start - 20) : error.end + 20]
        return f"{around!r} is no text in UTF-8; save the file as UTF-8"
    if isinstance(error, AttributeError) and (lacking := _lacking(error, trust)):
        return lacking
    if isinstance(error, ConnectionError) or type(error).__module__.startswith(_OF_LAUNCHERS):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return needed_extra(str(error))


def _lacking(error: AttributeError, trust: Sequence[str]) -> str | None:
    """Say what irdream asked of a user's own object that it does not have."""
    kind = type(error.obj)
    asked_by = traceback.extract_tb(error.__traceback__)[-1].filename
    is_ours = Path(asked_by).is_relative_to(Path(__file__).resolve().parents[1])
    if kind.__module__.partition(".")[0] not in trust or not is_ours:
        return None
    return (
        f"{kind.__module__}.{kind.__qualname__} has no {error.name!r}, which irdream asks of it; "
        "add it, or derive the class from the one of irdream that it replaces"
    )

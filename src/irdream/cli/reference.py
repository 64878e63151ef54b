"""The page of all keys:  python -m irdream.cli.reference > docs/configuration.md

Types and ranges come from `irdream.cli.settings`, defaults and meanings from conf/config.yaml,
and what a group's choices do from the first comment of their yamls. A test holds the page up to
date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from irdream.cli import settings
from irdream.cli.hydra_errors import CONF
from irdream.errors import InputError

_LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>( [^#]*)?)(# (?P<words>.*))?")
_COMMAND = re.compile(r"(?P<words>.*?):\s+(?P<command>python main\.py .*)", re.DOTALL)
TOP = "At the top"
OPENING = """# Configuration

`python main.py key=value ...` changes a key, `group=choice` takes `conf/<group>/<choice>.yaml`,
`section.key` and `group.key` are keys below them. `+key=value` adds a key that a group's yaml does
not name, such as `+dataset.name=mine`; `~key` takes one away. Values are checked before anything is
loaded; a mistake is answered in one line with the nearest word.

| to see | type |
| --- | --- |
| all keys as they would be | `python main.py task=train --cfg job` |
| what would run, in one line | `python main.py task=train info=true` |
| tasks, groups, examples | `python main.py --help` |

## Completion

```sh
source src/irdream/cli/completion.bash
```

in bash, or in zsh after `autoload -U compinit bashcompinit && compinit && bashcompinit`. Then TAB
completes groups, choices and keys after `python main.py`, also with `.venv/bin/python`. Each TAB
asks main.py, which takes half a second.
"""


class Line(NamedTuple):
    """A key as a yaml has it: its default and its comment."""

    default: str
    words: str


def documented(config: Path) -> dict[str, Line]:
    """Return the keys of conf/config.yaml with their comments, those of sections with a dot."""
    found, section = {}, ""
    for text in config.read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(text)
        if match is None or len(match["indent"]) > 2:
            continue
        section = match["key"] if not match["indent"] else section
        name = f"{section}.{match['key']}" if match["indent"] else section
        found[name] = Line((match["value"] or "").strip(), (match["words"] or "").strip())
    return found


def choice(path: Path) -> tuple[str, str]:
    """Return what a group's yaml says of itself, and the command to try it.

    Raises:
        InputError: when it does not open with a comment "What it is:  python main.py ...".
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line[1:].strip() for line in lines if re.match(r"#(?! @)", line)]
    match = _COMMAND.match("\n".join(comments))
    if match is None:
        raise InputError(f"{path} says nothing; expected '# What it is:  python main.py ...'")
    return " ".join(match["words"].split()), match["command"].splitlines()[0]


def page(conf: Path = CONF) -> str:
    """Return the page, in Markdown."""
    return "\n".join([OPENING, *_keys(conf), *_groups(conf)]) + "\n"


def _keys(conf: Path) -> Iterator[str]:
    lines, heading = documented(conf / "config.yaml"), None
    for name, key in settings.keys().items():
        if key.is_group:
            continue
        if heading != (heading := key.section or TOP):
            words = lines[key.section].words if key.section in lines else ""
            yield f"## {f'`{heading}`' if key.section else heading}\n"
            yield from [f"{words[0].upper()}{words[1:]}.\n"] if words else []
            yield "| key | default | expected | |\n| --- | --- | --- | --- |"
        line, is_last = lines[name], _is_last(name)
        cells = (f"`{name}`", f"`{line.default}`", key.expected(), line.words)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" + (
            "\n" if is_last else ""
        )


def _is_last(name: str) -> bool:
    """Return whether another heading follows on a key."""
    names = [name for name, key in settings.keys().items() if not key.is_group]
    after = names[names.index(name) + 1 :]
    return not after or after[0].rpartition(".")[0] != name.rpartition(".")[0]


def _groups(conf: Path) -> Iterator[str]:
    yield "## Groups\n"
    folders = {path.parent for path in conf.glob("**/*.yaml")} - {conf}
    for folder in sorted(folders, key=lambda one: one.relative_to(conf).as_posix()):
        yield f"### `{folder.relative_to(conf).as_posix()}`\n"
        yield "| choice | | |\n| --- | --- | --- |"
        for path in sorted(folder.glob("*.yaml")):
            words, command = choice(path)
            yield f"| `{path.stem}` | {words} | `{command}` |"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(page())

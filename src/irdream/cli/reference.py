"""All keys and groups, as Markdown:  python -m irdream.cli.reference"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from irdream.cli.keys import CONF, all_keys, lines, sections
from irdream.errors import InputError

_HEAD = """# Keys

`python main.py key=value` changes a key, `group=choice` takes `conf/group/choice.yaml`. A line with
`--cfg job` at its end shows all values that it would have.

TAB completes groups, choices and keys after `source src/irdream/cli/completion.bash`, in bash, and
in zsh after `autoload -U compinit bashcompinit && compinit && bashcompinit`.
"""
_COMMAND = re.compile(r"(?P<words>.*?):\s+(?P<command>python main\.py .*)", re.DOTALL)


def page() -> str:
    """Return all keys with default, type and meaning, and the choices of each group."""
    return "\n".join([_HEAD, *_keys(), "# Groups\n", *_groups()]) + "\n"


def choice(path: Path) -> tuple[str, str]:
    """Return the description in the first comment of a yaml, and its command."""
    text = path.read_text(encoding="utf-8").splitlines()
    comments = [line[1:].strip() for line in text if re.match(r"#(?! @)", line)]
    match = _COMMAND.match("\n".join(comments))
    if match is None:
        raise InputError(f"{path} says nothing; expected '# What it is:  python main.py ...'")
    return " ".join(match["words"].split()), match["command"].splitlines()[0]


def _keys() -> Iterator[str]:
    for section in ("", *sections()):
        words = lines()[section].words if section else "what all tasks share"
        heading = f"`{section}`" if section else "At the top"
        yield f"## {heading}\n\n{words[0].upper()}{words[1:]}.\n"
        yield "| key | default | expected | |\n| --- | --- | --- | --- |"
        for key in (key for key in all_keys().values() if key.section == section):
            cells = (f"`{key.name}`", f"`{key.default}`", key.expected(), key.words)
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""


def _groups() -> Iterator[str]:
    for folder in sorted({path.parent for path in CONF.glob("**/*.yaml")} - {CONF}):
        yield f"## `{folder.relative_to(CONF).as_posix()}`\n\n| choice | | |\n| --- | --- | --- |"
        for path in sorted(folder.glob("*.yaml")):
            words, command = choice(path)
            yield f"| `{path.stem}` | {words} | `{command}` |"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(page())

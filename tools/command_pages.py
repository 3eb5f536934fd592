"""The reference pages of the commands from their tables: an overview, and a page for each."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import TYPE_CHECKING

from commands import commands

from climits.cli.help import TITLES
from climits.cli.main import COMMANDS

if TYPE_CHECKING:
    from types import ModuleType

#: Titles of the groups in the overview, by the first command of each, as `climits --help` has them.
GROUPS = {
    "run": "Running programs",
    "batch": "Many jobs, and what ran before",
    "stats": "Looking, live and later",
    "create": "Cgroups by hand",
    "ls": "This host, and what is on it",
    "cgtools": "Upkeep",
}

_OVERVIEW = """\
# Commands

A page for each, made of the tables that `climits COMMAND --help`, the manual pages and the
completions are made of too.

```sh
climits --help
climits help run
climits version
```
"""
#: Characters of Markdown that stand for themselves in a help text.
_SPECIAL = re.compile(r"[\\`*_\[\]|]")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
_DOCS = re.compile(r"\bdocs/([\w.-]+\.md)\b")


def command_pages() -> dict[str, str]:
    """Text of each page by its name below docs/reference."""
    pages = {"commands.md": _overview()}
    for name, summary, module in commands():
        pages[f"commands/{name}.md"] = _page(name, summary, module)
    return pages


def _overview() -> str:
    out = [_OVERVIEW]
    for name, (_, summary) in COMMANDS.items():
        if name in GROUPS:
            out.append(f"\n## {GROUPS[name]}\n\n| command | what it does |\n| --- | --- |\n")
        link = f'<a id="climits-{name}"></a>[climits {name}](commands/{name}.md)'
        out.append(f"| {link} | {escaped(summary)} |\n")
    return "".join(out)


def _page(name: str, summary: str, module: ModuleType) -> str:
    told, examples = split_epilog(module.EPILOG)
    out = [f"# climits {name}\n\n{_sentence(summary)}\n\n```text\n{module.USAGE}\n```\n"]
    if told:
        out.append("\n" + told)
    group = None
    for flag, metavar, _kind, of, text in module.OPTIONS:
        if of != group:
            group = of
            title, more = TITLES[of]
            out.append(f"\n## {title[0].upper()}{title[1:]}\n")
            if more:
                out.append(f"\n{_sentence(_linked(escaped(more)))}\n")
            out.append("\n| option | meaning |\n| --- | --- |\n")
        value = f" {metavar}" if metavar else ""
        meaning = _linked(escaped(text.replace("%%", "%")))
        out.append(f"| `{flag}{value}` | {meaning} |\n".replace("``", "`"))
    out.append("\nEvery command has `--help` too.\n" if group is None else "")
    if examples:
        out.append(f"\n## Examples\n\n```bash\n{examples}```\n")
    return "".join(out)


def split_epilog(epilog: str) -> tuple[str, str]:
    """What is told in an epilog, as Markdown, and the examples."""
    told: list[str] = []
    examples = ""
    for part in epilog.strip("\n").split("\n\n"):
        head, _, rest = part.partition("\n")
        if head in ("example:", "examples:"):
            examples += dedent(rest).rstrip("\n") + "\n"
        elif any(line.startswith(" ") for line in part.split("\n")):
            told.append(f"```text\n{part}\n```\n")
        else:
            told.append(_linked(escaped(part)) + "\n")
    return "\n".join(told), examples


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    text = _SPECIAL.sub(r"\\\g<0>", text).replace("<", "&lt;")
    return _OPTION.sub(r"`\g<0>`", text)


def _linked(text: str) -> str:
    """With the pages that are named as links."""
    return _DOCS.sub(r"[\1](../../\1)", text)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

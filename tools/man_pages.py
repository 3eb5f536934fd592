"""Manual pages from the tables of options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from commands import commands

import climits
from climits.cli.help import TITLES

if TYPE_CHECKING:
    from types import ModuleType

_MANUAL = "climits manual"


def man_pages() -> dict[str, str]:
    """Text of each page by its name, such as climits-run.1."""
    pages = {"climits.1": _overview()}
    for name, summary, module in commands():
        pages[f"climits-{name}.1"] = _page(name, summary, module)
    return pages


def _overview() -> str:
    out = [_head("climits", "run anything under a memory limit that the Linux kernel enforces")]
    out.append(_section("SYNOPSIS", "climits COMMAND [OPTIONS] ..."))
    out.append(".SH COMMANDS\n")
    for name, summary, _ in commands():
        out.append(f".TP\n.BR climits\\-{_text(name)} (1)\n{_text(summary)}\n")
    out.append(".SH SEE ALSO\n.BR cgroups (7)\n")
    return "".join(out)


def _page(name: str, summary: str, module: ModuleType) -> str:
    out = [_head(f"climits-{name}", summary)]
    out.append(_section("SYNOPSIS", module.USAGE))
    told, _, examples = module.EPILOG.partition("\nexamples:\n")
    if told.startswith("examples:\n"):
        told, examples = "", told.removeprefix("examples:\n")
    if told.strip():
        out.append(_section("DESCRIPTION", told))
    group = None
    for flag, metavar, _kind, of, text in module.OPTIONS:
        if of != group:
            group = of
            title, more = TITLES[of]
            out.append(f".SH {_text(title.upper())}\n" + (f"{_text(more)}\n" if more else ""))
        value = f" \\fI{_text(metavar)}\\fR" if metavar else ""
        out.append(f".TP\n\\fB{_text(flag)}\\fR{value}\n{_text(text.replace('%%', '%'))}\n")
    if examples.strip():
        out.append(_section("EXAMPLES", examples))
    out.append(".SH SEE ALSO\n.BR climits (1)\n")
    return "".join(out)


def _head(name: str, summary: str) -> str:
    title = _text(name.upper())
    return (
        f'.TH {title} 1 "" "climits {climits.__version__}" "{_MANUAL}"\n'
        f".SH NAME\n{_text(name)} \\- {_text(summary)}\n"
    )


def _section(title: str, text: str) -> str:
    """A section whose lines stand as they are."""
    lines = "\n".join(_text(line) for line in text.strip("\n").split("\n"))
    return f".SH {title}\n.nf\n{lines}\n.fi\n"


def _text(text: str) -> str:
    """With what roff would take for its own escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(['.])", r"\\&\1", text)

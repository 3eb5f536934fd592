"""How the docstrings of this project are read for the reference of the Python API.

What they have beyond Google's style: one line for several names (``high, low, min: further
marks``), errors that need no explanation (``UnsupportedError, CgroupError.``), references as Sphinx
writes them, and sections that are for the module's own readers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from griffe import Docstring, Object

_LISTS = ("Args:", "Attributes:", "Raises:")
_ROLE = re.compile(r":(?:class|func|data|meth|mod):`~?([\w.]+)`")
#: A section for those who read the code: its title names the module that it is for.
_INNER = re.compile(r"\n+ *[A-Z][^\n]* \(for climits\.[\w.]+\):\n(?: +[^\n]*\n?)+")


class Docstrings(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """One object, whatever it is."""
        if obj.docstring:
            rewrite(obj.docstring)


def rewrite(docstring: Docstring) -> None:
    """Bring a docstring to what the parser knows."""
    docstring.value = google(docstring.value)


def google(text: str) -> str:
    """A docstring as Google's style has it, with Markdown in its sentences."""
    text = _INNER.sub("\n", text + "\n")
    text = _ROLE.sub(lambda m: f"`{m[1].rpartition('.')[2]}`", text)
    text = re.sub(r"^::$", "Example:", text, flags=re.M)
    text = re.sub(r"^( {4}[\w, ]+,)\n +(?=[\w, ]+:)", r"\1 ", text, flags=re.M)
    out: list[str] = []
    kind = ""
    for line in text.rstrip().split("\n"):
        if line.strip() in _LISTS and not line.startswith(" "):
            kind = line.strip()
        elif line and not line.startswith(" "):
            kind = ""
        elif kind and re.match(r" {4}\S", line):
            out += _items(line.strip(), kind)
            continue
        out.append(line)
    return _several(out)


def _items(line: str, kind: str) -> list[str]:
    """The items that one line of a list stands for."""
    names, colon, rest = line.partition(":")
    if not colon and kind == "Raises:":
        names, rest = line.rstrip("."), " see the text."
    if not re.fullmatch(r"[\w*]+(, [\w*]+)+", names):
        return [f"    {names}:{rest}"] if colon or kind == "Raises:" else [f"    {line}"]
    return [f"    {name}:\0{rest}" for name in names.split(", ")]


def _several(lines: list[str]) -> str:
    """Give each of several names the whole text, which may go on in further lines."""
    out: list[str] = []
    at = 0
    while at < len(lines):
        if "\0" not in lines[at]:
            out.append(lines[at])
            at += 1
            continue
        group = []
        while at < len(lines) and "\0" in lines[at]:
            group.append(lines[at].replace("\0", ""))
            at += 1
        more = []
        while at < len(lines) and lines[at].startswith(" " * 5):
            more.append(lines[at])
            at += 1
        for item in group:
            out += [item, *more]
    return "\n".join(out)

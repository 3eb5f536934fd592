"""TOML with line numbers, which tomllib keeps to itself.

tomllib reads the text, and is the judge of what is TOML.  What it accepts can be walked through
once more, only to see on which line each key and each element stands; that is needed where there
is something to complain about, so a good file does not pay for it.
"""

import re
import tomllib
from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Where a value stands: keys, and positions in arrays, from the top of the document.
    Where = tuple[str | int, ...]

# A string of three quotes may end in up to five: the first two are then its own.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


class TomlError(ValueError):
    """The text is not TOML.

    Attributes:
        line: on which line, from 1.
    """

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


def parse(data: bytes) -> "dict[str, Any]":
    """Read a document.

    Raises:
        TomlError: see the text.
    """
    try:
        text = _decode(data)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise TomlError(f"not UTF-8: byte 0x{data[e.start]:02x}", line) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TomlError("nested too deeply", 1) from None
    except ValueError as e:  # a TOMLDecodeError, or int() that refuses 4300 digits
        found = _POSITION.fullmatch(str(e))
        message = found[1] if found else str(e)
        last = text.rstrip("\n").count("\n") + 1
        line = int(found[2]) if found and found[2] else last if found else 1
        raise TomlError(message[:1].lower() + message[1:], line) from None


def line_numbers(data: bytes) -> "dict[Where, int]":
    """The line (from 1) on which each value of a document stands; of a table, its header's.

    Args:
        data: a document that parse takes.
    """
    return _Walk(_decode(data)).lines


def _decode(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n")


class _Walk:
    """Walks through a document that tomllib accepts.

    Attributes:
        lines: {where: line}.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [found.start() for found in re.finditer("\n", text)]
        self._elements: dict[Where, int] = {}  # of each array of tables, so far
        self.lines: dict[Where, int] = {(): 1}
        table: Where = ()
        self._take(_GAP)
        while self._at < len(text):
            if text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._take(_GAP)

    def _line(self) -> int:
        return bisect_left(self._line_ends, self._at) + 1

    def _next_is(self, mark: str) -> bool:
        """Step over the mark if it comes next."""
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) * found
        return found

    def _take(self, pattern: "re.Pattern[str]") -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise AssertionError(f"line {self._line()}: tomllib reads this, the walk does not")
        self._at = found.end()
        return found[0]

    def _header(self) -> "Where":
        """``[a.b]`` or ``[[a.b]]``: the table that the pairs below it belong to."""
        line = self._line()
        mark = "]]" if self._next_is("[[") else "]"
        self._at += mark == "]"
        where: Where = ()
        *parents, name = self._keys()
        for key in parents:
            where = (*where, key)
            self.lines.setdefault(where, line)
            if where in self._elements:  # what is below an array belongs to its last element
                where = (*where, self._elements[where] - 1)
        where = (*where, name)
        if mark == "]]":
            self.lines.setdefault(where, line)
            self._elements[where] = self._elements.get(where, 0) + 1
            where = (*where, self._elements[where] - 1)
        self.lines[where] = line
        self._at += len(mark)
        return where

    def _keys(self) -> list[str]:
        """A dotted key, and the space around it."""
        keys = []
        while True:
            self._take(_SPACE)
            if self._text[self._at] in "\"'":
                # What the escapes in it mean, tomllib knows.
                (key,) = tomllib.loads(f"{self._take(_STRING)}=0")
            else:
                key = self._take(_BARE_KEY)
            keys.append(key)
            self._take(_SPACE)
            if not self._next_is("."):
                return keys

    def _pair(self, table: "Where") -> None:
        line = self._line()
        *parents, name = self._keys()
        for key in parents:
            table = (*table, key)
            self.lines.setdefault(table, line)
        self.lines[*table, name] = line
        self._at += len("=")
        self._take(_SPACE)
        self._value((*table, name))

    def _value(self, where: "Where") -> None:
        if self._next_is("["):
            index = 0
            while not self._ends("]"):
                self.lines[*where, index] = self._line()
                self._value((*where, index))
                index += 1
        elif self._next_is("{"):
            while not self._ends("}"):
                self._pair(where)
        else:
            self._take(_STRING if self._text[self._at] in "\"'" else _SCALAR)

    def _ends(self, mark: str) -> bool:
        """Step over what stands between two elements; whether the last one was read."""
        self._take(_GAP)
        if self._next_is(","):
            self._take(_GAP)
        return self._next_is(mark)

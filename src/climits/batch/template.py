"""Lines of shell commands, and commands with places for values, as parallel and xargs have them.

==== ==============================================
{}   the value
{.}  the value without the suffix of its last part
{/}  the last part of the value, as of a path
{#}  the number of the job, from 1
==== ==============================================

A value is data and never code: in text for the shell it is quoted, as the place where it stands
asks for.
"""

import os
import re
import shlex

from ..errors import InvalidValueError
from ..units import quoted
from .job import SHELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Piece = tuple[str, str]

# `${#}` is the shell's own.
_PLACE = re.compile(r"(?<!\$)\{[./#]?\}")

#: Where a place in text for the shell may stand.
_PLAIN, _DOUBLE, _SINGLE, _BACKTICKS, _ANSI, _COMMENT = "", '"', "'", "`", "$'", "#"
#: Where no value can be quoted so that it is safe.
_NO_PLACE = {_BACKTICKS: "backticks; write $(...)", _ANSI: "$'...'", _COMMENT: "a comment"}
#: What would take a whole shell to follow.
_NOT_FOLLOWED = re.compile(r"\$\((?:.*[\s;&|(])?case\s|<<.*\n", re.DOTALL)


def lines_of(data: bytes, *, null: bool = False) -> list[str]:
    """Values, one a line, those that are empty left out.

    Args:
        data: any bytes but NUL; bytes that are no text come back as they were.
        null: they end in NUL instead, as `find -print0` writes them.
    """
    parts = data.split(b"\0" if null else b"\n")
    return [os.fsdecode(part) for part in parts if part]


def commands_of(data: bytes, what: str) -> list[str]:
    """Lines of shell commands; empty ones and those that begin with ``#`` are left out.

    Raises:
        InvalidValueError: a NUL byte stands among them.
    """
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise InvalidValueError(f"{what}:{line}: a NUL byte may not stand in a command")
    lines = (os.fsdecode(line).strip() for line in data.split(b"\n"))
    return [line for line in lines if line and not line.startswith("#")]


class Template:
    """A command with places for a value.

    Text is for the shell; a list of words is run as it is, with the value in its words.
    """

    def __init__(self, command: "str | Sequence[str]") -> None:
        """Read it; where it has no place, the value is put at its end.

        Raises:
            InvalidValueError: a place stands where no value can be quoted.
        """
        self._is_text = isinstance(command, str)
        if isinstance(command, str):
            if not _PLACE.search(command):
                command += " {}"
            self._pieces = [list(_shell_pieces(command))]
        else:
            words = list(command)
            if not any(map(_PLACE.search, words)):
                words.append("{}")
            self._pieces = [list(_pieces(word)) for word in words]

    def fill(self, value: str, number: int) -> list[str]:
        """The program and its arguments, for one value."""
        words = [
            "".join(
                text if place is None else _quote(_filled(text, value, number), place)
                for text, place in pieces
            )
            for pieces in self._pieces
        ]
        return [SHELL, "-c", words[0]] if self._is_text else words


def _filled(place: str, value: str, number: int) -> str:
    if place == "{#}":
        return str(number)
    if place == "{/}":
        return value.rstrip("/").rpartition("/")[2] or value
    if place == "{.}":
        folder, slash, last = value.rpartition("/")
        stem, dot, _ = last.rpartition(".")
        return f"{folder}{slash}{stem}" if dot and stem else value
    return value


def _quote(value: str, place: str) -> str:
    if place == _DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    if place == _SINGLE:
        return value.replace("'", "'\\''")
    return shlex.quote(value) if place == _PLAIN else value


def _pieces(word: str) -> "Iterator[tuple[str, str | None]]":
    """(text, None) and (place, how to quote: not at all) of a word that no shell reads."""
    at = 0
    for found in _PLACE.finditer(word):
        yield word[at : found.start()], None
        yield found[0], "as it is"
        at = found.end()
    yield word[at:], None


def _shell_pieces(text: str) -> "Iterator[tuple[str, str | None]]":
    """(text, None) and (place, which quotes are around it), as a shell reads the text."""
    if _NOT_FOLLOWED.search(text):
        raise _refused(text, "values cannot be put into a command with case in $(...), or with <<")
    around = [_PLAIN]
    start = at = 0
    while at < len(text):
        here, char = around[-1], text[at]
        place = _PLACE.match(text, at)
        if place:
            if here in _NO_PLACE:
                raise _refused(text, f"{place[0]} cannot stand in {_NO_PLACE[here]}")
            yield text[start:at], None
            yield place[0], here
            start = at = place.end()
            continue
        if here == _COMMENT and char == "\n":
            around.pop()
        elif here == _COMMENT or (char == "\\" and here == _SINGLE):
            pass
        elif char == "\\":
            at += 1  # so that \\{} is no place
        elif char == here[-1:] or (char == ")" and here == _PLAIN and len(around) > 1):
            around.pop()
        elif here in (_SINGLE, _ANSI):
            pass
        elif text.startswith("$(", at) or (char == "(" and here == _PLAIN):
            at += char == "$"
            around.append(_PLAIN)
        elif here == _PLAIN and text.startswith("$'", at):
            at += 1
            around.append(_ANSI)
        elif here == _PLAIN and char == "#" and (at == 0 or text[at - 1] in " \t\n;&|()"):
            around.append(_COMMENT)
        elif (here == _PLAIN and char in "'\"`") or (here == _DOUBLE and char == "`"):
            around.append(char)
        at += 1
    yield text[start:], None


def _refused(text: str, cause: str) -> InvalidValueError:
    return InvalidValueError(
        f"command: {quoted(text)}: {cause}", value=text, hint="put it into a script: ./script {}"
    )

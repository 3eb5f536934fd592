"""Reading a command line as getopt_long(3) does, and the words that name cgroups.

Python's own getopt stops at other things than the C library's: options may stand behind words,
long names may be cut short, and the messages are the ones that people know.
"""

import os

from ...errors import InvalidValueError
from .status import MINUS_ONE, USAGE, GiveUp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def getopt(
    tool: str, shorts: str, longs: "Mapping[str, str]", argv: list[str], help_flag: str = "-h"
) -> "tuple[list[tuple[str, str]], list[str]]":
    """Split a command line into options and words.

    Args:
        tool: its name, for messages.
        shorts: such as ``r:hn``; a colon behind a letter that takes a value; a ``+`` in front: the
            first word ends the options.
        longs: the short letter, or another key, by long name; with a colon where it takes a value.
        argv: the words behind the tool's name.
        help_flag: how the tool spells its help where it points at it.

    Returns:
        ([(letter or key, value or "")], words).

    Raises:
        GiveUp: a usage error.
    """
    in_order = shorts.startswith("+") or "POSIXLY_CORRECT" in os.environ
    found: list[tuple[str, str]] = []
    words: list[str] = []
    left = list(argv)
    while left:
        word = left.pop(0)
        if word == "--":
            words += left
            break
        if word.startswith("--"):
            found.append(_long(tool, longs, word, left, help_flag))
        elif word.startswith("-") and word != "-":
            _cluster(tool, shorts, word, left, found, help_flag)
        elif in_order:
            words += [word, *left]
            break
        else:
            words.append(word)
    return found, words


def _long(
    tool: str, longs: "Mapping[str, str]", word: str, left: list[str], help_flag: str
) -> tuple[str, str]:
    name, equals, value = word[2:].partition("=")
    matches = [name] if name in longs else [n for n in longs if n.startswith(name)]
    if len({longs[m] for m in matches}) > 1:
        choices = " ".join(f"'--{m}'" for m in matches)
        cause = f"option '--{name}' is ambiguous; possibilities: {choices}"
        raise usage_error(tool, cause, help_flag=help_flag)
    if not matches:
        raise usage_error(tool, f"unrecognized option '--{name}'", help_flag=help_flag)
    key = longs[matches[0]]
    if not key.endswith(":"):
        if equals:
            cause = f"option '--{matches[0]}' doesn't allow an argument"
            raise usage_error(tool, cause, help_flag=help_flag)
        return key, ""
    if not equals:
        if not left:
            cause = f"option '--{matches[0]}' requires an argument"
            raise usage_error(tool, cause, help_flag=help_flag)
        value = left.pop(0)
    return key[:-1], value


def _cluster(
    tool: str,
    shorts: str,
    word: str,
    left: list[str],
    found: "list[tuple[str, str]]",
    help_flag: str,
) -> None:
    """Read ``-nv`` or ``-rNAME``."""
    for index, letter in enumerate(word[1:], 2):
        at = shorts.find(letter)
        if at < 0 or letter in "+:":
            raise usage_error(tool, f"invalid option -- '{letter}'", help_flag=help_flag)
        if shorts[at + 1 : at + 2] != ":":
            found.append((letter, ""))
            continue
        value = word[index:]
        if not value:
            if not left:
                cause = f"option requires an argument -- '{letter}'"
                raise usage_error(tool, cause, help_flag=help_flag)
            value = left.pop(0)
        found.append((letter, value))
        return


def usage_error(tool: str, cause: "str | None" = None, help_flag: str = "-h") -> GiveUp:
    """The end of a tool that was called wrongly."""
    lines = [f"{tool}: {cause}"] if cause else []
    return GiveUp(USAGE, *lines, f"Wrong input parameters, try '{tool} {help_flag}'")


class Spec:
    """What ``-g CONTROLLERS:PATH`` names.

    Attributes:
        controllers: tuple[str, ...]; empty for ``:PATH``, which means the v2 hierarchy.
        path: as it was written.
    """

    __slots__ = ("controllers", "path")

    def __init__(self, controllers: tuple[str, ...], path: str) -> None:
        self.controllers, self.path = controllers, path


def read_spec(text: str) -> "Spec | None":
    """Read ``memory,cpu:/a/b`` or ``:/a/b``; None where it is neither."""
    controllers, colon, path = text.partition(":")
    path = path.partition(":")[0]
    names = tuple(name for name in controllers.split(",") if name)
    if not colon or not path or (controllers and not names):
        return None
    return Spec(names, path)


def read_owner(tool: str, text: str) -> tuple[int, int]:
    """Read ``USER:GROUP``, each optional; names, or numbers.

    Returns:
        (uid, gid); -1 for what was not given.

    Raises:
        GiveUp: an unknown user or group.
    """
    user, _, group = text.partition(":")
    return _user_id(tool, user), _group_id(tool, group.partition(":")[0])


def _user_id(tool: str, name: str) -> int:
    import pwd

    if not name:
        return -1
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        if name.isascii() and name.isdigit() and len(name) < 11:
            return int(name)
        raise GiveUp(MINUS_ONE, f"{tool}: can't find uid of user {name}.") from None


def _group_id(tool: str, name: str) -> int:
    import grp

    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        if name.isascii() and name.isdigit() and len(name) < 11:
            return int(name)
        raise GiveUp(MINUS_ONE, f"{tool}: can't find gid of group {name}.") from None


def read_mode(tool: str, text: str) -> int:
    """Read permissions: three or four octal digits.

    Raises:
        InvalidValueError: anything else.
    """
    if len(text) in (3, 4) and all(digit in "01234567" for digit in text):
        return int(text, 8)
    raise InvalidValueError(f"{tool} wrong mode format {text}", value=text)

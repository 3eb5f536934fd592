"""What may stand behind each key of climits.toml: one function for each kind of value.

Each takes what the file says and how to call it in an error (``program.web.memory``), and gives
what the key means, or raises InvalidValueError.
"""

from ..cgroup.limits import ON_OOM, make_limits
from ..errors import InvalidValueError
from ..linux.proc import memory_total
from ..units import PAGE_SIZE, parse_duration, parse_size
from .policy import CHILD_OOM, RESTART

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..records import Limit
    from .policy import Budget

    Reader = Callable[[Any, str], Any]

_MOST_KEPT = 1000  # rotated files; each rotation renames them all


def bad(what: str, value: object, cause: str, hint: "str | None" = None) -> InvalidValueError:
    """The error for a value."""
    return InvalidValueError(f"{what}: {shown(value)}: {cause}", value=value, hint=hint)


def shown(value: object) -> str:
    """A value as the file has it, on one line and not too long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, list) else str(value)
    if not text.isprintable():
        text = repr(text)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(name: str, known: "Sequence[str]") -> "str | None":
    """A hint for a name that is not known: the one that was probably meant."""
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else None


# ---- plain values --------------------------------------------------------------------------


def text(value: "Any", what: str) -> str:
    """Text that is not empty and holds no NUL."""
    if not isinstance(value, str):
        raise bad(what, value, "not text", "put it in quotation marks")
    if not value:
        raise InvalidValueError(f"{what}: empty", value=value)
    if "\0" in value:
        raise bad(what, value, "a NUL byte may not stand in it")
    return value


def list_of(reader: "Reader") -> "Reader":
    """A reader of lists, each item of which another reader reads."""

    def read(value: "Any", what: str) -> "list[Any]":
        if not isinstance(value, list):
            raise bad(what, value, "not a list", 'write it like ["a", "b"]')
        return [reader(item, f"{what}[{index}]") for index, item in enumerate(value)]

    return read


def yes_or_no(value: "Any", what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise bad(what, value, "neither true nor false")
    return value


def integer(low: int, high: int) -> "Reader":
    """A reader of whole numbers within a range."""

    def read(value: "Any", what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise bad(what, value, "not a whole number", f"write {low} to {high}")
        if not low <= value <= high:
            raise bad(what, value, "out of range", f"write {low} to {high}")
        return value

    return read


def one_of(*words: str) -> "Reader":
    """A reader of one of a few words."""

    def read(value: "Any", what: str) -> str:
        if value not in words:
            hint = f"write one of {', '.join(words)}"
            if isinstance(value, str):
                hint = suggestion(value, words) or hint
            raise bad(what, value, "unknown", hint)
        word: str = value
        return word

    return read


def _number(value: "Any", what: str) -> "int | float":
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise bad(what, value, "not a number")
    if not -(2**63) <= value < 2**63:  # NaN neither
        raise bad(what, value, "out of range")
    return value


# ---- limits --------------------------------------------------------------------------------


def size(value: "Any", what: str) -> "str | int | float":
    """A size; as it is written, since what ``%`` is of shows when the program starts."""
    parse_size(value, what=what, whole=memory_total())
    given: str | int | float = value
    return given


def size_in_bytes(value: "Any", what: str) -> "Limit":
    """A size, in bytes."""
    given = size(value, what)
    if isinstance(given, str) and given.endswith("%"):
        limit = make_limits(memory=given).memory.max
        assert limit is not None  # it was given
        return limit
    return parse_size(given, what=what)


def _limit(key: str, check_type: "Reader") -> "Reader":
    """A reader of a limit that is no size: what it may be, the limits know."""

    def read(value: "Any", what: str) -> "Any":
        wish: dict[str, Any] = {key: check_type(value, what)}
        try:
            make_limits(**wish)
        except InvalidValueError as e:
            cause = f"{what.removesuffix(key)}{e.text}"
            raise InvalidValueError(cause, value=value, hint=e.hint) from None
        return value

    return read


def _account(kind: str) -> "Reader":
    """A reader of a user or group: its number, or a name, which need not exist."""

    def read(value: "Any", what: str) -> "str | int":
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif text(value, what).isascii() and value.isdigit():
            number = int(value[:11])
        else:
            return str(value)
        if not 0 <= number < 2**32 - 1:
            raise bad(what, value, f"no such {kind}", f"write a {kind} name or a number")
        return number

    return read


# ---- policy --------------------------------------------------------------------------------


def duration(value: "Any", what: str) -> float:
    """A duration, in seconds."""
    return parse_duration(value, what=what)


def budget(value: "Any", what: str) -> "Budget | None":
    """``5/1m``: a count within a period; ``max``: no end."""
    hint = "write a count and a period, like 5/1m, or max for no end"
    if value == "max":
        return None
    count, slash, period = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash or not (count.isascii() and count.isdigit() and len(count) < 10):
        raise bad(what, value, "not a budget", hint)
    seconds = parse_duration(period, what=what)
    if not seconds:
        raise bad(what, value, "a period must be longer than nothing", hint)
    return int(count), seconds


def _factor(value: "Any", what: str) -> float:
    """How many times as much."""
    factor = float(_number(value, what))
    if factor <= 1:
        raise bad(what, value, "must be more than 1", "write 1.5 for half as much again")
    return factor


def signal_number(value: "Any", what: str = "signal") -> int:
    """``TERM``, ``SIGTERM``, 15 or ``15``: the number."""
    import signal

    hint = "write it like TERM, or its number"
    number = 0
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (word := text(value, what)).isascii() and word.isdigit():
        number = int(word.lstrip("0")[:4] or 0)  # int() refuses 4300 digits
    else:
        names = {name[3:]: int(s) for name, s in signal.Signals.__members__.items()}
        name = word.upper().removeprefix("SIG")
        number = names.get(name, 0)
        hint = suggestion(name, list(names)) or hint
    if number not in signal.valid_signals():
        raise bad(what, value, "no such signal", hint)
    return int(number)


# ---- the rest ------------------------------------------------------------------------------


def command(value: "Any", what: str) -> list[str]:
    """Text, split as a shell splits words, or a list of words; no shell runs it."""
    if isinstance(value, str):
        import shlex

        text(value, what)
        try:
            words = shlex.split(value)
        except ValueError as e:
            cause = str(e).lower()
            raise bad(what, value, cause, "or write it as a list of words") from None
    elif isinstance(value, list):
        words = value
        for index, word in enumerate(words):
            if index == 0 or word != "":  # but an argument may be empty
                text(word, f"{what}[{index}]")
    else:
        raise bad(what, value, "neither text nor a list of words")
    if not words or not words[0]:
        raise InvalidValueError(f"{what}: empty", value=value, hint="name the program to run")
    return words


def variable_value(value: "Any", what: str) -> str:
    """The value of a variable: text, which may be empty."""
    if value == "":
        return ""
    if isinstance(value, (bool, int, float)):
        raise bad(what, value, "not text", f'write "{shown(value)}"')
    return text(value, what)


def variable(name: str, what: str) -> str:
    """The name of a variable."""
    if not name or "=" in name or "\0" in name:
        raise InvalidValueError(f"{what}: not a name for a variable", value=name)
    return name


def address(value: "Any", what: str) -> str:
    """Where to listen: HOST:PORT."""
    from .address import parse_address

    given = text(value, what)
    parse_address(given, what=what, port=9465)
    return given


def _log_size(value: "Any", what: str) -> "Limit":
    limit = parse_size(value, what=what)
    if limit < PAGE_SIZE:
        raise bad(what, value, f"less than {PAGE_SIZE} bytes", "write max for no rotation")
    return limit


_SIZES = ("memory", "swap", "high", "low", "min")

#: The keyword arguments of Spec among the keys of a program.
OPTIONS: "dict[str, Reader]" = {
    **dict.fromkeys(_SIZES, size),
    "swappiness": integer(0, 200),
    "on_oom": one_of(*ON_OOM),
    "pids": integer(1, 2**31 - 1),
    "cpus": _limit("cpus", _number),
    "cpuset": _limit("cpuset", text),
    "user": _account("user"),
    "group": _account("group"),
    "cwd": text,
    "nice": integer(-20, 19),
    "oom_score_adj": integer(-1000, 1000),
}

#: The fields of Policy among them.
POLICY: "dict[str, Reader]" = {
    "restart": one_of(*RESTART),
    "restart_delay": duration,
    "restart_delay_max": duration,
    "healthy_after": duration,
    "max_oom_restarts": budget,
    "max_restarts": budget,
    "grow": _factor,
    "grow_max": size_in_bytes,
    "stop_signal": signal_number,
    "stop_timeout": duration,
    "child_oom": one_of(*CHILD_OOM),
}

#: All keys of a program but the tables.
KEYS: "dict[str, Reader]" = {
    **OPTIONS,
    **POLICY,
    "command": command,
    "clear_env": yes_or_no,
    "depends_on": list_of(text),
    "autostart": yes_or_no,
}

#: The keys of a log table.
LOG_KEYS: "dict[str, Reader]" = {
    "path": text,
    "max_size": _log_size,
    "keep": integer(0, _MOST_KEPT),
}

TABLES = ("env", "alarm", "stdout", "stderr", "container")

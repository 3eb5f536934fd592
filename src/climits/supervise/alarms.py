"""Alarms: what is waited for in a cgroup, and what is done about it.

In a configuration file an alarm is a table, on a command line one word::

    threshold=80%,hysteresis=4M,signal=USR1
    oom,exec=./report.sh 'a, b',webhook=http://localhost:8080/oom
    pressure=some 150ms/1s,freeze
"""

from ..cgroup.triggers import SOURCES, Trigger, bounded_size, make_trigger
from ..errors import InvalidValueError
from ..records import Record
from ..units import UNLIMITED
from .config_values import command, signal_number, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KEYS = (
    "source", "level", "hysteresis", "signal", "exec", "webhook", "freeze", "grow", "grow_max",
    "reclaim",
)  # fmt: skip


class Alarm(Record):
    """A trigger and its actions; with none it is only told.

    Attributes:
        trigger: what is waited for.
        signal: number of a signal to the program.
        command: a command that gets the event, as words.
        webhook: a URL that the event is posted to, as JSON.
        freeze: stop every process of the cgroup.
        grow: multiply the memory limit by this, up to `grow_max`.
        grow_max: the highest limit, bytes.
        reclaim: ask the kernel to take so much back, bytes; on v1 it takes all that it can.
    """

    trigger: Trigger
    signal: "int | None" = None
    command: "list[str] | None" = None
    webhook: "str | None" = None
    freeze: bool = False
    grow: "float | None" = None
    grow_max: "int | None" = None
    reclaim: "int | None" = None


def make_alarm(options: "Mapping[str, Any]") -> Alarm:
    """Read an alarm.

    Args:
        options: by the names of KEYS, as a person writes them; what is None was not given.

    Raises:
        InvalidValueError: its text starts with the key that is wrong.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise _unknown(key, KEYS)
    alarm: dict[str, Any] = {
        "trigger": make_trigger(
            given.pop("source", None), given.pop("level", None), given.pop("hysteresis", None)
        )
    }
    for key, value in given.items():
        alarm["command" if key == "exec" else key] = _READ[key](value, key)
    if ("grow" in alarm) != ("grow_max" in alarm):
        missing, other = ("grow_max", "grow") if "grow" in alarm else ("grow", "grow_max")
        raise InvalidValueError(
            f"{missing}: missing: {other} goes with it",
            hint="say both: how much more, and how far, like grow 1.5 and grow_max 500M",
        )
    return Alarm(**alarm)


def parse_alarm(text: str) -> Alarm:
    """Read an alarm of one word, such as ``threshold=80%,signal=TERM``.

    The source stands first; a comma within quotes separates nothing.

    Raises:
        InvalidValueError: it is none.
    """
    first, *rest = _split(text)
    source, equals, level = first.partition("=")
    if source not in SOURCES:
        raise _unknown(source, SOURCES, what="source")
    options: dict[str, Any] = {"source": source, "level": _unquoted(level) if equals else None}
    for part in rest:
        key, equals, value = part.partition("=")
        key = key.replace("-", "_")
        if key not in KEYS[2:]:
            raise _unknown(key, KEYS[2:])
        if key in options:
            raise InvalidValueError(f"{key}: given twice", value=text)
        if not equals and key != "freeze":
            raise InvalidValueError(f"{key}: needs a value", value=text, hint=f"write {key}=...")
        options[key] = value if key == "exec" else _unquoted(value) if equals else True
    return make_alarm(options)


def parse_url(value: "Any", what: str = "webhook") -> str:
    """An http or https URL.

    Raises:
        InvalidValueError: it is none.
    """
    from urllib.parse import urlsplit

    text = str(value)
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good or not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidValueError(
            f"{what}: {text!r}: not a URL", value=value, hint="write it like http://localhost:8080/"
        )
    return text


def _switch(value: "Any", what: str) -> bool:
    words = {True: True, False: False, "yes": True, "true": True, "no": False, "false": False}
    if isinstance(value, (bool, str)) and value in words:
        return words[value]
    raise InvalidValueError(f"{what}: {value!r}: neither yes nor no", value=value)


def _factor(value: "Any", what: str) -> float:
    try:
        factor = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError, OverflowError):
        factor = 0.0
    if not 1 < factor < UNLIMITED:
        raise InvalidValueError(
            f"{what}: {value}: not a factor above 1", value=value, hint="write it like 1.5"
        )
    return factor


_READ: "dict[str, Any]" = {
    "signal": signal_number,
    "exec": command,
    "webhook": parse_url,
    "freeze": _switch,
    "grow": _factor,
    "grow_max": bounded_size,
    "reclaim": bounded_size,
}


def _split(text: str) -> list[str]:
    """At the commas that stand outside of quotes."""
    parts, quote = [""], ""
    for char in text:
        if char == "," and not quote:
            parts.append("")
            continue
        parts[-1] += char
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return parts


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _unknown(key: str, known: "tuple[str, ...]", what: str = "key") -> InvalidValueError:
    return InvalidValueError(
        f"{key or 'empty'}: no such {what} of an alarm",
        value=key,
        hint=suggestion(key, known) or "there are " + ", ".join(known),
    )

"""What may stand behind each key of a job: one function for each."""

from ..errors import InvalidValueError
from ..supervise import config_values as values
from ..units import PAGE_SIZE
from .job import SHELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_RETRIES = 1000


def _memory(value: "Any", what: str) -> "int | float":
    """A limit, bytes or UNLIMITED."""
    limit = values.size_in_bytes(value, what)
    if limit < PAGE_SIZE:
        raise values.bad(what, value, "leaves no room for a program", "write it like 500M")
    return limit


def _command(value: "Any", what: str) -> list[str]:
    """Text, which a shell runs, or a list of words, which is run as it is."""
    if isinstance(value, str):
        if not value.strip():
            raise InvalidValueError(f"{what}: empty", value=value, hint="name the program to run")
        return [SHELL, "-c", values.text(value, what)]
    if not isinstance(value, list):
        raise values.bad(what, value, "neither text nor a list of words")
    if not value or value[0] == "":
        raise InvalidValueError(f"{what}: empty", value=value, hint="name the program to run")
    for index, word in enumerate(value):
        if word != "":  # an argument may be empty
            values.text(word, f"{what}[{index}]")
    return list(value)


def _timeout(value: "Any", what: str) -> float:
    """Seconds, more than none."""
    seconds = values.duration(value, what)
    if not seconds:
        raise values.bad(what, value, "no time at all", "leave it out for no time limit")
    return seconds


def _name(value: "Any", what: str) -> str:
    """Text on one line."""
    if not values.text(value, what).isprintable():
        raise values.bad(what, value, "characters that cannot be shown may not stand in a name")
    return str(value)


def _environment(value: "Any", what: str) -> dict[str, str]:
    """A table of variables."""
    if not isinstance(value, dict):
        raise values.bad(what, value, "not a table", 'write it like { NAME = "value" }')
    return {
        values.variable(name, f"{what}.{name}"): values.variable_value(text, f"{what}.{name}")
        for name, text in value.items()
    }


#: The keys of a job that the defaults may have too.
SHARED: "dict[str, values.Reader]" = {
    "memory": _memory,
    "swap": values.size_in_bytes,
    "cpus": values.OPTIONS["cpus"],
    "timeout": _timeout,
    "retries": values.integer(0, _MOST_RETRIES),
    "retry_memory": values.POLICY["grow"],
    "retry_memory_max": _memory,
    "env": _environment,
    "directory": values.text,
    "stdout": values.text,
    "stderr": values.text,
}

#: All keys of a job.
KEYS: "dict[str, values.Reader]" = {
    "name": _name,
    "command": _command,
    **SHARED,
    "depends_on": values.list_of(values.text),
}

#: Words of other tools for our keys.
MEANT = {
    "cwd": "directory", "chdir": "directory", "dir": "directory", "workdir": "directory",
    "cmd": "command", "args": "command", "run": "command", "environment": "env",
    "needs": "depends_on", "after": "depends_on", "dependencies": "depends_on",
    "mem": "memory", "memory_limit": "memory", "cpu": "cpus", "output": "stdout",
}  # fmt: skip

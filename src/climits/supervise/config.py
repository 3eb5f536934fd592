"""climits.toml: from the file to records, or to a list of everything that is wrong with it."""

import marshal
import os

from ..errors import ClimitsError
from ..launch.apart import compute_apart
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..records import Limit
    from .alarms import Alarm
    from .policy import Policy
    from .toml_lines import Where


class ConfigError(ClimitsError, ValueError):
    """The configuration cannot be used.

    The text is the first problem, and how many more there are.

    Attributes:
        problems: one line each, in the order of the file: ``climits.toml:12: program.web.memory:
            60MB: MB can mean powers of 1000 or of 1024; hint: write 60M ...``.
    """

    problems: "Sequence[str]" = ()


class LogConfig(Record):
    """Where output goes.

    Attributes:
        path: of the file, absolute.
        max_size: when it is rotated, bytes; UNLIMITED: never.
        keep: how many rotated files are kept besides.
    """

    path: str
    max_size: "Limit" = 10 * 1024**2
    keep: int = 3


class ProgramConfig(Record):
    """One program.

    Attributes:
        name: of the program, and of its cgroup.
        options: keyword arguments for Spec: limits, user, directory and so on; ``env``, the whole
            environment, only where the file says something about it; ``container``, a dict of
            keyword arguments for Container, only where it has one.
        command: the program and its arguments.
        policy: when it is started again.
        alarms: of Alarm, may be empty.
        stdout, stderr: None: inherited; stderr may be "stdout", for where that goes.
        depends_on: names of programs that are started before it, may be empty.
        autostart: start it with the supervisor.
    """

    name: str
    options: "dict[str, Any]"
    command: "list[str]"
    policy: "Policy"
    alarms: "Sequence[Alarm]" = ()
    stdout: "LogConfig | None" = None
    stderr: "LogConfig | str | None" = None
    depends_on: "Sequence[str]" = ()
    autostart: bool = True


class Config(Record):
    """A configuration file, read.

    Attributes:
        path: of the file, as it was given.
        programs: each after those that it depends on, else in the order of the file.
        metrics: the address at which to serve metrics, such as 127.0.0.1:9465; None: nowhere.
    """

    path: str
    programs: "list[ProgramConfig]"
    metrics: "str | None" = None


def load(path: str, *, apart: bool = False) -> Config:
    """Read a configuration file and check all that can be checked before anything is started.

    Args:
        path: of the file.
        apart: parse it in a child, which takes tomllib with it: 1.6 MiB that a supervisor does not
            need for the months to come.  Only for a process with one thread.

    Raises:
        ConfigError: with every problem that was found.
    """
    from .config_programs import read_programs
    from .config_tables import Tables
    from .config_values import address

    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        number = e.errno if isinstance(e, OSError) else None
        cause = os.strerror(number).lower() if number else str(e)
        problem = f"{path}: cannot read the configuration: {cause}"
        raise _error(path, [problem], number) from None
    content = _parse_apart(data) if apart else None
    if content is None:
        content = _parse(path, data)
    tables = Tables(lambda: _line_numbers(data))
    programs = read_programs(tables, content, os.path.dirname(os.path.abspath(path)))
    metrics = None
    if "metrics" in content:
        metrics = tables.value(address, content["metrics"], ("metrics",))
    if tables.problems:
        found = sorted(tables.problems, key=lambda problem: problem[0])
        raise _error(path, [f"{path}:{line}: {text}" for line, text in found])
    return Config(path=path, programs=programs, metrics=metrics)


def _parse(path: str, data: bytes) -> "dict[str, Any]":
    from .toml_lines import TomlError, parse

    try:
        return parse(data)
    except TomlError as e:
        raise _error(path, [f"{path}:{e.line}: {e}"]) from None


def _parse_apart(data: bytes) -> "dict[str, Any] | None":
    """What the document says; None where it is none, or says what marshal cannot: a date."""
    parsed = compute_apart(_parsed, data)
    content: dict[str, Any] | None = None if parsed is None else marshal.loads(parsed)
    return content


def _parsed(data: bytes) -> bytes:
    from .toml_lines import parse

    return marshal.dumps(parse(data))


def _line_numbers(data: bytes) -> "dict[Where, int]":
    from .toml_lines import line_numbers

    return line_numbers(data)


def _error(path: str, problems: list[str], number: "int | None" = None) -> ConfigError:
    more = len(problems) - 1
    text = problems[0]
    if more:
        text += f" (and {more} more problem{'s' if more > 1 else ''})"
    error = ConfigError(text, path=path, errno=number)
    error.problems = problems
    return error

"""Which jobs a person means: a file of them, or a command and values."""

import os
import sys

from ..batch.job import SHELL, Job
from ..errors import ClimitsError, InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..pool.budget import Budget

_SUFFIXES = {".toml": "toml", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}


def read_jobs(
    values: "dict[str, Any]", words: list[str], given: "dict[str, Any]", budget: "Budget"
) -> "tuple[list[Job], str | None]":
    """The jobs that were asked for.

    Args:
        values: of the options.
        words: the file of jobs; or a command, and where its values are.
        given: what the options say for each job.
        budget: what no job may be larger than.

    Returns:
        (the jobs, the file that they are from or None).

    Raises:
        ConfigError: with every problem of the file.
        ClimitsError: see the text.
    """
    command, source = _split(values, words)
    if source is not None:
        return _from_values(values, command, source, given, budget), None
    if not command:
        raise InvalidValueError(
            "no jobs were given", hint="name the file: climits batch jobs.toml; or see --help"
        )
    if len(command) > 1:
        raise InvalidValueError(
            f"one file of jobs is wanted: {command[1]}",
            hint="values for a command stand behind :::, or in a file: -a FILE",
        )
    if "null" in values:
        raise InvalidValueError("null goes with values", hint="give -a FILE too")
    path = command[0]
    form = values.get("format") or _form_of(path)
    data = _content(path)
    from ..batch.read import read_json_lines, read_toml

    if form == "toml":
        jobs = read_toml(data, path, given, budget)
    elif form == "jsonl":
        jobs = read_json_lines(data, path, given, budget)
    elif form == "lines":
        jobs = _from_lines(data, path, given, budget)
    else:
        raise InvalidValueError(
            f"format: {form}: unknown", value=form, hint="write toml, jsonl or lines"
        )
    return jobs, None if path == "-" else path


def _split(
    values: "dict[str, Any]", words: list[str]
) -> "tuple[list[str], tuple[str, list[str]] | None]":
    """(the words before the values, where the values are from: ``:::`` or ``::::`` and words)."""
    marks = [index for index, word in enumerate(words) if word in (":::", "::::")]
    sources = [("::::", [values["arg_file"]])] if "arg_file" in values else []
    if marks:
        sources.append((words[marks[0]], words[marks[0] + 1 :]))
    if len(sources) + max(len(marks) - 1, 0) > 1:
        raise InvalidValueError(
            "values are given twice", hint="give one of -a FILE, :::: FILE and ::: VALUES"
        )
    if not sources:
        return words, None
    mark, found = sources[0]
    if mark == "::::" and len(found) != 1:
        raise InvalidValueError("one file of values is wanted behind ::::")
    return words[: marks[0]] if marks else words, (mark, found)


def _form_of(path: str) -> str:
    suffix = os.path.splitext(path)[1]
    if path == "-" or suffix in _SUFFIXES:
        return _SUFFIXES.get(suffix, "lines")
    if not os.path.exists(path) and (" " in path or "{" in path):
        raise InvalidValueError(
            f"a command without values: {path}", hint="give -a FILE, or ::: VALUES"
        )
    raise InvalidValueError(
        f"{path}: what it holds cannot be told by its name",
        path=path,
        hint="give --format toml, --format jsonl or --format lines",
    )


def _content(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        number = e.errno if isinstance(e, OSError) else None
        cause = os.strerror(number).lower() if number else str(e)
        raise ClimitsError(f"cannot read {path}: {cause}", path=path, errno=number) from None


def _from_lines(data: bytes, path: str, given: "dict[str, Any]", budget: "Budget") -> list[Job]:
    from ..batch.read import read_commands
    from ..batch.template import commands_of

    lines = commands_of(data, path)
    commands = [(str(n), [SHELL, "-c", line]) for n, line in enumerate(lines, 1)]
    if not commands:
        raise InvalidValueError(f"{path}: no commands", path=path, hint="write one on each line")
    return read_commands(commands, given, budget)


def _from_values(
    values: "dict[str, Any]",
    command: list[str],
    source: tuple[str, list[str]],
    given: "dict[str, Any]",
    budget: "Budget",
) -> list[Job]:
    """The jobs of a command, or of commands on standard input, and of values."""
    from ..batch.read import read_commands
    from ..batch.template import Template, commands_of, lines_of

    if "format" in values:
        raise InvalidValueError("format is of a file of jobs, and not of values")
    mark, words = source
    if mark == ":::":
        found, what = words, "values"
    else:
        what = words[0]
        if what == "-" == (command or [""])[0]:
            raise InvalidValueError(
                "commands and values cannot both come from standard input",
                hint="put one of them into a file",
            )
        found = lines_of(_content(what), null=bool(values.get("null")))
    if not found:
        raise InvalidValueError(f"{what}: there are none", path=what)
    if not command:
        raise InvalidValueError(
            "no command was given", hint="climits batch 'gzip {}' ::: a.txt b.txt"
        )
    if command == ["-"]:
        templates = [Template(line) for line in commands_of(_content("-"), "-")]
        if not templates:
            raise InvalidValueError("-: no commands", hint="write one on each line")
    else:
        templates = [Template(command[0] if len(command) == 1 else command)]
    filled: list[tuple[str, list[str]]] = []
    for value in found:
        for template in templates:
            filled.append((value, template.fill(value, len(filled) + 1)))
    return read_commands(filled, given, budget)

"""Files of jobs: from TOML or JSON lines to jobs, or to a list of everything that is wrong."""

import os

from ..errors import InvalidValueError
from ..supervise.config import ConfigError
from ..supervise.config_tables import Tables, dotted
from ..units import UNLIMITED, cut, format_size
from .graph import find_circle
from .job import Job
from .keys import KEYS, MEANT, SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..pool.budget import Budget
    from ..supervise.toml_lines import Where

    Raw = list[tuple[Where, Any]]

_STREAMS = ("stdout", "stderr")
#: What a job has to fit into, and what to do; a budget of another machine has its own `place`.
_HERE = ("the memory budget of", "lower it, or raise --memory-budget")
_HINT = "the file has [defaults], and [job.NAME] or [[job]]"


def read_toml(data: bytes, path: str, defaults: "Mapping[str, Any]", budget: "Budget") -> list[Job]:
    """The jobs of a TOML document.

    Args:
        data: the document.
        path: of its file, for errors and for the folder that its paths are relative to.
        defaults: what the command line says for all jobs; goes before the file's [defaults].
        budget: what no job may be larger than.

    Raises:
        ConfigError: with every problem that was found.
    """
    from ..supervise.toml_lines import TomlError, line_numbers, parse

    try:
        content = parse(data)
    except TomlError as e:
        raise problem_error(path, [f"{path}:{e.line}: {e}"]) from None
    tables = Tables(lambda: line_numbers(data))
    raw: Raw = []
    for key, value in content.items():
        if key == "job" and isinstance(value, list):
            raw = [(("job", index), table) for index, table in enumerate(value)]
        elif key == "job":
            raw = [(("job", name), table) for name, table in tables.items(value, ("job",))]
        elif key in KEYS:
            tables.report((key,), f"{key}: stands outside of a table", _HINT)
        elif key != "defaults":
            tables.unknown((key,), ("defaults", "job"), _HINT)
    if not raw and not tables.problems:
        tables.report((), "no job", "add [job.NAME]")
    reader = _Reader(tables, os.path.dirname(os.path.abspath(path)), defaults, budget)
    reader.read_defaults(content.get("defaults", {}))
    return _finish(reader, raw, path)


def read_json_lines(
    data: bytes, path: str, defaults: "Mapping[str, Any]", budget: "Budget"
) -> list[Job]:
    """The jobs of JSON lines, one object a line; see read_toml."""
    lines: dict[Where, int] = {(): 1}
    tables = Tables(lambda: lines)
    raw: Raw = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        where: Where = ("job", len(raw))
        lines[where] = number
        table = _json_object(tables, line, where)
        if table is not None:
            name = table.get("name")
            if isinstance(name, str) and ("job", name) not in lines:
                where = ("job", name)  # as it would be called in TOML
                lines[where] = number
        raw.append((where, table))
    if not raw:
        tables.report((), "no job", 'write one a line: {"command": "..."}')
    folder = os.getcwd() if path == "-" else os.path.dirname(os.path.abspath(path))
    return _finish(_Reader(tables, folder, defaults, budget), raw, path)


def read_tables(
    tables: "Sequence[Mapping[str, Any]]", defaults: "Mapping[str, Any]", budget: "Budget"
) -> list[Job]:
    """The jobs that a program describes, each by the keys that a file has."""
    collected = Tables(lambda: {(): 0})
    raw: Raw = [(("job", index), dict(table)) for index, table in enumerate(tables)]
    return _finish(_Reader(collected, os.getcwd(), defaults, budget), raw, None)


def read_commands(
    commands: "Sequence[tuple[str, list[str]]]", defaults: "Mapping[str, Any]", budget: "Budget"
) -> list[Job]:
    """The jobs of commands.

    Args:
        commands: (name, program and arguments) of each.
        defaults, budget: see read_toml; paths are absolute.
    """
    used: dict[str, int] = {}
    tables = []
    for name, command in commands:
        name = cut(name if name.isprintable() else repr(name)[1:-1], 80)
        used[name] = count = used.get(name, 0) + 1
        if count > 1:
            name += f" ({count})"
        tables.append({"name": name, "command": command})
    return [job.replace(is_named=False) for job in read_tables(tables, defaults, budget)]


def problem_error(path: "str | None", problems: list[str]) -> ConfigError:
    """The error for what is wrong with jobs: its text is the first problem."""
    more = len(problems) - 1
    text = problems[0]
    if more:
        text += f" (and {more} more problem{'s' if more > 1 else ''})"
    error = ConfigError(text, path=path)
    error.problems = problems
    return error


def _finish(reader: "_Reader", raw: "Raw", path: "str | None") -> list[Job]:
    """Read the tables, compare the jobs, and give them or what is wrong with them."""
    known: dict[str, tuple[Where, Job]] = {}
    jobs: list[Job] = []
    for index, (where, table) in enumerate(raw):
        if table is None:  # was no JSON, and is told
            continue
        job = reader.job(table, where, index)
        if job.name in known:
            reader.tables.report((*where, "name"), f"{dotted(where)}: {job.name}: "
                                 "another job has this name")  # fmt: skip
        else:
            known[job.name] = where, job
        jobs.append(job)
    _check_dependencies(reader.tables, known)
    _check_outputs(reader.tables, known)
    if reader.tables.problems:
        found = sorted(reader.tables.problems, key=lambda problem: problem[0])
        place = "" if path is None else f"{path}:"
        raise problem_error(path, [
            f"{place}{line}: {text}" if place else text for line, text in dict.fromkeys(found)
        ])  # fmt: skip
    return jobs


def _json_object(tables: Tables, line: bytes, where: "Where") -> "dict[str, Any] | None":
    import json

    def pairs(found: "list[tuple[str, Any]]") -> "dict[str, Any]":
        seen: dict[str, Any] = {}
        for key, value in found:
            if key in seen:
                tables.report(where, f"{key}: stands there twice")
            seen[key] = value
        return seen

    try:
        value = json.loads(line, object_pairs_hook=pairs)
    except RecursionError:
        tables.report(where, "nested too deeply")
        return None
    except UnicodeDecodeError as e:
        tables.report(where, f"not UTF-8: byte 0x{line[e.start]:02x}")
        return None
    except ValueError as e:
        place = f", column {e.colno}" if isinstance(e, json.JSONDecodeError) else ""
        text = e.msg if isinstance(e, json.JSONDecodeError) else str(e)
        tables.report(where, f"not JSON: {text[:1].lower()}{text[1:]}{place}")
        return None
    if not isinstance(value, dict):
        tables.report(where, "not a JSON object", 'write it like {"command": "..."}')
        return None
    return value


class _Reader:
    """Reads jobs, with the defaults behind them.

    Attributes:
        tables: collects the problems.
    """

    def __init__(
        self, tables: Tables, folder: str, given: "Mapping[str, Any]", budget: "Budget"
    ) -> None:
        self.tables = tables
        self._folder, self._given, self._budget = folder, given, budget
        self._defaults: dict[str, Any] = dict(given)

    def read_defaults(self, table: "Any") -> None:
        """Those of the file; what the command line says goes before them."""
        found = self._keys(table, ("defaults",), SHARED)
        env = {**found.get("env", {}), **self._given.get("env", {})}
        self._defaults = {**found, **self._given}
        if env:
            self._defaults["env"] = env

    def _keys(self, table: "Any", where: "Where", readers: "Mapping[str, Any]") -> "dict[str, Any]":
        found = {}
        for key, value in self.tables.items(table, where):
            here = (*where, key)
            if key in readers:
                meaning = self.tables.value(readers[key], value, here)
                if meaning is not None:
                    found[key] = meaning
            elif key in KEYS:
                self.tables.report(here, f"{dotted(here)}: has no meaning", "each job has its own")
            elif key in MEANT:
                self.tables.report(here, f"{dotted(here)}: unknown", f"did you mean {MEANT[key]}?")
            else:
                known = [k for k in readers if k not in table]
                self.tables.unknown(here, known, f"a job has {', '.join(KEYS)}")
        return found

    def job(self, table: "Any", where: "Where", index: int) -> Job:
        """One job; where there was a problem with it, it is not to be used."""
        own = self._keys(table, where, KEYS)
        found = {**self._defaults, **own}
        if env := {**self._defaults.get("env", {}), **own.get("env", {})}:
            found["env"] = env
        is_table = isinstance(table, dict)
        if is_table and "command" not in table:
            self.tables.report(where, f"{dotted(where)}: no command", 'add command = "..."')
        found.setdefault("command", [])
        found["is_named"] = "name" in found or isinstance(where[-1], str)
        if isinstance(where[-1], str):
            self.tables.value(KEYS["name"], where[-1], where)
        found.setdefault("name", where[-1] if isinstance(where[-1], str) else str(index + 1))
        if isinstance(where[-1], str) and found["name"] != where[-1]:
            self.tables.report((*where, "name"), f"{dotted(where)}.name: {found['name']}: "
                               f"the table says {where[-1]}", "leave it out")  # fmt: skip
        if "directory" in found:
            found["directory"] = self._absolute(found["directory"])
            found_in_time = os.path.isdir(found["directory"]) or found.get("depends_on")
            if not found_in_time:  # else another job may make it
                self._report(where, own, "directory", f"{found['directory']}: no such directory")
        for stream in _STREAMS:
            if stream in found and not (stream == "stderr" and found[stream] == "stdout"):
                found[stream] = self._log_path(found, own, where, stream)
        job = Job(**found)
        self._check(job, own, where)
        return job

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._folder, path))

    def _log_path(
        self, found: "dict[str, Any]", own: "dict[str, Any]", where: "Where", stream: str
    ) -> str:
        name = found["name"].replace("/", "_")
        path = self._absolute(found[stream].replace("{name}", name))
        if os.path.isdir(path):
            self._report(where, own, stream, f"{path}: a directory", "name the file in it")
        elif not os.path.isdir(os.path.dirname(path)) and not found.get("depends_on"):
            folder = os.path.dirname(path)
            self._report(where, own, stream, f"{folder}: no such directory", "make it first")
        return path

    def _report(
        self,
        where: "Where",
        own: "Mapping[str, Any]",
        key: str,
        text: str,
        hint: "str | None" = None,
    ) -> None:
        """A problem with one of the values, in the job's own table or in the defaults."""
        place = (*where, key) if key in own else ("defaults", key)
        self.tables.report(place, f"{dotted(place)}: {text}", hint)

    def _check(self, job: Job, own: "Mapping[str, Any]", where: "Where") -> None:
        """What one value says about another, and about the machine."""
        for e in misfits(job, self._budget):
            self._report(where, own, str(e.path), e.text, e.hint)
        if job.retry_memory_max is not None and job.retry_memory is None:
            self._report(
                where, own, "retry_memory_max", "has no meaning without retry_memory",
                "add retry_memory = 2",
            )  # fmt: skip
        elif (
            job.memory is not None
            and job.retry_memory_max is not None
            and job.retry_memory_max <= job.memory
        ):
            size = format_size(job.retry_memory_max)
            text = f"{size}: not more than memory, which is {format_size(job.memory)}"
            self._report(where, own, "retry_memory_max", text)


def misfits(job: Job, budget: "Budget") -> "Iterator[InvalidValueError]":
    """Why a job could never be started: one error for each key, which is its `path`."""
    for key, value, most in (
        ("memory", job.memory, budget.memory),
        ("retry_memory_max", job.retry_memory_max, budget.memory),
        ("cpus", job.cpus, budget.cpus),
    ):  # fmt: skip
        if value is None or value == UNLIMITED or value <= most:
            continue
        if key == "cpus":
            text, hint = f"{value:g}: there are {most:g} CPUs", f"write {most:g} at most"
        else:
            place, hint = getattr(budget, "place", _HERE)
            text = f"{format_size(value)}: does not fit into {place} {format_size(most)}"
        yield InvalidValueError(text, value=value, path=key, hint=hint)


def _check_dependencies(tables: Tables, known: "dict[str, tuple[Where, Job]]") -> None:
    from ..supervise.config_values import suggestion

    for where, job in known.values():
        for index, needed in enumerate(job.depends_on):
            if needed not in known:
                hint = suggestion(needed, list(known))
                text = f"{dotted((*where, 'depends_on'))}: {needed}: no such job"
                tables.report((*where, "depends_on", index), text, hint)
    circle = find_circle({name: job.depends_on for name, (_, job) in known.items()})
    if circle:
        where = known[circle[0]][0]
        text = f"{dotted((*where, 'depends_on'))}: {' -> '.join(circle)}: a circle"
        tables.report((*where, "depends_on"), text)


def _check_outputs(tables: Tables, known: "dict[str, tuple[Where, Job]]") -> None:
    """No two jobs may write into one file: the later would wipe out what the first has written."""
    owners: dict[str, tuple[str, str]] = {}
    told = set()
    for where, job in known.values():
        for stream in _STREAMS:
            path = getattr(job, stream)
            if path is None or (stream == "stderr" and path == "stdout"):
                continue
            if os.path.exists(path) and not os.path.isfile(path):
                continue  # a device or a FIFO takes any number
            other, its = owners.setdefault(path, (job.name, stream))
            if (other, its) != (job.name, stream) and path not in told:
                told.add(path)
                hint = "{name} in a path stands for the job's name"
                if other == job.name:
                    hint = 'write stderr = "stdout" to join them'
                text = f"{dotted((*where, stream))}: {path}: {other}'s {its} goes there too"
                tables.report((*where, stream), text, hint)

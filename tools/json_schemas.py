"""JSON Schemas of what climits writes, from the records it writes and from their docstrings.

The events of a supervisor are no records: EVENTS tells them, and tests/docs/test_schemas.py holds
it against the code and against real output.
"""

from __future__ import annotations

import json
import re
from inspect import cleandoc
from typing import Any

from climits import records
from climits.batch.job import Outcome
from climits.cgroup.triggers import Event, Trigger
from climits.history.entries import Entry
from climits.history.suggest import Suggestion
from climits.records import Record

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
_VERDICTS = (
    "exited", "signaled", "oom-killed", "memory-exceeded", "timed-out", "stopped",
    "failed-to-start",
)  # fmt: skip
_RECORDS: dict[str, type[Record]] = {
    cls.__name__: cls
    for cls in (*vars(records).values(), Trigger)
    if isinstance(cls, type) and issubclass(cls, Record) and cls is not Record
}
#: Fields of Result that only Python has.
_PYTHON_ONLY = ("stdout", "stderr")
#: Fields that the docstring tells of in the words of another.
_BESIDE = {"window": "of PSI: the window of `stall`, seconds"}

_SIZE = "int | None"
_LIMIT = "Limit | None"
#: Types of the fields that supervisors' events have, and what they mean.
FIELDS = {
    "time": ("float", "seconds since the epoch"),
    "event": ("str", "what happened"),
    "program": ("str", "name of the program that it is about"),
    "pid": ("int", "of the program"),
    "cgroup": ("str", "its path below the mount point"),
    "memory_max": (_LIMIT, 'the limit, bytes or "max"'),
    "memory_current": (_SIZE, "memory in use, bytes"),
    "memory_peak": (_SIZE, "highest usage, bytes"),
    "returncode": ("int", "exit status, or minus the number of the signal"),
    "signal": ("int", "number of a signal"),
    "oom_kill": ("int", "processes that the kernel OOM-killed in the cgroup"),
    "killed": ("list[KilledProcess]", "the OOM kills found in the kernel log"),
    "duration": ("float", "wall time, seconds"),
    "text": ("str", "the same as a line for people"),
    "error": ("str", "what went wrong"),
    "hint": ("str", "what to do"),
    "delay": ("float", "seconds until then"),
    "restarts": ("int", "how often it was started again"),
    "reason": ("str", "why it is not started again"),
    "count": ("int", "processes killed (child-oom, oom), or times (limit)"),
    "source": ("str", "what the alarm waits for"),
    "current": ("int", "memory in use when it was looked at, bytes; of swap the swap"),
    "level": ("int", "what was reached, bytes"),
    "limit": ("int", "the memory limit, bytes"),
    "trigger": ("Trigger", "what was waited for"),
    "changed": ("list[str]", "names of programs that changed"),
    "removed": ("list[str]", "names of programs that are there no more"),
    "added": ("list[str]", "names of programs that are new"),
    "url": ("str", "where it can be opened"),
    "token_file": ("str", "file that holds the address with its token"),
    "warning": ("str", "what to mind about it"),
}
_END = "pid returncode signal memory_peak memory_max oom_kill duration text killed"
#: event: its fields beside time, event and program.
EVENTS = {
    "started": "pid cgroup memory_max",
    "exited": _END, "signaled": _END, "oom-killed": _END, "memory-exceeded": _END,
    "stopped": _END, "timed-out": _END,
    "failed-to-start": "error hint",
    "restarting": "delay restarts",
    "gave-up": "reason",
    "child-oom": "pid count memory_max",
    "paused": "pid cgroup memory_current memory_max",
    "resumed": "pid memory_max",
    "limit-set": "memory_max",
    "alarm": "source cgroup current level limit count trigger",
    "alarm-action": "text",
    "alarm-failed": "error hint",
    "stopping": "pid",
    "signal": "signal",
    "reloaded": "changed removed added",
    "reload-failed": "error hint",
    "log-failed": "error", "log-works-again": "error",
    "failed-to-clean-up": "error",
    "no-guard": "error hint", "no-control": "error hint", "no-history": "error",
    "metrics-unchanged": "error hint", "error": "error hint",
    "metrics": "url",
    "status-page": "url token_file warning",
}  # fmt: skip

#: file: (title, what writes it, type of what is written)
_TOLD = {
    "result": (
        "The result of a run",
        "`climits run --json FILE`, `--json-fd N`; `Result.as_dict()`",
    ),
    "job": ("A job of a batch", "each line of `climits batch --results FILE`"),
    "event": (
        "An event of a cgroup",
        "each line of `climits watch --json`; what `exec=` and `webhook=` of an alarm get",
    ),
    "supervisor-event": (
        "An event of a supervisor",
        "each line of `climits supervise --log-format json`, and of `climits ctl events`",
    ),
    "history": ("A run of the history", "each line of `climits history --json`"),
    "suggestion": (
        "A suggested limit",
        "in what `climits suggest --json` writes, and `Suggestion.as_dict()`",
    ),
}


def described(cls: type[Record]) -> dict[str, str]:
    """What the docstring says of each field."""
    text = cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    items = re.findall(r"^ {4}([\w,\s]+?):\s(.*(?:\n {5,}.*)*)", text, re.M)
    return {
        name: _in_json(" ".join(meaning.split()))
        for names, meaning in items
        for name in re.split(r",\s*", " ".join(names.split()))
    }


def _in_json(meaning: str) -> str:
    """A meaning in the words of JSON instead of Python's."""
    meaning = meaning.replace("UNLIMITED", '"max"').replace("climits.Result", "the result of a run")
    return re.sub(r"\bNone\b", "absent", meaning).removesuffix(".")


class _Schema:
    """One schema on its way; the records that it needs are gathered as its definitions."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def type(self, text: str) -> dict[str, Any]:
        """Schema of an annotation; None is left out of what is written, so it is none of it."""
        text = text.removesuffix(" | None")
        if text in _SIMPLE:
            return {"type": _SIMPLE[text]}
        if text in ("Limit", "int | float"):
            return {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "max"}]}
        if text.startswith("list["):
            return {"type": "array", "items": self.type(text[5:-1])}
        if text not in self.definitions:
            self.definitions[text] = {}
            self.definitions[text] = self.record(_RECORDS[text])
        return {"$ref": f"#/$defs/{text}"}

    def record(self, cls: type[Record], without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Schema of a record."""
        meanings = _BESIDE | described(cls)
        fields = {n: a for n, a in cls.__annotations__.items() if n not in without}
        return {
            "type": "object",
            "properties": {n: self.field(a, meanings[n]) for n, a in fields.items()},
            "required": [n for n, annotation in fields.items() if not _may_miss(annotation)],
        }

    def field(self, annotation: Any, meaning: str) -> dict[str, Any]:
        """Schema of a field."""
        text = annotation if isinstance(annotation, str) else annotation.__name__
        return {"description": meaning, **self.type(text)}


def _may_miss(annotation: Any) -> bool:
    return isinstance(annotation, str) and annotation.endswith("| None")


def _result(schema: _Schema) -> dict[str, Any]:
    told = schema.record(records.Result, without=_PYTHON_ONLY)
    told["properties"]["schema"] |= {"const": 1}
    told["properties"]["verdict"] |= {"enum": list(_VERDICTS)}
    return told


def _job(schema: _Schema) -> dict[str, Any]:
    told = _result(schema)
    meanings = described(Outcome)
    told["properties"]["verdict"] |= {
        "description": meanings["verdict"],
        "enum": [*_VERDICTS, "not-run", "output-limit", "worker-lost"],
    }
    told["properties"] = {
        "name": {
            "description": "of the job; its number, where it was given none",
            "type": "string",
        },
        **told["properties"],
        "ok": {"description": "it succeeded: it exited with 0", "type": "boolean"},
        "attempts": {"description": meanings["attempts"], "type": "integer"},
        "fingerprint": {
            "description": "of what was run: name, command, directory, variables, output files",
            "type": "string",
        },
    }
    told["properties"]["command"] = {
        "description": "the program and its arguments; what was to be run, where it was not",
        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
    }
    told["properties"]["error"]["description"] = meanings["error"]
    told["required"] = ["name", "schema", "command", "verdict", "ok", "attempts", "fingerprint"]
    return told


def _supervisor(schema: _Schema) -> dict[str, Any]:
    told = {name: {**schema.field(kind, meaning)} for name, (kind, meaning) in FIELDS.items()}
    told["event"]["enum"] = list(EVENTS)
    return {
        "type": "object",
        "properties": told,
        "required": ["time", "event"],
        "allOf": [
            {
                "if": {"properties": {"event": {"const": event}}},
                "then": {"propertyNames": {"enum": ["time", "event", "program", *fields.split()]}},
            }
            for event, fields in EVENTS.items()
        ],
    }


def schemas() -> dict[str, dict[str, Any]]:
    """Each schema by the name of its file, without .schema.json."""
    made = {}
    for name, (title, _) in _TOLD.items():
        schema = _Schema()
        body = {
            "result": _result,
            "job": _job,
            "event": lambda s: s.record(Event),
            "supervisor-event": _supervisor,
            "history": lambda s: s.record(Entry),
            "suggestion": lambda s: s.record(Suggestion),
        }[name](schema)
        made[name] = {"$schema": _DRAFT, "title": title, **body}
        if schema.definitions:
            made[name]["$defs"] = schema.definitions
    return made


# -- the page --------------------------------------------------------------------------------------

_PAGE = """\
# JSON formats

What climits writes for programs. Sizes are bytes, times are seconds, `"max"` is "no limit". A field
that is absent was not reported by this kernel, or does not apply; it is never 0 instead. Readers
should ignore names that they do not know.

Each format has a [JSON Schema](https://json-schema.org) (draft 2020-12), made of the records that
climits itself writes. Names marked with * are always there. The [result of a run](../results.md) is
told at length on a page of its own, the rows of a [recording](../recordings.md) on theirs.
"""


def pages() -> dict[str, str]:
    """Text of each file by its name below docs/reference."""
    out = [_PAGE]
    made = {}
    told: set[str] = set()
    for name, schema in schemas().items():
        made[f"schemas/{name}.schema.json"] = json.dumps(schema, indent=1) + "\n"
        title, writer = _TOLD[name]
        out.append(
            f"\n## {title}\n\n{writer[0].upper()}{writer[1:]}. "
            f"Schema: [{name}.schema.json](schemas/{name}.schema.json).\n\n{_table(schema)}"
        )
        if name == "supervisor-event":
            out.append(_events())
        for part, definition in schema.get("$defs", {}).items():
            if part not in told:
                told.add(part)
                out.append(f"\n### {part}\n\n{_table(definition)}")
    made["json.md"] = "".join(out)
    return made


def _table(schema: dict[str, Any]) -> str:
    rows = ["| field | type | meaning |\n| --- | --- | --- |\n"]
    for name, field in schema["properties"].items():
        star = " *" if name in schema["required"] else ""
        meaning = field["description"].replace("|", "\\|").replace("*", "\\*")
        rows.append(f"| `{name}`{star} | {_type(field)} | {meaning} |\n")
    return "".join(rows)


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(
            f'`"{one["const"]}"`' if "const" in one else _type(one) for one in field["anyOf"]
        )
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    return str(field["type"])


def _events() -> str:
    rows = ["\n| event | its fields, beside `time`, `event` and `program` |\n| --- | --- |\n"]
    of: dict[str, list[str]] = {}
    for event, fields in EVENTS.items():
        of.setdefault(fields, []).append(f"`{event}`")
    for fields, events in of.items():
        names = ", ".join(f"`{field}`" for field in fields.split())
        rows.append(f"| {', '.join(events)} | {names} |\n")
    return "".join(rows)

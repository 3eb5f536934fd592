"""Results out of the JSON of a recording, which may be of another version, or damaged."""

from ...records import (
    Evidence,
    KilledProcess,
    MemoryEvents,
    MemoryUsage,
    Pressure,
    Record,
    Result,
)
from ...units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def result_of(fields: "dict[str, Any]") -> Result:
    """A Result out of its JSON; what is not known, or of another kind, is left out."""
    known = _known(Result, fields)
    evidence = fields.get("evidence")
    if evidence is None and "killed" in fields:  # an event of a supervisor's
        evidence = {"killed": fields["killed"]}
    if isinstance(evidence, dict):
        killed = evidence.get("killed")
        known["evidence"] = Evidence(
            **_known(Evidence, evidence)
            | {
                "usage": MemoryUsage(**_part(MemoryUsage, evidence, "usage")),
                "events": MemoryEvents(**_part(MemoryEvents, evidence, "events")),
                "pressure": Pressure(**_part(Pressure, evidence, "pressure")),
                "killed": None if killed is None else [_victim(one) for one in killed],
            }
        )
    known["command"] = [str(word) for word in known.get("command", ())] or ["?"]
    known.setdefault("verdict", "unknown")
    known.setdefault("exit_status", known.get("returncode") or 0)
    return Result(**known)


def _victim(fields: "dict[str, Any]") -> KilledProcess:
    known: dict[str, Any] = {"pid": 0, "name": "?"}
    return KilledProcess(**known | _known(KilledProcess, fields))


def _part(cls: "type[Record]", fields: "dict[str, Any]", name: str) -> "dict[str, Any]":
    part = fields.get(name)
    return _known(cls, part) if isinstance(part, dict) else {}


def _known(cls: "type[Record]", fields: "dict[str, Any]") -> "dict[str, Any]":
    """Those of the fields that the record has too, and that are of its kind."""
    out: dict[str, Any] = {}
    for name, annotation in cls.__annotations__.items():
        value = fields.get(name)
        kind = annotation if isinstance(annotation, str) else annotation.__name__
        if value == "max" and _is_of(kind, "Limit"):
            out[name] = UNLIMITED
        elif _fits(value, kind):
            whole = isinstance(value, float) and not _is_of(kind, "float", "Limit")
            out[name] = int(value) if whole else value  # type: ignore[arg-type]
    return out


def _fits(value: object, kind: str) -> bool:
    if isinstance(value, list):
        return _is_of(kind, "list[str]")
    if isinstance(value, str):
        return _is_of(kind, "str")
    if isinstance(value, bool):
        return _is_of(kind, "bool")
    return is_number(value) and _is_of(kind, "int", "float", "Limit")


def _is_of(kind: str, *types: str) -> bool:
    """Whether an annotation allows one of some types."""
    return any(one in types for one in kind.split(" | "))


def is_number(value: object) -> bool:
    """Whether it is a number that a figure of ours can be: neither nan nor out of all bounds."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18
    )  # of nan this is false

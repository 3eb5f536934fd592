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
        value, kind = fields.get(name), str(annotation)
        if value == "max" and "Limit" in kind:
            out[name] = UNLIMITED
        elif _fits(value, kind):
            whole = isinstance(value, float) and not ("float" in kind or "Limit" in kind)
            out[name] = int(value) if whole else value  # type: ignore[arg-type]
    return out


def _fits(value: object, kind: str) -> bool:
    if isinstance(value, list):
        return kind == "list[str]"
    if isinstance(value, str):
        return "str" in kind and kind != "list[str]"
    if isinstance(value, bool):
        return "bool" in kind
    return is_number(value) and any(word in kind for word in ("int", "float", "Limit"))


def is_number(value: object) -> bool:
    """Whether it is a number that a figure of ours can be: neither nan nor out of all bounds."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18
    )  # of nan this is false

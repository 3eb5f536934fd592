"""`climits doctor`: what this host can enforce, and how to get the rest."""

import os
import sys
import textwrap

from ..errors import InvalidValueError
from ..observe.doctor import examine, overall
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.remedies import Finding

OPTIONS: tuple[Option, ...] = (
    ("--fix", None, "switch", CGROUP, "first remove what dead owners left, as climits gc does"),
    ("--json", None, "switch", TELLING, "for programs"),
    ("--quiet", None, "switch", TELLING, "print only what is not ok"),
)
USAGE = "climits doctor [OPTIONS]"
EPILOG = """\
Looks at the kernel, its boot parameters, the cgroup mounts, settings and
rights, and tries for real what can be tried: it makes one cgroup, limits it,
and removes it. Below each finding that is not ok stand what it costs and the
remedy. All of them: docs/reference/doctor.md.

exit status: 0 all is well, 1 degraded (memory can be limited, but something
is missing), 2 memory cannot be limited here

examples:
  climits doctor
  climits doctor --fix --quiet
  climits doctor --json | jq '.findings[] | select(.state != "ok")'
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_STATUS = {"ok": 0, "degraded": 1, "cannot": 2}
_LINES = {
    "ok": "all is well: every limit can be enforced here",
    "degraded": "degraded: memory can be limited here, but not all that climits offers works",
    "cannot": "memory cannot be limited here",
}
_WIDTH = 96
_INDENT = 34


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Examine and tell."""
    if words:
        raise InvalidValueError(
            f"doctor takes no arguments: {words[0]}", hint="see climits doctor --help"
        )
    if values.get("fix"):
        from .gc import main as gc

        gc({"quiet": values.get("quiet") or values.get("json")}, [])
    findings = examine()
    state = overall(findings)
    if values.get("json"):
        import json

        facts = {
            "schema": 1,
            "state": state,
            "kernel": os.uname().release,
            "findings": [finding.as_dict() for finding in findings],
        }
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        _print(findings, state, bool(values.get("quiet")))
    return _STATUS[state]


def _print(findings: "list[Finding]", state: str, quiet: bool) -> None:
    for finding in findings:
        if not (quiet and finding.state == "ok"):
            sys.stdout.write("\n".join(_lines(finding)) + "\n")
    if not quiet:
        sys.stdout.write(f"\n{_LINES[state]}\n")


def _lines(finding: "Finding") -> list[str]:
    head = f"{finding.state:10}{finding.check:{_INDENT - 10}}"
    lines = textwrap.wrap(
        head + finding.found, _WIDTH, subsequent_indent=" " * _INDENT, drop_whitespace=True,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    for label, text in (("cost", finding.cost), ("remedy", finding.remedy)):
        if text:
            lines += textwrap.wrap(
                text, _WIDTH, initial_indent=f"{'':10}{label:8}", subsequent_indent=" " * 18,
                break_on_hyphens=False, break_long_words=False,
            )  # fmt: skip
    return lines

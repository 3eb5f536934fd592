"""`climits hierarchies`: the controllers and hierarchies of this host, explained."""

import sys

from ..errors import InvalidValueError
from ..observe.hierarchies import ControllerFacts, HierarchyFacts, hierarchies, track
from ..observe.text import by_id, count, printable, table, wrapped
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    (
        "--track",
        "NAME",
        "text",
        CGROUP,
        "mount a v1 hierarchy without controllers (none,name=NAME)",
    ),
    (
        "--release-agent",
        "PATH",
        "text",
        CGROUP,
        "with --track: the program that the kernel runs for each cgroup that becomes empty",
    ),
    ("--json", None, "switch", TELLING, "as JSON"),
)
ANYWHERE = True
USAGE = "climits hierarchies [OPTIONS]"
EPILOG = """\
A controller is in one hierarchy at a time: in one of v1, or in that of v2. One
that is in none shows - for its hierarchy. Those of one v1 hierarchy, such as
cpu,cpuacct, share its cgroups. Who mounted a hierarchy is told by what the
mount looks like: the kernel does not write it down.

A named hierarchy without controllers limits nothing: its cgroups keep
processes together, however they fork. When the last process has left a cgroup
whose notify_on_release is 1, and it has no children, the kernel runs the
hierarchy's release_agent as root, with the cgroup's path as its argument.
--release-agent sets both at the root, and new cgroups take notify_on_release
over; an empty PATH unsets them. To remove one: rmdir its cgroups, then umount.
On cgroup v2 the file cgroup.events of each cgroup tells the same (populated 0),
and nothing is run: climits watch NAME --empty --exec COMMAND does it.

examples:
  climits hierarchies
  climits hierarchies --track builds --release-agent /usr/local/sbin/build-ended
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Show them, or make one."""
    if words:
        raise InvalidValueError(
            f"hierarchies takes no arguments: {words[0]}", hint="see climits hierarchies --help"
        )
    name, agent = values.get("track"), values.get("release_agent")
    if agent is not None and name is None:
        raise InvalidValueError(
            "release-agent goes with --track", hint="say --track NAME too, of the hierarchy"
        )
    as_json = bool(values.get("json"))
    if name is not None:
        made = track(name, agent)
        lines = _tracked(made)
        facts: object = made.as_dict()
    else:
        known, controllers = hierarchies()
        lines = [*_controllers(controllers), "", *_hierarchies(known), "", *_notes(known)]
        facts = {
            "controllers": [c.as_dict() for c in controllers],
            "hierarchies": [h.as_dict() for h in known],
        }
    if as_json:
        import json

        lines = [json.dumps(facts)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _controllers(controllers: list[ControllerFacts]) -> list[str]:
    rows = [("CONTROLLER", "HIERARCHY", "VERSION", "CGROUPS", "ENABLED", "WHAT IT IS FOR")]
    rows += [
        (
            c.name,
            count(c.hierarchy),
            c.version or "-",
            count(c.cgroups if c.version else None),
            "yes" if c.enabled else "no",
            c.purpose,
        )
        for c in controllers
    ]
    lines = table(rows, right="HIERARCHY CGROUPS", indent=0)
    off = [c.name for c in controllers if not c.enabled]
    if off:
        lines += wrapped(f"switched off at boot (cgroup_disable=): {', '.join(off)}")
    free = [c.name for c in controllers if c.enabled and c.version is None]
    if free:
        lines += wrapped(f"in no hierarchy: {', '.join(free)}")
    return lines


def _hierarchies(known: list[HierarchyFacts]) -> list[str]:
    rows = [("HIERARCHY", "VERSION", "CGROUPS", "MOUNTED AT", "HOLDS")]
    for h in known:
        at = " ".join(printable(point) for point in h.mount_points) or "not mounted here"
        names = [f"name={h.name}"] if h.name else []
        holds = " ".join(names + h.controllers) or "no controller"
        rows.append((str(h.id), h.version, count(h.cgroups), at, holds))
    return table(rows, right="HIERARCHY CGROUPS", indent=0)


def _notes(known: list[HierarchyFacts]) -> list[str]:
    out = []
    for text in dict.fromkeys(h.mounted_by for h in known if h.mounted_by):
        out += wrapped(f"mounted by {text}: {by_id(h.id for h in known if h.mounted_by == text)}")
    for options in dict.fromkeys(tuple(h.options) for h in known if h.options):
        ids = by_id(h.id for h in known if tuple(h.options) == options)
        out += wrapped(f"options {printable(','.join(options))}: {ids}")
    named = [f"name={h.name}" for h in known if h.name and not h.controllers]
    if named:
        out += wrapped(f"without a controller, only to keep track of processes: {', '.join(named)}")
    for h in known:
        if h.release_agent:
            new = "" if h.notify_on_release else ", though new cgroups do not ask for it"
            out += wrapped(
                f"{h.label}: the kernel runs {printable(h.release_agent)} for cgroups that become "
                f"empty{new}"
            )
        if h.events_file:
            out += wrapped(
                f"hierarchy {h.id} (v2) has no release_agent: the file cgroup.events of each "
                "cgroup tells when it becomes empty; see climits watch --empty"
            )
    return out


def _tracked(made: HierarchyFacts) -> list[str]:
    point = made.mount_points[0]
    lines = [f"name={made.name}: hierarchy {made.id}, mounted at {point}"]
    if made.release_agent:
        lines += [
            f"release_agent: {printable(made.release_agent)}, run for each cgroup that becomes "
            "empty",
            f"notify_on_release: {int(bool(made.notify_on_release))}, which new cgroups take over",
        ]
    lines += [f"make a cgroup: mkdir {point}/NAME; enter it: echo PID > {point}/NAME/cgroup.procs"]
    return lines

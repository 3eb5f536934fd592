#!/usr/bin/env python3
"""Make docs/images/design.svg: the rooms of the house, and which of them import from which.

    tools/picture_design.py           writes it
    tools/picture_design.py --check   says whether it would change; exit status 1 if so

Rooms, their order and the rule of what is an import are those of tests/unit/test_architecture.py.
Needs climits and pytest installed, as that does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from svg import Picture, write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from unit.test_architecture import FILES, NAMES, ROOMS, imports, room_of

#: What stands beside the name of each room.
HOLDS = {
    "cli": "the commands",
    "observe": "looking: stats, top, reports",
    "batch": "many jobs",
    "pool": "Python functions in workers",
    "supervise": "programs for ever",
    "history": "what ran before",
    "program": "one program, once",
    "cgroup": "the tree: limits, events",
    "launch": "all that starts a process",
    "linux": "the kernel's facts",
    "base": "errors, units, records",
}
_WIDTH, _LEFT, _HEIGHT, _GAP = 460, 10, 30, 16
_NAME, _TEXT, _COLUMNS, _COLUMN = 20, 108, 302.5, 15  # half a unit: a line is sharp there


def arrows() -> set[tuple[str, str]]:
    """(room, another that it imports from), as far as one does."""
    found = set()
    for path in FILES:
        room = room_of(f"climits.{NAMES[path]}")
        for name in imports(path):
            other = room_of(name) if name.startswith("climits.") else None
            if room and other and other != room:
                found.add((room, other))
    return found


def draw() -> str:
    """The picture: a box for each room, the first on top; an arrow for each pair of arrows()."""
    found = arrows()
    order = list(reversed(ROOMS))
    top = {room: 40 + number * (_HEIGHT + _GAP) for number, room in enumerate(order)}
    told = "; ".join(
        f"{room} imports from {', '.join(o for o in order if (room, o) in found) or 'none'}"
        for room in order
    )
    picture = Picture(_WIDTH, "The rooms of climits, and what each imports from", told + ".")
    picture.text(_LEFT, 24, "Each room imports from those that its arrows reach.", "soft")
    for room in order:
        picture.box(_LEFT, top[room], _WIDTH - 2 * _LEFT, _HEIGHT, room=room)
        picture.text(_NAME, top[room] + 20, room if room == "base" else f"{room}/", "ink bold")
        picture.text(_TEXT, top[room] + 20, HOLDS[room], "ink small")
    for number, room in enumerate(order[:-1]):
        x = _COLUMNS + number * _COLUMN
        picture.dot(x, top[room] + _HEIGHT)
        for other in order:
            if (room, other) in found:
                ends = (x, top[room] + _HEIGHT), (x, top[other])
                picture.arrow(*ends, **{"from": room, "to": other})
    return picture.render(top[order[-1]] + _HEIGHT + 12)


if __name__ == "__main__":
    sys.exit(write("design.svg", draw()))

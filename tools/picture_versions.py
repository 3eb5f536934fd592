#!/usr/bin/env python3
"""Make docs/images/versions.svg: where one program stands on v1, hybrid and v2.

tools/picture_versions.py [--check]
"""

from __future__ import annotations

import sys

from svg import Picture, write

#: Of a run with limits of memory, processes and CPUs.
#: (title, what is written below it, trees: (what it is mounted for, kind of the program's cgroup)).
_LAYOUTS = (
    ("v1", "a tree for each controller: the program is in every one of them",
     (("memory", "good"), ("pids", "mark"), ("cpu", "mark"), ("freezer", "wait"))),
    ("hybrid", "as v1, and a v2 tree without controllers beside them",
     (("memory", "good"), ("pids", "mark"), ("cpu", "mark"), ("v2: none", "wait"))),
    ("v2", "one tree for all; what a cgroup hands down, its children have",
     (("memory, pids, cpu, io, ...", "good"),)),
)  # fmt: skip

_COLOURS = (
    "green: where the memory limit is",
    "yellow: limits nothing; here it is",
    "frozen and killed as a whole",
)


def _tree(picture: Picture, x: float, y: float, wide: float, holds: str, kind: str) -> None:
    """A root, /climits, and the program's cgroup, below each other."""
    for depth, (text, each) in enumerate(((holds, "box"), ("/climits", "box"), ("app", kind))):
        top = y + depth * 40
        picture.box(x, top, wide, 26, each)
        picture.text(x + wide / 2, top + 18, text, "ink small", "middle")
        if depth:
            picture.line((x + wide / 2, top - 14), (x + wide / 2, top))


def draw() -> str:
    """The picture: three rows of trees."""
    told = ". ".join(
        f"{title}: {below}: {', '.join(h for h, _ in trees)}" for title, below, trees in _LAYOUTS
    )
    picture = Picture(460, "One program on cgroup v1, hybrid and v2", told + ".")
    y = 30
    for title, below, trees in _LAYOUTS:
        picture.text(14, y, title, "ink bold")
        picture.text(14, y + 20, below, "soft small")
        wide = 98 if len(trees) > 1 else 200
        for number, (holds, kind) in enumerate(trees):
            _tree(picture, 14 + number * 111, y + 32, wide, holds, kind)
        y += 180
    picture.lines(232, y - 118, _COLOURS, "soft small", step=17)
    return picture.render(y - 10)


if __name__ == "__main__":
    sys.exit(write("versions.svg", draw()))

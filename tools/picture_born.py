#!/usr/bin/env python3
"""Make docs/images/born.svg: a program that is moved under its limit, and one born there.

tools/picture_born.py [--check]
"""

import sys

from svg import Picture, write

_LEFT, _RIGHT, _WIDE = 14, 240, 206
_TOP, _STEP = 74, 14


def _column(picture: Picture, x: int, steps: tuple[tuple[str, tuple[str, ...]], ...]) -> float:
    """Cards below each other with arrows between them; returns where the last ends."""
    y = float(_TOP)
    for number, (kind, texts) in enumerate(steps):
        if number:
            picture.arrow((x + _WIDE / 2, y), (x + _WIDE / 2, y + _STEP))
            y += _STEP
        y = picture.card(x, y, _WIDE, texts, kind, small=True)
    return y


def draw() -> str:
    """The picture: two columns of steps, from top to bottom."""
    picture = Picture(
        460,
        "Started and then moved, and born inside",
        "On the left a program is started, runs for a while outside of its limit, where what it "
        "allocates is charged to its parent's cgroup for good, and is then moved. On the right "
        "the limit is there first; a child that borrows its parent's memory is in the cgroup "
        "before it executes the program, so that everything is charged to it.",
    )
    for x, title, below in (
        (_LEFT, "Started, then moved", "a script, an agent"),
        (_RIGHT, "Born inside", "climits"),
    ):
        picture.text(x + _WIDE / 2, 32, title, "ink bold", "middle")
        picture.text(x + _WIDE / 2, 52, below, "soft small", "middle")
    left = _column(
        picture,
        _LEFT,
        (
            ("box", ("fork: the page tables", "of the parent are copied")),
            ("bad", ("it runs outside of the limit;", "what it takes is charged", "there")),
            ("wait", ("cgroup.procs is given its pid:", "a global lock, now", "and then 7-16 ms")),
            ("bad", ("the limit holds from here;", "what came before is not", "counted by it")),
        ),
    )  # fmt: skip
    right = _column(
        picture,
        _RIGHT,
        (
            ("mark", ("the cgroup is made, the limit", "written, and read back")),
            ("box", ("clone: a child that borrows", "the parent's memory;", "nothing is copied")),
            ("good", ('v1: it writes "0" to tasks', "v2: CLONE_INTO_CGROUP,", "born in there")),
            ("good", ("execve: the program begins,", "and all of it is counted")),
        ),
    )  # fmt: skip
    return picture.render(int(max(left, right)) + 14)


if __name__ == "__main__":
    sys.exit(write("born.svg", draw()))

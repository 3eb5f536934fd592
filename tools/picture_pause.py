#!/usr/bin/env python3
"""Make docs/images/pause.svg: where a program stops that pauses at its limit, on v1 and on v2.

tools/picture_pause.py [--check]
"""

from __future__ import annotations

import sys

from svg import Picture, write

_TOP, _HIGH, _BOTTOM = 88, 128, 330  # of the bars: the limit, memory.high, nothing in use

#: (x, y, kind, lines)
_NOTES = (
    (76, 112, "ink", ("At the limit a task", "that touches a new", "page sleeps, in the",
                      "kernel, until there", "is more.")),
    (76, 214, "soft", ("Nobody is in a race:", "the kernel does it.", "A system call that",
                       "needs more fails,", "or comes short.")),
    (302, 172, "ink", ("From here on the", "kernel slows it down,", "and tells. climits",
                       "freezes the cgroup.")),
    (302, 250, "soft", ("One that crosses the", "gap before that is", "OOM-killed.")),
)  # fmt: skip


def _bar(picture: Picture, x: int, used: int) -> None:
    picture.box(x, _TOP, 52, _BOTTOM - _TOP, "box")
    picture.box(x, used, 52, _BOTTOM - used, "mark")


def draw() -> str:
    """The picture: two bars, filled up to where the program stops."""
    picture = Picture(
        460,
        "Pausing at the limit on cgroup v1 and v2",
        "On v1 the bar is full up to memory.limit_in_bytes: the task that needs one more page "
        "sleeps in the kernel until the limit is raised. On v2 it is full up to memory.high, a "
        "sixteenth below memory.max: the kernel slows the program down and tells climits, which "
        "freezes the cgroup. What gets through the gap before that reaches memory.max and is "
        "OOM-killed.",
    )
    for x, title in ((14, "cgroup v1"), (240, "cgroup v2")):
        picture.text(x, 32, title, "ink bold")
    _bar(picture, 14, _TOP)
    picture.line((10, _TOP), (218, _TOP))
    picture.text(14, 76, "memory.limit_in_bytes", "ink mono")
    _bar(picture, 240, _HIGH)
    picture.box(240, _TOP, 52, _HIGH - _TOP, "wait")
    picture.line((236, _TOP), (450, _TOP))
    picture.line((236, _HIGH), (450, _HIGH), kind="line dashed")
    picture.text(240, 76, "memory.max", "ink mono")
    picture.text(302, _TOP + 25, "the gap: 1/16 of it", "ink small")
    picture.text(302, 147, "memory.high", "ink mono")
    for x, y, kind, texts in _NOTES:
        picture.lines(x, y, texts, f"{kind} small", step=17)
    return picture.render(346)


if __name__ == "__main__":
    sys.exit(write("pause.svg", draw()))

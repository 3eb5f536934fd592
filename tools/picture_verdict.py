#!/usr/bin/env python3
"""Make docs/images/verdict.svg: the questions by which a run that has ended is judged.

tools/picture_verdict.py [--check]
"""

from __future__ import annotations

import sys

from svg import Picture, write

#: (question, arguments of climits.program.verdict.judge for which it is the first to be answered
#: with yes, verdict). A status is as wait4 gives it: 9 is SIGKILL, 256 is exit(1).
QUESTIONS = (
    (("Was its time up", "before it ended?"),
     {"status": 9, "oom_kill": 1, "timed_out": True, "stopped": True}, "timed-out"),
    (("Was climits asked to end it", "before it ended?"),
     {"status": 9, "oom_kill": 1, "timed_out": False, "stopped": True}, "stopped"),
    (("Did the kernel count an OOM kill", "in its cgroup, and the program", "not exit with 0?"),
     {"status": 256, "oom_kill": 1, "timed_out": False, "stopped": False}, "oom-killed"),
    (("Did a signal end it?",),
     {"status": 9, "oom_kill": 0, "timed_out": False, "stopped": False}, "signaled"),
)  # fmt: skip
#: Otherwise; a child was OOM-killed here, and the program coped.
LAST = {"status": 0, "oom_kill": 1, "timed_out": False, "stopped": False}, "exited"

_X, _WIDE, _ANSWER, _ANSWER_WIDE = 14, 270, 330, 116


def draw() -> str:
    """The picture: questions from top to bottom, and to the right what a yes means."""
    told = ". ".join(f"{' '.join(question)} Then {verdict}" for question, _, verdict in QUESTIONS)
    picture = Picture(460, "How a run is judged", f"{told}. Otherwise {LAST[1]}.")
    y = 14.0
    for question, _, verdict in QUESTIONS:
        end = picture.card(_X, y, _WIDE, question)
        middle = (y + end) / 2
        kind = "bad" if verdict == "oom-killed" else "mark"
        picture.arrow((_X + _WIDE, middle), (_ANSWER, middle))
        picture.text(_X + _WIDE + 20, middle - 6, "yes", "soft small", "middle")
        picture.box(_ANSWER, middle - 16, _ANSWER_WIDE, 32, kind)
        picture.text(_ANSWER + _ANSWER_WIDE / 2, middle + 5, verdict, "ink bold", "middle")
        picture.arrow((_X + _WIDE / 2, end), (_X + _WIDE / 2, end + 26))
        picture.text(_X + _WIDE / 2 + 8, end + 17, "no", "soft small")
        y = end + 26
    picture.box(_X + _WIDE / 2 - _ANSWER_WIDE / 2, y, _ANSWER_WIDE, 32, "good")
    picture.text(_X + _WIDE / 2, y + 21, LAST[1], "ink bold", "middle")
    return picture.render(int(y) + 46)


if __name__ == "__main__":
    sys.exit(write("verdict.svg", draw()))

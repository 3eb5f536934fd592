"""What systemd adds to a run: the scope that climits asks it for, beside systemd-run --scope.

Four commands take turns: `climits run` from a login session, which asks for a scope, and in a scope
that is delegated already, which does not; `systemd-run --scope` around a command, and the command
alone.  What systemd adds is the difference of each pair.  It needs systemd as process 1; as an
ordinary user it is the user's manager that is asked:

    python tests/vm/vm.py --systemd --user -- python benchmarks/scope.py
"""

import os
import shutil
import subprocess
import sys

import common
import peers
from command import runner

_TARGET = 1.2
_TRUE = "/bin/true"
_MANAGER = ["--user"] if os.geteuid() else []
_INSIDE = "--inside"


def scope(*words):
    """A command line of systemd-run."""
    return [shutil.which("systemd-run"), *_MANAGER, "--scope", "-q", *words]


def climits_run():
    """That of climits."""
    words = peers.climits(_TRUE)
    at = words.index("--")
    return [*words[:at], "--no-history", *words[at:]]


class Inside:
    """Runs the command whenever it is called, from within a delegated scope."""

    def __init__(self):
        words = scope("-p", "Delegate=yes", "--", sys.executable, __file__, _INSIDE)
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self):
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError("climits run failed inside the delegated scope")

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def inside():
    """The other side of it."""
    run = runner([climits_run()])
    for _ in sys.stdin.buffer:
        run()
        os.write(1, b"\n")


def measure(options):
    if not os.path.isdir("/run/systemd/system"):
        sys.exit("scope.py: systemd is not process 1 here; the head of scope.py tells what to do")
    report = common.Report("scope: what asking systemd for one adds to a run", options)
    within = Inside()
    subjects = {
        "true": runner([[_TRUE]]),
        "systemd-run": runner([scope("--", _TRUE)]),
        "delegated": within,
        "scope": runner([climits_run()]),
    }
    times = common.sample(subjects, options.rounds, options.idle / 1000, seed=options.seed)
    within.close()
    lines, added = [], []
    for name, more, less in (
        ("climits run: in a scope that it asks for", "scope", "delegated"),
        ("systemd-run --scope", "systemd-run", "true"),
    ):
        differences = [a - b for a, b in zip(times[more], times[less], strict=True)]
        added.append(common.median(differences))
        middles = (common.median(times[more]), common.median(times[less]), added[-1])
        spread = (common.quantile(differences, q) for q in (0.1, 0.9))
        lines.append(
            [name, *(common.number(m * 1000) for m in middles),
             "-".join(common.number(s * 1000) for s in spread), "", "", ""]
        )  # fmt: skip
    ratio = added[0] / added[1]
    what = "what a scope adds to climits run, over what systemd-run adds"
    holds = report.target(what, ratio, "x", at_most=_TARGET)
    lines[0][5:] = [f"{ratio:.2f}x", f"<= {_TARGET:g}x", holds]
    headings = [
        "what", "with (ms)", "without (ms)", "added (ms)", "p10-p90", "ratio", "target", "holds",
    ]  # fmt: skip
    report.add(common.Table(headings, lines))
    report.end()


if __name__ == "__main__":
    if sys.argv[1:] == [_INSIDE]:
        inside()
    else:
        parser = common.arguments(__doc__, rounds=40, isolated=1)
        common.main(parser, measure, needs_root=False)

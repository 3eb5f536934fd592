"""How much memory a command needs, found out by running it.

Two figures, which answer two questions:

- The least limit: under how much does it still do its work?  Runs under ever closer limits.
- The working set: how much does it touch within a while?  In one more run the kernel is made to
  take back all that it can, again and again; what is in use even so is what it comes back to.

All runs live in one cgroup of ours.  What they read stays in the page cache, charged to that one,
and is dropped before the next run: otherwise each run but the first would find its files there
and be charged for none of them.
"""

import errno
import os
import time

from ..cgroup.group import Cgroup
from ..errors import CgroupError, LaunchError, UnsupportedError
from ..program.pipes import DEVNULL
from ..program.process import Process
from ..records import Record
from ..units import UNLIMITED
from .least import Trial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from ..records import Limit, Result

DEFAULT_SLOWDOWN = 10.0
#: A run may take this long however short the first one was, seconds: start-up varies.
_LEAST_TIME = 1.0
_KILL_AFTER = 1.0  # seconds from SIGTERM to SIGKILL of a run that takes too long
#: The interval between two squeezes: a part of the run, seconds within these bounds.
_PART, _SHORTEST, _LONGEST = 20, 0.02, 1.0

_groups_made = 0


class WorkingSet(Record):
    """What a command came back to while the kernel took back all that it could.

    Attributes:
        size: the most that was in use at any moment, bytes.
        floor: the most that was left right after a squeeze, bytes.
        interval: seconds between two squeezes.
        rounds: how many there were.
        trial: the run.
    """

    size: int
    floor: int
    interval: float
    rounds: int
    trial: Trial


class Bench:
    """Runs a command again and again, in a cgroup that is removed at the end."""

    def __init__(self, command: "Sequence[str]", *, input: "str | None" = None) -> None:
        """Make the cgroup.

        Args:
            command: the program and its arguments.
            input: path of a file for its standard input, each time from the beginning; None: none.

        Raises:
            ClimitsError: no cgroup could be made.
        """
        global _groups_made
        _groups_made += 1
        self.command, self._input = list(command), input
        # A name that tells whose it is: see climits.cgroup.ownership.pid_in.
        self._home = Cgroup.create(f"measure-{os.getpid()}-{_groups_made}")

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        self._home.__exit__(*error)

    # -- runs --------------------------------------------------------------------------------

    def first(self, limit: "Limit", timeout: "float | None") -> "Result":
        """The run that the others are held against; its standard error is ours.

        Args:
            limit: bytes or UNLIMITED.
            timeout: seconds, or None.

        Raises:
            LaunchError: it cannot be started.
        """
        with self._start(limit, stderr=None) as process:
            return process.run_to_end(timeout, _KILL_AFTER)

    def attempt(self, limit: int, first: "Result", slowdown: float) -> Trial:
        """One run under a limit.

        Args:
            limit: bytes.
            first: the run without one.
            slowdown: so many times slower than that is too slow.
        """
        self._drop_cache()
        try:
            with self._start(limit) as process:
                result = process.run_to_end(_time_for(first, slowdown), _KILL_AFTER)
        except LaunchError as e:
            if e.errno != errno.ENOMEM:
                raise
            return Trial(limit=limit, works=False, outcome="did not start: too small")
        return judge(limit, result, first)

    def squeeze(
        self, first: "Result", slowdown: float, interval: "float | None" = None
    ) -> "WorkingSet | None":
        """One run without a limit, under pressure.

        Args:
            first, slowdown: as for `attempt`.
            interval: seconds between two squeezes; None: a twentieth of the first run.

        Returns:
            None where the command ends too soon for it.

        Raises:
            UnsupportedError: this kernel cannot reclaim on request.
        """
        self._drop_cache()
        if interval is None:
            interval = min(max((first.duration or 0.0) / _PART, _SHORTEST), _LONGEST)
        rounds: list[tuple[int, int]] = []
        # Swap, where there is some, takes what the program does not touch.
        with self._start(UNLIMITED, swap=UNLIMITED) as process:
            deadline = time.monotonic() + _time_for(first, slowdown)
            while process.returncode is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    process.timed_out = True
                    process.kill_all()
                    process.wait()
                    break
                process.turn(min(interval, left))
                if process.returncode is None and (found := _squeeze(process.cgroup)):
                    rounds.append(found)
        result = process.result
        assert result is not None
        if len(rounds) < 2:
            return None
        return WorkingSet(
            # The kernel's own peak: what came and went between two squeezes is in it.
            size=result.memory_peak or max(before for before, _ in rounds),
            floor=max(after for _, after in rounds),
            interval=interval,
            rounds=len(rounds),
            trial=judge(UNLIMITED, result, first),
        )

    def _start(
        self, limit: "Limit", *, swap: "Limit | None" = None, stderr: "int | None" = DEVNULL
    ) -> Process:
        stdin = DEVNULL if self._input is None else os.open(self._input, os.O_RDONLY)
        options: dict[str, Any] = {} if swap is None else {"swap": swap}
        try:
            return Process(
                self.command, memory=limit, parent=self._home.path, stdin=stdin, stdout=DEVNULL,
                stderr=stderr, **options,
            )  # fmt: skip
        finally:
            if stdin >= 0:
                os.close(stdin)

    def _drop_cache(self) -> None:
        try:
            memory = self._home.memory
            memory.reclaim(max(memory.current(), 1))
        except UnsupportedError:
            pass  # then the later runs are charged for less


def judge(limit: "Limit", result: "Result", first: "Result") -> Trial:
    """Whether a run did its work as the first one did, and how to call its end."""
    status = f"exited {result.returncode}"
    if result.signal:
        status = f"ended by signal {result.signal}"
    outcome = {"oom-killed": "OOM-killed", "timed-out": "too slow"}.get(result.verdict, status)
    killed = bool(result.oom_kill) and result.verdict != "oom-killed"
    if killed and result.verdict == "exited":
        outcome = f"{status}, a process OOM-killed"
    same = (result.verdict, result.returncode) == (first.verdict, first.returncode)
    return Trial(
        limit=limit,
        works=same and not killed,
        outcome=outcome,
        memory_peak=result.memory_peak,
        duration=result.duration,
    )


def _time_for(first: "Result", slowdown: float) -> float:
    return max((first.duration or 0.0) * slowdown, _LEAST_TIME)


def _squeeze(group: Cgroup) -> "tuple[int, int] | None":
    """Usage before and after taking back what can be; None where it has just ended."""
    try:
        before = group.memory.current()
        return before, group.memory.reclaim(max(before, 1))
    except CgroupError:
        return None

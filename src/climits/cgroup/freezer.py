"""Stopping and killing every process of a cgroup at once, whatever its version.

Source: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst,
Documentation/admin-guide/cgroup-v2.rst (cgroup.freeze since 5.2, cgroup.kill since 5.14).
"""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import errno
import os
import time

from ..errors import CgroupError, CgroupGoneError, CgroupTimeoutError, UnsupportedError
from .files import Directory, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: How long a kill may take before it is reported as failed, seconds.
KILL_TIMEOUT = 30.0

_SIGKILL = 9


class Freezer:
    """Freezes, thaws and kills what lives in one cgroup and below it."""

    can_freeze = True

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process and wait until all have stopped.

        Raises:
            CgroupTimeoutError: some had not after `timeout` seconds; they may still stop later.
            UnsupportedError: this hierarchy cannot freeze.
        """
        if not poll_until(self._freeze_more, timeout):
            raise CgroupTimeoutError(
                f"{self.directory.path}: not frozen after {timeout:g}s",
                path=self.directory.path,
                hint="a task that waits for a device or sleeps at its limit freezes later",
            )

    def start_freezing(self) -> None:
        """Ask for it and do not wait."""
        self._request(True)

    def _freeze_more(self) -> bool:
        """Ask again, and say whether all have stopped.

        Asking once is not enough on v1: what was just being started, or forks, can miss it for good
        (6.1: every third freeze within a millisecond of the start).
        """
        self._request(True)
        return self.is_frozen()

    def thaw(self) -> None:
        """Let every process go on."""
        self._request(False)

    def is_frozen(self) -> bool:
        """Whether every process has stopped."""
        raise NotImplementedError

    def is_asked(self) -> bool:
        """Whether its processes have been asked to stop, or have stopped."""
        raise NotImplementedError

    def _request(self, frozen: bool) -> None:
        raise UnsupportedError(
            f"{self.directory.path}: cannot freeze: the v1 freezer is not mounted",
            hint="mkdir -p /sys/fs/cgroup/freezer && "
            "mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer",
        )

    def kill(self, timeout: float = KILL_TIMEOUT) -> int:
        """Kill every process of the cgroup and of those below it, and wait until none is left.

        Frozen first, so that a fork bomb cannot outrun the killing.

        Returns:
            The number of processes that were seen and killed.

        Raises:
            CgroupTimeoutError: something is still there after `timeout` seconds.
        """
        seen: set[int] = set()
        deadline = time.monotonic() + timeout
        while pids := self._all_pids():
            seen.update(pids)
            self._kill_round(deadline)
            left = deadline - time.monotonic()
            if not poll_until(lambda: not self._all_pids(), min(left, 0.5)) and left < 0:
                raise self._survived()
        return len(seen - {0})

    def _survived(self) -> CgroupTimeoutError:
        pids = self._all_pids()
        path = self.directory.path
        if 0 in pids:
            return CgroupTimeoutError(
                f"{path}: processes of another pid namespace live in it, out of reach from here",
                path=path,
                hint="kill them from the pid namespace that they are in, or one above it",
            )
        return CgroupTimeoutError(
            f"{path}: {len(pids)} processes survive SIGKILL",
            path=path,
            hint="they wait for a device and end when it answers, or are frozen in another "
            "hierarchy: climits thaw",
        )

    def _kill_round(self, deadline: float) -> None:
        """Freeze, kill, thaw: what is frozen cannot fork, so that nothing is missed."""
        pause = 0.0001
        while True:
            # Asked before the pids are read: once all have stopped, the list is whole.
            stopped = not self.can_freeze or self._freeze_more()
            pids = self._all_pids()
            for pid in pids:
                kill_process(pid)
            # A task that sleeps at its limit (paused on OOM) cannot freeze, but has just been
            # killed; of a fork bomb more freeze each time.
            if stopped or not pids or time.monotonic() > deadline:
                break
            time.sleep(pause)
            pause = min(pause * 2, 0.01)
        if self.can_freeze:
            self._request(False)

    def _all_pids(self) -> list[int]:
        return list(_pids_below(self.directory))


class FreezerV1(Freezer):
    """freezer.state; a v1 directory without that file can kill, but not freeze."""

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self.can_freeze = directory.has("freezer.state")

    def _request(self, frozen: bool) -> None:
        if not self.can_freeze:
            super()._request(frozen)
        self.directory.write("freezer.state", "FROZEN" if frozen else "THAWED")

    def is_frozen(self) -> bool:
        # FREEZING means that some tasks still run; reading makes the kernel look again.
        return self.can_freeze and self.directory.read("freezer.state").strip() == b"FROZEN"

    def is_asked(self) -> bool:
        return self.can_freeze and self.directory.read("freezer.state").strip() != b"THAWED"


class FreezerV2(Freezer):
    """cgroup.freeze, cgroup.kill, cgroup.events."""

    def _request(self, frozen: bool) -> None:
        try:
            self.directory.write("cgroup.freeze", "1" if frozen else "0")
        except CgroupError as e:
            if e.errno != errno.ENOENT:
                raise
            raise UnsupportedError(
                f"{self.directory.path}: this kernel cannot freeze on cgroup v2",
                hint="use a kernel from 5.2 on",
            ) from None

    def is_asked(self) -> bool:
        return (self.directory.read_optional("cgroup.freeze") or b"0").strip() == b"1"

    def is_frozen(self) -> bool:
        return pick(self.directory.read("cgroup.events"), b"frozen ") == 1

    def _all_pids(self) -> list[int]:
        # One file tells for the whole subtree; threads of a threaded cgroup are counted too.
        try:
            if pick(self.directory.read("cgroup.events"), b"populated ") == 0:
                return []
        except CgroupGoneError:
            return []
        return super()._all_pids() or [0]  # 0: there, but in a pid namespace we cannot see into

    def _kill_round(self, deadline: float) -> None:
        try:
            self.directory.write("cgroup.kill", "1")
        except CgroupError as e:
            if e.errno != errno.ENOENT:
                raise
            super()._kill_round(deadline)


def _pids_below(directory: Directory) -> set[int]:
    pids: set[int] = set()
    try:
        for each in directory.walk():
            pids |= set(listed_pids(each))
    except CgroupGoneError:
        pass
    return pids


def listed_pids(directory: Directory) -> list[int]:
    """Process ids in a cgroup, its children left out; empty where none can be listed.

    0 stands for each process of a pid namespace that we cannot see into (v2; v1 leaves them out).
    """
    try:
        return directory.pids()
    except CgroupGoneError:
        return []
    except CgroupError as e:
        if e.errno != errno.EOPNOTSUPP:  # a threaded cgroup: its processes are listed above it
            raise
        return []


def kill_process(pid: int) -> None:
    """SIGKILL, through a pidfd: a pid that was given away meanwhile is never hit in between."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        _signal.pidfd_send_signal(fd, _SIGKILL)
    except OSError:
        pass
    finally:
        os.close(fd)


def poll_until(condition: "Callable[[], bool]", timeout: float) -> bool:
    """Ask again and again, at growing intervals of 0.1 to 10 ms, until it is true.

    Args:
        condition: asked once at least.
        timeout: seconds.

    Returns:
        Whether it became true.
    """
    deadline = time.monotonic() + timeout
    pause = 0.0001
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
    return True

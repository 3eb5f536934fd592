"""Notice OOM kills inside a cgroup whose program lives on."""

import os

from ..errors import CgroupError, CgroupGoneError
from ..linux.proc import is_dying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..program.process import Process
    from .loop import Loop

#: v1 tells of an OOM before it counts the kill: look again after so long, and then twice as long,
#: seconds.
_FIRST_LOOK, _LAST_LOOK = 0.002, 1.0
#: The kill is counted before the signal is sent: whom it was for shows after so long, seconds.
_CONFIRM = 0.1


class OomWatch:
    """Tells of processes that were OOM-killed in a program's cgroup while the program lives on.

    The program's own OOM kill is told by its end.
    """

    #: For whose program the files are open that its end reads.
    holder: "OomWatch | None" = None

    __slots__ = ("_again", "fd", "known", "loop", "process", "tell")

    def __init__(
        self, loop: "Loop", process: "Process", tell: "Callable[[int], None]", known: int = 0
    ) -> None:
        """Begin.

        Args:
            loop: calls us.
            process: the program.
            tell: called with the number of processes that were killed since the last call.
            known: OOM kills that the cgroup had counted before.
        """
        self.loop, self.process, self.tell, self.known = loop, process, tell, known
        self._again: float | None = None
        self.fd = process.cgroup.memory.watch_oom()
        loop.watch(self.fd, self._at_event, process.cgroup.memory.OOM_MASK)

    def _at_event(self, _events: int) -> None:
        cgroup = self.process.cgroup
        cgroup.memory.drain_oom(self.fd)
        if self._again is None:
            self._again = _FIRST_LOOK
            self.loop.after(self._again, self._look)
            # The end may be near, and a restart is to follow at once.  Of one program at a time:
            # above all of them there may be a limit too, and then each is told of its OOM.
            if OomWatch.holder is None:
                OomWatch.holder = self
                try:
                    cgroup.hold_report()
                except CgroupError:
                    pass  # removed under us

    def _look(self) -> None:
        self._let_go()
        killed = self._killed()
        if killed:
            self.loop.after(_CONFIRM, self._confirm)
        elif killed is not None and self._again is not None and self._again < _LAST_LOOK:
            self._again *= 2
            self.loop.after(self._again, self._look)
        else:
            self._again = None

    def _confirm(self) -> None:
        self._again = None
        killed = self._killed()
        if killed:
            self.known += killed
            self.tell(killed)

    def _killed(self) -> "int | None":
        """How many processes were killed; None when the program has ended or is ending."""
        process = self.process
        if self.fd < 0 or process.returncode is not None or is_dying(process.pid):
            return None
        try:
            count = process.cgroup.memory.events().oom_kill or 0
        except CgroupGoneError:  # removed under us
            return None
        process.cgroup.rest()
        return count - self.known

    def _let_go(self) -> None:
        if OomWatch.holder is self:
            OomWatch.holder = None

    def close(self) -> None:
        """End."""
        self._let_go()
        if self.fd >= 0:
            self.loop.forget(self.fd)
            os.close(self.fd)
            self.fd = -1

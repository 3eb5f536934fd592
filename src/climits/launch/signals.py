"""Signals that reach the launcher but are meant for the program.

The program shares our process group and terminal, so what the terminal sends (Ctrl+C, Ctrl+Z)
reaches it directly, and must not be sent twice.  What a process sends to us alone is passed on.
A signalfd tells the two apart.

Source: signalfd(2), credentials(7), "job control" in setpgid(2).
"""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import os
import time

from ._spawn import signalfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HUP, _INT, _QUIT, _USR1, _USR2, _ALRM, _TERM = 1, 2, 3, 10, 12, 14, 15
_CHLD, _CONT, _STOP, _TSTP, _TTIN, _TTOU = 17, 18, 19, 20, 21, 22

RELAYED = (_HUP, _INT, _QUIT, _USR1, _USR2, _ALRM, _TERM, _CONT)
#: Those by which somebody asks for the end.
ENDING = (_INT, _QUIT, _TERM)
_WATCHED = (*RELAYED, _CHLD, _TSTP)

#: si_code of what the terminal sends.
SI_KERNEL = 0x80
_RECORD = 128  # sizeof(struct signalfd_siginfo)


class Relay:
    """Holds signals back from us for as long as a program runs, and passes them on.

    Attributes:
        fd: readable when signals wait; then call `turn`.
        sigmask: the mask the program should have, for Plan.
    """

    def __init__(self) -> None:
        """Block the signals in this thread, which must be the only one."""
        # Ignored, as some daemons leave it, the kernel would reap the program for us.
        _signal.signal(_CHLD, _signal.SIG_DFL)
        old = _signal.pthread_sigmask(_signal.SIG_BLOCK, _WATCHED)
        self.sigmask = mask_of(old)
        # Also those that were ignored when we were started (nohup, or & without job control): what
        # is blocked the kernel keeps all the same, and whether to ignore it the program decides.
        self.fd = signalfd(mask_of(_WATCHED))

    def pending(self) -> "int | None":
        """A signal by which somebody asked for the end before there was a program."""
        for number, _code, _pid in read_signals(self.fd):
            if number in (_HUP, *ENDING):
                return number
        return None

    def turn(
        self,
        pidfd: int,
        send: "Callable[[int], None]",
        again: "Callable[[int], None] | None" = None,
    ) -> None:
        """Deal with what waits.

        Args:
            pidfd: of the program.
            send: passes a signal on to it.
            again: passes on what the terminal sent too; for the first turn, since that may have
                come before there was a program.
        """
        stop = 0
        for number, code, _pid in read_signals(self.fd):
            if number == _CHLD:
                stop = stop or _stopped_by(pidfd)
            elif number == _TSTP:
                if code != SI_KERNEL:
                    send(_TSTP)
                stop = _TSTP
            elif code != SI_KERNEL:
                send(number)
            elif again:
                again(number)
        if stop:
            self._stop_too(stop, pidfd)

    def _stop_too(self, number: int, pidfd: int) -> None:
        """Stop as the program has, so that the shell gets the terminal back; until SIGCONT."""
        # The signal itself and not SIGSTOP: the kernel drops it where nobody could wake us.
        os.kill(os.getpid(), number)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _WATCHED)
        # SIGCONT came to the whole group, but the program may not have had it yet: without this
        # pause it would look as if it had stopped again.
        time.sleep(0.01)
        _stopped_by(pidfd)


def read_signals(fd: int) -> list[tuple[int, int, int]]:
    """(number, si_code, sender's pid) of the signals that wait at a signalfd; may be empty."""
    try:
        data = os.read(fd, 32 * _RECORD)
    except BlockingIOError:
        return []
    ints = memoryview(data).cast("i")
    return [(ints[i], ints[i + 2], ints[i + 3]) for i in range(0, len(ints), _RECORD // 4)]


def _stopped_by(pidfd: int) -> int:
    """The terminal's stop signal that has stopped the program, or 0; told once a stop."""
    try:
        state = os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG)
    except OSError:
        return 0
    # SIGSTOP is left out: it comes from a person who means the program alone.
    return state.si_status if state and state.si_status in (_TSTP, _TTIN, _TTOU) else 0


def mask_of(signals: "set[int] | tuple[int, ...]") -> int:
    """Signals as a mask, bit N-1 for signal N."""
    mask = 0
    for number in signals:
        mask |= 1 << (number - 1)
    return mask

"""The thread that looks at what is recorded: all of it when some of it is due."""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import _thread

from ...errors import ClimitsError
from ..sampler import Sampler
from .file import FIELDS
from .follower import FASTEST, Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Looks a second at all programs of a supervisor together.
_MOST_LOOKS = 200
#: Seconds until a thread that does not end is left.
PATIENCE = 5.0


class Looker:
    """A thread that samples cgroups, all of them when one of them is due."""

    def __init__(self) -> None:
        self._sampler = Sampler(figures=FIELDS.values())
        self._followers: dict[str, Follower] = {}
        self._lock = _thread.allocate_lock()  # of the two above
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._done: _thread.LockType | None = None
        self._ending = False

    def add(self, follower: Follower) -> None:
        """Follow a cgroup from now on; the first sample is taken here.

        Raises:
            CgroupError, UnsupportedError: it is gone, or cannot be read.
        """
        with self._lock:
            self._sampler.discard(follower.path)  # one that was removed, and is made anew
            self._sampler.add(follower.path)
            self._followers[follower.path] = follower
            self._look([follower.path])
        if self._done is None:
            self._done = start_thread(self._run)
        elif self._wake.locked():
            self._wake.release()

    def take_out(self, path: str) -> "Follower | None":
        """Follow it no longer; the caller closes the follower."""
        with self._lock:
            self._sampler.discard(path)
            return self._followers.pop(path, None)

    def look(self) -> "set[str]":
        """Sample all of them now; the paths of those that are still there."""
        with self._lock:
            return self._look([path for path, f in self._followers.items() if not f.gone])

    def _look(self, paths: list[str]) -> "set[str]":
        samples = self._sampler.sample(paths)
        for path in paths:
            if path in samples:
                self._followers[path].take(samples[path])
            else:
                self._followers[path].gone = True
        return set(samples)

    def follows(self, path: str) -> bool:
        """Whether it is followed."""
        return path in self._followers

    def _run(self) -> None:
        while not self._ending:
            # Programs that are many are looked at less often, so that it costs no more.
            fastest = max(FASTEST, len(self._followers) / _MOST_LOOKS)
            with self._lock:
                wanted = [f.interval for f in self._followers.values() if not f.gone]
            if not wanted:
                self._wake.acquire()
            elif not self._wake.acquire(True, max(min(wanted), fastest)):
                self.look()

    def last(self) -> "set[str]":
        """End the thread, and take a last sample of what is still there; the paths of that."""
        if self._done is not None:
            self._ending = True
            if self._wake.locked():
                self._wake.release()
            if not self._done.acquire(True, PATIENCE):
                return set()  # it hangs in a disk or in the kernel, and so would we
            self._done = None
        return self.look()

    def close(self) -> None:
        """Give the descriptors back."""
        if self._done is not None:
            return  # it still reads them
        for follower in self._followers.values():
            follower.close()
        self._sampler.close()


def start_thread(function: "Callable[[], None]") -> "_thread.LockType":
    """Start a thread; the lock that is returned can be taken once it has ended.

    Raises:
        ClimitsError: there may be no more threads.
    """
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            function()
        finally:
            done.release()

    # Python's handlers run in the main thread, which would not be woken by a signal that the kernel
    # gives to this one.
    old = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as e:
        raise ClimitsError(
            f"no thread can be started: {e}", hint="raise the limit on tasks (pids.max, ulimit -u)"
        ) from None
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, old)
    return done

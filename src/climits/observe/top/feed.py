"""The thread that looks at the cgroups, so that a slow read never holds the keyboard up."""

import threading
import time

from ...errors import ClimitsError
from ..sampler import Sampler
from .details import Details, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sampler import Sample


class Look:
    """What one refresh found.

    Attributes:
        samples: of every cgroup that can be read, by path; None: no new figures were due.
        skipped: path: why one cannot be.
        details: of the cgroup that was asked for, or None.
        error: why there is nothing, or "".
    """

    __slots__ = ("details", "error", "samples", "skipped")

    def __init__(
        self,
        samples: "dict[str, Sample] | None",
        skipped: "dict[str, str]",
        details: "Details | None" = None,
        error: str = "",
    ) -> None:
        self.samples, self.skipped, self.details = samples, skipped, details
        self.error = error


class Feed:
    """Samples every `interval` seconds in a thread of its own.

    Attributes:
        interval: seconds from one refresh to the next.
        since: when the refresh that is under way began, monotonic seconds; None: none is.
    """

    def __init__(self, top: str, interval: float, tell: "Callable[[Look], bool]") -> None:
        """Prepare.

        Args:
            top: the cgroup to look at, with those below it.
            interval: seconds.
            tell: called in that thread with each look; False once nobody listens any more.
        """
        self.interval = interval
        self.since: float | None = None
        self._top, self._tell = top, tell
        self._wanted: str | None = None
        self._wake = threading.Event()
        self._is_ending = self._is_asked = False
        # Nobody waits for it at the end: the kernel may keep it in a read.
        self._thread = threading.Thread(target=self._run, name="climits-top", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def want(self, path: "str | None") -> None:
        """Of which cgroup the details are wanted, from now on; None: of none."""
        if path != self._wanted:
            self._wanted = path
            if path is not None:
                self._wake.set()

    def refresh(self) -> None:
        """Look now."""
        self._is_asked = True
        self._wake.set()

    def stop(self) -> None:
        """End after the refresh that is under way; does not wait for it."""
        self._is_ending = True
        self._wake.set()

    def _run(self) -> None:
        try:
            with Sampler() as sampler:
                self._follow(sampler)
        except Exception as e:  # told there, and not on the terminal that is drawn upon
            text = str(e) if isinstance(e, ClimitsError) else f"{type(e).__name__}: {e}"
            self.since = None
            self._tell(Look(None, {}, error=text))

    def _follow(self, sampler: Sampler) -> None:
        reader: Reader | None = None
        due = time.monotonic()
        while not self._is_ending:
            self.since = now = time.monotonic()
            samples = None
            # The details of another cgroup are told at once, though no new figures are due.
            if self._is_asked or now >= due:
                self._is_asked = False
                due = max(due + self.interval, now)
                sampler.scan(self._top)
                samples = sampler.sample()
            path = self._wanted
            if reader is not None and reader.path != path:
                reader.close()
                reader = None
            if path is not None and reader is None:
                reader = Reader(path)
            details = reader.read() if reader else None
            self.since = None
            if not self._tell(Look(samples, dict(sampler.skipped), details)):
                break
            self._wake.wait(max(due - time.monotonic(), 0.0))
            self._wake.clear()
        if reader is not None:
            reader.close()

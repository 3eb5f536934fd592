"""Whoever wants to know how a batch goes on."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job import Outcome
    from .scheduler import Retry, Start


class Watcher:
    """What wants to know how a batch goes on; the methods of this one do nothing."""

    def started(self, start: "Start") -> None:
        """An attempt was started."""

    def retried(self, retry: "Retry", outcome: "Outcome") -> None:
        """An attempt has failed, and there will be another."""

    def ended(self, outcome: "Outcome") -> None:
        """A job has ended for good; what it wrote is not shown yet."""

    def shown(self, outcome: "Outcome") -> None:
        """All that a job wrote was shown, if there was anything."""

    def showing(self) -> None:
        """What a job wrote is about to be shown."""

    def problem(self, text: str) -> None:
        """Something beside the jobs went wrong."""

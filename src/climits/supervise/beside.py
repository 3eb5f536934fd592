"""What runs beside a supervisor, in a thread of its own: a status page, metrics, a recording."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .client import Client


class Beside:
    """Reaches the supervisor as any other client does, and so cannot hold its programs up."""

    def begin(self, connect: "Callable[[], Client]") -> None:
        """Open what is needed and start the thread; called before the first program is started.

        Args:
            connect: makes a new Client of the supervisor, in any thread.  It is answered once this
                method has returned.

        Raises:
            ClimitsError: it cannot be had; no program is started then.
        """
        raise NotImplementedError

    def end(self) -> None:
        """End the thread and close everything.

        Called after the last program has ended, when the clients are disconnected; also when
        `begin` has failed half-way or was not called, since another's failed.
        """
        raise NotImplementedError

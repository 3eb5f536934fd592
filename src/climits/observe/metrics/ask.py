"""Asks supervisors about their programs, and believes only what can become metrics."""

import socket
import time

from ...supervise.client import Client
from ...units import UNLIMITED
from .families import OF_PROGRAMS
from .timed import TimedSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Facts = dict[str, Any]

#: Seconds that a supervisor has for its whole answer.
PATIENCE = 2.0
#: Programs that one may have: each is a dozen series.
MOST_PROGRAMS = 20_000
_TOO_LARGE = 2**64


def connect(path: str) -> Client:
    """A client of the supervisor that listens there, with little time.

    Raises:
        OSError: nobody listens there.
    """
    connection = TimedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A supervisor that was stopped must not hold up what is told of the machine.
        connection.deadline = time.monotonic() + PATIENCE
        connection.settimeout(PATIENCE)
        connection.connect(path)
        client = Client.over(connection)
    except BaseException:
        connection.close()
        raise
    connection.settimeout(PATIENCE)
    return client


def ask(connect: "Callable[[], Client]") -> "list[Facts] | None":
    """What a supervisor says of its programs; None: it does not answer, or not as one does."""
    try:
        with connect() as client:
            answer: Any = client.status()
    # Whoever has the socket may write anything there; the machine's metrics are told all the same.
    except Exception:
        return None
    if not isinstance(answer, list) or len(answer) > MOST_PROGRAMS:
        return None
    return answer if all(_is_sound(facts) for facts in answer) else None


def _is_sound(facts: "Any") -> bool:
    """Whether all that becomes part of the text is what it should be."""
    if not isinstance(facts, dict):
        return False
    texts = [facts.get("program"), facts.get("status"), facts.get("cgroup", "")]
    verdicts = facts.get("verdicts", {})
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(verdicts, dict)
        and all(_is_figure(count) for count in verdicts.values())
        and all(
            _is_figure(value) or value in (None, UNLIMITED, "max")
            for value in (facts.get(fact) for fact in OF_PROGRAMS)
        )
    )


def _is_figure(value: "Any") -> bool:
    """Whether Prometheus can read it: what is no number, or too large a one, spoils a scrape."""
    return type(value) in (int, float) and 0 <= value < _TOO_LARGE

"""What those who watch get: asked for once a second, and only while somebody does."""

import asyncio
import socket
import time
from collections import deque

from ...errors import ClimitsError
from .view import event, row, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...supervise.client import Client
    from .view import Row

#: Seconds from one look at the programs to the next; a look may take a tenth of the time at most.
INTERVAL, SHARE = 1.0, 0.1
#: Programs that are asked for at once: the supervisor does nothing else meanwhile.
CHUNK = 100
#: A look is not older than this when another page is loaded, seconds.
FRESH = 0.25
#: Events that are shown.
SHOWN = 100


class Viewer:
    """One who watches: what has changed since it last took something.

    What is not taken is not piled up: of each row the newest is kept.

    Attributes:
        private: holds the token.
        ready: set while there is something to take.
    """

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.ready = asyncio.Event()
        self._all = True
        self._rows: dict[str, Row] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=SHOWN)

    def tell(self, rows: "dict[str, Row]", events: "list[dict[str, Any]]") -> None:
        """Some rows have changed, and events have come."""
        self._rows |= rows
        self._events.extend(events)
        self.ready.set()

    def tell_all(self) -> None:
        """Everything has changed."""
        self._all = True

    def greet(self) -> None:
        """There is everything to take, for one who has nothing yet or can keep nothing."""
        if self._all:
            self.ready.set()

    def take(self, feed: "Feed") -> "tuple[str, dict[str, Any]]":
        """What to send, as the kind of message and its data."""
        everything, self._all = self._all, False
        rows, events = list(self._rows.values()), list(self._events)
        if everything:
            rows, events = list(feed.rows.values()), list(feed.records)
        self._rows.clear()
        self._events.clear()
        self.ready.clear()
        data = {
            "rows": rows,
            "events": [event(record, private=self.private) for record in events],
            "summary": summary(feed.rows.values()),
            "host": socket.gethostname(),
            "now": round(time.time(), 1),
        }
        return "all" if everything else "news", data


class Feed:
    """Looks at the supervisor for all viewers together.

    Belongs to the event loop of the page; what waits for the supervisor does so in a thread.

    Attributes:
        rows: of all programs, by name, as of the last look.
        records: the last events, as the supervisor told them.
        ended: set when the supervisor has gone.
    """

    def __init__(self, connect: "Callable[[], Client]") -> None:
        self._connect = connect
        self.rows: dict[str, Row] = {}
        self.records: deque[dict[str, Any]] = deque(maxlen=SHOWN)
        self.ended = asyncio.Event()
        self.viewers: set[Viewer] = set()
        self._lock = asyncio.Lock()
        self._looked = float("-inf")
        self._soon = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Look, unless somebody just has.

        Raises:
            ClimitsError: the supervisor does not answer.
        """
        async with self._lock:
            if time.monotonic() - self._looked < FRESH:
                return
            facts, records = await asyncio.to_thread(self._ask, list(self.rows))
            self._publish({f["program"]: row(f) for f in facts}, self._new(records))
            self._looked = time.monotonic()

    def _ask(self, names: "list[str]") -> "tuple[list[Any], list[Any]]":
        with self._connect() as client:
            records = list(client.events())
            if names and not self._may_have_been_reloaded(records):
                try:
                    chunks = (names[i : i + CHUNK] for i in range(0, len(names), CHUNK))
                    return [f for chunk in chunks for f in client.status(*chunk)], records
                except ClimitsError:
                    pass  # one of them was taken out
            return client.status(), records

    def _may_have_been_reloaded(self, records: "list[dict[str, Any]]") -> bool:
        """Whether programs may have come: also if not all events since the last look are kept."""
        if records and (not self.records or self.records[-1] not in records):
            return True
        return any(record["event"] == "reloaded" for record in self._new(records))

    def _new(self, records: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
        """Those that came after the last one that is known."""
        last = self.records[-1] if self.records else None
        for i in range(len(records), 0, -1):
            if records[i - 1] == last:
                return records[i:]
        return records

    def _publish(self, rows: "dict[str, Row]", records: "list[dict[str, Any]]") -> None:
        before, self.rows = self.rows, rows
        self.records.extend(records)
        changed = {name: r for name, r in rows.items() if r != before.get(name)}
        for viewer in self.viewers:
            if list(before) != list(rows):
                viewer.tell_all()
            elif changed or records:
                viewer.tell(changed, records)

    # -- watching ----------------------------------------------------------------------------

    def join(self, viewer: Viewer) -> None:
        """Keep a viewer up to date from now on."""
        self.viewers.add(viewer)
        if self._task and not self._task.done():
            viewer.ready.set()  # of the last look
        else:
            self._task = asyncio.create_task(self._run())

    def leave(self, viewer: Viewer) -> None:
        """Forget one; with the last of them the looking ends."""
        self.viewers.discard(viewer)
        if not self.viewers and self._task:
            self._task.cancel()
            self._task = None

    def hurry(self) -> None:
        """Look at once: somebody has just done something."""
        self._looked = float("-inf")
        self._soon.set()

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            self._soon.clear()
            try:
                await self.refresh()
                for viewer in self.viewers:
                    viewer.greet()
            except Exception:
                # It is ending, or busy, or answers nonsense: the viewers see that nothing comes,
                # and the next look may do better.
                pass
            took = time.monotonic() - began
            try:
                await asyncio.wait_for(self._soon.wait(), max(INTERVAL, took / SHARE) - took)
            except TimeoutError:
                pass

    async def perform(self, action: str, program: str, memory: "str | None") -> str:
        """Do something to a program.

        Args:
            action: start, stop, restart or set-limit.
            program: its name.
            memory: the new limit.

        Returns:
            What was done, for people.

        Raises:
            ClimitsError: the supervisor refused.
        """

        def ask() -> str:
            from ...supervise.text import size

            with self._connect() as client:
                if action == "set-limit":
                    done = client.set_limit(program, memory or "")
                    return f"{program}: the limit is now {size(done['memory_max'])}"
                getattr(client, action)(program)
                return f"{program}: {_ASKED[action]}"

        try:
            return await asyncio.to_thread(ask)
        finally:
            self.hurry()


_ASKED = {"start": "started", "stop": "asked to stop", "restart": "asked to restart"}

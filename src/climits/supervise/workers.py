"""What may take long, done by a thread beside the event loop: webhooks, reclaim."""

import http.client
import os
import queue
import threading
import time
from collections import deque
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], str | None]

#: How much may wait for a thread.
QUEUE = 64
#: Tries of a webhook; seconds for each, and between the first two (doubled after that).
TRIES, TRY_TIMEOUT, BACK_OFF = 3, 5.0, 0.5


class Worker:
    """A daemon thread that does one job after the other."""

    def __init__(self, wake: int) -> None:
        """Start it.

        Args:
            wake: an eventfd that is written to after each job.
        """
        self._wake = wake
        self._lock = threading.Lock()  # guards wake and pending
        self._pending = 0
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._results: deque[str] = deque()
        threading.Thread(target=self._run, name="climits-worker", daemon=True).start()

    @property
    def pending(self) -> int:
        """Jobs that wait or are being done."""
        return self._pending

    def submit(self, job: "Job") -> bool:
        """Have a job done; False when too many wait."""
        with self._lock:
            if self._pending >= QUEUE:
                return False
            self._pending += 1
        self._jobs.put(job)
        return True

    def results(self) -> list[str]:
        """What jobs had to say since the last call."""
        lines = []
        while self._results:
            lines.append(self._results.popleft())
        return lines

    def close(self) -> None:
        """Let the thread end after the job that it is at."""
        with self._lock:
            self._wake = -1
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        self._jobs.put(None)

    def _run(self) -> None:
        while job := self._jobs.get():
            line = job()
            if line is not None:
                self._results.append(line)
            with self._lock:
                self._pending -= 1
                if self._wake >= 0:
                    os.eventfd_write(self._wake, 1)


def post(url: str, body: bytes) -> "str | None":
    """POST JSON, with several tries.

    Returns:
        None, or a line that says why it failed.  What the server refuses (4xx) is not tried again.
    """
    pause = BACK_OFF
    cause = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause)
            pause *= 2
        try:
            status = _post_once(url, body)
        except (OSError, http.client.HTTPException, ValueError) as e:
            cause = " ".join(str(e).lower().split()) or type(e).__name__
            continue
        if 200 <= status < 300:
            return None
        cause = f"status {status}"
        if status < 500 and status != 429:
            break
    return f"failed: post to {url}: {cause}"


def _post_once(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    cls = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = cls(parts.hostname or "", parts.port, timeout=TRY_TIMEOUT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "User-Agent": "climits"}
    try:
        connection.request("POST", target, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()

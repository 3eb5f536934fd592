"""A supervisor under test: `climits supervise` in a process of its own, and its events."""

import json
import signal
import subprocess

from support import PATIENCE, until


class Supervised:
    """Runs `climits supervise`, as a context manager that ends it."""

    def __init__(self, climits, folder, *words, wait_for="started", **options):
        self.log = folder / f"events-{len(list(folder.iterdir()))}"
        self.socket = folder / "socket"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    climits,
                    "supervise",
                    "--log-format",
                    "json",
                    "--socket",
                    str(self.socket),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                **options,
            )
        self.climits = climits
        if wait_for:
            self.wait_for(wait_for)

    def events(self, kind=None, program=None):
        """The events so far."""
        lines = self.log.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]
        return [
            e for e in events
            if kind in (None, e["event"]) and program in (None, e.get("program"))
        ]  # fmt: skip

    def wait_for(self, kind, count=1, program=None):
        """Wait until there are so many events of a kind; the last of them."""
        try:
            until(
                lambda: len(self.events(kind, program)) >= count or self.process.poll() is not None
            )
        finally:
            found = self.events(kind, program)
            assert len(found) >= count, f"{kind} x{count} in: {self.log.read_text()}"
        return found[count - 1]

    def ctl(self, *words, check=True):
        """Run `climits ctl`."""
        done = subprocess.run(
            [self.climits, "ctl", "--socket", str(self.socket), *words],
            capture_output=True, text=True, timeout=30 * PATIENCE,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def end(self, number=signal.SIGTERM):
        """Send a signal and wait; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30 * PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.end()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

"""How a batch goes on, for people: lines, or a bar on a terminal."""

import time

from ..batch.job import NOT_RUN, OUTPUT_LIMIT
from ..batch.watcher import Watcher
from ..program.verdict import summarize
from ..units import cut, format_duration, format_size
from .main import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..batch.job import Job, Outcome
    from ..batch.runner import Batch
    from ..batch.scheduler import Retry, Start

#: How often a bar is drawn again, seconds.
_FRAME = 0.2


class Lines(Watcher):
    """A line on standard error for each job that has ended."""

    def __init__(self, jobs: "Sequence[Job]", quiet: bool) -> None:
        """Nothing has ended yet.

        Args:
            jobs: of the batch.
            quiet: those that succeed are not told.
        """
        self._total, self._quiet = len(jobs), quiet
        self._told = 0

    def attach(self, batch: "Batch") -> None:
        """The batch is about to run."""
        self._told = len(batch.before)
        if batch.before and not self._quiet:
            count = len(batch.before)
            self.write(f"{count} of {self._total} had succeeded before, and are left out")

    def close(self) -> None:
        """The batch is over."""

    def write(self, text: str) -> None:
        """Write a line."""
        tell(text)

    def retried(self, retry: "Retry", outcome: "Outcome") -> None:
        """See Watcher."""
        how = "again"
        if retry.memory != outcome.job.memory:
            how = f"again with {format_size(retry.memory)}"
        self.write(f"{label(outcome.job)}: {_what(outcome)}; {how}")

    def shown(self, outcome: "Outcome") -> None:
        """See Watcher."""
        self._told += 1
        if not (self._quiet and outcome.ok):
            count = f"[{self._told}/{self._total}]"
            self.write(f"{count} {label(outcome.job)}: {_what(outcome)}")

    def problem(self, text: str) -> None:
        """See Watcher."""
        self.write(text)


class Bar(Lines):
    """A bar, and lines above it for what goes wrong."""

    def __init__(self, jobs: "Sequence[Job]", quiet: bool) -> None:
        """See Lines.

        Raises:
            ImportError: rich is not installed.
        """
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        super().__init__(jobs, quiet)
        columns: list[Any] = [
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        ]  # fmt: skip
        # No thread of its own draws it: the loop does.
        self._progress = Progress(
            *columns, console=Console(stderr=True), transient=True, auto_refresh=False
        )
        self._task = self._progress.add_task("", total=self._total)
        self._running = self._failed = self._done = 0
        self._is_hidden, self._is_showing = True, False

    def attach(self, batch: "Batch") -> None:
        """See Lines."""
        super().attach(batch)
        self._done = len(batch.before)
        self._batch = batch
        self._frame()

    def _frame(self) -> None:
        """Draw it; nothing else does, however many jobs end meanwhile."""
        self._batch.loop.after(_FRAME, self._frame)
        if self._is_showing:
            return  # in the middle of what a job wrote
        failed = f", [red]{self._failed} failed[/red]" if self._failed else ""
        stopping = ", stopping" if self._batch.is_stopping else ""
        text = f"{self._running} running{failed}{stopping}"
        self._progress.update(self._task, completed=self._done, description=text)
        if self._is_hidden:
            self._is_hidden = False
            self._progress.start()
        else:
            self._progress.refresh()

    def _hide(self) -> None:
        if not self._is_hidden:
            self._is_hidden = True
            self._progress.stop()

    def close(self) -> None:
        """See Lines."""
        self._hide()

    def write(self, text: str) -> None:
        """See Lines."""
        self._hide()
        super().write(text)

    def started(self, start: "Start") -> None:  # noqa: ARG002
        """See Watcher."""
        self._running += 1

    def retried(self, retry: "Retry", outcome: "Outcome") -> None:
        """See Watcher."""
        self._running -= 1
        super().retried(retry, outcome)

    def ended(self, outcome: "Outcome") -> None:
        """See Watcher."""
        self._running -= outcome.attempts > 0
        self._done += 1
        self._failed += not outcome.ok

    def showing(self) -> None:
        """See Watcher."""
        self._hide()
        self._is_showing = True

    def shown(self, outcome: "Outcome") -> None:
        """See Watcher."""
        self._is_showing = False
        if outcome.ok:
            self._told += 1
        else:
            super().shown(outcome)


def label(job: "Job") -> str:
    """What a job is called: where its name is but a number, its command too."""
    if job.is_named or not job.name.isdigit():
        return job.name
    return f"{job.name} ({cut(' '.join(job.command[2:] or job.command), 60)})"


def _what(outcome: "Outcome") -> str:
    """What came of it, on one line."""
    if outcome.verdict == NOT_RUN or outcome.result is None:
        return f"not run: {outcome.error}"
    text = summarize(outcome.result)
    if outcome.verdict == OUTPUT_LIMIT:
        text = f"{outcome.error}: {text.partition(': ')[2]}"
    if outcome.attempts > 1:
        text += f", attempt {outcome.attempts}"
    return text


#: What verdicts are called in the summary, in its order.
_CALLED = {
    "exited": "exited non-zero",
    "oom-killed": "OOM-killed",
    "timed-out": "timed out",
    "signaled": "killed by a signal",
    "worker-lost": "lost with their workers",
    OUTPUT_LIMIT: "wrote too much",
    "failed-to-start": "did not start",
    "stopped": "stopped",
}


def summary(batch: "Batch", started: float) -> str:
    """The last line: how many jobs there were, and what came of them."""
    outcomes = batch.outcomes.values()
    counts = {"succeeded": sum(outcome.ok for outcome in outcomes)}
    if batch.before:
        counts["succeeded before"] = len(batch.before)
    for verdict, text in _CALLED.items():
        counts[text] = sum(o.verdict == verdict and not o.ok for o in outcomes)
    not_run = sum(o.verdict == NOT_RUN for o in outcomes)
    counts["not run"] = not_run + len(batch.jobs) - len(outcomes) - len(batch.before)
    parts = [f"{n} {text}" for text, n in counts.items() if n or text == "succeeded"]
    jobs = f"{len(batch.jobs)} job{'s' if len(batch.jobs) != 1 else ''}"
    return f"{jobs} in {format_duration(time.monotonic() - started)}: {', '.join(parts)}"

"""One job, and what came of it."""

from ..records import Record, Result
from ..units import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..records import Limit

SHELL = "/bin/sh"

#: Verdicts of a batch, beside those of a Result: nothing was started; it wrote too much.
NOT_RUN, OUTPUT_LIMIT = "not-run", "output-limit"


class Job(Record):
    """A program that is to be run once.

    Attributes:
        name: told in messages and results; no two jobs have the same.
        command: the program and its arguments.
        memory: its limit, bytes or UNLIMITED; None: an equal share of the batch's memory.
        swap: on top of it, bytes or UNLIMITED; None: 0 where `memory` is a limit.
        cpus: CPUs' worth of time; None: no limit, and one CPU is counted.
        timeout: seconds; None: no time limit.
        retries: how often it is tried again after a failure.
        retry_memory: after an OOM kill it is tried again with so many times the memory; None: not.
        retry_memory_max: bytes that this may come to; None: the batch's memory.
        env: variables that are set or changed for it.
        directory: where it runs, an absolute path; None: where we are.
        depends_on: names of jobs that have to succeed first.
        stdout, stderr: absolute paths of files; None: shown when it ends; stderr may be "stdout",
            for where that goes.
        is_named: the name was given, and not made up.
    """

    name: str
    command: "Sequence[str]"
    memory: "Limit | None" = None
    swap: "Limit | None" = None
    cpus: "float | None" = None
    timeout: "float | None" = None
    retries: int = 0
    retry_memory: "float | None" = None
    retry_memory_max: "Limit | None" = None
    env: "Mapping[str, str] | None" = None
    directory: "str | None" = None
    depends_on: "Sequence[str]" = ()
    stdout: "str | None" = None
    stderr: "str | None" = None
    is_named: bool = True

    def grown(self, memory: "Limit", most: "Limit") -> "int | None":
        """The limit after an OOM kill at `memory`, bytes; None: it cannot have more.

        Args:
            memory: the limit at which it was killed.
            most: bytes that no job may have more of.
        """
        if self.retry_memory is None or memory == UNLIMITED:
            return None
        ceiling = min(most, UNLIMITED if self.retry_memory_max is None else self.retry_memory_max)
        more = min(memory * self.retry_memory, ceiling)
        return int(more) if more > memory else None

    def fingerprint(self) -> str:
        """Tells whether what would be run is what was run; limits and retries are left out."""
        import hashlib
        import json
        import os

        what = [
            self.name if self.is_named else None, list(self.command),
            self.directory or os.getcwd(), sorted((self.env or {}).items()),
            self.stdout, self.stderr,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


class Outcome(Record):
    """What came of one job.

    Attributes:
        job: it, with the limit that its last attempt had.
        verdict: that of the result; not-run where a job that it depends on failed; output-limit
            where it wrote too much.
        attempts: how often it was started.
        result: of the last attempt; None when nothing was started.
        error: why it was not run, did not start or was ended.
    """

    job: Job
    verdict: str
    attempts: int = 0
    result: "Result | None" = None
    error: "str | None" = None

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.verdict == "exited" and self.result is not None and not self.result.returncode

    def line(self, fingerprint: str) -> "dict[str, Any]":
        """A line of the results: what `climits run --json` tells, and the job around it."""
        told = self.result.as_dict() if self.result else {"schema": 1, "command": self.job.command}
        told = {
            "name": self.job.name,
            **told,
            "verdict": self.verdict,
            "ok": self.ok,
            "attempts": self.attempts,
            "fingerprint": fingerprint,
        }
        if self.error:
            told["error"] = self.error
        return told

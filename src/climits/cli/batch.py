"""`climits batch`: run many jobs, as many at once as fit."""

import os
import signal
import sys
import time

from ..batch.face import make_budget
from ..batch.job import Job
from ..batch.keys import SHARED
from ..batch.read import misfits
from ..batch.runner import Batch, Options
from ..cgroup import placement
from ..errors import InvalidValueError
from ..launch.signals import mask_of, read_signals
from ..launch.spawn import signalfd
from ..supervise.config import ConfigError
from ..units import UNLIMITED, format_size, parse_duration, parse_size
from .batch_jobs import read_jobs
from .batch_progress import Bar, Lines, summary
from .main import FAILED
from .options import LIFE, LIMITS, NO_HISTORY, SYSTEMD, TELLING, Option
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..batch.dask_host import DaskBatch
    from ..pool.budget import Budget

OPTIONS: tuple[Option, ...] = (
    ("--memory", "SIZE", "text", LIMITS, "limit of a job; default: an equal share of the budget"),
    ("--swap", "SIZE", "text", LIMITS, "swap on top of it (default 0)"),
    ("--cpus", "N.N", "float", LIMITS, "CPUs' worth of time of a job, such as 1.5"),
    ("--memory-budget", "SIZE", "text", LIMITS, "what the limits of all that runs at once may come "
     "to (default 80%%)"),
    ("--jobs", "N", "int", LIMITS, "N at once at most, or -j N (default: as many as CPUs)"),
    ("--timeout", "TIME", "text", LIFE, "SIGTERM to a job after so long: 10, 1.5s, 2m, 1h"),
    ("--kill-after", "TIME", "text", LIFE, "from there to SIGKILL of its cgroup (default 5s)"),
    ("--retries", "N", "int", LIFE, "try a job that failed again, N times at most"),
    ("--retry-memory", "F", "float", LIFE, "after an OOM kill again, with F times the memory"),
    ("--retry-memory-max", "SIZE", "text", LIFE, "but never more than this (default: the budget)"),
    ("--env", "K=V", "list", LIFE, "set a variable; may be repeated"),
    ("--chdir", "DIR", "text", LIFE, "change to this directory first"),
    ("--fail-fast", None, "switch", LIFE, "end the batch when the first job has failed for good"),
    ("--arg-file", "FILE", "text", LIFE, "values for {} in the command, one a line, or -a FILE"),
    ("--null", None, "switch", LIFE, "the values end in NUL, as find -print0 writes them, or -0"),
    ("--format", "FORM", "text", LIFE, "of JOBS: toml, jsonl or lines (default: by its suffix)"),
    ("--dask", "ADDRESS", "text", LIFE, "on the hosts of a Dask cluster, such as tcp://HOST:8786"),
    *SYSTEMD,
    ("--check", None, "switch", LIFE, "check the jobs and run nothing"),
    ("--resume", None, "switch", LIFE, "run what has not succeeded according to the results"),
    ("--results", "FILE", "text", TELLING, "a line of JSON for each job, at once; - for standard "
     "output (default: JOBS.results.jsonl where JOBS is a file)"),
    ("--stdout", "FILE", "text", TELLING, "of a job; {name} stands for its name (default: shown)"),
    ("--stderr", "FILE", "text", TELLING, "the same; stdout: where that goes"),
    ("--output-limit", "SIZE", "text", TELLING, "end a job that has written more (default max)"),
    ("--keep-order", None, "switch", TELLING, "show what jobs write in their order, or -k"),
    ("--quiet", None, "switch", TELLING, "tell failures only"),
    NO_HISTORY,
)  # fmt: skip
ANYWHERE = True
USAGE = """climits batch [OPTIONS] JOBS
       climits batch [OPTIONS] COMMAND -a FILE
       climits batch [OPTIONS] COMMAND ::: VALUES"""
EPILOG = """\
JOBS is a file: .toml, .jsonl, or .txt with a shell command on each line; - is
standard input, with such lines. COMMAND in one word is for the shell, in several
it is run as it is. In it {} stands for a value, {.} for the value without suffix,
{/} for its last part, {#} for the number of the job. Values are quoted for you.
Options give what a job does not say itself. :::: FILE is -a FILE.

Exit status: 0 when all jobs succeeded, else how many did not, 101 for more than
100; 125 climits failed, or the jobs have errors; 130, 143 stopped by a signal.

examples:
  climits batch --memory 500M 'convert {} {.}.png' :::: list.txt
  find . -name '*.gz' -print0 | climits batch -0 -a - --memory 100M -- gunzip {}
  climits batch jobs.toml --memory-budget 20G --retry-memory 2 --keep-order
  climits batch jobs.toml --resume
  climits batch jobs.toml --dask tcp://scheduler:8786
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_MOST_TOLD = 50  # problems of a file
_MOST_FAILED = 101
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Run the jobs; the exit status says how many failed."""
    if "dask" not in values:
        return _main(values, words, None)
    cluster = _connect(values)
    try:
        return _main(values, words, cluster)
    finally:
        cluster.close()


def _connect(values: "dict[str, Any]") -> "DaskBatch":
    """The cluster that the jobs run on."""
    import logging

    from ..batch.dask_host import DaskBatch

    if "memory_budget" in values:
        raise InvalidValueError(
            "memory-budget is of this machine, and not of a Dask cluster",
            hint='its workers say what they have: --resources "memory=BYTES"',
        )
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters we tell ourselves
    # Its threads must leave the signals to us.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        return DaskBatch(values["dask"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _main(values: "dict[str, Any]", words: list[str], cluster: "DaskBatch | None") -> int:
    """On a cluster, or None: here."""
    wish(values, ["batch", *words])
    try:
        budget = (
            cluster.budget
            if cluster
            else make_budget(values.get("memory_budget"), what="memory-budget")
        )
        given = _defaults(values, budget)
        jobs, path = read_jobs(values, words, given, budget)
        if cluster:
            jobs = cluster.with_limits(jobs)
    except ConfigError as e:
        for problem in e.problems[:_MOST_TOLD]:
            sys.stderr.write(f"climits: {problem}\n")
        if len(e.problems) > _MOST_TOLD:
            sys.stderr.write(f"climits: and {len(e.problems) - _MOST_TOLD} more problems\n")
        return FAILED
    options = _options(values, budget)
    if values.get("check"):
        count = f"{len(jobs)} job{'s' if len(jobs) != 1 else ''}"
        has = cluster.summary() if cluster else _check(jobs, options)
        sys.stdout.write(f"good: {count}; {has}\n")
        return 0
    results = values.get("results") or (f"{path}.results.jsonl" if path else None)
    if results is None and values.get("resume"):
        raise InvalidValueError("resume needs a file of results", hint="give --results FILE")
    if results == "-":
        options = options.replace(targets=(2, 2))  # standard output is for the results alone
    return _run(jobs, options, results, values, cluster)


def _check(jobs: list[Job], options: Options) -> str:
    """Have the jobs checked, and tell what they would have."""
    batch, budget = Batch(jobs, options), options.budget
    batch.loop.close()
    share = "" if all(job.memory for job in jobs) else f", {format_size(batch.share)} for each "
    share += "that names no limit" if share else ""
    memory = f"between them {format_size(budget.memory)} of memory{share}"
    return f"{memory}, and {budget.cpus:g} CPUs"


def _run(
    jobs: list[Job], options: Options, path: "str | None", values: "dict[str, Any]",
    cluster: "DaskBatch | None",
) -> int:  # fmt: skip
    from ..batch.results import Results

    # Ignored, as some daemons leave it, the kernel would reap the jobs for us.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What was ignored when we were started (nohup, or & without job control) stays so.
    watched = [n for n in _ENDING if signal.getsignal(n) != signal.SIG_IGN]
    started = time.monotonic()
    results = None if path is None else Results(path, resume=bool(values.get("resume")))
    old = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    signals = signalfd(mask_of(tuple(map(int, watched))))
    try:
        lines = _watcher(jobs, bool(values.get("quiet")))
        options = options.replace(sigmask=mask_of({int(number) for number in old}))
        host = cluster.host(options, lines.problem) if cluster else None
        batch = Batch(jobs, options, results=results, watcher=lines, host=host)
        ending = _Ending(batch, lines, signals)
        lines.attach(batch)
        try:
            batch.run()
        finally:
            lines.close()
    finally:
        os.close(signals)
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        placement.release_parents()
        if results is not None:
            results.close()
    failed = [o for o in batch.outcomes.values() if not o.ok]
    if not values.get("quiet") or failed:
        lines.write(summary(batch, started))
    unfinished = len(jobs) - len(batch.before) - sum(o.ok for o in batch.outcomes.values())
    if unfinished and path and os.path.isfile(path) and not values.get("quiet"):
        lines.write(f"results: {path}; --resume runs what has not succeeded")
    if ending.number:
        return 128 + ending.number
    if batch.error:
        return FAILED
    return min(sum(o.verdict != "stopped" for o in failed), _MOST_FAILED)


class _Ending:
    """Ends the batch when a signal says so: the first time in peace, then at once.

    Attributes:
        number: of the first signal; 0 while there was none.
    """

    def __init__(self, batch: Batch, lines: Lines, fd: int) -> None:
        self.number = 0
        self._batch, self._lines, self._fd = batch, lines, fd
        batch.loop.watch(fd, lambda _: self._at_signal())

    def _at_signal(self) -> None:
        for number, _code, _pid in read_signals(self._fd):
            if self.number:
                self._batch.kill()
                continue
            self.number = number
            again = "; once more ends them at once" if number == signal.SIGINT else ""
            self._lines.write(f"stopping: what runs is asked to end{again}")
            self._batch.stop()


def _watcher(jobs: list[Job], quiet: bool) -> Lines:
    if os.isatty(2) and os.environ.get("TERM") != "dumb":
        try:
            return Bar(jobs, quiet)
        except ImportError:
            pass  # rich is not installed: lines tell the same
    return Lines(jobs, quiet)


# ---- what was asked for ------------------------------------------------------------------------


def _defaults(values: "dict[str, Any]", budget: "Budget") -> "dict[str, Any]":
    """What the options say for each job."""
    from .run import environment

    words = {**values, "directory": values.get("chdir")}
    if "env" in values:
        environment(values["env"], clear=True)  # refuses what is not of the form K=V
        words["env"] = dict(pair.split("=", 1) for pair in values["env"])
    given = {
        name: read(words[name], "chdir" if name == "directory" else name.replace("_", "-"))
        for name, read in SHARED.items()
        if words.get(name) is not None
    }
    for key in ("directory", "stdout", "stderr"):
        if key in given and not (key == "stderr" and given[key] == "stdout"):
            given[key] = os.path.abspath(given[key])
            folder = given[key] if key == "directory" else os.path.dirname(given[key])
            if not os.path.isdir(folder):
                flag = "chdir" if key == "directory" else key
                raise InvalidValueError(f"{flag}: {folder}: no such directory", path=folder)
    if "retry_memory_max" in given and "retry_memory" not in given:
        raise InvalidValueError(
            "retry-memory-max has no meaning alone", hint="give --retry-memory 2 too"
        )
    for e in misfits(Job(name="", command=(), **given), budget):
        option = str(e.path).replace("_", "-")
        raise InvalidValueError(f"{option}: {e.text}", value=e.value, hint=e.hint)
    return given


def _options(values: "dict[str, Any]", budget: "Budget") -> Options:
    most = values.get("jobs")
    if most is not None and most < 1:
        raise InvalidValueError(f"jobs: {most}: must be 1 at least", value=most)
    limit = parse_size(values.get("output_limit", UNLIMITED), what="output-limit")
    return Options(
        budget=budget,
        most=most,
        kill_after=parse_duration(values.get("kill_after", 5.0), what="kill-after"),
        output_limit=limit,
        keep_order=bool(values.get("keep_order")),
        fail_fast=bool(values.get("fail_fast")),
        history=not values.get("no_history"),
    )

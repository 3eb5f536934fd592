"""`climits.batch.run`: a batch for programs."""

import os

from ..errors import ClimitsError
from ..pool.budget import Budget, parse_budget
from ..units import parse_duration, parse_size
from .keys import SHARED
from .read import read_tables
from .results import Results
from .runner import Batch, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .job import Outcome
    from .watcher import Watcher

#: What a batch may promise of the memory, unless it is told.
MEMORY_BUDGET = "80%"


def make_budget(
    memory: "str | int | float | None" = None, *, what: str = "memory_budget"
) -> Budget:
    """What a batch has to give: memory, and the CPUs that we may run on.

    Args:
        memory: a size; None: 80 % of the RAM, or of the limit around us.
        what: how to call it in an error.

    Raises:
        InvalidValueError: not a size.
    """
    size = MEMORY_BUDGET if memory is None else memory
    return Budget(parse_budget(size, what=what), float(len(os.sched_getaffinity(0))))


def run(
    jobs: "Sequence[dict[str, object]]",
    *,
    memory_budget: "str | int | float | None" = None,
    at_once: "int | None" = None,
    results: "str | None" = None,
    resume: bool = False,
    keep_order: bool = False,
    fail_fast: bool = False,
    kill_after: "str | float" = 5.0,
    output_limit: "str | int | float" = "max",
    watcher: "Watcher | None" = None,
    **defaults: object,
) -> "list[Outcome]":
    """Run jobs, as many at once as their limits fit into the memory.

    Args:
        jobs: each a dict with the keys that a job has in a file: command, memory, ...
        memory_budget: what their limits may come to together; None: 80 % of the memory.
        at_once: so many at most; None: as many as there are CPUs for.
        results: a file that gets a line of JSON for each job that has ended.
        resume: leave out what had succeeded according to that file.
        keep_order: outputs are shown in the order of the jobs.
        fail_fast: the first failure ends the batch.
        kill_after: seconds, or text, from SIGTERM to SIGKILL.
        output_limit: how much a job may write to its standard output and error.
        watcher: is told what happens.
        defaults: keys for jobs that do not have them.

    Returns:
        What came of those that ran, or could not since one that they need failed; in order.

    Raises:
        ConfigError: with every problem of the jobs; nothing was started.
        ClimitsError: the results cannot be written; the batch was ended.
    """
    budget = make_budget(memory_budget)
    if unknown := sorted(defaults.keys() - SHARED.keys()):
        raise TypeError(f"run() got an unexpected keyword argument {unknown[0]!r}")
    given = {key: SHARED[key](v, key) for key, v in defaults.items() if v is not None}
    options = Options(
        budget=budget,
        most=at_once,
        kill_after=parse_duration(kill_after, what="kill_after"),
        output_limit=parse_size(output_limit, what="output_limit"),
        keep_order=keep_order,
        fail_fast=fail_fast,
    )
    read = read_tables(jobs, given, budget)
    file = None if results is None else Results(results, resume=resume)
    try:
        batch = Batch(read, options, results=file, watcher=watcher)
        batch.run()
    finally:
        if file is not None:
            file.close()
    if batch.error:
        raise ClimitsError(batch.error)
    return [batch.outcomes[job.name] for job in read if job.name in batch.outcomes]

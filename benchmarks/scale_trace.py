"""Traces of jobs for scale_simulate.py: made from distributions, or read from a file.

The format is CSV with a header, a job a line, in the order in which they are handed in:

command
    a word: jobs with the same one are runs of the same program, and share a history.
peak
    the most memory that it uses, bytes.
duration
    seconds that it runs when nobody kills it.
rise
    a share of its duration, more than 0 and at most 1: its memory grows evenly for so long, from
    nothing to its peak, and stays there until it ends.
asked
    bytes that its user would ask for.

A published trace has all of that but `rise` (of Google's: the collection's logical name, the
highest maximum usage, the sum of its runs, the request); 0.5 is a fair guess.

What a trace is made of, and why:

- Few jobs use most of the resources: in Google's trace of 2019 the top 1 % of jobs have over 99 %
  of the load (Tirmazi et al., Borg: the Next Generation, EuroSys 2020, abstract).  So durations are
  of a bounded Pareto distribution with an exponent below 1, from 10 s to half an hour: without the
  bound the longest job alone would say how long all take.
- Jobs are runs of programs that come again and again, and most use about what they used before
  (Reiss et al., Heterogeneity and Dynamicity of Clouds at Scale, SoCC 2012, abstract: many
  longer-running jobs have relatively stable resource utilizations).  So a program has a peak of
  its own, log-normal among programs, and its runs vary around it; one program in ten varies much.
- Users ask for more than they need: the slack, which is the share of the limit that is not used,
  was 46 % where people set limits, 23 % where Autopilot did from the history (Rzadca et al.,
  Autopilot, EuroSys 2020, abstract).  So a program's user asks, once for all of its runs, for what
  leaves 46 % of slack at its typical peak, give or take, in steps of 512 MiB.

The exponents, sigmas and bounds are ours: those papers tell the shapes.  They are the constants
below.
"""

import csv
import math
import random

MIB, GIB = 1 << 20, 1 << 30
COLUMNS = ("command", "peak", "duration", "rise", "asked")

#: Seconds, and the exponent of the distribution between them.
SHORTEST, LONGEST, TAIL = 10.0, 1800.0, 0.7
#: Of the programs' typical peaks: the median, bytes, and the sigma of the logarithm.
TYPICAL, AMONG = 400 * MIB, 1.3
#: Sigma of the logarithm of a program's peaks, of most programs and of some; the share of these.
STEADY, WILD, WILD_SHARE = 0.10, 0.60, 0.10
#: The share of what users ask for that is not used; the sigma of the logarithm of what they ask.
SLACK, GUESSING = 0.46, 0.35
#: What users ask for is a multiple of this.
STEP = 512 * MIB
#: No job uses less, or a larger share of a machine.
LEAST, MOST_SHARE = 8 * MIB, 0.75
#: Jobs for each program, on average.
RUNS_EACH = 50
#: Earlier runs of each program, that its history holds.
HISTORY = 20


class Task:
    """A job of the trace; see above."""

    __slots__ = COLUMNS

    def __init__(self, command, peak, duration, rise, asked):
        self.command, self.peak, self.duration = command, peak, duration
        self.rise, self.asked = rise, asked

    def used(self, seconds):
        """Bytes that it uses so long after its start."""
        grown = seconds / (self.duration * self.rise)
        return self.peak * min(grown, 1.0)

    def seconds_to(self, memory):
        """When it needs more than that, from its start; None: never."""
        if memory >= self.peak:
            return None
        return self.duration * self.rise * memory / self.peak


class Program:
    """What the runs of one command have in common."""

    __slots__ = ("asked", "name", "sigma", "typical")

    def __init__(self, name, rng, largest):
        self.name = name
        self.typical = min(TYPICAL * math.exp(rng.gauss(0, AMONG)), largest / 2)
        self.sigma = WILD if rng.random() < WILD_SHARE else STEADY
        asked = self.typical / (1 - SLACK) * math.exp(rng.gauss(0, GUESSING))
        self.asked = min(max(math.ceil(asked / STEP), 1) * STEP, largest)

    def peak(self, rng, largest):
        peak = self.typical * math.exp(rng.gauss(0, self.sigma))
        return int(min(max(peak, LEAST), largest))


def bounded_pareto(rng, low, high, alpha):
    """A value between two others, by inversion of the distribution function."""
    share = rng.random() * (1 - (low / high) ** alpha)
    return low / (1 - share) ** (1 / alpha)


def generate(count, machine, seed):
    """Make a trace, and what ran before it.

    Args:
        count: of jobs.
        machine: bytes of memory of each machine.
        seed: the same one gives the same trace.

    Returns:
        (list[Task], {command: list of peaks of earlier runs, bytes}).
    """
    rng = random.Random(seed)
    largest = int(machine * MOST_SHARE)
    programs = [Program(f"program-{n}", rng, largest) for n in range(max(count // RUNS_EACH, 1))]
    past = {p.name: [p.peak(rng, largest) for _ in range(HISTORY)] for p in programs}
    tasks = []
    for _ in range(count):
        program = rng.choice(programs)
        tasks.append(
            Task(
                program.name, program.peak(rng, largest),
                bounded_pareto(rng, SHORTEST, LONGEST, TAIL), rng.uniform(0.05, 1.0),
                program.asked,
            )
        )  # fmt: skip
    return tasks, past


def write(path, tasks):
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        out.writerows([getattr(task, name) for name in COLUMNS] for task in tasks)


def read(path):
    """Tasks of a file, in its order; columns are found by their names.

    Raises:
        ValueError: a column is missing or a figure means nothing; the line is named.
    """
    tasks = []
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                task = Task(
                    row["command"], int(row["peak"]), float(row["duration"]), float(row["rise"]),
                    int(row["asked"]),
                )  # fmt: skip
            except (KeyError, TypeError, ValueError) as e:
                raise ValueError(f"{path}:{number}: not a job: {e}") from e
            if not (task.peak > 0 and task.duration > 0 and 0 < task.rise <= 1 and task.asked > 0):
                raise ValueError(f"{path}:{number}: not a job: a figure is out of its range")
            tasks.append(task)
    return tasks

"""The metrics: their names and meanings, and what is made of samples and of a supervisor's facts.

Named as Prometheus advises: base units (bytes, seconds), counters end in ``_total``, one label set
for all metrics of a cgroup.  What the kernel does not report is left out, and so is a limit where
there is none: a sum or a ratio then has no room for a false figure.

Source: prometheus.io/docs/practices/naming and .../instrumentation (metrics, labels).
"""

from ...errors import UnsupportedError
from ...supervise.program import EXITED, FAILED, PAUSED, RUNNING, STOPPED, STOPPING, WAITING
from ...units import UNLIMITED, cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from prometheus_client import Metric

    from ..discover import Owner
    from ..sampler import Sample

    About = tuple[str, str, str, str]

#: Attribute of Sample: (name without _total, type, unit, help); of a cgroup and those below it.
OF_CGROUPS: "dict[str, About]" = {
    "current": ("climits_memory_usage_bytes", "gauge", "bytes",
     "Memory in use, page cache included."),
    "peak": ("climits_memory_peak_bytes", "gauge", "bytes", "Most memory that was ever in use."),
    "max": ("climits_memory_limit_bytes", "gauge", "bytes",
     "Hard limit of memory; absent where there is none."),
    "high": ("climits_memory_high_bytes", "gauge", "bytes",
     "Usage above which it is slowed down and reclaimed; absent where there is no such limit."),
    "swap": ("climits_swap_usage_bytes", "gauge", "bytes", "Swap in use."),
    "swap_max": ("climits_swap_limit_bytes", "gauge", "bytes",
     "Limit of swap; absent where there is none."),
    "limit_hits": ("climits_memory_limit_hits", "counter", "",
     "Times that usage ran into the hard limit."),
    "oom_kill": ("climits_memory_oom_kills", "counter", "",
     "Processes that the OOM killer killed."),
    "pressure_some": ("climits_pressure_memory_waiting_seconds", "counter", "seconds",
     "Time in which some tasks waited for memory (PSI some)."),
    "pressure_full": ("climits_pressure_memory_stalled_seconds", "counter", "seconds",
     "Time in which all tasks waited for memory (PSI full)."),
    "cpu": ("climits_cpu_usage_seconds", "counter", "seconds", "CPU time, user and system."),
    "pids": ("climits_tasks", "gauge", "", "Processes and threads."),
}  # fmt: skip
KINDS = ("anon", "file", "shmem", "kernel")
_BY_KIND: "About" = (
    "climits_memory_kind_bytes", "gauge", "bytes",
    "Memory in use by kind: anon (the programs' own), file (page cache), shmem (shared memory and "
    "tmpfs), kernel.",
)  # fmt: skip

#: Those of Owner that are labels, beside the path and the runtime.
OWNERS = ("unit", "container", "pod", "program")

#: The same, by fact, of a program under a supervisor.
OF_PROGRAMS: "dict[str, About]" = {
    "restarts": ("climits_program_restarts", "counter", "",
     "Times that the supervisor started the program again."),
    "oom_kills": ("climits_program_oom_kills", "counter", "",
     "Processes of the program that the OOM killer killed."),
    "memory_max": ("climits_program_memory_limit_bytes", "gauge", "bytes",
     "Memory limit of the program's runs; absent where there is none."),
    "started": ("climits_program_start_time_seconds", "gauge", "seconds",
     "When the run that is on was started, seconds since the epoch."),
}  # fmt: skip
_STATE: "About" = (
    "climits_program_state", "gauge", "", "1 for the state that the program is in, else 0.",
)  # fmt: skip
_ENDS: "About" = (
    "climits_program_ends", "counter", "", "Runs of the program that ended, by verdict.",
)  # fmt: skip
STATES = (STOPPED, RUNNING, PAUSED, WAITING, STOPPING, EXITED, FAILED)
#: A supervisor sets no time limit, so none of its programs is timed out.
VERDICTS = ("exited", "signaled", "oom-killed", "stopped", "failed-to-start")

_LONGEST = 512  # characters of a label


class Labels(dict[str, str]):
    """The labels of one or many samples, and how they are written.

    Attributes:
        text: as it stands in braces in both text formats.
    """

    __slots__ = ("kinds", "text")

    def __init__(self, pairs: "dict[str, str]") -> None:
        super().__init__(pairs)
        self.text = ",".join(f'{name}="{_escaped(pairs[name])}"' for name in sorted(pairs))
        self.kinds: dict[str, Labels] = {}

    def of_kind(self, kind: str) -> "Labels":
        """The same with a kind of memory; made once."""
        if kind not in self.kinds:
            self.kinds[kind] = Labels({**self, "kind": kind})
        return self.kinds[kind]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def clean(value: str) -> str:
    """A name as a label: what can be shown, in UTF-8, and of a bounded length."""
    if not value.isprintable():
        value = value.replace("\\", r"\\")
        try:
            # A cgroup may have any bytes as its name.
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            pass  # not from bytes: half a pair, which JSON can hold
        value = printable(value)
    return cut(value, _LONGEST)


def cgroup_labels(path: str, owner: "Owner", above: "Owner", program: "str | None") -> Labels:
    """The labels of a cgroup's metrics.

    Whose it is stands only at the cgroup that is the unit, container, pod or program itself and
    not at those that it has made below: so each is counted once in a sum.

    Args:
        path: of the cgroup.
        owner, above: of it and of its parent.
        program: that a supervisor runs in it, or None.
    """
    container, outer = owner.container or owner.id, above.container or above.id
    found: dict[str, str | None] = {}
    if container:
        if container != outer:  # neither with the scope that bears its id
            found = {"container": container, "pod": owner.pod}
    elif (owner.unit, owner.pod) != (above.unit, above.pod):
        found = {"unit": owner.unit, "pod": owner.pod}
    if program is None and owner.runtime == above.runtime == "climits":
        program = None if "/" in owner.name else owner.name
    found["program"] = program
    pairs = {name: clean(found.get(name) or "") for name in OWNERS}
    return Labels({"cgroup": clean(path), "runtime": owner.runtime, **pairs})


class Maker:
    """Makes the metric families of prometheus-client."""

    def __init__(self) -> None:
        """Load prometheus-client.

        Raises:
            UnsupportedError: it is not installed.
        """
        try:
            from prometheus_client import Metric
            from prometheus_client.samples import Sample as Point
        except ImportError:
            raise UnsupportedError(
                "metrics need prometheus-client, which is not installed",
                hint="pip install 'climits[metrics]'",
            ) from None
        self._metric, self._point = Metric, Point

    def family(self, about: "About", points: "Iterable[tuple[Labels, float]]") -> "Metric":
        """One metric with its samples.

        Args:
            about: its name without ``_total``, counter or gauge, the unit in which the name ends
                or nothing, and its help.
            points: (labels, value) of each sample.
        """
        name, kind, unit, text = about
        made = self._metric(name, text, kind, unit)
        called, point = f"{name}_total" if kind == "counter" else name, self._point
        made.samples = [point(called, labels, value) for labels, value in points]
        return made

    def of_cgroups(self, rows: "list[tuple[Labels, Sample]]") -> "list[Metric]":
        """The metrics of cgroups; those that no cgroup has are left out."""
        made = []
        for attribute, about in OF_CGROUPS.items():
            points = [
                (labels, value) for labels, sample in rows
                if (value := getattr(sample, attribute)) is not None and value != UNLIMITED
            ]  # fmt: skip
            made.append(self.family(about, points))
        by_kind = [
            (labels.of_kind(kind), value)
            for kind in KINDS for labels, sample in rows
            if (value := getattr(sample, kind)) is not None
        ]  # fmt: skip
        made.insert(1, self.family(_BY_KIND, by_kind))
        return [family for family in made if family.samples]

    def of_programs(self, programs: "list[tuple[str, dict[str, Any]]]") -> "list[Metric]":
        """The metrics of supervised programs.

        Args:
            programs: (supervisor, facts of one of its programs).
        """
        # Two samples of one name spoil a scrape.
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for name, facts in programs:
            found.setdefault((name, clean(facts["program"])), facts)
        rows = [
            (Labels({"program": program, "supervisor": name}), facts)
            for (name, program), facts in found.items()
        ]
        made = []
        for fact, about in OF_PROGRAMS.items():
            points = [
                (labels, value) for labels, facts in rows
                if (value := facts.get(fact)) is not None and value not in (UNLIMITED, "max")
            ]  # fmt: skip
            made.append(self.family(about, points))
        ends = [
            (Labels({**labels, "verdict": verdict}), facts.get("verdicts", {}).get(verdict, 0))
            for labels, facts in rows for verdict in VERDICTS
        ]  # fmt: skip
        states = [
            (Labels({**labels, "state": state}), int(facts["status"] == state))
            for labels, facts in rows for state in STATES
        ]  # fmt: skip
        made += [self.family(_ENDS, ends), self.family(_STATE, states)]
        return [family for family in made if family.samples]

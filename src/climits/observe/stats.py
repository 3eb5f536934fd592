"""What cgroups use: which of them to show, and two samples that make rates."""

from ..cgroup.files import Directory
from ..cgroup.layout import Layout
from ..errors import CgroupError, CgroupGoneError
from ..units import UNLIMITED
from .discover import Owner, owner_of
from .owners import owner_at
from .sampler import Sample, Sampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Of a sample, as they are.
_FIGURES = (
    "current", "peak", "max", "high", "anon", "file", "shmem", "kernel", "swap", "swap_max",
    "limit_hits", "oom_kill", "pressure_some", "pressure_full", "cpu", "pids",
)  # fmt: skip


class Row:
    """One cgroup in a table.

    Attributes:
        path: of the cgroup.
        owner: whose it is.
        sample: its figures.
        cpu_percent: of one CPU, since the sample before; None where it is not known.
        pressure_percent: of the time, in which some task waited for memory; likewise.
    """

    def __init__(self, owner: Owner, sample: Sample, before: "Sample | None") -> None:
        self.owner, self.sample, self.path = owner, sample, sample.path
        self.cpu_percent = self.pressure_percent = None
        if before is not None:
            self.cpu_percent = _rate("cpu", before, sample)
            self.pressure_percent = _rate("pressure_some", before, sample)

    @property
    def memory_percent(self) -> "float | None":
        """Of its own limit; None where it has none."""
        current, limit = self.sample.current, self.sample.max
        if current is None or limit is None or limit == UNLIMITED or not limit:
            return None
        return 100 * current / limit

    def as_dict(self) -> "dict[str, Any]":
        """Plain data for JSON; what is not known is left out."""
        figures = {name: getattr(self.sample, name) for name in _FIGURES}
        percents = {
            name: None if value is None else round(value, 2)
            for name, value in (
                ("memory_percent", self.memory_percent),
                ("cpu_percent", self.cpu_percent),
                ("pressure_percent", self.pressure_percent),
            )
        }
        return {
            "path": self.path,
            **self.owner.as_dict(),
            **{
                name: "max" if value == UNLIMITED else value
                for name, value in (figures | percents).items()
                if value is not None
            },
        }


def _rate(name: str, before: Sample, after: Sample) -> "float | None":
    """Percent of the time between two samples; None where it cannot be told."""
    old, new, took = getattr(before, name), getattr(after, name), after.time - before.time
    if old is None or new is None or took <= 0 or new < old:  # made anew meanwhile
        return None
    return float(100 * (new - old) / took)


class Stats:
    """Follows cgroups: all of the machine, or those that were asked for.

    A context manager.
    """

    def __init__(
        self, layout: Layout, paths: "list[str] | None" = None, *, everything: bool = False
    ) -> None:
        """Open them.

        Args:
            layout: the hierarchies.
            paths: those to show; None: those with processes.
            everything: show empty ones and those that lie in another's too.

        Raises:
            UnsupportedError: there is no cgroup filesystem.
            CgroupError: one of `paths` cannot be read.
        """
        self.layout, self.wanted, self.everything = layout, paths, everything
        self.sampler = Sampler(layout)
        self._before: dict[str, Sample] = {}
        self._owners: dict[str, Owner] = {}
        if paths is None:
            self.sampler.scan()
        for path in paths or ():
            self.sampler.add(path)

    def __enter__(self) -> "Stats":
        return self

    def __exit__(self, *_: object) -> None:
        self.sampler.close()

    @property
    def skipped(self) -> dict[str, str]:
        """Path: why it cannot be read."""
        return self.sampler.skipped

    def look(self) -> list[Row]:
        """Sample now; those with the most memory first.

        Rates are those since the last look; the first has none.
        """
        if self.wanted is None and self._before:
            for path in self.sampler.scan()[1]:
                self._before.pop(path, None)
                self._owners.pop(path, None)
        samples = self.sampler.sample()
        shown = self.wanted if self.wanted is not None else self._choose(samples)
        rows = [
            Row(self._owner(path), samples[path], self._before.get(path))
            for path in shown
            if path in samples
        ]
        self._before = samples
        rows.sort(key=lambda row: (-(row.sample.current or 0), row.path))
        return rows

    def _choose(self, samples: dict[str, Sample]) -> "Iterable[str]":
        if self.everything:
            return samples
        return sorted({_unit_of(path, samples) for path in self._busy(samples)})

    def _busy(self, samples: dict[str, Sample]) -> list[str]:
        """Those with processes of their own."""
        own = {path: sample.pids for path, sample in samples.items()}
        for path, sample in samples.items():
            above = path.rpartition("/")[0] or "/"
            count = own.get(above)
            if above != path and count is not None:
                own[above] = count - (sample.pids or 0)
        # Between the reading of two cgroups a process may start or end, so look again.
        return [p for p, count in own.items() if (count is None or count > 0) and self._has(p)]

    def _has(self, path: str) -> bool:
        """Whether there are processes in a cgroup itself, where memory is charged."""
        order = sorted(self.layout.hierarchies, key=lambda h: "memory" not in h.controllers)
        for hierarchy in order:
            try:
                return bool(Directory(hierarchy.directory_path(path)).pids())
            except CgroupGoneError:
                continue
            except CgroupError:  # a threaded one, or not ours to read
                return True
        return False

    def _owner(self, path: str) -> Owner:
        owner = self._owners.get(path)
        if owner is None:
            directories = [h.directory_path(path) for h in self.layout.hierarchies]
            owner = self._owners[path] = owner_at(path, directories)
        return owner


def _unit_of(path: str, samples: dict[str, Sample]) -> str:
    """The cgroup of the container, unit or program that a cgroup is a part of; or itself."""
    while True:
        above, _, last = path.rpartition("/")
        inner, outer = owner_of(path), owner_of(above)
        ours = outer.runtime == "climits" and outer.name != "climits"
        whole = ours or outer.container or outer.unit or outer.job
        if not whole or inner.name != f"{outer.name}/{last}" or above not in samples:
            return path
        path = above

"""Metrics for Prometheus: of every cgroup of the machine, and of supervised programs.

A collector gives the metric families of prometheus-client, made anew at each scrape from what the
kernel and the supervisors say at that moment: what is counted lives there, so that it survives
whoever scrapes.
"""

import heapq
import threading
import time
from functools import partial

from ... import __version__
from ...errors import CgroupError
from ...supervise.address import address_of, listen, parse_address
from ...supervise.beside import Beside
from ..discover import Owner, owner_of
from ..sampler import Sampler
from . import ask
from .families import Labels, Maker, cgroup_labels, clean
from .server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from ...supervise.client import Client
    from ..sampler import Sample
    from .ask import Facts

#: Cgroups whose metrics are told unless somebody says otherwise.
MOST_CGROUPS = 2000
#: Usual ports: of `climits metrics`, and of a supervisor's own.
PORT, SUPERVISOR_PORT = 9464, 9465

_CGROUPS = "climits_cgroups", "gauge", "", "Cgroups that there are."
_LEFT_OUT = (
    "climits_cgroups_left_out", "gauge", "", "Cgroups without metrics here, by reason.",
)  # fmt: skip
_UP = "climits_supervisor_up", "gauge", "", "Whether the supervisor answers: 1 or 0."
_TOOK = (
    "climits_sample_duration_seconds", "gauge", "seconds", "Time that reading the cgroups took.",
)  # fmt: skip
_BUILD = "climits_build_info", "gauge", "", "1, with the version of climits."

_NOBODY = Owner(runtime="", name="", id=None)


class _Chosen:
    """Makes metrics of samples; remembers the labels of those that are still there."""

    def __init__(self, maker: Maker, most: int) -> None:
        self._maker, self._most = maker, most
        self._labels: dict[tuple[str, str | None], Labels] = {}

    def families(
        self, samples: "dict[str, Sample]", programs: "dict[str, str]", skipped: int
    ) -> "Iterable[Metric]":
        """The metrics of cgroups, and how many of them are told.

        Args:
            samples: by path.
            programs: path of a cgroup: the supervised program that runs in it.
            skipped: cgroups that could not be read.
        """
        chosen = samples
        if len(samples) > self._most:
            largest = heapq.nlargest(
                self._most,
                samples.values(),
                key=lambda s: (s.path in programs, s.current or 0),
            )
            chosen = {sample.path: sample for sample in sorted(largest, key=lambda s: s.path)}
        rows: dict[str, tuple[Labels, Sample]] = {}
        before, self._labels = self._labels, {}
        for path, sample in chosen.items():
            key = path, programs.get(path)
            labels = self._labels[key] = before.get(key) or _labels_of(*key)
            # Names with odd bytes may look the same: two samples of one name spoil a scrape.
            rows.setdefault(labels["cgroup"], (labels, sample))
        yield from self._maker.of_cgroups(list(rows.values()))
        left_out = (("over-the-limit", len(samples) - len(rows)), ("unreadable", skipped))
        family = self._maker.family
        yield family(_CGROUPS, [(Labels({}), len(samples) + skipped)])
        yield family(_LEFT_OUT, [(Labels({"reason": name}), count) for name, count in left_out])


def _labels_of(path: str, program: "str | None") -> Labels:
    above = owner_of(path.rpartition("/")[0]) if path.count("/") > 1 else _NOBODY
    return cgroup_labels(path, owner_of(path), above, program)


class MachineMetrics:
    """A collector of every cgroup of the machine, and of supervisors that are asked."""

    def __init__(
        self,
        *,
        most_cgroups: int = MOST_CGROUPS,
        sockets: "Iterable[str]" = (),
        default_socket: "str | None" = None,
    ) -> None:
        """Prepare.

        Args:
            most_cgroups: of how many cgroups metrics are told, the largest first.
            sockets: control sockets of supervisors.
            default_socket: another, which need not be there.

        Raises:
            UnsupportedError: no cgroup filesystem, or prometheus-client is not installed.
        """
        self._maker = Maker()
        self._sockets, self._default = list(dict.fromkeys(sockets)), default_socket
        self._sampler = Sampler()
        self._sampler.scan()
        self._cgroups = _Chosen(self._maker, most_cgroups)
        self._lock = threading.Lock()

    def collect(self) -> "list[Metric]":
        """All metrics, of this moment; may be called by many threads.

        Raises:
            ClimitsError: the cgroups cannot be read at all.
        """
        up, programs = self._ask()
        with self._lock:
            start = time.perf_counter()
            self._sampler.scan()
            samples = self._sampler.sample()
            took = time.perf_counter() - start
            made = list(
                self._cgroups.families(samples, _paths(programs), len(self._sampler.skipped))
            )
        made += self._maker.of_programs(programs)
        if up:
            made.append(_up(self._maker, up))
        return [*made, *_of_ourselves(self._maker, took)]

    def _ask(self) -> "tuple[dict[str, bool], list[tuple[str, Facts]]]":
        up: dict[str, bool] = {}
        programs: list[tuple[str, Facts]] = []
        wanted = self._sockets if self._default is None else [self._default, *self._sockets]
        for path in dict.fromkeys(wanted):
            facts = ask.ask(partial(ask.connect, path))
            if facts is not None or path in self._sockets:
                up[path] = facts is not None
            programs += [(clean(path), each) for each in facts or ()]
        return up, programs

    def close(self) -> None:
        """Give the descriptors back."""
        self._sampler.close()


def _paths(programs: "list[tuple[str, Facts]]") -> dict[str, str]:
    return {facts["cgroup"]: facts["program"] for _, facts in programs if "cgroup" in facts}


def _up(maker: Maker, up: "dict[str, bool]") -> "Metric":
    answers = [(Labels({"supervisor": clean(path)}), int(is_up)) for path, is_up in up.items()]
    return maker.family(_UP, answers)


def _of_ourselves(maker: Maker, took: float) -> "list[Metric]":
    return [
        maker.family(_TOOK, [(Labels({}), took)]),
        maker.family(_BUILD, [(Labels({"version": __version__}), 1)]),
    ]


def process_metrics() -> "Callable[[], Iterable[Metric]]":
    """What collects the usual metrics of this process itself."""
    from prometheus_client import ProcessCollector

    collect: Callable[[], Iterable[Metric]] = ProcessCollector(registry=None).collect
    return collect


class MetricsServer:
    """Serves the metrics of the machine.

    Attributes:
        address: where, with the port that was chosen for 0.
    """

    def __init__(self, address: str, collector: MachineMetrics, *, what: str = "address") -> None:
        """Listen, and answer from now on.

        Args:
            address: HOST:PORT.
            collector: gives the metrics.
            what: how to call the address in an error.

        Raises:
            ClimitsError: it cannot listen there.
        """
        own = process_metrics()
        host, port = parse_address(address, what=what, port=PORT)
        listener = listen(host, port, what=what)
        self.address = address_of(listener)
        self._server = Server(
            listener,
            lambda: [*collector.collect(), *own()],
            host=host,
            what="the cgroups of this machine",
        )

    def close(self) -> None:
        """Listen no longer."""
        self._server.close()


class SupervisorMetrics(Beside):
    """Serves the metrics of a supervisor's programs, beside it.

    Attributes:
        address: where, with the port that was chosen for 0 once it listens.
    """

    def __init__(self, address: str, tell: "Callable[[str], None]") -> None:
        """Prepare; nothing is opened yet.

        Args:
            address: HOST:PORT.
            tell: called with the URL once it listens, before the first program is started.
        """
        self.address, self._tell = address, tell
        self._server: Server | None = None
        self._sampler: Sampler | None = None
        self._lock = threading.Lock()

    def begin(self, connect: "Callable[[], Client]") -> None:
        """Listen, and answer from now on.

        Raises:
            ClimitsError: it cannot listen there, or prometheus-client is not installed.
        """
        maker = Maker()
        cgroups, own = _Chosen(maker, MOST_CGROUPS), process_metrics()

        def collect() -> "list[Metric]":
            answer = ask.ask(connect)
            programs = [("", facts) for facts in answer or ()]
            paths = _paths(programs)
            with self._lock:
                start = time.perf_counter()
                samples = self._sample(paths)
                took = time.perf_counter() - start
                made = list(cgroups.families(samples, paths, len(paths) - len(samples)))
            made += maker.of_programs(programs)
            made.append(_up(maker, {"": answer is not None}))
            return [*made, *_of_ourselves(maker, took), *own()]

        host, port = parse_address(self.address, what="metrics", port=SUPERVISOR_PORT)
        listener = listen(host, port, what="metrics")
        self.address = address_of(listener)
        self._server = Server(listener, collect, host=host, what="the programs of a supervisor")
        self._tell(f"http://{self.address}/metrics")

    def _sample(self, wanted: "dict[str, str]") -> "dict[str, Sample]":
        sampler = self._sampler = self._sampler or Sampler()
        for path in sampler.paths:
            if path not in wanted:
                sampler.discard(path)
        samples = sampler.sample()
        # A program that was started again has another cgroup of the same name.
        missing = [path for path in wanted if path not in samples]
        for path in missing:
            try:
                sampler.add(path)
            except CgroupError:
                continue  # it has just ended, or may not be read
        return sampler.sample() if missing else samples

    def end(self) -> None:
        """Listen no longer."""
        if self._server:
            self._server.close()
            self._server = None
        with self._lock:
            if self._sampler:
                self._sampler.close()
                self._sampler = None

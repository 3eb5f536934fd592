"""`climits metrics`: every cgroup of the machine, for Prometheus."""

import os
import signal
import sys
import time

from ..errors import ClimitsError, InvalidValueError
from ..units import parse_duration
from .main import complain
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.metrics.collect import MachineMetrics

OPTIONS: tuple[Option, ...] = (
    ("--listen", "ADDRESS", "text", TELLING, "serve them there (default 127.0.0.1:9464)"),
    ("--textfile", "FILE", "text", TELLING, "write them to FILE instead, - for standard output"),
    ("--interval", "TIME", "text", TELLING, "write the file again every so often, such as 15s"),
    ("--socket", "PATH", "list", CGROUP, "ask the supervisor there too; may be repeated"),
    ("--max-cgroups", "N", "int", CGROUP, "only the largest are told of more (default 2000)"),
)
ANYWHERE = True
USAGE = "climits metrics [OPTIONS]"
EPILOG = """\
Serves /metrics in the text formats of Prometheus and OpenMetrics until Ctrl+C
or SIGTERM: usage by kind, limits, peak, limit hits, OOM kills, pressure, CPU
time and tasks of each cgroup, with the systemd unit, container, pod or program
that it belongs to; and restarts, verdicts and states of supervised programs.

Nobody is asked who they are: listen elsewhere than on the loopback interface
only where everybody may know the names and figures of what runs here. Port 0
is any that is free.

A file is replaced all at once. For node_exporter its name ends in .prom and its
directory is that of --collector.textfile.directory.

examples:
  climits metrics
  climits metrics --listen '[::1]:9464' --socket /run/web/supervise.sock
  climits metrics --textfile /var/lib/node_exporter/climits.prom --interval 15s
"""

__all__ = ["ANYWHERE", "EPILOG", "OPTIONS", "USAGE", "main"]

_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Serve, or write, until somebody asks for the end."""
    if words:
        raise InvalidValueError(
            f"metrics takes no arguments: {words[0]}", hint="see climits metrics --help"
        )
    if "textfile" in values and "listen" in values:
        raise InvalidValueError(
            "--textfile and --listen do not go together", hint="run climits metrics twice"
        )
    interval = None
    if "interval" in values:
        interval = parse_duration(values["interval"], what="--interval")
        if "textfile" not in values or not interval:
            raise InvalidValueError(
                "--interval is for --textfile, and longer than nothing",
                value=values["interval"],
                hint="climits metrics --textfile FILE --interval 15s",
            )
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        collector = _collector(values)
        try:
            if "textfile" in values:
                _write(values["textfile"], interval, collector)
            else:
                _serve(values.get("listen"), collector)
        finally:
            collector.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    return 0


def _collector(values: "dict[str, Any]") -> "MachineMetrics":
    from ..observe.metrics.collect import MOST_CGROUPS, MachineMetrics
    from ..supervise.control import default_path

    most = values.get("max_cgroups", MOST_CGROUPS)
    if most < 1:
        raise InvalidValueError(
            f"--max-cgroups: {most}: less than one", value=most, hint=f"write {MOST_CGROUPS}"
        )
    return MachineMetrics(
        most_cgroups=most,
        sockets=[os.path.abspath(path) for path in values.get("socket", ())],
        default_socket=default_path(),
    )


def _serve(address: "str | None", collector: "MachineMetrics") -> None:
    from ..observe.metrics.collect import PORT, MetricsServer

    server = MetricsServer(address or f"127.0.0.1:{PORT}", collector, what="--listen")
    try:
        sys.stdout.write(f"serving http://{server.address}/metrics\n")
        sys.stdout.flush()
        signal.sigwait(_ENDING)
    finally:
        server.close()


def _write(path: str, interval: "float | None", collector: "MachineMetrics") -> None:
    from ..observe.metrics.text import write, write_file

    told: str | None = None  # nothing was written yet
    due = time.monotonic()
    while True:
        try:
            content = write(collector.collect())
            if path == "-":
                sys.stdout.buffer.write(content)
                sys.stdout.flush()
            else:
                write_file(path, content)
            told = ""
        except ClimitsError as e:
            if told is None:
                raise
            if str(e) != told:  # once, not each time
                complain(e)
            told = str(e)
        if interval is None:
            return
        due = max(due + interval, time.monotonic())
        if signal.sigtimedwait(_ENDING, max(due - time.monotonic(), 0)):
            return

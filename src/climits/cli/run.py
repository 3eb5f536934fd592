"""`climits run`: one command under limits."""

import os

from ..cgroup import placement, systemd
from ..errors import (
    ClimitsError,
    InvalidValueError,
    LaunchError,
)
from ..launch.signals import ENDING, Relay
from ..program.process import Process
from ..program.spec import Spec
from ..records import Result
from ..units import parse_duration
from .main import complain, status_of, tell
from .options import RUN as OPTIONS
from .scope import wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.recordings.recorder import Recorder
    from ..program.container import Container
    from ..program.joining import Joining

USAGE = "climits run [OPTIONS] [--] COMMAND [ARGUMENTS]"
EPILOG = """\
Sizes: bytes, or a number with K, M, G or T (powers of 1024).

Exit status: the command's own; 128+N when signal N ended it (137 after an OOM
kill); 124 timed out, 125 climits failed, 126 not executable, 127 not found.

examples:
  climits run --memory 60M -- ./app
  climits run --memory 1G --pids 100 --timeout 10m --json result.json -- make -j8
  climits run --memory 50% --on-oom kill-group -- ./server
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_SPEC = (
    "memory", "swap", "high", "low", "min", "swappiness", "on_oom", "pids", "cpus", "cpuset",
    "name", "parent", "root", "keep", "user", "group", "extra_groups", "nice", "oom_score_adj",
    "enforce",
)  # fmt: skip


def main(values: "dict[str, Any]", command: list[str]) -> int:
    """Run the command; the exit status is its own."""
    if not command:
        raise InvalidValueError(
            "no command was given", hint="write it last: climits run --memory 60M -- ./app"
        )
    return run_command(values, command)


def run_command(
    values: "dict[str, Any]", command: list[str], container: "Container | Joining | None" = None
) -> int:
    """Run a command as the options say, and tell what happened; the exit status is its own."""
    timeout = parse_duration(values["timeout"], what="timeout") if "timeout" in values else None
    kill_after = parse_duration(values.get("kill_after", 5.0), what="kill-after")
    _check_outputs(values)
    if values.get("enforce", "kernel") != "kernel":
        from ..program.polling.wish import check_command

        check_command(values)
    outputs = [] if values.get("explain") else _outputs(values)
    recorder = None if values.get("explain") else _recorder(values, command)
    try:
        wish(values, command, values.get("name"))
        spec = Spec(
            command,
            cwd=values.get("chdir"),
            env=environment(values.get("env", ()), bool(values.get("clear_env"))),
            # What the shell opened for the command is the command's, but not that of a container.
            close_fds=container is not None,
            container=container,
            **{name: values[name] for name in _SPEC if name in values},
        )
        if values.get("explain"):
            from .run_explain import explain

            explain(spec)
            return 0
        limit = spec.limits.memory.max
        systemd.wishes.memory_max = limit if isinstance(limit, int) else None
        relay = Relay()
        result = _run(spec, relay, timeout, kill_after, values, recorder)
    except ClimitsError as e:
        result = _not_started(command, e)
        if recorder:
            recorder.close(result)
        for fd in outputs:
            _write_json(fd, result)
        complain(e)
        if isinstance(e, LaunchError):  # else it was not even tried
            _record(result, values, container)
        return status_of(e)
    finally:
        placement.release_parents()
    if recorder:
        recorder.close(result)
    for fd in outputs:
        _write_json(fd, result)
    if result.error:
        tell(result.error)
    if not values.get("quiet"):
        from ..program.verdict import summarize

        tell(summarize(result))
        if result.enforced_by == "poll":
            _tell_of_polling(result)
    _record(result, values, container)
    return result.exit_status


def _record(
    result: Result, values: "dict[str, Any]", container: "Container | Joining | None"
) -> None:
    """Add it to the history, as far as that is possible."""
    if values.get("no_history"):
        return
    from ..history.spool import record

    source = "run" if container is None else "enter" if container.runs else "container"
    # In a container the path means something else.
    cwd = values.get("chdir") if container is None else None
    warning = record(result, source, name=values.get("name"), cwd=cwd)
    if warning and not values.get("quiet"):
        tell(warning)


def _run(
    spec: Spec,
    relay: Relay,
    timeout: "float | None",
    kill_after: float,
    values: "dict[str, Any]",
    recorder: "Recorder | None",
) -> Result:
    verbose = bool(values.get("verbose"))
    if number := relay.pending():
        raise ClimitsError(f"not started: climits was asked to end (signal {number})")

    def pass_on(process: Process, number: int) -> None:
        if verbose:
            tell(f"passing signal {number} on")
        if number in ENDING:
            process.stop(number)
            end_process_1(process, number)
        else:
            process.send_signal(number)

    def end_process_1(process: Process, number: int) -> None:
        # The kernel spares process 1 of a pid namespace from what it does not handle.
        alone = spec.container is not None and not spec.joins and process.status_fd < 0
        if alone and number in ENDING and _would_end(process.pid, number):
            process.kill_all()

    def repeat(process: Process, number: int) -> None:
        process.send_signal(number)
        end_process_1(process, number)

    process = Process.from_spec(
        spec,
        sigmask=relay.sigmask,
        on_launch=lambda p: relay.turn(
            p.pidfd, lambda n: pass_on(p, n), again=lambda n: repeat(p, n)
        ),
    )
    if recorder:
        recorder.follow(process)
    if verbose:
        for part in process.cgroup.parts if spec.enforce == "kernel" else ():
            tell(f"cgroup {part} ({part.directory.path})")
        tell(f"started pid {process.pid}: {' '.join(spec.args)}")

    if not values.get("no_history"):
        # What the record needs is loaded while the program already runs.
        from ..cgroup import cpu  # noqa: F401
        from ..history import spool  # noqa: F401

    def at_pause() -> None:
        tell(
            "paused: the program is at its limit; "
            f"climits set {process.cgroup.path} memory.max=SIZE gives it more and lets it go on; "
            f"or end it: kill {os.getpid()}"
        )

    return process.run_to_end(
        timeout,
        kill_after,
        wake=relay.fd,
        on_wake=lambda: relay.turn(
            process.pidfd,
            lambda n: pass_on(process, n),
            # What the terminal sends it has got itself, for what that is worth to a process 1.
            again=(lambda n: end_process_1(process, n)) if spec.container else None,
        ),
        on_pause=at_pause,
    )


def _tell_of_polling(result: Result) -> None:
    found = result.evidence and result.evidence.polling
    if found and found.kernel_could:
        tell("note: the kernel could enforce the limit here: leave --enforce poll out")
    if found and found.estimated:
        tell(
            f"note: of {found.estimated} processes the kernel shows no proportional size to us: "
            "what they have alone was counted"
        )


def _would_end(pid: int, number: int) -> bool:
    """Whether a process has neither a handler for a signal nor ignores it."""
    from ..linux import proc

    facts = proc.status(pid)
    masks = int(facts.get("SigCgt", "0"), 16) | int(facts.get("SigIgn", "0"), 16)
    in_new = facts.get("NSpid", "").split()[1:]
    return bool(in_new) and not masks >> (number - 1) & 1


def environment(pairs: "list[str] | tuple[()]", clear: bool) -> "dict[str, str] | None":
    """The environment that --env and --clear-env describe; None: ours as it is."""
    if not pairs and not clear:
        return None
    environment = {} if clear else dict(os.environ)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidValueError(f"env: {pair}: not of the form K=V", value=pair)
        environment[name] = value
    return environment


def _check_outputs(values: "dict[str, Any]") -> None:
    """Refuse one file for two things: each would destroy the other."""
    record, target = values.get("record"), values.get("json")
    if record and target and os.path.realpath(record) == os.path.realpath(target):
        raise InvalidValueError(
            f"record: {record}: --json writes there too", path=record, hint="name another file"
        )


def _outputs(values: "dict[str, Any]") -> list[int]:
    """Descriptors for the result, opened before anything runs: a bad path is told at once."""
    outputs = []
    target = values.get("json")
    if target == "-":
        outputs.append(1)
    elif target is not None:
        try:
            outputs.append(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
        except OSError as e:
            raise InvalidValueError(
                f"json: {target}: {os.strerror(e.errno or 0).lower()}",
                path=target,
                hint="name a file that can be written, or - for standard output",
            ) from None
    fd = values.get("json_fd")
    if fd is not None:
        try:
            if fd > 2:
                os.set_inheritable(fd, False)  # it is ours, not the command's
            os.fstat(fd)
        except (OSError, OverflowError, ValueError):
            raise InvalidValueError(
                f"json-fd: {fd}: not an open descriptor",
                value=fd,
                hint=f"open it in the shell: climits run --json-fd {fd} ... {fd}>result.json",
            ) from None
        outputs.append(fd)
    return outputs


def _recorder(values: "dict[str, Any]", command: list[str]) -> "Recorder | None":
    """What records the run, its file opened before anything runs; None unless that was asked."""
    if "record" not in values:
        return None
    from ..observe.recordings.recorder import Recorder  # half a MiB, and only for those who ask

    return Recorder(values["record"], command=command, warn=tell)


def _write_json(fd: int, result: Result) -> None:
    import json  # 6 ms, and only for those who ask

    data = (json.dumps(result.as_dict(), ensure_ascii=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as e:
        tell(f"cannot write the result: {os.strerror(e.errno or 0).lower()}")


def _not_started(command: list[str], error: ClimitsError) -> Result:
    return Result(
        command=command, verdict="failed-to-start", exit_status=status_of(error), error=str(error)
    )

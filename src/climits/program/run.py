"""`climits.run`: subprocess.run's shape on top of Process."""

from ..errors import InvalidValueError
from ..units import parse_duration
from .pipes import PIPE
from .process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from ..records import Result
    from .spec import Options, StrPath


def run(
    args: "Sequence[StrPath] | StrPath",
    *,
    input: "str | bytes | None" = None,
    capture_output: bool = False,
    check: bool = False,
    timeout: "float | str | None" = None,
    kill_after: "float | str" = 5.0,
    **options: "Unpack[Options]",
) -> "Result":
    """Run a program in its own cgroup and wait for it.

    Args:
        args: the program and its arguments.
        input: sent to its standard input.
        capture_output: collect standard output and error in the result.
        check: raise when it did not end well.
        timeout: seconds, or text such as "1.5s"; then SIGTERM.
        kill_after: seconds from SIGTERM to SIGKILL of the whole cgroup.
        options: limits and more; see climits.program.spec.Options.

    Returns:
        The Result: verdict, returncode, memory_peak, evidence and more.

    Raises:
        OutOfMemoryError, TimeoutExpired, CalledProcessError: with `check` only.
        InvalidValueError, UnsupportedError, CgroupError, LaunchError: it did not start.
    """
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise InvalidValueError("capture_output does not go with stdout or stderr")
        options["stdout"] = options["stderr"] = PIPE
    if input is not None:
        if options.get("stdin") is not None:
            raise InvalidValueError("input does not go with stdin")
        options["stdin"] = PIPE
        if isinstance(input, str) and not any(map(options.get, ("text", "encoding", "errors"))):
            raise InvalidValueError(
                "input is text, but the pipes carry bytes", hint="give text=True"
            )
    limit = None if timeout is None else parse_duration(timeout, what="timeout")
    grace = parse_duration(kill_after, what="kill_after")
    process = Process(args, **options)
    result = process.run_to_end(limit, grace, input=input)
    if check:
        from .checks import raise_for

        raise_for(result, limit)
    return result

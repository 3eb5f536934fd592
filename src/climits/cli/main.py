"""The command `climits`: find the module of a subcommand and run it."""

import errno
import io
import os
import sys

from ..errors import (
    ClimitsError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidValueError,
)
from ..units import cut, printable
from . import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Exit statuses of our own, as env(1) and docker have them.
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

#: Characters of an error that are shown; what was given may stand in it.
_MAX_LINE = 800

#: name: (module, one line of help).  A module has OPTIONS, USAGE, EPILOG and main(values, words);
#: where ANYWHERE is set, its options may stand behind other words.
COMMANDS = {
    "run": ("run", "run a command under limits and say what happened"),
    "container": ("container", "run a command in a small container under limits"),
    "enter": ("enter", "run a command in a container that runs"),
    "ps": ("ps", "list what climits runs"),
    "supervise": ("supervise", "keep programs alive under their limits"),
    "ctl": ("ctl", "steer a running supervisor"),
    "watch": ("watch", "tell what happens in a cgroup, and act on it"),
    "batch": ("batch", "run many jobs, as many at once as fit"),
    "history": ("history", "tell what ran before, and what it used"),
    "suggest": ("suggest", "suggest a limit for a command from its past peaks"),
    "measure": ("measure", "find the least memory that a command needs"),
    "stats": ("stats", "show what each cgroup uses, and whose it is"),
    "top": ("top", "watch cgroups live, and act on them"),
    "find": ("find", "find the cgroups of a container by its short id"),
    "report": ("report", "draw recordings as a page or picture"),
    "plot": ("plot", "draw recordings in the terminal"),
    "metrics": ("metrics", "serve the figures of every cgroup to Prometheus"),
    "create": ("create", "make a cgroup"),
    "set": ("set", "change limits and other parameters of a cgroup"),
    "get": ("get", "print limits, usage and other parameters"),
    "exec": ("exec", "run a command in a cgroup that exists"),
    "classify": ("classify", "move running processes into a cgroup"),
    "delete": ("delete", "remove a cgroup"),
    "freeze": ("freeze", "stop every process of a cgroup"),
    "thaw": ("thaw", "let the processes of a cgroup go on"),
    "kill": ("kill", "kill every process of a cgroup"),
    "reclaim": ("reclaim", "take memory back from a cgroup"),
    "ls": ("ls", "list cgroups"),
    "tree": ("tree", "show cgroups with their usage, or their processes, as a tree"),
    "inspect": ("inspect", "show where a process or cgroup stands, and which limit binds it"),
    "hierarchies": ("hierarchies", "explain the controllers and hierarchies of this host"),
    "explain": ("explain", "explain a cgroup file, and its value"),
    "doctor": ("doctor", "check what this host can enforce, and how to get the rest"),
    "setup": ("setup", "prepare this host, or a user of it, for climits"),
    "service": ("service", "install a systemd service that supervises programs"),
    "cgtools": ("cgtools_install", "install cgcreate, cgset and their kin"),
    "gc": ("gc", "remove the cgroups of owners that died"),
    "version": ("version", "print the version"),
}
#: The command above which a line is left empty in the list of commands.
_GROUPS = ("batch", "stats", "create", "ls", "cgtools")

_USAGE = """\
usage: climits COMMAND [OPTIONS] ...

Run anything under a memory limit that the Linux kernel enforces.

commands:
{commands}

climits COMMAND --help tells the options of each.
Try: climits run --memory 60M -- COMMAND
"""


def main() -> "NoReturn":
    """Run the command line and exit with its status."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except (
            OSError
        ):  # closed: or our own files would take its number, and the output meant for it
            os.open(os.devnull, os.O_RDWR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A cgroup may have any bytes as its name, and a terminal any encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = dispatch(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except ClimitsError as e:
        status = status_of(e)
        complain(e)
    except BrokenPipeError:
        status = FAILED  # whoever reads us has gone: nobody to tell
    except KeyboardInterrupt:
        status = 130
    except Exception as e:  # a fault of climits or of the system, never the command's status
        status = FAILED
        complain(_of_output(e) or e)
    if status == 0:
        bundle.save()
    # Everything is written and cleaned up: tearing the interpreter down would only cost time.
    os._exit(status)


def dispatch(argv: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit status.

    Raises:
        ClimitsError: it failed; nothing is left behind.
    """
    if not argv:
        os.write(2, _usage().encode())
        return FAILED
    name, rest = argv[0], argv[1:]
    if name in ("-h", "--help", "help"):
        if not rest:
            sys.stdout.write(_usage())
            return 0
        name, rest = rest[0], ["--help"]
    if name == "--version":
        name = "version"
    if name in ("-memory", "-root") or name.startswith(("-memory=", "-root=")):
        from .supervise import run_original

        return run_original(argv)
    if name not in COMMANDS:
        raise _unknown(name)
    from . import options

    if name == "run":  # the one whose start-up counts: no importlib
        from . import run as module
    else:
        from importlib import import_module

        module = import_module(f".{COMMANDS[name][0]}", __package__)
    try:
        anywhere = getattr(module, "ANYWHERE", False)
        values, words = options.parse(module.OPTIONS, rest, anywhere=anywhere)
    except options.HelpRequested:
        from .help import parser

        built = parser(name, COMMANDS[name][1], module.USAGE, module.OPTIONS, module.EPILOG)
        sys.stdout.write(built.format_help())
        return 0
    return module.main(values, words)


def status_of(error: ClimitsError) -> int:
    """The exit status for an error of ours; of a command that did not start it is env(1)'s."""
    if isinstance(error, CommandNotFoundError):
        return NOT_FOUND
    return NOT_EXECUTABLE if isinstance(error, CommandNotExecutableError) else FAILED


def complain(error: BaseException) -> None:
    """Tell an error in one line on standard error."""
    if not isinstance(error, ClimitsError):
        error = ClimitsError(f"{type(error).__name__}: {error}", hint="this is a fault: report it")
    hint = getattr(error, "hint", None)
    text = cut(printable(" ".join(f"climits: {error}".split("\n"))), _MAX_LINE)
    _write_error(f"{text}; hint: {hint}\n" if hint else f"{text}\n")


def tell(text: str) -> None:
    """Write a line on standard error, with our name before it."""
    _write_error(f"climits: {text}\n")


def _write_error(line: str) -> None:
    try:
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:
        pass  # nobody reads it


def _of_output(error: Exception) -> "ClimitsError | None":
    """What to tell when it was standard output that failed, which a full device does.

    Files of cgroups fail with errors of our own, and what is opened by a name has it on its error.
    """
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    if not isinstance(error, OSError) or error.filename is not None or error.errno not in full:
        return None
    cause = os.strerror(error.errno).lower()
    return ClimitsError(f"cannot write to standard output: {cause}")


def _usage() -> str:
    lines = (
        ("\n" if name in _GROUPS else "") + f"  {name:12} {text}"
        for name, (_, text) in COMMANDS.items()
    )
    return _USAGE.format(commands="\n".join(lines))


def _unknown(name: str) -> InvalidValueError:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean {close[0]}?" if close else "see climits --help"
    return InvalidValueError(f"no command {name!r}", value=name, hint=hint)

"""The command `climits`: find the module of a subcommand and run it."""

import os
import sys

from ..errors import ClimitsError, InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Exit statuses of our own, as env(1) and docker have them.
FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

#: name: (module, one line of help).  A module has OPTIONS, USAGE, EPILOG and main(values, words).
COMMANDS = {
    "run": ("run", "run a command under limits and say what happened"),
    "gc": ("gc", "remove the cgroups of owners that died"),
    "version": ("version", "print the version"),
}

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
    try:
        status = dispatch(sys.argv[1:])
        sys.stdout.flush()
    except ClimitsError as e:
        status = FAILED
        complain(e)
    except BrokenPipeError:
        status = FAILED  # whoever reads us has gone: nobody to tell
    except KeyboardInterrupt:
        status = 130
    # Everything is written and cleaned up: tearing the interpreter down would only cost time.
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)


def dispatch(argv: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit status.

    Raises:
        ClimitsError: it failed; nothing is left behind.
    """
    if not argv:
        sys.stderr.write(_usage())
        return FAILED
    name, rest = argv[0], argv[1:]
    if name in ("-h", "--help", "help"):
        if not rest:
            sys.stdout.write(_usage())
            return 0
        name, rest = rest[0], ["--help"]
    if name == "--version":
        name = "version"
    if name not in COMMANDS:
        raise _unknown(name)
    from . import options

    if name == "run":  # the one whose start-up counts: no importlib
        from . import run as module
    else:
        from importlib import import_module

        module = import_module(f".{COMMANDS[name][0]}", __package__)
    try:
        values, words = options.parse(module.OPTIONS, rest)
    except options.HelpRequested:
        from .help import parser

        built = parser(name, COMMANDS[name][1], module.USAGE, module.OPTIONS, module.EPILOG)
        sys.stdout.write(built.format_help())
        return 0
    return module.main(values, words)


def complain(error: BaseException) -> None:
    """Tell an error in one line on standard error."""
    hint = getattr(error, "hint", None)
    text = " ".join(f"climits: {error}".split("\n"))
    try:
        sys.stderr.write(f"{text}; hint: {hint}\n" if hint else f"{text}\n")
    except OSError:
        pass  # standard error is closed


def _usage() -> str:
    return _USAGE.format(
        commands="\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items())
    )


def _unknown(name: str) -> InvalidValueError:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean {close[0]}?" if close else "see climits --help"
    return InvalidValueError(f"no command {name!r}", value=name, hint=hint)

"""The options of the commands: one table each for parsing, help, completion and man pages.

The tables of run and supervise are here, since they share rows; the others stand in the modules of
their commands.

argparse costs as much as the whole rest of a run, so the ordinary case is parsed by a small loop;
argparse is built from the same table for help (see help.py).
"""

from ..errors import InvalidValueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: (flag, metavar or None for a switch, kind, group, help).  Kinds: text, int, float, list, switch.
Option = tuple[str, "str | None", str, str, str]

LIMITS, LIFE, TELLING, CGROUP = "limits", "life", "telling", "cgroup"
CONTAINER = "container"

NO_HISTORY: Option = (
    "--no-history", None, "switch", TELLING, "do not record it for climits history"
)  # fmt: skip

NO_SYSTEMD: Option = (
    "--no-systemd", None, "switch", LIFE, "do not ask systemd: use what is ours already"
)  # fmt: skip
#: See cli/scope.py.
SYSTEMD: tuple[Option, ...] = (
    ("--slice", "SLICE", "text", LIFE, "have systemd put it in this slice, such as jobs.slice"),
    ("--unit", "NAME", "text", LIFE, "name of the scope that systemd makes (climits-NAME.scope)"),
    NO_SYSTEMD,
)

RUN: tuple[Option, ...] = (
    ("--memory", "SIZE", "text", LIMITS, "hard limit, page cache included: 60M, 1.5G, 50%%, max"),
    ("--swap", "SIZE", "text", LIMITS, "swap on top of --memory (default 0)"),
    ("--high", "SIZE", "text", LIMITS, "throttle and reclaim from here on (cgroup v2)"),
    ("--low", "SIZE", "text", LIMITS, "try not to reclaim below this; on v1 the soft limit"),
    ("--min", "SIZE", "text", LIMITS, "never reclaim below this (cgroup v2)"),
    ("--swappiness", "N", "int", LIMITS, "0 to 200: how readily to swap (cgroup v1)"),
    (
        "--on-oom",
        "ACTION",
        "text",
        LIMITS,
        "at the limit: kill one process (default), kill-group, or pause until it is raised",
    ),
    ("--pids", "N", "int", LIMITS, "processes and threads at most"),
    ("--cpus", "N.N", "float", LIMITS, "CPUs' worth of time, such as 1.5"),
    ("--cpuset", "LIST", "text", LIMITS, "CPUs to run on, such as 0-1,3"),
    ("--enforce", "WHO", "text", CGROUP, "kernel (default), or poll: look, and kill beyond it"),
    ("--timeout", "TIME", "text", LIFE, "SIGTERM after so long: 10, 250ms, 1.5s, 2m, 1h"),
    (
        "--kill-after",
        "TIME",
        "text",
        LIFE,
        "from there to SIGKILL of the whole cgroup (default 5s)",
    ),
    ("--name", "NAME", "text", LIFE, "name of the cgroup (default: the command's, with a number)"),
    ("--parent", "PATH", "text", LIFE, "make the cgroup in this one (default /climits)"),
    ("--root", "PATH", "text", LIFE, "use this existing cgroup; it is not removed"),
    *SYSTEMD,
    ("--keep", None, "switch", LIFE, "leave the cgroup and what still runs in it"),
    ("--user", "USER", "text", LIFE, "run as this user, name or number"),
    ("--group", "GROUP", "text", LIFE, "run as this group, name or number"),
    ("--chdir", "DIR", "text", LIFE, "change to this directory first"),
    ("--env", "K=V", "list", LIFE, "set a variable; may be repeated"),
    ("--clear-env", None, "switch", LIFE, "start from an empty environment"),
    ("--nice", "N", "int", LIFE, "scheduling priority, -20 to 19"),
    ("--oom-score-adj", "N", "int", LIFE, "-1000 to 1000: whom the OOM killer takes first"),
    ("--json", "FILE", "text", TELLING, "write the whole result to FILE, - for standard output"),
    ("--json-fd", "N", "int", TELLING, "write the whole result to this open descriptor"),
    ("--record", "FILE", "text", TELLING, "record usage and events there, for climits report"),
    ("--quiet", None, "switch", TELLING, "no summary line"),
    NO_HISTORY,
    ("--explain", None, "switch", TELLING, "print the limits and the plan, and do nothing"),
    ("--verbose", None, "switch", TELLING, "tell each thing that climits does"),
)

RESTART, ALARMS = "restarts", "alarms"

_NOT_SUPERVISED = ("--timeout", "--kill-after", "--keep")

SUPERVISE: tuple[Option, ...] = (
    *(o for o in RUN if o[3] == LIMITS or (o[3] == LIFE and o[0] not in _NOT_SUPERVISED)),
    ("--config", "FILE", "text", RESTART, "supervise the programs of this file (-c FILE)"),
    ("--check", None, "switch", RESTART, "check the file and do nothing"),
    (
        "--restart",
        "WHEN",
        "text",
        RESTART,
        "on-oom (default), on-failure, always or never",
    ),
    ("--restart-delay", "TIME", "text", RESTART, "before the first restart (default 0); then "
     "100ms or this, doubled each time"),
    ("--restart-delay-max", "TIME", "text", RESTART, "the longest delay (default 60s)"),
    ("--healthy-after", "TIME", "text", RESTART, "a run of this length starts the delays anew "
     "(default 10s)"),
    ("--max-oom-restarts", "N/PERIOD", "text", RESTART, "after OOM kills (default 10/1m)"),
    ("--max-restarts", "N/PERIOD", "text", RESTART, "after other ends (default 10/1m)"),
    ("--grow", "F", "float", RESTART, "after an OOM kill, F times the memory"),
    ("--grow-max", "SIZE", "text", RESTART, "but never more than this"),
    ("--stop-signal", "SIGNAL", "text", RESTART, "by which it is asked to end, a name or a number "
     "(default TERM)"),
    ("--stop-timeout", "TIME", "text", RESTART, "from there to SIGKILL of all of it (default 10s)"),
    ("--child-oom", "ACTION", "text", RESTART, "a child was OOM-killed: ignore (default) or "
     "restart"),
    ("--alarm", "SPEC", "list", ALARMS, "SOURCE[=LEVEL][,ACTION=VALUE...], such as "
     "threshold=80%%,signal=TERM; may be repeated"),
    ("--socket", "PATH", "text", TELLING, "listen for climits ctl there"),
    ("--web", "ADDRESS", "text", TELLING, "serve a status page there, such as 127.0.0.1:8088"),
    ("--metrics", "ADDRESS", "text", TELLING, "serve metrics to Prometheus there, such as "
     "127.0.0.1:9465"),
    ("--record", "FILE", "text", TELLING, "record usage and events there, for climits report"),
    ("--log-format", "FORM", "text", TELLING, "of events on standard error: text or json"),
    NO_HISTORY,
)  # fmt: skip

#: Short spellings of what is typed most.
SHORT = {
    "-0": "--null", "-a": "--arg-file", "-c": "--config", "-j": "--jobs", "-k": "--keep-order",
    "-o": "--output", "-r": "--recursive",
}  # fmt: skip


class HelpRequested(Exception):
    """-h or --help stood among the options."""


def parse(
    options: "tuple[Option, ...]", argv: list[str], *, anywhere: bool = False
) -> "tuple[dict[str, Any], list[str]]":
    """Read options up to ``--`` or the first word that is none.

    Args:
        options: those of the command.
        argv: the words behind the command's name.
        anywhere: options may stand behind other words too, up to ``--``.

    Returns:
        ({name with underscores: value}, the words that are left).

    Raises:
        InvalidValueError: an unknown option, a missing value, or one of the wrong kind.
        HelpRequested: -h or --help.
    """
    kinds = {option[0]: option[2] for option in options}
    values: dict[str, Any] = {}
    plain: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            break
        if word[:1] != "-" or word == "-":
            plain.append(word)
            if anywhere:
                continue
            break
        flag, equals, value = word.partition("=")
        if SHORT.get(flag) in kinds:
            flag = SHORT[flag]
        kind = kinds.get(flag)
        if kind is None:
            if word in ("-h", "--help"):
                raise HelpRequested
            raise _unknown(flag, kinds)
        name = flag[2:].replace("-", "_")
        if kind == "switch":
            if equals:
                raise InvalidValueError(f"{flag} takes no value", value=value)
            values[name] = True
            continue
        if not equals:
            following = next(words, None)
            if following is None:
                raise InvalidValueError(f"{flag} needs a value", hint="see --help")
            value = following
        if kind == "list":
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidValueError(f"{flag} is given twice", value=value)
        else:
            values[name] = value if kind == "text" else _number(flag, value, kind)
    return values, [*plain, *words]


def _number(flag: str, text: str, kind: str) -> "int | float":
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        raise InvalidValueError(
            f"{flag[2:]}: {text or 'empty'}: not a {'whole ' if kind == 'int' else ''}number",
            value=text,
            hint=f"write it like {flag} {'10' if kind == 'int' else '1.5'}",
        ) from None


def _unknown(flag: str, known: "dict[str, str]") -> InvalidValueError:
    import difflib  # 4 ms, for errors only

    close = difflib.get_close_matches(flag, known, 1, 0.75)
    hint = f"did you mean {close[0]}?" if close else "see --help; the command goes after --"
    return InvalidValueError(f"unknown option {flag}", value=flag, hint=hint)

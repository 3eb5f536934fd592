"""`climits setup`: prepare this host, or a user of it, for climits."""

import os
import sys
import textwrap

from ..errors import CgroupPermissionError, InvalidValueError, UnsupportedError
from ..units import quoted
from .main import FAILED
from .options import CGROUP, TELLING, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..observe.setup.host import Host
    from ..observe.setup.steps import Step

OPTIONS: tuple[Option, ...] = (
    ("--user", "USER", "text", CGROUP, "for this user, name or number (default: for all)"),
    ("--apply", None, "switch", CGROUP, "do it, as root; what is done already stays as it is"),
    ("--undo", None, "switch", CGROUP, "undo what --apply and --mount did, and nothing else"),
    (
        "--mount", "LAYOUT", "text", CGROUP,
        "mount what is missing: v2, hybrid, v1, or v1:memory,pids",
    ),
    ("--only", "STEP", "text", CGROUP, "this step only: subtree, the cgroup of USER's own"),
    ("--quiet", None, "switch", TELLING, "print errors only"),
)  # fmt: skip
USAGE = (
    "climits setup [--user USER [--only STEP]] [--apply | --undo]\n"
    "       climits setup --mount LAYOUT [--undo]"
)
EPILOG = """\
Without --apply or --undo nothing is changed: each step is printed with its
reason, the commands that do it, and whether it is done. What --apply changes is
noted in /var/lib/climits and /run/climits, so that --undo can take it back.

--mount mounts cgroup filesystems on /sys/fs/cgroup where no init system does,
such as in a rescue shell. With --undo it unmounts those of LAYOUT that it has
mounted.

exit status: 0; 1 if --undo had to leave something as it is

examples:
  climits setup --user alice
  climits setup --user alice --apply
  climits setup --undo
  climits setup --mount v2
  climits setup --mount v1:memory,pids
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

_WIDTH = 96
_INDENT = 10


def main(values: "dict[str, Any]", words: list[str]) -> int:
    """Tell, do or undo."""
    if words:
        raise InvalidValueError(
            f"setup takes no arguments: {words[0]}", hint="see climits setup --help"
        )
    apply, undo, layout = values.get("apply"), values.get("undo"), values.get("mount")
    if apply and undo:
        raise InvalidValueError("--apply and --undo do opposite things", hint="give one of them")
    if layout is not None and values.get("user") is not None:
        raise InvalidValueError("--mount is for all users", hint="leave --user out")
    only = values.get("only")
    if only is not None:
        _check_only(only, values)
    quiet = bool(values.get("quiet"))
    if undo:
        return _undo(values.get("user"), layout, quiet)
    if layout is not None:
        return _mount(layout, quiet)
    from ..observe.setup.host import this_host

    host = this_host(values.get("user"))
    if apply:
        _need_root("--apply")
        return _apply(host, only, quiet)
    _tell(_steps(host, only), host.user.name if host.user else "", only)
    return 0


def _check_only(only: str, values: "dict[str, Any]") -> None:
    from ..observe.setup.steps import SUBTREE

    if only != SUBTREE:
        raise InvalidValueError(
            f"only: {quoted(only)}: not a step that can be taken alone", value=only,
            hint=f"write --only {SUBTREE}",
        )  # fmt: skip
    if values.get("undo") or values.get("user") is None:
        raise InvalidValueError(
            "--only is for what is told or applied for one user",
            hint=f"write --user USER --only {SUBTREE}, without --undo",
        )


def _steps(host: "Host", only: "str | None") -> "list[Step]":
    from ..observe.setup.steps import owned_subtree, steps

    if only is not None and host.user is not None:
        return owned_subtree(host, host.user)
    return steps(host)


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise CgroupPermissionError(
            f"{what} needs root: nothing was changed", hint="run it with sudo, or as root"
        )


def _apply(host: "Host", only: "str | None", quiet: bool) -> int:
    from ..observe.setup.journal import Journal
    from ..observe.setup.steps import BY_HAND
    from ..observe.setup.work import take

    user = host.user.name if host.user else ""
    with Journal() as journal:
        todo = _steps(host, only)
        count = 0
        for step in take(todo, journal, user):
            count += 1
            if not quiet:
                sys.stdout.write("\n".join(_head("done", step.title)) + "\n")
                if step.remark:
                    sys.stdout.write("\n".join(_wrapped("note", step.remark)) + "\n")
                sys.stdout.flush()
    left = [step for step in todo if step.state == BY_HAND]
    if quiet:
        return 0
    if not count:
        sys.stdout.write("nothing to do\n")
    for step in left:
        sys.stdout.write("\n".join(_lines(step)) + "\n")
    return 0


def _undo(name: "str | None", layout: "str | None", quiet: bool) -> int:
    from ..observe.setup.host import find_user
    from ..observe.setup.journal import Journal
    from ..observe.setup.work import take_back

    user = None if name is None else find_user(name).name
    if layout is not None:
        from ..observe.setup.mounts import parse

        parse(layout)
    _need_root("--undo")
    status, count = 0, 0
    with Journal() as journal:
        for undone in take_back(journal, user, layout=layout):
            count += 1
            if undone.left:
                status = 1
                sys.stderr.write(f"climits: {undone.left}\n")
            elif not quiet:
                sys.stdout.write(f"undone    {undone.what}\n")
                sys.stdout.flush()
    if not count and not quiet:
        sys.stdout.write("nothing to undo\n")
    return status


def _mount(layout: str, quiet: bool) -> int:
    from ..cgroup import systemd
    from ..observe.setup.journal import Journal
    from ..observe.setup.mounts import missing, parse
    from ..observe.setup.steps import NEEDED, Step
    from ..observe.setup.work import take

    parse(layout)
    if systemd.running():
        raise UnsupportedError(
            "--mount: systemd mounts the cgroup filesystems here: nothing was changed",
            hint="systemd.unified_cgroup_hierarchy=1 (or 0) on the kernel's command line chooses",
        )
    _need_root("--mount")
    with Journal() as journal:
        todo = [
            Step(title=str(change), why="", commands=(), changes=(change,), state=NEEDED)
            for change in missing(layout)
        ]
        count = 0
        for step in take(todo, journal, ""):
            count += 1
            if not quiet:
                sys.stdout.write(f"done      {step.title}\n")
                sys.stdout.flush()
    if not count and not quiet:
        sys.stdout.write("nothing to do\n")
    return 0 if count or not todo else FAILED


# ---- telling -------------------------------------------------------------------------------


def _tell(todo: "list[Step]", user: str, only: "str | None" = None) -> None:
    from ..observe.setup.steps import BY_HAND, NEEDED

    step_words = f" --only {only}" if only else ""
    for step in todo:
        sys.stdout.write("\n".join(_lines(step)) + "\n")
    needed = sum(step.state == NEEDED for step in todo)
    by_hand = sum(step.state == BY_HAND for step in todo)
    command = f"climits setup{f' --user {user}' if user else ''}{step_words} --apply"
    if needed:
        last = f"as root, {command} does what is needed"
    elif by_hand:
        last = "nothing to do but what is left to you"
    else:
        last = "nothing to do"
    sys.stdout.write(f"\n{last}\n" if todo else f"{last}\n")


def _lines(step: "Step") -> list[str]:
    lines = _head(step.state, step.title)
    if step.state == "done":
        return lines
    lines += _wrapped("why", step.why)
    if step.remark:
        lines += _wrapped("note", step.remark)
    if step.commands:
        lines.append(f"{'':{_INDENT}}by hand:")
    # Commands are to be copied: never wrapped.
    return [*lines, *(f"{'':{_INDENT + 2}}{command}" for command in step.commands)]


def _head(state: str, title: str) -> list[str]:
    return textwrap.wrap(
        f"{state:{_INDENT}}{title}", _WIDTH, subsequent_indent=" " * _INDENT,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{'':{_INDENT}}{label:6}",
        subsequent_indent=" " * (_INDENT + 6), break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip

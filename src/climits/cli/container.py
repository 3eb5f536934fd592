"""`climits container`: a command in namespaces of its own, under limits."""

import _signal  # `signal` wraps it in enums, at 2.5 ms
import os
import sys

from ..errors import InvalidValueError
from ..program.container import Container
from .options import CONTAINER, RUN, Option
from .run import run_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    *RUN,
    ("--rootfs", "DIR", "text", CONTAINER, "a directory that becomes its root; without one it "
     "sees the host's tree"),
    ("--overlay", None, "switch", CONTAINER, "writes go to memory, charged to the limit, and "
     "never to DIR"),
    ("--overlay-dir", "DIR", "text", CONTAINER, "writes go to this directory"),
    ("--bind", "SRC:DST", "list", CONTAINER, "show a file or directory inside; SRC:DST:ro for "
     "reading only"),
    ("--tmpfs", "DST[:SIZE]", "list", CONTAINER, "an empty place in memory, charged to the limit"),
    ("--read-only", None, "switch", CONTAINER, "its root cannot be written"),
    ("--hostname", "NAME", "text", CONTAINER, "its host name"),
    ("--network", "KIND", "text", CONTAINER, "none (loopback alone, the default) or host"),
    ("--share", "LIST", "text", CONTAINER, "namespaces to share with the host: pid,net,ipc,uts,"
     "cgroup,user"),
    ("--init", None, "switch", CONTAINER, "a process 1 that reaps orphans; the default unless the "
     "command is a shell"),
    ("--no-init", None, "switch", CONTAINER, "the command itself is process 1"),
    ("--cap-add", "NAME", "list", CONTAINER, "a capability it keeps, or ALL; may be repeated"),
    ("--cap-drop", "NAME", "list", CONTAINER, "a capability it gives up, or ALL"),
    ("--no-new-privs", "YES|NO", "text", CONTAINER, "setuid files give nothing (default yes)"),
    ("--seccomp", "PROFILE", "text", CONTAINER, "system calls refused: default, none, or a file"),
    ("--device", "PATH", "list", CONTAINER, "a device file it may use, such as /dev/fuse"),
    ("--bundle", "DIR", "text", CONTAINER, "run the config.json of an OCI bundle"),
    ("--ignore-unsupported", None, "switch", CONTAINER, "run a bundle even so, and name what is "
     "left out"),
)  # fmt: skip
USAGE = "climits container [OPTIONS] [--] [COMMAND [ARGUMENTS]]"
EPILOG = """\
New mount, process, host name, IPC, network, cgroup and user namespaces around a
command, sh unless one is given. Root inside is root of its own user namespace
and keeps few capabilities; an ordinary user becomes root inside.

examples:
  climits container --memory 50M
  climits container --memory 200M --rootfs ./debian --overlay -- apt list
  climits container --bundle ./bundle
"""

__all__ = ["EPILOG", "OPTIONS", "USAGE", "main"]

#: option: argument of Container, for those that are passed on as they are.
_PLAIN = {
    "rootfs": "rootfs", "overlay": "overlay", "overlay_dir": "overlay_dir", "bind": "binds",
    "tmpfs": "tmpfs", "read_only": "read_only", "hostname": "hostname", "network": "network",
    "cap_add": "cap_add", "cap_drop": "cap_drop", "seccomp": "seccomp", "device": "devices",
}  # fmt: skip


def main(values: "dict[str, Any]", command: list[str]) -> int:
    """Run the command inside; the exit status is its own."""
    if "bundle" in values:
        return _run_bundle(values, command)
    return _run(values, command or ["sh"], make_container(values))


def _run(values: "dict[str, Any]", command: list[str], container: Container) -> int:
    """Run it; a shell that somebody types into gets the terminal."""
    typed = all(word.startswith("-") and "c" not in word for word in command[1:])
    if os.isatty(0) and container.is_shell(command) and typed:
        # Inside it could not see that it is in the background: so stop here until it is not.
        while os.tcgetpgrp(0) != os.getpgrp():
            os.killpg(0, _signal.SIGTTIN)
        container.takes_terminal = True
    try:
        return run_command(values, command, container)
    finally:
        if container.takes_terminal:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTTOU])
            os.tcsetpgrp(0, os.getpgrp())


def make_container(values: "dict[str, Any]") -> Container:
    """The container that the options describe.

    Raises:
        InvalidValueError: see the text.
    """
    if values.get("init") and values.get("no_init"):
        raise InvalidValueError("--init and --no-init do not go together", hint="choose one")
    privileges = values.get("no_new_privs", "yes")
    if privileges not in ("yes", "no"):
        raise InvalidValueError(
            f"no-new-privs: {privileges}: unknown", value=privileges, hint="write yes or no"
        )
    options = {argument: values[name] for name, argument in _PLAIN.items() if name in values}
    if "share" in values:
        options["share"] = [word for word in values["share"].split(",") if word]
    if values.get("init") or values.get("no_init"):
        options["init"] = bool(values.get("init"))
    return Container(no_new_privs=privileges == "yes", **options)


def _run_bundle(values: "dict[str, Any]", command: list[str]) -> int:
    from ..program.bundle import read_bundle

    others = [
        name for name in (*_PLAIN, "share", "init", "no_init", "no_new_privs") if name in values
    ]
    if others:
        flag = "--" + others[0].replace("_", "-")
        raise InvalidValueError(
            f"{flag} does not go with --bundle", hint="its config.json says what is around it"
        )
    argv, options, left_out = read_bundle(values["bundle"], bool(values.get("ignore_unsupported")))
    for text in left_out:
        sys.stderr.write(f"climits: left out: {text}\n")
    container, env = options.pop("container"), options.pop("env")
    # Its environment is the whole one; what the command line says counts for more.
    pairs = [] if values.get("clear_env") else [f"{name}={text}" for name, text in env.items()]
    values = {
        "chdir": options.pop("cwd"), **options, **values,
        "env": [*pairs, *values.get("env", [])], "clear_env": True,
    }  # fmt: skip
    return _run(values, command or argv, container)

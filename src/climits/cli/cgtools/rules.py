"""Where /etc/cgrules.conf puts a process, for cgexec and cgclassify without -g.

A line is ``USER[:COMMAND] CONTROLLERS DESTINATION``.  USER is a name, ``@GROUP``, ``*``, or ``%``
for the one above.  The first that fits counts, with the ``%`` lines that follow it.

Source: cgrules.conf(5).
"""

import os

from ...errors import CgroupGoneError
from ...linux.proc import command_name, status
from ...program.identity import group_name, user_name
from . import groups
from .args import Spec
from .status import RULES, GiveUp

FILE, FOLDER = "/etc/cgrules.conf", "/etc/cgrules.d"


class Subject:
    """The process that rules are looked up for.

    Attributes:
        pid, uid, gid: of it.
        names: what its command may be called in a rule: the name, and the path.
    """

    def __init__(self, pid: int, uid: int, gid: int, names: tuple[str, ...]) -> None:
        self.pid, self.uid, self.gid, self.names = pid, uid, gid, names


def for_command(command: str) -> list[Spec]:
    """The cgroups for a command that this process is about to become; may be empty."""
    names = (os.path.basename(command), command)
    return _specs(Subject(os.getpid(), os.getuid(), os.getgid(), names))


def for_process(pid: int) -> list[Spec]:
    """The cgroups for a running process; may be empty.

    Raises:
        CgroupGoneError: there is no such process.
    """
    facts = status(pid)
    if "Uid" not in facts:
        raise CgroupGoneError(f"no such process: {pid}")
    names = [command_name(pid) or ""]
    try:
        names.append(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        pass  # not ours to see: then the name has to do
    return _specs(
        Subject(pid, int(facts["Uid"].split()[1]), int(facts["Gid"].split()[1]), tuple(names))
    )


def _specs(subject: Subject) -> list[Spec]:
    found: list[Spec] = []
    matched = False
    for path, number, line in _lines():
        words = line.split()
        if len(words) < 3:
            raise GiveUp(
                RULES, f"{path}: line {number}: a rule has a user, controllers and a destination"
            )
        if words[0] == "%":
            if matched:
                found.append(_spec(subject, words))
            continue
        if matched:
            break
        matched = _matches(subject, words[0])
        if matched:
            found.append(_spec(subject, words))
    return found


def _lines() -> "list[tuple[str, int, str]]":
    """(file, line number, text) of every rule."""
    paths = [FILE]
    if os.path.isdir(FOLDER):
        paths += [f"{FOLDER}/{name}" for name in sorted(os.listdir(FOLDER))]
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                for number, line in enumerate(file, 1):
                    text = line.partition("#")[0].strip()
                    if text:
                        found.append((path, number, text))
        except OSError as e:
            raise GiveUp(
                RULES,
                f"cannot read the rules: {path}: {e.strerror}; hint: name a cgroup with "
                "-g CONTROLLERS:PATH",
            ) from None
    return found


def _matches(subject: Subject, who: str) -> bool:
    user, _, command = who.partition(":")
    if command and command not in subject.names:
        return False
    if user == "*":
        return True
    if user.startswith("@"):
        return _is_member(subject, user[1:])
    return user in (user_name(subject.uid), str(subject.uid))


def _is_member(subject: Subject, group: str) -> bool:
    import grp

    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return False
    return subject.gid == entry.gr_gid or user_name(subject.uid) in entry.gr_mem


def _spec(subject: Subject, words: list[str]) -> Spec:
    path = _expand(subject, words[2])
    spec = Spec(tuple(words[1].split(",")), path)
    if path != words[2]:  # a template: its cgroup is made when it is first needed
        for hierarchy, controllers in groups.hierarchies(spec).items():
            groups.make(hierarchy, groups.clean(path), controllers)
    return spec


def _expand(subject: Subject, text: str) -> str:
    values = {
        "u": str(subject.uid),
        "U": user_name(subject.uid),
        "g": str(subject.gid),
        "G": group_name(subject.gid),
        "p": str(subject.pid),
        "P": subject.names[0] or str(subject.pid),
    }
    out, at = "", 0
    while at < len(text):
        two = text[at : at + 2]
        if two == "\\%":
            out, at = out + "%", at + 2
        elif two[:1] == "%" and two[1:] in values:
            out, at = out + values[two[1:]], at + 2
        else:
            out, at = out + text[at], at + 1
    return out

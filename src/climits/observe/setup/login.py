"""What root executes at each login: whether nobody else can change it, and how a unit spells it."""

import os
import re
import stat


def unit_word(text: str) -> str:
    """A path as one word of a command in a unit.

    Source: systemd.service(5) (Command Lines), systemd.unit(5) (Specifiers)
    """
    escaped = re.sub(r"[\s\"'\\]", lambda found: f"\\x{ord(found[0]):02x}", text, flags=re.ASCII)
    return escaped.replace("%", "%%")


def open_to_others(path: str) -> "str | None":
    """What on the way to a path another user than root may change; None if there is nothing.

    A sticky directory, such as /tmp, is as open as others: it may be empty after a boot.
    """
    todo, seen = [os.path.abspath(path), os.path.realpath(path)], set()
    while todo:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            facts = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(facts.st_mode) else None
        except OSError:
            return path
        by_group = stat.S_IWGRP if facts.st_gid != 0 else 0
        if facts.st_uid != 0 or (link is None and facts.st_mode & (stat.S_IWOTH | by_group)):
            return path
        if link is not None:
            todo.append(os.path.normpath(os.path.join(os.path.dirname(path), link)))
        todo.append(os.path.dirname(path))
    return None

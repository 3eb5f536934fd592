"""Where climits makes cgroups on this host, and where those that it made can be.

Where systemd runs: below a unit that it has delegated to us, or a scope that it makes for us.
Elsewhere /climits for root, and for an ordinary user what was given to them.
"""

import errno
import os
import time

from ..errors import CgroupExistsError, CgroupPermissionError, UnsupportedError
from ..linux.proc import cgroup_paths
from . import files, systemd
from .layout import Hierarchy, current
from .placement import HOME

_ASK_SYSTEMD = "leave out --no-systemd: systemd may give it"


def owned_home(uid: int) -> str:
    """The cgroup that an administrator gives to an ordinary user on cgroup v1 (climits setup)."""
    return f"{HOME}/user-{uid}"


def default_parent(hierarchies: list[Hierarchy], *, lasting: bool = False) -> str:
    """The cgroup below which we may make others, in all of the hierarchies.

    Args:
        hierarchies: those that a cgroup is to span.
        lasting: what is made there is to outlive this process.

    Raises:
        CgroupPermissionError: there is none; the hint says the ways out.
        CgroupError: systemd was asked for one, and could not.
    """
    lead = _lead(hierarchies)
    if systemd.running() and (os.geteuid() == 0 or lead.delegates):
        from . import scopes

        if lasting:  # whatever unit we are in may end before it
            return scopes.enter_lasting(lead) + HOME
        return (systemd.delegated_unit(lead) or _enter_scope(lead)) + HOME
    if systemd.wishes.unit or systemd.wishes.slice:
        raise UnsupportedError(
            "--unit and --slice: no systemd here makes a scope with a memory limit for us",
            hint="leave them out; climits doctor tells what can be done",
        )
    if os.geteuid() == 0:
        return HOME
    for candidate in _of_user():
        if all(_may_make(h.directory_path(candidate)) for h in hierarchies):
            return candidate
    raise CgroupPermissionError(
        "no right to make a cgroup: neither /climits nor the cgroup of this process is ours",
        errno=errno.EACCES,
        hint=files.PERMISSION_HINT if systemd.wishes.use else _ASK_SYSTEMD,
    )


def _enter_scope(lead: Hierarchy) -> str:
    """A scope of our own; one of that name, in which only a dead owner's programs run, is ended."""
    from . import scopes

    try:
        return scopes.enter_scope(lead)
    except CgroupExistsError:
        from .leftovers import sweep

        swept = [
            left
            for unit in systemd.units_with(lead, HOME[1:])
            if unit.endswith(f"/{scopes.scope_name()}")
            for left in sweep(current(), unit + HOME)
        ]
        if not swept:
            raise
    for _ in range(50):  # systemd takes a moment to see that it is empty
        try:
            return scopes.enter_scope(lead)
        except CgroupExistsError:
            time.sleep(0.1)
    return scopes.enter_scope(lead)


def foreseen_parent(hierarchies: list[Hierarchy]) -> str:
    """What default_parent would give, with nothing done yet; a guess where systemd is asked."""
    lead = _lead(hierarchies)
    if systemd.running() and (os.geteuid() == 0 or lead.delegates):
        from . import scopes

        return (systemd.delegated_unit(lead) or scopes.foreseen_scope()) + HOME
    return default_parent(hierarchies)


def homes() -> list[str]:
    """Where cgroups with a plain name may be: first those of this user, /climits before them."""
    own, others = _found()
    return own + others


def own_homes() -> list[str]:
    """Where this user's may be: whom they were left by, this user may end."""
    return _found()[0]


def _found() -> tuple[list[str], list[str]]:
    """This user's, and all others'."""
    # An ordinary user's are made below the cgroup they are in, too.
    own = [HOME, *(_of_user()[1:] if os.geteuid() else ())]
    others: list[str] = []
    if systemd.running():
        lead = _lead(current().hierarchies)
        for unit in systemd.units_with(lead, HOME[1:]):
            try:
                owner = os.stat(lead.directory_path(unit)).st_uid
            except OSError:
                continue  # gone meanwhile
            (own if owner == os.geteuid() else others).append(unit + HOME)
    return list(dict.fromkeys(own)), others


def _lead(hierarchies: list[Hierarchy]) -> Hierarchy:
    """The hierarchy that decides: memory's, or the first."""
    return next((h for h in hierarchies if "memory" in h.controllers), hierarchies[0])


def _of_user() -> list[str]:
    candidates = [HOME, owned_home(os.geteuid())]
    try:
        # One of another cgroup namespace has no place here.
        own = {path for path in cgroup_paths().values() if ".." not in path.split("/")}
    except OSError:
        return candidates
    # What we stepped into a leaf of is the one that is ours.
    own = {path.removesuffix(f"/{systemd.LEAF}") or "/" for path in own}
    return candidates + sorted((p.rstrip("/") + HOME for p in own), key=len, reverse=True)


def _may_make(path: str) -> bool:
    if not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.access(path, os.W_OK | os.X_OK)

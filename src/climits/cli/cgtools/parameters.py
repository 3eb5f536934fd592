"""Reading and writing parameters of one cgroup, by the names of their files."""

import errno

from ...cgroup import translate
from ...cgroup.files import Directory
from ...cgroup.layout import Hierarchy
from ...cgroup.translate import LIMIT, MEMSW, kernel_size
from ...errors import (
    CgroupError,
    CgroupGoneError,
    ClimitsError,
    InvalidValueError,
    LimitTooLowError,
    UnsupportedError,
)
from ...records import MemoryLimits
from ...units import UNLIMITED
from . import groups
from .status import INVALID, NO_PARAMETER, NOT_MOUNTED, REFUSED, GiveUp, status_of, tell


def controller_of(name: str) -> str:
    """The controller of a parameter: what stands before the first point.

    Raises:
        InvalidValueError: none does, or it is no name of a file.
    """
    controller, point, rest = name.partition(".")
    if not controller or not point or not rest or "/" in name:
        raise InvalidValueError(
            f"not a parameter: {name!r}", value=name, hint="write it like memory.limit_in_bytes"
        )
    return controller


class Place:
    """One cgroup of a hierarchy, opened.

    Attributes:
        hierarchy, directory: which.
        path: as it was written.
    """

    __slots__ = ("directory", "hierarchy", "path")

    def __init__(self, hierarchy: Hierarchy, directory: Directory, path: str) -> None:
        self.hierarchy, self.directory, self.path = hierarchy, directory, path

    @classmethod
    def of(cls, controller: str, path: str) -> "Place":
        """The cgroup of that path in a controller's hierarchy.

        Raises:
            UnsupportedError: the controller is not mounted.
            CgroupGoneError: there is no such cgroup, or the controller was not handed down to it.
        """
        hierarchy = groups.find(controller)
        directory = groups.open_group(hierarchy, path)
        groups.check_controllers(directory, hierarchy, (controller,))
        return cls(hierarchy, directory, path)

    def read(self, name: str) -> str:
        """What a file holds, without the final line feed; "" for one that cannot be read.

        Raises:
            CgroupError: there is none, or no right to read it.
        """
        try:
            data = self.directory.read(name)
        except CgroupGoneError:
            raise
        except CgroupError as e:
            if e.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
                raise
            return ""  # one that is only written, or has nothing to say now
        return data.decode(errors="surrogateescape").removesuffix("\n")

    def explain(self, name: str, error: CgroupError) -> None:
        """Give an error a hint, where the likely cause is known."""
        if error.hint is not None or isinstance(error, CgroupGoneError):
            return
        if error.errno == errno.ENOENT:
            here = self.hierarchy.version_name
            if translate.can_read(name, here=here):
                other = "1" if here == translate.V2 else "2"
                error.hint = (
                    f"its controller is on cgroup {here}; cgxget and cgxset -{other} translate"
                )
            return
        error.hint = _HINTS.get((name, error.errno or 0))
        if error.hint is None:
            from ...cgroup.causes import likely_cause
            from ...cgroup.placement import Part

            part = Part(self.hierarchy, self.directory, made=False)
            error.hint = likely_cause(part, name, error.errno or 0)


# ---- writing -------------------------------------------------------------------------------

_IN_USE = "more than that is in use and cannot be reclaimed"
_HINTS = {
    (LIMIT, errno.EINVAL): f"a size such as 64M, not above {MEMSW}: give both in one call",
    (MEMSW, errno.EINVAL): f"a size such as 64M, not below {LIMIT}: give both in one call",
    (LIMIT, errno.EBUSY): _IN_USE,
    (MEMSW, errno.EBUSY): _IN_USE,
}


def check_value(name: str, text: str) -> None:
    """Refuse a number that the kernel's own parser would take for a small one.

    Raises:
        InvalidValueError: 2**64 or more; 18446744073709551616 would be 0.
    """
    if translate.overflows(text):
        raise InvalidValueError(
            f"{name}: {text}: more than the kernel can hold",
            value=text,
            hint="for no limit write -1 on cgroup v1, max on v2",
        )


def write_all(place: Place, writes: "list[tuple[str, str]]") -> None:
    """Write parameters in the order given; memory and memsw limits as the kernel wants them.

    Raises:
        CgroupError: the kernel refused one.
    """
    pair = dict(writes)
    both = LIMIT in pair and MEMSW in pair and _limits_of(pair)
    done = False
    for name, text in writes:
        try:
            if not (both and name in (LIMIT, MEMSW)):
                place.directory.write(name, text)
            elif not done:
                _set_both(place, *both)
                done = True
        except CgroupError as e:
            place.explain(name, e)
            raise


def _limits_of(pair: "dict[str, str]") -> "tuple[int | float, int | float] | None":
    """Both limits as numbers; None where the kernel had better say what it thinks of the text."""
    limit, total = kernel_size(pair[LIMIT]), kernel_size(pair[MEMSW])
    if limit is None or total is None:
        return None
    return limit, total


def _set_both(place: Place, limit: "int | float", total: "int | float") -> None:
    if total < limit:
        raise CgroupError(
            f"{place.directory.path}: {MEMSW} counts memory and swap together: it cannot be lower "
            f"than {LIMIT}",
            path=place.directory.path,
            value=total,
            errno=errno.EINVAL,
        )
    swap = UNLIMITED if total == UNLIMITED else total - limit
    memory = place.hierarchy.memory(place.directory)
    memory.set(MemoryLimits(max=limit, swap_max=swap))


def write_error(tool: str, error: ClimitsError) -> GiveUp:
    """The end of a tool that could not write a parameter."""
    if isinstance(error, UnsupportedError):
        status = NOT_MOUNTED
    elif isinstance(error, InvalidValueError):
        status = INVALID
    elif isinstance(error, CgroupGoneError) or error.errno == errno.ENOENT:
        status = NO_PARAMETER
    elif isinstance(error, LimitTooLowError):
        status = REFUSED
    else:
        status = status_of(error)
    return GiveUp(status, f"{tool}: cgroup modify error: {tell(error)}")

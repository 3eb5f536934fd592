"""What can be asked for without a cgroup, and what cannot."""

from ...cgroup.limits import Limits, whole_of
from ...errors import InvalidValueError
from ...records import MemoryLimits
from ...units import UNLIMITED, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..spec import Size, Spec

_HINT = "of the limits only memory can be polled; what the kernel keeps needs a cgroup"


def take(spec: "Spec", memory: "Size | None", on_oom: str, **refused: object) -> None:
    """Give a spec that is to be polled its limit.

    Args:
        spec: whose `enforce` is set, and not to kernel.
        memory: the limit.
        on_oom: kill or kill-group: all of it is killed in either case.
        refused: options that need a cgroup; None where they were not given.

    Raises:
        InvalidValueError: another `enforce` than poll, an option that needs a cgroup, no limit.
    """
    if spec.enforce != "poll":
        raise InvalidValueError(
            f"enforce: {spec.enforce}: unknown", value=spec.enforce, hint="write kernel or poll"
        )
    if on_oom not in ("kill", "kill-group"):
        refused["on_oom"] = on_oom
    for name, value in refused.items():
        if value is not None:
            raise _needs_cgroup(name)
    whole = whole_of(None) if isinstance(memory, str) and memory.endswith("%") else None
    size = None if memory is None else parse_size(memory, what="memory", whole=whole)
    if size is None or size == UNLIMITED:
        raise InvalidValueError(
            "enforce: poll needs a limit to look at", hint="give memory, such as 60M"
        )
    spec.limits = Limits(MemoryLimits(max=size))
    spec.on_oom, spec.keep, spec.root, spec.name, spec.hierarchies = on_oom, False, None, None, []


def check_command(values: "dict[str, object]") -> None:
    """Refuse the options of a command line that need a cgroup, and that no spec knows of.

    Raises:
        InvalidValueError: there is one.
    """
    for name in ("record", "slice", "unit", "no_systemd"):
        if name in values:
            raise _needs_cgroup(name)


def _needs_cgroup(name: str) -> InvalidValueError:
    """The error for an option that goes not with polling."""
    option = name.replace("_", "-")
    return InvalidValueError(f"{option}: cannot be had with --enforce poll", hint=_HINT)

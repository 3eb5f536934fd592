"""How many may run at once: as many as their limits fit into what there is."""

from ..cgroup.limits import whole_of
from ..errors import InvalidValueError
from ..units import UNLIMITED, format_size, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.limits import Size


def parse_budget(text: "Size", *, what: str = "memory_budget") -> "int | float":
    """Read how much memory may be promised in all.

    Args:
        text: a size; ``%`` is of the limit around us, or of the RAM.
        what: how to call it in an error.

    Returns:
        Bytes, or UNLIMITED.

    Raises:
        InvalidValueError: not a size, or none at all.
    """
    whole = whole_of(None)
    budget = parse_size(text, what=what, whole=whole)
    if budget == 0:
        raise InvalidValueError(f"{what}: {text}: leaves no room for anything", value=text)
    return budget


class Budget:
    """What is promised of a machine's memory and CPUs.

    Each task claims its limit, not what it uses: so they cannot run out together.

    Attributes:
        memory: bytes in all, or UNLIMITED.
        cpus: CPUs in all, or UNLIMITED.
        memory_claimed, cpus_claimed: what is promised now.
    """

    __slots__ = ("cpus", "cpus_claimed", "memory", "memory_claimed")

    def __init__(self, memory: "int | float", cpus: "int | float" = UNLIMITED) -> None:
        self.memory, self.cpus = memory, cpus
        self.memory_claimed: int | float = 0
        self.cpus_claimed: int | float = 0

    def check(self, memory: "int | float", cpus: "int | float" = 0, *, what: str) -> None:
        """Refuse what would wait for ever.

        Args:
            memory: limit, bytes or UNLIMITED.
            cpus: CPUs.
            what: it is about, for the error.

        Raises:
            InvalidValueError: it does not fit even when nothing else runs.
        """
        if memory > self.memory:
            raise InvalidValueError(
                f"{what}: a limit of {format_size(memory)} does not fit into "
                f"{format_size(self.memory)}",
                value=memory,
                hint="lower the limit, or raise the memory budget",
            )
        if cpus > self.cpus:
            raise InvalidValueError(
                f"{what}: {cpus:g} CPUs do not fit into {self.cpus:g}", value=cpus
            )

    def admits(self, memory: "int | float", cpus: "int | float" = 0) -> bool:
        """Whether one more with a limit of so many bytes and CPUs fits beside what is claimed."""
        return (
            self.memory_claimed + memory <= self.memory
            # Halves and tenths of CPUs add up with errors.
            and self.cpus_claimed + cpus <= self.cpus + 1e-6
        )

    def claim(self, memory: "int | float", cpus: "int | float" = 0) -> None:
        """Promise so many bytes and CPUs."""
        self.memory_claimed += memory
        self.cpus_claimed += cpus

    def give_back(self, memory: "int | float", cpus: "int | float" = 0) -> None:
        """Take a promise back."""
        self.memory_claimed -= memory
        self.cpus_claimed -= cpus

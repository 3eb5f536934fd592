"""What stands above and below the rows: the title, the state or a message, and the keys."""

from .lines import Lines, strip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .draw import Piece

_LOOKING = (("Enter", "details"), ("t", "tree/flat"), ("s", "sort"), ("/", "filter"),
            ("p", "pause"), ("?", "help"), ("q", "quit"))  # fmt: skip
_ACTING = (("l", "limit"), ("f", "freeze"), ("u", "thaw"), ("r", "reclaim"), ("k", "kill"),
           ("g", "signal"))  # fmt: skip


class Head(Lines):
    """The lines above the table: two, or more for a long message."""

    lines: "tuple[list[Piece], ...]" = ()

    def draw(self) -> None:
        """Show them."""
        self.show([strip(line, self.size.width) for line in self.lines])


class Keys(Lines):
    """The keys, in one line or two."""

    def draw(self) -> None:
        """Show them."""
        width = self.size.width
        rows = [_keys(_LOOKING), _keys(_ACTING)]
        if self.size.height == 1:
            rows = [[*rows[0], *rows[1]]]
        self.show([strip(row, width) for row in rows])


def _keys(keys: "tuple[tuple[str, str], ...]") -> "list[Piece]":
    out: list[Piece] = [(" ", "")]
    for key, word in keys:
        out += [(key, "key"), (f" {word}  ", "")]
    return out


def in_use() -> "int | None":
    """RAM that is not available for programs, bytes."""
    try:
        with open("/proc/meminfo", "rb") as file:
            lines = dict(line.split(b":") for line in file.read().splitlines())
        total, free = (int(lines[key].split()[0]) for key in (b"MemTotal", b"MemAvailable"))
    except (OSError, ValueError, KeyError):
        return None
    return (total - free) * 1024

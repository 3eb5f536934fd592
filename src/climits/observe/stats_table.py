"""The table of `climits stats`, in as many columns as the terminal has room for."""

from .text import count, printable, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .stats import Row

    #: (heading, what it shows of a row, how soon it is left out: the highest first)
    Column = tuple[str, Callable[[Row], str], int]

#: The part of a line that a name must have room for.
_NAME = 4


def _percent(value: "float | None") -> str:
    return "-" if value is None else f"{value:.1f}"


COLUMNS: "tuple[Column, ...]" = (
    ("OWNER", lambda row: row.owner.runtime or "-", 2),
    ("MEMORY", lambda row: size(row.sample.current), 0),
    ("LIMIT", lambda row: size(row.sample.max), 0),
    ("%", lambda row: _percent(row.memory_percent), 0),
    ("ANON", lambda row: size(row.sample.anon), 4),
    ("FILE", lambda row: size(row.sample.file), 4),
    ("KERNEL", lambda row: size(row.sample.kernel), 6),
    ("SHMEM", lambda row: size(row.sample.shmem), 7),
    ("SWAP", lambda row: size(row.sample.swap), 5),
    ("PEAK", lambda row: size(row.sample.peak), 6),
    ("HITS", lambda row: count(row.sample.limit_hits), 7),
    ("OOM", lambda row: count(row.sample.oom_kill), 1),
    ("PSI%", lambda row: _percent(row.pressure_percent), 3),
    ("CPU%", lambda row: _percent(row.cpu_percent), 1),
    ("PIDS", lambda row: count(row.sample.pids), 2),
)


def lines(rows: "Sequence[Row]", width: "int | None") -> list[str]:
    """The heading and a line for each row.

    Args:
        rows: in the order in which they are shown.
        width: columns of the terminal; None: as many as there are.
    """
    names = ["NAME", *(printable(row.owner.name) for row in rows)]
    table = {heading: [heading, *(show(row) for row in rows)] for heading, show, _ in COLUMNS}
    widths = {heading: max(map(len, cells)) for heading, cells in table.items()}
    longest = max(map(len, names))
    by_need = sorted(COLUMNS, key=lambda column: -column[2])
    shown = [heading for heading, _, _ in COLUMNS]
    room = longest
    if width is not None:
        for heading, _, need in by_need:
            room = width - sum(widths[each] + 2 for each in shown)
            if room >= min(longest, width // _NAME) or not need:
                break
            shown.remove(heading)
            room = width - sum(widths[each] + 2 for each in shown)
        room = max(min(room, longest), 4)
    out = []
    for number, name in enumerate(names):
        cells = [shortened(name, room).ljust(room)]
        for heading in shown:
            cell = table[heading][number]
            side = cell.ljust if heading == "OWNER" else cell.rjust
            cells.append(side(widths[heading]))
        out.append("  ".join(cells).rstrip())
    return out


def shortened(text: str, width: int) -> str:
    """The text, its middle left out where it is too long: both ends tell most."""
    if len(text) <= width:
        return text
    tail = (width - 2) // 2
    return text[: width - 2 - tail] + ".." + text[len(text) - tail :]

"""Facts as lines of text for a terminal."""

import textwrap

from ..units import UNLIMITED, format_size
from ..units import printable as printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Limit = int | float

_WIDTH = 100


def table(rows: "Sequence[Sequence[str]]", *, right: str = "", indent: int = 2) -> list[str]:
    """Lines of a table whose first row is its heading; the last column is wrapped at 100 columns.

    Args:
        rows: of cells, as many in each.
        right: headings of the columns with figures, which stand on the right, joined by spaces.
        indent: columns left empty.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    on_right = [heading in right.split() for heading in rows[0]]
    before = indent + sum(widths[:-1]) + 2 * (len(widths) - 1)
    out = []
    for row in rows:
        cells = [
            cell.rjust(width) if figure else cell.ljust(width)
            for cell, width, figure in zip(row, widths, on_right, strict=True)
        ]
        last = row[-1]
        if before + len(last) > _WIDTH and not on_right[-1]:
            room = max(_WIDTH - before, 24)
            parts = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False)
            cells[-1] = ("\n" + " " * before).join(parts)
        out += [line.rstrip() for line in (" " * indent + "  ".join(cells)).split("\n")]
    return out


def wrapped(text: str, *, indent: int = 0) -> list[str]:
    """A sentence as lines of at most 100 columns, those after the first set in."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def by_id(ids: "Iterable[int | None]") -> str:
    """Hierarchies by their ids: ``hierarchies 0-4,7``."""
    runs: list[list[int]] = []
    for number in sorted(number for number in ids if number is not None):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"hierarch{'y' if text.isdigit() else 'ies'} {text}"


def size(value: "Limit | None") -> str:
    """Bytes for people, ``-`` where there is no figure; round ones are short: 512M, not 512.0M."""
    if value is None:
        return "-"
    text = format_size(value)
    return text[:-3] + text[-1] if text[-3:-1] == ".0" else text


def count(value: "Limit | None") -> str:
    """A number of things: ``12``, ``max``, ``-``."""
    return "-" if value is None else "max" if value == UNLIMITED else str(int(value))


def branch(lasts: "tuple[bool, ...]") -> str:
    """What stands before a line of a tree, given for each level whether its last child is met."""
    if not lasts:
        return ""
    return "".join("   " if last else "│  " for last in lasts[:-1]) + (
        "└─ " if lasts[-1] else "├─ "
    )

"""The columns of `climits top`: which ones fit, and what they show of a row."""

from ...units import UNLIMITED
from ..text import count, printable, size
from . import draw
from .model import SPAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .draw import Piece
    from .model import Row

#: From this part of its limit on a cgroup is marked, and from the second one more strongly.
_NEAR, _AT = 0.8, 0.95
#: From this share of the time lost to memory pressure on it is marked.
_PRESSED = 0.1

#: Columns of the name that others must leave free.
_NAME = 26


class Column:
    """One column.

    Attributes:
        name: that of the order that it can be sorted by, in model.SORTS; bar and trend have none.
        heading: in capitals.
        width: characters.
        is_left: its text stands on the left.
    """

    __slots__ = ("heading", "is_left", "name", "width")

    def __init__(self, name: str, heading: str, width: int, *, is_left: bool = False) -> None:
        self.name, self.heading, self.width, self.is_left = name, heading, width, is_left


#: (name, heading, width), as they stand from the left.
_ALL = (
    ("usage", "USAGE", 7),
    ("limit", "LIMIT", 7),
    ("percent", "%", 4),
    ("bar", "BAR", 10),
    ("trend", "TREND", 8),
    ("anon", "ANON", 7),
    ("file", "CACHE", 7),
    ("swap", "SWAP", 7),
    ("peak", "PEAK", 7),
    ("hits", "HITS", 6),
    ("oom", "OOM", 5),
    ("psi", "PSI%", 5),
    ("cpu", "CPU%", 5),
    ("tasks", "TASKS", 5),
)
#: What each order of model.SORTS is called.
HEADINGS = {name: heading for name, heading, _ in _ALL} | {"name": "CGROUP"}
_ALWAYS = ("usage", "limit", "percent", "bar", "trend", "oom", "psi")
#: What room is used for, the most wanted first: a column, or so much more for one.
_MORE = (
    ("cpu", 0), ("tasks", 0), ("bar", 4), ("trend", 6), ("anon", 0), ("file", 0), ("peak", 0),
    ("swap", 0), ("hits", 0), ("bar", 8), ("trend", 12),
)  # fmt: skip


def fit(width: int) -> list[Column]:
    """The columns for a terminal of that width, the name of the cgroup last."""
    widths = {name: size for name, _, size in _ALL}
    chosen = set(_ALWAYS)
    left = width - sum(widths[name] + 1 for name in chosen)
    for name, more in _MORE:
        cost = more or widths[name] + 1
        if left - cost < _NAME:
            break
        left -= cost
        chosen.add(name)
        widths[name] += more
    out = [
        Column(name, heading, widths[name], is_left=name in ("bar", "trend"))
        for name, heading, _ in _ALL
        if name in chosen
    ]
    return [*out, Column("name", "CGROUP", max(left, 1), is_left=True)]


class Painter:
    """Turns rows into pieces of text.

    Attributes:
        columns: list[Column].
        ascii_only: no block characters.
        total: RAM of the machine, bytes: what a bar without any limit is measured by.
        is_tree: names in a tree; else whole paths.
        is_blinking: counters that stand out do so now.
    """

    def __init__(self, total: int, *, ascii_only: bool = False) -> None:
        self.columns: list[Column] = []
        self.ascii_only, self.total = ascii_only, total
        self.is_tree = True
        self.is_blinking = True

    def heading(self, sort: str, is_reversed: bool) -> "list[Piece]":
        """The line above the rows; the column that they are sorted by is marked."""
        out: list[Piece] = []
        for column in self.columns:
            text = column.heading
            style = "heading"
            if column.name == sort:
                falling = (sort != "name") != is_reversed
                arrow = ("v" if falling else "^") if self.ascii_only else "▼" if falling else "▲"
                text, style = text[: column.width - 1] + arrow, "sorted"
            out += [(_placed(text, column), style), (" ", "heading")]
        return out

    def row(self, row: "Row", tick: int) -> "list[Piece]":
        """One line."""
        out: list[Piece] = []
        for column in self.columns:
            if column.name == "bar":
                out += self._bar(row, column.width)
                continue
            if column.name == "trend":
                out += [(self._trend(row, column.width, tick), "trend"), (" ", "")]
                continue
            if column.name == "name":
                out += self._name(row, column.width)
                continue
            if column.name == "oom":
                text, style = self._oom(row, tick)
            else:
                text, style = _CELLS[column.name](row)
            out += [(_placed(text, column), style), (" ", "")]
        return out

    def _bar(self, row: "Row", width: int) -> "list[Piece]":
        # Brackets stand around those that have a limit of their own.
        whole, now = row.bound(), row.now
        ends = "[]" if row.share() is not None else "  "
        kinds = now.current, now.anon, now.file
        inner = draw.bar(kinds, whole or self.total, width - 2, ascii_only=self.ascii_only)
        return [(ends[0], "dim"), *inner, (ends[1], "dim"), (" ", "")]

    def _trend(self, row: "Row", width: int, tick: int) -> str:
        limit = row.now.max
        whole = None if limit is None or limit == UNLIMITED else limit
        return draw.spark(
            row.history, tick, width, whole=whole, span=SPAN, ascii_only=self.ascii_only
        )

    def _oom(self, row: "Row", tick: int) -> "Piece":
        number = row.now.oom_kill
        if number is None:
            return "-", "dim"
        if not row.flashes(tick):
            return (str(number), "bad") if number else ("0", "dim")
        # What is new is told in figures too: a terminal may neither blink nor have colours.
        return f"{number}+{row.oom_new}", "flash" if self.is_blinking else "bad"

    def _name(self, row: "Row", width: int) -> "list[Piece]":
        lines = draw.branch(row.branch, ascii_only=self.ascii_only)
        folded = "+" if row.is_folded and row.children and self.is_tree else ""
        name = printable(row.name if self.is_tree and row.parent is not None else row.path)
        style = "name" if row.is_match else "dim"
        owner = owner_text(row)
        room = width - len(lines)
        if room < 4:  # deeper than there is room
            lines = draw.cut(lines, max(width - 4, 0), ascii_only=self.ascii_only, front=True)
            room = width - len(lines)
        if owner and len(name) + len(owner) + 3 > room:
            # The id of a container says less than its owner's name does.
            name, owner = (owner, "") if len(name) > room else (name, "")
        text = draw.cut(folded + name, room, ascii_only=self.ascii_only, front=not self.is_tree)
        out: list[Piece] = [(lines, "dim"), (text, style)]
        if owner:
            out.append((f"  {owner}", "owner"))
        used = sum(len(piece[0]) for piece in out)
        return [*out, (" " * (width - used), "")]


def owner_text(row: "Row") -> str:
    """Who made a cgroup, where that says more than its name: ``docker 3f2a9c1b04d7``."""
    owner = row.owner
    if not owner.runtime or not owner.name or owner.name in (row.name, row.path):
        return ""
    if owner.runtime in ("systemd", "climits"):  # their names stand in the path
        return ""
    return printable(f"{owner.runtime} {owner.name}")


def _placed(text: str, column: Column) -> str:
    text = text[: column.width] if len(text) > column.width else text
    return text.ljust(column.width) if column.is_left else text.rjust(column.width)


def percent(share: "float | None") -> str:
    """A share of one for people: ``7.3``, ``100``, ``-`` where it is not known."""
    if share is None:
        return "-"
    value = share * 100
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def _usage(row: "Row") -> "Piece":
    return size(row.now.current), ""


def _limit(row: "Row") -> "Piece":
    text = size(row.now.max)
    return text, "dim" if text in ("max", "-") else ""


def _percent(row: "Row") -> "Piece":
    share = row.share()
    if share is None:
        return "-", "dim"
    style = "bad" if share >= _AT else "warn" if share >= _NEAR else ""
    return f"{min(share, 9.99) * 100:.0f}%", style


def _psi(row: "Row") -> "Piece":
    share = row.rate("pressure_some")
    text = percent(share)
    return text, "dim" if not share else "bad" if share >= _PRESSED else "warn"


def _cpu(row: "Row") -> "Piece":
    share = row.rate("cpu")
    return percent(share), "" if share else "dim"


def _bytes(name: str) -> "Callable[[Row], Piece]":
    def cell(row: "Row") -> "Piece":
        value = getattr(row.now, name)
        return size(value), "" if value else "dim"

    return cell


def _count(name: str) -> "Callable[[Row], Piece]":
    def cell(row: "Row") -> "Piece":
        value = getattr(row.now, name)
        return count(value), "" if value else "dim"

    return cell


_CELLS: "dict[str, Callable[[Row], Piece]]" = {
    "usage": _usage,
    "limit": _limit,
    "percent": _percent,
    "psi": _psi,
    "cpu": _cpu,
    "tasks": _count("pids"),
    "hits": _count("limit_hits"),
    "anon": _bytes("anon"),
    "file": _bytes("file"),
    "swap": _bytes("swap"),
    "peak": _bytes("peak"),
}

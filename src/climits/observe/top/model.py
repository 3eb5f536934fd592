"""What `climits top` shows: a row for each cgroup, their order, filter and past.

Nothing here reads a file or knows a terminal.  Figures are taken from the samples when somebody
looks at them, so that what a refresh costs hangs on the rows that are seen.
"""

from collections import deque

from ...units import UNLIMITED
from ..discover import Owner, owner_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..sampler import Sample

    Value = int | float | str | None

#: Refreshes that a sparkline looks back, at least: its characters share them evenly.
SPAN = 60
#: Refreshes that are kept for it.
KEPT = SPAN + SPAN // 2
#: Refreshes for which an OOM counter that moved is made to stand out.
FLASH = 8


class Row:
    """One cgroup.

    Attributes:
        path: of the cgroup.
        name: the last component; of the root the whole path.
        parent: the row of the closest cgroup above that is shown, or None.
        children: rows of those below whose closest one this is, by path.
        now, before: the last two samples; `before` is None until there are two.
        history: bytes in use at each of the last refreshes, the latest last; None: not known.
        oom_new: OOM kills that were counted while it stood out, see `flashes`.
        is_folded: what is below it is hidden.
        is_match: the filter, if any, lets it through for its own sake.
        branch: what stands before its name in the tree.
    """

    __slots__ = (
        "_oom",
        "_oom_tick",
        "_owner",
        "before",
        "branch",
        "children",
        "history",
        "is_folded",
        "is_match",
        "name",
        "now",
        "oom_new",
        "parent",
        "path",
    )

    def __init__(self, path: str, now: "Sample") -> None:
        self.path = path
        self.name = path.rpartition("/")[2] or path
        self.parent: Row | None = None
        self.children: dict[str, Row] = {}
        self.now = now
        self.before: Sample | None = None
        self.history: deque[int | None] = deque(maxlen=KEPT)
        self.oom_new = 0
        self.is_folded = False
        self.is_match = True
        self.branch = ""
        self._oom: int | None = None
        self._oom_tick = -FLASH
        self._owner: Owner | None = None

    @property
    def owner(self) -> Owner:
        """Who made it, as far as its path tells."""
        if self._owner is None:
            self._owner = owner_of(self.path)
        return self._owner

    def add(self, sample: "Sample", tick: int) -> bool:
        """Take the next sample; whether its OOM counter moved."""
        if sample is not self.now:
            self.before, self.now = self.now, sample
        self.history.append(sample.current)
        count, last = sample.oom_kill, self._oom
        self._oom = count
        if count is None or last is None or count <= last:
            return False
        self.oom_new = count - last + (self.oom_new if self.flashes(tick) else 0)
        self._oom_tick = tick
        return True

    def flashes(self, tick: int) -> bool:
        """Whether its OOM counter moved in the last refreshes."""
        return tick - self._oom_tick < FLASH

    def rate(self, name: str) -> "float | None":
        """Seconds a second by which a total of the last two samples grew.

        Args:
            name: cpu, pressure_some or pressure_full.
        """
        if self.before is None:
            return None
        new, old = getattr(self.now, name), getattr(self.before, name)
        elapsed = self.now.time - self.before.time
        if new is None or old is None or elapsed <= 0:
            return None
        # A total that fell is another cgroup's, made under the same name.
        return max(float(new) - float(old), 0.0) / elapsed

    def share(self) -> "float | None":
        """Usage as a part of its own limit; None where it has none."""
        limit, current = self.now.max, self.now.current
        if limit is None or limit == UNLIMITED or limit <= 0 or current is None:
            return None
        return current / limit

    def above(self) -> "Iterator[Row]":
        """Those that it is below of, the closest first."""
        row = self.parent
        while row is not None:
            yield row
            row = row.parent

    def bound(self) -> "int | float | None":
        """The lowest limit of its own and of those above it, bytes; None where there is none."""
        lowest: int | float = UNLIMITED
        for row in (self, *self.above()):
            limit = row.now.max
            if limit is not None and limit < lowest:
                lowest = limit
        return None if lowest == UNLIMITED else lowest


#: What rows can be sorted by: (value of a row, the highest first).
SORTS: "dict[str, tuple[Callable[[Row], Value], bool]]" = {
    "usage": (lambda row: row.now.current, True),
    "limit": (lambda row: row.now.max, True),
    "percent": (lambda row: row.share(), True),
    "oom": (lambda row: row.now.oom_kill, True),
    "psi": (lambda row: row.rate("pressure_some"), True),
    "cpu": (lambda row: row.rate("cpu"), True),
    "tasks": (lambda row: row.now.pids, True),
    "anon": (lambda row: row.now.anon, True),
    "file": (lambda row: row.now.file, True),
    "swap": (lambda row: row.now.swap, True),
    "peak": (lambda row: row.now.peak, True),
    "hits": (lambda row: row.now.limit_hits, True),
    "name": (lambda row: row.path, False),
}


class Model:
    """All rows, and which of them are shown in which order.

    Attributes:
        rows: by path.
        shown: list[Row], what is to be seen, from the top.
        tick: refreshes so far.
        sort: a name in SORTS.
        is_reversed: the other way round.
        is_tree: as a tree; else one list.
        words: what a row must have in its path or its owner's name to be shown, in lower case.
    """

    def __init__(self, *, sort: str = "usage", tree: bool = True) -> None:
        self.rows: dict[str, Row] = {}
        self.shown: list[Row] = []
        self.tick = 0
        self.sort, self.is_reversed, self.is_tree = sort, False, tree
        self.words: list[str] = []
        self._tops: list[Row] = []

    def update(self, samples: "dict[str, Sample]") -> list[Row]:
        """Take the figures of a refresh.

        Args:
            samples: of every cgroup that is there, by path.

        Returns:
            The rows whose OOM counter moved, the lowest in the tree only: those above count it too.
        """
        self.tick += 1
        rows, moved = self.rows, []
        changed = False
        for path in [path for path in rows if path not in samples]:
            del rows[path]
            changed = True
        for path, sample in samples.items():
            row = rows.get(path)
            if row is None:
                row = rows[path] = Row(path, sample)
                changed = True
            if row.add(sample, self.tick):
                moved.append(row)
        if changed:
            self._link()
        self.arrange()
        above = {up for row in moved for up in row.above()}
        return [row for row in moved if row not in above]

    def _link(self) -> None:
        """Find the parents anew."""
        self._tops = []
        for row in self.rows.values():
            row.children = {}
        for path, row in self.rows.items():
            row.parent = None
            above = path
            while above != "/" and row.parent is None:
                above = above.rpartition("/")[0] or "/"
                row.parent = self.rows.get(above)
            if row.parent is None:
                self._tops.append(row)
            else:
                row.parent.children[path] = row

    # -- what the keys change ----------------------------------------------------------------

    def set_filter(self, text: str) -> None:
        """Show only what has all of these words in its path or its owner's name."""
        self.words = text.lower().split()
        self.arrange()

    def sort_by(self, name: str) -> None:
        """Sort by a column; the other way round if it is that already."""
        self.is_reversed = not self.is_reversed if name == self.sort else False
        self.sort = name
        self.arrange()

    def show_tree(self, tree: bool) -> None:
        """Show a tree, or one list."""
        self.is_tree = tree
        self.arrange()

    def fold(self, row: Row, folded: bool) -> None:
        """Hide or show what is below a row."""
        row.is_folded = folded
        self.arrange()

    # -- the order ---------------------------------------------------------------------------

    def arrange(self) -> None:
        """Work out `shown`."""
        self._match()
        if self.is_tree:
            self.shown = self._as_tree()
            return
        self.shown = self._sorted([row for row in self.rows.values() if row.is_match])
        for row in self.shown:
            row.branch = ""

    def _match(self) -> None:
        words = self.words
        for row in self.rows.values():
            row.is_match = not words or _has_all(row, words)

    def _as_tree(self) -> list[Row]:
        wanted: set[Row] | None = None
        if self.words:  # those above a match are shown too, whatever is folded
            wanted = set()
            for row in self.rows.values():
                above: Row | None = row if row.is_match else None
                while above is not None and above not in wanted:
                    wanted.add(above)
                    above = above.parent
        out: list[Row] = []
        todo: list[tuple[Row, str, str]] = [
            (row, "", "") for row in reversed(self._sorted(self._tops))
        ]
        while todo:
            row, branch, below = todo.pop()
            if wanted is not None and row not in wanted:
                continue
            row.branch = branch
            out.append(row)
            if not row.children or (row.is_folded and wanted is None):
                continue
            children: Iterable[Row] = row.children.values()
            if wanted is not None:
                children = [child for child in children if child in wanted]
            ordered = self._sorted(children)
            last = len(ordered) - 1
            for i in range(last, -1, -1):
                fork, more = ("└─ ", "   ") if i == last else ("├─ ", "│  ")
                todo.append((ordered[i], below + fork, below + more))
        return out

    def _sorted(self, rows: "Iterable[Row]") -> list[Row]:
        """In order; what is not known comes last, and equal ones by their path."""
        value, falling = SORTS[self.sort]
        falling = falling != self.is_reversed
        known: list[tuple[Value, Row]] = []
        unknown: list[Row] = []
        for row in sorted(rows, key=_path):
            found = value(row)
            if found is None:
                unknown.append(row)
            else:
                known.append((found, row))
        known.sort(key=_first, reverse=falling)  # type: ignore[arg-type]  # of one type each
        return [row for _, row in known] + unknown


def _path(row: Row) -> str:
    return row.path


def _first(pair: "tuple[Value, Row]") -> "Value":
    return pair[0]


def _has_all(row: Row, words: list[str]) -> bool:
    text = f"{row.path} {row.owner.runtime} {row.owner.name}".lower()
    return all(word in text for word in words)

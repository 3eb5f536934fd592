"""The lower half of `climits top`: what is known of the selected cgroup, and what runs in it."""

from textual.binding import Binding

from ..text import printable, size
from .details import EMPTY, RUNNING, Details, owner_line
from .draw import KINDS, cut, fill
from .lines import Lines, strip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .draw import Piece

    Line = list[Piece]

#: From this width on both halves are seen side by side.
_WIDE = 120
_LABEL = 9


class Pane(Lines, can_focus=True):  # type: ignore[call-arg]
    """Facts and memory.stat of a cgroup, and its processes: one of them, or side by side.

    Attributes:
        details: what is shown, or None.
        path: of the cgroup whose details are awaited.
        shows_processes: which of the two, where there is no room for both.
        top: number of the first line that is seen.
    """

    BINDINGS = [
        Binding(key, f"scroll({step})", show=False)
        for key, step in (("up", -1), ("down", 1), ("home", -(10**9)), ("end", 10**9),
                          ("pageup", -8), ("pagedown", 8))
    ] + [Binding(key, "flip", show=False) for key in ("left", "right", "space")]  # fmt: skip

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__(id="pane")
        self.details: Details | None = None
        self.path = ""
        self.shows_processes = False
        self.top = 0
        self._ascii = ascii_only

    def tell(self, path: str, details: "Details | None") -> None:
        """Show another cgroup, or new figures of the same."""
        if path != self.path:
            self.path, self.details, self.top = path, None, 0
        if details is not None and details.path == path:
            self.details = details
        self.draw()

    @property
    def is_wide(self) -> bool:
        """Whether there is room for both halves."""
        return bool(self.size.width >= _WIDE)

    def draw(self) -> None:
        """Show them."""
        width, height = self.size
        if not width or not height:
            return
        half = width * 3 // 5 if self.is_wide else width
        memory = facts_lines(self.details, half, self._ascii)
        other = width - half if self.is_wide else width
        processes = process_lines(self.details, other, self._ascii)
        if self.is_wide:
            body = side_by_side(memory, processes, half)
        else:
            body = processes if self.shows_processes else memory
        room = max(height - 1, 1)
        self.top = max(min(self.top, len(body) - room), 0)
        lines = [self._title(width, len(body), room), *body[self.top : self.top + room]]
        self.show([strip(line, width, selected=False) for line in lines])

    def _title(self, width: int, count: int, room: int) -> "Line":
        line = "-" if self._ascii else "─"
        mark = (">" if self._ascii else "▶") if self.has_focus else line
        which = ""
        if not self.is_wide:
            names = ("memory", "processes")
            which = f" [{names[self.shows_processes]}] {names[not self.shows_processes]} "
        if count > room:
            which += f" {self.top + 1}-{min(self.top + room, count)} of {count} "
        owner = owner_line(self.path)
        text = printable(f"{self.path}  {owner}" if owner else self.path)
        text = cut(text, max(width - len(which) - 6, 8), ascii_only=self._ascii, front=True)
        head = f"{line}{mark} {text} "
        return [(head + line * max(width - len(head) - len(which) - 1, 0), "title"),
                (which, "title"), (line, "title")]  # fmt: skip

    # -- keys --------------------------------------------------------------------------------

    def action_scroll(self, step: int) -> None:
        """Go down by so many lines."""
        self.top = max(self.top + step, 0)
        self.draw()

    def action_flip(self) -> None:
        """Show the other half."""
        self.shows_processes = not self.shows_processes
        self.top = 0
        self.draw()

    def on_focus(self) -> None:
        """Mark the title."""
        self.draw()

    def on_blur(self) -> None:
        """Unmark it."""
        self.draw()


def facts_lines(details: "Details | None", width: int, ascii_only: bool) -> "list[Line]":
    """What is known of the cgroup, then its memory.stat."""
    if details is None:
        return []
    if details.error:
        return [[(printable(details.error), "bad")]]
    out: list[Line] = []
    for label, text in details.facts:
        style = "bad" if label == "state" and text not in (RUNNING, EMPTY) else ""
        text = cut(text, width - _LABEL - 1, ascii_only=ascii_only)
        out.append([(f" {label:{_LABEL}}", "bold"), (text, style)])
    if details.stat:
        keys = max(len(key) for key, _, _ in details.stat)
        out.append([])
        out.append([(f" memory.stat ({details.zeros} lines that are 0 are left out)", "bold")])
        for key, value, meaning in details.stat:
            room = max(width - keys - 12, 0)
            line: Line = [(f" {key:{keys}} ", ""), (f"{value:>9} ", "bold")]
            out.append([*line, (cut(meaning, room, ascii_only=ascii_only), "dim")])
    return out


def process_lines(details: "Details | None", width: int, ascii_only: bool) -> "list[Line]":
    """The processes, the largest first."""
    if details is None or details.error:
        return []
    if not details.processes:
        return [[(" no process is in it", "dim")]]
    out: list[Line] = [[(f" {'PID':>7} {'RES':>8} {'THR':>4}  NAME", "bold")]]
    for process in details.processes:
        name = cut(process.name, 16, ascii_only=ascii_only).ljust(16)
        room = max(width - 41, 0)
        below = cut(printable(process.below), room, ascii_only=ascii_only, front=True)
        line: Line = [(f" {process.pid:>7} ", ""), (f"{size(process.resident):>8} ", "bold")]
        out.append([*line, (f"{process.threads:>4}  {name}", ""), (f" {below}", "dim")])
    if not details.are_all:
        out.append([(f" the first {len(details.processes)}; there are more", "dim")])
    return out


def side_by_side(left: "list[Line]", right: "list[Line]", width: int) -> "list[Line]":
    """Two columns, the first of that width."""
    out: list[Line] = []
    for i in range(max(len(left), len(right))):
        first: Line = list(left[i]) if i < len(left) else []
        used = sum(len(text) for text, _ in first)
        second = right[i] if i < len(right) else []
        out.append([*first, (" " * max(width - used, 1), ""), *second])
    return out


def legend(ascii_only: bool) -> "Line":
    """What the parts of a bar are."""
    out: Line = []
    for word, style in KINDS:
        out += [(fill(style, ascii_only), style), (f" {word}  ", "")]
    return out

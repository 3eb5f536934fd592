"""The program of `climits top`, on Textual."""

import os
import textwrap
import time

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

from ...units import format_duration, format_size
from ..text import printable
from .acts import Acts, Returned
from .columns import Painter
from .dialogs import Help, Order
from .draw import KINDS, fill
from .feed import Feed, Look
from .frame import Head, Keys, in_use
from .lines import Lines
from .model import SORTS, Model
from .pane import Pane, legend
from .table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .draw import Piece

#: Seconds for which a message is shown.
_MESSAGE = 10.0
_MOST_LINES = 4
#: Exit status as if by SIGHUP.
_HANGUP = 129
#: A refresh that takes longer than this many seconds is told of.
_SLOW = 3.0
#: The names of the orders, from the left.
_ORDERS = ("usage", "limit", "percent", "anon", "file", "swap", "peak", "hits", "oom", "psi", "cpu",
           "tasks", "name")  # fmt: skip


class TopApp(App[None]):  # type: ignore[misc]
    """The screen and its keys.

    Attributes:
        model: the rows.
        failure: why there is nothing to be seen any more, or "".
    """

    TITLE = "climits top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; background: ansi_default; color: ansi_default; }
    Lines { background: ansi_default; color: ansi_default; }
    #head { height: 2; }
    #table { height: 1fr; }
    #pane { height: 50%; display: none; }
    #filter { height: 1; border: none; padding: 0; display: none; background: ansi_default;
              color: ansi_default; text-style: underline; }
    #keys { height: 2; }
    .title { text-style: bold; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("q", "leave", show=False),
        Binding("ctrl+c", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("question_mark,h,f1", "help", show=False),
        Binding("t", "tree", show=False),
        Binding("s", "order", show=False),
        Binding("i", "reverse", show=False),
        Binding("less_than_sign", "next_order(-1)", show=False),
        Binding("greater_than_sign", "next_order(1)", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "escape", show=False),
        Binding("enter", "details", show=False),
        Binding("tab", "other", show=False, priority=True),
        Binding("p", "pause", show=False),
        Binding("l", "act('limit')", show=False),
        Binding("f", "act('freeze')", show=False),
        Binding("u", "act('thaw')", show=False),
        Binding("r", "act('reclaim')", show=False),
        Binding("k", "act('kill')", show=False),
        Binding("g", "act('signal')", show=False),
    ]

    class Looked(Message):  # type: ignore[misc]
        """The feed has looked."""

        def __init__(self, look: Look) -> None:
            super().__init__()
            self.look = look

    def __init__(
        self,
        *,
        top: str = "/",
        interval: float = 1.0,
        sort: str = "usage",
        tree: bool = True,
        total: int,
        ascii_only: bool = False,
    ) -> None:
        """Prepare.

        Args:
            top: the cgroup to start from.
            interval: seconds from one refresh to the next.
            sort: a name in SORTS.
            tree: as a tree; else one list.
            total: RAM of the machine, bytes.
            ascii_only: no line and block characters.
        """
        super().__init__(ansi_color=True)
        if "ansi-dark" in self.available_themes:
            self.theme = "ansi-dark"
        self.model = Model(sort=sort, tree=tree)
        self.failure = ""
        self._start, self._total, self._ascii = top, total, ascii_only
        self._painter = Painter(total, ascii_only=ascii_only)
        self._feed = Feed(top, interval, self._tell)
        self._head, self._keys = Head(id="head"), Keys(id="keys")
        self._table, self._pane = Table(self.model, self._painter), Pane(ascii_only=ascii_only)
        self._filter = Input(placeholder="filter: words of the path or owner", id="filter")
        self._message: tuple[str, str, float] = ("", "", 0.0)  # text, style, until
        self._skipped = 0
        self._is_paused = self._has_looked = False
        self._acts = Acts(self, self._say, self._feed.refresh)
        self._asked_to_leave = False

    def compose(self) -> ComposeResult:
        """From the top down."""
        yield self._head
        yield self._table
        yield self._pane
        yield self._filter
        yield self._keys

    def on_mount(self) -> None:
        """Begin to look."""
        self._table.focus()
        self.app_resume_signal.subscribe(self, self._repaint)  # from Ctrl+Z
        self._feed.start()
        self.set_interval(1.0, self._each_second)
        self._blinker = self.set_interval(0.5, self._blink, pause=True)
        self._draw_head()

    def on_resize(self) -> None:
        """Both lines of keys in one, where they fit."""
        self._keys.styles.height = 1 if self.size.width >= 120 else 2

    def _repaint(self, _: object) -> None:
        """Draw every line anew: the terminal was somebody else's meanwhile."""
        for widget in self.query(Lines):
            widget.refresh()

    def on_unmount(self) -> None:
        """Look no more."""
        self._feed.stop()

    # -- figures -----------------------------------------------------------------------------

    def _tell(self, look: Look) -> bool:
        return bool(self.post_message(self.Looked(look)))

    def on_top_app_looked(self, event: "TopApp.Looked") -> None:
        """Show what there is."""
        look = event.look
        if look.error:
            self.failure = look.error
            self._say(look.error, "error", float("inf"))
            if not self._has_looked:
                self.exit()
            return
        if self._is_paused:
            return
        self._has_looked = True
        self._skipped = len(look.skipped)
        if look.samples is not None:
            moved = self.model.update(look.samples)
            for row in moved[-1:]:
                kills = "an OOM kill" if row.oom_new == 1 else f"{row.oom_new} OOM kills"
                more = f", and in {len(moved) - 1} more" if len(moved) > 1 else ""
                self._say(f"{kills} in {row.path}{more}", "error")
            if moved:
                self._blinker.resume()
            self._table.draw()
            self._draw_head()
        if look.details is not None and self._pane.display:
            self._pane.tell(self._pane.path, look.details)

    def _blink(self) -> None:
        painter, model = self._painter, self.model
        painter.is_blinking = not painter.is_blinking
        if not any(row.flashes(model.tick) for row in model.rows.values()):
            painter.is_blinking = True
            self._blinker.pause()
        self._table.draw()

    def _each_second(self) -> None:
        if not self.is_headless and not os.isatty(0):
            # The terminal was closed, and whoever started us ignores SIGHUP: Textual would read
            # nothing from it for ever, as fast as it can.
            self.exit(return_code=_HANGUP)
        self._draw_head()

    # -- the head ----------------------------------------------------------------------------

    def _say(self, text: str, style: str = "message", seconds: float = _MESSAGE) -> None:
        self._message = printable(text), style, time.monotonic() + seconds
        self._draw_head()

    def _draw_head(self) -> None:
        text, style, until = self._message
        now = time.monotonic()
        if text and now < until:
            room = max(self.size.width - 2, 20)
            lines = [[(f" {line} ", style)] for line in textwrap.wrap(text, room)[:_MOST_LINES]]
        else:
            lines = [self._state()]
        self._head.lines = (self._summary(now), *lines)
        self._head.styles.height = len(lines) + 1
        self._head.draw()

    def _summary(self, now: float) -> "list[Piece]":
        model = self.model
        text = f"  {len(model.rows)} cgroups"
        if self._start != "/":
            text += f" below {self._start}"
        if self._skipped:
            text += f", {self._skipped} unreadable"
        pieces = [(" climits top", "bold"), (text, "")]
        since = self._feed.since
        if self._is_paused:
            pieces.append(("  PAUSED (p goes on)", "flash"))
        elif not self._has_looked:
            pieces.append(("  looking ...", ""))
        elif since is not None and now - since > _SLOW:
            pieces.append((f"  no answer for {format_duration(now - since)}", "flash"))
        used = in_use()
        if used is not None:
            pieces.append((f"  {format_size(used)} of {format_size(self._total)} in use", ""))
        left = self.size.width - sum(len(piece[0]) for piece in pieces)
        clock = time.strftime("%H:%M:%S")
        return [*pieces, (clock.rjust(left - 1) if left > len(clock) + 1 else "", "")]

    def _state(self) -> "list[Piece]":
        model, table = self.model, self._table
        how = "tree" if model.is_tree else "flat"
        pieces: list[Piece] = [(f" {how}", "bold")]
        if model.words:
            count = sum(row.is_match for row in model.rows.values())
            pieces.append((f"  filter: {' '.join(model.words)} ({count} match)", "warn"))
        if len(model.shown) > table.room:
            last = min(table.top + table.room, len(model.shown))
            pieces.append((f"  rows {table.top + 1}-{last} of {len(model.shown)}", ""))
        return [*pieces, ("   ", ""), *legend(self._ascii)]

    # -- what is shown -----------------------------------------------------------------------

    def _redraw(self) -> None:
        self._table.draw()
        self._draw_head()

    def on_table_selected(self) -> None:
        """The details are another cgroup's now."""
        row = self._table.selected
        if self._pane.display:
            path = row.path if row is not None else None
            self._feed.want(path)
            self._pane.tell(path or "", None)
        self._draw_head()

    def on_table_gone(self, event: "Table.Gone") -> None:
        """Say so, unless there is something else to be said."""
        if time.monotonic() >= self._message[2]:
            self._say(f"{event.path} was removed")

    def on_table_sorted(self, event: "Table.Sorted") -> None:
        """A heading was clicked on."""
        if event.name in SORTS:
            self.model.sort_by(event.name)
            self._redraw()

    def action_tree(self) -> None:
        """The other of tree and list."""
        self.model.show_tree(not self.model.is_tree)
        self._redraw()

    def action_reverse(self) -> None:
        """The other way round."""
        self.model.sort_by(self.model.sort)
        self._redraw()

    def action_next_order(self, step: int) -> None:
        """By the next column that is seen."""
        seen = {column.name for column in self._painter.columns}
        orders = [name for name in _ORDERS if name in seen]
        at = orders.index(self.model.sort) if self.model.sort in orders else 0
        self.model.sort_by(orders[(at + step) % len(orders)])
        self._redraw()

    def action_order(self) -> None:
        """Ask by what to sort."""

        def chosen(name: "str | None") -> None:
            if name:
                self.model.sort_by(name)
                self._redraw()

        self.push_screen(Order(self.model.sort), chosen)

    def action_pause(self) -> None:
        """Leave the figures as they are, or go on."""
        self._is_paused = not self._is_paused
        if not self._is_paused:
            self._feed.refresh()
        self._draw_head()

    def action_help(self) -> None:
        """The keys and columns."""
        bar = ", ".join(f"{fill(style, self._ascii)} {word}" for word, style in KINDS)
        self.push_screen(Help(bar))

    def action_details(self) -> None:
        """Open the lower half, or close it."""
        self._pane.display = not self._pane.display
        if self._pane.display:
            self.on_table_selected()
        else:
            self._feed.want(None)
            self._table.focus()
        self.call_after_refresh(self._redraw)

    def action_other(self) -> None:
        """To the lower half, or back."""
        if self._pane.display and not isinstance(self.focused, Input):
            (self._pane if self._table.has_focus else self._table).focus()

    # -- the filter --------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Write on the filter."""
        self._filter.display = True
        self._filter.focus()

    def action_escape(self) -> None:
        """Away with the filter, or with the message, or to the rows."""
        if self._filter.display or self.model.words:
            self._filter.value = ""
            self._set_filter("")
        elif self._pane.has_focus:
            self._table.focus()
        self._message = ("", "", 0.0)
        self._filter.display = False
        self._table.focus()
        self._draw_head()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        if event.input is self._filter:
            self._set_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The filter is written: back to the rows."""
        if event.input is self._filter:
            self._filter.display = False
            self._table.focus()

    def _set_filter(self, text: str) -> None:
        self.model.set_filter(text)
        row = self._table.selected
        if row is None or not row.is_match:  # what is looked for is what is to be acted upon
            found = next((row for row in self.model.shown if row.is_match), None)
            if found is not None:
                self._table.select(found.path)
        self._redraw()

    # -- actions -----------------------------------------------------------------------------

    def on_returned(self, event: Returned) -> None:
        """Go on with what a thread found."""
        event.then(*event.results)

    def action_act(self, name: str) -> None:
        """Ask, and then do something to the selected cgroup."""
        row = self._table.selected
        if row is not None:
            self._acts.start(name, row.path)

    def action_leave(self) -> None:
        """End; what is half done is waited for, unless somebody insists."""
        if self._acts.busy and not self._asked_to_leave:
            self._asked_to_leave = True
            self._say(f"still at work: {self._acts.busy[0]}; q again leaves it half done", "error")
            return
        self.exit()

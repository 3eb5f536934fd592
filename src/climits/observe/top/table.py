"""The rows of `climits top`: as many as fit are drawn, and none of the others."""

from textual.binding import Binding
from textual.message import Message

from .columns import Painter, fit
from .lines import Lines, strip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from textual import events

    from .model import Model, Row


class Table(Lines, can_focus=True):  # type: ignore[call-arg]
    """The rows and which one is selected.

    Attributes:
        model: the rows.
        painter: what draws one.
        top: number of the first row that is seen.
    """

    BINDINGS = [
        Binding(key, f"move({step})", show=False)
        for key, step in (("up", -1), ("down", 1), ("home", -(10**9)), ("end", 10**9))
    ] + [
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("left", "fold(True)", show=False),
        Binding("right", "fold(False)", show=False),
        Binding("space", "toggle_fold", show=False),
    ]

    class Selected(Message):  # type: ignore[misc]
        """Another row is selected."""

    class Gone(Message):  # type: ignore[misc]
        """The cgroup that was selected was removed."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class Sorted(Message):  # type: ignore[misc]
        """Somebody clicked on a heading."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, model: "Model", painter: Painter) -> None:
        super().__init__(id="table")
        self.model, self.painter = model, painter
        self.top = 0
        self._index = 0
        self._path: str | None = None  # of the selected row, which moves about
        self._told: str | None = None  # the one that the application knows of

    @property
    def selected(self) -> "Row | None":
        """The selected row; None where there is none."""
        shown = self.model.shown
        return shown[self._index] if self._index < len(shown) else None

    @property
    def room(self) -> int:
        """Rows that fit."""
        return int(max(self.size.height - 1, 1))

    def draw(self) -> None:
        """Show the rows as they are now; the selected one stays selected wherever it has gone."""
        shown = self.model.shown
        if self._path is not None and not (
            self._index < len(shown) and shown[self._index].path == self._path
        ):
            for index, row in enumerate(shown):
                if row.path == self._path:
                    self._index = index
                    break
        self._index = max(0, min(self._index, len(shown) - 1))
        self._path = shown[self._index].path if shown else None
        self.top = max(min(self.top, self._index, len(shown) - self.room), 0)
        self.top = max(self.top, self._index - self.room + 1)
        self._paint()
        before = self._told
        if before is not None and before not in self.model.rows:
            self.post_message(self.Gone(before))
        if before != self._path:
            self._told = self._path
            self.post_message(self.Selected())

    def _paint(self) -> None:
        width = self.size.width
        if not width:
            return
        painter, model = self.painter, self.model
        painter.columns = fit(width)
        painter.is_tree = model.is_tree
        strips = [strip(painter.heading(model.sort, model.is_reversed), width, selected=True)]
        for index in range(self.top, min(self.top + self.room, len(model.shown))):
            pieces = painter.row(model.shown[index], model.tick)
            strips.append(strip(pieces, width, selected=index == self._index))
        if not model.shown:
            why = "no cgroup matches the filter" if model.words else "no cgroup is here"
            strips.append(strip([(f" {why if model.tick else ''}", "dim")], width))
        self.show(strips)

    def select(self, path: str) -> None:
        """Select a row by its path, where it is shown."""
        self._path = path
        self.draw()

    # -- keys and mouse ----------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Select the row so many further down."""
        shown = self.model.shown
        if shown:
            self._index = max(0, min(self._index + step, len(shown) - 1))
            self.select(shown[self._index].path)

    def action_page(self, pages: int) -> None:
        """Go down by a screen."""
        self.action_move(pages * max(self.room - 1, 1))

    def action_fold(self, folded: bool) -> None:
        """Hide or show what is below the selected row; from a leaf, go to the one above it."""
        row = self.selected
        if row is None or not self.model.is_tree:
            return
        if folded and (row.is_folded or not row.children):
            if row.parent is not None:
                self.select(row.parent.path)
            return
        self.model.fold(row, folded and bool(row.children))
        self.draw()

    def action_toggle_fold(self) -> None:
        """Hide what is below the selected row, or show it again."""
        row = self.selected
        if row is not None and row.children and self.model.is_tree:
            self.model.fold(row, not row.is_folded)
            self.draw()

    def on_mouse_scroll_down(self) -> None:
        """Go down."""
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        """Go up."""
        self.action_move(-3)

    def on_click(self, event: "events.Click") -> None:
        """Select a row, or sort by a column."""
        if event.y > 0:
            index = self.top + event.y - 1
            if index < len(self.model.shown):
                self.select(self.model.shown[index].path)
            return
        start = 0
        for column in self.painter.columns:
            if start <= event.x <= start + column.width:
                self.post_message(self.Sorted(column.name))
                return
            start += column.width + 1

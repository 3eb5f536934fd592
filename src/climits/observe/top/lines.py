"""A widget of whole lines, of which only those that changed are drawn again."""

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .draw import Piece

#: The terminal's own colours, on its own background.  What a colour says is said by characters,
#: bold or reverse too.
STYLES = {
    "": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "heading": Style(reverse=True),
    "sorted": Style(reverse=True, bold=True),
    "anon": Style(color="green"),
    "other": Style(color="blue"),
    "file": Style(color="yellow"),
    "trend": Style(color="cyan"),
    "name": Style(),
    "owner": Style(color="cyan"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "flash": Style(color="red", bold=True, reverse=True),
    "key": Style(bold=True, reverse=True),
    "title": Style(bold=True),
    "message": Style(bold=True),
    "error": Style(color="red", bold=True, reverse=True),
}
#: Where the selected row is not shown in reverse: blocks would say the opposite.
_KEPT = frozenset(("anon", "other", "file", "trend"))
_SELECTED = {
    name: style if name in _KEPT else Style(reverse=True, bold=style.bold)
    for name, style in STYLES.items()
}


def strip(pieces: "Iterable[Piece]", width: int, *, selected: bool = False) -> Strip:
    """Pieces of text as one line of that width."""
    styles = _SELECTED if selected else STYLES
    segments = [Segment(text, styles[style]) for text, style in pieces if text]
    return Strip(segments).adjust_cell_length(width, styles[""])


class Lines(Widget):  # type: ignore[misc]  # Textual may not be installed when types are checked
    """Lines of text."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._strips: list[Strip] = []

    def show(self, strips: "list[Strip]") -> None:
        """Show these lines; what lies below them is empty."""
        before, width = self._strips, self.size.width
        self._strips = strips
        changed = [
            Region(0, y, width, 1)
            for y in range(max(len(before), len(strips)))
            if y >= len(before) or y >= len(strips) or before[y] != strips[y]
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """One line, as Textual asks for it."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, STYLES[""])

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.draw()

    def draw(self) -> None:
        """Work out the lines, and show them."""
        raise NotImplementedError

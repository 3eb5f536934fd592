"""What `climits top` asks: a yes or no, a value, the order of the rows; and its help."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ..text import printable
from .columns import HEADINGS
from .model import SORTS

#: One for each of SORTS.
_LETTERS = "abcdefghijklm"

#: Fits a terminal of 80x24.
HELP = """\
 up down PgUp PgDn Home End  move          Enter  details of the cgroup
 left right space  fold a branch           Tab    to the details and back
 t  tree, or one list                      /      filter: words of path, owner
 s  sort by a column; < > by the next one  Esc    no filter; back to the rows
 i  the other way round                    p      pause, go on     q  quit

 l  memory limit    f  freeze    u  thaw    r  reclaim    k  kill    g  signal
    Each asks first; y does it. Refused: /, and what climits top runs in.

 USAGE  charged to the cgroup and those below it, page cache included
 LIMIT  its own; max: none         %  of its own limit (marked from 80 on)
 BAR    {bar}
        of the lowest limit from it up, or of RAM; [ ] if it has one of its own
 TREND  usage in the last 60 refreshes, of its limit, or of its own highest
 OOM    OOM kills so far; 3+1: one of the three just now
 PSI%   time in which a task waited for memory
 CPU%   of one CPU                 TASKS  processes and threads
 ANON   heap and stacks            CACHE  page cache
 SWAP   swapped out                PEAK   the highest usage
 HITS   times that the limit was met
 -      the kernel does not tell

 Esc closes this."""

_BOX = """
{name} {{
    align: center middle; background: transparent;
}}
{name} > Vertical {{
    width: auto; max-width: 100%; height: auto; max-height: 100%;
    padding: 0 1; background: ansi_default; border: {border};
}}
{name} Static {{ width: auto; max-width: 100%; height: auto; background: ansi_default; }}
{name} Input {{
    width: 60; max-width: 100%; height: 1; border: none; padding: 0; background: ansi_default;
    color: ansi_default; text-style: underline;
}}
"""


def _css(name: str) -> str:
    return _BOX.format(name=name, border="ascii ansi_default")


class Confirm(ModalScreen[bool]):  # type: ignore[misc]
    """A question that y alone says yes to."""

    CSS = _css("Confirm")
    BINDINGS = [  # noqa: RUF012
        Binding("y,Y", "answer(True)", show=False),
        Binding("n,N,escape,q,ctrl+c", "answer(False)", show=False),
    ]

    def __init__(self, title: str, question: str) -> None:
        super().__init__()
        self._title, self._question = title, question

    def compose(self) -> ComposeResult:
        """The question and the keys."""
        with Vertical():
            yield Static(self._title, markup=False, classes="title")
            yield Static(self._question, markup=False, id="question")
            yield Static("\ny: yes   n, Esc: no", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


class Ask(ModalScreen["str | None"]):  # type: ignore[misc]
    """Asks for a value; None when it was given up."""

    CSS = _css("Ask")
    BINDINGS = [Binding("escape,ctrl+c", "give_up", show=False, priority=True)]  # noqa: RUF012

    def __init__(self, title: str, prompt: str, value: str, error: str = "") -> None:
        super().__init__()
        self._title, self._prompt, self._value, self._error = title, prompt, value, error

    def compose(self) -> ComposeResult:
        """The prompt, what was wrong with the last answer, and a line to write on."""
        with Vertical():
            yield Static(self._title, markup=False, classes="title")
            yield Static(self._prompt, markup=False)
            if self._error:
                yield Static(f"! {printable(self._error)}", markup=False, id="error")
            yield Input(self._value, id="value")
            yield Static("\nEnter: go on   Esc: leave it", markup=False)

    def on_input_submitted(self, event: "Input.Submitted") -> None:
        """It was written."""
        self.dismiss(event.value.strip())

    def action_give_up(self) -> None:
        """Leave it."""
        self.dismiss(None)


class Order(ModalScreen["str | None"]):  # type: ignore[misc]
    """Asks by what to sort: a letter for each column."""

    CSS = _css("Order")
    BINDINGS = [Binding("escape,q,ctrl+c", "choose('')", show=False)]  # noqa: RUF012

    def __init__(self, now: str) -> None:
        super().__init__()
        self._now = now

    def compose(self) -> ComposeResult:
        """A line for each."""
        again = "  (now; again: the other way round)"
        lines = [
            f"{letter}  {HEADINGS[name]}{again if name == self._now else ''}"
            for letter, name in zip(_LETTERS, SORTS, strict=True)
        ]
        with Vertical():
            yield Static("sort by", markup=False, classes="title")
            yield Static("\n".join(lines), markup=False)
            yield Static("\nEsc: leave it", markup=False)

    def on_key(self, event: object) -> None:
        """A letter was chosen."""
        names = dict(zip(_LETTERS, SORTS, strict=True))
        name = names.get(getattr(event, "character", None) or "")
        if name:
            self.dismiss(name)

    def action_choose(self, name: str) -> None:
        """Leave it."""
        self.dismiss(name or None)


class Help(ModalScreen[None]):  # type: ignore[misc]
    """What the keys do and the columns mean."""

    CSS = """
    Help { background: ansi_default; }
    Help > VerticalScroll { background: ansi_default; scrollbar-size: 1 1; }
    Help Static { background: ansi_default; width: auto; }
    """
    BINDINGS = [Binding("escape,q,question_mark,h,f1,enter,ctrl+c", "close", show=False)]  # noqa: RUF012

    def __init__(self, bar: str) -> None:
        super().__init__()
        self._bar = bar

    def compose(self) -> ComposeResult:
        """The text, which may be longer than the screen."""
        with VerticalScroll():
            yield Static(HELP.format(bar=self._bar), markup=False)

    def action_close(self) -> None:
        """Back to the rows."""
        self.dismiss(None)

"""How an action goes: prepared, asked for, done and told, and the screen never waits for it."""

import threading

from textual.message import Message

from ...errors import ClimitsError
from ..text import printable
from .actions import Action, one_line, prepare
from .dialogs import Ask, Confirm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from textual.app import App

#: Seconds for which a result that failed is shown.
_ERROR = 20.0


class Returned(Message):  # type: ignore[misc]  # Textual may not be installed when types are checked
    """What was done in a thread is over: `then` is to be called in the application's own."""

    def __init__(self, then: "Callable[..., None]", *results: "Any") -> None:
        super().__init__()
        self.then, self.results = then, results


class Acts:
    """The actions of an application.

    Attributes:
        busy: what is being done at this moment.
    """

    def __init__(
        self, app: "App[None]", say: "Callable[..., None]", refresh: "Callable[[], None]"
    ) -> None:
        """Prepare.

        Args:
            app: to ask on, and to come back to.
            say: tells somebody (text, style, seconds).
            refresh: called once something was done.
        """
        self._app, self._say, self._refresh = app, say, refresh
        self.busy: list[str] = []

    def start(self, name: str, path: str) -> None:
        """Begin with an action of actions.ACTIONS on a cgroup."""
        self._in_thread(lambda: prepare(name, path), self._prepared)

    def _in_thread(self, work: "Callable[[], Any]", then: "Callable[[Any, str], None]") -> None:
        """Do it in a thread, then call `then` in ours: (result or None, error or "")."""

        def run() -> None:
            try:
                result, error = work(), ""
            except ClimitsError as e:
                result, error = None, one_line(e)
            except Exception as e:  # a fault is told like every other error: the screen stays
                result, error = None, f"{type(e).__name__}: {one_line(e)}"
            self._app.post_message(Returned(then, result, error))

        # Nobody waits for it at the end: the kernel may keep it.
        threading.Thread(target=run, name="climits-act", daemon=True).start()

    def _prepared(self, action: "Action | None", error: str) -> None:
        if action is None:
            self._say(error, "error", _ERROR)
        elif action.prompt:
            self._in_thread(action.default, lambda value, _: self._ask(action, value or "", ""))
        else:
            self._question(action)

    def _question(self, action: Action) -> None:
        self._in_thread(action.question, lambda text, error: self._asked(action, text, error))

    def _ask(self, action: Action, value: str, error: str) -> None:
        def answered(text: "str | None") -> None:
            if not text:
                action.close()
                return
            action.value = text
            self._question(action)

        self._app.push_screen(Ask(_title(action), action.prompt, value, error), answered)

    def _asked(self, action: Action, question: "str | None", error: str) -> None:
        if question is None:
            if action.prompt and not action.is_gone():  # once more, with what is wrong with it
                self._ask(action, action.value, error)
            else:
                action.close()
                self._say(error, "error", _ERROR)
            return

        def answered(yes: "bool | None") -> None:
            if not yes:
                action.close()
                self._say(f"{action.title}: left as it was")
                return
            what = f"{action.title} {action.group.path}"
            self.busy.append(what)
            self._say(f"{what} ...", seconds=60)
            self._in_thread(action.run, lambda text, error: self._done(action, what, text, error))

        self._app.push_screen(Confirm(_title(action), question), answered)

    def _done(self, action: Action, what: str, text: "str | None", error: str) -> None:
        self.busy.remove(what)
        action.close()
        if text is None:
            self._say(error, "error", _ERROR)
        else:
            self._say(f"{action.group.path}: {text}")
        self._refresh()


def _title(action: Action) -> str:
    return f"{action.title}: {printable(action.group.path)}"

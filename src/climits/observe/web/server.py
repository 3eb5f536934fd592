"""The status page beside a supervisor: a small HTTP server in a thread."""

import os
import socket
import threading

from ...errors import ClimitsError, UnsupportedError
from ...linux.whole_file import write_whole
from ...supervise.address import address_of, listen, parse_address
from ...supervise.beside import Beside
from ...supervise.control import make_folder
from .guard import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...supervise.client import Client
    from .serving import PageServer

_WHAT = "--web"
#: Seconds for the thread to end.
_ENDS_IN = 5.0


class StatusPage(Beside):
    """Shows what a supervisor does, and lets holders of the token act.

    Attributes:
        url: of the page, without the token; known once it has begun.
        token: what who acts must know; known once it has begun.
        open: whether reading needs no token; known once it has begun.
    """

    url = token = _kept = ""
    open = False

    def __init__(self, address: str, tell: "Callable[[StatusPage], None]") -> None:
        """Prepare.

        Args:
            address: where to listen, as HOST:PORT.
            tell: called once it listens, before the first program is started.

        Raises:
            InvalidValueError: that is no address.
            UnsupportedError: starlette or uvicorn is not installed.
        """
        try:
            from . import serving
        except ImportError as e:
            raise UnsupportedError(
                f"the status page needs starlette and uvicorn: {str(e).lower()}",
                hint="pip install 'climits[web]'",
            ) from None
        self._serving = serving
        self._host, self._port = parse_address(address, what=_WHAT, port=8088)
        self._tell = tell
        self._listener: socket.socket | None = None
        self._server: PageServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url_with_token(self) -> str:
        """What a person opens to act.

        The token stands behind the #, which browsers send to nobody.
        """
        return f"{self.url}#token={self.token}"

    def keep_url(self, folders: "Sequence[str]") -> str:
        """Write the URL with the token into a file for our user alone, until the end.

        Args:
            folders: where it may lie; the first that can be had is taken, and made if need be.

        Returns:
            Its path.

        Raises:
            ClimitsError: none can be had.
        """
        assert self._listener
        name = f"status-page-{self._listener.getsockname()[1]}.url"
        cause = ""
        for folder in folders:
            path = os.path.join(folder, name)
            try:
                make_folder(folder)
                write_whole(path, f"{self.url_with_token}\n".encode(), 0o600)
            except OSError as e:
                cause = cause or f"{path}: {os.strerror(e.errno or 0).lower()}"
                continue
            self._kept = path
            return path
        raise ClimitsError(
            f"the token of the status page cannot be kept: {cause}",
            hint="set XDG_RUNTIME_DIR, or run it at a terminal, which is told the token",
        )

    @property
    def warning(self) -> "str | None":
        """What to know about an address that others can connect to."""
        if self.open:
            return None
        return (
            "others can connect to the status page: reading needs the token too, which whoever is "
            "on the way can read; 127.0.0.1 and ssh -L are safer"
        )

    def begin(self, connect: "Callable[[], Client]") -> None:
        """Listen, and start the thread."""
        self._listener = listen(self._host, self._port, what=_WHAT)
        guard = Guard(self._host, self._listener.getsockname()[0])
        address = address_of(self._listener)
        if guard.wildcard or self._host == "localhost":  # what a browser can open
            host = socket.gethostname() if guard.wildcard else self._host
            address = f"{host}:{self._listener.getsockname()[1]}"
        self.url, self.token, self.open = f"http://{address}/", guard.token, guard.open
        self._server = self._serving.PageServer(connect, guard, self._listener)
        self._thread = threading.Thread(
            target=self._server.run_all, name="climits-web", daemon=True
        )
        self._thread.start()
        self._tell(self)

    def end(self) -> None:
        """Tell those who watch, and end the thread."""
        if self._server and self._thread:
            self._server.stop()
            self._thread.join(_ENDS_IN)
            self._thread = None
        if self._listener:
            self._listener.close()
        if self._kept:
            try:
                os.unlink(self._kept)
            except FileNotFoundError:
                pass
            self._kept = ""

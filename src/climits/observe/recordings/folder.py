"""The folder that matplotlib writes to."""

import contextlib
import logging
import os
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def own_folder() -> "Iterator[None]":
    """Give matplotlib a folder to write to, where its own cannot be written.

    It would leave one behind in /tmp, and say so on standard error.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    home = os.path.expanduser("~")
    usual = [
        os.environ.get("MPLCONFIGDIR")
        or os.path.join(os.environ.get(name) or os.path.join(home, folder), "matplotlib")
        for name, folder in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
    ]
    if all(map(_can_be_made, usual)):
        yield
        return
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory(prefix="climits-report-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
            if before is not None:
                os.environ["MPLCONFIGDIR"] = before


def _can_be_made(folder: str) -> bool:
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)  # matplotlib makes what is missing
    try:
        with tempfile.TemporaryFile(dir=folder):  # root may write whatever the mode says
            return True
    except OSError:
        return False

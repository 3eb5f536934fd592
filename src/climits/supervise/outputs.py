"""Where the standard output and error of a supervised program go: into log files, run after run."""

from functools import partial

from ..program.pipes import STDOUT
from .logs import LogFile, LogPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import ProgramConfig
    from .loop import Loop


class Outputs:
    """The log files of a program, and the pipes through which its runs write into them."""

    __slots__ = ("_config", "_logs", "_loop", "_pipes", "tell")

    def __init__(self, config: "ProgramConfig", loop: "Loop", tell: "Callable[..., None]") -> None:
        """Open nothing yet.

        Args:
            config: of the program, with the log of one of the two at least.
            loop: reads the pipes.
            tell: called with an event and its fields when a log fails, and when it works again.
        """
        self._config, self._loop, self.tell = config, loop, tell
        self._logs: dict[str, LogFile] = {}
        self._pipes: tuple[LogPipe, ...] = ()

    def open(self) -> "tuple[int | None, int | None]":
        """What a run gets as its standard output and error: descriptors, STDOUT, or None for ours.

        Raises:
            OSError: a pipe cannot be had.
        """
        out: list[int | None] = []
        for which in ("stdout", "stderr"):
            config = getattr(self._config, which)
            if config is None:
                out.append(None)
            elif config == "stdout":
                out.append(STDOUT)
            else:
                log = self._logs.get(which)
                if log is None:
                    log = self._logs[which] = LogFile(config)
                pipe = LogPipe(log)
                self._pipes = (*self._pipes, pipe)
                self._loop.watch(pipe.fileno(), partial(self._read, pipe, log))
                out.append(pipe.child_fd)
        return out[0], out[1]

    def close_child(self) -> None:
        """Close the program's ends here: it has its own."""
        for pipe in self._pipes:
            pipe.close_child()

    def _read(self, pipe: LogPipe, log: LogFile, _events: int) -> None:
        error = log.error
        if not pipe.turn():
            self._loop.forget(pipe.fileno())
            pipe.close()
            self._pipes = tuple(p for p in self._pipes if p is not pipe)
        if log.error != error:  # told once, not for each line
            self.tell("log-failed" if log.error else "log-works-again", error=log.error)

    def close_pipes(self) -> None:
        """Give the pipes back: no run writes into them any more."""
        for pipe in self._pipes:
            self._loop.forget(pipe.fileno())
            pipe.close()
        self._pipes = ()

    def close(self) -> None:
        """Give the log files back too."""
        self.close_pipes()
        for log in self._logs.values():
            log.close()

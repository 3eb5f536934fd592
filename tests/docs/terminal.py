"""Terminals with a shell in them, in which a page's commands are run."""

import codecs
import fcntl
import os
import pty
import re
import secrets
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

from running import Command, clean, fits
from support import PATIENCE

#: Seconds that a command may take. Much of it is sleep, so slowness does not count as a whole.
WAIT = 30 * min(PATIENCE, 5)
ROWS, COLUMNS = 40, 100


class DiffersError(AssertionError):
    """A command did not do what the page says."""


class Terminal:
    """A shell on a pseudo-terminal; `enter` are words before it."""

    def __init__(self, folder: Path, environment: "dict[str, str]", enter: "list[str]") -> None:
        self.mark = f"@@{secrets.token_hex(6)}"
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""
        self.used = 0  # of its lines, so many have been held against the page
        self.busy = False
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        shell = ["setsid", "-c", "bash", "--norc", "--noprofile", "--noediting", "-i"]
        self.shell = subprocess.Popen(
            [*enter, *shell], cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        # The mark is made of two parts: were the line echoed, it would not be taken for a prompt.
        self.type(f"stty -echo; PS2=; cd '{folder}'; PS1='{self.mark[:4]}''{self.mark[4:]} $?@@'\n")
        self.until(lambda: self.status() is not None, "the shell does not start")
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def status(self) -> "str | None":
        """The exit status of the command, once it has ended."""
        found = re.search(rf"{self.mark} (\d+)@@", self.text)
        return found and found[1]

    def printed(self) -> "list[str]":
        """The lines that were printed and not yet held against the page; whole ones alone."""
        text, ended, _ = self.text.partition(f"{self.mark} ")
        if not ended:
            text = text[: text.rfind("\n") + 1]
        return clean(text)[self.used :]

    def until(self, condition, what: str, again: str = "") -> None:
        """Read until a condition holds; `again` is typed once more when half of the time is up."""
        began = time.monotonic()
        while not condition():
            left = began + WAIT - time.monotonic()
            if left <= 0:
                raise DiffersError(f"{what} within {WAIT:.0f} s")
            if again and left < WAIT / 2:
                self.type(again)
                again = ""
            if select.select([self.master], [], [], min(left, 0.5))[0]:
                try:
                    data = os.read(self.master, 1 << 16)
                except OSError as error:  # nobody has the terminal open any more
                    raise DiffersError("the shell has ended") from error
                self.text += self.decoder.decode(data).replace("\r\n", "\n")

    def run(self, command: Command) -> None:
        """Run a command, or go on with the one that runs, and hold what it prints against the page.

        Raises:
            DiffersError: it printed something else, ended otherwise, or not in time.
        """
        if command.text:
            assert not self.busy, f"line {command.line}: a command runs in this terminal"
            self.text, self.used, self.busy = "", 0, True
            self.type(command.text + "\n")
        else:
            assert self.busy, f"line {command.line}: nothing runs in this terminal"
        if command.sees:
            self.until(lambda: command.sees in self.text, f"{command.sees!r} does not come up")
            self.type(command.types)
            self.end(command, [])
            return
        interrupted = ""
        for piece in command.pieces:
            if piece.types or command.goes_on:
                self.wait_for(piece.lines)
                self.type(piece.types)
                interrupted = interrupted or piece.types
            else:
                killed = piece.lines and " oom-killed: " in piece.lines[-1]
                usual = ("137" if killed else "0") + "|130" * bool(interrupted)
                self.end(command, piece.lines, usual, interrupted)

    def wait_for(self, lines: "list[str]") -> None:
        """Wait until a command that goes on has printed these lines."""
        self.until(lambda: fits(lines, self.printed(), whole=False) is not None, "not printed")
        self.used += fits(lines, self.printed(), whole=False) or 0

    def end(self, command: Command, lines: "list[str]", usual: str = "0", typed: str = "") -> None:
        """Wait for a command's end, and hold against the page what it has printed until then.

        What was typed to end it is typed once more if it goes on: between two commands of a line,
        a shell may take the Ctrl+C for itself, and begin the second.
        """
        self.until(lambda: self.status() is not None, "it does not end", typed)
        self.busy = False
        if not command.sees and fits(lines, self.printed()) is None:
            raise DiffersError("it prints something else")
        wanted = command.status or usual
        if wanted != "any" and self.status() not in wanted.split("|"):
            raise DiffersError(f"it ends with status {self.status()}, not {wanted}")

    def close(self) -> None:
        """End the shell, and whatever runs in it."""
        os.close(self.master)
        try:
            self.shell.wait(10 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.shell.kill()
            self.shell.wait()
            raise

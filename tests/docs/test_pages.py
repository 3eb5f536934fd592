"""The tutorial, the how-to pages and the explanations, followed to the letter: see running.py."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import Command, File, read_page
from support import PATIENCE, until
from terminal import WAIT, DiffersError, Terminal

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs/tutorial.md",
    *sorted(ROOT.glob("docs/how-to/*.md")),
    *sorted(ROOT.glob("docs/explanation/*.md")),
]
WORDS = [str(page.relative_to(ROOT / "docs")).removesuffix(".md") for page in PAGES]
pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120 * PATIENCE)]

#: Switch the loopback device on (SIOCSIFFLAGS, IFF_UP and IFF_RUNNING), and stay until the end.
LOOPBACK = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, climits):
    """A folder to follow a page in, and the environment of its shells."""
    bins, work = tmp_path / "bin", tmp_path / "work"
    bins.mkdir()
    work.mkdir()
    (work / "examples").symlink_to(ROOT / "examples")  # what comes with climits
    (bins / "climits").symlink_to(climits)
    # No link: through one a virtual environment would not be seen.
    python = Path(sys.executable).with_name("python3")
    (bins / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (bins / "python3").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bins}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CLIMITS_STATE_DIR": str(tmp_path / "state"),
        "TMPDIR": str(tmp_path),
        "TERM": "xterm-256color",
        "HISTFILE": "",
        "LC_ALL": "C.UTF-8",
    }
    return work, environment


@pytest.fixture
def place():
    """Words that lead into a place where the usual socket, and each port, is nobody else's."""
    hide = "mkdir -p /run/climits && mount -t tmpfs tmpfs /run/climits"
    words = ["unshare", "--mount", "--net", "sh", "-c", f'{hide} && exec "$@"', "sh"]
    with subprocess.Popen(
        [*words, sys.executable, "-c", LOOPBACK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as holder:
        if holder.stdout.readline() == b"ready\n":
            yield ["nsenter", "--mount", "--net", "--target", str(holder.pid), "--"]
            holder.stdin.close()
            return
    # An ordinary user, or root without the right: then nobody else's supervisor may be there.
    folder = os.environ.get("XDG_RUNTIME_DIR", "") if os.geteuid() else "/run"
    if os.path.exists(f"{folder}/climits/supervise.sock"):
        pytest.skip("a supervisor runs here that is not of the tests")
    yield []


def left_running(folder):
    """Processes of a page that are still there, by their environment: pids to command lines."""
    word, found = f"HOME={folder.parent}\0".encode(), {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if word in (directory / "environ").read_bytes():
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(directory.name)] = line.decode(errors="replace")
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def follow(step, work, terminals, make):
    """Do what a page says in one place."""
    if isinstance(step, File):
        path = work / step.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text)
        return None
    terminal = terminals.get(step.terminal) or terminals.setdefault(step.terminal, make())
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return terminal.run(step)
        except DiffersError:
            if not step.until or terminal.busy or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("page", PAGES, ids=WORDS)
def test_the_page(page, folder, place, told):
    work, environment = folder
    steps = read_page(page.read_text())
    left = [
        (step.line, step.text, step.not_run or step.missing())
        for step in steps
        if isinstance(step, Command) and (step.not_run or step.missing())
    ]
    todo = [s for s in steps if isinstance(s, File) or not (s.not_run or s.missing())]
    commands = [step for step in todo if isinstance(step, Command)]
    told(page.name, len(commands), left)
    if not commands:
        pytest.skip("; ".join(sorted({reason for _, _, reason in left})))
    terminals = {}
    try:
        for step in todo:
            try:
                follow(step, work, terminals, lambda: Terminal(work, environment, place))
            except DiffersError as error:
                pytest.fail(report(page, step, error, terminals[step.terminal]), pytrace=False)
        busy = [number for number, terminal in terminals.items() if terminal.busy]
        assert not busy, f"a command still runs in terminal {busy} at the end of the page"
    finally:
        for terminal in terminals.values():
            terminal.close()
        left = left_running(work)
        # A supervisor outlives its terminal: SIGHUP has it read its file again.
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until(lambda: left_running(work) == {}, f"still there: {left}")
    assert left == {}, "left behind, and ended by the test"


def report(page, step, error, terminal):
    """What a writer needs to see."""
    wanted = "\n^C\n".join("\n".join(piece.lines) for piece in step.pieces)
    return (
        f"{page.relative_to(ROOT)}:{step.line}: {error}\n$ {step.text}\n"
        f"--- the page has\n{wanted}\n--- it printed (status {terminal.status()})\n"
        + "\n".join(terminal.printed())
    )


def test_each_page_has_commands_that_are_run():
    for page in PAGES:
        steps = read_page(page.read_text())
        assert any(isinstance(step, Command) and not step.not_run for step in steps), page

"""Completions and manual pages, as shells and man find them where the package is installed."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE

from climits.cli.main import COMMANDS

SHARE = Path(sys.prefix, "share")
BASH = SHARE / "bash-completion/completions/climits"
ZSH = SHARE / "zsh/site-functions/_climits"
FISH = SHARE / "fish/vendor_completions.d/climits.fish"

pytestmark = pytest.mark.skipif(IN_VM, reason="a matter of shells, not of the kernel")


def needs(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")


@pytest.fixture
def environ(command, tmp_path):
    path = f"{os.path.dirname(command)}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}


#: (line, what must be offered, what must not)
CASES = [
    ("climits ru", {"run"}, {"stats"}),
    ("climits run --mem", {"--memory"}, {"--swap"}),
    ("climits run --memory 60M -- basenam", {"basename"}, {"run"}),
    ("climits explain memory.oom", {"memory.oom.group", "memory.oom_control"}, {"memory.max"}),
    ("climits ctl st", {"start", "status", "stop"}, {"reload"}),
]
cases = pytest.mark.parametrize(("line", "offered", "not_offered"), CASES)


@cases
def test_bash(line, offered, not_offered, environ):
    words = line.split(" ")
    script = f"""
        source {BASH}
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        $(complete -p climits | sed 's/.*-F \\([^ ]*\\).*/\\1/') climits '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert offered <= found and not not_offered & found, done.stderr


@needs("fish")
@cases
def test_fish(line, offered, not_offered, environ):
    script = f"source {FISH}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {row.split("\t")[0] for row in done.stdout.splitlines()}
    assert offered <= found and not not_offered & found, done.stderr


@needs("zsh")
def test_zsh(environ):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environ)
    try:
        setup = (
            f"PS1=; fpath=({ZSH.parent} $fpath); autoload -Uz compinit; compinit -u -D; "
            "bindkey '^I' list-choices; LISTMAX=1000; echo rea''dy\n"
        )
        os.write(terminal, setup.encode())
        read_until(terminal, {"ready"})
        for line, offered, _ in CASES:  # what is not offered may stand in the line, drawn again
            os.write(terminal, f"{line}\t".encode())
            read_until(terminal, offered, after=line)
            os.write(terminal, b"\x15")  # kill the line
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def read_until(terminal, wanted, after=""):
    """Wait until the terminal shows all that is wanted behind `after`."""
    seen = ""
    deadline = time.monotonic() + 30 * PATIENCE
    while True:
        told = seen.partition(after)[2] if after else seen
        if told and all(word in told for word in wanted):
            return
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")


def test_cgroups_are_offered(environ, hog):
    import climits

    with climits.Process([hog, "hold", "60000"], name="climits-offered", memory="50M") as p:
        script = f"source {BASH}; _climits_cgroups /climits/climits-off"
        done = subprocess.run(
            ["bash", "--norc", "-c", script], env=environ, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        p.kill()
    assert done.stdout.split() == ["/climits/climits-offered"]


@needs("man")
def test_every_command_has_a_manual_page(environ):
    pages = {path.stem for path in (SHARE / "man/man1").glob("climits*.1")}
    assert pages == {"climits", *(f"climits-{name}" for name in COMMANDS)}
    done = subprocess.run(
        ["man", "--warnings", "-M", str(SHARE / "man"), "climits-run"],
        env={**environ, "MANWIDTH": "80", "MANPAGER": "cat"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "climits run [OPTIONS] [--] COMMAND [ARGUMENTS]" in done.stdout
    assert "--memory SIZE" in done.stdout and "50%" in done.stdout

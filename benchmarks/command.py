"""What a whole command costs, from fork to wait, beside the peers.

Each command is started by posix_spawn and waited for; the time is that of the whole command, its
start-up included.  What cannot run on this host is listed with the reason.
"""

import os
import subprocess
import sys

import common
import peers

_REFERENCE = "climits run --memory 64M --quiet"
_TRUE = "/bin/true"


def runner(commands):
    """A function that runs commands in order, each spawned and waited for."""
    env = common.environment()
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]

    def run():
        for argv in commands:
            pid = os.posix_spawn(argv[0], argv, env, file_actions=quiet)
            _, status = os.waitpid(pid, 0)
            if status:
                raise RuntimeError(f"{argv}: status {status}")

    return run


def row(name, make, *, expect="", **target):
    """A row for the command or commands that `make` returns; tried out first."""
    try:
        commands = make()
        if isinstance(commands[0], str):
            commands = [commands]
        peers.try_out(commands, expect)
    except peers.NotHere as e:
        return common.Row(name, None, reason=str(e), **target)
    return common.Row(name, runner(commands), **target)


def rows(bundle):
    def python_pass():
        return [sys.executable, "-c", "pass"]

    def chain():
        return peers.cgroup_tools(_TRUE)

    return [
        row("/bin/true", lambda: [_TRUE]),
        row("bwrap: no limit", lambda: peers.bwrap(_TRUE)),
        row(_REFERENCE, lambda: peers.climits(_TRUE)),
        row(
            "python -c pass", python_pass, under=1.5, only_isolated=True
        ),
        row("cgcreate; cgset; cgexec; cgget; cgdelete", chain, at_least=1.3),
        row("the same in one sh -c", lambda: peers.in_one_shell(chain()), at_least=1.3),
        row("runc run, a busybox bundle", lambda: peers.runc(bundle, "/bin/true"), at_least=1.3),
        # runexec exits 0 even where it could start nothing
        row(
            "runexec --no-container", lambda: peers.runexec(_TRUE), expect="returnvalue=0",
            at_least=6,
        ),
        row(
            "runexec --read-only-dir /", lambda: peers.runexec(_TRUE, container=True),
            expect="returnvalue=0", at_least=6,
        ),
    ]  # fmt: skip


def check_byte_code():
    """Say so where climits would have to be compiled at each start."""
    code = (
        "import climits, importlib.util as u, os, sys;"
        "sys.exit(not os.path.exists(u.cache_from_source(climits.__file__)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=common.environment(), check=False)
    return "" if done.returncode == 0 else "climits has no byte code here: its times are wrong."


def measure(options):
    common.join_own_cgroup()
    report = common.Report("command: whole commands, ratio to climits run", options)
    every = rows(common.scratch())
    failed = next((row for row in every if row.name == _REFERENCE and row.run is None), None)
    if failed:
        sys.exit(f"command: climits does not run: {failed.reason}")
    compared = common.compare(report, every, _REFERENCE, options, scale=1e3, unit="ms")
    report.add(common.Table(*compared))
    if wrong := check_byte_code():
        report.add(wrong)
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=100, isolated=100, quick=(3, 3))
    common.main(parser, measure)

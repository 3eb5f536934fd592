"""`climits setup` and `climits doctor` where systemd manages the host, for the user tester."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, until

from climits.cgroup.layout import current
from climits.observe.setup import login
from climits.observe.setup.login import open_to_others

USER = "tester"
DROP_INS = Path("/etc/systemd/system")
FILES = (Path("/etc/subuid"), Path("/etc/subgid"), Path("/var/lib/climits"), DROP_INS,
         Path("/etc/sysctl.d"))  # fmt: skip

pytestmark = [pytest.mark.vm_only, pytest.mark.usefixtures("needs_systemd", "as_root")]


@pytest.fixture(scope="module")
def as_root():
    if os.geteuid() != 0:
        pytest.skip("needs root: it prepares the host for a user")


@pytest.fixture(scope="module")
def without_ids():
    """Take the user's subordinate ids away; the machine is thrown away."""
    for path in FILES[:2]:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(f"{USER}:")))


@pytest.fixture
def uid(without_ids):
    """The number of the user, whose manager runs."""
    number = pwd.getpwnam(USER).pw_uid
    # Each time: logind ends it ten seconds after the last session of an earlier test.
    subprocess.run(["systemctl", "start", f"user@{number}.service"], check=True)
    return number


def run(*words):
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=60 * PATIENCE,
        check=False,
    )  # fmt: skip


def logged_in(*words):
    """Run a command as the user, in a session of theirs."""
    session = ("--quiet", "--pipe", "--wait", f"--uid={USER}", "--property=PAMName=login")
    path = f"--setenv=PATH={os.environ['PATH']}"
    return run("systemd-run", *session, path, "--", *words)


def contents():
    found = {}
    for top in FILES:
        for path in [top, *top.rglob("*")] if top.exists() else ():
            found[str(path)] = path.read_text() if path.is_file() else None
    return found


@pytest.fixture
def undone(climits):
    """What setup did is undone, and the files are as before."""
    before = contents()
    yield
    assert run(climits, "setup", "--undo").returncode == 0
    assert contents() == before


def keys(done):
    assert done.stdout, done.stderr
    return {f["key"]: f for f in json.loads(done.stdout)["findings"] if "key" in f}


def scope_controllers(uid):
    """What a scope that the user's manager makes now has."""
    script = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"
    words = ("systemd-run", "--user", "--scope", "-q", "-p", "Delegate=yes", "sh", "-c", script)
    done = logged_in(*words)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_all_that_a_user_needs(climits, uid, on_v2, undone):
    assert "cpuset" not in scope_controllers(uid)
    before = logged_in(climits, "doctor", "--json")
    assert before.returncode == 1, before.stdout + before.stderr
    assert set(keys(before)) == {"controller-not-delegated", "no-subordinate-ids"}
    assert f"climits setup --user {USER} --apply" in keys(before)["no-subordinate-ids"]["remedy"]

    first = run(climits, "setup", "--user", USER, "--apply")
    assert (first.returncode, first.stderr) == (0, "")
    assert [line[:9] for line in first.stdout.splitlines() if line[0] != " "] == ["done     "] * 2
    second = run(climits, "setup", "--user", USER, "--apply")
    assert (second.returncode, second.stdout) == (0, "nothing to do\n")
    assert run(climits, "setup", "--user", USER).stdout.endswith("\n\nnothing to do\n")

    assert scope_controllers(uid) >= {"cpu", "cpuset", "io", "memory", "pids"}
    words = ("--memory", "60M", "--cpuset", "0", "--quiet", "--", "true")
    assert logged_in(climits, "run", *words).returncode == 0
    after = logged_in(climits, "doctor")
    assert after.returncode == 0, after.stdout + after.stderr
    assert after.stdout.endswith("all is well: every limit can be enforced here\n")

    assert run(climits, "setup", "--undo").returncode == 0
    # The manager was executed anew once more, and hands out what it has been given.
    until(lambda: "cpuset" not in scope_controllers(uid))


def test_a_drop_in_of_somebody_else_stays(climits, uid, on_v2, undone):
    theirs = DROP_INS / f"user@{uid}.service.d" / "theirs.conf"
    theirs.parent.mkdir()
    theirs.write_text("[Service]\nNice=5\n")
    try:
        assert run(climits, "setup", "--user", USER, "--apply", "--quiet").stdout == ""
        assert run(climits, "setup", "--user", USER, "--undo").returncode == 0
        assert [p.name for p in theirs.parent.iterdir()] == ["theirs.conf"]
    finally:
        theirs.unlink()
        theirs.parent.rmdir()


def test_root_is_told_that_all_is_well(climits, on_v2):
    done = run(climits, "doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all is well: every limit can be enforced here\n")


def test_no_manager_and_no_socket_are_named(climits, uid, on_v2):
    words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", climits, "doctor")
    nobody = keys(run(*words, "--json"))
    assert "loginctl enable-linger nobody" in nobody["no-user-manager"]["remedy"]
    hidden = (
        f"mount -t tmpfs t /run/user/{uid} && exec setpriv --reuid={uid} --regid={uid} "
        f"--clear-groups {climits} doctor --json"
    )
    found = keys(run("unshare", "-m", "sh", "-c", hidden))
    assert "dbus-user-session" in found["no-user-bus"]["remedy"]


def test_a_read_only_etc_is_told_and_nothing_is_left(climits, uid, on_v2, undone):
    script = f"mount --bind /etc /etc && mount -o remount,bind,ro /etc && {climits} setup --apply"
    done = run("unshare", "-m", "sh", "-c", script)
    assert done.returncode == 125 and done.stdout == ""
    assert done.stderr.startswith("climits: could not delegate cpu, cpuset, io, memory and pids to")
    assert "read-only file system; hint: " in done.stderr


def test_mounting_is_systemds(climits):
    done = run(climits, "setup", "--mount", "v2")
    assert done.returncode == 125
    assert done.stderr.startswith("climits: --mount: systemd mounts the cgroup filesystems here")


def test_v1_gives_a_subtree_now_and_at_the_login_after_a_boot(climits, uid, on_v1, undone):
    assert run(climits, "setup", "--user", USER, "--apply").returncode == 0
    home = f"/climits/user-{uid}"
    memory = Path(current().holding("memory").directory_path(home))
    assert memory.stat().st_uid == uid
    for command in ("run", "--memory", "60M", "--quiet", "--", "true"), ("doctor", "--quiet"):
        done = logged_in(climits, *command)
        assert done.returncode == (command[0] == "doctor"), done.stdout + done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith("cannot")]
    made = [Path(h.directory_path(home)) for h in current().hierarchies]
    for path in made:
        for below, _, _ in os.walk(path, topdown=False):
            os.rmdir(below)
    assert f"needed    give {USER} the cgroup" in run(climits, "setup", "--user", USER).stdout
    assert run("systemctl", "restart", f"user@{uid}.service").returncode == 0
    told = run(climits, "setup", "--user", USER).stdout
    if any(map(open_to_others, (sys.executable, os.path.dirname(login.__file__)))):
        # Root does not execute at each login what others may replace.
        assert f"by hand   make {home} when {USER} logs in first after a boot" in told
        assert f"needed    give {USER} the cgroup" in told
    else:
        assert told.endswith("\n\nnothing to do\n")

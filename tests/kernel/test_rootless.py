"""An ordinary user in a cgroup that was delegated to them."""

import os
import subprocess
import sys

import pytest
from support import our_cgroups

from climits.cgroup.layout import current
from climits.cgroup.leftovers import sweep

USER = 65534


@pytest.fixture
def as_user():
    """A prefix that runs a command as an ordinary user."""
    prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    if subprocess.run(
        [*prefix, sys.executable, "-c", "pass"], stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("an ordinary user cannot run this interpreter here (it lies in root's home)")
    return prefix


def delegate(directory):
    """Give a cgroup to the user, as cgroup-v2.rst and cgroups(7) say."""
    for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"):
        if os.path.exists(f"{directory}/{name}"):
            os.chown(f"{directory}/{name}", USER, USER)


@pytest.fixture
def delegated(layout):
    """A cgroup of the user's in every hierarchy that a run needs."""
    needed = [layout.holding("memory"), *layout.trackers()]
    paths = [f"{h.mount_point}/climits-delegated" for h in dict.fromkeys(needed)]
    if layout.holding("memory").delegates:
        with open(f"{layout.holding('memory').mount_point}/cgroup.subtree_control", "w") as file:
            file.write("+memory")
    for path in paths:
        os.makedirs(path, exist_ok=True)
        delegate(path)
    yield paths
    for path in paths:
        for below, _, _ in os.walk(path, topdown=False):
            os.rmdir(below)


def test_a_run_in_a_delegated_cgroup(climits, hog, as_user, delegated):
    join = "".join(f"echo $$ > {path}/cgroup.procs; " for path in delegated)
    command = [*as_user, climits, "run", "--memory", "60M", "--", hog, "alloc", "80"]
    done = subprocess.run(
        ["sh", "-c", f'{join} exec "$@"', "sh", *command], capture_output=True, text=True
    )
    assert "oom-killed" in done.stderr
    assert done.returncode == 137


def test_a_run_beside_other_processes_says_what_to_do(climits, as_user, delegated, on_v2):
    join = "".join(f"echo $$ > {path}/cgroup.procs; " for path in delegated)
    command = [*as_user, climits, "run", "--memory", "60M", "--", "true"]
    done = subprocess.run(
        ["sh", "-c", f'{join} "$@"; exit $?', "sh", *command], capture_output=True, text=True
    )
    assert done.returncode == 125
    assert "processes live in it" in done.stderr
    assert "hint: " in done.stderr


def test_no_right_at_all(climits, as_user):
    before = our_cgroups()
    done = subprocess.run(
        [*as_user, climits, "run", "--memory", "60M", "true"], capture_output=True, text=True
    )
    assert done.returncode == 125
    assert "no right to make a cgroup" in done.stderr
    assert our_cgroups() == before


def test_the_library_says_so_too(as_user):
    code = "import climits\ntry: climits.run(['true'])\nexcept PermissionError as e: print(e.hint)"
    done = subprocess.run([*as_user, sys.executable, "-c", code], capture_output=True, text=True)
    assert "delegated to you" in done.stdout


def test_what_a_user_writes_on_their_cgroup_leads_root_nowhere_else(delegated, tmp_path):
    """A mark tells what was about to be made; whoever owns the cgroup can write it."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "cgroup.procs").touch()
    dead = b"999999999 1 %d" % os.stat("/proc/self/ns/pid").st_ino
    for path in delegated:
        away = os.path.relpath(trap, path).encode()
        os.setxattr(path, "user.climits.makes.1.1", dead + b" " + away)
    assert sweep(current(), "/climits-delegated") == []
    assert os.listxattr(trap) == []

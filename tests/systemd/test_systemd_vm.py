"""Where the tests under systemd run: in a login session, whose cgroup nobody has delegated."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from support import IN_VM

pytestmark = [
    pytest.mark.usefixtures("needs_systemd"),
    pytest.mark.skipif(not IN_VM, reason="a login elsewhere may be in another place"),
]
CGROUP = Path("/sys/fs/cgroup")


def own_path(name: str) -> str:
    """Our cgroup's path in the hierarchy of that name, "" for cgroup2."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(p for _, names, p in (line.split(":", 2) for line in lines) if names == name)


def tracking() -> tuple[str, Path]:
    """The name and the directory of the hierarchy in which systemd keeps its units."""
    if (CGROUP / "cgroup.procs").exists():
        return "", CGROUP
    if (CGROUP / "unified/cgroup.procs").exists():
        return "", CGROUP / "unified"
    return "name=systemd", CGROUP / "systemd"


def test_systemd_is_process_1() -> None:
    assert Path("/proc/1/comm").read_text() == "systemd\n"


def test_we_are_in_a_session_of_our_own() -> None:
    uid, session = os.geteuid(), os.environ["XDG_SESSION_ID"]
    expected = f"/user.slice/user-{uid}.slice/session-{session}.scope"
    assert own_path(tracking()[0]) == expected


def test_the_session_belongs_to_root() -> None:
    name, directory = tracking()
    found = (directory / own_path(name)[1:]).stat()
    assert found.st_uid == 0


@pytest.mark.usefixtures("needs_user")
def test_a_user_may_not_make_a_cgroup_in_the_session() -> None:
    name, directory = tracking()
    with pytest.raises(PermissionError):
        (directory / own_path(name)[1:] / "climits-test").mkdir()


def test_the_user_manager_runs_beside_it() -> None:
    found = subprocess.run(
        ["systemctl", "--user", "show", "-p", "ControlGroup", "--value"],
        capture_output=True,
        text=True,
        check=True,
    )
    uid = os.geteuid()
    assert re.match(rf"/user\.slice/user-{uid}\.slice/user@{uid}\.service\b", found.stdout)


@pytest.mark.skipif(os.environ.get("VM_MODE") != "v2", reason="memory is delegated on v2 only")
def test_the_user_manager_may_limit_memory() -> None:
    uid = os.geteuid()
    manager = CGROUP / f"user.slice/user-{uid}.slice/user@{uid}.service"
    assert "memory" in (manager / "cgroup.controllers").read_text().split()
    assert manager.stat().st_uid == uid

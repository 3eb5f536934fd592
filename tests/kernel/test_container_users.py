"""Containers of an ordinary user, who becomes root inside and nowhere else."""

import os
import pwd
import shutil
import threading
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, USER, until

pytestmark = pytest.mark.usefixtures("busybox", "the_host_is_as_before")


def test_an_ordinary_user_is_root_inside_and_nowhere_else(as_user):
    code = "id -u; echo $$; hostname climits-user; hostname; touch /etc/climits-x;"
    code += "mount -t tmpfs x /mnt"
    done = as_user("--", "sh", "-c", code)
    assert done.stdout.split() == ["0", "1", "climits-user"], done.stderr
    assert "/etc/climits-x" in done.stderr and not os.path.exists("/etc/climits-x")
    assert "mount" in done.stderr


def test_an_ordinary_user_s_container_is_held_to_its_limit(as_user, hog):
    done = as_user("--", hog, "alloc", 80)
    assert done.returncode == 137 and "oom-killed" in done.stderr


def test_an_ordinary_user_with_a_rootfs(as_user, rootfs, place):
    done = as_user("--rootfs", rootfs, "--overlay", "--", "sh", "-c", "id -u; touch /new; ls /")
    if "overlay" in done.stderr and IN_VM:
        pytest.skip("the VM's file system is an overlay already")
    assert done.stdout.split() == ["0", "bin", "dev", "etc", "new", "proc", "sys"], done.stderr
    assert not (rootfs / "new").exists()


def test_an_ordinary_user_with_a_device(as_user, rootfs, place, zeros):
    path, as_user.before = zeros
    for each in (rootfs, *rootfs.rglob("*")):
        os.chown(each, USER, USER, follow_symlinks=False)
    words = ("--", "sh", "-c", f"ls {path}; dd if={path} bs=4 count=1 2>/dev/null | od -An -tx1")
    (rootfs / "bin/od").symlink_to("busybox")
    done = as_user("--rootfs", rootfs, *words)
    assert done.stdout == "" and path in done.stderr
    done = as_user("--rootfs", rootfs, "--device", path, *words)
    assert done.stdout.split() == [path, "00", "00", "00", "00"], done.stderr


def test_an_ordinary_user_cannot_share_the_user_namespace(as_user):
    done = as_user("--share", "user", "--", "true")
    assert done.returncode == 125
    assert "an ordinary user needs a user namespace" in done.stderr


def test_an_ordinary_user_enters_their_own(as_user, hog):
    words = ("--name", "climits-users", "--", "sh", "-c", f"{hog} hold {int(4000 * PATIENCE)}; :")
    thread = threading.Thread(target=as_user, args=words)
    thread.start()
    file = Path(as_user.paths[0], "climits/climits-users/cgroup.procs")
    try:
        until(lambda: file.exists() and len(file.read_text().split()) == 2)
        pid = file.read_text().split()[0]
        found = as_user.enter(f"pid:{pid}", "--", "sh", "-c", "id -u; ls -d /proc/[0-9]* | wc -l")
    finally:
        thread.join()
    assert found.returncode == 0, found.stderr
    uid, processes = found.stdout.split()
    assert uid == "0" and 2 <= int(processes) <= 6


# ---- with ids of /etc/subuid and /etc/subgid ------------------------------------------------


@pytest.fixture
def with_ids(as_user, tmp_path):
    """As as_user, with subordinate ids that nobody else sees."""
    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        pytest.skip("needs newuidmap and newgidmap: apt-get install uidmap")
    if not (os.path.exists("/etc/subuid") and os.path.exists("/etc/subgid")):
        pytest.skip("there is no /etc/subuid to cover")
    name = pwd.getpwuid(USER).pw_name
    files = tmp_path / "subuid", tmp_path / "subgid"
    for file, first in zip(files, (200000, 500000), strict=True):
        file.write_text(f"other:1:1\n{name}:{first}:1000\n{name}:{first + 100000}:64000\n")
    covers = "".join(f"mount --bind {file} /etc/{file.name} && " for file in files)
    as_user.before = ["unshare", "--mount", "sh", "-c", f'{covers} exec "$@"', "sh"]
    return as_user


def test_many_ids_are_mapped(with_ids, place):
    before = Path("/etc/subuid").read_text()
    code = (
        f"id -u; touch {place}/one {place}/two; chown 5:6 {place}/one; chown 1001:7 {place}/two;"
        f" ls -ln {place} | tail -n 2; cat /proc/self/uid_map; hostname climits-many; hostname"
    )
    done = with_ids("--", "sh", "-c", code)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["0"]
    assert [row[2:4] for row in rows[1:3]] == [["5", "6"], ["1001", "7"]]
    # Each is itself in the inner one of two namespaces; outside they are those of the files.
    assert rows[3:-1] == [["0", "0", "1"], ["1", "1", "1000"], ["1001", "1001", "64000"]]
    assert rows[-1] == ["climits-many"]
    owners = [
        (os.stat(place / name).st_uid, os.stat(place / name).st_gid) for name in ("one", "two")
    ]
    assert owners == [(200004, 500005), (300000, 500006)]
    assert Path("/etc/subuid").read_text() == before


def test_the_map_is_what_the_files_give(with_ids, place):
    file = Path(with_ids.paths[0], "climits/climits-users/cgroup.procs")
    code = f"touch {place}/begun; until test -e {place}/end; do sleep 0.1; done"
    words = ("--name", "climits-users", "--timeout", f"{60 * PATIENCE}s", "--", "sh", "-c", code)
    thread = threading.Thread(target=with_ids, args=words)
    thread.start()
    try:
        until(lambda: (place / "begun").exists())
        pid = file.read_text().split()[0]
        maps = [Path(f"/proc/{pid}/{name}").read_text().split() for name in ("uid_map", "gid_map")]
        code = f"id -u; echo $$; touch {place}/entered; chown 5:6 {place}/entered"
        entered = with_ids.enter(f"pid:{pid}", "--", "sh", "-c", code)
    finally:
        (place / "end").touch()
        thread.join()
    assert maps[0] == ["0", str(USER), "1", "1", "200000", "1000", "1001", "300000", "64000"]
    assert maps[1] == ["0", str(USER), "1", "1", "500000", "1000", "1001", "600000", "64000"]
    assert entered.returncode == 0, entered.stderr
    uid, pid = entered.stdout.split()
    assert uid == "0" and int(pid) < 100
    assert os.stat(place / "entered").st_uid == 200004


def test_many_ids_in_a_rootfs(with_ids, rootfs, place):
    for path in (rootfs, *rootfs.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    for name in ("chown", "tail"):
        (rootfs / "bin" / name).symlink_to("busybox")
    code = "id -u; touch /etc/file; chown 5:6 /etc/file; ls -ln /etc | tail -n 1; "
    code += "mount -t tmpfs x /etc"
    done = with_ids("--rootfs", rootfs, "--", "sh", "-c", code)
    lines = done.stdout.splitlines()
    assert lines[0] == "0" and lines[1].split()[2:4] == ["5", "6"], done.stderr
    assert "mount: " in done.stderr and done.returncode == 1
    assert (os.stat(rootfs / "etc/file").st_uid, os.stat(rootfs / "etc/file").st_gid) == (
        200004,
        500005,
    )
    done = with_ids("--rootfs", rootfs, "--user", "7", "--group", "8", "--", "id")
    assert done.stdout == "uid=7 gid=8\n", done.stderr
    if IN_VM:
        return  # its file system is an overlay already, which cannot be the upper layer of one
    code = "chown 9:9 /etc/file; touch /new; ls -ln /etc | tail -n 1"
    done = with_ids("--rootfs", rootfs, "--overlay", "--", "sh", "-c", code)
    assert done.stdout.split()[2:4] == ["9", "9"], done.stderr
    assert os.stat(rootfs / "etc/file").st_uid == 200004 and not (rootfs / "new").exists()


def test_ids_that_are_not_given(with_ids):
    done = with_ids("--user", "65002", "--group", "1", "--", "true")
    assert done.returncode == 125
    assert "become user 65002" in done.stderr and "/etc/subuid" in done.stderr


#: A container with ids of one's own choice.
OWN_MAPS = """
import climits, sys
first, own = map(int, sys.argv[1:])
box = climits.Container(
    uid_map=[(0, first, 100), (100, own, 1)], gid_map=[(0, first + 300000, 100), (100, own, 1)]
)
try:
    climits.run(["sh", "-c", "id -u; cat /proc/self/uid_map; hostname a; hostname"], container=box)
except climits.LaunchError as e:
    print(e, e.hint)
"""


def test_maps_of_one_s_own(with_ids):
    done = with_ids.run(OWN_MAPS, 200000, USER)
    assert done.stdout.split() == ["0", "0", "0", "100", "100", "100", "1", "a"], done.stderr
    done = with_ids.run(OWN_MAPS, 700000, USER)
    assert "users 0 to 700000 (100), 100 to 65534 (1)" in done.stdout, done.stderr
    assert "newuidmap refused" in done.stdout and "/etc/subuid" in done.stdout


def test_without_the_helpers_there_is_one_id(with_ids):
    with_ids.before += ["env", "PATH=/nowhere"]
    with_ids.prefix = (shutil.which("setpriv"), *with_ids.prefix[1:])
    done = with_ids("--", "/bin/cat", "/proc/self/uid_map")
    assert done.stdout.split() == ["0", "0", "1"], done.stderr

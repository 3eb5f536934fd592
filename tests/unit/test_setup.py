"""`climits setup`: the steps, what they change, and how that is undone."""

import errno
import json
import multiprocessing
import os
import pwd
import subprocess
import sys

import pytest

from climits.cgroup.files import PERMISSION_HINT
from climits.cgroup.layout import Layout
from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError, UnsupportedError
from climits.linux import surroundings
from climits.linux.mounts import Mount
from climits.linux.surroundings import Surroundings, detect
from climits.observe import remedies
from climits.observe.setup import changes, steps
from climits.observe.setup.changes import DropIn, Sysctl, WrittenFile, read_text, run, write_text
from climits.observe.setup.host import Host, User, find_user
from climits.observe.setup.identities import SubordinateIds, free_range, ranges_of
from climits.observe.setup.journal import Journal
from climits.observe.setup.login import open_to_others, unit_word
from climits.observe.setup.mounts import PLACE, Mounted, missing, of_layout, parse
from climits.observe.setup.steps import Step, delegated_by
from climits.observe.setup.subtree import Leaf, OwnedSubtree
from climits.observe.setup.work import take, take_back

ALICE = User(name="alice", uid=1000, gid=1000, home="/climits/user-1000")
TABLE = "#name\nmemory\t0\t1\t1\npids\t0\t1\t1\nhugetlb\t0\t1\t0\n"


@pytest.fixture
def places(tmp_path):
    """Where the journals lie."""
    return str(tmp_path / "lib"), str(tmp_path / "run")


@pytest.fixture
def host(tmp_path):
    """host(CHANGES) is a host with systemd and cgroup v2, whose files lie in tmp_path."""
    etc, tree, settings = (tmp_path / name for name in ("etc", "tree", "settings"))
    (etc / "systemd/system").mkdir(parents=True)
    tree.mkdir()
    (tree / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    settings.mkdir()
    (etc / "subuid").write_text("bob:100000:65536\n")
    (etc / "subgid").write_text("")

    def make(**changes):
        mounts = [Mount(f"1 1 0:1 / {tree} rw - cgroup2 cgroup2 rw,nsdelegate")]
        usual = {
            "user": ALICE, "layout": Layout(mounts), "systemd": True, "release": "6.1.0",
            "surroundings": Surroundings(private=False), "swap_counted": True,
            "sysctls": str(settings), "etc": str(etc),
        }  # fmt: skip
        return Host(**usual | changes)

    make.etc, make.settings, make.tree = etc, settings, tree
    return make


@pytest.fixture
def systemd(monkeypatch):
    """The commands by which systemd is told."""
    told = []
    monkeypatch.setattr(changes, "run", lambda words, **more: told.append((words, more)))
    return told


def written(*found, title="write"):
    return Step(title=title, why="w", commands=(), changes=found, state="needed")


def contents(directory):
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*")
            if p.is_file()}  # fmt: skip


# ---- the whole: applied, applied again, undone ---------------------------------------------


def test_applied_once_and_undone(host, places, systemd):
    before, folders = contents(host.etc), sorted(host.etc.rglob("*"))
    with Journal(places) as journal:
        taken = list(take(steps.steps(host()), journal, "alice"))
    assert len(taken) == 2 and {step.state for step in taken} == {"done"}
    after = contents(host.etc)
    assert after["systemd/system/user@1000.service.d/climits.conf"] == (
        "[Service]\nDelegate=cpu cpuset io memory pids\n"
    )
    assert after["subuid"] == "bob:100000:65536\nalice:165536:65536\n"
    assert after["subgid"] == "alice:100000:65536\n"
    assert systemd[0] == (["systemctl", "daemon-reload"], {})

    assert [step.state for step in steps.steps(host())] == ["done", "done"]
    with Journal(places) as journal:
        assert list(take(steps.steps(host()), journal, "alice")) == []
    assert contents(host.etc) == after and len(systemd) == 1

    with Journal(places) as journal:
        undone = list(take_back(journal, None))
    assert [entry.left for entry in undone] == [None] * 3
    assert contents(host.etc) == before and sorted(host.etc.rglob("*")) == folders
    assert systemd[1] == (["systemctl", "daemon-reload"], {})
    assert not os.path.exists(places[0])
    with Journal(places) as journal:
        assert list(take_back(journal, None)) == []


def test_what_was_there_before_stays(host, places, systemd):
    drop_ins = host.etc / "systemd/system/user@1000.service.d"
    drop_ins.mkdir()
    (drop_ins / "mine.conf").write_text("[Service]\nNice=5\n")
    (drop_ins / "climits.conf").write_text("# of an administrator\n")
    (host.etc / "subuid").write_text("alice:300000:1000\n")
    before = contents(host.etc)
    with Journal(places) as journal:
        list(take(steps.steps(host()), journal, "alice"))
    assert (host.etc / "subuid").read_text() == "alice:300000:1000\n"
    with Journal(places) as journal:
        list(take_back(journal, "alice"))
    assert contents(host.etc) == before


def test_what_somebody_changed_since_is_left_and_told(host, places, systemd):
    with Journal(places) as journal:
        list(take(steps.steps(host()), journal, "alice"))
    path = host.etc / "systemd/system/user@1000.service.d/climits.conf"
    path.write_text("[Service]\nDelegate=memory\n")
    with Journal(places) as journal:
        left = [entry.left for entry in take_back(journal, None) if entry.left]
    assert left == [f"{path} was changed since: left as it is"]
    assert path.read_text() == "[Service]\nDelegate=memory\n"


def test_one_users_undo_leaves_what_another_needs(host, places, systemd):
    (host.settings / "kernel").mkdir()
    setting = host.settings / "kernel/unprivileged_userns_clone"
    setting.write_text("0\n")
    carol = User(name="carol", uid=1001, gid=1001, home="/climits/user-1001")
    with Journal(places) as journal:
        list(take(steps.steps(host()), journal, "alice"))
    with Journal(places) as journal:
        list(take(steps.steps(host(user=carol)), journal, "carol"))
    assert setting.read_text() == "1"
    with Journal(places) as journal:
        list(take_back(journal, "alice"))
    assert setting.read_text() == "1"
    assert "alice" not in (host.etc / "subuid").read_text()
    assert "carol" in (host.etc / "subuid").read_text()
    with Journal(places) as journal:
        list(take_back(journal, "carol"))
    assert setting.read_text() == "0" and not (host.etc / "sysctl.d").exists()
    assert (host.etc / "subuid").read_text() == "bob:100000:65536\n"


def test_a_step_that_fails_leaves_the_earlier_ones_and_is_finished_later(host, places, systemd):
    lock = host.etc / "subgid.lock"
    lock.write_text(f"{os.getpid()}\0")
    pause, identities = 0.0, SubordinateIds.do.__globals__
    with pytest.MonkeyPatch.context() as patch, Journal(places) as journal:
        patch.setitem(identities, "_PATIENCE", pause)
        with pytest.raises(ClimitsError, match=r"could not give alice .*subgid.lock: held by") as e:
            list(take(steps.steps(host()), journal, "alice"))
    assert "run climits setup again" in e.value.hint
    assert "alice" in (host.etc / "subuid").read_text()
    assert (host.etc / "subgid").read_text() == ""
    lock.unlink()
    with Journal(places) as journal:
        taken = list(take(steps.steps(host()), journal, "alice"))
    assert [step.title for step in taken] == [
        "give alice a range of subordinate user and group ids"
    ]
    assert (host.etc / "subgid").read_text() == "alice:100000:65536\n"
    with Journal(places) as journal:
        list(take_back(journal, None))
    assert contents(host.etc) == {"subuid": "bob:100000:65536\n", "subgid": ""}


def test_a_change_that_was_cut_short_is_made_again_and_undone(host, places, systemd):
    (step, *_) = steps.steps(host())
    (change,) = step.changes
    with Journal(places) as journal:
        journal.begin(change, "alice")
    WrittenFile.do(change)  # killed before systemd was told
    assert change.is_done() and systemd == []
    with Journal(places) as journal:
        list(take(steps.steps(host())[:1], journal, "alice"))
    assert systemd == [(["systemctl", "daemon-reload"], {})]
    with Journal(places) as journal:
        list(take_back(journal, None))
    assert not os.path.exists(os.path.dirname(change.target))


def _apply(etc, places):
    change = SubordinateIds("alice", 1000, f"{etc}/subuid")
    with Journal(places) as journal:
        list(take([written(change)], journal, "alice"))


def test_two_setups_at_once_do_it_once(host, places):
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_apply, args=(host.etc, places)) for _ in range(6)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0] * 6
    assert (host.etc / "subuid").read_text() == "bob:100000:65536\nalice:165536:65536\n"
    with open(f"{places[0]}/setup.json") as file:
        assert len(json.load(file)["changes"]) == 1


def test_nothing_is_changed_that_cannot_be_noted(host, places):
    with open(places[0], "w") as file:
        file.write("a file where the journal's directory should be")
    with Journal(places) as journal, pytest.raises(ClimitsError, match="cannot note"):
        list(take([written(WrittenFile(str(host.etc / "x"), "x"))], journal, ""))
    assert not (host.etc / "x").exists()


def test_a_journal_that_cannot_be_read_is_told(places):
    os.mkdir(places[0])
    with open(f"{places[0]}/setup.json", "w") as file:
        file.write("{")
    with pytest.raises(ClimitsError, match="cannot read what setup has changed"):
        Journal(places).load()


def test_a_change_of_another_version_is_told(places):
    with Journal(places) as journal:
        journal.entries = [{"kind": "new", "target": "/x", "for": [""], "lasts": True, "note": {}}]
        with pytest.raises(ClimitsError, match="change of /x: 'new': a kind of change that") as e:
            list(take_back(journal, None))
        assert e.value.hint == "undo it with the version of climits that made it"
        assert journal.entries


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_file_that_cannot_be_written_is_named(host, places, monkeypatch, number):
    path = str(host.etc / "x.conf")

    def refuse(name, text):
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr(changes, "write_text", refuse)
    with Journal(places) as journal, pytest.raises(ClimitsError) as e:
        list(take([written(WrittenFile(path, "x"))], journal, ""))
    assert str(e.value) == f"could not write: {path}: {os.strerror(number).lower()}"
    assert "run it again" in e.value.hint


# ---- the steps -----------------------------------------------------------------------------


def titles(found, state=None):
    return [step.title for step in found if state in (None, step.state)]


def test_for_all_users_the_drop_in_is_every_managers(host):
    (step,) = steps.steps(host(user=None))
    assert step.state == "needed" and "user@.service.d/climits.conf" in step.changes[0].target
    text = "\n".join(step.commands)
    assert "Delegate=cpu cpuset io memory pids" in text and "daemon-reload" in text


def test_a_file_of_somebody_else_that_delegates_all_is_enough(host):
    drop_ins = host.etc / "systemd/system/user@.service.d"
    drop_ins.mkdir()
    (drop_ins / "theirs.conf").write_text("[Service]\nDelegate=yes\n")
    step = steps.steps(host())[0]
    assert (step.state, step.changes) == ("done", ())


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("Delegate=pids memory", {"pids", "memory"}),
        ("Delegate=pids memory cpu\n[Service]\nDelegate = io", {"pids", "memory", "cpu", "io"}),
        ("Delegate=yes", set(steps.CONTROLLERS)),
        ("Delegate=yes\nDelegate=no", set()),
        ("Delegate=pids\nDelegate=", set()),
        ("#Delegate=pids\nDelegateSubgroup=x", set()),
    ],
)
def test_what_units_delegate(text, given):
    assert delegated_by(text) == given


def test_settings_that_stand_in_the_way(host, places, systemd):
    for name, value in (("user/max_user_namespaces", 0),
                        ("kernel/apparmor_restrict_unprivileged_userns", 1)):  # fmt: skip
        (host.settings / name).parent.mkdir(exist_ok=True)
        (host.settings / name).write_text(f"{value}\n")
    *_, step = steps.steps(host())
    assert step.state == "needed"
    with Journal(places) as journal:
        list(take([step], journal, ""))
    assert (host.settings / "user/max_user_namespaces").read_text() == "10000"
    assert (host.settings / "kernel/apparmor_restrict_unprivileged_userns").read_text() == "0"
    assert (host.etc / "sysctl.d/90-climits.conf").read_text() == (
        "kernel.apparmor_restrict_unprivileged_userns = 0\nuser.max_user_namespaces = 10000\n"
    )
    *_, again = steps.steps(host())
    assert (again.title, again.state) == (step.title, "done")
    with Journal(places) as journal:
        list(take_back(journal, None))
    assert (host.settings / "user/max_user_namespaces").read_text() == "0"


def test_settings_that_do_not_are_left_alone(host):
    (host.settings / "kernel").mkdir()
    (host.settings / "kernel/unprivileged_userns_clone").write_text("1\n")
    assert "let ordinary users make containers" not in titles(steps.steps(host()))


def test_a_setting_that_was_changed_since_is_left(tmp_path):
    (tmp_path / "a").write_text("0\n")
    change = Sysctl("a", 1, str(tmp_path))
    note = change.note()
    change.do()
    (tmp_path / "a").write_text("7\n")
    assert "left at 7" in Sysctl.undo(change.target, note)
    (tmp_path / "a").write_text("0\n")
    assert Sysctl.undo(change.target, note) is None


def test_swap_and_missing_helpers_are_left_to_a_person(host, monkeypatch):
    monkeypatch.setattr(steps.shutil, "which", lambda name: None)
    found = steps.steps(host(swap_counted=False))
    assert titles(found, "by hand") == [
        "let the kernel count swap", "install newuidmap and newgidmap",
    ]  # fmt: skip
    assert all(step.commands and not step.changes for step in found if step.state == "by hand")


def test_a_read_only_tree_is_all_that_matters(host):
    mounts = [Mount("1 1 0:1 / /nowhere ro - cgroup cgroup rw,memory")]
    around = Surroundings(kind="docker", mark="/.dockerenv", private=True)
    (step,) = steps.steps(host(layout=Layout(mounts), surroundings=around))
    assert step.state == "by hand" and "writable-cgroups" in step.remark
    (step,) = steps.steps(host(layout=Layout(mounts)))
    assert step.commands == ("mount -o remount,rw /nowhere",)


def test_without_systemd_the_user_gets_a_cgroup(host):
    found = steps.steps(host(systemd=False))
    step = found[0]
    assert (step.title, step.state) == ("give alice the cgroup /climits/user-1000", "needed")
    tree = host.tree
    assert f"mkdir -p {tree}/climits/user-1000/session" in step.commands
    session = f"{tree}/climits/user-1000/session/cgroup.procs"
    assert f"by root: sh -c 'echo $$ >{session} && exec setpriv --reuid=alice" in step.remark
    assert titles(found, "by hand") == ["make /climits/user-1000 at every boot"]
    assert steps.steps(host(systemd=False, user=None)) == []


def on_v1(*controllers, at="/nowhere"):
    return Layout([Mount(f"1 1 0:{i} / {at}/{c} rw - cgroup cgroup rw,{c}")
                   for i, c in enumerate(controllers)])  # fmt: skip


def test_v1_under_systemd_is_made_anew_at_login(host, monkeypatch):
    monkeypatch.setattr(steps, "open_to_others", lambda path: None)
    monkeypatch.setattr(sys, "executable", "/opt/my python/100%/bin/python3")
    found = steps.steps(host(layout=on_v1("memory", "devices")))
    (change,) = found[0].changes
    assert change.target.endswith("user@1000.service.d/climits.conf")
    assert change.text == (
        "[Service]\nExecStartPre=-+/opt/my\\x20python/100%%/bin/python3 -I -m climits setup "
        "--user 1000 --only subtree --apply --quiet\n"
    )
    # What is told to do by hand writes the same.
    by_hand = found[0].commands[1].replace(change.target, "/dev/stdout")
    assert subprocess.run(["sh", "-c", by_hand], stdout=-1, text=True).stdout == change.text
    assert found[1].commands == (
        "for m in /nowhere/memory; do",
        "  d=$m/climits/user-1000; mkdir -p $d; chown alice: $d $d/cgroup.procs $d/tasks",
        "done",
    )
    assert "every shell" in found[1].remark


def test_at_login_nothing_but_the_subtree_is_made(host):
    (host.settings / "user").mkdir()
    (host.settings / "user/max_user_namespaces").write_text("0\n")
    (host.etc / "login.defs").write_text("SUB_UID_MAX 5\n")  # no id is free
    (step,) = steps.owned_subtree(host(layout=on_v1("memory")), ALICE)
    assert [change.kind for change in step.changes] == ["subtree"]
    assert steps.owned_subtree(host(), ALICE) == []


@pytest.mark.parametrize("fault", ["executable", "package"])
def test_root_is_not_made_to_execute_what_others_may_write(host, monkeypatch, fault):
    package = os.path.dirname(steps.__file__)
    at_fault = {"executable": sys.executable, "package": package}[fault]
    monkeypatch.setattr(steps, "open_to_others", lambda path: "/a" if path == at_fault else None)
    step = steps.steps(host(layout=on_v1("memory")))[0]
    assert (step.state, step.changes, step.commands) == ("by hand", (), ())
    assert f"root would execute {at_fault} at each login" in step.remark
    assert "may write or replace /a; install climits where only root writes" in step.remark


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/usr/bin/python3.11", "/usr/bin/python3.11"),
        ("/a b/c\td/%h", "/a\\x20b/c\\x09d/%%h"),
        ("/a\"b'c\\d\n", "/a\\x22b\\x27c\\x5cd\\x0a"),
        ("/\u00e4", "/\u00e4"),
    ],
)
def test_a_path_as_one_word_of_a_unit(path, word):
    assert unit_word(path) == word


def test_what_nobody_else_may_write():
    assert open_to_others("/usr/bin/env") is None
    assert open_to_others("/usr/none") == "/usr/none"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_others_may_write_on_the_way_to_a_path(tmp_path):
    folder, python, link = tmp_path / "bin", tmp_path / "bin/python", tmp_path / "link"
    folder.mkdir()
    python.symlink_to("/usr/bin/env")
    link.symlink_to(python)
    for mode in (0o777, 0o1777):
        folder.chmod(mode)
        assert open_to_others(str(python)) == str(folder)
    folder.chmod(0o775)
    os.chown(folder, 0, 1000)
    assert open_to_others(str(python)) == str(folder)
    folder.chmod(0o755)
    os.lchown(python, 1000, 1000)
    assert open_to_others(str(python)) == str(python)
    os.lchown(python, 0, 0)
    os.chown(folder, 1000, 1000)
    assert open_to_others(str(link)) == str(folder)


def test_what_was_made_in_another_hierarchy_later_is_noted_too(tmp_path):
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
    path = ALICE.home
    first = OwnedSubtree(on_v1("memory", at=tmp_path), path, 1000, 1000)
    note = first.note()
    (tmp_path / f"memory{path}").mkdir(parents=True)
    second = OwnedSubtree(on_v1("memory", "pids", at=tmp_path), path, 1000, 1000)
    assert second.merged(note)["made"] == [
        f"{tmp_path}/{name}" for name in ("memory/climits", f"memory{path}", "pids/climits",
                                          f"pids{path}")
    ]  # fmt: skip


def test_controllers_that_were_enabled_later_are_noted_too(host):
    control, layout = host.tree / "cgroup.subtree_control", host().layout
    control.write_text("cpu cpuset io memory\n")
    change = OwnedSubtree(layout, ALICE.home, 1000, 1000)
    note = json.loads(json.dumps(change.note()))
    control.write_text("cpu cpuset io pids\n")
    (found,) = change.merged(note)["enabled"]
    assert found[0].rstrip("/") == str(host.tree) and found[1] == ["pids", "memory"]
    assert note["enabled"][0][1] == ["pids"]


# ---- users and their ids -------------------------------------------------------------------


def test_users_by_name_and_number():
    nobody = pwd.getpwnam("nobody")
    user = find_user("nobody")
    assert (user.uid, user.gid) == (nobody.pw_uid, nobody.pw_gid)
    assert user.home == f"/climits/user-{nobody.pw_uid}"
    assert find_user(str(nobody.pw_uid)) == user


@pytest.mark.parametrize(
    ("text", "cause"),
    [("nosuch", "no such user"), ("", "no such user"), ("-1", "no such user"),
     ("999999999999999999999", "no such user"), ("a\0b", "no such user"), ("4000000", "no such"),
     ("root", "root may"), ("0", "root may")],
)  # fmt: skip
def test_users_that_are_none(text, cause):
    with pytest.raises(InvalidValueError, match=cause):
        find_user(text)


DEFINITIONS = "SUB_UID_MIN 1000\nSUB_UID_MAX 1399\nSUB_UID_COUNT 100\n# SUB_UID_COUNT 5\n"


@pytest.mark.parametrize(
    ("text", "taken", "first"),
    [
        ("", [], 1000),
        ("a:1000:100\n", [], 1100),
        ("a:1050:10\n", [], 1060),
        ("b:1100:100\na:1000:100\n", [], 1200),
        ("a:1000:50\nb:1150:100\n", [], 1050),
        ("a:500:501\n", [], 1001),
        ("a:1000:300\nb:1100:10\n", [], 1300),
        ("broken\na:x:1\n", [5, 1099], 1100),
    ],
)
def test_a_range_overlaps_none(text, taken, first):
    assert free_range(text, DEFINITIONS, taken, "UID") == (first, 100)


def test_no_range_is_left():
    with pytest.raises(ClimitsError, match="no 100 subordinate ids are free"):
        free_range("a:1000:350\n", DEFINITIONS, [], "UID")
    assert free_range("", "", [], "GID") == (100_000, 65_536)


def test_ranges_by_name_or_number():
    text = "alice:1:2\n1000:5:6\nbob:7:8\nalice:9:0\nbad\n"
    assert ranges_of(text, "alice", 1000) == [(1, 2), (5, 6)]


def test_a_missing_file_is_made_and_removed(tmp_path):
    change = SubordinateIds("alice", 1000, str(tmp_path / "subuid"))
    note = change.note()
    change.do()
    assert (tmp_path / "subuid").read_text() == "alice:100000:65536\n"
    assert SubordinateIds.undo(change.target, note) is None
    assert sorted(tmp_path.iterdir()) == []


def test_rights_stay_and_a_line_without_end_gets_one(tmp_path):
    path = tmp_path / "subuid"
    path.write_text("bob:100000:5")
    path.chmod(0o640)
    SubordinateIds("alice", 1000, str(path)).do()
    assert path.read_text() == "bob:100000:5\nalice:100005:65536\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_ids_that_were_taken_meanwhile_are_not_given_twice(host, places):
    path = host.etc / "subuid"

    class Late(SubordinateIds):
        def do(self):
            path.write_text("bob:100000:65536\ncarol:165546:10\n")  # useradd was faster
            super().do()

    with Journal(places) as journal:
        with pytest.raises(ClimitsError, match="165536 to 231071 were taken meanwhile") as e:
            list(take([written(Late("alice", 1000, str(path)))], journal, "alice"))
        assert "run it again" in e.value.hint
    assert "alice" not in path.read_text()
    with Journal(places) as journal:
        list(take([written(SubordinateIds("alice", 1000, str(path)))], journal, "alice"))
        assert path.read_text().endswith("\ncarol:165546:10\nalice:165556:65536\n")
        assert [entry.left for entry in take_back(journal, None)] == [None]
    assert path.read_text() == "bob:100000:65536\ncarol:165546:10\n"


@pytest.mark.parametrize("owner", ["alice", "1000"])
def test_a_line_that_was_changed_since_is_left_and_told(tmp_path, owner):
    path = tmp_path / "subuid"
    change = SubordinateIds("alice", 1000, str(path))
    note = change.note()
    change.do()
    path.write_text(f"{owner}:100000:70000\n")
    left = SubordinateIds.undo(change.target, note)
    assert left == f"{path}: alice's line was changed since: left as it is"
    assert path.read_text() == f"{owner}:100000:70000\n"
    path.write_text("bob:100000:65536\n")
    assert SubordinateIds.undo(change.target, note) is None


def test_the_lock_of_a_dead_program_is_taken(tmp_path):
    (tmp_path / "subuid.lock").write_text("4194305\0")
    SubordinateIds("alice", 1000, str(tmp_path / "subuid")).do()
    assert [p.name for p in tmp_path.iterdir()] == ["subuid"]


# ---- files and commands --------------------------------------------------------------------


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    write_text(str(path), "one")
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(UnicodeEncodeError):
        write_text(str(path), "\ud800")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
    assert read_text(str(tmp_path / "none")) is None


def test_a_file_keeps_its_rights_and_owner(tmp_path):
    path = tmp_path / "x"
    path.write_text("one")
    path.chmod(0o640)
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    write_text(str(path), "two")
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o7777) == (*owner, 0o640)
    assert path.read_text() == "two"


def test_a_directory_with_something_else_in_it_stays(tmp_path):
    change = WrittenFile(str(tmp_path / "a/b/x"), "x")
    note = change.note()
    change.do()
    (tmp_path / "a/other").touch()
    assert WrittenFile.undo(change.target, note) is None
    assert not (tmp_path / "a/b").exists() and (tmp_path / "a/other").exists()


def test_a_command_that_fails_tells_its_last_line():
    run(["true"])
    with pytest.raises(ClimitsError, match=r"^sh -c echo one; echo two >&2; exit 3: two$"):
        run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    with pytest.raises(ClimitsError, match="exit status 1"):
        run(["false"])
    with pytest.raises(ClimitsError, match="nosuchcommand"):
        run(["nosuchcommand"])


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_manager_may_outlive_its_users_line_in_passwd(tmp_path):
    with pytest.raises(KeyError):
        pwd.getpwuid(4_000_000)
    os.chown(tmp_path, 4_000_000, 4_000_001)
    check = 'test "$(id -u) $(id -g)" = "4000000 4000001" || exec id'
    run(["sh", "-c", check], uid=4_000_000, XDG_RUNTIME_DIR=str(tmp_path))


def test_a_command_that_does_not_start_leaves_no_descriptor(tmp_path):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ClimitsError):
        run(["nosuchcommand"])
    with pytest.raises(FileNotFoundError):
        run(["true"], uid=1000, XDG_RUNTIME_DIR=str(tmp_path / "gone"))
    assert os.listdir("/proc/self/fd") == before


def test_running_managers_look_anew(tmp_path, systemd, monkeypatch):
    monkeypatch.setattr(changes.os.path, "exists", lambda path: "1000" in path)
    DropIn(str(tmp_path / "x"), "x", (1000, 1001)).do()
    assert systemd == [
        (["systemctl", "daemon-reload"], {}),
        (["systemctl", "--user", "daemon-reexec"],
         {"uid": 1000, "XDG_RUNTIME_DIR": "/run/user/1000"}),
    ]  # fmt: skip


# ---- mounts --------------------------------------------------------------------------------


def mount(point, fstype, options="rw"):
    return Mount(f"1 1 0:1 / {point} rw - {fstype} {fstype} {options}")


@pytest.mark.parametrize(
    ("text", "there", "wanted"),
    [
        ("v2", [], ["/sys/fs/cgroup"]),
        ("v2", [mount("/sys/fs/cgroup", "cgroup2")], []),
        ("v1", [], ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"]),
        ("v1:pids", [], ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]),
        ("v1", [mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory")], ["/sys/fs/cgroup/pids"]),
        ("v1:memory", [mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory")], []),
        ("v1:memory", [mount("/else", "cgroup", "rw,memory")], []),
        ("hybrid:memory", [],
         ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]),
        ("hybrid:memory", [mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory")],
         ["/sys/fs/cgroup/unified"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_mounted(text, there, wanted):
    assert [change.target for change in missing(text, there, TABLE)] == wanted


@pytest.mark.parametrize("text", ["", "v3", "v2:memory", "v1:", "v1:memory,", "V2", "v1,memory"])
def test_layouts_that_are_none(text):
    with pytest.raises(InvalidValueError, match="not a layout"):
        parse(text)


V1 = {PLACE: "tmpfs", f"{PLACE}/memory": "cgroup", f"{PLACE}/pids": "cgroup"}
HYBRID = {**V1, f"{PLACE}/unified": "cgroup2"}


@pytest.mark.parametrize(
    ("text", "made", "chosen"),
    [
        ("v2", {PLACE: "cgroup2"}, [""]),
        ("v2", HYBRID, []),
        ("v1", V1, ["", "/memory", "/pids"]),
        ("v1", HYBRID, ["/memory", "/pids"]),
        ("v1", {PLACE: "cgroup2"}, []),
        ("v1:memory", V1, ["/memory"]),
        ("v1:memory,pids", V1, ["", "/memory", "/pids"]),
        ("v1:cpu", V1, []),
        ("hybrid", HYBRID, ["", "/memory", "/pids", "/unified"]),
        ("hybrid:pids", HYBRID, ["/pids", "/unified"]),
    ],
)
def test_what_was_mounted_of_a_layout(text, made, chosen):
    assert of_layout(text, made) == {PLACE + end for end in chosen}


def test_a_layout_is_undone_and_nothing_else(tmp_path, places, monkeypatch):
    undone = []
    monkeypatch.setattr(Mounted, "undo", lambda target, note: undone.append(target))
    with Journal(places) as journal:
        list(take([written(WrittenFile(str(tmp_path / "x"), "x"))], journal, ""))
        for target, fstype in V1.items():
            journal.begin(Mounted(target, fstype), "")
        list(take_back(journal, None, layout="v1:memory"))
        assert undone == [f"{PLACE}/memory"]
        assert [e["target"] for e in journal.entries] == [f"{tmp_path}/x", PLACE, f"{PLACE}/pids"]
        with pytest.raises(InvalidValueError, match="not a layout"):
            list(take_back(journal, None, layout="v3"))


def test_what_stands_in_the_way_of_a_mount():
    with pytest.raises(UnsupportedError, match="cgroup v1 is mounted"):
        missing("v2", [mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory")], TABLE)
    with pytest.raises(UnsupportedError, match="cgroup v2 is mounted on"):
        missing("v1", [mount("/sys/fs/cgroup", "cgroup2")], TABLE)
    with pytest.raises(InvalidValueError, match="'hugetlb': not a controller") as e:
        missing("v1:hugetlb", [], TABLE)
    assert e.value.hint == "it has memory, pids"


# ---- containers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "environ", "kind"),
    [
        ("run/.containerenv", 'engine="podman-4.3"', {}, "podman"),
        (".dockerenv", "", {}, "docker"),
        ("run/host/container-manager", "systemd-nspawn\n", {}, "systemd-nspawn"),
        ("run/systemd/container", "lxc\n", {}, "lxc"),
        ("proc/1/environ", "A=1\0container=lxc\0", {}, "lxc"),
        ("proc/1/environ", "A=1\0", {"container": "oci"}, "oci"),
        ("var/run/secrets/kubernetes.io/serviceaccount/token", "x", {}, "kubernetes"),
        (".dockerenv", "", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ("proc/1/environ", "container=\0", {}, None),
    ],
)
def test_the_kind_of_container(tmp_path, path, text, environ, kind):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
    found = detect(str(tmp_path), environ)
    assert found.kind == kind and bool(found.mark) == bool(kind) and not found.private


def test_what_to_add_to_the_run_command():
    assert "unmask" in surroundings.to_be_writable("podman")
    assert surroundings.to_be_writable("other") == surroundings.to_be_writable(None)
    assert surroundings.to_be_private("docker") == "docker run --cgroupns=private"
    assert "own" in surroundings.to_be_private("lxc")


def test_a_busy_root_is_freed_by_a_leaf(host):
    for name, text in (("cgroup.type", "domain"), ("cgroup.procs", "1\n7\n"),
                       ("cgroup.subtree_control", "")):  # fmt: skip
        (host.tree / name).write_text(text)
    around = Surroundings(kind="podman", mark="x", private=True)
    step = steps.steps(host(user=None, systemd=False, surroundings=around))[0]
    assert isinstance(step.changes[0], Leaf) and step.state == "needed"
    (host.tree / "cgroup.type").unlink()  # the true root
    assert steps.steps(host(user=None, systemd=False, surroundings=around)) == []


# ---- the command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["alice"], "setup takes no arguments: alice"),
        (["--apply", "--undo"], "--apply and --undo"),
        (["--mount", "v2", "--user", "nobody"], "--mount is for all users"),
        (["--mount", "v9"], "'v9': not a layout"),
        (["--user", "nosuch", "--apply"], "'nosuch': no such user"),
        (["--user", "root"], "root may make cgroups anywhere"),
        (["--user", "nobody", "--only", "ids"], "only: 'ids': not a step that can be taken alone"),
        (["--only", "subtree", "--apply"], "--only is for what is told or applied for one user"),
        (["--user", "nobody", "--only", "subtree", "--undo"], "--only is for what is told or"),
        (["--mount", "v2", "--only", "subtree"], "--only is for"),
    ],
)
def test_bad_words_are_one_clear_line(words, cause):
    with pytest.raises(InvalidValueError, match=cause):
        dispatch(["setup", *words])


@pytest.mark.parametrize("words", [["--apply"], ["--undo"], ["--mount", "v2"]])
def test_without_root_nothing_is_done(words, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("climits.cgroup.systemd.running", lambda: False)
    with pytest.raises(PermissionError, match=f"{words[0]} needs root: nothing was changed"):
        dispatch(["setup", *words])


def test_systemd_mounts_for_itself(monkeypatch):
    monkeypatch.setattr("climits.cgroup.systemd.running", lambda: True)
    with pytest.raises(UnsupportedError, match="systemd mounts the cgroup filesystems here"):
        dispatch(["setup", "--mount", "v2"])


def test_it_is_printed_in_columns(host, capsys):
    from climits.cli.setup import _tell

    _tell(steps.steps(host()), "alice")
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "as root, climits setup --user alice --apply does what is needed"
    heads = [line for line in out[:-2] if line[0] != " "]
    assert [line[:10] for line in heads] == ["needed    ", "needed    "]
    assert any(line.startswith(" " * 12 + "printf '[Service]\\nDelegate=") for line in out)
    assert all(len(line) <= 100 for line in out if not line.startswith(" " * 12))
    _tell(steps.steps(host()), "alice", "subtree")
    assert "--user alice --only subtree --apply does" in capsys.readouterr().out
    _tell([], "")
    assert capsys.readouterr().out == "nothing to do\n"


def test_doctor_tells_the_same_ways_out_as_the_error():
    assert remedies.TROUBLES["no-right"].remedy == PERMISSION_HINT

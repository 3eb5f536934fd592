"""The text of a unit: what follows from a configuration."""

import os
import stat
import time
from pathlib import Path

import pytest

from climits.cli import service
from climits.errors import ClimitsError, InvalidValueError
from climits.supervise.config import load
from climits.supervise.unit import MARK, Place, unit_text


@pytest.fixture
def text(tmp_path):
    """The unit of a configuration, with words that are on every system."""

    def make(toml, **place):
        file = tmp_path / "climits.toml"
        file.write_text(toml)
        config = load(str(file)).replace(path="/etc/climits/web.toml")
        given = {"name": "web", "climits": ["/usr/bin/climits"], "libraries": ["/usr/lib"]}
        return unit_text(config, Place(**given | place))

    return make


def settings(text, name):
    """What stands behind each setting of that name."""
    return [row.partition("=")[2] for row in text.splitlines() if row.startswith(f"{name}=")]


def capabilities(text):
    return {word for row in settings(text, "CapabilityBoundingSet") for word in row.split()}


PLAIN = '[defaults]\nuser = "nobody"\n[program.web]\ncommand = "sleep 1"\n'


def test_unprivileged_programs_get_the_strictest_unit(text):
    unit = text(PLAIN)
    assert unit.startswith(MARK + "\n")
    assert settings(unit, "ExecStart") == [
        '/usr/bin/climits supervise -c /etc/climits/web.toml --socket "%t/climits-web/control"'
    ]
    for row in (
        "Type=notify", "NotifyAccess=main", "Delegate=yes", "KillMode=mixed", "PrivateTmp=yes",
        "Restart=on-failure", "WatchdogSec=30", "ProtectSystem=strict", "ProtectHome=yes",
        "NoNewPrivileges=yes", "RestrictNamespaces=yes", "RestrictSUIDSGID=yes",
        "SystemCallFilter=@system-service", "RuntimeDirectory=climits-web", "OOMPolicy=continue",
        "ExecReload=/bin/kill -HUP $MAINPID", "DevicePolicy=closed", "ProtectHostname=yes",
        "WantedBy=multi-user.target", "After=network.target",
    ):  # fmt: skip
        assert row in unit.splitlines()
    assert capabilities(unit) == {
        "CAP_SYSLOG", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_CHOWN",
    }  # fmt: skip
    # It would make cgroups read-only: it is spoken of, and not set.
    assert "ProtectControlGroups=" in unit and not settings(unit, "ProtectControlGroups")
    assert settings(unit, "ReadWritePaths") == []


def test_hierarchies_of_v1_take_a_right_more(text):
    assert "CAP_DAC_OVERRIDE" in capabilities(text(PLAIN, legacy=True))


def test_programs_of_root_keep_what_root_usually_may(text):
    unit = text('[program.web]\ncommand = "sleep 1"\n[program.sql]\ncommand = "sleep 1"\n')
    assert "# What root usually may, for web, sql:\n" in unit or "for web, sql" in unit
    assert {"CAP_NET_BIND_SERVICE", "CAP_DAC_OVERRIDE", "CAP_SYSLOG"} <= capabilities(unit)
    assert not {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"} & capabilities(unit)


def test_capabilities_for_priorities(text):
    unit = text(PLAIN + "nice = -5\noom_score_adj = -100\n")
    assert {"CAP_SYS_NICE", "CAP_SYS_RESOURCE"} <= capabilities(unit)
    unit = text(PLAIN + "nice = 5\noom_score_adj = 100\n")
    assert not {"CAP_SYS_NICE", "CAP_SYS_RESOURCE"} & capabilities(unit)


def test_containers(text):
    unit = text(
        '[program.box]\ncommand = "sleep 1"\n'
        'container = { cap_add = ["NET_RAW"], devices = ["/dev/full"], binds = ["/etc:/x:ro"] }\n'
    )
    assert {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETPCAP", "CAP_NET_RAW"} <= capabilities(unit)
    assert settings(unit, "DeviceAllow") == ["/dev/kmsg r", "/dev/full rw"]
    assert "@mount" in settings(unit, "SystemCallFilter")[0]
    for name in ("RestrictNamespaces", "RestrictSUIDSGID", "ProtectHostname"):
        assert settings(unit, name) == []
    assert settings(unit, "NoNewPrivileges") == ["yes"]
    unit = text('[program.box]\ncommand = "sleep 1"\ncontainer = { no_new_privs = false }\n')
    assert settings(unit, "NoNewPrivileges") == []


def test_where_programs_write(text, tmp_path):
    unit = text(
        PLAIN + 'cwd = "/srv"\nstdout.path = "/var/log/climits-test/a/out.log"\n'
        'stderr.path = "/opt/logs 100%/err.log"\n',
        writable=["/mnt"],
    )
    assert settings(unit, "LogsDirectory") == ["climits-test/a"]
    assert settings(unit, "ReadWritePaths") == ["-/mnt", '"-/opt/logs 100%%"', "-/srv"]


def test_a_log_folder_of_somebody_else_is_not_given_to_root(text, monkeypatch):
    real = os.stat

    def of_another(path, *args, **more):
        found = real("/" if path == "/var/log/theirs" else path, *args, **more)
        if path == "/var/log/theirs":
            found = os.stat_result((*found[:4], 4242, *found[5:]))
        return found

    monkeypatch.setattr(os, "stat", of_another)
    unit = text(PLAIN + 'stdout.path = "/var/log/theirs/out.log"\n')
    assert settings(unit, "LogsDirectory") == []
    assert settings(unit, "ReadWritePaths") == ["-/var/log/theirs"]
    assert "CAP_DAC_OVERRIDE" in capabilities(unit)


def test_nothing_that_is_needed_is_hidden(text):
    unit = text(PLAIN, climits=["/home/alice/venv/bin/climits"])
    assert settings(unit, "ProtectHome") == ["read-only"]
    assert "# Not hidden: /home/alice/venv/bin/climits\n" in unit
    unit = text(PLAIN.replace("sleep 1", "python3 /tmp/app.py"))
    assert settings(unit, "PrivateTmp") == [] and "/tmp/app.py" in unit
    assert settings(unit, "ReadWritePaths") == ["/tmp /var/tmp"]


def test_a_way_that_root_may_not_go_takes_a_capability(text, tmp_path):
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    (tmp_path / "app").write_text("")
    unit = text(PLAIN.replace("sleep 1", f"{tmp_path}/app"))
    assert "CAP_DAC_READ_SEARCH" in capabilities(unit) and f"# To get at {tmp_path}" in unit
    tmp_path.chmod(0o755)
    unit = text(PLAIN.replace("sleep 1", f"{tmp_path}/app"))
    assert "CAP_DAC_READ_SEARCH" not in capabilities(unit)


def test_time_to_stop_is_that_of_the_longest_chain(text):
    unit = text(
        '[program.a]\ncommand = "sleep 1"\nstop_timeout = "20s"\n'
        '[program.b]\ncommand = "sleep 1"\nstop_timeout = "30s"\ndepends_on = ["a"]\n'
        '[program.c]\ncommand = "sleep 1"\nstop_timeout = "40s"\n'
    )
    assert settings(unit, "TimeoutStopSec") == ["65"]


def test_newer_systemd_starts_it_in_a_leaf(text):
    assert settings(text(PLAIN, systemd=253), "DelegateSubgroup") == []
    assert settings(text(PLAIN, systemd=254), "DelegateSubgroup") == ["supervisor"]


def test_words_are_quoted(text):
    unit = text(PLAIN, climits=["/opt/a b/$x%/climits"])
    assert settings(unit, "ExecStart")[0].startswith('"/opt/a b/$$x%%/climits" supervise -c ')


def test_a_unit_of_a_user(text):
    unit = text('[program.web]\ncommand = "sleep 1"\n', user=True)
    assert "WantedBy=default.target" in unit.splitlines()
    assert settings(unit, "NoNewPrivileges") == ["yes"] and settings(unit, "Delegate") == ["yes"]
    # What a user's manager has no right to, or would need a user namespace for.
    for name in ("CapabilityBoundingSet", "ProtectSystem", "ProtectHome", "DevicePolicy", "After"):
        assert settings(unit, name) == []


def test_a_users_containers_are_not_filtered(text):
    unit = text('[program.web]\ncommand = "sleep 1"\ncontainer = {}\n', user=True)
    for name in ("NoNewPrivileges", "SystemCallFilter", "RestrictAddressFamilies"):
        assert settings(unit, name) == []
    assert "newuidmap" in unit


def test_the_sample_is_a_unit_as_it_is_written(text):
    """To make it anew: write what is compared."""
    sample = Path(__file__).parents[2] / "docs/climits.service"
    assert sample.read_text() == text(PLAIN)


# ---- the command ---------------------------------------------------------------------------


class Asked(list):
    """What systemctl was asked; `state` is what its show tells."""


@pytest.fixture
def systemd(monkeypatch, tmp_path):
    """A host with systemd, whose systemctl only remembers what it was asked."""
    asked, state = Asked(), {b"MainPID": b"0", b"NeedDaemonReload": b"no"}
    asked.state = state

    def systemctl(user, *words, stdout=2):
        if words[0] == "show":
            os.write(stdout, b"".join(b"%s=%s\n" % row for row in state.items()))
            return 0
        asked.append(" ".join((["--user"] if user else []) + list(words)))
        return 3 if words[0] == "is-failed" else 0

    monkeypatch.setattr(service, "running", lambda: True)
    monkeypatch.setattr(service, "_runtime_directory", lambda: str(tmp_path / "run"))
    (tmp_path / "run/systemd/private").mkdir(parents=True)
    monkeypatch.setattr(service, "_version", lambda: 252)
    monkeypatch.setattr(service, "_systemctl", systemctl)
    monkeypatch.setattr(service, "_ELSEWHERE", (str(tmp_path / "lib"),))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "web.toml").write_text('[program.web]\ncommand = "sleep 1"\n')
    monkeypatch.chdir(tmp_path)
    return asked


def unit_of(tmp_path):
    return tmp_path / "config/systemd/user/web.service"


def test_without_a_user_manager_nothing_is_written(ctl, systemd, tmp_path):
    (tmp_path / "run/systemd/private").rmdir()
    told, hint = refused(ctl, "install", "web", "-c", "web.toml", "--user")
    assert "the systemd user manager of root does not run" in told
    assert "enable-linger root" in hint
    assert not unit_of(tmp_path).exists() and systemd == []


@pytest.mark.parametrize("key", ["user", "group"])
def test_a_service_of_ones_own_starts_programs_as_oneself(ctl, systemd, tmp_path, key):
    with open(tmp_path / "web.toml", "a") as file:
        file.write(f'{key} = "root"\n')
    told, hint = refused(ctl, "install", "web", "-c", "web.toml", "--user", "--print")
    assert told.startswith(f"web: {key}: a service of your own starts programs as you alone")
    assert f"leave {key} out" in hint


def test_install_twice_and_uninstall(ctl, systemd, tmp_path):
    words = ("service", "install", "web", "-c", "web.toml", "--user", "--now", "--enable")
    status, out = ctl(*words)
    assert status == 0 and out.startswith(f"{unit_of(tmp_path)}: written\nsteer it: ")
    assert stat.S_IMODE(unit_of(tmp_path).stat().st_mode) == 0o644
    assert f"-c {tmp_path}/web.toml " in unit_of(tmp_path).read_text()
    assert systemd == [
        "--user daemon-reload", "--user -q enable web.service", "--user restart web.service",
    ]  # fmt: skip
    systemd.clear()
    status, out = ctl(*words)
    assert out.startswith(f"{unit_of(tmp_path)}: as it was\n")
    assert systemd == [
        "--user daemon-reload", "--user -q enable web.service", "--user start web.service",
    ]  # fmt: skip
    systemd.clear()
    assert ctl("service", "uninstall", "web.service", "--user")[0] == 0
    assert not unit_of(tmp_path).exists() and os.listdir(unit_of(tmp_path).parent) == []
    assert systemd == [
        "--user -q disable --now web.service", "--user daemon-reload",
        "--user is-failed -q web.service",
    ]  # fmt: skip


INSTALL = ("service", "install", "web", "-c", "web.toml", "--user")


def runs_since(systemd, tmp_path, seconds):
    """It runs, started so many seconds after its file was written: this process stands for it."""
    systemd.state[b"MainPID"] = b"%d" % os.getpid()
    ticks = service.start_time(os.getpid()) / os.sysconf("SC_CLK_TCK")
    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks
    os.utime(unit_of(tmp_path), (started - seconds, started - seconds))
    systemd.clear()


def test_what_runs_with_an_older_file_is_started_anew(ctl, systemd, tmp_path):
    ctl(*INSTALL)
    runs_since(systemd, tmp_path, -100)
    out = ctl(*INSTALL)[1]
    assert "it runs with the unit before this one: systemctl --user restart web\n" in out
    assert systemd == ["--user daemon-reload"]
    systemd.clear()
    assert "before this one" not in ctl(*INSTALL, "--now")[1]
    assert systemd == ["--user daemon-reload", "--user restart web.service"]


def test_what_runs_with_the_file_stays(ctl, systemd, tmp_path):
    ctl(*INSTALL)
    runs_since(systemd, tmp_path, 100)
    assert "before this one" not in ctl(*INSTALL)[1]
    systemd.clear()
    ctl(*INSTALL, "--now")
    assert systemd == ["--user daemon-reload", "--user start web.service"]


def test_what_runs_with_a_file_that_was_not_read_is_started_anew(ctl, systemd, tmp_path):
    ctl(*INSTALL)
    runs_since(systemd, tmp_path, 100)
    systemd.state[b"NeedDaemonReload"] = b"yes"
    ctl(*INSTALL, "--now")
    assert systemd == ["--user daemon-reload", "--user restart web.service"]


def test_a_changed_file_under_what_runs_is_told(ctl, systemd, tmp_path):
    ctl(*INSTALL)
    runs_since(systemd, tmp_path, 100)
    unit_of(tmp_path).write_text(MARK + "\n")
    assert "it runs with the unit before this one" in ctl(*INSTALL)[1]


def test_a_planted_link_is_not_written_through(ctl, systemd, tmp_path):
    unit, victim = unit_of(tmp_path), tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    unit.parent.mkdir(parents=True)
    for name in (f"web.service.{os.getpid()}", f".web.service.{os.getpid()}.new"):
        (unit.parent / name).symlink_to(victim)
    assert ctl(*INSTALL)[0] == 0
    assert victim.read_text() == "mine" and stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert not unit.is_symlink() and unit.read_text().startswith(MARK)


@pytest.mark.parametrize("theirs", ["", "config", "config/systemd", "config/systemd/user"])
@pytest.mark.parametrize("do", ["install", "uninstall"])
def test_the_units_of_another_user_are_not_touched(ctl, systemd, tmp_path, monkeypatch, theirs, do):
    if theirs:
        unit_of(tmp_path).parent.mkdir(parents=True)
    real = os.lstat

    def of_another(path, *args, **more):
        found = real(path, *args, **more)
        if os.fspath(path) == os.path.join(tmp_path, theirs).rstrip("/"):
            found = os.stat_result((*found[:4], 424242, *found[5:]))
        return found

    monkeypatch.setattr(os, "lstat", of_another)
    words = ("-c", "web.toml") if do == "install" else ()
    told, hint = refused(ctl, do, "web", *words, "--user")
    place = os.path.join(tmp_path, theirs).rstrip("/")
    assert told.endswith(f": {place} belongs to 424242") and hint == "run it as 424242"
    assert not unit_of(tmp_path).exists() and systemd == []


def test_print_does_nothing(ctl, systemd, tmp_path):
    status, out = ctl("service", "install", "web", "-c", "web.toml", "--user", "--print")
    assert status == 0 and out.startswith(MARK) and systemd == []
    assert not unit_of(tmp_path).exists()


def refused(ctl, *words):
    with pytest.raises(ClimitsError) as caught:
        ctl("service", *words)
    return str(caught.value), caught.value.hint


def test_a_unit_of_somebody_else_stays(ctl, systemd, tmp_path):
    unit_of(tmp_path).parent.mkdir(parents=True)
    unit_of(tmp_path).write_text("[Service]\n")
    for words in (("install", "web", "-c", "web.toml"), ("uninstall", "web")):
        told, hint = refused(ctl, *words, "--user")
        assert told == f"{unit_of(tmp_path)} is there already, and climits did not write it"
        assert hint
    assert unit_of(tmp_path).read_text() == "[Service]\n" and systemd == []


def test_a_unit_that_ours_would_hide_stays(ctl, systemd, tmp_path):
    (tmp_path / "lib/user").mkdir(parents=True)
    (tmp_path / "lib/user/web.service").write_text("[Service]\n")
    told, _ = refused(ctl, "install", "web", "-c", "web.toml", "--user")
    assert told == f"name: 'web': there is a service of that name: {tmp_path}/lib/user/web.service"


@pytest.mark.parametrize(
    "name", ["", "../web", "web@1", ".web", "a b", "x" * 201, "climits", "w\n"]
)
def test_bad_names(ctl, systemd, name):
    with pytest.raises(InvalidValueError):
        ctl("service", "install", name, "-c", "web.toml", "--user")
    assert systemd == []


@pytest.mark.parametrize(
    "words",
    [
        (), ("start", "web"), ("install",), ("install", "a", "b"), ("install", "web"),
        ("uninstall", "web", "--now"), ("uninstall", "web", "-c", "web.toml"),
        ("install", "web", "-c", "web.toml", "--user", "--write", "/srv"),
        ("install", "web", "-c", "web.toml", "--write", "/no/such"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(ctl, systemd, words):
    assert refused(ctl, *words)[1]
    assert systemd == []


def test_without_systemd_only_print(ctl, systemd, monkeypatch):
    monkeypatch.setattr(service, "running", lambda: False)
    told, hint = refused(ctl, "install", "web", "-c", "web.toml", "--user")
    assert told == "cannot install web.service: this host does not run systemd"
    assert "--print" in hint
    assert ctl("service", "install", "web", "-c", "web.toml", "--print")[0] == 0


def test_a_bad_configuration_is_told_line_by_line(systemd, tmp_path, capfd):
    from climits.cli.main import dispatch

    (tmp_path / "web.toml").write_text("[program.web]\nmemory = 1.5\nfoo = 1\n")
    assert dispatch(["service", "install", "web", "-c", "web.toml", "--user"]) == 125
    rows = capfd.readouterr().err.splitlines()
    assert len(rows) >= 2 and all(row.startswith(f"climits: {tmp_path}/web.toml:") for row in rows)
    assert systemd == []


def test_a_systemctl_that_fails_is_told(ctl, systemd, monkeypatch):
    monkeypatch.setattr(service, "_systemctl", lambda *_, **__: 5)
    told, hint = refused(ctl, "install", "web", "-c", "web.toml", "--user")
    assert told == "systemctl --user daemon-reload: exit status 5" and "journalctl" in hint

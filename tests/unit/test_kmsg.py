import errno
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.linux import kmsg
from climits.linux.kmsg import oom_kills, parse_oom_kills
from climits.records import KilledProcess

K = 1024
NO_LIMIT = 9007199254740988


def killed_line(pid, name, *, anon=3968, file=1600, shmem=0, cause="Memory cgroup out of memory"):
    return (
        f"{cause}: Killed process {pid} ({name}) total-vm:6876kB, anon-rss:{anon}kB, "
        f"file-rss:{file}kB, shmem-rss:{shmem}kB, UID:0 pgtables:56kB oom_score_adj:0"
    )


def v1_report(pid, name, task, *, limited_by=None, usage=4096, limit=4096):
    limited_by = limited_by or task
    return [
        f"{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        f"CPU: 0 UID: 0 PID: {pid} Comm: {name} Not tainted 6.18.44 #1 PREEMPT(none)",
        "Call Trace:",
        " <TASK>",
        " dump_stack_lvl+0x4b/0x70",
        " </TASK>",
        f"memory: usage {usage}kB, limit {limit}kB, failcnt 36",
        f"memory+swap: usage {usage}kB, limit {limit}kB, failcnt 0",
        f"kmem: usage 76kB, limit {NO_LIMIT}kB, failcnt 0",
        f"Memory cgroup stats for {limited_by}:",
        "cache 0",
        "rss 4112384",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes "
        "swapents oom_score_adj name",
        f"[  {pid}]     0 {pid}     1719     1392      992      400         0    57344        0"
        f"             0 {name}",
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
        f"oom_memcg={limited_by},task_memcg={task},task={name},pid={pid},uid=0",
    ]


def v2_report(pid, name, task, *, limited_by=None, usage=4096, limit=4096):
    lines = v1_report(pid, name, task, limited_by=limited_by, usage=usage, limit=limit)
    lines[7:9] = ["swap: usage 0kB, limit 0kB, failcnt 0"]
    return lines


def global_report(pid, name, task):
    return [
        f"{name} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0",
        "Mem-Info:",
        "Tasks state (memory values in pages):",
        f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset={task},mems_allowed=0,"
        f"global_oom,task_memcg={task},task={name},pid={pid},uid=1000",
    ]


REAPED = "oom_reaper: reaped process 15583 (tail), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"
WEB = "/climits/web"


def kill(pid=7, name="tail", **changes):
    fields = {
        "pid": pid, "name": name, "anon": 3968 * K, "file": 1600 * K, "shmem": 0,
        "limited_by": WEB, "usage": 4096 * K, "limit": 4096 * K,
    }  # fmt: skip
    return KilledProcess(**{**fields, **changes})


@pytest.mark.parametrize("report", [v1_report, v2_report])
def test_a_kill_at_the_cgroups_own_limit(report):
    log = ["noise", *report(7, "tail", WEB), killed_line(7, "tail"), REAPED]
    assert parse_oom_kills(log, WEB) == [kill()]


def test_the_figures_are_bytes():
    log = [*v1_report(7, "hog", WEB, usage=61440, limit=61441), killed_line(7, "hog", shmem=12)]
    (found,) = parse_oom_kills(log, WEB)
    assert (found.usage, found.limit) == (61440 * K, 61441 * K)
    assert (found.anon, found.file, found.shmem) == (3968 * K, 1600 * K, 12 * K)


def test_a_kill_of_the_whole_machine_has_no_limit():
    log = [
        *v1_report(3, "other", "/climits/other"),
        killed_line(3, "other"),
        *global_report(7, "tail", WEB),
        killed_line(7, "tail", cause="Out of memory"),
    ]
    assert parse_oom_kills(log, WEB) == [kill(limited_by=None, usage=None, limit=None)]


def test_a_kill_at_the_limit_of_a_cgroup_above():
    log = [
        *v2_report(7, "tail", WEB, limited_by="/climits", usage=9000, limit=9001),
        killed_line(7, "tail"),
    ]
    assert parse_oom_kills(log, WEB) == [
        kill(limited_by="/climits", usage=9000 * K, limit=9001 * K)
    ]


def test_a_kill_in_a_cgroup_below_ours():
    inner = WEB + "/inner/deep"
    log = [*v2_report(7, "tail", inner), killed_line(7, "tail")]
    assert parse_oom_kills(log, WEB) == [kill(limited_by=inner)]


def test_paths_of_a_cgroup_namespace_end_with_ours():
    outside = "/kubepods.slice/pod1" + WEB
    log = [*v2_report(7, "tail", outside), killed_line(7, "tail")]
    assert parse_oom_kills(log, WEB) == [kill(limited_by=outside)]


@pytest.mark.parametrize(
    "task", ["/climits/web2", "/climits/we", "/climits", "/", "/climits/web-1", "/climitsweb"]
)
@pytest.mark.parametrize("report", [v1_report, v2_report])
def test_a_kill_in_another_cgroup_is_not_ours(report, task):
    log = [*report(7, "tail", task), killed_line(7, "tail")]
    assert parse_oom_kills(log, WEB) == []


def test_several_kills_among_those_of_others_keep_their_order_and_figures():
    log = [
        *v1_report(1, "a", WEB, usage=100, limit=101),
        killed_line(1, "a"),
        *v1_report(2, "b", "/climits/web2", usage=200, limit=201),
        killed_line(2, "b"),
        REAPED,
        *v2_report(3, "c", WEB, usage=300, limit=301),
        "something else altogether",
        killed_line(3, "c"),
    ]
    assert parse_oom_kills(log, WEB) == [
        kill(1, "a", usage=100 * K, limit=101 * K),
        kill(3, "c", usage=300 * K, limit=301 * K),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "my app",
        "(sd-pam)",
        "a) b (c",
        "((",
        "a,b,pid=1",
        "x,pid=99,uid=0",
        ") total-vm:1kB",
        "kworker/u4:1",
        "",
        "a,task=b",
        ",task_memcg=/,",
        "Killed process 9 (x",
    ],
)
@pytest.mark.parametrize("report", [v1_report, v2_report])
def test_names_with_spaces_parentheses_and_commas(report, name):
    log = [*report(7, name, WEB), killed_line(7, name)]
    assert parse_oom_kills(log, WEB) == [kill(name=name)]


def test_lines_that_were_cut_end_nothing_but_themselves():
    report = v1_report(7, "tail", WEB)
    cut = report[-1].partition(",pid=")[0]
    assert parse_oom_kills([cut, *report, killed_line(7, "tail")], WEB) == [kill()]
    short = killed_line(7, "tail").partition(" total-vm")[0]
    assert parse_oom_kills([*report, short], WEB) == []


def test_only_the_announcement_of_a_group_is_one():
    idle = f"Tasks in {WEB} are idle, and none of them is going to be killed"
    assert parse_oom_kills([idle, killed_line(7, "tail")], WEB) == []


@pytest.mark.parametrize("path", ["/climits/a b", "/climits/a,task_memcg", "/climits/x(1)", "/a"])
def test_paths_with_odd_characters(path):
    log = [*v2_report(7, "tail", path), killed_line(7, "tail")]
    assert parse_oom_kills(log, path) == [kill(limited_by=path)]


def test_a_cgroup_below_ours_may_repeat_our_path():
    inner = WEB + "/climits/web2"
    log = [*v2_report(7, "tail", inner), killed_line(7, "tail")]
    assert parse_oom_kills(log, WEB) == [kill(limited_by=inner)]


def test_the_rest_of_a_group_is_found_and_nobody_twice():
    log = [
        *v2_report(7, "tail", WEB),
        killed_line(7, "tail"),
        f"Tasks in {WEB} are going to be killed due to memory.oom.group set",
        killed_line(7, "tail"),  # the victim may not have ended yet
        killed_line(8, "sh"),
        REAPED,
        killed_line(9, "sleep"),
        *v2_report(20, "x", "/climits/other"),
        killed_line(20, "x"),
    ]
    assert parse_oom_kills(log, WEB) == [kill(7), kill(8, "sh"), kill(9, "sleep")]


def test_the_group_of_another_cgroup_is_not_ours():
    log = [
        *v2_report(7, "tail", "/climits/web2"),
        killed_line(7, "tail"),
        "Tasks in /climits/web2 are going to be killed due to memory.oom.group set",
        killed_line(8, "sh"),
    ]
    assert parse_oom_kills(log, WEB) == []


def test_of_the_group_of_a_cgroup_above_nobody_knows_who_was_ours():
    log = [
        *v2_report(7, "tail", "/climits/other", limited_by="/climits"),
        killed_line(7, "tail"),
        "Tasks in /climits are going to be killed due to memory.oom.group set",
        killed_line(8, "sh"),
    ]
    assert parse_oom_kills(log, WEB) == []


@pytest.mark.parametrize(
    "path",
    [
        "/web",
        "/b",
        "/limits/web",
        "/climit",
    ],
)
def test_a_group_whose_path_is_but_part_of_ours_is_not_ours(path):
    log = [
        *v2_report(7, "tail", path),
        killed_line(7, "tail"),
        f"Tasks in {path} are going to be killed due to memory.oom.group set",
        killed_line(8, "sh"),
    ]
    assert parse_oom_kills(log, WEB) == []


def test_the_next_report_ends_a_group():
    log = [
        *v2_report(7, "tail", WEB),
        killed_line(7, "tail"),
        f"Tasks in {WEB} are going to be killed due to memory.oom.group set",
        killed_line(8, "sh"),
        *v2_report(9, "x", "/climits/web2"),
        killed_line(9, "x"),
        killed_line(10, "y"),
    ]
    assert [found.pid for found in parse_oom_kills(log, WEB)] == [7, 8]


def test_a_kill_whose_report_was_rate_limited_away_is_left_out():
    log = [*v1_report(7, "a", WEB), killed_line(7, "a"), killed_line(8, "b")]
    assert parse_oom_kills(log, WEB) == [kill(7, "a")]


def test_a_report_without_the_kill_is_left_out():
    log = [
        *v1_report(7, "a", WEB),
        "Memory cgroup out of memory: OOM victim 7 (a) is already exiting. Skip killing the task",
    ]
    assert parse_oom_kills(log, WEB) == []
    assert parse_oom_kills([], WEB) == []


def test_figures_that_are_missing_are_none():
    log = [
        f"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg={WEB},task_memcg={WEB},task=a,pid=7,uid=0",
        "Killed process 7 (a) total-vm:5kB, anon-rss:4kB",
    ]
    assert parse_oom_kills(log, WEB) == [KilledProcess(pid=7, name="a", anon=4 * K, limited_by=WEB)]


LINES = [*v1_report(7, "tail", WEB), killed_line(7, "tail"), *global_report(8, "x", WEB)]


@pytest.mark.parametrize("at", ["oom_memcg=/cl", ",task_memcg=/climits/web", ",task=", ",pid="])
def test_a_report_that_was_cut_is_no_error(at):
    report = v1_report(7, "tail", WEB)
    head, middle, tail = report[-1].partition(at)
    log = [*report[:-1], head + middle, tail, killed_line(7, "tail")]
    assert len(parse_oom_kills(log, WEB)) <= 1


@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from(LINES)), max_size=20))
def test_any_other_text_is_ignored(log):
    ours = sum(text == LINES[-5] for text in log)
    assert len(parse_oom_kills(log, WEB)) <= ours


# ---- reading the log -----------------------------------------------------------------------


@pytest.fixture
def kernel_log(monkeypatch):
    """Put records in the place of /dev/kmsg: bytes, or an OSError to raise."""

    class Log:
        records = ()
        opened = closed = reads = 0
        pid = 42

        def open(self, path, flags):
            assert path == "/dev/kmsg"
            if isinstance(self.records, OSError):
                raise self.records
            self.opened += 1
            self._left = list(self.records)
            return 99

        def seek(self, fd, offset, whence):
            assert (fd, offset, whence) == (99, 0, 2)
            self._left = []

        def add(self, *records):
            self._left += records

        def read(self, fd, size):
            assert fd == 99
            self.reads += 1
            if not self._left:
                raise BlockingIOError(errno.EAGAIN, "")
            record = self._left.pop(0)
            if isinstance(record, OSError):
                raise record
            return record

        def close(self, fd):
            self.closed += 1

    log = Log()
    fake_os = types.SimpleNamespace(
        open=log.open, read=log.read, close=log.close, lseek=log.seek, getpid=lambda: log.pid,
        O_RDONLY=0, O_NONBLOCK=0, SEEK_END=2,
    )  # fmt: skip
    monkeypatch.setattr(kmsg, "log", kmsg.KernelLog())
    monkeypatch.setattr(kmsg, "os", fake_os)
    clock = types.SimpleNamespace(
        now=0.0,
        CLOCK_BOOTTIME=7,
        clock_gettime=lambda which: 1000.0 + clock.now,
        monotonic=lambda: 900.0 + clock.now,
        sleep=lambda seconds: setattr(clock, "now", clock.now + seconds),
    )
    monkeypatch.setattr(kmsg, "time", clock)
    return log


def record(text, at):
    """As /dev/kmsg gives it: what is not ASCII is escaped, `at` is in microseconds."""
    data = text.encode()
    escaped = b"".join(b"%c" % c if 32 <= c < 127 and c != 0x5C else b"\\x%02x" % c for c in data)
    return b"6,339,%d,-,caller=T1;%s\n SUBSYSTEM=x\n DEVICE=+y\n" % (at * 1_000_000, escaped)


def records(task, name="tail", at=500):
    return [record(text, at) for text in [*v1_report(7, name, task), killed_line(7, name)]]


def test_the_log_is_read(kernel_log):
    kernel_log.records = records(WEB)
    assert oom_kills(WEB, since=600.0, expected=1) == [kill()]
    assert oom_kills(WEB, since=600.0, expected=1) == [kill()]  # as often as one asks
    assert kernel_log.opened == 1


def test_each_message_is_read_once(kernel_log):
    kernel_log.records = records(WEB)
    oom_kills(WEB, since=600.0, expected=1)
    before = kernel_log.reads
    kernel_log.add(*records("/climits/other"))
    assert oom_kills("/climits/other", since=600.0, expected=1) == [
        kill(limited_by="/climits/other")
    ]
    assert kernel_log.reads == before + len(records(WEB)) + 1
    assert oom_kills(WEB, since=600.0, expected=1) == [kill()]


def test_what_was_logged_before_is_passed_over(kernel_log):
    kernel_log.records = records("/climits/old")
    kmsg.log.follow()
    kernel_log.add(*records(WEB))
    assert oom_kills(WEB, since=600.0, expected=1) == [kill()]
    assert oom_kills("/climits/old", since=600.0, expected=0) == []


def test_a_fork_reads_for_itself(kernel_log):
    kernel_log.records = records(WEB)
    oom_kills(WEB, since=600.0, expected=1)
    kernel_log.pid = 43
    oom_kills(WEB, since=600.0, expected=1)
    assert kernel_log.opened == 2


@pytest.mark.parametrize(("since", "found"), [(600.0, 1), (600.9, 1), (602.0, 0), (101.0, 1)])
def test_older_messages_are_of_another_cgroup(kernel_log, since, found):
    # The clock of the log stood still for the 100 s that the machine slept.
    kernel_log.records = records(WEB, at=500)
    assert len(oom_kills(WEB, since=since, expected=0)) == found


def test_overwritten_messages_are_passed_over(kernel_log):
    kernel_log.records = [BrokenPipeError(errno.EPIPE, ""), *records(WEB)]
    assert oom_kills(WEB, since=600.0, expected=1) == [kill()]


def test_a_log_that_may_not_be_read_is_none(kernel_log):
    kernel_log.records = PermissionError(errno.EPERM, "Operation not permitted")
    assert oom_kills(WEB, since=600.0, expected=1) is None
    kernel_log.records = [PermissionError(errno.EPERM, "Operation not permitted")]
    assert oom_kills(WEB, since=600.0, expected=1) is None
    assert kernel_log.opened == kernel_log.closed  # and may be tried again


def test_for_what_the_counter_tells_of_a_short_time_is_waited(kernel_log):
    kernel_log.records = records("/climits/other")
    assert oom_kills(WEB, since=600.0, expected=1) == []
    waited = kernel_log.reads
    assert waited > 10
    assert oom_kills(WEB, since=600.0, expected=0) == []
    assert kernel_log.reads == waited + 1


@pytest.mark.parametrize(
    ("path", "name"), [("/climits/w\u00e9b", "tail"), ("/climits/a\\b", "tail"), (WEB, "caf\u00e9")]
)
def test_what_the_log_escapes_is_undone(kernel_log, path, name):
    kernel_log.records = records(path, name)
    assert oom_kills(path, since=600.0, expected=1) == [kill(name=name, limited_by=path)]

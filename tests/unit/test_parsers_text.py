"""What a person writes: a value, or an error that says what is wrong; never anything else.

Each parser is fed words that are nearly right, with what trips parsers up: digits of other scripts,
thousands of digits, empty parts, quotes, control characters, bytes that are no text.
"""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.batch.read import read_commands, read_toml
from climits.batch.template import commands_of, lines_of
from climits.cgroup import translate
from climits.cgroup.cpu import parse_bandwidth, parse_weight
from climits.cgroup.find import is_process
from climits.cgroup.ownership import pid_in
from climits.cgroup.triggers import (
    SOURCES,
    Trigger,
    bounded_size,
    make_trigger,
    parse_trigger,
)
from climits.cli.cgtools.args import read_mode, read_owner, read_spec
from climits.cli.cgtools.config_file import parse as parse_config_file
from climits.cli.cgtools.rules import Subject, _expand, _matches
from climits.cli.cgtools.status import GiveUp
from climits.errors import ClimitsError, InvalidValueError
from climits.history.store import parse_age
from climits.launch.capabilities import NAMES
from climits.launch.capabilities import parse as parse_capabilities
from climits.observe.catalog import find_files
from climits.observe.hosts import Hosts
from climits.observe.setup.mounts import parse as parse_layout
from climits.pool.budget import Budget, parse_budget
from climits.supervise.address import parse_address
from climits.supervise.alarms import parse_alarm, parse_url
from climits.supervise.config import ConfigError
from climits.supervise.config_values import signal_number
from climits.units import MAX_BYTES, UNLIMITED

NASTY = (
    "", "0", "-1", "1", "9", "0" * 5000 + "7", "9" * 5000, "\u0665", "\u00b2", "\uff15", "max",
    "nan", "inf", "1e9", "0x10", "1_0", "+5", " 5", "5 ", "%", "=", ",", ":", "/", "//", "..", "[",
    "]", "\"", "'", "\\", "\0", "\n", "\r", "\x1b[2J", "\udcff", "\u2028", "\x85", "é",
)  # fmt: skip


def words_like(*pieces):
    """Text made of pieces of what is right, of what trips parsers up, and of anything."""
    piece = st.sampled_from((*pieces, *NASTY)) | st.text(max_size=3)
    return st.lists(piece, max_size=6).map("".join)


def value_or_refusal(parse, *args, kinds=InvalidValueError):
    """What it reads, or None where it refuses as it should: in one line that can be printed."""
    try:
        return parse(*args)
    except kinds as e:
        given = args[0] if isinstance(args[0], str) else "".join(map(str, args[0]))
        assert str(e) and (str(e).isprintable() or not given.isprintable())
        return None


# ---- limits and times ----------------------------------------------------------------------


@given(words_like("60", "M", "G", "50", ".5", "KiB"))
def test_a_budget_is_more_than_nothing(text):
    budget = value_or_refusal(parse_budget, text)
    assert budget is None or budget > 0


@given(words_like("90", "d", "h", "1.5", "dd", "ms"))
@example("1d")
def test_an_age_is_seconds(text):
    age = value_or_refusal(lambda t: parse_age(t, what="x"), text)
    assert age is None or 0 <= age <= 100 * 365 * 86400 * 86400


def test_a_day_is_24_hours():
    assert parse_age("90d", what="x") == parse_age("2160h", what="x") == 90 * 86400


@given(words_like("100000", " ", "50000", "max", "999", "1000000", "1000001"))
def test_a_bandwidth_is_one_that_the_kernel_takes(text):
    bandwidth = value_or_refusal(parse_bandwidth, text)
    if bandwidth is not None:
        quota, *period = bandwidth.split(" ")
        assert quota == "max" or 1000 <= int(quota) < 10**15
        assert len(period) <= 1 and all(p == "max" or 1000 <= int(p) <= 10**6 for p in period)


@given(words_like("1", "0", "10000", "100"))
@example("00000100000")
@example("0" * 5000 + "1")
def test_a_weight_is_1_to_10000(text):
    weight = value_or_refusal(parse_weight, text)
    assert weight is None or (1 <= int(weight[-9:]) <= 10000 and set(weight[:-9]) <= {"0"})


@given(words_like("12", "k", "M", "E", "-1"))
def test_a_size_of_the_kernels_is_a_number_or_none(text):
    size = translate.kernel_size(text)
    assert size is None or size == UNLIMITED or 0 <= size < MAX_BYTES
    if translate.overflows(text):
        assert size == UNLIMITED


@given(st.integers(0, 2**70), st.sampled_from(["", "k", "K", "m", "G", "T", "p", "E"]))
def test_a_size_of_the_kernels_is_exact(number, letter):
    size = number << 10 * (" KMGTPE".index(letter.upper()) if letter else 0)
    expected = UNLIMITED if size >= MAX_BYTES else size
    assert translate.kernel_size(f" {number}{letter}\n") == expected
    assert translate.overflows(f"{number}{letter}") == (size >= 2**64)


WRITABLE = [(here, name) for here in ("v1", "v2") for name in translate._READ[here]
            if translate.can_write(name, here=here)]  # fmt: skip
FILES = {
    translate.LIMIT: b"1048576\n", translate.MEMSW: b"2097152\n", "memory.max": b"max\n",
    "memory.swap.max": b"0\n", "cpu.max": b"max 100000\n",
}  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(WRITABLE),
            words_like("1M", "max", "-1", "2g", "50000", " 100000", "root", "0-3"),
        ),
        min_size=1, max_size=3,
    )
)  # fmt: skip
def test_a_setting_of_the_other_version_is_translated_or_refused(chosen):
    here = chosen[0][0][0]
    settings = [(name, text) for (version, name), text in chosen if version == here]
    try:
        writes = translate.write(settings, FILES.get, here=here)
    except ClimitsError as e:
        assert str(e)
    else:
        assert writes and all(isinstance(f, str) and isinstance(t, str) for f, t in writes)


# ---- what to wait for ----------------------------------------------------------------------


@given(words_like(*SOURCES, "=", "80%", "32M", "some 150ms/1s", "low"))
def test_a_trigger_is_one_or_refused(text):
    trigger = value_or_refusal(parse_trigger, text)
    if trigger is not None:
        assert trigger.source in SOURCES
        assert trigger.level is None or 0 < trigger.level < MAX_BYTES
        assert trigger.fraction is None or 0 < trigger.fraction <= 1


sizes = st.integers(1, 2**40).map(lambda n: n << 10)
triggers = st.one_of(
    st.sampled_from([Trigger(source=s) for s in ("oom", "under-oom", "limit", "empty")]),
    st.builds(
        Trigger,
        source=st.just("threshold"),
        fraction=st.integers(1, 1000).map(lambda n: n / 1000),
    ),
    st.builds(
        lambda share, stall, window: Trigger(
            source="pressure", share=share, stall=stall / 1000, window=window / 2
        ),
        st.sampled_from(["some", "full"]), st.integers(1, 500), st.integers(1, 20),
    ),
    st.builds(Trigger, source=st.just("pressure"), share=st.sampled_from(["low", "critical"])),
)  # fmt: skip


@given(triggers)
def test_a_trigger_that_is_shown_can_be_read_again(trigger):
    again = parse_trigger(str(trigger))
    assert (again.source, again.share) == (trigger.source, trigger.share)
    for name in ("fraction", "stall", "window"):
        assert getattr(again, name) == pytest.approx(getattr(trigger, name))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("oom", {}),
        ("threshold=32M", {"level": 32 << 20}),
        ("threshold=100%", {"fraction": 1.0}),
        ("threshold=0.5%", {"fraction": 0.005}),
        ("swap=10M", {"level": 10 << 20}),
        ("pressure=some 150ms/1s", {"share": "some", "stall": 0.15, "window": 1.0}),
        ("pressure=full=150ms/500ms", {"share": "full", "stall": 0.15, "window": 0.5}),
        ("pressure=some 10s/10s", {"share": "some", "stall": 10.0, "window": 10.0}),
        ("pressure=medium", {"share": "medium"}),
    ],
)
def test_what_a_trigger_says(text, fields):
    assert parse_trigger(text) == Trigger(source=text.partition("=")[0], **fields)


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("", "source: missing", "one of threshold, oom, under-oom, limit, pressure, populated, "
         "empty, swap"),
        ("om", "source: 'om': not a source", "one of threshold, oom, under-oom, limit, pressure, "
         "populated, empty, swap"),
        ("oom=1", "level: oom has no level", None),
        ("swap", "level: swap needs a level", "a size, like 10M"),
        ("threshold", "level: threshold needs a level",
         "a size or a share of the cgroup's limit, like 32M or 80%"),
        ("threshold=0%", "level: 0%: must be more than 0% and at most 100%",
         "a share of the cgroup's memory limit, like 80%"),
        ("threshold=100.1%", "level: 100.1%: must be more than 0% and at most 100%",
         "a share of the cgroup's memory limit, like 80%"),
        ("threshold=0", "level: 0: must be more than 0 and less than max", "write it like 32M"),
        ("threshold=max", "level: max: must be more than 0 and less than max",
         "write it like 32M"),
        ("swap=80%", "level: 80%: a percentage has no meaning here",
         "write bytes, or a number with K, M, G or T (powers of 1024), like 60M or 1.5G"),
        ("pressure=high", "level: high: not a pressure",
         "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical"),
        ("pressure=low 1s/1s", "level: low 1s/1s: not a pressure",
         "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical"),
        ("pressure=some 150ms", "level: some 150ms: not a pressure",
         "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical"),
        ("pressure=some 1ms/499ms", "level: some 1ms/499ms: the kernel takes windows of 500ms to "
         "10s", None),
        ("pressure=some 1ms/10.1s", "level: some 1ms/10.1s: the kernel takes windows of 500ms to "
         "10s", None),
        ("pressure=some 0/1s", "level: some 0/1s: the time lost must be more than 0 and fit into "
         "the window",
         "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical"),
        ("pressure=some 2s/1s", "level: some 2s/1s: the time lost must be more than 0 and fit "
         "into the window",
         "time lost within a window, like some 150ms/1s; on cgroup v1 low, medium, critical"),
        ("pressure=some x/1s", "level: x: not a duration",
         "write seconds, or a number with ms, s, m or h, like 250ms or 1.5s"),
    ],
)  # fmt: skip
def test_a_trigger_that_is_wrong_is_told_why(text, error, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse_trigger(text)
    assert (str(caught.value), caught.value.hint) == (error, hint)


def test_how_far_usage_must_fall():
    found = make_trigger("swap", "10M", "10485759")
    assert (found.level, found.hysteresis) == (10 << 20, 10485759)
    assert make_trigger("threshold", "80%", "1G").hysteresis == 1 << 30
    with pytest.raises(InvalidValueError) as caught:
        make_trigger("threshold", "10M", "10M")
    assert str(caught.value) == "hysteresis: 10M: not below the level of 10.0M"
    assert caught.value.hint == (
        "it is how far usage must fall below the level before it counts again"
    )
    with pytest.raises(InvalidValueError) as caught:
        make_trigger("oom", None, "1M")
    assert str(caught.value) == "hysteresis: oom has none"
    assert (caught.value.value, caught.value.hint) == ("1M", "it goes with threshold and swap")
    with pytest.raises(InvalidValueError, match=r"^hysteresis: 0: must be more than 0"):
        make_trigger("threshold", "10M", "0")


@given(words_like("32", "M"))
def test_a_bounded_size_has_bounds(text):
    size = value_or_refusal(bounded_size, text, "x")
    assert size is None or 0 < size < MAX_BYTES


@given(words_like("TERM", "SIG", "15", "RTMIN", "64", "65"))
@example("001999")
@example("0" * 5000 + "15")
def test_a_signal_is_one_of_the_kernels(text):
    number = value_or_refusal(signal_number, text)
    assert number is None or 1 <= number <= 64


@given(words_like("http", "https", "://", "localhost", ":", "80", "/", "[::1]", "[", "@", "?"))
@example("http://[::1")
@example("http://\u0665")
def test_a_url_is_one_or_refused(text):
    url = value_or_refusal(parse_url, text)
    assert url is None or (url == text and url[:4].lower() == "http")


@given(words_like(*SOURCES, "=", "80%", ",", "signal=TERM", "exec='a b'", "freeze", "grow=1.5"))
def test_an_alarm_is_one_or_refused(text):
    alarm = value_or_refusal(parse_alarm, text)
    assert alarm is None or alarm.trigger.source in SOURCES


# ---- where, who and what -------------------------------------------------------------------


@given(words_like("127.0.0.1", "localhost", ":", "9464", "[::1]", "65535", "65536"))
def test_an_address_is_a_host_and_a_port(text):
    found = value_or_refusal(lambda t: parse_address(t, what="--listen", port=9464), text)
    if found is not None:
        host, port = found
        assert host and 0 <= port <= 65535
        shown = f"[{host}]" if ":" in host or text.startswith("[") else host
        assert text.startswith(f"{shown}:") and int(text.rpartition(":")[2]) == port


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        ("", "'': no port", None),
        ("9464", "9464: no host", None),
        ("localhost", "localhost: no port", None),
        ("localhost:", "localhost:: no port", None),
        (":80", ":80: no host", None),
        ("[]:80", "[]:80: no host", None),
        ("::1:80", "::1:80: an IPv6 address stands in brackets", "write it like [::1]:9464"),
        ("a:b", "a:b: the port is not a number", None),
        ("a:\u0665", "a:\u0665: the port is not a number", None),
        ("a:65536", "a:65536: there are ports up to 65535 only", None),
        ("a:000080", "a:000080: there are ports up to 65535 only", None),
        ("[::1:80", "[::1:80: an IPv6 address stands in brackets", "write it like [::1]:9464"),
        ("::1]:80", "::1]:80: an IPv6 address stands in brackets", "write it like [::1]:9464"),
        ("[]:80", "[]:80: no host", None),
        ("http://a:80", "http://a:80: not an address", None),
        ("a b:80", "a b:80: not an address", None),
    ],
)
def test_an_address_that_is_wrong_is_told_why(text, cause, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse_address(text, what="--listen", port=9464)
    assert str(caught.value) == f"--listen: {cause}"
    assert caught.value.value == text
    assert caught.value.hint == (
        hint or "write HOST:PORT, such as 127.0.0.1:9464, or 0.0.0.0:9464 for every interface"
    )


def test_an_address_is_read():
    assert parse_address("127.0.0.1:9464", what="x", port=1) == ("127.0.0.1", 9464)
    assert parse_address("[::1]:0", what="x", port=1) == ("::1", 0)
    assert parse_address("a:65535", what="x", port=1) == ("a", 65535)


@given(words_like("localhost", "127.0.0.1", "[::1]", ":", "80", "."))
def test_a_host_header_means_us_or_not(text):
    hosts = Hosts("localhost", "127.0.0.1")
    if hosts.has(text):
        name = text.lower().partition("]")[0].strip("[") if "[" in text else text.lower()
        assert name.startswith(("localhost", "127.0.0.1", "::1"))


@given(words_like("v1", "v2", "hybrid", ":", "memory", ","))
def test_a_layout_is_one_or_refused(text):
    found = value_or_refusal(parse_layout, text)
    if found is not None:
        kind, names = found
        assert kind in ("v1", "v2", "hybrid") and all(names) and len(set(names)) == len(names)
        assert text.startswith(kind)


@given(st.lists(words_like("CAP_", "chown", "SYS_ADMIN", "ALL"), max_size=3))
def test_capabilities_are_those_of_the_kernel_or_refused(names):
    found = value_or_refusal(parse_capabilities, names)
    assert found is None or found <= set(NAMES)


@given(words_like("memory", ".", "max", "limit_in_bytes", "*"))
def test_the_file_that_is_meant_is_found_or_refused(word):
    files = value_or_refusal(find_files, word)
    assert files is None or files


@given(words_like("web", "-", "pid:", "12"))
def test_a_process_is_a_number_that_fits(word):
    if is_process(word):
        assert 0 <= int(word.removeprefix("pid:")) < 10**18
    pid = pid_in(word)
    assert pid is None or pid >= 0


# ---- the drop-in tools ---------------------------------------------------------------------


@given(words_like("memory", ",", ":", "/a/b"))
def test_a_spec_has_a_path(text):
    spec = read_spec(text)
    if spec is not None:
        assert spec.path and ":" not in spec.path and all(spec.controllers)
        assert text.startswith(",".join(spec.controllers[:1]))


@given(words_like("root", ":", "0", "4294967294"))
def test_an_owner_is_two_ids(text):
    try:
        uid, gid = read_owner("cgcreate", text)
    except GiveUp:
        return
    assert -1 <= uid < 10**10 and -1 <= gid < 10**10


@given(words_like("7", "5", "0", "8"))
def test_a_mode_is_octal(text):
    mode = value_or_refusal(lambda t: read_mode("cgcreate", t), text)
    assert mode is None or (0 <= mode <= 0o7777 and len(text) in (3, 4))


@given(words_like("group", " ", "a", "{", "}", "=", ";", "#", "\n", '"', "perm", "mount", "cpu"))
def test_a_configuration_of_cgroup_tools_is_read_or_refused(text):
    try:
        config = parse_config_file(text, "x.conf")
    except InvalidValueError as e:
        assert (
            1
            <= int(str(e).removeprefix("x.conf: line ").partition(":")[0])
            <= (text.count("\n") + 1)
        )
    else:
        assert isinstance(config.groups, list)


SUBJECT = Subject(7, os.getuid(), os.getgid(), ("app", "/bin/app"))


@given(words_like("*", "@", "root", ":", "app", "%u", "%", "\\%", "%P"))
def test_any_rule_matches_or_not_and_is_filled_in(text):
    assert _matches(SUBJECT, text) in (True, False)
    filled = _expand(SUBJECT, text)
    if "%" not in text:
        assert filled == text
    assert "%P" not in filled or "\\%P" in text or "%%P" in text


# ---- batches -------------------------------------------------------------------------------

BUDGET = Budget(8 << 30, 8.0)


@given(
    words_like("[job.a]\n", "[[job]]\n", "[defaults]\n", 'command = "true"\n', "memory = ", "1M",
               '"60M"\n', "depends_on = ['a']\n", "retries = 1\n")
)  # fmt: skip
def test_any_toml_of_jobs_is_read_or_refused(text):
    data = text.encode(errors="surrogatepass")
    try:
        jobs = read_toml(data, "jobs.toml", {}, BUDGET)
    except ConfigError as e:
        assert e.problems and all(problem.isprintable() for problem in e.problems)
    else:
        assert jobs


@given(st.lists(st.tuples(st.text(), st.lists(words_like("a", "{}"), max_size=3)), max_size=3))
def test_any_commands_are_jobs_or_refused(commands):
    try:
        jobs = read_commands(commands, {}, BUDGET)
    except ConfigError as e:
        assert all(problem.isprintable() for problem in e.problems)
    else:
        assert len({job.name for job in jobs}) == len(jobs) == len(commands)


@given(st.binary(max_size=40), st.booleans())
def test_lines_have_all_that_the_file_has(data, null):
    end = b"\0" if null else b"\n"
    lines = lines_of(data, null=null)
    assert all(os.fsencode(line) in data for line in lines)
    assert sum(map(bool, lines)) == sum(map(bool, data.split(end))) or b"\r" in data


@given(words_like("true", "\n", "#", "echo 'a", "\\\n").map(lambda t: t.encode(errors="replace")))
def test_commands_of_a_file_are_lines_of_it(data):
    commands = value_or_refusal(lambda d: commands_of(d, "-"), data)
    assert commands is None or all(c and "\n" not in c and "\0" not in c for c in commands)

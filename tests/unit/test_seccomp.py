import ctypes
import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.errors import ClimitsError, InvalidValueError, UnsupportedError
from climits.launch.plan import Plan
from climits.launch.seccomp import filter_calls
from climits.program import seccomp_filter
from climits.program.container import DEFAULT_CAPABILITIES
from climits.program.seccomp_default import PROFILE, RECENT
from climits.program.seccomp_filter import filter_for
from climits.program.seccomp_profile import parse

ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD = 0x7FFF0000, 0x00050000, 0x80000000, 0
TRACE, TRAP, LOG = 0x7FF00000, 0x00030000, 0x7FFC0000
REFUSED = ERRNO | errno.EPERM
NEW_USER, NEW_NET, NEW_TIME, VFORK, THREAD = 0x10000000, 0x40000000, 0x80, 0x4000, 0x10000


@pytest.fixture(scope="module")
def library():
    try:
        return seccomp_filter._library()
    except UnsupportedError as e:
        pytest.skip(f"{e}; {e.hint}")


class Filter:
    """What the kernel would do: an interpreter of the instructions that libseccomp writes."""

    def __init__(self, program, library):
        assert len(program) % 8 == 0
        self.steps = [struct.unpack_from("HBBI", program, i) for i in range(0, len(program), 8)]
        self.library = library

    def __call__(self, call, *args, arch=None):
        """The action for a call, by name or number."""
        number = call
        if isinstance(call, str):
            number = self.library.resolve_syscall(self.library.Arch.NATIVE, call)
            number = RECENT[call] if number == -1 else number
        arch = self.library.system_arch() if arch is None else arch
        args = [*args, *[0] * (6 - len(args))]
        data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0x1000, *args)
        at = value = 0
        while True:
            code, yes, no, k = self.steps[at]
            at += 1
            if code == 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            elif code == 0x54:
                value &= k
            elif code == 0x05:
                at += k
            elif code == 0x06:
                return k
            else:
                true = {0x15: value == k, 0x25: value > k, 0x35: value >= k, 0x45: value & k}[code]
                at += yes if true else no


@pytest.fixture(scope="module")
def default(library):
    return Filter(seccomp_filter.compile_profile(parse(PROFILE, "default")), library)


@pytest.fixture
def compiled(library):
    """compiled(profile, ...) is its Filter."""
    return lambda table, *args, **options: Filter(filter_for(table, *args, **options), library)


def profile(*rules, default="SCMP_ACT_ALLOW", **others):
    return {"defaultAction": default, "syscalls": list(rules), **others}


def rule(*names, action="SCMP_ACT_ERRNO", **others):
    return {"names": list(names), "action": action, **others}


# ---- the step ------------------------------------------------------------------------------


def test_the_step_points_to_the_filter_and_keeps_it():
    program = b"".join(struct.pack("HBBI", 6, 0, 0, n) for n in range(1000))
    plan = Plan([b"app"], [], [b"/bin/app"])
    filter_calls(plan, bytes(bytearray(program)))  # nobody else holds it
    (step,) = plan.steps
    option, mode, argument, *rest = step.args
    assert (step.call, option, mode, rest) == ("prctl", 22, 2, [0, 0])
    assert step.purpose == "set the seccomp filter"
    count, address = struct.unpack("HP", argument)
    assert count == 1000
    assert ctypes.string_at(address, count * 8) == program


# ---- the default ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "mount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
        "open_tree", "open_tree_attr", "mount_setattr", "setns", "init_module", "finit_module",
        "delete_module", "kexec_load", "bpf", "perf_event_open", "syslog", "add_key", "keyctl",
        "request_key", "reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "adjtimex",
        "clock_adjtime", "acct", "quotactl", "quotactl_fd", "process_vm_readv",
        "process_vm_writev", "userfaultfd", "open_by_handle_at", "io_uring_setup",
        "io_uring_enter", "io_uring_register",
    ],
)  # fmt: skip
def test_the_default_refuses(default, name):
    assert default(name) == default(name, *[2**64 - 1] * 6) == REFUSED


@pytest.mark.parametrize(
    "name",
    [
        "read", "execve", "ptrace", "chroot", "sethostname", "kill", "wait4", "mmap", "prctl",
        "seccomp", "capset", "setresuid", "setgroups", "rt_sigtimedwait", "close_range",
        "fchmodat2", "futex_wait", "mseal",
    ],
)  # fmt: skip
def test_the_default_allows(default, name):
    assert default(name) == ALLOW


def test_calls_that_are_yet_to_come_are_allowed(default):
    assert default(1000) == ALLOW


def test_clone3_is_as_on_an_older_kernel(default):
    assert default("clone3") == ERRNO | errno.ENOSYS


@given(st.integers(0, 2**64 - 1))
@example(17)
@example(VFORK | 0x100 | 17)
@example(NEW_USER | 17)
@example(NEW_TIME | 17)
def test_clone_makes_no_namespace(default, flags):
    if os.uname().machine == "s390x":
        pytest.skip("its arguments are in another order")
    new = any(flags & bit for bit in (0x20000, *(1 << n for n in range(25, 31))))
    assert default("clone", flags) == (REFUSED if new else ALLOW)


@given(st.integers(0, 2**64 - 1))
@example(0x400)  # files alone
@example(NEW_TIME)
@example(NEW_NET << 1)
def test_unshare_makes_no_namespace(default, flags):
    new = any(flags & bit for bit in (0x80, 0x20000, *(1 << n for n in range(25, 31))))
    assert default("unshare", flags) == (REFUSED if new else ALLOW)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0x5412, 0x541C, 0x5401]))
def test_a_terminal_is_not_fed_whatever_the_upper_half_says(default, upper, request):
    if os.uname().machine.startswith(("ppc", "mips")):
        pytest.skip("other numbers")
    asked = default("ioctl", 0, upper << 32 | request)
    assert asked == (ALLOW if request == 0x5401 else REFUSED)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 10, 40]))
def test_sockets_to_the_hypervisor(default, upper, family):
    assert default("socket", upper << 32 | family, 1) == (REFUSED if family == 40 else ALLOW)


@given(st.integers(0, 2**32 - 1))
@example(0)
@example(8)
@example(0x20000)
@example(0x20008)
@example(0xFFFFFFFF)
@example(0xFFFFFFFE)
@example(0xFFFFFFF7)  # a harmless bit is zero
@example(0xFFFDFFFF)
@example(0x40000)
@example(0x80000000)
@example(9)
def test_personalities(default, value):
    harmless = value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
    assert default("personality", value) == (ALLOW if harmless else REFUSED)
    assert default("personality", 1 << 40 | value) == (ALLOW if harmless else REFUSED)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other machines have other old ABIs")
def test_other_abis_are_not_for_the_rules_to_judge(default):
    assert default(20, arch=0x40000003) == KILL_PROCESS
    assert default(0x40000000 | 39) == KILL_PROCESS


def test_each_name_of_the_default_is_known(library):
    for item in PROFILE["syscalls"]:
        for name in item["names"]:
            known = library.resolve_syscall(library.Arch.NATIVE, name) != -1
            assert known or name in RECENT, name


def test_the_numbers_of_recent_calls_are_libseccomp_s(library):
    for name, number in RECENT.items():
        assert library.resolve_syscall(library.Arch.NATIVE, name) in (-1, number), name


def test_none_is_no_filter():
    assert filter_for("none") is None


# ---- profiles ------------------------------------------------------------------------------


def test_actions(compiled):
    judge = compiled(
        profile(
            rule("mkdir", "mkdirat"),
            rule("rmdir", errnoRet=errno.EROFS),
            rule("uname", action="SCMP_ACT_KILL_PROCESS"),
            rule("sync", action="SCMP_ACT_KILL"),
            rule("getcwd", action="SCMP_ACT_KILL_THREAD"),
            rule("chroot", action="SCMP_ACT_TRAP"),
            rule("getpid", action="SCMP_ACT_LOG"),
            rule("getuid", action="SCMP_ACT_TRACE", errnoRet=7),
            rule("getgid", action="SCMP_ACT_ALLOW"),
            rule("getppid", errno="ENOTSUP"),
        )
    )
    names = ("mkdir", "mkdirat", "rmdir", "uname", "sync", "getcwd", "chroot", "getpid", "getuid",
             "getgid", "getppid", "read")  # fmt: skip
    assert [judge(name) for name in names] == [
        REFUSED, REFUSED, ERRNO | errno.EROFS, KILL_PROCESS, KILL_THREAD, KILL_THREAD, TRAP, LOG,
        TRACE | 7, ALLOW, ERRNO | errno.ENOTSUP, ALLOW,
    ]  # fmt: skip


def test_a_list_of_permissions(compiled):
    judge = compiled(
        profile(
            rule("execve", "read", action="SCMP_ACT_ALLOW"),
            default="SCMP_ACT_ERRNO", defaultErrnoRet=errno.EACCES,
        )
    )  # fmt: skip
    assert judge("execve") == judge("read") == ALLOW
    assert judge("close") == ERRNO | errno.EACCES


def test_what_is_newer_than_a_list_of_permissions_is_as_on_an_older_kernel(compiled):
    """Or a C library would not try the older call."""
    rules = rule("execve", "cachestat", "open_tree_attr", action="SCMP_ACT_ALLOW")
    judge = compiled(profile(rules, default="SCMP_ACT_ERRNO"))
    assert judge(RECENT["open_tree_attr"]) == judge("cachestat") == ALLOW
    assert judge(RECENT["open_tree_attr"] - 1) == REFUSED
    assert judge(RECENT["open_tree_attr"] + 1) == ERRNO | errno.ENOSYS
    assert judge(0xFFFFFFFF) == REFUSED  # what a tracer skips
    for other in ("SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"):
        assert compiled(profile(rules, default=other))(1000) not in (ERRNO | errno.ENOSYS, ALLOW)


@pytest.mark.parametrize(
    "operator, allowed",
    [
        ("NE", {0, 4, 6, 2**63}), ("LT", {0, 4}), ("LE", {0, 4, 5}), ("EQ", {5}),
        ("GE", {5, 6, 2**63}), ("GT", {6, 2**63}),
    ],
)  # fmt: skip
def test_operators(compiled, operator, allowed):
    condition = {"index": 2, "value": 5, "op": f"SCMP_CMP_{operator}"}
    judge = compiled(profile(rule("getpriority", args=[condition])))
    values = {0, 4, 5, 6, 2**63}
    assert {v for v in values if judge("getpriority", 5, 5, v) == REFUSED} == allowed


def test_bits_of_an_argument(compiled):
    mask = {"index": 0, "value": 0xF0, "valueTwo": 0x50, "op": "SCMP_CMP_MASKED_EQ"}
    judge = compiled(profile(rule("getpriority", args=[mask])))
    assert [judge("getpriority", v) == REFUSED for v in (0x50, 0x5F, 0x150, 0x70, 0)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_conditions_about_several_arguments_must_all_hold(compiled):
    both = [{"index": i, "value": 1, "op": "SCMP_CMP_EQ"} for i in (0, 1)]
    judge = compiled(profile(rule("getpriority", args=both)))
    assert judge("getpriority", 1, 1) == REFUSED
    assert judge("getpriority", 1, 0) == judge("getpriority", 0, 1) == ALLOW


def test_conditions_about_one_argument_are_rules_of_their_own(compiled):
    """As runc takes them."""
    either = [{"index": 0, "value": v, "op": "SCMP_CMP_EQ"} for v in (1, 2)]
    judge = compiled(profile(rule("getpriority", args=either)))
    assert judge("getpriority", 1) == judge("getpriority", 2) == REFUSED
    assert judge("getpriority", 3) == ALLOW


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="a 32-bit ABI of this machine")
@pytest.mark.parametrize(
    "named",
    [
        {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]},
        {"archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ]},
    ],
    ids=["architectures", "archMap"],
)  # fmt: skip
def test_another_architecture_is_judged_where_it_is_named(compiled, named):
    judge = compiled(profile(rule("mkdir", "open_tree_attr"), **named))
    i386, arm = 0x40000003, 0x40000028
    assert judge("mkdir") == judge(39, arch=i386) == judge("open_tree_attr") == REFUSED
    assert judge(20, arch=i386) == ALLOW
    assert judge(20, arch=arm) == judge(0x40000000 | 39) == KILL_PROCESS


def test_conditions_of_docker(compiled):
    kernel = ".".join(os.uname().release.split(".")[:2]).split("-")[0]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    table = profile(
        rule("mkdir", includes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("rmdir", includes={"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}),
        rule("uname", excludes={"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}),
        rule("sync", excludes={"caps": ["CAP_BPF"]}),
        rule("chroot", includes={"arches": ["none", machine]}),
        rule("getcwd", includes={"arches": ["none"]}),
        rule("getpid", includes={"minKernel": "4.8"}),
        rule("getuid", includes={"minKernel": kernel}),
        rule("getgid", includes={"minKernel": "999.0"}),
        rule("getppid", includes={}, excludes={}, args=None, comment="always"),
    )
    judge = compiled(table, DEFAULT_CAPABILITIES)
    refused = {n for item in table["syscalls"] for n in item["names"] if judge(n) == REFUSED}
    assert refused == {"mkdir", "sync", "chroot", "getpid", "getuid", "getppid"}


def test_an_unknown_call_may_be_allowed_but_not_refused(compiled):
    """The one costs nothing; the other would be a hole that nobody sees."""
    allowed = rule("execve", "no_such_call", action="SCMP_ACT_ALLOW")
    judge = compiled(profile(allowed, default="SCMP_ACT_ERRNO"))
    assert judge("execve") == ALLOW
    with pytest.raises(InvalidValueError) as caught:
        compiled(profile(rule("mount"), rule("muont")))
    assert str(caught.value) == (
        "linux.seccomp: syscalls[1].names: muont: libseccomp knows no such system call"
    )


def test_what_belongs_to_another_machine_is_passed_over(compiled):
    assert compiled(profile(rule("vm86", "s390_runtime_instr", "mkdir")))("mkdir") == REFUSED


def test_a_filter_can_be_too_long(compiled):
    many = [
        rule("getpriority", args=[{"index": 0, "value": n << 32 | n, "op": "SCMP_CMP_EQ"}])
        for n in range(3000)
    ]
    with pytest.raises(InvalidValueError, match=r"too many rules: they make \d+ instr") as caught:
        compiled(profile(*many))
    assert caught.value.hint == "the kernel takes 4096"


# ---- profiles that are wrong ---------------------------------------------------------------

ONE_RULE = {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}


def with_rule(**changes):
    return profile({**ONE_RULE, **changes})


def with_arg(**changes):
    return with_rule(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", **changes}])


@pytest.mark.parametrize(
    "table, text, hint",
    [
        ({}, "defaultAction: missing", "write SCMP_ACT_ALLOW"),
        ({"defaultAction": "ALLOW"}, "defaultAction: ALLOW: unknown", "SCMP_ACT_ALLOW,"),
        ({"defaultAction": "SCMP_ACT_ERNO"}, "defaultAction: SCMP_ACT_ERNO: unknown",
         "did you mean SCMP_ACT_ERRNO?"),
        ({"defaultAction": 7}, "defaultAction: 7: unknown", "write one of"),
        (profile(sycalls=[]), "sycalls: no such key", "did you mean syscalls?"),
        (profile(defaultErrnoRet=1), "defaultErrnoRet: 1: SCMP_ACT_ALLOW has no num", "goes with"),
        (profile(default="SCMP_ACT_ERRNO", defaultErrnoRet=5000),
         "defaultErrnoRet: 5000: not a whole number in range", "write 0 to 4095"),
        (profile(default="SCMP_ACT_ERRNO", defaultErrno="EPREM"), "defaultErrno: EPREM: unknown",
         "EPERM"),
        (profile(architectures=["SCMP_ARCH_X86-64"]),
         "architectures[0]: SCMP_ARCH_X86-64: unknown", "did you mean SCMP_ARCH_X86_64?"),
        (profile(architectures=["SCMP_ARCH_X86"], archMap=[{}]),
         "architectures and archMap say the same", "leave one of them out"),
        (profile(archMap=[{}]), "archMap[0].architecture: missing", "write one of SCMP_ARCH_X86,"),
        (profile(archMap={}), "archMap: {}: not a list", "square brackets"),
        (profile(flags=["SECCOMP_FILTER_FLAG_LOG"]),
         "flags[0]: SECCOMP_FILTER_FLAG_LOG: not supported", "leave it out"),
        (profile(listenerPath="/run/s"), "listenerPath: climits passes no calls", "leave it out"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}, "syscalls: {}: not a list", "square"),
        (profile("mount"), "syscalls[0]: mount: not an object", "braces"),
        (profile(ONE_RULE, {"action": "SCMP_ACT_ERRNO"}), "syscalls[1].names: empty", "at least"),
        (with_rule(names="mount"), "syscalls[0].names: mount: not a list", "square brackets"),
        (with_rule(names=[7]), "syscalls[0].names[0]: 7: not text", "quotation marks"),
        (with_rule(names=["a b"]), "syscalls[0].names: a b: not the name of a system call", None),
        (with_rule(names=["mount\0x"]), "syscalls[0].names: 'mount\\x00x': not the name", None),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"]}]},
         "syscalls[0].action: missing", "write one of SCMP_ACT_ALLOW,"),
        (with_rule(action="SCMP_ACT_NOTIFY"), "syscalls[0].action: SCMP_ACT_NOTIFY: climits passes",
         "SCMP_ACT_ERRNO"),
        (with_rule(action="SCMP_ACT_KILL", errnoRet=1),
         "syscalls[0].errnoRet: 1: SCMP_ACT_KILL has no number", "goes with"),
        (with_rule(errnoRet=True), "syscalls[0].errnoRet: True: not a whole num", "0 to 4095"),
        (with_rule(arg=[]), "syscalls[0]: arg: no such key", "did you mean args?"),
        (with_rule(args=[7]), "syscalls[0].args[0]: 7: not an object", "braces"),
        (with_arg(index=6), "syscalls[0].args[0].index: 6: not a whole number", "write 0 to 5"),
        (with_arg(value=-1), "syscalls[0].args[0].value: -1: not a whole", "18446744073709551615"),
        (with_arg(value=None), "syscalls[0].args[0].value: missing", "write 0 to"),
        (with_arg(op="EQ"), "syscalls[0].args[0].op: EQ: unknown", "write one of SCMP_CMP_NE,"),
        (with_arg(Op="EQ"), "syscalls[0].args[0]: Op: no such key", "known are index,"),
        (with_rule(includes={"cap": []}), "syscalls[0].includes: cap: no such key", "caps?"),
        (with_rule(includes={"caps": [[]]}), "syscalls[0].includes.caps[0]: []: not text", "quot"),
        (with_rule(excludes={"minKernel": "new"}), "syscalls[0].excludes.minKernel: new: not a ver",
         "write one such as 4.8"),
        (profile(rule("execve")), "execve is refused: no program can be started", "allow execve"),
        (profile(default="SCMP_ACT_ERRNO"), "execve is refused", "allow execve"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(table, text, hint, tmp_path):
    file = tmp_path / "p.json"
    file.write_text(json.dumps(table))
    with pytest.raises(ClimitsError) as caught:
        filter_for(str(file))
    assert str(caught.value).startswith(f"seccomp: {file}: {text}")
    assert "\n" not in str(caught.value)
    assert caught.value.hint is None if hint is None else hint in caught.value.hint


def test_process_1_must_be_able_to_work():
    table = profile(rule("wait4"))
    with pytest.raises(InvalidValueError, match="wait4 is refused: process 1 cannot work without"):
        filter_for(table, init=True)


@pytest.mark.parametrize(
    "data, cause",
    [
        (b"", "line 1, column 1: not JSON: expecting value"),
        (b'{\n  "defaultAction": SCMP', "line 2, column 20: not JSON: expecting value"),
        (b"\xff\xfe\xff", "not text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "not JSON: a number has too many digits"),
        (b"[]", "[]: not an object"),
        (b" " * (5 << 20), "too long for a profile"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path, data, cause):
    file = tmp_path / "p.json"
    file.write_bytes(data)
    with pytest.raises(InvalidValueError) as caught:
        filter_for(str(file))
    assert str(caught.value) == f"seccomp: {file}: {cause}"


@pytest.mark.parametrize(
    "path, cause", [("/nonexistent.json", "no such file or directory"), ("/proc", "is a directory")]
)
def test_a_file_that_is_not_there(path, cause):
    with pytest.raises(InvalidValueError) as caught:
        filter_for(path)
    assert str(caught.value) == f"seccomp: {path}: {cause}"
    assert caught.value.hint == "write default, none, or the path of a profile file"


def test_without_libseccomp_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    monkeypatch.setitem(sys.modules, "seccomp", None)
    with pytest.raises(UnsupportedError, match="without libseccomp and its Python bind") as caught:
        filter_for(profile())
    for part in ("pip install 'climits[container]'", "libseccomp2", "--seccomp none"):
        assert part in caught.value.hint


# ---- the kept default ----------------------------------------------------------------------


@pytest.fixture
def kept(library, tmp_path, monkeypatch):
    """Path of the file, in a place of its own."""
    path = tmp_path / "default.bpf"
    monkeypatch.setattr(seccomp_filter, "_file", lambda: str(path))
    return path


def made_again(monkeypatch):
    """Whether the default is made, not taken from its file; what it is."""
    made = []
    real = seccomp_filter.compile_profile
    with monkeypatch.context() as patch:
        patch.setattr(seccomp_filter, "_default", None)
        patch.setattr(seccomp_filter, "compile_profile", lambda p: made.append(p) or real(p))
        program = filter_for("default")
        assert filter_for("default") is program  # in one process it is read once
    return len(made), program


def test_the_default_is_made_once(kept, monkeypatch):
    count, program = made_again(monkeypatch)
    assert count == 1
    assert made_again(monkeypatch) == (0, program)
    assert os.listdir(kept.parent) == [kept.name]


@pytest.mark.parametrize(
    "broken", [b"", b"\0", b"x", b"\0" * 80, b"/\n\0abcdefgh"], ids=lambda b: repr(b[:12])
)
def test_what_is_kept_may_be_broken(kept, monkeypatch, broken):
    _, program = made_again(monkeypatch)
    kept.write_bytes(broken)
    assert made_again(monkeypatch) == (1, program)
    assert made_again(monkeypatch) == (0, program)


def test_what_is_kept_may_be_cut_off(kept, monkeypatch):
    _, program = made_again(monkeypatch)
    kept.write_bytes(kept.read_bytes()[:-8])
    assert made_again(monkeypatch) == (1, program)


def test_it_is_made_anew_for_another_kernel(kept, monkeypatch):
    made_again(monkeypatch)
    uname = os.uname()
    other = os.uname_result((*uname[:2], "9.9.9", *uname[3:]))
    monkeypatch.setattr(os, "uname", lambda: other)
    assert made_again(monkeypatch)[0] == 1


def test_it_is_made_anew_for_another_libseccomp(kept, monkeypatch):
    made_again(monkeypatch)
    library, rest = kept.read_bytes().split(b"\n", 1)
    assert b"libseccomp" in library
    assert made_again(monkeypatch)[0] == 0
    kept.write_bytes(b"/bin/sh\n" + rest)
    assert made_again(monkeypatch)[0] == 1


def test_it_is_made_anew_for_another_list(kept, monkeypatch, tmp_path):
    made_again(monkeypatch)
    changed = tmp_path / "changed.py"
    with open(seccomp_filter.__file__, encoding="utf-8") as file:
        changed.write_text(file.read() + "#")
    monkeypatch.setattr(seccomp_filter, "_SOURCES", (*seccomp_filter._SOURCES[:-1], str(changed)))
    assert made_again(monkeypatch)[0] == 1


@pytest.mark.parametrize("place", ["/proc/nowhere/x.bpf", "/proc/version"])
def test_where_it_cannot_be_kept_it_is_made_each_time(library, monkeypatch, place):
    monkeypatch.setattr(seccomp_filter, "_file", lambda: place)
    program = made_again(monkeypatch)
    assert program == made_again(monkeypatch)
    assert program[0] == 1


def test_a_kept_default_costs_no_import(library):
    filter_for("default")
    code = (
        "import sys; from climits.program.seccomp_filter import _file, filter_for; "
        "import os; assert filter_for('default'); "
        "dear = {'ctypes', 'pyseccomp', 'seccomp', 'json'} & {*sys.modules}; "
        "print(os.path.exists(_file()), dear)"
    )
    for _ in range(2):  # the first may have to make it
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr == ""
    if done.stdout.startswith("False"):
        pytest.skip("Python keeps no byte code here")
    assert done.stdout == "True set()\n"


# ---- the page ------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "seccomp.md"


def test_the_page_names_each_call_that_is_refused():
    text = PAGE.read_text(encoding="utf-8")
    for item in PROFILE["syscalls"]:
        for name in item["names"]:
            if not name.startswith("io_uring_"):
                assert f"`{name.removesuffix('64')}`" in text, name


def test_the_profile_on_the_page_works(compiled):
    text = PAGE.read_text(encoding="utf-8")
    judge = compiled(json.loads(text.partition("```json\n")[2].partition("```")[0]))
    assert judge("mkdir") == ERRNO | 30
    assert judge("uname") == KILL_PROCESS
    assert (judge("socket", 10), judge("socket", 2)) == (REFUSED, ALLOW)


def test_the_default_can_be_written_to_a_file(library, tmp_path):
    command = PAGE.read_text(encoding="utf-8").partition("python3 -c '")[2].partition("' > my")[0]
    file = tmp_path / "my.json"
    with open(file, "wb") as output:
        subprocess.run([sys.executable, "-c", command], stdout=output, check=True)
    assert filter_for(str(file)) == filter_for("default")

"""Tests of the VM harness itself. Those with the marker `vm` boot a machine."""

from __future__ import annotations

import gzip
import os
import random
import re
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matrix
import pytest
import vm

HERE = Path(__file__).parent
Start = Callable[..., "subprocess.Popen[str]"]
Rows = Callable[[], list[matrix.Row]]
OLD, NEW = "6.1.", "6.12."  # with and without a memory controller on v1


# -- what a machine is made of ----------------------------------------------------------------


def make_kernel(kernels: Path, release: str, **modules: str) -> vm.Kernel:
    """Make a kernel of which each module, its file so named, depends on those it is given."""
    folder = kernels / release
    (folder / "modules/drivers").mkdir(parents=True)
    (folder / "vmlinux").touch()
    for name, depends in modules.items():
        info = f"license=GPL\0depends={depends}\0retpoline=Y\0"
        (folder / f"modules/drivers/{name}.ko").write_bytes(b"\x7fELF\0" + info.encode())
    return vm.Kernel(folder)


def test_kernel_find_takes_the_newest_by_number(tmp_path: Path) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.117+deb12-amd64"):
        make_kernel(tmp_path, release)
    (tmp_path / "6.1.0-99-amd64").mkdir()  # not complete: without vmlinux
    assert vm.Kernel.find("6.1.", tmp_path).release == "6.1.0-56-amd64"
    assert vm.Kernel.find("6.1", tmp_path).release == "6.1.0-56-amd64"
    assert vm.Kernel.find("6.1.0-9", tmp_path).release == "6.1.0-9-amd64"
    assert vm.Kernel.find("6", tmp_path).release == "6.12.117+deb12-amd64"


def test_kernel_find_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(vm.VMError, match=r"no kernel 5\.10\.\* in .*: run .*kernels\.sh"):
        vm.Kernel.find("5.10.", tmp_path)


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    kernel = make_kernel(
        tmp_path, "1", **{"9p": "netfs,9p-net", "9p_net": "netfs", "netfs": "", "unused": ""}
    )
    assert list(kernel.modules(["9p", "builtin", "netfs"])) == ["netfs", "9p_net", "9p"]


def test_modules_dash_and_underscore_are_the_same(tmp_path: Path) -> None:
    kernel = make_kernel(tmp_path, "1", **{"crc32c-intel": "", "ext4": "crc32c_intel"})
    modules = kernel.modules(["ext4"])
    assert list(modules) == ["crc32c_intel", "ext4"]
    assert modules["ext4"].startswith(b"\x7fELF")


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
def test_cpio_is_what_another_program_reads(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(10_001)
    archive = vm.cpio([("d", 0o40755, b""), ("d/odd", 0o100755, data), ("empty", 0o100644, b"")])
    assert len(archive) % 4 == 0
    subprocess.run(["busybox", "cpio", "-i"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "d/odd").read_bytes() == data
    assert stat.S_IMODE((tmp_path / "d/odd").stat().st_mode) == 0o755
    assert (tmp_path / "empty").read_bytes() == b""


def test_script_passes_the_command_on_unchanged(tmp_path: Path) -> None:
    words = ["a b", "$HOME", "'", '"', "", "*", "back\\slash", "new\nline", "é"]
    code = "import sys, os; print(sys.argv[1:], os.environ['VM_MODE'], os.environ['HOME'])"
    machine = vm.Machine(make_kernel(tmp_path, "1"), mode="hybrid", user=True)
    script = machine.script([sys.executable, "-c", code, *words])
    out = subprocess.run(["sh"], input=script.encode(), stdout=subprocess.PIPE, check=True).stdout
    assert out.decode() == f"{words} hybrid /home/tester\n"


def test_qemu_never_uses_kvm_and_has_a_disk_only_for_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "tool", lambda name, package: name)
    kernel = make_kernel(tmp_path, "1")
    argv = vm.Machine(kernel, cpus=3, swap=0, append="psi=0").qemu(7, 8, 9)
    assert argv[argv.index("-accel") + 1] == "tcg,thread=single"
    assert argv[argv.index("-smp") + 1] == "3"
    assert argv[argv.index("-append") + 1].endswith(" psi=0")
    assert not {"-enable-kvm", "--enable-kvm"} & set(argv)
    assert "-drive" not in argv
    argv = vm.Machine(kernel, parallel=True).qemu(7, 8, 9)
    assert argv[argv.index("-accel") + 1] == "tcg,thread=multi"
    assert "-drive" in argv


@pytest.mark.parametrize("mode", vm.MODES)
def test_qemu_tells_systemd_the_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(vm, "tool", lambda name, package: name)
    machine = vm.Machine(make_kernel(tmp_path, "1"), mode=mode, systemd=True, append="psi=0")
    argv = machine.qemu(7, 8, 9)
    options = argv[argv.index("-append") + 1].split()
    assert options[-1] == "psi=0"
    assert "systemd.unit=vm.target" in options
    assert ("systemd.unified_cgroup_hierarchy=1" in options) == (mode == "v2")
    assert ("systemd.legacy_systemd_cgroup_controller=1" in options) == (mode == "v1")
    assert ("cgroup_no_v1=memory,cpuset" in options) == (mode == "mixed")


def test_cache_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CLIMITS_VM_CACHE", raising=False)
    assert vm.cache_dir() == Path("/h/.cache/climits-vm")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert vm.cache_dir() == Path("/x/climits-vm")
    monkeypatch.setenv("CLIMITS_VM_CACHE", "/c")
    assert vm.cache_dir() == Path("/c")


# -- running it, with a shell in the place of qemu --------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_output_ends_at_the_mark_however_it_is_cut(size: int) -> None:
    data = b"e\nen end vm-en vm-end-6 7\nvm-end-\xff\0vm-end-vm-end-66"
    stream = data + b"vm-end-5 42\nlate"
    output = vm.Output("vm-end-5")
    pieces = [output.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert b"".join(pieces) == data
    assert output.status == 42


def test_output_holds_back_no_more_than_it_must() -> None:
    output = vm.Output("MARK")
    assert output.feed(b"line\n") == b"line\n"
    assert output.feed(b"a MA") == b"a "
    assert output.feed(b"D") == b"MAD"
    assert output.feed(b"MARK 1") == b""
    assert output.status is None  # there may be another digit to come
    output.feed(b"2\n")
    assert output.status == 12


class Fake(vm.Machine):
    """A machine that is a shell script; $mark is the end mark, $console the console."""

    text = ""

    def initramfs(self, command: object, end_mark: str) -> bytes:
        type(self).text = f"mark={end_mark}; {self.append}"
        return b"initramfs"

    def qemu(self, initramfs: int, swap: int, console: int) -> list[str]:
        return ["sh", "-c", f"initramfs=/dev/fd/{initramfs} console=/dev/fd/{console}; {self.text}"]


def fake(text: str, timeout: float = 10) -> int:
    return vm.run(Fake(vm.Kernel(Path("1")), append=text), ["true"], timeout)


def test_run_returns_the_status_and_ends_the_machine(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    start = time.monotonic()
    assert fake('cat $initramfs; printf "\\377out%s 7\\n" $mark; exec sleep 100') == 7
    assert time.monotonic() - start < 5
    assert capfdbinary.readouterr().out == b"initramfs\xffout"


def test_run_gives_the_reason_that_is_on_the_console(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(vm.VMError, match=r"^no such mode$") as caught:
        fake('echo part; echo "[ 1.0] vm: no such mode" >$console')
    assert caught.value.status == 125
    assert capfd.readouterr() == ("part\n", "[ 1.0] vm: no such mode\n")


def test_run_times_out(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(vm.VMTimeoutError, match=r"timed out after 0\.5 s") as caught:
        fake("echo first; exec sleep 100", timeout=0.5)
    assert caught.value.status == 124
    assert capfd.readouterr().out == "first\n"


def test_run_times_out_while_output_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as null, pytest.raises(vm.VMTimeoutError):
        monkeypatch.setattr(sys, "stdout", null)
        fake("exec yes", timeout=0.3)


@pytest.fixture
def stand_in(tmp_path: Path) -> Start:
    """Start vm.py where qemu is shell text that is given; $mark is the end mark."""

    def start(text: str, kernel: str = "9.9.") -> subprocess.Popen[str]:
        make_kernel(tmp_path / "kernels", "9.9.0")
        programs = tmp_path / "bin"
        programs.mkdir()
        find_mark = "for word; do case $word in /proc/self/fd/*) break ;; esac; done; mark=$("
        find_mark += 'grep -ao "vm-end-[0-9a-f]*" "$word")'
        for name, lines in (("busybox", ""), ("qemu-system-x86_64", f"{find_mark}\n{text}\n")):
            (programs / name).write_text(f"#!/bin/sh\n{lines}")
            (programs / name).chmod(0o755)
        environ = {"PATH": f"{programs}:{os.environ['PATH']}", "CLIMITS_VM_CACHE": str(tmp_path)}
        argv = [sys.executable, str(HERE / "vm.py"), "--kernel", kernel, "--", "true"]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environ, stdout=pipe, stderr=pipe, text=True)

    return start


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that init has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_main_returns_the_status(stand_in: Start) -> None:
    process = stand_in('echo hello; echo "$mark 200"')
    assert process.communicate(timeout=20) == ("hello\n", "")
    assert process.returncode == 200


def test_main_without_the_kernel(stand_in: Start) -> None:
    process = stand_in("", "9.8.")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (125, "")
    assert re.fullmatch(r"vm\.py: no kernel 9\.8\.\* in \S+: run \S+/kernels\.sh\n", err)


def test_main_whose_output_nobody_reads(stand_in: Start) -> None:
    with stand_in("exec yes") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_main_ends_the_machine_when_told_to_stop(stand_in: Start, number: int) -> None:
    process = stand_in("echo $$; exec sleep 100")
    assert process.stdout is not None
    machine = int(process.stdout.readline())
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 128 + number
    assert not alive(machine)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_main_that_is_killed_takes_the_machine_along(stand_in: Start) -> None:
    process = stand_in("echo $$; exec sleep 100")
    assert process.stdout is not None
    machine = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=20)
    until = time.monotonic() + 5
    while alive(machine):
        assert time.monotonic() < until
        time.sleep(0.01)


# -- kernels.sh, with stand-ins for apt -------------------------------------------------------


class Apt:
    """Stand-ins for apt's programs, which know one package: linux-image-9.1.2-3-amd64."""

    release = "9.1.2-3-amd64"
    names = (
        f"linux-image-{release}",
        "linux-image-9.1.2-3-cloud-amd64",
        "linux-image-9.10.4-amd64",
    )

    def __init__(self, folder: Path) -> None:
        self.bin, self.cache = folder / "bin", folder / "cache"
        self.program("apt-get", f'echo "$@" >>{folder}/log; for p; do :; done; : >"$p.deb"')
        names = shlex.quote("\n".join(f"{name} - Linux" for name in self.names))
        # apt-cache search --names-only PATTERN
        self.program("apt-cache", f'printf "%s\\n" {names} | grep -E "${{3%\\$}} "')
        self.program("dpkg-deb", f"exec tar -C {folder}/package -c .")
        self.log = folder / "log"

        header = bytearray(1024)
        packed = gzip.compress(b"the kernel")
        header[497] = 1  # sectors of set-up code, besides the first
        struct.pack_into("<II", header, 584, 8, len(packed) + 4)
        modules = folder / f"package/lib/modules/{self.release}/kernel"
        for name in ("drivers/block/b.ko", "drivers/gpu/g.ko", "fs/9p/9p.ko", "sound/s.ko"):
            (modules / name).parent.mkdir(parents=True)
            (modules / name).write_text(name)
        subprocess.run(["xz", modules / "fs/9p/9p.ko"], check=True)
        boot = folder / "package/boot"
        boot.mkdir()
        (boot / f"vmlinuz-{self.release}").write_bytes(
            header + b"8 bytes " + packed + struct.pack("<I", 10) + b"rest"
        )

    def program(self, name: str, text: str) -> None:
        self.bin.mkdir(exist_ok=True)
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def start(self, prefix: str) -> subprocess.Popen[str]:
        environ = {"PATH": f"{self.bin}:{os.environ['PATH']}", "CLIMITS_VM_CACHE": str(self.cache)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [HERE / "kernels.sh", prefix], env=environ, text=True, stdout=pipe, stderr=pipe
        )


@pytest.fixture
def apt(tmp_path: Path) -> Apt:
    if not shutil.which("xz"):
        pytest.skip("needs xz")
    return Apt(tmp_path)


def test_kernels_keeps_what_the_vm_needs(apt: Apt) -> None:
    out, err = apt.start("9.1.").communicate(timeout=20)
    assert (out, err) == ("", "kernels.sh: fetching 9.1.2-3-amd64\n")
    assert os.listdir(apt.cache / "kernels") == [apt.release]
    kernel = vm.Kernel.find("9.1.", apt.cache / "kernels")
    assert (kernel.folder / "vmlinux").read_bytes() == b"the kernel"
    assert kernel.modules(["9p", "b", "g", "s"]) == {
        "9p": b"fs/9p/9p.ko",
        "b": b"drivers/block/b.ko",
    }


def test_kernels_fetches_once(apt: Apt) -> None:
    for prefix in ("9.1.", "9.1", "9.1."):
        process = apt.start(prefix)
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(apt.log.read_text().splitlines()) == 1


def test_kernels_may_run_twice_at_a_time(apt: Apt) -> None:
    both = [apt.start("9.1."), apt.start("9.1.")]
    for process in both:
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert os.listdir(apt.cache / "kernels") == [apt.release]


def test_kernels_says_which_series_is_missing(apt: Apt) -> None:
    process = apt.start("9.2.")
    assert "apt knows no kernel 9.2.*" in process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert os.listdir(apt.cache / "kernels") == []


def test_kernels_leaves_nothing_half_done(apt: Apt) -> None:
    apt.program("dpkg-deb", "exit 2")
    process = apt.start("9.1.")
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert os.listdir(apt.cache / "kernels") == []


# -- matrix.py --------------------------------------------------------------------------------


LAYOUTS = ((OLD, "v1"), (OLD, "hybrid"), (OLD, "v2"), (NEW, "v2"), (NEW, "mixed"))
of_all_rows = pytest.mark.parametrize("every", [matrix.gate, matrix.everything])


def rows(every: Rows, kernel: str, mode: str, login: str = "") -> list[matrix.Row]:
    return [r for r in every() if r[:2] == (kernel, mode) and r.login == login]


@pytest.mark.parametrize(("mode", "without"), [("v1", matrix.ONCE_A_KERNEL), ("v2", ())])
def test_matrix_leaves_no_test_out(mode: str, without: tuple[str, ...]) -> None:
    wanted = matrix.files(*matrix.EVERYWHERE, without=without)
    listed = [file for row in rows(matrix.everything, OLD, mode) for file in row.tests]
    assert set(wanted) <= set(listed)
    assert len(listed) == len(set(listed))


@of_all_rows
def test_matrix_runs_what_asks_the_kernel_on_each_layout(every: Rows) -> None:
    natively = [(OLD, "hybrid")] if every is matrix.gate else []  # as the host's is, or v2
    for layout in LAYOUTS:
        names = {Path(file).name for row in rows(every, *layout) for file in row.tests}
        wanted = {"test_memory_contract.py", "test_kernel_run.py", "test_events.py"}
        assert layout in natively or wanted <= names


def test_a_change_is_held_by_nearly_all_of_v2() -> None:
    listed = {file for row in rows(matrix.gate, OLD, "v2") for file in row.tests}
    missing = {Path(file).name for file in {*matrix.files(*matrix.EVERYWHERE)} - listed}
    assert missing == {"test_container_users.py"}


@of_all_rows
@pytest.mark.parametrize(("login", "words"), [("root", []), ("tester", ["--user"])])
def test_matrix_under_systemd(every: Rows, login: str, words: list[str]) -> None:
    (row,) = [row for row in rows(every, OLD, "v2", login) if len(row.tests) > 1]
    machine = row.machine()
    end = machine.index("--")
    assert machine[machine.index("--systemd") : end] == ["--systemd", *words]
    assert any(word.endswith("systemd/test_systemd_vm.py") for word in machine[end:])


# -- real machines ----------------------------------------------------------------------------


def start(*words: str, kernel: str = OLD) -> subprocess.Popen[bytes]:
    """Start vm.py, options and all, or skip the test."""
    if "VM_MODE" in os.environ:
        pytest.skip("a machine in the machine would be too slow")
    try:
        vm.tool("qemu-system-x86_64", "qemu-system-x86")
        vm.tool("busybox", "busybox-static")
        vm.Kernel.find(kernel, vm.cache_dir() / "kernels")
    except vm.VMError as error:
        pytest.skip(str(error))
    argv = [sys.executable, str(HERE / "vm.py"), "--timeout", "90", "--kernel", kernel, *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def boot(*words: str, kernel: str = OLD) -> tuple[int, str, str]:
    """Run vm.py; return its status and what it printed."""
    with start(*words, kernel=kernel) as process:
        out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.vm
def test_vm_gives_the_status_and_keeps_the_surroundings(tmp_path: Path) -> None:
    script = (
        'id -u; pwd; echo "$PATH"; echo $VM_MODE $VM_KERNEL; uname -r; nproc; cat /proc/swaps;'
        f"cat {tmp_path}/there; echo err >/dev/stderr; touch {tmp_path}/new; rm {tmp_path}/there;"
        "echo more >>/etc/hosts; (sleep 1000 &); exit 7"
    )
    (tmp_path / "there").write_text("file of the host\n")
    hosts = Path("/etc/hosts").read_bytes()
    status, out, err = boot("--swap", "64", "--cpus", "1", "--", "sh", "-c", script)
    release = vm.Kernel.find(OLD, vm.cache_dir() / "kernels").release
    lines = out.splitlines()
    assert lines[:4] == ["0", str(Path.cwd()), os.environ["PATH"], f"v2 {release}"]
    assert lines[4:6] == [release, "1"]
    assert lines[7].split()[:3] == ["/dev/vda", "partition", str(64 * 1024 - 4)]
    assert lines[8:] == ["file of the host", "err"]
    assert (status, err) == (7, "")
    assert os.listdir(tmp_path) == ["there"]
    assert Path("/etc/hosts").read_bytes() == hosts


@pytest.mark.vm
def test_vm_as_the_ordinary_user_and_without_swap() -> None:
    script = "id -u; id -g; id -un; touch ~/file; ls ~; echo out >/dev/stdout; cat /proc/swaps"
    status, out, err = boot(
        "--user", "--swap", "0", "--", sys.executable, "-c", f"import os; os.system({script!r})"
    )
    assert out.splitlines()[:5] == ["4242", "4242", "tester", "file", "out"]
    assert len(out.splitlines()) == 6  # of swap, the heading
    assert (status, err) == (0, "")


@pytest.mark.vm
def test_vm_passes_every_byte() -> None:
    code = "import random, sys; sys.stdout.buffer.write(random.Random(5).randbytes(1 << 20))"
    with start("--", sys.executable, "-c", code) as process:
        out, err = process.communicate()
    assert out == random.Random(5).randbytes(1 << 20)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.vm
def test_vm_streams_and_a_signal_ends_it() -> None:
    with start("--", "sh", "-c", "echo first; exec sleep 1000") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 128 + signal.SIGTERM
    assert len(children) == 1
    assert not alive(int(children[0]))


@pytest.mark.vm
def test_vm_command_not_found() -> None:
    status, out, err = boot("--", "no-such-command", "-x")
    assert status == 127
    assert "no-such-command: not found" in out
    assert err == ""


@pytest.mark.vm
def test_vm_time_out() -> None:
    # The last --timeout counts. It is over before the machine is up.
    status, out, err = boot("--timeout", "0.5", "--", "true")
    assert (status, out) == (124, "")
    assert err.endswith("vm.py: timed out after 0.5 s\n")


@pytest.mark.vm
def test_vm_that_panics() -> None:
    status, out, err = boot(
        # What is on its way through the pipe in the guest is lost: give it a second of idleness.
        "--",
        "sh",
        "-c",
        "echo last words; sleep 1; echo c >/proc/sysrq-trigger; sleep 9",
    )
    assert (status, out) == (125, "last words\n")
    assert "Kernel panic" in err
    assert err.endswith("vm.py: the machine ended early: its console is above\n")


# -- systemd ----------------------------------------------------------------------------------

PROBE = (
    'id -u; pwd; echo "$PATH"; echo $HOME $USER $VM_MODE; cat /proc/1/comm; cat /proc/self/cgroup;'
    "echo $XDG_RUNTIME_DIR $DBUS_SESSION_BUS_ADDRESS;"
    "systemctl --user is-system-running --wait; exit 7"
)


@pytest.mark.vm
@pytest.mark.parametrize(
    ("words", "uid", "home"),
    [([], 0, "/root root v2"), (["--user"], 4242, "/home/tester tester v2")],
)
def test_systemd_v2_runs_the_command_as_a_login_does(words: list[str], uid: int, home: str) -> None:
    status, out, err = boot("--systemd", *words, "--", "sh", "-c", PROBE)
    lines = out.splitlines()
    assert lines[:5] == [str(uid), str(Path.cwd()), os.environ["PATH"], home, "systemd"]
    assert re.fullmatch(rf"0::/user\.slice/user-{uid}\.slice/session-\d+\.scope", lines[5])
    bus = f"/run/user/{uid}"
    assert lines[6:] == [f"{bus} unix:path={bus}/bus", "running"]
    assert (status, err) == (7, "")


@pytest.mark.vm
def test_systemd_machine_may_be_changed() -> None:
    script = (
        "mkdir /etc/systemd/system/user@.service.d && cd /etc/systemd/system &&"
        "printf '[Service]\\nDelegate=cpuset memory\\n' >user@.service.d/test.conf &&"
        "systemctl daemon-reload && useradd -u 4300 -m other && loginctl enable-linger other &&"
        "until systemctl -q is-active user@4300; do sleep 0.2; done &&"
        "cat /sys/fs/cgroup/user.slice/user-4300.slice/user@4300.service/cgroup.controllers &&"
        "systemctl --failed --no-legend"
    )
    status, out, err = boot("--systemd", "--", "sh", "-c", script)
    assert {"cpuset", "memory"} <= set(out.split())
    assert len(out.splitlines()) == 1  # none has failed
    assert (status, err) == (0, "")


@pytest.mark.vm
def test_systemd_command_not_found_and_every_byte() -> None:
    code = "import random, sys; sys.stdout.buffer.write(random.Random(5).randbytes(100000))"
    words = ["--systemd", "--user", "--", "sh", "-c", '"$@"; no-such-command', "sh"]
    with start(*words, "/usr/bin/python3", "-c", code) as process:
        out, err = process.communicate()
    assert out.startswith(random.Random(5).randbytes(100000))
    assert out.endswith(b"no-such-command: not found\n")
    assert (process.returncode, err) == (127, b"")


@pytest.mark.vm
@pytest.mark.parametrize("mode", ["v1", "hybrid", "mixed"])
def test_systemd_mounts_the_layout(mode: str) -> None:
    mounts, controllers = layout(OLD, mode, "--systemd")
    assert mounts.pop("") == "tmpfs"
    assert mounts.pop("/systemd") == "cgroup"
    assert mounts.pop("/unified", "cgroup2" if mode == "v1" else "") == "cgroup2"
    assert ("/memory" in mounts) == ("/cpuset" in mounts) == (mode != "mixed")
    assert {"/blkio", "/freezer", "/pids"} <= set(mounts)
    assert controllers == ({"memory", "cpuset"} if mode == "mixed" else set())


# -- the cgroup layouts -----------------------------------------------------------------------

OTHERS = {"blkio", "cpu", "cpuacct", "devices", "freezer", "perf_event", "pids"}


def layout(kernel: str, mode: str, *words: str) -> tuple[dict[str, str], set[str]]:
    """Return the type of each mount in /sys/fs/cgroup, and the controllers that are on v2."""
    script = (
        "cd /sys/fs/cgroup; grep $PWD /proc/mounts; echo --;"
        "cat cgroup.controllers unified/cgroup.controllers 2>/dev/null; true"
    )
    words = (*words, "--mode", mode, "--")
    status, out, err = boot(*words, "sh", "-c", script, kernel=kernel)
    assert (status, err) == (0, "")
    mounts, controllers = out.split("--\n")
    fields = [line.split() for line in mounts.splitlines()]
    return {path[14:]: kind for _, path, kind, *_ in fields}, set(controllers.split())


@pytest.mark.vm
def test_layout_v1() -> None:
    mounts, controllers = layout(OLD, "v1")
    assert mounts.pop("") == "tmpfs"
    assert set(mounts.values()) == {"cgroup"}
    assert {f"/{name}" for name in OTHERS | {"memory", "cpuset"}} <= set(mounts)
    assert controllers == set()


@pytest.mark.vm
def test_layout_hybrid() -> None:
    mounts, controllers = layout(OLD, "hybrid")
    assert (mounts.pop(""), mounts.pop("/unified")) == ("tmpfs", "cgroup2")
    assert set(mounts.values()) == {"cgroup"}
    assert {f"/{name}" for name in OTHERS | {"memory", "cpuset"}} <= set(mounts)
    assert controllers == set()


@pytest.mark.vm
@pytest.mark.parametrize("kernel", [OLD, NEW])
def test_layout_v2(kernel: str) -> None:
    mounts, controllers = layout(kernel, "v2")
    assert mounts == {"": "cgroup2"}
    assert {"memory", "cpuset", "io", "pids"} <= controllers


@pytest.mark.vm
@pytest.mark.parametrize("kernel", [OLD, NEW])
def test_layout_mixed(kernel: str) -> None:
    mounts, controllers = layout(kernel, "mixed")
    assert (mounts.pop(""), mounts.pop("/unified")) == ("tmpfs", "cgroup2")
    assert set(mounts.values()) == {"cgroup"}
    assert {f"/{name}" for name in OTHERS} <= set(mounts)
    assert not {"/memory", "/cpuset"} & set(mounts)
    assert controllers == {"memory", "cpuset"}


@pytest.mark.vm
@pytest.mark.parametrize(
    ("mode", "kernel", "append", "lacks"),
    [
        ("v1", NEW, "", "memory controller on cgroup v1"),
        ("hybrid", NEW, "", "memory controller on cgroup v1"),
        ("v2", OLD, "cgroup_disable=memory", "memory controller on cgroup v2"),
        ("mixed", OLD, "cgroup_disable=cpuset", "cpuset controller on cgroup v2"),
    ],
)
def test_layout_that_the_kernel_does_not_have(
    mode: str, kernel: str, append: str, lacks: str
) -> None:
    status, out, err = boot("--mode", mode, "--append", append, "--", "echo", kernel=kernel)
    assert (status, out) == (125, "")
    release = vm.Kernel.find(kernel, vm.cache_dir() / "kernels").release
    assert err.splitlines()[-1] == f"vm.py: no mode {mode} with kernel {release}: it has no {lacks}"

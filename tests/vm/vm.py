#!/usr/bin/env python3
"""Run a command in a throw-away virtual machine, with the cgroup layout asked for.

    python tests/vm/vm.py [--kernel PREFIX] [--mode v1|hybrid|v2|mixed] [options] -- COMMAND...

The machine boots a kernel that kernels.sh fetched, and sees this host's root file system at the
same paths, under a layer that is thrown away. What COMMAND prints comes out here while it runs;
its exit status is ours. 124: time-out. 125: the machine failed; its console is printed.

COMMAND is not shell text. It runs as root, or as the user tester. Of our environment it gets PATH
and the working directory, and besides VM_MODE and VM_KERNEL (the release). With --systemd it runs
where a login through PAM puts it: in /user.slice/user-ID.slice/session-N.scope, with a user manager
beside it, and XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS to find that.

Needs qemu-system-x86 and busybox-static. The guest's side is guest.sh; README.md has the rest.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODES = {
    "v1": "every controller on cgroup v1, no cgroup2 mounted",
    "hybrid": "every controller on v1, and a cgroup2 without any in /sys/fs/cgroup/unified",
    "v2": "cgroup2 alone",
    "mixed": "memory and cpuset on cgroup2 in /sys/fs/cgroup/unified, the others on v1",
}
#: The layout is then for systemd to mount. Of "mixed" it is told by what the kernel keeps from v1.
SYSTEMD_OPTIONS = {
    "v1": "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1",
    "hybrid": "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0",
    "v2": "systemd.unified_cgroup_hierarchy=1",
    "mixed": "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0 "
    "cgroup_no_v1=memory,cpuset",
}
MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay")
KERNEL_OPTIONS = (
    # After a panic one second, in which the emulator passes on what was written before it.
    "console=ttyS0 quiet panic=1 oops=panic swapaccount=1 "
    # On a busy host the emulated timer is late, and the kernel would take it for a broken one.
    "no_timer_check "
    # For speed, see README.md: ciphers need no self-test; the emulated clock is good, though the
    # kernel doubts it; and code must be translated anew wherever its address is.
    "mitigations=off cryptomgr.notests tsc=reliable norandmaps"
)
#: What goes wrong is told in the kernel's log, and so on the console.
SYSTEMD_START = (
    "systemd.unit=vm.target systemd.hostname=vm systemd.show_status=no systemd.log_target=kmsg"
)
QEMU_OPTIONS = (
    "-nodefaults -no-user-config -no-reboot -display none "
    # No model is emulated faster than max, and none has more. Without erms the kernel fills memory
    # by words, as each step of a string instruction is emulated, and not by bytes.
    "-cpu max,-erms "
    # Little to probe, and a firmware that does no more than start the kernel.
    "-machine q35,sata=off,smbus=off -bios qboot.rom "
    "-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap "
    "-chardev file,id=output,path=/dev/stdout "
    "-device virtio-serial -device virtserialport,chardev=output"
)


class VMError(Exception):
    """The machine could not be started, or ended before the command did."""

    status = 125


class VMTimeoutError(VMError):
    """The command did not end in time."""

    status = 124


# -- what the machine is made of --------------------------------------------------------------


def cache_dir() -> Path:
    """Return the folder where kernels.sh puts the kernels."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CLIMITS_VM_CACHE") or Path(base, "climits-vm"))


def tool(name: str, package: str) -> str:
    """Return the path of a program that the harness needs."""
    if path := shutil.which(name):
        return path
    raise VMError(f"no {name}: install {package}")


@dataclass(frozen=True)
class Kernel:
    """A kernel from kernels.sh: `folder`, named after the release, has vmlinux and modules/."""

    folder: Path

    @property
    def release(self) -> str:
        return self.folder.name

    @classmethod
    def find(cls, prefix: str, kernels: Path) -> Kernel:
        """Return the newest kernel whose release starts with `prefix`; 6.1 is not 6.12."""
        wanted = re.compile(re.escape(prefix) + (r"(?!\d)" if prefix[-1:].isdigit() else ""))
        folders = [image.parent for image in kernels.glob("*/vmlinux")]
        found = [folder for folder in folders if wanted.match(folder.name)]
        if not found:
            script = Path(__file__).with_name("kernels.sh")
            raise VMError(f"no kernel {prefix}* in {kernels}: run {script}")
        return cls(max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)]))

    def modules(self, wanted: Iterable[str]) -> dict[str, bytes]:
        """Return modules by name, each after those it depends on, without those built in.

        Source: `depends` in the .modinfo section of a module.
        """
        files = {p.stem.replace("-", "_"): p for p in self.folder.glob("modules/**/*.ko")}
        found: dict[str, bytes] = {}

        def add(name: str) -> None:
            if name in found or name not in files:
                return
            data = files[name].read_bytes()
            depends = re.search(rb"\0depends=([^\0]+)\0", data)
            for other in depends[1].decode().split(",") if depends else ():
                add(other.replace("-", "_"))
            found[name] = data

        for name in wanted:
            add(name)
        return found


def cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return a newc archive of (name, mode, data).

    Source: Documentation/driver-api/early-userspace/buffer-format.rst
    """
    archive = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        archive += b"070701" + b"".join(b"%08x" % n for n in numbers) + path
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def assignments(values: Mapping[str, str]) -> str:
    """Return shell text that sets `values`."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


@dataclass(frozen=True)
class Machine:
    """A virtual machine: `mem` and `swap` in MiB; `append` is more of the kernel's command line."""

    kernel: Kernel
    mode: str = "v2"
    cpus: int = 2
    mem: int = 768
    swap: int = 256
    append: str = ""
    user: bool = False
    systemd: bool = False
    parallel: bool = False

    def script(self, command: Sequence[str]) -> str:
        """Return shell text that becomes `command`, with the environment that it is to have."""
        user, home = ("tester", "/home/tester") if self.user else ("root", "/root")
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "VM_MODE": self.mode,
            "VM_KERNEL": self.kernel.release,
        }
        enter = f"cd {shlex.quote(str(Path.cwd()))} || exit {VMError.status}\n"
        return f"set -a\n{assignments(environ)}set +a\n{enter}exec {shlex.join(command)}\n"

    def initramfs(self, command: Sequence[str], end_mark: str) -> bytes:
        """Return what the kernel starts from. Not compressed: the guest is slower than a copy."""
        modules = self.kernel.modules(MODULES)
        settings = {
            "MODULES": " ".join(modules),
            "MODE": self.mode,
            "SWAP": "/dev/vda" if self.swap else "",
            "RUN_AS": "tester" if self.user else "root",
            "SYSTEMD": "yes" if self.systemd else "",
            "END_MARK": end_mark,
        }
        folders = ("bin", "dev", "lower", "modules", "new", "proc", "sys", "upper")
        busybox = Path(tool("busybox", "busybox-static"))
        return cpio(
            [
                *((name, 0o40755, b"") for name in folders),
                ("bin/busybox", 0o100755, busybox.read_bytes()),
                ("init", 0o100755, Path(__file__).with_name("guest.sh").read_bytes()),
                ("config", 0o100644, assignments(settings).encode()),
                ("command", 0o100644, self.script(command).encode()),
                *((f"modules/{name}.ko", 0o100644, data) for name, data in modules.items()),
            ]
        )

    def qemu(self, initramfs: int, swap: int, console: int) -> list[str]:
        """Return the command that is the machine, given file descriptors for what it needs."""
        argv = [tool("qemu-system-x86_64", "qemu-system-x86"), *shlex.split(QEMU_OPTIONS)]
        # Never KVM: nested it may hang. With one host thread a processor, once in a few hundred
        # boots one of them sees code that the kernel has half patched ("Oops: int3"), and on a busy
        # host they wait for each other.
        argv += ["-accel", f"tcg,thread={'multi' if self.parallel else 'single'}"]
        argv += ["-smp", str(self.cpus), "-m", str(self.mem)]
        argv += ["-kernel", str(self.kernel.folder / "vmlinux")]
        argv += ["-initrd", f"/proc/self/fd/{initramfs}"]
        options = [KERNEL_OPTIONS]
        if self.systemd:
            options += [SYSTEMD_START, SYSTEMD_OPTIONS[self.mode]]
        argv += ["-append", " ".join([*options, self.append])]
        argv += ["-serial", f"file:/proc/self/fd/{console}"]
        if self.swap:
            argv += ["-drive", f"if=virtio,format=raw,cache=unsafe,file=/proc/self/fd/{swap}"]
        # Should we be killed outright, the kernel ends the machine too.
        return ["setpriv", "--pdeathsig", "KILL", *argv] if shutil.which("setpriv") else argv


# -- running it -------------------------------------------------------------------------------


class Output:
    """Tells the command's output from the end mark and the status that the guest sends after it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.held = b""
        self.status: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Take what came from the guest; return what is output for certain, hold back the rest."""
        data, mark = self.held + data, self.mark.encode()
        end = data.find(mark)
        if end < 0:
            lengths = range(min(len(mark) - 1, len(data)), 0, -1)
            end = len(data) - next((n for n in lengths if data.endswith(mark[:n])), 0)
        elif status := re.match(rb" (\d+)\n", data[end + len(mark) :]):
            self.status = int(status[1])
        self.held = data[end:]
        return data[:end]


def relay(source: IO[bytes], output: Output, timeout: float) -> bool:
    """Copy `source` to standard output until its end or the status; return whether in time."""
    deadline = time.monotonic() + timeout
    while output.status is None:
        left = deadline - time.monotonic()
        in_time = left > 0 and bool(select.select([source], [], [], left)[0])
        data = os.read(source.fileno(), 1 << 16) if in_time else b""
        sys.stdout.buffer.write(output.feed(data) if data else output.held)
        sys.stdout.buffer.flush()
        if not data:
            return in_time
    return True


def memory_file(data: bytes = b"", size: int = 0) -> IO[bytes]:
    """Open a file that exists in memory only: it cannot be left behind."""
    file = open(os.memfd_create("vm"), "w+b")
    file.write(data)
    file.truncate(size or len(data))
    return file


def run(
    machine: Machine, command: Sequence[str], timeout: float = 600, verbose: bool = False
) -> int:
    """Run `command` in a new machine, its output going to standard output; return its status.

    `timeout` is in seconds, the boot included. Raises VMTimeoutError after it, VMError if the
    machine ends without a status. Then, and always if `verbose`, its console is printed.
    """
    output = Output(f"vm-end-{secrets.token_hex(8)}")
    with (
        memory_file(machine.initramfs(command, output.mark)) as initramfs,
        memory_file(size=machine.swap << 20) as swap,
        memory_file() as console,
    ):
        fds = [file.fileno() for file in (initramfs, swap, console)]
        with subprocess.Popen(
            machine.qemu(*fds), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=fds
        ) as qemu:
            assert qemu.stdout is not None
            try:
                in_time = relay(qemu.stdout, output, timeout)
            finally:
                qemu.kill()
        log = console.read().decode(errors="replace")
    if verbose or output.status is None:
        sys.stderr.write(log)
    if not in_time:
        raise VMTimeoutError(f"timed out after {timeout:g} s")
    if output.status is None:
        reason = re.search(r"vm: (.*)", log)
        raise VMError(reason[1] if reason else "the machine ended early: its console is above")
    return output.status


# -- the command line -------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    modes = "\n".join(f"  {mode:8}{meaning}" for mode, meaning in MODES.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"modes:\n{modes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--kernel", default="6.1.", metavar="PREFIX", help="the newest of these (6.1.)")
    option("--mode", default="v2", choices=MODES, help="the cgroup layout, see below (v2)")
    option("--cpus", default=2, type=int, metavar="N", help="processors (2)")
    option("--mem", default=768, type=int, metavar="MIB", help="memory (768)")
    option("--swap", default=256, type=int, metavar="MIB", help="swap, 0 for none (256)")
    option("--timeout", default=600, type=float, metavar="S", help="for all of it (600)")
    option("--append", default="", metavar="CMDLINE", help="more of the kernel's command line")
    option("--user", action="store_true", help="run COMMAND as the user tester, id 4242")
    option("--systemd", action="store_true", help="systemd as process 1, COMMAND in a session")
    option("--parallel", action="store_true", help="a host thread for each processor: see README")
    option("-v", "--verbose", action="store_true", help="print the console at the end")
    option("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def stop(number: int, _frame: object) -> None:
    """Handle a signal: leave, and end the machine on the way out."""
    sys.exit(128 + number)


def main() -> int:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    options = parse()
    try:
        machine = Machine(
            kernel=Kernel.find(options.kernel, cache_dir() / "kernels"),
            mode=options.mode,
            cpus=options.cpus,
            mem=options.mem,
            swap=options.swap,
            append=options.append,
            user=options.user,
            systemd=options.systemd,
            parallel=options.parallel,
        )
        return run(machine, options.command, options.timeout, options.verbose)
    except VMError as error:
        print(f"vm.py: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # nobody reads us any more: Python must not try to flush, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())

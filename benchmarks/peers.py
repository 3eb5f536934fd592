"""The commands that climits is measured beside: how each does the same job.

Where a peer has options, it gets the ones that make it do the least.
"""

import json
import os
import shutil
import subprocess
import sys

import common

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(os.path.dirname(HERE), ".venv-peers")
BIN = os.path.dirname(sys.executable)
CLIMITS = os.path.join(BIN, "climits")
LIMIT = 64 << 20
_BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")


class NotHere(Exception):
    """A peer cannot run on this host; the text says why."""


def need(command):
    """Path of a command."""
    path = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise NotHere(f"{command} is not installed (benchmarks/peers.sh)")
    return path


def try_out(commands, expect="", cwd="/"):
    """Run commands in order once, with nothing timed.

    Args:
        commands: list of argument lists.
        expect: must stand in what they print.

    Raises:
        NotHere: one fails; the text is the line of what it printed that seems to say why.
    """
    printed = ""
    for argv in commands:
        done = subprocess.run(
            argv, cwd=cwd, env=common.environment(), text=True, errors="replace", check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        printed += done.stdout
        if done.returncode:
            raise NotHere(_cause(printed) or f"exit status {done.returncode}")
    if expect not in printed:
        raise NotHere(_cause(printed))


def _cause(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = ("error", "critical", "cannot", "failed", "not available", "not permitted", "denied")
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    return (telling or lines or [""])[-1]


def climits(*argv):
    return [CLIMITS, "run", "--memory", "64M", "--quiet", "--", *argv]


def cgroup_tools(*argv):
    """The chain of Debian's cgroup-tools: a list of five commands."""
    _, version = common.memory_hierarchy()
    limit, peak = "memory.limit_in_bytes", "memory.max_usage_in_bytes"
    if version == 2:
        limit, peak = "memory.max", "memory.peak"
    name = f"{common.own_name()}-tools"
    group = f"memory:{name}"
    return [
        [need("cgcreate"), "-g", group],
        [need("cgset"), "-r", f"{limit}={LIMIT}", name],
        [need("cgexec"), "-g", group, *argv],
        [need("cgget"), "-n", "-v", "-r", peak, name],
        [need("cgdelete"), "-g", group],
    ]


def in_one_shell(commands):
    """The same commands in one sh -c; words must need no quoting."""
    return ["/bin/sh", "-c", "; ".join(" ".join(argv) for argv in commands)]


def runexec(*argv, container=False):
    """BenchExec's runexec, with or without its container.

    The container's default, an overlay of the whole file system, is not possible on every host.
    """
    command = os.path.join(VENV, "bin", "runexec")
    if not os.path.exists(command):
        raise NotHere("runexec is not installed (benchmarks/peers.sh)")
    how = ["--read-only-dir", "/", "--dir", "/"] if container else ["--no-container"]
    return [
        command, "--quiet", *how, "--memlimit", f"{LIMIT}B", "--output", "/dev/null", "--", *argv
    ]  # fmt: skip


def bwrap(*argv):
    return [need("bwrap"), "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *argv]


def bwrap_all(root, *argv):
    """bwrap with every namespace and the file systems that a container of ours has."""
    return [
        need("bwrap"), "--unshare-all", "--bind", root, "/", "--dev", "/dev", "--proc", "/proc",
        *argv
    ]  # fmt: skip


def busybox_root(directory):
    """Make a root file system of busybox alone; its path."""
    busybox = next((path for path in _BUSYBOX if os.path.exists(path)), None)
    if busybox is None:
        raise NotHere("busybox-static is not installed (benchmarks/peers.sh)")
    root = os.path.join(directory, "rootfs")
    bin_directory = os.path.join(root, "bin")
    os.makedirs(bin_directory)
    shutil.copy(busybox, os.path.join(bin_directory, "busybox"))
    for applet in ("true", "sleep"):
        os.symlink("busybox", os.path.join(bin_directory, applet))
    return root


def runc(directory, *argv, command="runc"):
    """runc run, or crun's, of a bundle that is made in a directory: busybox as root file system.

    Its state is kept in the directory too.
    """
    program = need(command)
    busybox_root(directory)
    try_out([[program, "spec", "--bundle", directory]])
    path = os.path.join(directory, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=list(argv))
    config["linux"]["resources"]["memory"] = {"limit": LIMIT, "swap": LIMIT}
    # Absolute, or it would be made below the cgroup that we happen to be in.
    name = f"{common.own_name()}-{command}"
    config["linux"]["cgroupsPath"] = f"/{name}"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    state = os.path.join(directory, "state")
    return [program, "--root", state, "run", "--bundle", directory, name]

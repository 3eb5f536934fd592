"""Peers that keep programs alive: what each does about memory, tried with the same program.

No limit of the kernel's can be set in supervisord or circus; both have an add-on that looks at the
resident size every so often and starts a program again that is beyond it.
"""

# ruff: noqa: ARG001  (the trials have one interface)

import os
import shutil
import signal
import subprocess
import time

import common
import peers
import supervisors
from compare_commands import MIB, _find, build_hog, memory_cgroup, tidy, wait_until

_TAG = 8_000_000
_LIMIT = 30  # MiB; that of supervisors.climits


def version(command, *words):
    return subprocess.run(
        [command, *words], capture_output=True, text=True, check=False
    ).stdout.split()[-1]  # fmt: skip


class Keeper:
    """One of them, with one program.

    Attributes:
        log: what it wrote.
    """

    def __init__(self, argv, log=None):
        self.running = supervisors.Running(argv)
        self.log = log or self.running._log

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def pid(self, tag, besides=None):
        """Pid of its program; None: it did not come."""

        def new():
            found = _find(str(tag).encode())
            return found if found != besides else None

        wait_until(new, 30)
        return new()

    def close(self):
        """End it; circus with its add-on does not always end by itself."""
        self.running.ask_to_end()
        try:
            self.running.top.wait(15)
        except subprocess.TimeoutExpired:
            self.running.top.kill()
            self.running.top.wait()


def climits(name, words):
    argv = supervisors.climits(name, words, 1, 'max_oom_restarts = "max"\n')
    return Keeper(argv)


def supervisord(name, words, watcher=""):
    argv = supervisors.supervisord(name, words)
    log = supervisors.in_scratch(f"{name}.told")
    path = argv[-1]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("logfile = /dev/null", f"logfile = {log}", 1) + watcher)
    return Keeper(argv, log)


def circusd(name, words, watcher=""):
    argv = supervisors.circusd(name, words, check_delay=0.2)
    log = supervisors.in_scratch(f"{name}.told")
    with open(argv[-1], "a", encoding="utf-8") as file:
        file.write(watcher)
    return Keeper([argv[0], "--log-output", log, "--log-level", "info", argv[-1]], log)


KEEPERS = {"climits supervise": climits, "supervisord": supervisord, "circus": circusd}


def versions():
    found = {"climits supervise": version(peers.CLIMITS, "--version")}
    for name, command in (("supervisord", "supervisord"), ("circus", "circusd")):
        try:
            found[name] = version(supervisors.peer(command), "--version")
        except peers.NotHere:
            continue
    return found


# ---- trials ------------------------------------------------------------------------------------


def own_limit(name, keeper, hog, tag):
    """Which limit the kernel keeps for a program that it starts."""
    kept = keeper(f"own-{tag}", [hog, "hold", str(tag)])
    try:
        pid = kept.pid(tag)
        directory = memory_cgroup(pid)
        file = "memory.max" if common.memory_hierarchy()[1] == 2 else "memory.limit_in_bytes"
        try:
            found = common.read_file(f"{directory}/{file}").decode().strip()
        except OSError:  # the root cgroup has none
            found = "none"
        yes = found == str(_LIMIT * MIB)
        return "yes" if yes else "no", f"limit of its program: {found}"
    finally:
        kept.close()


def cause(name, keeper, hog, tag):
    """A program that is OOM-killed at a limit: what the supervisor says, and does it go on?"""
    words = [hog, "hold", "700", "alloc", "100", "hold", str(tag)]
    if name != "climits supervise":
        group = supervisors.cgroup_by_hand(f"cause-{tag}")
        script = supervisors.in_scratch(f"cause-{tag}.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho 0 > {group}\nexec {' '.join(words)}\n")
        os.chmod(script, 0o755)
        words = [script]
    kept = keeper(f"cause-{tag}", words)
    try:
        first = kept.pid(tag)
        again = first and kept.pid(tag, besides=first)
        told = [line for line in kept.text().splitlines() if "cause" in line or "oom" in line]
        yes = any("oom" in line.lower() or "memory" in line.lower() for line in told)
        words = ("oom", "sigkill", "exited", "died")
        telling = [line for line in told if any(word in line.lower() for word in words)]
        line = (telling or told or [""])[0]
        seen = f"started again: {'yes' if again else 'no'}; told: {line.strip()[:200]}"
        return "yes" if yes and again else "no", seen
    finally:
        kept.close()


def guarded(name, keeper, hog, tag):
    """SIGKILL of the supervisor: what becomes of the program."""
    kept = keeper(f"guard-{tag}", [hog, "hold", str(tag)])
    pid = kept.pid(tag)
    try:
        os.kill(kept.running.top.pid, signal.SIGKILL)
        kept.running.top.wait()
        ended = wait_until(lambda: _find(str(tag).encode()) is None, 5)
        return "yes" if ended else "no", f"the program {'ended' if ended else 'goes on'}"
    finally:
        kept.close()
        if _find(str(tag).encode()) == pid:
            os.kill(pid, signal.SIGKILL)


def polled(name, keeper, hog, tag):
    """The add-on that looks: a program that takes 200 MiB where 60 are allowed."""
    words = [hog, "hold", "500", "alloc", "200", "hold", str(tag)]
    if name == "supervisord":
        memmon = supervisors.peer("memmon")
        watcher = (
            f"[eventlistener:memmon]\ncommand = {memmon} -a 60MB\nevents = TICK_5\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[unix_http_server]\nfile = {supervisors.in_scratch(f'{tag}.sock')}\n"
        )
    elif name == "circus":
        watcher = (
            "[plugin:memory]\nuse = circus.plugins.resource_watcher.ResourceWatcher\n"
            f"watcher = poll-{tag}\nmax_mem = 60M\nloop_rate = 1\n"
        )
    else:
        raise peers.NotHere("needs none: the kernel keeps its limit")
    kept = keeper(f"poll-{tag}", words, watcher)
    try:
        first, begin, most = kept.pid(tag), time.monotonic(), 0
        while time.monotonic() - begin < 20 and _find(str(tag).encode()) == first:
            try:
                lines = common.read_file(f"/proc/{first}/status").splitlines()
                most = max([most, *(int(x.split()[1]) for x in lines if x.startswith(b"VmRSS"))])
            except OSError:
                pass
            time.sleep(0.05)
        took = time.monotonic() - begin
        ended = took < 20
        seen = f"reached {most / 1024:.0f} MiB, " + (
            f"ended by the add-on after {took:.1f} s" if ended else "not ended in 20 s"
        )
        return "no", f"polled: {seen}"
    finally:
        kept.close()


TRIALS = {function.__name__: function for function in (own_limit, cause, guarded, polled)}


def tried(say):
    """As compare_commands.tried, for each keeper."""
    hog, found, tag = build_hog(), {}, _TAG + os.getpid() % 1000 * 100
    if shutil.which("cc") is None:
        return found
    for name, number in versions().items():
        found[name] = {"version": number, "cells": {}, "not_run": {}}
        for trial, function in TRIALS.items():
            tag += 1
            try:
                answer, seen = function(name, KEEPERS[name], hog, tag)
                found[name]["cells"][trial] = {"answer": answer, "seen": tidy(seen)}
                say(f"{name}: {trial}: {answer}: {tidy(seen)}")
            except (peers.NotHere, OSError, TypeError) as e:
                found[name]["not_run"][trial] = tidy(str(e))
                say(f"{name}: {trial}: not run: {tidy(str(e))}")
    return found

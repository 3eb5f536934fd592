#!/usr/bin/env python3
"""Draw the picture of `climits top` in the documentation, from a real run.

Starts a few programs under limits, one of which is OOM-killed again and again, lets the real
program look at them for a while without a terminal, and exports what it shows.

Usage: tools/picture_top.py [FILE]    (docs/images/top.svg)
Needs root, climits[top], and half a minute.
"""

import asyncio
import os
import re
import sys
import time

import climits
from climits.linux.proc import memory_total
from climits.observe.top.app import TopApp

SIZE = 132, 36
#: Refreshes that the sparklines show, and from one to the next, seconds.
REFRESHES, INTERVAL = 62, 0.4

STEADY = """
import sys, time
data = bytearray(int(sys.argv[1]) << 20)
data[::4096] = b"x" * len(data[::4096])
while True:
    time.sleep(1)
"""
WAVE = """
import math, sys, time
high, start = int(sys.argv[1]), time.monotonic()
while True:
    data = None
    size = int(high * (0.55 + 0.4 * math.sin((time.monotonic() - start) / 2.2))) << 20
    data = bytearray(size)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(0.2)
"""
CACHE = """
import os, sys, tempfile, time
with tempfile.TemporaryFile(dir="/var/tmp") as file:
    while True:
        file.seek(0)
        for _ in range(int(sys.argv[1])):
            file.write(bytes(1 << 20))
            time.sleep(0.05)
        file.flush()
"""
LEAK = """
import os, time
while True:
    pid = os.fork()
    if not pid:
        data = []
        while True:
            data.append(bytearray(b"x" * (1 << 20)))
            time.sleep(0.12)
    os.waitpid(pid, 0)
"""
#: name: (program, its argument, limit)
PROGRAMS = {
    "web": (WAVE, "52", "96M"),
    "database": (STEADY, "118", "128M"),
    "cache": (CACHE, "40", "80M"),
    "worker-1": (STEADY, "12", "64M"),
    "worker-2": (WAVE, "30", "64M"),
    "leaky": (LEAK, "", "40M"),
}


def start(name):
    """Start one of the programs under its limit."""
    code, argument, memory = PROGRAMS[name]
    command = [sys.executable, "-c", code, argument]
    return climits.Process(command, memory=memory, name=name, parent="/climits-shop")


async def show(app, path, file):
    """Let the program look, open the details of a cgroup, and write what is seen to a file."""
    async with app.run_test(size=SIZE) as pilot:
        deadline = time.monotonic() + 120
        while app.model.tick < REFRESHES and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        app.query_one("#table").select(path)
        await pilot.press("enter")
        row = app.model.rows[path]
        pane = app.query_one("#pane")
        # With an OOM kill that has just been counted, where one comes in time.
        while time.monotonic() < deadline and (
            pane.details is None
            or not any(row.flashes(app.model.tick) for row in app.model.rows.values())
        ):
            await asyncio.sleep(0.1)
        row = app.model.rows[path]
        app.query_one("#table").select(row.path)
        await pilot.pause()
        # Its fonts would be loaded from elsewhere: those of the reader will do.
        picture = re.sub(r"@font-face\s*{[^}]*}", "", app.export_screenshot(title="climits top"))
        with open(file, "w", encoding="utf-8") as out:
            out.write(picture)


def main():
    """Draw it."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    file = sys.argv[1] if len(sys.argv) > 1 else f"{here}/docs/images/top.svg"
    os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
    processes = []
    try:
        climits.Cgroup.create("climits-shop", memory="512M", parent="/").keep()
        processes = [start(name) for name in PROGRAMS]
        app = TopApp(top="/climits-shop", interval=INTERVAL, total=memory_total())
        asyncio.run(show(app, "/climits-shop/web", file))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        climits.Cgroup.open("/climits-shop").remove()
    print(file)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Make docs/images/report.svg and report.png from a real run: a program that leaks, and is killed.

Needs root, matplotlib and the climits that belongs to this interpreter.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "docs" / "images"
#: Reads files, shares memory, and leaks ever faster until its limit ends it.
PROGRAM = """
import mmap, os, tempfile, time
data = tempfile.NamedTemporaryFile(dir=".")
shared, leak = mmap.mmap(-1, 12 << 20), []
for step in range(12):
    data.write(bytes(3 << 20)); data.flush(); time.sleep(0.05)
for step in range(12):
    shared.write(bytes(1 << 20)); time.sleep(0.05)
while True:
    leak.append(bytearray((1 << 18) + len(leak) * 6000)); time.sleep(0.05)
"""


def main() -> None:
    """Run the program, and draw what was recorded."""
    climits = Path(sys.executable).parent / "climits"
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [climits, "run", "--no-history", "--memory", "120M", "--record", "server.jsonl", "--",
             "python3", "-c", PROGRAM], cwd=folder, check=False,
        )  # fmt: skip
        for form in ("svg", "png"):
            output = IMAGES / f"report.{form}"
            words = [climits, "report", "server.jsonl", "-o", output]
            subprocess.run(words, cwd=folder, check=True)


if __name__ == "__main__":
    main()

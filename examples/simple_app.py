#!/usr/bin/env python3
"""A program that leaks: it takes more memory, step by step, and never gives any back."""

import argparse
import os
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def size(text: str) -> int:
    """10M, 512K or plain bytes."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    if text[-1:] in units:
        return int(float(text[:-1]) * units[text[-1]])
    return int(text)


def resident() -> int:
    """What the system has given us, bytes of RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=size, default=MIB, help="bytes a step (default 1M)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between steps")
    parser.add_argument("--until", type=size, help="stop here and exit (default: never)")
    options = parser.parse_args()

    leak: list[bytearray] = []
    held = 0
    print(f"pid {os.getpid()}", flush=True)
    while options.until is None or held < options.until:
        block = bytearray(options.step)
        # Memory that is only asked for costs nothing: it is ours once each page was written to.
        block[::PAGE] = b"x" * len(block[::PAGE])
        leak.append(block)
        held += options.step
        print(f"holding {held / MIB:.0f} MiB, resident {resident() / MIB:.1f} MiB", flush=True)
        time.sleep(options.interval)


if __name__ == "__main__":
    main()

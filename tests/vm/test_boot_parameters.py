"""`climits doctor` on kernels that were told on their command line to do without something."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from test_vm import boot

CLIMITS = Path(sys.executable).with_name("climits")


def doctor(append: str, mode: str) -> tuple[int, dict[str, Any]]:
    """Exit status and findings by key of a machine that was booted so."""
    words = (
        "--append",
        f"any-layout {append}",
        "--mode",
        mode,
        "--",
        str(CLIMITS),
        "doctor",
        "--json",
    )
    status, out, err = boot(*words)
    assert status in (0, 1, 2), out + err
    return status, {f["key"]: f for f in json.loads(out)["findings"] if "key" in f}


@pytest.mark.vm
@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
def test_without_the_memory_controller(mode: str) -> None:
    status, troubles = doctor("cgroup_disable=memory", mode)
    assert status == 2
    assert troubles["boot-memory-disabled"]["state"] == "cannot"
    for key in ("boot-memory-disabled", "memory-missing"):
        assert troubles[key]["remedy"].startswith("remove cgroup_disable=memory")


@pytest.mark.vm
def test_without_pids_and_pressure() -> None:
    status, troubles = doctor("cgroup_disable=pids psi=0", "v2")
    assert status == 1
    assert set(troubles) == {"boot-controller-disabled", "boot-psi-off", "controller-missing"}
    assert troubles["controller-missing"]["remedy"].startswith("remove cgroup_disable=pids")
    assert "psi=1" in troubles["boot-psi-off"]["remedy"]


@pytest.mark.vm
def test_what_takes_nothing_away() -> None:
    assert doctor("cgroup_no_v1=all swapaccount=0", "v2") == (0, {})

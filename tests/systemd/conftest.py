"""What the tests under systemd share."""

import os

import pytest


@pytest.fixture(scope="session")
def needs_systemd():
    """Skip where systemd is not process 1 (the test sd_booted(3) makes)."""
    if not os.path.isdir("/run/systemd/system"):
        pytest.skip("needs systemd as process 1: tests/vm/vm.py --systemd")


@pytest.fixture(scope="session")
def needs_user(needs_systemd):
    """Skip for root, who may write everywhere."""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user: tests/vm/vm.py --systemd --user")


@pytest.fixture(scope="session")
def needs_user_manager(needs_systemd):
    """Skip where the user who runs the tests has no systemd of their own."""
    if not os.path.exists(f"/run/user/{os.geteuid()}/systemd/private"):
        pytest.skip("needs a user manager: log in through PAM, or loginctl enable-linger")

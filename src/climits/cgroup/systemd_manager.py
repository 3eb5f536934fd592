"""The manager of this host's units, or of this user's, asked over D-Bus.

Source: org.freedesktop.systemd1(5).
"""

import errno
import os

from ..errors import CgroupError, CgroupExistsError, CgroupPermissionError
from ..linux.dbus import Bus, DBusError, address_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEMD = "org.freedesktop.systemd1"
_OBJECT = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
#: Seconds; as systemd's own tools wait.
_TIMEOUT = 25.0

NO_SYSTEMD_HINT = (
    "run it in a unit with Delegate=yes (systemd-run --user --scope -p Delegate=yes), as root, or "
    "with --no-systemd below a cgroup that is yours"
)


class Manager:
    """A connection to the manager of this host, or of this user."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *error: object) -> None:
        self._bus.close()

    def start(self, unit: str, properties: "list[tuple[str, tuple[str, object]]]") -> None:
        """Start a transient unit and wait until it has started."""
        try:
            self._bus.listen(
                f"type='signal',sender='{_SYSTEMD}',interface='{_MANAGER}',member='JobRemoved'"
            )
            job = self._bus.call(
                _SYSTEMD, _OBJECT, _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))",
                unit, "fail", properties, [],
            )[0]  # fmt: skip
            while True:
                _, removed, _, result = self._bus.signal("JobRemoved")
                if removed == job:
                    break
        except DBusError as e:
            raise _refusal(unit, e) from None
        except OSError as e:
            raise CgroupError(
                f"systemd did not start {unit}: {e.strerror or e}",
                errno=e.errno,
                hint="try again; systemctl status tells whether it is well",
            ) from None
        if result != "done":
            raise CgroupError(f"systemd did not start {unit}: {result}", hint="see journalctl -xe")

    def set(self, unit: str, properties: "list[tuple[str, tuple[str, object]]]") -> None:
        """Set properties of a unit, until it ends."""
        try:
            self._bus.call(
                _SYSTEMD, _OBJECT, _MANAGER, "SetUnitProperties", "sba(sv)", unit, True, properties
            )
        except (DBusError, OSError) as e:
            raise CgroupError(f"systemd does not change {unit}: {e}") from None

    def cgroup_of(self, service: str) -> str:
        """The cgroup path of a service that runs."""
        return str(self._property(service, "Service", "ControlGroup"))

    def delegates(self, unit: str) -> bool:
        """Whether the tree below a scope or service was given away."""
        kind = "Scope" if unit.endswith(".scope") else "Service"
        return bool(self._property(unit, kind, "Delegate"))

    def _property(self, unit: str, kind: str, name: str) -> object:
        try:
            path = self._bus.call(_SYSTEMD, _OBJECT, _MANAGER, "GetUnit", "s", unit)[0]
            return self._bus.call(
                _SYSTEMD, path, "org.freedesktop.DBus.Properties", "Get", "ss",
                f"{_SYSTEMD}.{kind}", name,
            )[0]  # fmt: skip
        except (DBusError, OSError) as e:
            raise CgroupError(f"systemd does not tell {name} of {unit}: {e}") from None


def _refusal(unit: str, error: Exception) -> CgroupError:
    name = getattr(error, "name", "").rpartition(".")[2]
    if name == "UnitExists":
        return CgroupExistsError(
            f"systemd has a unit of that name already: {unit}",
            errno=errno.EEXIST,
            hint=f"choose another --name or --unit; systemctl{_user()} status {unit} tells of it",
        )
    if name in ("AccessDenied", "InteractiveAuthorizationRequired"):
        return CgroupPermissionError(
            f"systemd refuses to start {unit}: {error}", errno=errno.EACCES, hint=NO_SYSTEMD_HINT
        )
    return CgroupError(f"systemd did not start {unit}: {error}", hint=NO_SYSTEMD_HINT)


def _user() -> str:
    return " --user" if os.geteuid() else ""


def connect() -> Manager:
    """Connect to the manager.

    Raises:
        CgroupPermissionError: nobody answers.
    """
    failed = ""
    for address in _addresses():
        try:
            return Manager(Bus(address, _TIMEOUT))
        except (OSError, DBusError) as e:
            shown = address if isinstance(address, str) else "@" + os.fsdecode(address[1:])
            cause = getattr(e, "strerror", None) or str(e)
            failed = failed or f"{shown}: {cause.lower()}"
    who = "systemd" if os.geteuid() == 0 else "your systemd user manager"
    raise CgroupPermissionError(
        f"cannot ask {who}: {failed or 'it has no D-Bus socket'}",
        errno=errno.EACCES,
        hint="su and sudo start no user manager: log in anew, or as root: loginctl enable-linger "
        f"{os.geteuid()}; or climits run --enforce poll, which is not enforced by the kernel"
        if os.geteuid()
        else "start dbus, or use --no-systemd",
    )


def _addresses() -> "Iterator[str | bytes]":
    if os.geteuid() == 0:
        yield "/run/dbus/system_bus_socket"
        return
    given = address_path(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    usual = f"/run/user/{os.geteuid()}/bus"
    if given is not None:
        yield given
    if given != usual:
        yield usual

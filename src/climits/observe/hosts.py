"""Whom a Host header means: what stops pages that reach a server of ours by a name of their own.

A browser on this machine reaches what listens on its loopback interface, and takes whatever it
gets there for part of the page that asked, if the name is the page's: an attacker's DNS binds that
name anew to our address.  The name then stands in Host.
"""

import ipaddress
import socket


class Hosts:
    """The names that a server goes by.

    Attributes:
        local: only this machine can connect.
        wildcard: every address of this machine is listened on.
    """

    def __init__(self, host: str, bound: str) -> None:
        """Prepare.

        Args:
            host: as a person gave it, a name or an address.
            bound: the address that is listened on.
        """
        address = ipaddress.ip_address(bound.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        self.local: bool = (mapped or address).is_loopback
        self.wildcard = address.is_unspecified
        self._names = {host.lower(), bound.lower()}
        if self.local or self.wildcard:
            self._names |= {"localhost", "127.0.0.1", "::1"}
        if not self.local:
            self._names.add(socket.gethostname().lower())

    def has(self, header: "str | None") -> bool:
        """Whether a Host header means us; the port does not matter, which a tunnel changes.

        Where every address is listened on, each address will do: only names can be bound anew.
        """
        name, port = _split(header or "")
        if port and not port.isdigit():
            return False
        return name in self._names or (self.wildcard and _is_address(name))


def _split(host: str) -> tuple[str, str]:
    """The name in lower case and the port."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        good = bracket and (not rest or rest.startswith(":"))
        return (name.lower(), rest[1:]) if good else ("", "")
    name, _, port = host.partition(":")
    return name.lower().removesuffix("."), port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

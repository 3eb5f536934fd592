"""Who may read and who may act: pure checks of addresses, hosts, origins and the token.

Whoever listens on a loopback address shares it with each user of the machine and with each page
that a browser on it shows.  Against the users stands the token.  Against the pages stand the
checks of Host (a name that an attacker's DNS has bound anew to our address is not ours) and of
Origin, and that acting takes a header which no browser sends by itself.
"""

import binascii
import hmac
import os

from ..hosts import Hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Guard:
    """Checks requests.

    Attributes:
        token: what who acts must know.
        open: reading needs no token: only this machine can connect.
        wildcard: every address of this machine is listened on.
    """

    def __init__(self, host: str, bound: str, token: "str | None" = None) -> None:
        """Prepare.

        Args:
            host: as a person gave it, a name or an address.
            bound: the address that is listened on.
            token: a new one by default.
        """
        self.token = token or new_token()
        self._hosts = Hosts(host, bound)
        self.open, self.wildcard = self._hosts.local, self._hosts.wildcard

    def host_is_ours(self, host: "str | None") -> bool:
        """Whether a Host header means us: see Hosts."""
        return self._hosts.has(host)

    def origin_is_ours(self, headers: "Mapping[str, str]") -> bool:
        """Whether a request comes from our own page, or from no page at all.

        The browser says so in two headers.  Origin has to be the very place that the request went
        to, its port included: another port of this machine is another's.
        """
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return False
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")

    def knows_token(self, authorization: "str | None", *, basic: bool = False) -> "bool | None":
        """Whether an Authorization header has the token, in constant time; None: it tries none.

        Args:
            authorization: ``Bearer TOKEN``.
            basic: take ``Basic`` too, with any user and the token as password.  Browsers send
                that by themselves, so it is good for reading and never for acting.
        """
        scheme, _, given = (authorization or "").partition(" ")
        given = given.strip()
        if scheme.lower() == "basic" and basic:
            try:
                given = binascii.a2b_base64(given).decode().partition(":")[2]
            except ValueError:
                given = ""
        elif scheme.lower() != "bearer":
            return None
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())


def new_token() -> str:
    """192 random bits, as text that can stand in a URL."""
    return binascii.b2a_base64(os.urandom(24), newline=False).decode().translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")

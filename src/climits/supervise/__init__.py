"""Programs kept alive under their limits, and alarms before they die."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Client as Client


def __getattr__(name: str) -> object:
    # Loaded when it is used: the supervisor itself needs no client.
    if name == "Client":
        from .client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

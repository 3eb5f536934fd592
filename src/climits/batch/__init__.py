"""Many jobs: what they are, when each may start, what came of them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .face import run as run


def __getattr__(name: str) -> object:
    # Loaded when it is used.
    if name == "run":
        from .face import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Which job waits for which: circles, and who cannot run when one has failed.  Pure."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def find_circle(needs: "Mapping[str, Sequence[str]]") -> "list[str] | None":
    """A chain of names that ends where it began; None: there is no circle.

    Args:
        needs: {name: names it depends on}; those that are no key are passed over.
    """
    left = {name: {n for n in needed if n in needs} for name, needed in needs.items()}
    above = dependents(needs)
    free = [name for name, needed in left.items() if not needed]
    while free:
        name = free.pop()
        del left[name]
        for other in above.get(name, ()):
            if other in left:
                left[other].discard(name)
                if not left[other]:
                    free.append(other)
    if not left:
        return None
    # Everything that is left depends on something that is left: any way leads into a circle.
    name = next(iter(left))
    path: dict[str, None] = {}
    while name not in path:
        path[name] = None
        name = next(n for n in needs[name] if n in left)
    chain = list(path)
    return [*chain[chain.index(name) :], name]


def dependents(needs: "Mapping[str, Sequence[str]]") -> dict[str, list[str]]:
    """{name: names that depend on it}, in the order of `needs`."""
    above: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for other in dict.fromkeys(needed):
            above.setdefault(other, []).append(name)
    return above

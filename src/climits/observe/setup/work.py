"""Take steps, and take them back."""

import os

from ...errors import ClimitsError
from ...records import Record
from ...units import quoted
from .changes import Change, DropIn, Sysctl, WrittenFile
from .identities import SubordinateIds
from .journal import Journal
from .mounts import Mounted, of_layout
from .steps import BY_HAND, DONE, Step
from .subtree import Leaf, OwnedSubtree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: "dict[str, type[Change]]" = {
    kind.kind: kind
    for kind in (WrittenFile, DropIn, Sysctl, SubordinateIds, OwnedSubtree, Leaf, Mounted)
}


class Undone(Record):
    """What came of taking one change back.

    Attributes:
        what: its target.
        left: why it was left as it is, or None.
    """

    what: str
    left: "str | None" = None


def take(todo: "list[Step]", journal: Journal, user: str) -> "Iterator[Step]":
    """Make the changes that are missing; each step is yielded when it is taken.

    Args:
        todo: the steps.
        journal: locked; what is changed is noted there first.
        user: for whom, "" for all.

    Raises:
        ClimitsError: a change failed; the steps that were yielded stay taken, and another run
            goes on from here.
    """
    for step in todo:
        if step.state == BY_HAND:
            continue
        taken = False
        for change in step.changes:
            entry = journal.find(change.kind, change.target)
            if entry is not None and user not in entry["for"] and entry["finished"]:
                entry["for"].append(user)  # stays until the last whom it is for has it undone
                journal.save()
            if change.is_done() and (entry is None or entry["finished"]):
                continue
            try:
                entry = journal.begin(change, user)
                change.do()
            except OSError as e:
                if isinstance(e, ClimitsError):
                    raise _failed(step, e, e.hint) from None
                cause = os.strerror(e.errno or 0).lower()
                path = e.filename or change.target
                raise _failed(step, f"{os.fsdecode(path)}: {cause}", None) from None
            except ClimitsError as e:
                raise _failed(step, e, e.hint) from None
            entry["finished"] = taken = True
            journal.save()
        if taken:
            yield step.replace(state=DONE)


def _failed(step: Step, cause: object, hint: "str | None") -> ClimitsError:
    return ClimitsError(
        f"could not {step.title}: {cause}",
        hint=hint or "the steps before it are done; put this right and run it again",
    )


def take_back(
    journal: Journal, user: "str | None", *, layout: "str | None" = None
) -> "Iterator[Undone]":
    """Undo what was changed, the last first; each change is yielded when it is undone.

    What somebody has changed since, or uses, is left, and said.

    Args:
        journal: locked.
        user: what was changed for this user only; None undoes all.
        layout: the mounts of this layout only.

    Raises:
        InvalidValueError: no layout.
        ClimitsError: one could not be undone; those that were yielded are.
    """
    chosen = list(journal.entries)
    if layout is not None:
        mounts = {e["target"]: e["note"]["fstype"] for e in chosen if e["kind"] == Mounted.kind}
        targets = of_layout(layout, mounts)
        chosen = [e for e in chosen if e["kind"] == Mounted.kind and e["target"] in targets]
    for entry in reversed(chosen):
        if user is not None and user not in entry["for"]:
            continue
        others = [name for name in entry["for"] if user is not None and name != user]
        if others:
            entry["for"] = others
            journal.save()
            continue
        target, kind = entry["target"], _KINDS.get(entry["kind"])
        if kind is None:
            raise ClimitsError(
                f"could not undo the change of {target}: {quoted(entry['kind'])}: "
                "a kind of change that this version does not know",
                path=target,
                hint="undo it with the version of climits that made it",
            )
        try:
            left = kind.undo(target, entry["note"])
        except (OSError, ClimitsError) as e:
            cause = e if isinstance(e, ClimitsError) else os.strerror(e.errno or 0).lower()
            raise ClimitsError(
                f"could not undo the change of {target}: {cause}",
                path=target,
                hint="what came before this line is undone; put this right and run it again",
            ) from None
        keep = left is not None and entry["kind"] in ("subtree", "leaf", "mount")
        if not keep:  # one in use can be undone later; what others have changed is theirs now
            journal.entries.remove(entry)
            journal.save()
        yield Undone(what=target, left=left)

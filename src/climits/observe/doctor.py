"""What this host can enforce, and how to get the rest."""

from .checks import CHECKS
from .remedies import CANNOT, DEGRADED, OK, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .facts import Facts


def examine(facts: "Facts | None" = None) -> list[Finding]:
    """Run every check.

    Args:
        facts: of the host; None gathers them, which makes and removes one cgroup.

    Returns:
        At least one finding, in the order of the checks.
    """
    if facts is None:
        from .facts import gather

        facts = gather()
    return [finding for check in CHECKS for finding in check(facts)]


def overall(findings: list[Finding]) -> str:
    """The worst state among them: ok, degraded or cannot."""
    states = {finding.state for finding in findings}
    return CANNOT if CANNOT in states else DEGRADED if DEGRADED in states else OK

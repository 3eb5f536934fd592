"""The tree: hierarchies, cgroups, and the controllers that a run needs."""

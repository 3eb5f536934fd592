"""Drop-in replacements for the programs of cgroup-tools; see docs/cgtools.md."""

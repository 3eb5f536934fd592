"""A live view of the cgroups of this machine: `climits top`.

`model` holds the rows and their order, `columns` and `draw` turn them into text, `feed` samples in
a thread of its own, `details` and `actions` look into one cgroup and change it.  None of them knows
Textual, which only `app`, `frame`, `lines`, `table`, `pane`, `dialogs` and `acts` do.
"""

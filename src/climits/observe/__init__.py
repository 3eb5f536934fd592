"""Looking at processes, cgroups and hierarchies without changing them."""

"""A limit that no kernel keeps: the memory of a program's processes is polled, and too much kills.

For those who have no right to make a cgroup, and only where it is asked for (``enforce="poll"``).

Theory of operation.  The program is started by a keeper, a small process of its own that is a
"child subreaper": whatever the program starts stays below the keeper, even what has forked twice to
become a daemon.  The keeper looks at all of it again and again, the sooner the nearer it is to the
limit, and when it finds too much it stops every process, reads the final figure, and kills them
all.  It is a process and not a thread, so that it looks on when its caller is busy or stopped, and
ends the program when its caller is killed.

What is counted is the proportional set size with its swap: each page once, shared ones in parts.
That leaves out page cache that nobody maps, the kernel's own memory and unmapped tmpfs, all of
which a cgroup counts.
"""

"""What the lines of memory.stat mean, in one phrase each.

Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, mm/memcontrol.c and
mm/memcontrol-v1.c of 6.18.
"""

#: By key; those of v1's lines total_... are found without that word.
MEANINGS = {
    # kinds of memory, v2
    "anon": "heap, stacks: what programs allocated and no file holds",
    "file": "page cache: files read or written, shared memory in it",
    "kernel": "the kernel's own memory for these programs, all kinds",
    "kernel_stack": "stacks that the kernel keeps for threads",
    "pagetables": "tables that map addresses to pages",
    "sec_pagetables": "page tables of virtual machines and devices",
    "percpu": "the kernel's data that each CPU has a copy of",
    "sock": "buffers of network connections",
    "vmalloc": "larger pieces of kernel memory",
    "shmem": "shared memory and tmpfs files: goes only to swap",
    "zswap": "swapped memory that is kept compressed in RAM",
    "zswapped": "memory that was compressed into zswap",
    "file_mapped": "page cache that programs have mapped (libraries)",
    "file_dirty": "page cache still to be written to disk",
    "file_writeback": "page cache being written to disk now",
    "swapcached": "in RAM and in swap at once",
    "anon_thp": "anonymous memory in huge pages",
    "file_thp": "page cache in huge pages",
    "shmem_thp": "shared memory in huge pages",
    "inactive_anon": "anonymous, not used of late: first to be swapped",
    "active_anon": "anonymous, used of late",
    "inactive_file": "page cache not used of late: first to be dropped",
    "active_file": "page cache used of late",
    "unevictable": "locked, cannot be reclaimed",
    "slab_reclaimable": "kernel caches that can shrink (dentries, inodes)",
    "slab_unreclaimable": "kernel objects in use",
    "slab": "kernel objects, both kinds",
    "hugetlb": "pages of hugetlbfs",
    # kinds of memory, v1
    "cache": "page cache: files, and shared memory with them",
    "rss": "anonymous memory; not what ps calls RSS",
    "rss_huge": "anonymous memory in huge pages",
    "mapped_file": "page cache that programs have mapped (libraries)",
    "dirty": "page cache still to be written to disk",
    "writeback": "page cache being written to disk now",
    "swap": "swapped out: is not in RAM",
    "hierarchical_memory_limit": "the lowest limit from here up",
    "hierarchical_memsw_limit": "the lowest limit of memory and swap from here up",
    # counters
    "pgfault": "pages touched for the first time, or anew",
    "pgmajfault": "of these, pages that had to be read from disk",
    "pgpgin": "pages charged to it so far",
    "pgpgout": "pages uncharged so far",
    "pgscan": "pages looked at to reclaim them",
    "pgsteal": "pages reclaimed",
    "pgrefill": "pages taken from active to inactive",
    "pgactivate": "pages taken from inactive to active",
    "pgdeactivate": "pages found idle",
    "pgscan_kswapd": "looked at in the background",
    "pgscan_direct": "looked at while a program waited",
    "pgsteal_kswapd": "reclaimed in the background",
    "pgsteal_direct": "reclaimed while a program waited",
    "workingset_refault_anon": "swapped out too early: needed again",
    "workingset_refault_file": "dropped too early: read again",
    "workingset_activate_anon": "of these, taken for active at once",
    "workingset_activate_file": "of these, taken for active at once",
    "workingset_restore_anon": "were active before they were swapped out",
    "workingset_restore_file": "were active before they were dropped",
    "workingset_nodereclaim": "shadow nodes reclaimed",
    "thp_fault_alloc": "huge pages given at a page fault",
    "thp_collapse_alloc": "huge pages made of small ones later",
    "zswpin": "pages read from zswap",
    "zswpout": "pages compressed into zswap",
    "pswpin": "pages swapped in",
    "pswpout": "pages swapped out",
}


def meaning(key: str) -> str:
    """One phrase; empty for a line that is newer than this table."""
    return MEANINGS.get(key.removeprefix("total_"), "")

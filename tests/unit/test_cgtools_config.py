"""The language of cgconfig.conf."""

import pytest

from climits.cli.cgtools.config_file import parse
from climits.errors import InvalidValueError

FULL = """\
# a comment
mount {
    cpu = /sys/fs/cgroup/cpu;
    "name=scheduler" = "/mnt/with space";
    "cpu,nodev" = /mnt/x;
}
default {
    perm {
        task { uid = root; gid = daemon; fperm = 770; }
        admin { uid = nobody; gid = nogroup; dperm = 775; fperm = 744 }
    }
}
group daemons/www {
    perm { admin { uid = a; } task { gid = b; } }
    cpu { cpu.shares = "1000"; }
    memory {
        # another one
        memory.limit_in_bytes = 100M;
        memory.oom_control = "two words";
    }
}
group . { cpu {} }
group empty { cpuacct{
}
}
template students/%u { cpu { } }
"""


def test_a_whole_file():
    config = parse(FULL, "x.conf")
    assert config.mounts == [
        ("cpu", "/sys/fs/cgroup/cpu"),
        ("name=scheduler", "/mnt/with space"),
        ("cpu,nodev", "/mnt/x"),
    ]
    assert config.default == {
        ("task", "uid"): "root", ("task", "gid"): "daemon", ("task", "fperm"): "770",
        ("admin", "uid"): "nobody", ("admin", "gid"): "nogroup", ("admin", "dperm"): "775",
        ("admin", "fperm"): "744",
    }  # fmt: skip
    www, root, empty = config.groups
    assert www.name == "daemons/www"
    assert www.permissions == {("admin", "uid"): "a", ("task", "gid"): "b"}
    assert www.controllers == {
        "cpu": [("cpu.shares", "1000")],
        "memory": [("memory.limit_in_bytes", "100M"), ("memory.oom_control", "two words")],
    }
    assert (root.name, root.controllers) == (".", {"cpu": []})
    assert (empty.name, empty.controllers) == ("empty", {"cpuacct": []})
    assert config.namespaces == {}


def test_namespaces():
    assert parse("namespace { cpu = /below; }", "x").namespaces == {"cpu": "/below"}


def test_an_empty_file_is_a_file():
    config = parse("\n# nothing\n", "x")
    assert (config.mounts, config.groups, config.default) == ([], [], {})


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("group x { memory { a b } }", 1, "syntax error: unexpected 'b'"),
        ("\n\nnonsense { }", 3, "syntax error: unexpected 'nonsense'"),
        ("group x {\n memory {\n", 2, "syntax error: it ends too early"),
        ("group x { memory { a = 1 b = 2; } }", 1, "syntax error: unexpected 'b'"),
        ('mount { cpu = "/x; }\n', 1, "a quotation that does not end"),
        ("group { }", 1, "syntax error: unexpected '{'"),
        ("group x {\n perm { owner { uid = 1; } } }", 2, "syntax error: unexpected 'owner'"),
        ("group x {\n perm { task { dperm = 1; } } }", 2, "task has no dperm"),
        ("default { memory { } }", 1, "syntax error: unexpected 'memory'"),
        ("}", 1, "syntax error: unexpected '}'"),
    ],
)
def test_errors_have_the_line(text, line, cause):
    with pytest.raises(InvalidValueError) as caught:
        parse(text, "x.conf")
    assert str(caught.value) == f"x.conf: line {line}: {cause}"


def test_mounts_and_namespaces_exclude_each_other():
    with pytest.raises(InvalidValueError, match="cannot stand in one file"):
        parse("mount { cpu = /x; }\nnamespace { cpu = /y; }", "x.conf")

"""How the running kernel was built, and what it was told on its command line.

Source: Documentation/admin-guide/kernel-parameters.rst, init/Kconfig (IKCONFIG_PROC).
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def config_paths(release: str) -> list[str]:
    """Where the configuration of a kernel may stand, the surest place first."""
    return [
        "/proc/config.gz",
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
        f"/lib/modules/{release}/build/.config",
        f"/usr/lib/modules/{release}/config",
    ]


def read_config(
    release: str, paths: "Iterable[str] | None" = None
) -> "tuple[dict[str, str] | None, str | None]":
    """The configuration of a kernel.

    Args:
        release: as uname tells it.
        paths: where to look; None: the usual places.

    Returns:
        ({CONFIG_MEMCG: "y", ...}, path), or (None, None) where it stands nowhere. What is not set
        is left out.
    """
    for path in config_paths(release) if paths is None else paths:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if data[:2] == b"\x1f\x8b":
            data = _unpacked(data)
        if config := parse_config(data.decode(errors="replace")):
            return config, path
    return None, None


def _unpacked(data: bytes) -> bytes:
    """What was packed with gzip; empty where it is spoiled."""
    import gzip
    import zlib

    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return b""


def parse_config(text: str) -> dict[str, str]:
    """The options that are set: y, m, or their value."""
    options: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            options[name] = value.strip('"')
    return options


def read_command_line() -> list[str]:
    """The words of the kernel's command line; empty where it is hidden."""
    try:
        with open("/proc/cmdline", "rb") as file:
            return split_command_line(os.fsdecode(file.read()))
    except OSError:
        return []


def split_command_line(text: str) -> list[str]:
    """Split it as the kernel does: at spaces outside of double quotes, up to ``--``."""
    words, word, quoted = [], "", False
    for char in text.strip():
        if char == '"':
            quoted = not quoted
        elif char.isspace() and not quoted:
            words.append(word)
            word = ""
        else:
            word += char
    words = [w for w in (*words, word) if w]
    return words[: words.index("--")] if "--" in words else words


def parameter(words: "Iterable[str]", name: str) -> list[str]:
    """Every value that a parameter was given, in order; its dashes and underscores are alike."""
    wanted = name.replace("-", "_")
    values = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key.replace("-", "_") == wanted:
            values.append(value)
    return values

"""The language of cgconfig.conf.  Pure: from text to records.

::

    mount    { CONTROLLER = PATH; ... }
    group    NAME { perm { ... } CONTROLLER { PARAMETER = VALUE; ... } ... }
    default  { perm { ... } }
    template NAME { ... }                as group; for rules that make groups
    namespace { CONTROLLER = PATH; ... } groups of the controller are made below PATH

    perm { task { uid = U; gid = G; fperm = M; } admin { uid; gid; dperm; fperm } }

A name or value in double quotes may hold anything.  A line that starts with # is a comment.

Source: cgconfig.conf(5).
"""

from ...errors import InvalidValueError
from ...records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: (kind, text, line): kind is word, quoted, or one of the marks.
Token = tuple[str, str, int]

_MARKS = "{}=;"
_END: Token = ("end", "", 0)


class Group(Record):
    """One group.

    Attributes:
        name: path below the root; ``.`` is the root.
        permissions: text by (section, field), such as ("task", "uid").
        controllers: parameters and values by controller, in order.
    """

    name: str
    permissions: "dict[tuple[str, str], str]"
    controllers: "dict[str, list[tuple[str, str]]]"


class Config(Record):
    """One file.

    Attributes:
        mounts: (controller with options, directory).
        groups: in the order of the file.
        default: permissions of the groups that have none of their own.
        namespaces: path by controller.
    """

    mounts: "list[tuple[str, str]]"
    groups: "list[Group]"
    default: "dict[tuple[str, str], str]"
    namespaces: "dict[str, str]"


def parse(text: str, path: str) -> Config:
    """Read a configuration.

    Args:
        text: of the file.
        path: of the file, for errors.

    Raises:
        InvalidValueError: not the language; the text has the line.
    """
    return _Parser(list(_tokens(text, path)), path).config()


def _tokens(text: str, path: str) -> "Iterator[Token]":
    line, at = 1, 0
    while at < len(text):
        char = text[at]
        if char == "\n":
            line += 1
        elif char in _MARKS:
            yield char, char, line
        elif char == '"':
            end = text.find('"', at + 1)
            if end < 0:
                raise _wrong(path, line, "a quotation that does not end")
            yield "quoted", text[at + 1 : end], line
            line += text.count("\n", at, end)
            at = end
        elif char == "#" and not text[:at].rpartition("\n")[2].strip():
            at = text.find("\n", at)
            if at < 0:
                return
            continue
        elif not char.isspace():
            start = at
            while at < len(text) and not text[at].isspace() and text[at] not in f'{_MARKS}"':
                at += 1
            yield "word", text[start:at], line
            continue
        at += 1


def _wrong(path: str, line: int, cause: str) -> InvalidValueError:
    return InvalidValueError(
        f"{path}: line {line}: {cause}", value=line, hint="see cgconfig.conf(5)"
    )


class _Parser:
    def __init__(self, tokens: list[Token], path: str) -> None:
        self._tokens, self._path, self._at = tokens, path, 0

    def config(self) -> Config:
        mounts: list[tuple[str, str]] = []
        groups: list[Group] = []
        default: dict[tuple[str, str], str] = {}
        namespaces: dict[str, str] = {}
        while (section := self._next())[0] != "end":
            word = section[1] if section[0] == "word" else ""
            if word == "mount":
                mounts += self._pairs()
            elif word == "group":
                groups.append(self._group())
            elif word == "template":
                self._group()
            elif word == "namespace":
                namespaces.update(self._pairs())
            elif word == "default":
                self._expect("{")
                self._expect("word", "perm")
                default = self._permissions()
                self._expect("}")
            else:
                raise self._unexpected(section)
        if mounts and namespaces:
            raise InvalidValueError(
                f"{self._path}: mount and namespace sections cannot stand in one file",
                hint="see cgconfig.conf(5)",
            )
        return Config(mounts=mounts, groups=groups, default=default, namespaces=namespaces)

    def _group(self) -> Group:
        name = self._name()
        permissions: dict[tuple[str, str], str] = {}
        controllers: dict[str, list[tuple[str, str]]] = {}
        self._expect("{")
        while not self._skip("}"):
            token = self._next()
            if token[:2] == ("word", "perm"):
                permissions = self._permissions()
            elif token[0] in ("word", "quoted"):
                controllers.setdefault(token[1], []).extend(self._pairs())
            else:
                raise self._unexpected(token)
        return Group(name=name, permissions=permissions, controllers=controllers)

    def _permissions(self) -> "dict[tuple[str, str], str]":
        found: dict[tuple[str, str], str] = {}
        self._expect("{")
        while not self._skip("}"):
            section = self._next()
            if section[:2] not in (("word", "task"), ("word", "admin")):
                raise self._unexpected(section)
            line = section[2]
            for field, value in self._pairs():
                known = ("uid", "gid", "fperm", "dperm")[: 4 if section[1] == "admin" else 3]
                if field not in known:
                    raise _wrong(self._path, line, f"{section[1]} has no {field}")
                found[section[1], field] = value
        return found

    def _pairs(self) -> list[tuple[str, str]]:
        pairs = []
        self._expect("{")
        while not self._skip("}"):
            name = self._name()
            self._expect("=")
            pairs.append((name, self._name()))
            if self._peek()[0] != "}":  # the last one may do without
                self._expect(";")
        return pairs

    # -- the stream ------------------------------------------------------------------------------

    def _peek(self) -> Token:
        if self._at < len(self._tokens):
            return self._tokens[self._at]
        return _END[0], "", self._tokens[-1][2] if self._tokens else 1

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _skip(self, kind: str) -> bool:
        if self._peek()[0] != kind:
            return False
        self._at += 1
        return True

    def _name(self) -> str:
        token = self._next()
        if token[0] not in ("word", "quoted"):
            raise self._unexpected(token)
        return token[1]

    def _expect(self, kind: str, text: "str | None" = None) -> None:
        token = self._next()
        if token[0] != kind or (text is not None and token[1] != text):
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> InvalidValueError:
        kind, text, line = token
        cause = "it ends too early" if kind == "end" else f"unexpected {text!r}"
        return _wrong(self._path, line, f"syntax error: {cause}")

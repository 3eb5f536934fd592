"""The kernel's type information (BTF) as drgn wants it.

drgn reads types from DWARF, which takes a debug package of hundreds of megabytes.  Nearly every
kernel carries the same types for its structures in /sys/kernel/btf/vmlinux, 5 MB.  This finds
types there by name, and makes them only when they are asked for.

Source: Documentation/bpf/btf.rst, include/uapi/linux/btf.h.
"""

import struct

from drgn import (
    Object,
    Program,
    Qualifiers,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeMember,
    TypeParameter,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")  # name, info, and size or another type
_MEMBER = struct.Struct("<III")  # name, type, offset in bits
_ARRAY = struct.Struct("<III")  # element, index type, number

(
    _INT, _PTR, _ARRAY_KIND, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT,
    _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64,
) = range(1, 20)  # fmt: skip

_NAMED = {
    _INT: TypeKind.INT,
    _FLOAT: TypeKind.FLOAT,
    _STRUCT: TypeKind.STRUCT,
    _UNION: TypeKind.UNION,
    _ENUM: TypeKind.ENUM,
    _ENUM64: TypeKind.ENUM,
    _TYPEDEF: TypeKind.TYPEDEF,
}
#: Bytes behind the common twelve: fixed, and for each of the `vlen` things listed.
_FIXED = {_INT: 4, _ARRAY_KIND: 12, _VAR: 4, _DECL_TAG: 4}
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
_QUALIFIERS = {_CONST: Qualifiers.CONST, _VOLATILE: Qualifiers.VOLATILE}


class Btf:
    """The types of one kernel.

    Raises:
        ValueError: the data is not BTF.
    """

    def __init__(self, program: Program, data: bytes) -> None:
        self._program, self._data = program, data
        magic, _, _, header, at, types, strings, _ = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("not BTF of this byte order")
        self._strings = header + strings
        self._offsets = [0]  # of each type's entry, by its id; 0 is void
        self._by_name: dict[tuple[TypeKind, int], int] = {}
        self._enums: list[int] = []
        self._made: dict[int, Type] = {}
        self._index(header + at, header + at + types)

    def _index(self, offset: int, end: int) -> None:
        """Note where each type is; a kernel has a hundred thousand."""
        read = struct.Struct("<II").unpack_from
        while offset < end:
            name, info = read(self._data, offset)
            kind, number = info >> 24 & 31, info & 0xFFFF
            if name and kind in _NAMED:
                self._by_name.setdefault((_NAMED[kind], name), len(self._offsets))
            if kind in (_ENUM, _ENUM64):
                self._enums.append(len(self._offsets))
            self._offsets.append(offset)
            offset += 12 + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * number

    # -- strings -----------------------------------------------------------------------------

    def _string(self, at: int) -> "str | None":
        start = self._strings + at
        return self._data[start : self._data.index(b"\0", start)].decode() or None

    def _places(self, name: str) -> list[int]:
        """Where a string stands in the table of strings: types refer to it by that."""
        wanted, found = b"\0" + name.encode() + b"\0", []
        at = self._strings
        while (at := self._data.find(wanted, at)) >= 0:
            found.append(at + 1 - self._strings)
            at += 1
        return found

    # -- finding -----------------------------------------------------------------------------

    def find(self, kind: TypeKind, name: str) -> "Type | None":
        """A type by its kind and name."""
        for at in self._places(name):
            if (kind, at) in self._by_name:
                return self.type(self._by_name[kind, at])
        return None

    def constant(self, name: str) -> "Object | None":
        """An enumerator by its name."""
        wanted = set(self._places(name))
        for number in self._enums if wanted else ():
            offset = self._offsets[number]
            _, info, _ = _TYPE.unpack_from(self._data, offset)
            step = _EACH[info >> 24 & 31]
            for i in range(info & 0xFFFF):
                if int.from_bytes(self._data[offset + 12 + step * i :][:4], "little") in wanted:
                    found = self.type(number)
                    enumerators = found.enumerators or ()
                    return Object(self._program, found, enumerators[i].value)
        return None

    def type(self, number: int) -> Type:
        """A type by its id."""
        found = self._made.get(number)
        if found is None:
            found = self._made[number] = self._make(number) if number else self._void()
        return found

    def _void(self) -> Type:
        return self._program.void_type()

    # -- making ------------------------------------------------------------------------------

    def _make(self, number: int) -> Type:
        program, offset = self._program, self._offsets[number]
        name_at, info, size = _TYPE.unpack_from(self._data, offset)
        kind, flag = info >> 24 & 31, bool(info >> 31)
        name = self._string(name_at) or ""
        if kind == _INT:
            encoding = int.from_bytes(self._data[offset + 12 :][:4], "little") >> 24
            if encoding & 4:
                return program.bool_type(name, size)
            return program.int_type(name, size, bool(encoding & 1))
        if kind == _FLOAT:
            return program.float_type(name, size)
        if kind == _PTR:
            return program.pointer_type(self.type(size), 8)
        if kind in _QUALIFIERS:
            of = self.type(size)
            return of.qualified(of.qualifiers | _QUALIFIERS[kind])
        if kind in (_RESTRICT, _TYPE_TAG):
            return self.type(size)
        if kind == _TYPEDEF:
            return program.typedef_type(name, self.type(size))
        if kind == _FWD:
            return program.union_type(name) if flag else program.struct_type(name)
        if kind == _ARRAY_KIND:
            element, _, length = _ARRAY.unpack_from(self._data, offset + 12)
            return program.array_type(self.type(element), length)
        if kind in (_STRUCT, _UNION):
            members = self._members(offset, info & 0xFFFF, flag)
            make = program.struct_type if kind == _STRUCT else program.union_type
            return make(name or None, size, members)
        if kind in (_ENUM, _ENUM64):
            return self._enum(offset, name or None, info & 0xFFFF, size, kind == _ENUM64, flag)
        if kind == _FUNC_PROTO:
            return self._function(offset, info & 0xFFFF, size)
        return self._void()

    def _members(self, offset: int, number: int, has_bits: bool) -> list[TypeMember]:
        out = []
        for i in range(number):
            name, of, where = _MEMBER.unpack_from(self._data, offset + 12 + 12 * i)
            bits = where >> 24 if has_bits else 0
            where = where & 0xFFFFFF if has_bits else where
            out.append(TypeMember(self._member_type(of, bits), self._string(name), where))
        return out

    def _member_type(self, of: int, bits: int) -> "Callable[[], Type | Object]":
        """Not made before it is needed: structures refer to each other in circles."""
        if not bits:
            return lambda: self.type(of)
        return lambda: Object(
            self._program, self.type(of), absence_reason=None, bit_field_size=bits
        )

    def _enum(
        self, offset: int, name: "str | None", number: int, size: int, wide: bool, signed: bool
    ) -> Type:
        step = _EACH[_ENUM64 if wide else _ENUM]
        values = []
        for i in range(number):
            entry = self._data[offset + 12 + step * i :][:step]
            value = entry[4:]  # low half first
            values.append(
                TypeEnumerator(
                    self._string(int.from_bytes(entry[:4], "little")) or "",
                    int.from_bytes(value, "little", signed=signed),
                )
            )
        base = self._program.int_type("long" if wide else "int", 8 if wide else size, signed)
        return self._program.enum_type(name, base, values)

    def _function(self, offset: int, number: int, returns: int) -> Type:
        pair = struct.Struct("<II")
        parameters = [
            pair.unpack_from(self._data, offset + 12 + pair.size * i) for i in range(number)
        ]
        return self._program.function_type(
            self.type(returns),
            [
                TypeParameter(self._member_type(of, 0), self._string(n))
                for n, of in parameters
                if of
            ],
        )

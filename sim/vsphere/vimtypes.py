# SPDX-License-Identifier: Apache-2.0
"""vim25 values and their XML, both ways, by the table in vim_types.txt.

A data object is a Data: a dict that knows its type's name. A managed object reference is a Ref. The table gives the
order of the elements (which matters to real servers and to the schema) and each field's declared type; xsi:type is
written only where the value's type is not the declared one, as vSphere does. Decoding refuses unknown and misplaced
elements, as vSphere does.
"""
import datetime
import pathlib
from typing import NamedTuple
from xml.sax.saxutils import escape

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
PRIMITIVES = {"string", "int", "long", "short", "byte", "boolean", "dateTime", "double", "float", "base64Binary"}


class Ref(NamedTuple):
    """A managed object reference."""
    type: str
    value: str


class Field(NamedTuple):
    name: str
    type: str
    array: bool
    optional: bool


class Method(NamedTuple):
    owner: str
    name: str
    result: str
    privilege: str
    params: tuple


class Malformed(Exception):
    """A request that no vSphere would accept."""


def _field(text):
    name, type_name = text.split(":", 1)
    optional = type_name.endswith("?")
    type_name = type_name.removesuffix("?")
    return Field(name, type_name.removesuffix("[]"), type_name.endswith("[]"), optional)


class _Table:
    def __init__(self):
        self.parents, self.own, self.faults, self.methods, self._fields = {}, {}, set(), {}, {}
        for line in (pathlib.Path(__file__).parent / "vim_types.txt").read_text().splitlines():
            words = line.split()
            if words[0] == "method":
                method = Method(words[1], words[2], words[3], words[4], tuple(_field(w) for w in words[5:]))
                self.methods[method.name] = method
            elif words[0] != "#":
                self.parents[words[1]] = words[2] if len(words) > 2 else "-"
                self.own[words[1]] = [_field(w) for w in words[3:]]
                if words[0] == "fault":
                    self.faults.add(words[1])

    def fields(self, type_name):
        """All fields of a type, inherited ones first, by name."""
        if type_name not in self._fields:
            above = self.parents.get(type_name, "-")
            inherited = self.fields(above) if above in self.own else {}
            self._fields[type_name] = {**inherited, **{f.name: f for f in self.own[type_name]}}
        return self._fields[type_name]

    def is_a(self, type_name, ancestor):
        while type_name in self.parents:
            if type_name == ancestor:
                return True
            type_name = self.parents[type_name]
        return type_name == ancestor


TABLE = _Table()


class Data(dict):
    """A data object; its fields are set by keyword, None is left out."""
    __slots__ = ("type",)

    def __init__(self, type_name, /, **fields):
        known = TABLE.fields(type_name)
        for name in fields:
            if name not in known:
                raise KeyError(f"{type_name} has no field {name}")
        super().__init__({k: v for k, v in fields.items() if v is not None})
        self.type = type_name


def declare_method(name, owner, result, params, privilege="-"):
    """A method that no public schema has (NfcService, RetrieveInternalContent, Fetch)."""
    TABLE.methods[name] = Method(owner, name, result, privilege, tuple(_field(p) for p in params.split()))


def scalar_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return escape(str(value))


def _actual_type(value, declared):
    if isinstance(value, Data):
        return value.type
    if isinstance(value, Ref):
        return "ManagedObjectReference"
    if declared not in ("anyType", "ref"):
        return declared
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int"
    if isinstance(value, datetime.datetime):
        return "dateTime"
    return "string"


def _xsi(type_name):
    return f' xsi:type="{"xsd:" if type_name in PRIMITIVES else ""}{type_name}"'


def encode(out, name, value, declared, array=False, any_type=False, attributes=""):
    """Append the XML of `value` as element `name`.

    any_type: the element is declared xsd:anyType (a property's val), while `declared` and `array` say what the property
    is: an array then becomes one ArrayOf... element instead of a repeated one.
    """
    if array and any_type:
        item = "ManagedObjectReference" if declared == "ref" else declared
        out.append(f'<{name}{attributes} xsi:type="ArrayOf{item[0].upper() + item[1:]}">')
        for one in value:
            encode(out, item, one, declared)
        out.append(f"</{name}>")
    elif array:
        for one in value:
            encode(out, name, one, declared, attributes=attributes)
    else:
        actual = _actual_type(value, declared)
        plain = not any_type and (actual == declared or declared == "ref")
        typed = attributes + ("" if plain else _xsi(actual))
        if isinstance(value, Ref):
            out.append(f'<{name}{typed} type="{value.type}">{escape(value.value)}</{name}>')
        elif isinstance(value, Data):
            out.append(f"<{name}{typed}>")
            for field in TABLE.fields(actual).values():
                if field.name in value:
                    encode(out, field.name, value[field.name], field.type, field.array)
            out.append(f"</{name}>")
        else:
            out.append(f"<{name}{typed}>{scalar_text(value)}</{name}>")


def local_name(tag):
    return tag.rsplit("}", 1)[-1]


def decode(element, declared):
    """The value of an XML element whose declared type is `declared`."""
    actual = element.get(XSI + "type", "").rsplit(":", 1)[-1] or declared
    if declared == "ref" or actual == "ManagedObjectReference":
        return Ref(element.get("type", ""), element.text or "")
    if actual in TABLE.own:
        if declared in TABLE.own and not TABLE.is_a(actual, declared):
            raise Malformed(f"{actual} where {declared} is declared")
        return decode_fields(element, list(TABLE.fields(actual).values()), actual, Data(actual))
    text = element.text or ""
    if actual in ("int", "long", "short", "byte"):
        try:
            return int(text)
        except ValueError:
            raise Malformed(f"'{text}' is no {actual}") from None
    if actual == "boolean":
        if text not in ("true", "false", "1", "0"):
            raise Malformed(f"'{text}' is no boolean")
        return text in ("true", "1")
    return text


def decode_fields(parent, fields, owner, into):
    """Fill `into` with the children of `parent`; they must come in the order of `fields`, required ones present."""
    position = {field.name: number for number, field in enumerate(fields)}
    last = -1
    for child in parent:
        name = local_name(child.tag)
        if name == "_this":
            continue
        if name not in position:
            raise Malformed(f"{owner} has no {name}")
        number = position[name]
        if number < last or (number == last and not fields[number].array):
            raise Malformed(f"{owner}: {name} is out of order")
        last = number
        value = decode(child, fields[number].type)
        if fields[number].array:
            into.setdefault(name, []).append(value)
        else:
            into[name] = value
    for field in fields:
        if not field.optional and field.name not in into and not field.array:
            raise Malformed(f"{owner}: {field.name} is missing")
    return into

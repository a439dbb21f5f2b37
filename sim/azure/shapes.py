# SPDX-License-Identifier: Apache-2.0
"""What a request's body may hold: every property of a type is named, with its type; the others are refused, as the
services do. IGNORED are the read-only ones that come back from a GET; NOT_DONE are those that Azure has and the
simulator has not: they are answered with 501."""
import re

from .refusal import Refusal, invalid, not_simulated

TEXT, NUMBER, FLAG, IGNORED, NOT_DONE = "String", "Int64", "Boolean", "ignored", "not done"


class Choice:
    def __init__(self, *values):
        self.values = values


class Items:
    def __init__(self, of):
        self.of = of


class Fields:
    def __init__(self, name, /, required=(), ignored=(), not_done=(), **fields):
        self.name, self.required = name, required
        self.fields = {**{n: IGNORED for n in ignored}, **{n: NOT_DONE for n in not_done}, **fields}


class Tags:
    pass


TAGS = Tags()
REFERENCE = Fields("SubResource", required=("id",), id=TEXT)
RESOURCE = ("id", "name", "type", "etag", "systemData", "managedBy")      # read-only on every resource


def _wrong_type(value, kind, path):
    return Refusal(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized: "
                                                 f"'Error converting value \"{value}\" to type '{kind}'. Path "
                                                 f"'{path}'.'.",
                                                 path)


def _check_fields(shape, value, path):
    if not isinstance(value, dict):
        raise _wrong_type(value, shape.name, path)
    for name, item in value.items():
        where = f"{path}.{name}".lstrip(".")
        field = shape.fields.get(name)
        if field is None:
            raise Refusal(400, "InvalidRequestContent", "The request content was invalid and could not be "
                                                        f"deserialized: 'Could not find member '{name}' on object of "
                                                        f"type '{shape.name}'. Path '{where}'.'.", where)
        if item is None or field is IGNORED:
            continue
        if field is NOT_DONE:
            raise not_simulated(f"property '{where}'")
        check(field, item, where)
    for name in shape.required:
        if value.get(name) is None:
            raise invalid(f"Required parameter '{name}' is missing (null).", f"{path}.{name}".lstrip("."))


def _check_tags(value, path):
    if not isinstance(value, dict):
        raise _wrong_type(value, "Tags", path)
    if len(value) > 50:
        raise Refusal(400, "TooManyTags", f"The resource has {len(value)} tags; the limit is 50.")
    for name, text in value.items():
        if not isinstance(text, str):
            raise _wrong_type(text, TEXT, f"{path}.{name}")
        if not name or len(name) > 512 or re.search(r"[<>%&\\?/]", name):
            raise Refusal(400, "InvalidTagNameCharacters", f"The tag name '{name}' is empty, too long or has a "
                                                           "reserved character '<,>,%,&,\\,?,/'.")
        if len(text) > 256:
            raise Refusal(400, "InvalidTagValueLength", f"The value of tag '{name}' exceeds 256 characters.")


def check(shape, value, path=""):
    """Raises a Refusal with status 400 or 501."""
    if isinstance(shape, Fields):
        _check_fields(shape, value, path)
    elif isinstance(shape, Tags):
        _check_tags(value, path)
    elif isinstance(shape, Items):
        if not isinstance(value, list):
            raise _wrong_type(value, "List", path)
        for number, item in enumerate(value):
            check(shape.of, item, f"{path}[{number}]")
    elif isinstance(shape, Choice):
        if not isinstance(value, str):
            raise _wrong_type(value, TEXT, path)
        if value not in shape.values:
            raise invalid(f"The value '{value}' of parameter '{path}' is invalid. Supported values are: "
                          f"{', '.join(shape.values)}.", path)
    elif not isinstance(value, {TEXT: str, NUMBER: int, FLAG: bool}[shape]) or (shape == NUMBER
                                                                                and isinstance(value, bool)):
        raise _wrong_type(value, shape, path)

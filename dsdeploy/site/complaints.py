"""Pydantic's findings in the operator's words: which key, what is wrong, how to write it, at which line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dsdeploy.document import Address, Document, under
from dsdeploy.errors import Problem
from dsdeploy.site.scalars import kind
from dsdeploy.text import shown

MOST = 100  # problems shown; nobody reads further

_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "is under the smallest allowed,"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "is over the largest allowed,"),
}
_SHAPES = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list", "list_type": "a list"}


def problems(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Each finding as a Problem. What follows from a value that was already refused is left out."""
    found = []
    for detail in error.errors(include_url=False)[: MOST * 2]:
        address = place(detail)
        if under(address, document.unread) or _follows(detail, address, document):
            continue
        is_key = detail["type"] in ("extra_forbidden", "missing") or "[key]" in detail["loc"]
        if detail["type"] in _BOUNDS:  # checked after the value was read: say it as the operator did
            detail["input"] = document.typed(address)
        what, hint = _words(detail, address, model)
        name = dotted(address)
        found.append(Problem(f"{name}: {what}" if name else what, document.where(address, key=is_key), hint))
    return found


def _follows(detail: Any, address: Address, document: Document) -> bool:
    """Whether a list only counts as too short because its items were refused, each with a finding of its own."""
    return detail["type"] == "too_short" and bool(document.typed(address))


def place(detail: Any) -> Address:
    """The address in the file that one of pydantic's findings is about."""
    location: Address = detail["loc"]
    about_a_key = location[-1:] == ("[key]",) and detail["type"] != "extra_forbidden"
    return location[:-1] if about_a_key else location


def dotted(address: Address) -> str:
    """`hosts.gpu1.roles[0]`, safe to print whatever the keys hold."""
    name = ""
    for step in address:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            plain = step if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", step) else shown(step, 30)
            name += f".{plain}" if name else plain
    return name


def ordered(found: Sequence[Problem]) -> list[Problem]:
    """In file order, each once, and no more than can be read."""
    unique = sorted(dict.fromkeys(found), key=_line)
    if len(unique) <= MOST:
        return unique
    rest = Problem(f"and {len(unique) - MOST} more problems", unique[MOST].where, "correct these first")
    return [*unique[:MOST], rest]


def _line(problem: Problem) -> tuple[int, int]:
    found = re.search(r":(\d+):(\d+)$", problem.where)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _words(detail: Any, address: Address, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong and how to cure it, for one finding."""
    kind_of_error, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind_of_error == "site":
        return context["what"], context["hint"]
    if kind_of_error == "extra_forbidden":
        return "unknown key", _known(str(address[-1]), address[:-1], model)
    if kind_of_error == "missing":
        field = fields(address[:-1], model).get(str(address[-1]))
        return "missing", f"add it: {field.description}" if field and field.description else "add it"
    if kind_of_error == "literal_error":
        return _choice(given, context["expected"])
    if kind_of_error in _BOUNDS:
        bound, sentence = _BOUNDS[kind_of_error]
        return f"{getattr(given, 'typed', given)} {sentence} {_limit(given, context[bound])}", ""
    if kind_of_error in _SHAPES:
        return f"{kind(given)} where {_SHAPES[kind_of_error]} is expected", _shape_hint(kind_of_error)
    if kind_of_error == "too_short":
        return "is empty", "name at least one"
    if kind_of_error == "too_long":
        return f"has more than {context['max_length']} entries, the most allowed", ""
    return detail["msg"], ""


def _shape_hint(kind_of_error: str) -> str:
    if kind_of_error in ("tuple_type", "list_type"):
        return "write [a, b], or one '- a' a line"
    return "write indented 'key: value' lines below it, or {key: value}"


def _limit(given: Any, bound: float) -> str:
    """A bound in the unit the operator used: bytes and seconds are spelled as sizes and durations."""
    text = str(getattr(given, "typed", given))
    if text.endswith("B"):
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if bound % factor == 0:
                return f"{int(bound) // factor}{unit}"
    if text[-1:] in ("s", "m", "h"):
        return f"{bound:g}s"
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _choice(given: Any, expected: str) -> tuple[str, str]:
    choices = re.findall(r"'([^']*)'", expected)
    text = getattr(given, "typed", given)
    near = difflib.get_close_matches(text.lower(), choices, 1, 0.5) if isinstance(text, str) else []
    value = shown(given) if isinstance(given, (str, bool, int, float)) else kind(given)
    known = ", ".join(choices)
    return f"{value} is none of {known}", f"did you mean {near[0]!r}?" if near else f"write one of {known}"


def _known(key: str, parent: Address, model: type[BaseModel]) -> str:
    """What the operator may have meant by an unknown key."""
    known = list(fields(parent, model))
    if near := difflib.get_close_matches(key[:64].lower(), known, 1, 0.6):
        return f"did you mean {near[0]!r}?"
    elsewhere = [
        f"{section}.{key}"
        for section in model.model_fields
        if key in fields((section,), model)
    ]  # fmt: skip
    if key in model.model_fields:
        elsewhere.append(key)
    if elsewhere:
        return f"did you mean {' or '.join(repr(name) for name in elsewhere)}? check the indentation"
    return f"known here: {', '.join(known)}"


def fields(address: Address, model: type[BaseModel]) -> dict[str, Any]:
    """The fields a mapping at this address may have, by name."""
    current: type[BaseModel] | None = model
    through_mapping = False
    for step in address:
        if through_mapping:  # the step was a name of the operator's choosing, such as a host's
            through_mapping = False
            continue
        field = current.model_fields.get(str(step)) if current else None
        current = _model_in(field.annotation) if field else None
        through_mapping = field is not None and getattr(field.annotation, "__origin__", None) is dict
    return dict(current.model_fields) if current and not through_mapping else {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if found := _model_in(part):
            return found
    return None

"""models.yml: the models this tool knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from dsdeploy.stacks import shipped
from dsdeploy.stacks.shipped import Part


@dataclass(frozen=True)
class Precision:
    """`bytes` of the weights, `memory` the publisher's least GPU memory in bytes; 0 where it is not known.

    `about` marks bytes that were worked out or rounded; `compute` is the oldest GPU with arithmetic for it;
    `id` the repository of a checkpoint of its own.
    """

    name: str
    bytes: int = 0
    memory: int = 0
    compute: str = ""
    about: bool = False
    id: str = ""

    @property
    def least(self) -> int:
        """Bytes of GPU memory below which it cannot run."""
        return self.bytes or self.memory


@dataclass(frozen=True)
class Model:
    """`parameters` and `active` are counts, `context` is in tokens; 0 where unknown."""

    name: str
    parameters: int
    context: int
    architecture: str
    precisions: Mapping[str, Precision]
    id: str = ""
    active: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    vllm_minimum: str = ""  # the oldest vLLM that serves it
    vllm_flags: tuple[str, ...] = ()
    sglang_flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@cache
def catalogue() -> Mapping[str, Model]:
    """The shipped catalogue by name, read once."""
    top = shipped.read("models.yml")
    found = {name: _model(name, part) for name, part in top.parts("models")}
    top.done()
    return found


def _model(name: str, part: Part) -> Model:
    vllm = part.part("vllm")
    made = Model(
        name=name,
        parameters=part.count("parameters"),
        context=part.count("context"),
        architecture=part.text("architecture"),
        precisions={key: _precision(key, one) for key, one in part.parts("precisions")},
        id=part.text("id", ""),
        active=part.count("active", 0),
        files=part.table("files"),
        vllm_minimum=vllm.text("minimum", ""),
        vllm_flags=vllm.texts("flags"),
        sglang_flags=part.part("sglang").texts("flags"),
        notes=part.texts("notes"),
    )
    part.done()
    return made


def _precision(name: str, part: Part) -> Precision:
    made = Precision(
        name,
        part.count("bytes", 0),
        part.count("memory", 0) * 10**9,
        part.text("compute", ""),
        part.flag("about"),
        part.text("id", ""),
    )
    part.done()
    return made

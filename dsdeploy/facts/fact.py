"""What every fact has: the class of its value, a command, a parser, and the hosts it applies to."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pyinfra.api import FactBase

if TYPE_CHECKING:
    from dsdeploy.site import Site

T = TypeVar("T")

_READERS: dict[type[Any], type[Fact[Any]]] = {}


class Fact(FactBase[T], Generic[T]):
    """A pyinfra fact whose value has a class of its own, which is also its name when asked for."""

    value: ClassVar[type[Any]]
    timed: ClassVar[bool] = False  # the parser's first line is `controller <epoch> <uncertainty>`

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "value" in cls.__dict__:
            _READERS[cls.value] = cls

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        """The command's arguments on this host of the site; None where the fact has no meaning."""
        return {}

    @abstractmethod
    def process(self, output: list[str]) -> T:
        """The value, from the lines the command printed: none, cut short and hostile ones too."""


def reader(value: type[T]) -> Fact[T]:
    """The fact that reads this class of value."""
    return _READERS[value]()


def number(text: str) -> int | None:
    """A decimal number a host printed, or None. Length-limited: a host may print anything."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None

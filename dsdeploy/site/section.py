"""What every part of a site file has in common: frozen once loaded, and nothing unknown in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the site file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

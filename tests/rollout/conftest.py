"""The same readings as for the decisions about releases."""

from __future__ import annotations

from ..releases.conftest import NEW, OLD, reading

__all__ = ["NEW", "OLD", "reading"]

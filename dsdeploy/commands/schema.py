"""Print the JSON Schema of the site file."""

from __future__ import annotations

import json
from typing import Any

from dsdeploy import output
from dsdeploy.site import Site

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> int:
    output.say(text().rstrip("\n"))
    return 0


def text() -> str:
    """The schema as indented JSON, ending in a newline."""
    described = Site.model_json_schema()
    described |= {"$schema": DIALECT, "title": "dsdeploy site file"}
    return json.dumps(_spelled(described), indent=2) + "\n"


def _spelled(node: Any) -> Any:
    """The schema with defaults as an operator would write them; a section's default is that of its fields."""
    if isinstance(node, list):
        return [_spelled(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _spelled(item) for key, item in node.items()}
    default = node.get("default")
    if default is None or ("$ref" in node and isinstance(default, dict)):
        plain.pop("default", None)
    elif "5m" in node.get("examples", ()):
        plain["default"] = f"{default / 60:g}m" if default >= 60 else f"{default:g}s"
    elif "64MiB" in node.get("examples", ()):
        plain["default"] = f"{default // 2**20}MiB"
    return plain

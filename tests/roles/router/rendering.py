"""The role's templates, rendered without Ansible from the role's own defaults and constants."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "router"


def engines(active: str = "blue", hosts: int = 2) -> list[dict[str, Any]]:
    """Both colours of each host, `active` in rotation."""
    return [
        {"host": f"gpu{n}", "address": f"127.0.0.{10 + n}", "colour": colour, "port": port,
         "release": f"r-{colour}", "active": colour == active}
        for n in range(1, hosts + 1) for colour, port in (("blue", 8101), ("green", 8102))
    ]  # fmt: skip


def variables(**changes: Any) -> dict[str, Any]:
    """What an inventory gives a router host, with the role's defaults and constants below it."""
    given = {
        "router_address": "127.0.0.1", "router_port": 8000, "router_models": ["deepseek-tiny"],
        "router_rate_limit": {"requests_per_second": 100, "burst": 200}, "router_max_body_bytes": 1048576,
        "router_engines": engines(),
    }  # fmt: skip
    parts = (yaml.safe_load((ROLE / part / "main.yml").read_text()) for part in ("defaults", "vars"))
    return {"ansible_managed": "Ansible managed", **next(parts), **next(parts), **given, **changes}


def environment() -> jinja2.Environment:
    """Jinja as Ansible sets it up, with those of its filters that the role uses."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.filters |= {
        "to_json": json.dumps,
        "dirname": lambda path: str(Path(path).parent),
        "basename": lambda path: Path(path).name,
        "comment": lambda text: f"#\n# {text}\n#",
        "hash": lambda text, kind: hashlib.new(kind, text.encode()).hexdigest(),
    }
    return env


def render(template: str, **changes: Any) -> str:
    """One template's text; `changes` replace variables."""
    return environment().get_template(template).render(variables(**changes))


def evaluate(name: str, **changes: Any) -> str:
    """One of the role's constants; those it is made of are evaluated first, as Ansible does."""
    given = variables(**changes)
    while "{{" in (text := str(given[name])):
        inner = [other for other in re.findall(r"__router_\w+", text) if "{{" in str(given[other])]
        for other in inner:
            given[other] = evaluate(other, **changes)
        given[name] = environment().from_string(text).render(given)
    return text.strip()

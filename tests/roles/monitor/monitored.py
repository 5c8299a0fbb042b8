"""The role's templates, rendered without Ansible from a site file, as the inventory would hand its values down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import yaml

from dsdeploy import monitoring
from dsdeploy.site import Site

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "monitor"
NAME = re.compile(
    r"(?<![\w:\".])((?:dsdeploy|vllm|sglang|llamacpp|nv|haproxy|node|zk|DCGM|prometheus|alertmanager)[_:][\w:]+)"
)
# what the other roles write into the same folder: role, its program, the prefix of all its names, and where one stands
WRITERS = (
    ("health", "gpu/gpu_metrics.py", "dsdeploy_", r'(?m)^    "(gpu\w+)": \("(?:gauge|counter)"'),
    ("health", "health/health_marks.py", "dsdeploy_", r'"(\w+)", "(?:gauge|counter)"'),
    ("health", "health/health_marks.py", "dsdeploy_", r'(?m)^        "(\w+)",?\n? *"(?:gauge|counter)"'),
    ("backup", "dsdeploy_backup/metrics.py", "dsdeploy_backup_", r'(?m)^    "(\w+)": \("gauge"'),
    ("backup", "dsdeploy_backup/nightly.py", "dsdeploy_verify_", r'(?m)^        \("(\w+)", "'),
    ("logrotate", "logs.py", "dsdeploy_logs_", r'(?m)^        "(\w+)": \("'),
)
COLLECTED = ("monitor", "metrics/words.py", "", r'(?m)^    "(\w+)": "')
# a site that has all there is to measure
ALL = {
    "stack": "cuda13", "backup": {"password_file": "password"}, "health": {"gpus": 2},
    "fabric": {"ports": 2, "exclude": ["mlx5_9"]},
}  # fmt: skip


def site(**changes: Any) -> Site:
    """The lab's site with a section `monitor`; `changes` are fields of that section, or `site` of the site."""
    data = yaml.safe_load((ROOT / "inventory" / "lab" / "site.yml").read_text())
    return Site.model_validate({**data, **changes.pop("site", {}), "monitor": changes})


def variables(given: Site, name: str = "gw1", **more: Any) -> dict[str, Any]:
    """Defaults and constants of the role, and what the inventory gives host `name`."""
    parts = [yaml.safe_load((ROLE / part / "main.yml").read_text()) for part in ("defaults", "vars")]
    emitted = monitoring.every(given) | monitoring.of_host(given, name) | monitoring.server(given)
    found = {"ansible_managed": "Ansible managed", **parts[0], **parts[1], **emitted, **more}
    return {key: _told(value, found) for key, value in found.items()}


def _told(value: Any, found: dict[str, Any]) -> Any:
    """A constant of the role's that is made of others; one that needs Ansible's lookups or filters stays as it is."""
    if not isinstance(value, str) or "{{" not in value:
        return value
    try:
        return environment().from_string(value).render(found).strip()
    except jinja2.TemplateError:
        return value


def environment(marks: tuple[str, str] = ("{{", "}}")) -> jinja2.Environment:
    """Jinja as Ansible sets it up, with those of its filters that the role uses."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True, variable_start_string=marks[0], variable_end_string=marks[1],
    )  # fmt: skip
    env.filters |= {
        "to_json": json.dumps,
        "combine": lambda first, second: {**first, **second},
        "comment": lambda text: f"#\n# {text}\n#",
    }
    return env


def rules(given: Site | None = None) -> str:
    """rules.yml: << >> around our values, because {{ }} is Prometheus' own."""
    given = given or site()
    return environment(("<<", ">>")).get_template("rules.yml.j2").render(variables(given))


def render(template: str, given: Site | None = None, **more: Any) -> str:
    return environment().get_template(template).render(variables(given or site(), **more))


def captured() -> dict[str, str]:
    """Metric name -> the file in scrapes/ it stands in: what an exporter said, or the names its documentation gives."""
    found: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / "scrapes").iterdir()):
        for line in path.read_text(encoding="utf-8").splitlines():
            kind = re.match(r"# TYPE (\S+) (\w+)", line)
            names = [kind[1]] if kind else [] if line.startswith("#") else [re.split(r"[{\s]", line)[0]]
            if kind and kind[2] == "histogram":
                names = [kind[1] + part for part in ("_bucket", "_sum", "_count")]
            found.update(dict.fromkeys(names, path.name))
    return found


def ours(writers: Iterable[tuple[str, str, str, str]] = (*WRITERS, COLLECTED)) -> dict[str, str]:
    """Metric name -> the role whose program writes it, by what stands in that program."""
    found: dict[str, str] = {}
    for role, file, prefix, pattern in writers:
        text = (ROLE.parent / role / "files" / file).read_text(encoding="utf-8")
        found.update(dict.fromkeys((prefix + name for name in re.findall(pattern, text)), f"role {role}"))
    return found


def queries() -> list[str]:
    """What the dashboards' panels ask."""
    boards = sorted((ROLE / "files" / "grafana").glob("*.json"))
    panels = [panel for board in boards for panel in json.loads(board.read_text(encoding="utf-8"))["panels"]]
    return [target["expr"] for panel in panels for target in panel["targets"]]

"""Which Python of a host the engine's venv is made with: the one Ansible uses there, else the newest that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsdeploy.facts import Interpreter, Os
from dsdeploy.stacks import Host, place, versions
from dsdeploy.stacks.data import matrix

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

# what the runtimes publish wheels for: roles/engine/files/*/requirements.txt, and vLLM's and SGLang's own pages
SPANS = {
    "llamacpp": ("3.10", "3.13"), "triton": ("3.10", "3.13"), "vllm": ("3.11", "3.13"), "sglang": ("3.11", "3.13"),
}  # fmt: skip


class Python(NamedTuple):
    """`path` is "" for the one Ansible uses; `fits` is true of a version nobody could read, which proves nothing."""

    path: str
    version: str
    fits: bool


def needed(site: Site) -> bool:
    """Whether hosts run Python of ours beside what Ansible needs: an image brings its own, but for Triton's front."""
    return not site.engine.image or site.engine.runtime == "triton"


def chosen(site: Site, reading: Reading) -> Python:
    system, told = reading.get(Os), reading.get(Interpreter) or Interpreter()
    own = told.version or versions.series(system.python if system else "", 2)
    if not own or _fits(site, own):
        return Python("", own, True)
    others = sorted(told.others, key=lambda one: versions.parse(one[1]), reverse=True)
    found = next((one for one in others if _fits(site, one[1])), None)
    return Python(*found, True) if found else Python("", own, False)


def _fits(site: Site, version: str) -> bool:
    return versions.within(version, *SPANS[site.engine.runtime])


def why(site: Site, host: str, reading: Reading) -> tuple[str, str]:
    """What is wrong and what to do on a host where none fits; empty text where one does."""
    found = chosen(site, reading)
    if found.fits:
        return "", ""
    low, high = SPANS[site.engine.runtime]
    what = f"the engine's runtime {site.engine.runtime} needs Python {low} to {high}, {host} has {found.version}"
    system = reading.get(Os)
    place_ = place.distribution(matrix(), Host(system.id, system.version_id)) if system else None
    offered = [python for python in place_.pythons if _fits(site, python)] if place_ else []
    if place_ and offered:
        newest = max(offered, key=versions.parse)
        return what, f"python{newest} of {place_.name} installed beside it, an engine.image, or another distribution"
    return what, f"an engine.image, another distribution, or a Python of your own as /usr/local/bin/python{high}"

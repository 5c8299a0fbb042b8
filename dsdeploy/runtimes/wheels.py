"""Which packages make vLLM's or SGLang's venv: exactly the wheels in the site's own folder, one of each.

Both need well over a hundred packages, whose newest versions change daily and with the CUDA in use; so what the
operator has collected (`pip download`, once, on a computer that reaches an index) is the list of pins.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from dsdeploy import paths
from dsdeploy.errors import DsdeployError
from dsdeploy.runtimes import sglang, vllm
from dsdeploy.site import Site
from dsdeploy.stacks import catalogue, versions

VERSIONS = {"vllm": vllm.VERSION, "sglang": sglang.VERSION}
PYTHONS = "3.11 to 3.13"  # what both publish wheels for


def needed(site: Site) -> bool:
    """Whether this runtime's pins are the site's own folder of wheels."""
    return site.engine.runtime in VERSIONS and not site.engine.image


def pins(site: Site) -> dict[str, str]:
    """Package -> version of each wheel. Raises DsdeployError when there is none, or a package twice."""
    folder, runtime = site.engine.wheelhouse, site.engine.runtime
    names = sorted(path.name for path in folder.glob("*.whl")) if folder and folder.is_dir() else []
    found: dict[str, str] = {}
    for name in names:
        package, version = name.split("-")[:2]
        if found.setdefault(package.lower(), version) != version:
            what = f"the wheelhouse has {package} twice: {found[package.lower()]} and {version}"
            raise DsdeployError(what, str(folder), "keep the one that was tested")
    least = catalogue()[site.model.name].vllm_minimum if site.model.name in catalogue() else ""
    if runtime == "vllm" and versions.older(found.get("vllm", ""), least):
        what = f"the wheelhouse has vllm {found['vllm']}, and {site.model.name} needs {least}"
        raise DsdeployError(what, str(folder), fill(runtime))
    lacks = [name for name in (runtime, "pip") if name not in found]
    if lacks:
        what = f"the wheelhouse has no wheel of {' and '.join(lacks)}" if folder else f"{runtime} has no wheelhouse"
        raise DsdeployError(what, str(folder or f"{site.file.name}: engine.wheelhouse"), fill(runtime))
    return found


def fill(runtime: str) -> str:
    """How an operator gets such a folder."""
    wanted = f"{runtime}=={VERSIONS[runtime]} pip"
    return (
        "on a computer that reaches a package index, with the hosts' Python: "
        f"pip download --only-binary=:all: --dest wheels {wanted}; then engine.wheelhouse: ./wheels"
    )


def requirements(site: Site) -> Path:
    """The pins as a requirements file, in the cache; its folder has the runtime's name."""
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(pins(site).items()))
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    file = paths.cache_dir("wheelhouse") / "pins" / digest / site.engine.runtime / "requirements.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(lines, encoding="utf-8")
    return file

"""What the weights mirror serves: the lab's model, every version."""

from __future__ import annotations

import filecmp
import hashlib
import shutil
import tempfile
from pathlib import Path

from dsdeploy.errors import LabError
from dsdeploy.lab.image import Step
from dsdeploy.lab.layout import VERSIONS

GENERATOR = (
    "answers", "architecture", "model", "parameters", "reference",
    "rounding", "routing", "safetensors", "tokenizer",
)  # fmt: skip


def fill(root: Path, folder: str, originals: Path) -> list[str]:
    """Make `root/folder/<version>/` what it should be, repairing what differs. Returns the paths written."""
    written = []
    for version in VERSIONS:
        written += copy(originals / version, root / folder / version)
    return [str(path.relative_to(root)) for path in written]


def original(cache: Path, step: Step) -> Path:
    """All versions as generated, made once for each state of the generator's program."""
    place = cache / generator_digest()
    if place.exists():
        return place
    try:
        from dsdeploy.lab import model  # needs numpy, which only a lab needs
    except ModuleNotFoundError as error:
        raise LabError(
            f"the lab's model cannot be made: the Python package {error.name} is missing",
            "this computer",
            "pip install 'dsdeploy[lab]'",
        ) from error
    for outdated in cache.iterdir():
        empty(outdated)
    title = f"model for the mirror, {' and '.join(VERSIONS)}"
    with tempfile.TemporaryDirectory(prefix="model-", dir=cache) as fresh, step(title):
        for version in VERSIONS:
            model.write(Path(fresh, "made", version), seed=int(version.removeprefix("v")))
        Path(fresh, "made").rename(place)
    return place


def generator_digest() -> str:
    """Changes when the generator does: a cached model is never older than what made it."""
    programs = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in GENERATOR]
    return hashlib.sha256(b"".join(programs)).hexdigest()[:12]


def copy(source: Path, target: Path) -> list[Path]:
    """Make `target` hold exactly the files of `source`, each put in place whole. Returns what was wrong."""
    target.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in source.iterdir()}
    wrong = [path for path in target.iterdir() if path.name not in names]
    for path in wrong:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in sorted(names):
        to = target / name
        if to.is_file() and filecmp.cmp(source / name, to, shallow=False):
            continue
        fresh = target / f".{name}.new"
        shutil.copyfile(source / name, fresh)
        fresh.chmod(0o644)
        fresh.replace(to)
        wrong.append(to)
    return wrong


def empty(root: Path) -> None:
    """Remove a folder of models, if there."""
    if root.exists():
        shutil.rmtree(root)

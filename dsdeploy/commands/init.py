"""Write an annotated site file, and the JSON Schema an editor completes it with."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dsdeploy import output, paths
from dsdeploy.commands.schema import text as schema_text
from dsdeploy.errors import DsdeployError

SCHEMA = Path(".dsdeploy") / "site.schema.json"


def init(path: Path, force: bool = False) -> int:
    """Write the example to a path; with `force` an existing file is first moved to PATH.bak.

    Raises DsdeployError: something is there already, or the folder cannot be written.
    """
    kept = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if force and path.is_file():
            kept = _free(path.with_name(f"{path.name}.bak"))
            path.rename(kept)
        _create(path, example(path.name))
        schema = path.parent / SCHEMA
        schema.parent.mkdir(mode=0o700, exist_ok=True)
        schema.write_text(schema_text(), encoding="utf-8")
    except FileExistsError:
        raise DsdeployError("the file exists and stays as it is", str(path), f"dsdeploy init {path} --force") from None
    except OSError as error:
        raise DsdeployError(f"cannot write: {error.strerror}", str(error.filename or path)) from None
    output.say(f"wrote {path}" + (f", the old one is {kept}" if kept else ""))
    output.note(f"next: edit it, then dsdeploy check {path}")
    return 0


def example(name: str = "site.yml") -> str:
    """The annotated site file as text; `name` is the file name its comments speak of."""
    environment = Environment(
        loader=FileSystemLoader(paths.TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    shown = name if name.isascii() and name.isprintable() else "site.yml"
    return environment.get_template("site.yml.j2").render(file=shown, schema=SCHEMA.as_posix())


def _create(path: Path, content: str) -> None:
    with path.open("x", encoding="utf-8") as file:  # "x": whoever wrote it first, wins
        file.write(content)


def _free(path: Path) -> Path:
    """The path itself, or the first of path.1, path.2 … that nothing has."""
    candidate, number = path, 0
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate

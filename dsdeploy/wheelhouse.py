"""Python packages for hosts that reach no index: downloaded here once, checked, sent as one archive.

A wheelhouse is a folder with wheels, SHA256SUMS and wheelhouse.tar (both together, what the role sends). It
is made in ``<key>.partial`` and renamed, so a folder that is there is whole; its digests are checked before
every use.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from dsdeploy import paths
from dsdeploy.errors import DsdeployError
from dsdeploy.release import pinned

SUMS = "SHA256SUMS"
ARCHIVE = "wheelhouse.tar"
_GLIBCS = ("2.39", "2.34", "2.31", "2.28", "2.27", "2.24", "2.17", "2.12", "2.5")  # that wheels are built for
_OLD_NAMES = {"2.17": "manylinux2014", "2.12": "manylinux2010", "2.5": "manylinux1"}


def ensure(
    requirements: Path, python: str, arch: str = "x86_64", glibc: str = "2.28", given: Path | None = None
) -> Path:
    """A folder with every pinned wheel for this Python ("3.11"), architecture and C library, and the archive.

    Reused without network when its digests match. With `given` (the site's own folder) wheels come from there
    alone. Raises DsdeployError when wheels are missing or no index can be reached.
    """
    pins = requirements.read_bytes() + f"{python} {arch} {glibc} {_mark(given)}".encode()
    name = f"{requirements.parent.name}-{hashlib.sha256(pins).hexdigest()[:16]}"
    final = paths.cache_dir("wheelhouse") / name
    if intact(final, requirements):
        return final
    shutil.rmtree(final, ignore_errors=True)
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    command = download_command(requirements, partial, python, arch, glibc, given)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _failed(done.stderr, requirements, command, given)
    _finish(partial)
    partial.rename(final)
    return final


def download_command(
    requirements: Path, folder: Path, python: str, arch: str, glibc: str, given: Path | None
) -> list[str]:
    """`pip download` for another machine, as argv; from the given folder only, when there is one."""
    version = python.replace(".", "")
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--python-version", python, "--implementation", "cp",
        "--abi", f"cp{version}", "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    for platform in platforms(arch, glibc):
        command += ["--platform", platform]
    if given is not None:
        command += ["--no-index", "--find-links", str(given)]
    return [*command, "--dest", str(folder), "--requirement", str(requirements)]


def platforms(arch: str, glibc: str) -> list[str]:
    """Platform tags that run on this C library, newest first."""
    newest = _version(glibc)
    fitting = [text for text in _GLIBCS if _version(text) <= newest]
    tags = [f"manylinux_{text.replace('.', '_')}_{arch}" for text in fitting]
    return tags + [f"{_OLD_NAMES[text]}_{arch}" for text in fitting if text in _OLD_NAMES]


def intact(folder: Path, requirements: Path) -> bool:
    """Every pin has its wheel, every wheel its digest, and the archive is there."""
    if not (folder / ARCHIVE).is_file() or not (folder / SUMS).is_file():
        return False
    wanted = dict(line.split("  ", 1)[::-1] for line in (folder / SUMS).read_text().splitlines())
    names = {path.name for path in folder.glob("*.whl")}
    if names != set(wanted) - {ARCHIVE} or missing(requirements, names):
        return False
    return all(_sha256(folder / name) == digest for name, digest in wanted.items())


def missing(requirements: Path, names: set[str]) -> list[str]:
    """Pins (``name==version``) without a wheel among these file names."""
    have = {tuple(name.split("-")[:2]) for name in names}
    return [
        f"{name}=={version}"
        for name, version in pinned(requirements).items()
        if not any((_normal(found), of) == (_normal(name), version) for found, of in have)
    ]


def _finish(folder: Path) -> None:
    """Digests, then the archive of wheels and digests, then the archive's own digest."""
    sums = [f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.whl"))]
    (folder / SUMS).write_text("".join(sums))
    with tarfile.open(folder / ARCHIVE, "w") as archive:
        for path in [folder / SUMS, *sorted(folder.glob("*.whl"))]:
            archive.add(path, path.name)
    with (folder / SUMS).open("a") as file:
        file.write(f"{_sha256(folder / ARCHIVE)}  {ARCHIVE}\n")


def _failed(stderr: str, requirements: Path, command: Sequence[str], given: Path | None) -> DsdeployError:
    if given is not None:
        names = {path.name for path in given.glob("*.whl")} if given.is_dir() else set()
        lacks = ", ".join(missing(requirements, names) or _unfit(stderr)) or "wheels for the hosts"
        hint = "fill it elsewhere: " + " ".join(_elsewhere(command))
        return DsdeployError(f"the wheelhouse lacks {lacks}", str(given), hint)
    last = next((line for line in reversed(stderr.splitlines()) if line.startswith("ERROR")), "pip failed")
    return DsdeployError(
        f"cannot download the engine's Python packages: {last.removeprefix('ERROR: ')}",
        "the package index, from this computer",
        f"on a computer that reaches one: {' '.join(_elsewhere(command))}; then engine.wheelhouse: ./wheels",
    )


def _unfit(stderr: str) -> list[str]:
    """Pins that are there, but for another Python or platform."""
    return list(dict.fromkeys(re.findall(r"satisfies the requirement (\S+)", stderr)))


def _elsewhere(command: Sequence[str]) -> list[str]:
    """The same download, to a folder ./wheels, by whatever Python is there."""
    words = ["python3", *command[1:]]
    if "--no-index" in words:
        at = words.index("--no-index")
        del words[at : at + 3]
    words[words.index("--dest") + 1] = "wheels"
    return words


def _mark(given: Path | None) -> str:
    """Changes when wheels are added to, or replaced in, the given folder."""
    if given is None or not given.is_dir():
        return str(given or "")
    seen = ((path.name, path.stat()) for path in sorted(given.glob("*.whl")))
    return repr([str(given), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in seen)])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

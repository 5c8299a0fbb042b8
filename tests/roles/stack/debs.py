"""An apt repository like NVIDIA's (flat, signed) and a private root in which the real apt and dpkg work."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from .world import Package, distinct

ARCHIVE = b"!<arch>\n"


def deb(package: Package) -> bytes:
    """A .deb, written by hand: an ar archive of two tar files."""
    control = _control(package).encode()
    data = {f"./{path}": content for path, content in package.files.items()}
    about = {"./control": control}
    if any(".so." in path for path in package.files):  # as every package with a library says it
        about["./triggers"] = b"activate-noawait ldconfig\n"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tar(about),
        "data.tar.gz": _tar(data),
    }
    return ARCHIVE + b"".join(_member(name, content) for name, content in members.items())


def _member(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return head + content + (b"\n" if len(content) % 2 else b"")


def _tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        folders: set[str] = set()
        for path, content in files.items():
            above = path.split("/")[:-1]
            for depth in range(1, len(above) + 1):
                folder = "/".join(above[:depth])
                if folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(folder + "/")
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _control(package: Package) -> str:
    needs = ", ".join(f"{name} ({relation} {version})" for name, relation, version in package.needs)
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": "dsdeploy tests <nobody@localhost>",
        "Depends": needs,
        "Conflicts": ", ".join(package.excludes),
        "Replaces": ", ".join(package.excludes),
        "Provides": ", ".join(package.provides),
        "Description": f"empty stand-in for {package.name}",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def repository(folder: Path, packages: Iterable[Package], sign: list[str]) -> None:
    """The files, their index, and the index's signature by the key that `sign` (gpg's words) has."""
    folder.mkdir(parents=True, exist_ok=True)
    index = ""
    for package in distinct(packages):
        content, name = deb(package), f"{package.name}_{package.version}_amd64.deb"
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        index += f"{_control(package)}Filename: ./{name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
    (folder / "Packages").write_text(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    rows = "".join(
        f" {hashlib.sha256((folder / name).read_bytes()).hexdigest()} {(folder / name).stat().st_size} {name}\n"
        for name in ("Packages", "Packages.gz")
    )
    head = "Origin: NVIDIA\nLabel: NVIDIA CUDA\nArchitectures: amd64\nDate: Sat, 21 Nov 2026 10:00:00 UTC\n"
    release = f"{head}SHA256:\n{rows}"
    (folder / "Release").write_text(release)
    for path in (folder / "InRelease",):
        path.unlink(missing_ok=True)
        subprocess.run(
            [*sign, "--clearsign", "-o", str(path), str(folder / "Release")], check=True, capture_output=True
        )


class Root:
    """A folder that apt, dpkg and apt-mark take for a host's `/`: real programs, real packages, no host."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        for name in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/apt/lists/partial", "var/log/apt",
                     "var/cache/apt/archives/partial", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
                     "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"):  # fmt: skip
            (folder / name).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()
        (folder / "var/lib/dpkg/available").touch()
        (folder / "apt.conf").write_text(
            f'Dir "{folder}/";\nDir::State::status "{folder}/var/lib/dpkg/status";\nAPT::Architecture "amd64";\n'
            f'APT::Architectures {{ "amd64"; }};\nAPT::Sandbox::User "root";\nAcquire::Languages "none";\n'
            f'DPkg::Options {{ "--root={folder}"; "--force-not-root"; "--force-bad-path"; "--no-triggers"; }};\n'
            f'Dir::Etc::main "{folder}/none.conf";\nAPT::Install-Recommends "true";\n'
        )
        self.environment = {
            **os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "APT_CONFIG": str(folder / "apt.conf"),
            "DPKG_ADMINDIR": str(folder / "var/lib/dpkg"),
        }  # fmt: skip
        self.commands: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def do(self, *command: str) -> str:
        """A command that must succeed."""
        code, out, err = self.run(list(command))
        assert code == 0, f"{command}: {err}{out}"
        return out

"""A dnf repository like NVIDIA's (signed packages, module streams) and a private root in which the real dnf works."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .world import Order, Package, distinct

# as on Rocky 9; Debian's dnf has other defaults in the last two
CONF = """\
[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
"""
_FILES = "etc", "var/lib/rpm", "var/cache/dnf", "etc/yum.repos.d", "etc/dnf/plugins", "etc/dnf/modules.d"


def _quiet(*words: str, **more: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **more})
    assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"


def _spec(package: Package, payload: Path, scripts: bool) -> str:
    version, release = package.version.rsplit("-", 1)
    epoch = "3:" if package.stream else ""
    lines = [
        f"Name: {package.name}",
        f"Version: {version}",
        f"Release: {release}",
        "Epoch: 3" if package.stream else "",
        "Summary: empty stand-in",
        "License: none",
        "AutoReqProv: no",
        *(f"Requires: {name} {relation} {epoch}{wanted}" for name, relation, wanted in package.needs),
        *(f"Provides: {one}" for one in package.provides if "anybranch" not in one),
        *(f"Conflicts: {name}" for name in package.excludes if "anybranch" not in name),
        *(f"Obsoletes: {name}" for name in package.obsoletes),
        "%description", f"empty stand-in for {package.name}",
        "%install", "mkdir -p %{buildroot}",
        *(f"install -D -m 0755 {payload}/{path} %{{buildroot}}/{path}" for path in package.files),
        "%files",
        *(f"/{path}" for path in package.files),
        *(f"{when} -p /sbin/ldconfig" for when in ("%post", "%postun") if scripts and _library(package)),
    ]  # fmt: skip
    return "\n".join(line for line in lines if line) + "\n"


def _library(package: Package) -> bool:
    return any(".so." in path for path in package.files)


class Builder:
    """Builds each package once; signs it with the key whose words gpg is given.

    `scripts`: packages with a library run ldconfig, which a private root has not.
    """

    def __init__(self, folder: Path, sign: list[str], scripts: bool = False) -> None:
        self.folder, self.made = folder, {}  # type: Path, dict[tuple[object, ...], Path]
        self.scripts = scripts
        home = sign[sign.index("--homedir") + 1]
        self.signing = [
            "--define",
            f"_gpg_path {home}",
            "--define",
            "_gpg_name dsdeploy tests",
            "--define",
            "__gpg /usr/bin/gpg",
        ]

    def rpm(self, package: Package) -> Path:
        name = (package.name, package.version, package.stream, package.needs)
        if name not in self.made:
            self.made[name] = self._build(package)
        return self.made[name]

    def _build(self, package: Package) -> Path:
        kind = f"{package.stream.replace(':', '_') or 'plain'}-{abs(hash(package.needs))}"
        top = self.folder / f"{package.name}-{package.version}-{kind}"
        top.mkdir(parents=True)
        for path, content in package.files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(content)
        (top / "p.spec").write_text(_spec(package, top, self.scripts))
        words = ["--define", f"_topdir {top}", "--define", f"_rpmdir {top}/out", "--target", "x86_64", "--nodeps",
                 "--define", "_build_id_links none", "--define", "debug_package %{nil}",
                 "--define", "__strip /bin/true", "--define", "_binary_payload w1.gzdio"]  # fmt: skip
        _quiet("rpmbuild", "--quiet", *words, "-bb", str(top / "p.spec"))
        (made,) = (top / "out").rglob("*.rpm")
        _quiet("rpmsign", *self.signing, "--addsign", str(made), GPG_TTY="")
        return made


def repository(folder: Path, packages: Iterable[Package], builder: Builder) -> None:
    """Packages and their metadata; streams become a modules.yaml, as NVIDIA's has."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    streams: dict[str, list[str]] = {}
    wanted = distinct(packages)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        built = list(pool.map(builder.rpm, wanted))
    for package, path in zip(wanted, built, strict=True):
        shutil.copy(path, folder / path.name)
        if package.stream:
            epochless = path.name.removesuffix(".rpm")
            name, rest = package.name, epochless.removeprefix(package.name + "-")
            streams.setdefault(package.stream, []).append(f"{name}-3:{rest}")
    _quiet("createrepo_c", "-q", str(folder))
    if streams:
        (folder / "modules.yaml").write_text("".join(_module(stream, names) for stream, names in streams.items()))
        _quiet("modifyrepo_c", "--mdtype=modules", str(folder / "modules.yaml"), str(folder / "repodata"))


def publish(folder: Path, url: str, order: Order, packages: Iterable[Package], builder: Builder, public: str) -> None:
    """All repositories of an order below a mirror's folder, NVIDIA's with these packages, each with its key."""
    for one in order["repositories"]:
        repository(folder / one["url"].removeprefix(url), packages if "cuda" in one["name"] else (), builder)
    for one in order["keys"]:
        path = folder / one["url"].removeprefix(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(public)


def _module(stream: str, artefacts: list[str]) -> str:
    name, _, line = stream.partition(":")
    rows = "".join(f"      - {one}\n" for one in artefacts)
    return (
        f"---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: {line}\n  version: 20261121\n"
        "  context: test\n  arch: x86_64\n  summary: driver\n  description: driver\n  license:\n    module: [none]\n"
        f"  artifacts:\n    rpms:\n{rows}"
    )


class Root:
    """A folder that dnf and rpm take for a host's `/`."""

    def __init__(self, folder: Path, release: str = "9") -> None:
        self.path = folder
        for name in _FILES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        plugins = folder / "etc/dnf/plugins"
        (plugins / "versionlock.conf").write_text(f"[main]\nenabled=1\nlocklist={plugins}/versionlock.list\n")
        (folder / "etc/dnf/dnf.conf").write_text(CONF)
        (plugins / "versionlock.list").touch()
        settings = {
            "reposdir": folder / "etc/yum.repos.d", "cachedir": folder / "var/cache/dnf", "keepcache": 1,
            "pluginconfpath": plugins, "module_platform_id": f"platform:el{release}", "install_weak_deps": 0,
            "logdir": folder / "var", "persistdir": folder / "var/lib/dnf", "metadata_expire": 1,
        }  # fmt: skip
        self.extra = [f"--installroot={folder}", f"--config={folder}/etc/dnf/dnf.conf", f"--releasever={release}"]
        self.extra += ["--forcearch=x86_64", *(f"--setopt={key}={value}" for key, value in settings.items())]
        self.commands: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def do(self, *command: str) -> str:
        code, out, err = self.run(list(command))
        assert code == 0, f"{command}: {err}{out}"
        return out

    def dnf(self, *words: str) -> str:
        return self.do("dnf", *self.extra, "-y", "-q", *words)

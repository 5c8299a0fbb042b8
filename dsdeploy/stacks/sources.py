"""Where packages come from: repositories and their keys, from the makers' servers or from a site's mirror."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

from dsdeploy.stacks.shapes import Install, Key, Matrix, Repository

# CentOS 7's own sources name a host that is gone; EPEL's for 7 name a mirror network that dropped it.
GONE = {"centos7": ("CentOS-*.repo", "epel*.repo")}
# Where NVIDIA's keyring and local installers put theirs: twice the same repository is an error of apt.
NVIDIA = ("cuda*.list", "cuda*.sources", "cuda*.repo", "nvidia-driver-local-*.list", "nvidia-driver-local-*.repo")


def mirrored(url: str, mirror: str) -> str:
    """The same file below a mirror, which keeps host and path: `<mirror>/developer.download.nvidia.com/compute/…`.

    That is how `wget -x`, apt-mirror and reposync with --norepopath lay a copy out.
    """
    if not mirror:
        return url
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def repositories(matrix: Matrix, packages: Install, architecture: str, mirror: str = "") -> list[dict[str, Any]]:
    """Each repository with the name of its key; NVIDIA's are the ones a driver may come from."""
    found = [matrix.repositories[key] for key in packages.repositories]
    return [
        {
            "name": one.key,
            "title": f"{one.key} ({matrix.distributions[packages.distribution].name})",
            "url": mirrored(_url(one, architecture), mirror),
            "key": one.signed_by,
        }
        for one in found
    ]


def keys(matrix: Matrix, packages: Install, mirror: str = "") -> list[dict[str, str]]:
    """Each key once, with where its file lies and the one fingerprint it may hold."""
    found: dict[str, dict[str, str]] = {}
    for name in packages.repositories:
        repository = matrix.repositories[name]
        key = matrix.keys[repository.signed_by]
        found.setdefault(
            key.key,
            {
                "name": key.key,
                "url": mirrored(_key_url(repository, key), mirror),
                "fingerprint": key.fingerprint,
                "replaces": key.replaces,
            },
        )
    return list(found.values())


def displaced(matrix: Matrix, packages: Install) -> list[str]:
    """Files among the host's sources that are set aside: they name servers that are gone, or ours a second time."""
    return [*NVIDIA, *GONE.get(packages.distribution, ())]


def _url(repository: Repository, architecture: str) -> str:
    return repository.url.replace("{arch}", repository.architectures.get(architecture, architecture))


def _key_url(repository: Repository, key: Key) -> str:
    """Beside the packages, unless the matrix says otherwise; a key is the same for every architecture."""
    return repository.key_url or urljoin(_url(repository, next(iter(repository.architectures))), key.file)

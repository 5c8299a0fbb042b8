"""`dsdeploy stacks`: the version matrix, and one stack explained; asks no host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dsdeploy import output
from dsdeploy.errors import DsdeployError

if TYPE_CHECKING:
    from dsdeploy.stacks.shapes import Install, Matrix, Packages, Profile


def stacks(name: str | None, *, as_json: bool) -> int:
    """Exit code 0; raises for a name the matrix does not have."""
    from dsdeploy.stacks import matrix

    known = matrix()
    if name is not None and name not in known.profiles:
        raise DsdeployError(f"there is no stack {name!r}", "", f"one of {', '.join(known.profiles)}: dsdeploy stacks")
    if name is None:
        _list(known, as_json)
    elif as_json:
        output.emit_json(_described(known, known.profiles[name]))
    else:
        _explain(known, known.profiles[name])
    return 0


def _list(known: Matrix, as_json: bool) -> None:
    profiles = known.profiles.values()
    if as_json:
        output.emit_json({"reviewed": known.reviewed, "stacks": {p.name: _described(known, p) for p in profiles}})
        return
    rows = [
        (p.name, p.cuda or "-", p.floor or "-", str(p.compute) if p.cuda else "-", _where(known, p)) for p in profiles
    ]
    output.table(("STACK", "CUDA", "DRIVER", "GPU", "ON"), rows)
    output.say("one of them in full: dsdeploy stacks NAME")


def _where(known: Matrix, profile: Profile) -> str:
    offered = [key for key, packages in profile.installs.items() if not packages.none]
    return "all" if len(offered) == len(known.distributions) else ", ".join(offered)


def _described(known: Matrix, profile: Profile) -> dict[str, Any]:
    """All of it, with repositories and keys in place of their names."""
    from dsdeploy.stacks.verify import checks

    described = asdict(profile)
    for key, packages in profile.installs.items():
        repositories = [asdict(known.repositories[one]) for one in packages.repositories]
        for repository in repositories:
            repository["fingerprint"] = known.keys[repository["signed_by"]].fingerprint
        described["installs"][key]["repositories"] = repositories
        described["installs"][key]["verify"] = [asdict(check) for check in checks(known, profile, packages)]
    return described


def _explain(known: Matrix, profile: Profile) -> None:
    output.say(f"{profile.name}: {profile.title}")
    for line in _needs(profile):
        output.say(f"  {line}")
    for key, packages in profile.installs.items():
        output.say("")
        output.say(known.distributions[key].name)
        for line in _packages(known, profile, packages):
            output.say(f"  {line}")


def _needs(profile: Profile) -> list[str]:
    lines = []
    if profile.cuda:
        lines += [
            f"driver    {profile.floor} or newer (its CUDA: {profile.minimum}; made with {profile.own})",
            f"GPU       compute capability {profile.compute}",
            f"checked   {', '.join(f'{name} {version}' for name, version in profile.components.items())}",
        ]
    for runtime in profile.runtimes:
        glibc = f", glibc {runtime.glibc}" if runtime.glibc else ""
        lines.append(f"engine    {runtime.key}: Python {runtime.python}{glibc}")
    return lines + [f"note      {note}" for note in profile.notes]


def _packages(known: Matrix, profile: Profile, packages: Install) -> list[str]:
    """A line for each thing to install, then where from."""
    from dsdeploy.stacks.verify import checks

    if packages.none:
        return [f"not there: {packages.none}"]
    lines = []
    if packages.driver:
        for flavour, names in packages.driver.flavours.items():
            stream = packages.driver.stream.get(flavour)
            lines.append(f"driver    {flavour}: {_shown(names)}" + (f", stream {stream}" if stream else ""))
        lines.append(f"NVSwitch  {_shown(packages.driver.fabric)}")
    for title, names in (("CUDA", packages.toolkit), ("cuDNN", packages.cudnn), ("NCCL", packages.nccl)):
        lines += [f"{title:<9} {_shown(names)}"] if names else []
    for key in packages.repositories:
        repository = known.repositories[key]
        lines.append(f"from      {repository.url}")
        lines.append(f"          key {known.keys[repository.signed_by].fingerprint}")
    notes = (*packages.notes, packages.driver.note if packages.driver else "")
    lines += [f"verified  {check}" for check in checks(known, profile, packages)]
    return (lines or ["nothing to install"]) + [f"note      {note}" for note in notes if note]


def _shown(names: Packages) -> str:
    return ", ".join(name if version == "*" else f"{name} {version}" for name, version in names.items())

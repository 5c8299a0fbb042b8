"""Ansible module: write an immutable release, and put it in a colour.

state=present writes ``releases/<id>/`` beside and renames it; the same id with other content is refused.
state=current points ``<colour>`` to it and writes the colour's place (address, port) for the unit.
Both report what is in the colour now, so that the role stops the unit before anything under it moves.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release
short_description: Write an immutable release and put it in a colour
options:
  state: {description: present writes it; current also puts it in its colour., choices: [present, current]}
  release: {description: The release's id., type: str, required: true}
  colour: {description: Where it runs., type: str, choices: [blue, green], required: true}
  manifest: {description: model, version, weights_digest, build_key, runtime., type: dict, required: true}
  settings: {description: What the server reads (engine.json)., type: dict, required: true}
  unit: {description: Drop-in of the colour's unit; empty for none., type: str}
  place: {description: ADDRESS, PORT and DRAIN_S of the colour on this host., type: dict, required: true}
  root: {description: Where releases, builds, weights and runtimes are., type: path}
  stamps: {description: Where the stamps of verified weights are., type: path}
  places: {description: Where the colours' environment files are., type: path}
  units: {description: Where systemd's units are., type: path}
author: [dsdeploy]
"""

SPEC: Dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "current"], "default": "present"},
    "release": {"type": "str", "required": True},
    "colour": {"type": "str", "choices": ["blue", "green"], "required": True},
    "manifest": {"type": "dict", "required": True},
    "settings": {"type": "dict", "required": True},
    "place": {"type": "dict", "required": True},
    "unit": {"type": "str", "default": ""},
    "root": {"type": "path", "default": "/srv/dsdeploy"},
    "stamps": {"type": "path", "default": "/var/lib/dsdeploy/weights"},
    "places": {"type": "path", "default": "/etc/dsdeploy/colours"},
    "units": {"type": "path", "default": "/etc/systemd/system"},
}


class Refused(Exception):
    """Carrying on would start something that is not what was asked for."""


class Release:
    """One release on this host: where its parts are, what its files say."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.root, self.id, self.colour = Path(params["root"]), params["release"], params["colour"]
        self.home, self.link = self.root / "releases" / self.id, self.root / self.colour
        self.settings = params["settings"]
        canonical = json.dumps(self.settings, sort_keys=True, separators=(",", ":"))
        self.manifest = {
            **params["manifest"],
            "release": self.id,
            "runtime_version": self.settings["runtime_version"],
            "settings_digest": "sha256:" + hashlib.sha256(canonical.encode()).hexdigest(),
        }
        model, version = self.manifest["model"], self.manifest["version"]
        self.stamp = Path(params["stamps"]) / model / f"{version}.json"
        runtime = f"{self.manifest['runtime']}-{self.manifest['runtime_version']}"
        self.links = {
            "weights": self.root / "weights" / model / version,
            "build": self.root / "builds" / self.manifest["build_key"],
            "runtime": self.root / "runtimes" / runtime,
        }
        self.place_file = Path(params["places"]) / f"{self.colour}.env"
        self.unit = params.get("unit") or ""
        units = Path(params.get("units") or "/etc/systemd/system")
        self.unit_file = units / f"dsdeploy-engine@{self.colour}.service.d" / "runtime.conf"
        self.place = "".join(f"{name}={params['place'][name]}\n" for name in sorted(params["place"]))

    def missing(self) -> List[str]:
        """What this release is made of and is not (or no longer) right on this host."""
        found = []
        if read_json(self.stamp).get("digest") != self.manifest["weights_digest"]:
            found.append(f"{self.stamp} does not vouch for weights {self.manifest['weights_digest']}")
        if read_json(self.links["build"] / "build.json").get("key") != self.manifest["build_key"]:
            found.append(f"no build {self.manifest['build_key']} in {self.links['build']}")
        if not (self.links["runtime"] / ".complete").is_file():
            found.append(f"no complete runtime in {self.links['runtime']}")
        return found

    def written(self) -> bool:
        """True when it is there with this content. Raises Refused when the id has other content."""
        if not self.home.is_dir():
            return False
        found = {name: value for name, value in read_json(self.home / "manifest.json").items() if name != "created"}
        if found != self.manifest or read_json(self.home / "engine.json") != self.settings:
            raise Refused(f"{self.home} exists with other content; a release is never changed")
        return True

    def write(self) -> None:
        """The whole folder beside, then one rename."""
        partial = self.home.with_name(self.id + ".partial")
        shutil.rmtree(str(partial), ignore_errors=True)
        partial.mkdir(parents=True)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        for name, content in (("manifest.json", {**self.manifest, "created": now}), ("engine.json", self.settings)):
            put(partial / name, json.dumps(content, indent=2, sort_keys=True) + "\n")
        for name, target in self.links.items():
            (partial / name).symlink_to(target)
        sync(partial)
        os.replace(str(partial), str(self.home))
        sync(self.home.parent)

    def current(self) -> str:
        """The id of the release in the colour, empty when there is none."""
        return Path(os.readlink(str(self.link))).name if self.link.is_symlink() else ""

    def placed(self) -> bool:
        dropin = self.unit_file.read_text() if self.unit_file.is_file() else ""
        return self.place_file.is_file() and self.place_file.read_text() == self.place and dropin == self.unit

    def put_in_colour(self) -> None:
        self.place_file.parent.mkdir(parents=True, exist_ok=True)
        put(self.place_file, self.place)
        if self.unit:
            self.unit_file.parent.mkdir(parents=True, exist_ok=True)
            put(self.unit_file, self.unit)
        elif self.unit_file.is_file():
            self.unit_file.unlink()
        beside = self.link.with_name(self.colour + ".partial")
        if beside.is_symlink():
            beside.unlink()
        beside.symlink_to(Path("releases") / self.id)
        os.replace(str(beside), str(self.link))
        sync(self.root)

    def moves(self) -> bool:
        """Would a running unit be at another address than the one wanted? A line that is lost says nothing: a unit
        that runs was started while it was there, and one that is started over and over needs it back."""
        old = dict(line.split("=", 1) for line in lines(self.place_file))
        new = dict(line.split("=", 1) for line in self.place.splitlines())
        return any(old.get(name, new[name]) != new[name] for name in ("ADDRESS", "PORT"))


def lines(path: Path) -> List[str]:
    return [line for line in path.read_text().splitlines() if "=" in line] if path.is_file() else []


def read_json(path: Path) -> Dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def put(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(str(partial), 0o644)
    os.replace(str(partial), str(path))


def sync(folder: Path) -> None:
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unit_state(colour: str) -> Tuple[str, bool]:
    """systemd's word (active, activating, inactive, failed; absent when there is no such unit), and whether
    the unit's file is newer than what systemd has read."""
    names = "LoadState,ActiveState,NeedDaemonReload"
    argv = ["systemctl", "show", f"dsdeploy-engine@{colour}.service", "--property", names]
    out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout
    state = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    word = state.get("ActiveState", "absent") if state.get("LoadState") == "loaded" else "absent"
    return word, state.get("NeedDaemonReload") == "yes"


def apply(release: Release, state: str, unit: str, check_mode: bool) -> bool:
    """Make it so; True when something changed. Raises Refused."""
    missing = [] if check_mode else release.missing()
    if missing:
        raise Refused("; ".join(missing))
    running = unit in ("active", "activating", "deactivating", "reloading")
    if running and release.current() == release.id and release.moves():
        raise Refused(f"{release.colour} is running this release; its address or port changes only while it is stopped")
    write, place = not release.written(), False
    if state == "current":
        place = release.current() != release.id or not release.placed()
        if running and release.current() != release.id and not check_mode:
            raise Refused(f"{release.colour} still runs release {release.current()}")
    if not check_mode:
        os.umask(0o022)
        if write:
            release.write()
        if place:
            release.put_in_colour()
    return write or place


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    release = Release(module.params)
    unit, reload = unit_state(release.colour)
    before, settled = release.current(), release.current() == release.id and release.placed()
    try:
        changed = apply(release, module.params["state"], unit, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    if changed and not module.check_mode:
        reload = unit_state(release.colour)[1]
    module.exit_json(
        changed=changed, current=before, moves=before != release.id, settled=settled, unit=unit, reload=reload
    )


if __name__ == "__main__":
    main()

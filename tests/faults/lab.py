"""The suite's own lab: its site file, which cases rewrite; the command line on it; what a killed run leaves here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dsdeploy.lab import access
from dsdeploy.site import Site, load

ROOT = Path(__file__).resolve().parents[2]
NETWORK = 10  # 10.90.11.0/24 is the first lab's
NAME = "faults"
CASE = "DSDEPLOY_CASE"  # marks every process of a case
HEAPS = ("96MiB", "97MiB")
LIMIT_S = 900.0
POLL_S = 0.2


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Broken(Exception):
    """The lab itself is not as it must be: no row can come of this."""


@dataclass(frozen=True)
class Ended:
    """One `dsdeploy …`: -9 is a death by SIGKILL. `text` is all it printed."""

    code: int
    pid: int
    seconds: float
    text: str

    @property
    def said(self) -> str:
        """Its last words, for a row."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("error", "bug"))]
        return " / ".join((errors or lines)[-4:])[:600]


@dataclass(frozen=True)
class Lab:
    file: Path

    @property
    def site(self) -> Site:
        return load(self.file)

    @property
    def hook(self) -> Path:
        return self.file.parent / "hooks" / "post-switch"

    def write(self, version: str, strategy: str = "auto", heap: str = HEAPS[0], canary: int = 1) -> None:
        """The site file for this; nothing on hosts."""
        content = yaml.safe_load(self.file.read_text())
        model = content["model"]
        model["source"] = model["source"].replace(f"/{model['version']}/", f"/{version}/")
        model["version"] = version
        content["rollout"] |= {"strategy": strategy, "canary": canary}
        content["zookeeper"]["heap"] = heap
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def heap(self) -> str:
        """As the site file has it."""
        return str(yaml.safe_load(self.file.read_text())["zookeeper"]["heap"])

    def quicken(self) -> None:
        """A soak is waiting and nothing else: no point is in it.

        And this computer may itself be stopped for a second: the time to notice a death is bench-failover's matter.
        """
        content = yaml.safe_load(self.file.read_text())
        content["rollout"]["soak"] = "0s"
        content["router"]["failover"] = "10s"
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))

    def refuse_switches(self, refuse: bool) -> None:
        """With it, an upgrade is sent back by its own hook, after the first batch has been switched."""
        self.hook.parent.mkdir(exist_ok=True)
        if refuse:
            self.hook.write_text("#!/bin/sh\necho 'the crash points of the way back are wanted'\nexit 1\n")
            self.hook.chmod(0o755)
        else:
            self.hook.unlink(missing_ok=True)

    def run(self, *words: str, mark: str = "", crash: str = "") -> Ended:
        """`dsdeploy …` to its end, whatever that is."""
        environment = {key: value for key, value in os.environ.items() if key != "DSDEPLOY_CRASH"} | {CASE: mark}
        if crash:
            environment["DSDEPLOY_CRASH"] = crash
        log = self.file.parent / "last.log"
        began = time.monotonic()
        with log.open("wb") as out:
            argv = [sys.executable, "-m", "dsdeploy", *words]
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=ROOT
            )
            try:
                code = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = 124
            except BaseException:  # the suite itself is ended: nothing of it goes on
                process.kill()
                raise
        ended = Ended(code, process.pid, time.monotonic() - began, log.read_text(errors="replace"))
        with (self.file.parent / "commands.log").open("a") as kept:
            shown = f"DSDEPLOY_CRASH={crash} " if crash else ""
            kept.write(f"$ {shown}dsdeploy {' '.join(words)}\n{ended.text}\nexit {code}, {ended.seconds:.1f} s\n\n")
        return ended

    def must(self, *words: str) -> Ended:
        ended = self.run(*words)
        if ended.code:
            raise Broken(f"dsdeploy {' '.join(words)}: exit {ended.code}\n{ended.text[-3000:]}")
        return ended

    def status(self) -> dict[str, Any]:
        """`status --json`; {} when it printed none."""
        text = self.run("status", str(self.file), "--json").text
        try:
            return dict(json.JSONDecoder().raw_decode(text, text.index("{"))[0])
        except ValueError:
            return {}

    def ssh(self, host: str, command: str) -> str:
        """A shell line on a machine; its stdout."""
        argv = access.ssh_argv(self.site, host, [command])
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
        if done.returncode:
            raise Broken(f"{host}$ {command}: exit {done.returncode}\n{done.stderr}")
        return done.stdout


def processes(mark: str, pid: int) -> list[str]:
    """What lives on this computer of a command: by the mark it inherited, or by its folder of SSH sockets."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or folder.name == str(os.getpid()):
            continue
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            marked = f"{CASE}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words and (marked or f"/dsd-{pid}-" in words):
            found.append(words)
    return found


def connection(words: str) -> bool:
    """An SSH master that waits for use: the next command tells it to leave."""
    return words.startswith("ssh: ") and "[mux]" in words


def until(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextmanager
def machines(folder: Path, keep: bool, number: int = 1) -> Iterator[Lab]:
    """The suite's own lab, bare or as an earlier run left it; with `keep` it stays. Several stand side by side."""
    lab = Lab(folder / "site.yml")
    if not lab.file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "inventory" / "lab" / "site.yml").read_text()
        for old, new in (("site: lab", f"site: {NAME}{number}"), ("10.90.0.", f"10.90.{NETWORK + number}.")):
            assert old in text, old
            text = text.replace(old, new)
        lab.file.write_text(text)
    try:
        say("lab up")
        lab.must("lab", "up", "--site", str(lab.file))
        yield lab
    finally:
        if not keep:
            say("lab down")
            lab.must("lab", "down", "--site", str(lab.file))

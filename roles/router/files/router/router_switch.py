"""Which engine answers: moved by the runtime socket, kept on disk, proven before and after."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import router_config as config
import router_runtime as runtime
from router_config import BACKEND, Config, Paths, Refused

GATE = 5
POLL_S = 0.02
RELOAD_S = 20.0


def move(paths: Paths, active: frozenset[str], wait_s: float) -> list[str]:
    """Brings exactly `active` into rotation in the running process; says what moved, [] if nothing had to.

    A server gets its first request only after a health check of this router has passed. If one does not pass
    in `wait_s` seconds, all is as before and Refused carries exit code 5. What leaves rotation drains: open
    requests end on their own.
    """
    now = runtime.servers(paths.socket)
    opening = [now[name] for name in sorted(active) if now[name].state != "ready"]
    closing = [name for name, server in now.items() if name not in active and server.state == "ready"]
    if not opening and not closing:
        return []
    serving = [name for name, server in now.items() if server.state == "ready" and server.up]
    staying = [name for name in serving if name in active]
    if serving and not staying and not opening:
        raise Refused("this would leave no healthy engine in rotation", GATE)
    if opening and serving:
        _prove(paths, opening, wait_s)
    opened = [f"set server {BACKEND}/{server.name} state ready" for server in opening]
    closed = [f"set server {BACKEND}/{name} state drain" for name in closing]
    runtime.order(paths.socket, [*opened, *closed])
    after = runtime.servers(paths.socket)
    if wrong := [name for name, server in after.items() if (server.state == "ready") != (name in active)]:
        raise Refused(f"HAProxy did not take the switch of {', '.join(wrong)}")
    return [f"{server.name} is in rotation" for server in opening] + [f"{name} drains" for name in closing]


def _prove(paths: Paths, opening: list[runtime.Server], wait_s: float) -> None:
    """Lets checks reach the servers without giving them requests, until each has passed one."""
    fresh = [f"{BACKEND}/{server.name}" for server in opening if server.state == "maint"]
    if fresh:
        runtime.order(paths.socket, [f"set server {name} state drain" for name in fresh])
    deadline = time.monotonic() + wait_s
    while True:
        now = runtime.servers(paths.socket)
        missing = [now[server.name] for server in opening if not now[server.name].proven]
        if not missing:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    if fresh:
        runtime.order(paths.socket, [f"set server {name} state maint" for name in fresh])
    seen = ", ".join(f"{one.name} at {one.address}:{one.port} ({one.check or 'no check yet'})" for one in missing)
    raise Refused(f"no passed health check within {wait_s:g} s: {seen}; nothing was switched", GATE)


def switch(paths: Paths, wishes: dict[str, str], releases: dict[str, str], wait_s: float) -> list[str]:
    """Hosts to colours (`none` takes a host out), in the process and then on disk. The new files are written
    and checked first, so that a full disk or a refused file stops the switch before it."""
    old = config.load(paths.config)
    if runtime.structure(paths.socket) != old.structure:
        raise Refused("the running configuration is not the one on disk; run `converge` first")
    new = config.with_active(old, config.choose(old, wishes))
    if unknown := sorted(set(releases) - set(new.servers)):
        raise Refused(f"no server is called {', '.join(unknown)}", 2)
    named = {**config.read_releases(paths.releases), **releases}
    if nameless := sorted(new.active - set(named)):
        raise Refused(f"no release is known for {', '.join(nameless)}; give --release {nameless[0]}=ID", 2)
    text = config.releases_text(paths.releases.read_text(), named, list(new.servers))
    staged, staged_map = config.stage(paths.config, new.text), config.stage(paths.releases, text)
    try:
        config.validate(staged)
        did = runtime.set_releases(paths.socket, paths.releases, named)
        did += move(paths, new.active, wait_s)
        config.commit(staged_map, paths.releases)
        config.commit(staged, paths.config)
    except Refused:
        runtime.set_releases(paths.socket, paths.releases, config.read_releases(paths.releases))
        raise
    finally:
        staged.unlink(missing_ok=True)
        staged_map.unlink(missing_ok=True)
    save(paths, new)
    return did


def converge(paths: Paths, wait_s: float) -> list[str]:
    """Makes the process equal to the files: colours and releases by the socket, anything else by a reload,
    proven afterwards. Where it cannot, the files go back to what runs."""
    did: list[str] = []
    reloading = False
    try:
        wanted = config.load(paths.config)
        running = runtime.structure(paths.socket)
        if running:
            did += _sync(paths, wanted, wait_s)
        if running != wanted.structure:
            config.validate(paths.config)
            reloading = True
            _reload(paths, wanted)
            did.append("reloaded")
    except Refused as refusal:
        raise _restored(paths, refusal, reloading) from refusal
    save(paths, wanted)
    return did


def _sync(paths: Paths, wanted: Config, wait_s: float) -> list[str]:
    did = runtime.set_releases(paths.socket, paths.releases, config.read_releases(paths.releases))
    known = runtime.servers(paths.socket)
    staying = wanted.active & set(known)
    # A server that the new files no longer have goes on until the reload takes it away.
    leaving = {name for name, one in known.items() if name not in wanted.servers and one.state == "ready"}
    return did + (move(paths, staying | leaving, wait_s) if staying else [])


def _reload(paths: Paths, wanted: Config) -> None:
    write_state(paths, wanted)
    done = _run("systemctl", "reload-or-restart", "haproxy.service")
    deadline = time.monotonic() + RELOAD_S
    while done.returncode == 0 and time.monotonic() < deadline:
        if runtime.structure(paths.socket) == wanted.structure:
            return
        time.sleep(POLL_S)
    raise Refused("HAProxy did not take the new configuration: " + (done.stderr.strip() or _last_alerts()))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _last_alerts() -> str:
    journal = _run("journalctl", "-u", "haproxy", "-n", "30", "-o", "cat")
    alerts = [line for line in journal.stdout.splitlines() if "[ALERT]" in line or "cannot" in line.lower()]
    return " | ".join(alerts[-3:]) or "see journalctl -u haproxy"


def _restored(paths: Paths, refusal: Refused, reloading: bool) -> Refused:
    """Puts back the files last seen running, and ends the wait that a failed reload leaves the master in."""
    if not paths.good_config.exists() or not runtime.structure(paths.socket):
        return refusal
    config.write(paths.releases, paths.good_releases.read_text())
    config.write(paths.config, paths.good_config.read_text())
    runtime.set_releases(paths.socket, paths.releases, config.read_releases(paths.releases))
    if reloading:
        _run("systemctl", "reload", "haproxy.service")
    return Refused(f"{refusal}; the configuration that runs was put back on disk", refusal.code)


def save(paths: Paths, current: Config) -> None:
    """Keeps the files as known to run, and each server's health for the next start."""
    config.write(paths.good_config, current.text)
    config.write(paths.good_releases, paths.releases.read_text())
    write_state(paths, current)
    for stale in paths.state.glob("state.*"):
        if stale != _state_file(paths, current):
            stale.unlink()


def write_state(paths: Paths, current: Config) -> None:
    """HAProxy's server state, of servers in rotation alone and only as configured: which colour is active is
    said by haproxy.cfg and nothing else, so an old state never brings back an old colour, address or port."""
    try:
        found = runtime.servers(paths.socket)
    except Refused:
        found = {}
    lines = ["1", _STATE_HEADER]
    for name in sorted(current.active & set(found)):
        server = found[name]
        endpoint = current.servers[name].endpoint.replace("[", "").replace("]", "")
        if endpoint == f"{server.address}:{server.port}":
            field = server.line.split()
            lines.append(" ".join([*field[:6], "0", *field[7:]]))
    config.write(_state_file(paths, current), "\n".join(lines) + "\n")


def _state_file(paths: Paths, current: Config) -> Path:
    return paths.state / f"state.{current.structure[:12]}"


_STATE_HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
    "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port "
    "srv_check_addr srv_agent_addr srv_agent_port"
)

"""What the role monitor gets from a site file: what should be there, where it is asked, when it is told. Pure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsdeploy import quorum, xids
from dsdeploy.runtimes.groups import heads
from dsdeploy.site.places import ip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsdeploy.site import Site
    from dsdeploy.site.watching import Monitor, Thresholds

Vars = dict[str, Any]
COLOURS = ("blue", "green")
SCRAPE_SECONDS = 10.0  # Prometheus gives a reading no longer by itself
REPORT_SECONDS = 60  # a GPU report that has to be given up, and the questions beside it


def password_file(site: Site) -> Path:
    """Where the password is on this computer: the operator's file, or ours in the site's work folder."""
    given = site.monitor.password_file if site.monitor else None
    return given or site.file.parent / ".dsdeploy" / site.site / "monitor.password"


def every(site: Site) -> Vars:
    """What the exporter of any host gets; nothing for a site that does not monitor."""
    if site.monitor is None:
        return {}
    return {
        "monitor_site": site.site,
        "monitor_exporter_port": site.monitor.exporter_port,
        "monitor_interval": span(site.monitor.scrape_interval),
        "monitor_password_file": str(password_file(site)),
        "monitor_kernel": {
            "transparent_hugepages": site.host.transparent_hugepages,
            "hugepages_2mb": site.host.hugepages_2mb,
        },
    }


def of_host(site: Site, name: str) -> Vars:
    """What differs from host to host: its name and address, and what of the site runs there."""
    if site.monitor is None:
        return {}
    host = site.hosts[name]
    member = f"{host.address}:{site.zookeeper.client_port}"  # an IPv6 address has colons too: the last one counts
    return {
        "monitor_host": name,
        "monitor_address": host.address,
        "monitor_readers": _let_in(site, host.address),
        "monitor_engine": "engine" in host.roles,
        "monitor_dcgm_port": (site.monitor.dcgm_port or 0) if "engine" in host.roles else 0,
        "monitor_zookeeper": member if "zookeeper" in host.roles else "",
        "monitor_router_vip": (site.router.vip or "") if "router" in host.roles else "",
    }


def server(site: Site) -> Vars:
    """What a host that collects gets."""
    if site.monitor is None:
        return {}
    wanted = site.monitor
    voters = len(site.members)
    return {
        "monitor_prometheus_port": wanted.prometheus_port,
        "monitor_alertmanager_port": wanted.alertmanager_port,
        "monitor_listen": wanted.listen,
        "monitor_retention_days": wanted.retention_days,
        "monitor_webhook": wanted.webhook or "",
        "monitor_grafana": wanted.grafana,
        "monitor_backups": site.backup is not None,
        "monitor_gpus": site.stack != "cpu",
        "monitor_gpus_expected": _gpus(site),
        "monitor_rails": _rails(site),
        "monitor_health_stale_s": _health_stale(site),
        "monitor_xids": xids.codes(),
        "monitor_vip": site.router.vip or "",
        "monitor_quorum": {"voters": voters, "majority": quorum.majority(voters)},
        "monitor_timeout": span(min(wanted.scrape_interval, SCRAPE_SECONDS)),
        "monitor_rate": span(4 * wanted.scrape_interval),
        "monitor_stale_s": math.ceil(5 * wanted.scrape_interval),
        "monitor_expected": _expected(site),
        "monitor_targets": _targets(site, wanted),
        "monitor_thresholds": _thresholds(wanted.thresholds, site),
    }


def router(site: Site) -> Vars:
    """What routers get beside their own: from where, and at which port, their metrics may be read."""
    if site.monitor is None:
        return {}
    return {"router_metrics_port": site.monitor.router_port, "router_metrics_readers": readers(site)}


def readers(site: Site) -> list[str]:
    """Addresses from which metrics may be read: the hosts that collect."""
    return [site.hosts[name].address for name in site.with_role("monitor")] if site.monitor else []


def _let_in(site: Site, own: str) -> list[str]:
    """What systemd's filter of a host lets in. It knows no names: with one of them it would shut the readers out."""
    wanted = readers(site)
    return wanted if all(ip(address) for address in (own, *wanted)) else []


def span(seconds: float) -> str:
    """A duration as Prometheus writes it: 60s, 500ms."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{math.ceil(seconds * 1000)}ms"


def _expected(site: Site) -> list[Vars]:
    return [
        {"host": name, "role": role}
        for name, host in site.hosts.items()
        for role in ("host", *(role for role in host.roles if role != "monitor"), *_watched(site, host.roles))
    ]


def _watched(site: Site, roles: Sequence[str]) -> tuple[str, ...]:
    return ("health",) if "engine" in roles and _health_stale(site) else ()


def _health_stale(site: Site) -> int:
    """Seconds after which the health timer's figures are old; 0 when no timer looks."""
    if site.health is None or not site.health.enabled:
        return 0
    return math.ceil(5 * site.health.interval + site.health.deadline + REPORT_SECONDS)


def _gpus(site: Site) -> int:
    """GPUs each engine host has at least, as far as the site file says; 0 when it does not."""
    named = 0 if isinstance(site.engine.devices, str) else len(site.engine.devices)
    return (site.health.gpus if site.health else None) or named


def _rails(site: Site) -> Vars:
    """RDMA ports each engine host has at least, and which count; nothing for a site without a fabric."""
    if site.fabric is None:
        return {}
    devices, exclude = list(site.fabric.devices), list(site.fabric.exclude)
    return {"ports": site.fabric.ports or 1, "devices": devices, "exclude": exclude}


def _targets(site: Site, wanted: Monitor) -> list[Vars]:
    """One a scrape: job, host, address, port, and the colour of an engine."""
    found, answering = [], heads(site)
    for name, host in site.hosts.items():
        places: list[tuple[str, int, str]] = [("node", wanted.exporter_port, "")]
        if name in answering:
            places += [("engine", getattr(site.engine.ports, colour), colour) for colour in COLOURS]
        if "engine" in host.roles:
            places += [("dcgm", wanted.dcgm_port, "")] if wanted.dcgm_port else []
        if "router" in host.roles:
            places.append(("router", wanted.router_port, ""))
        for job, port, colour in places:
            found.append({"job": job, "host": name, "address": host.address, "port": port, "colour": colour})
    return found


def _thresholds(limits: Thresholds, site: Site) -> Vars:
    return {
        "down": span(limits.down),
        "hung": span(limits.hung),
        "latency": limits.latency,
        "latency_for": span(limits.latency_for),
        "queue": limits.queue,
        "cache": limits.cache,
        "gpu_idle": limits.gpu_idle,
        "gpu_idle_for": span(limits.gpu_idle_for),
        "idle_guard": span(3 * limits.gpu_idle_for),  # who wanted more hosts just now is not offered fewer
        "engines_floor": limits.engines_floor,
        "availability": limits.availability,
        "burn_fast": span(limits.burn_fast),
        "burn_fast_short": span(limits.burn_fast / 12),
        "burn_slow": span(limits.burn_slow),
        "burn_slow_short": span(limits.burn_slow / 12),
        "recent": span(limits.recent),
        "disk": limits.disk,
        "disk_critical": limits.disk_critical,
        "certificate_s": math.ceil(limits.certificate),
        "backup_s": math.ceil(limits.backup),
        "backup_full_s": math.ceil(limits.backup * (site.backup.full_every if site.backup else 0)),
        "backup_offsite_s": math.ceil(2 * limits.backup * (site.backup.full_every if site.backup else 0)),
        "rehearsed_s": math.ceil(limits.rehearsed),
        "verified_s": math.ceil(limits.verified),
        "stuck_s": math.ceil(limits.stuck),
    }

"""The section `monitor` of a site file: what is measured, who is told, and from when on.

Without the section nothing is installed, opened or asked.
"""

from __future__ import annotations

from pydantic import Field

from dsdeploy.site.section import Section
from dsdeploy.site.values import Age, Duration, Flag, Fraction, LocalPath, OpenPort, Url, Whole


class Thresholds(Section):
    """When an alert fires. Each time is how long something has to last."""

    down: Duration = Field(60.0, gt=0, description="Until an engine, a router or an exporter that is gone is told.")
    hung: Duration = Field(120.0, gt=0, description="Until an engine with open requests and no progress is told.")
    latency: Duration = Field(0.2, gt=0, description="Time between two tokens, 99th percentile: more asks for hosts.")
    latency_for: Duration = Field(300.0, gt=0, description="How long the latency or the queue is over its limit.")
    queue: Whole = Field(8, ge=1, description="Requests that wait on one engine: more asks for hosts.")
    cache: Fraction = Field(0.9, gt=0, le=1, description="Share of the KV cache in use: more asks for hosts.")
    gpu_idle: Fraction = Field(0.3, gt=0, lt=1, description="GPU utilisation below which a host is idle.")
    gpu_idle_for: Duration = Field(600.0, gt=0, description="How long it is idle before scaling in is advised.")
    engines_floor: Whole = Field(1, ge=1, description="Engines that stay however idle they are.")
    availability: Fraction = Field(0.999, gt=0, lt=1, description="Share of requests to be answered without a 5xx.")
    burn_fast: Age = Field(3600.0, gt=0, description="Longer window of the fast burn; the shorter is a twelfth.")
    burn_slow: Age = Field(21600.0, gt=0, description="Longer window of the slow burn; the shorter is a twelfth.")
    recent: Age = Field(600.0, gt=0, description="How long a fail-over, an XID or a memory error stays told.")
    disk: Fraction = Field(0.1, gt=0, lt=1, description="Free share of a file system below which it is told.")
    disk_critical: Fraction = Field(0.03, gt=0, lt=1, description="Free share below which it is urgent.")
    certificate: Age = Field(21 * 86400.0, gt=0, description="Validity left below which a certificate is told.")
    backup: Age = Field(26 * 3600.0, gt=0, description="Age of the last good backup above which it is told.")
    rehearsed: Age = Field(40 * 86400.0, gt=0, description="Age of the last rehearsed restore above which it is told.")
    verified: Age = Field(8 * 86400.0, gt=0, description="Age of the last look at the weights that is told.")
    stuck: Age = Field(7200.0, gt=0, description="How long a run that moves releases may be unfinished.")


class Monitor(Section):
    """Prometheus and Alertmanager on hosts with the role monitor, an exporter on every host."""

    scrape_interval: Duration = Field(15.0, ge=1, le=300, description="How often everything is read.")
    retention_days: Whole = Field(15, ge=1, le=3650, description="How long measurements are kept.")
    listen: Flag = Field(
        False, description="Prometheus and Alertmanager on the host's own address; false: on loopback."
    )
    prometheus_port: OpenPort = Field(9090, description="Port of Prometheus.")
    alertmanager_port: OpenPort = Field(9093, description="Port of Alertmanager.")
    exporter_port: OpenPort = Field(9100, description="Port of node_exporter on every host.")
    router_port: OpenPort = Field(8405, description="Port of HAProxy's exporter on routers.")
    dcgm_port: OpenPort | None = Field(None, description="Port of dcgm-exporter on engine hosts; default: none there.")
    password_file: LocalPath | None = Field(
        None, description="File with the password of user dsdeploy; else one is made in .dsdeploy/<site>/."
    )
    webhook: Url | None = Field(None, description="Where alerts are sent, as Alertmanager's webhook.")
    grafana: Flag = Field(False, description="The package grafana is installed and gets our dashboards.")
    thresholds: Thresholds = Field(Thresholds(), description="When an alert fires.")

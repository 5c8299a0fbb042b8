"""Records: every runtime fills them, two sources of one figure count once, and what is missing stays told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import monitored
import pytest
import yaml

from dsdeploy.site import Site
from dsdeploy.site.serving import Engine

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (package prometheus)")

WORK = ("dsdeploy:requests_running", "dsdeploy:requests_waiting", "dsdeploy:tokens:rate", "dsdeploy:progress:rate")
SPEAKS = {  # runtime -> the file in scrapes/ with what its engine says
    "llamacpp": ["llamacpp.prom"], "vllm": ["vllm.names"], "sglang": ["sglang.names"], "triton": ["triton.names"],
}  # fmt: skip


Wanted = dict[str, list[dict[str, Any]]]


def judged(folder: Path, given: Site, series: dict[str, str], wanted: Wanted, at: str, step: str = "1m") -> str:
    """What promtool finds other than `wanted`, which is expression -> samples, at this time; "" for nothing."""
    rules = monitored.rules(given)
    (folder / "rules.yml").write_text(rules)
    groups = [group["name"] for group in yaml.safe_load(rules)["groups"]]  # else promtool takes them in any order
    test = {
        "interval": step,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": e, "eval_time": at, "exp_samples": found} for e, found in wanted.items()],
    }
    settings = {"rule_files": ["rules.yml"], "evaluation_interval": step, "group_eval_order": groups}
    document = {**settings, "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    argv = ["promtool", "test", "rules", str(folder / "test.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_runtime_is_known_here() -> None:
    assert set(SPEAKS) == set(get_args(Engine.model_fields["runtime"].annotation))


@pytest.mark.parametrize("runtime", [*SPEAKS, "an old triton"])
def test_an_engine_of_every_runtime_fills_the_records_that_alerts_read(runtime: str, tmp_path: Path) -> None:
    """Only with names that this runtime's file has; an engine that hangs with open requests is found by them."""
    files = SPEAKS[runtime.removeprefix("an old ")]
    names = {name for name, file in monitored.captured().items() if file in files}
    if runtime not in SPEAKS:
        names.remove("nv_inference_pending_request_count")
    series = {f'{name}{{host="gpu1"}}': "2x30" for name in sorted(names) if not name.endswith("_bucket")}
    series['up{job="engine",host="gpu1"}'] = "1x30"
    wanted = {f"count({record})": [{"labels": "{}", "value": 1}] for record in WORK}
    alert = '{alertname="EngineHung",alertstate="firing",host="gpu1"}'
    wanted[f"sum by (alertname, alertstate, host) (ALERTS{alert})"] = [{"labels": alert, "value": 1}]
    wanted['ALERTS{alertname="EngineNoData"}'] = []
    assert judged(tmp_path, monitored.site(), series, wanted, "20m") == ""


def test_gpus_that_two_sources_tell_of_count_once_and_one_source_may_go(tmp_path: Path) -> None:
    series = {}
    for gpu in ("0", "1"):
        labels = f'{{host="gpu1",gpu="{gpu}",UUID="GPU-{gpu}",modelName="NVIDIA H200"}}'
        # dcgm-exporter is stopped after half an hour
        for name, value in (("GPU_UTIL", 80), ("FB_USED", 100), ("FB_FREE", 300)):
            series[f"DCGM_FI_DEV_{name}{labels}"] = f"{value}x30 stale"
        own = f'{{host="gpu1",gpu="{gpu}"}}'
        series |= {
            f'dsdeploy_gpu_utilisation_ratio{{host="gpu1",gpu="{gpu}",of="compute"}}': "0.8x90",
            f"dsdeploy_gpu_memory_used_bytes{own}": "100x90",
            f"dsdeploy_gpu_memory_size_bytes{own}": "400x90",
        }
    given = monitored.site(site=monitored.ALL, dcgm_port=9400)
    count = [{"labels": 'dsdeploy:gpu:count{host="gpu1"}', "value": 2}]
    used = [{"labels": f'dsdeploy:gpu_memory_used:ratio{{host="gpu1",gpu="{gpu}"}}', "value": 0.25} for gpu in "01"]
    alerts = 'ALERTS{alertname=~"GpuMissing|GpuNoData",host="gpu1"}'
    wanted = {"dsdeploy:gpu:count": count, "dsdeploy:gpu_memory_used:ratio": used, alerts: []}
    assert judged(tmp_path, given, series, wanted, "20m") == ""
    assert judged(tmp_path, given, series, wanted, "60m") == ""


GONE = {
    "GpuMissing": {
        'dsdeploy_gpus{host="gpu2",state="answering"}': "2x5 1x300",
        'dsdeploy_gpus{host="gpu2",state="expected"}': "2x305",
    },
    "InfinibandMissing": {
        'node_infiniband_state_id{host="gpu2",device="mlx5_0",port="1"}': "4x5 1x300",
        'node_infiniband_state_id{host="gpu2",device="mlx5_1",port="1"}': "4x305",
    },
}


@pytest.mark.parametrize("alert", GONE)
def test_what_is_gone_for_thirty_hours_is_still_told(alert: str, tmp_path: Path) -> None:
    labels = f'{{alertname="{alert}",alertstate="firing",host="gpu2"}}'
    wanted = {f"sum by (alertname, alertstate, host) (ALERTS{labels})": [{"labels": labels, "value": 1}]}
    assert judged(tmp_path, monitored.site(site=monitored.ALL), GONE[alert], wanted, "30h", "10m") == ""


GOES, STOPS = "0+60x90", "0+60x10 600x79"
STALE = {  # fault -> when the health timer looked, and when the GPU report was made
    "the driver hangs": {"dsdeploy_health_timestamp_seconds": GOES, "dsdeploy_gpu_report_timestamp_seconds": STOPS},
    "the timer is dead": {"dsdeploy_health_timestamp_seconds": STOPS, "dsdeploy_gpu_report_timestamp_seconds": GOES},
    "the timer never ran": {},
}


@pytest.mark.parametrize("fault", STALE)
def test_figures_of_the_health_timer_that_are_old_are_told(fault: str, tmp_path: Path) -> None:
    """node_exporter's file of the metrics timer is fresh: it is not that which fires."""
    series = {f'{name}{{host="gpu2"}}': values for name, values in STALE[fault].items()}
    series['up{job="node",host="gpu2"}'] = "1x90"
    ours = "/var/lib/prometheus/node-exporter/dsdeploy.prom"
    series[f'node_textfile_mtime_seconds{{host="gpu2",file="{ours}"}}'] = GOES
    labels = '{alertname="MeasurementsStale",alertstate="firing",host="gpu2"}'
    wanted = {f"sum by (alertname, alertstate, host) (ALERTS{labels})": [{"labels": labels, "value": 1}]}
    assert judged(tmp_path, monitored.site(site=monitored.ALL), series, wanted, "40m") == ""
    # a site whose timer is switched off is not told of it
    off = monitored.site(site={**monitored.ALL, "health": {"enabled": False}})
    assert judged(tmp_path, off, series, {text: [] for text in wanted}, "40m") == ""

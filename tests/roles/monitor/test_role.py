"""What the role writes, put before the programs that will read it; and what its own program says of a host."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import monitored
import pytest
import yaml

HERE = Path(__file__).parent
METRICS = monitored.ROLE / "files" / "metrics"


def module(path: Path) -> ModuleType:
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    sys.dont_write_bytecode = before
    return made


ensemble = module(METRICS / "ensemble.py")
units = module(METRICS / "units.py")
module(METRICS / "words.py")
collect = module(METRICS / "collect.py")


def checked(program: str, *words: str, given: str | None = None) -> str:
    """What the program found wrong; "" when it accepts. Skips where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([program, *words], input=given, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("section", [{}, {"listen": True, "webhook": "http://10.0.0.9/x", "dcgm_port": 9400}])
def test_promtool_accepts_the_configuration(section: dict[str, Any], tmp_path: Path) -> None:
    given = monitored.site(**section)
    (tmp_path / "targets").mkdir()
    (tmp_path / "password").write_text("secret")
    (tmp_path / "rules.yml").write_text(monitored.rules(given))
    places = {"__monitor_rules": "rules.yml", "__monitor_clear": "password", "__monitor_targets": "targets"}
    where = {name: str(tmp_path / path) for name, path in places.items()}
    for job in ("node", "engine", "router", "dcgm"):
        text = monitored.render("targets.json.j2", given, __monitor_job=job)
        (tmp_path / "targets" / f"{job}.json").write_text(text)
    (tmp_path / "prometheus.yml").write_text(monitored.render("prometheus.yml.j2", given, **where))
    assert checked("promtool", "check", "config", str(tmp_path / "prometheus.yml")) == ""


@pytest.mark.parametrize("section", [{}, {"webhook": "http://10.0.0.9/x"}])
def test_amtool_accepts_the_configuration(section: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(monitored.render("alertmanager.yml.j2", monitored.site(**section)))
    assert checked("amtool", "check-config", str(path)) == ""


@pytest.mark.parametrize("template", ["dsdeploy-metrics.service.j2", "dsdeploy-metrics.timer.j2"])
def test_systemd_accepts_the_units(template: str, tmp_path: Path) -> None:
    for name in ("dsdeploy-metrics.service.j2", "dsdeploy-metrics.timer.j2"):
        (tmp_path / name.removesuffix(".j2")).write_text(monitored.render(name))
    assert (
        checked("systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / template.removesuffix(".j2")))
        == ""
    )


def test_every_exporter_of_the_site_is_read_and_knows_its_host() -> None:
    given = monitored.site(dcgm_port=9400)
    read = {
        (job, target["targets"][0], target["labels"]["host"], target["labels"].get("colour"))
        for job in ("node", "engine", "router", "dcgm")
        for target in json.loads(monitored.render("targets.json.j2", given, __monitor_job=job))
    }
    assert ("engine", "10.90.0.21:8101", "gpu1", "blue") in read and (
        "engine",
        "10.90.0.21:8102",
        "gpu1",
        "green",
    ) in read
    assert ("router", "10.90.0.12:8405", "gw2", None) in read and ("dcgm", "10.90.0.22:9400", "gpu2", None) in read
    assert {host for job, _, host, _ in read if job == "node"} == set(given.hosts)


def test_all_three_want_the_password_and_listen_where_the_site_says() -> None:
    shown = {"__monitor_listen_at": "127.0.0.1", "__monitor_secret": {"web_flag": "--web.config.file"}}
    for template in ("prometheus.conf.j2", "alertmanager.conf.j2", "node-exporter.conf.j2"):
        text = monitored.render(template, **shown)
        assert "--web.config.file=/etc/dsdeploy/monitor/web.yml" in text
        assert re.search(r"listen-address=(127\.0\.0\.1|10\.90\.0\.11):\d+", text)
    assert "0.0.0.0" not in "".join(path.read_text() for path in (monitored.ROLE / "templates").iterdir())


def test_our_field_list_has_every_dcgm_field_the_rules_read() -> None:
    ours = set(re.findall(r"(?m)^(DCGM_\w+),", (monitored.ROLE / "files" / "dcgm-fields.csv").read_text()))
    assert set(re.findall(r"DCGM_\w+", monitored.rules())) <= ours


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's files; systemctl and openssl are stood in for at their border, the process."""
    thp = tmp_path / "sys/kernel/mm/transparent_hugepage"
    thp.mkdir(parents=True)
    (thp / "enabled").write_text("always [madvise] never\n")
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/sys/vm/nr_hugepages").write_text("64\n")
    stamp = tmp_path / "var/lib/dsdeploy/weights/m/v1.json"
    stamp.parent.mkdir(parents=True)
    stamp.write_text('{"verified_at": "2026-11-22T09:00:00+00:00"}')
    (stamp.parent / "v2.json").write_text('{"verif')
    runs = tmp_path / "var/lib/dsdeploy/runs"
    runs.mkdir()
    (runs / "r1.jsonl").write_text('{"kind": "begin", "at": "2026-11-22T09:00:00+00:00"}\n{"kind": "step"}\n')
    ledger = tmp_path / "var/lib/dsdeploy/backup/ledger.jsonl"
    ledger.parent.mkdir()
    ledger.write_text('{"event":"begin","at":"2026-11-22T09:00:00+00:00","token":"t"}\n{"event":"proven"}\n')
    (tmp_path / "srv/dsdeploy/releases/v1-ab").mkdir(parents=True)
    (tmp_path / "srv/dsdeploy/blue").symlink_to("releases/v1-ab")
    monkeypatch.setattr(
        units, "show", lambda unit: {"ActiveState": "active", "NRestarts": "3"} if "blue" in unit else {}
    )
    monkeypatch.setattr(units, "expiry", lambda path: 1234.0)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/a.pem").touch()
    return tmp_path


def wanted(host: Path) -> dict[str, Any]:
    return {
        "out": str(host / "dsdeploy.prom"), "kernel": {"transparent_hugepages": "never", "hugepages_2mb": 64},
        "engine": True, "zookeeper": "", "vip": "127.0.0.1", "certificates": [str(host / "tls")],
    }  # fmt: skip


def said(host: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every line the program can say, with a member that leads; promtool has read it."""
    mntr = (HERE / "scrapes" / "mntr-leader.txt").read_text()
    monkeypatch.setattr(ensemble, "ask", lambda *words: mntr)
    return str(collect.text(collect.collect({**wanted(host), "zookeeper": "127.0.0.1:2181"}, host)))


def test_what_a_host_says(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(host, monkeypatch).splitlines()
    for line in (
        'dsdeploy_kernel_setting_ok{setting="transparent_hugepages"} 0.0',
        'dsdeploy_kernel_setting_ok{setting="hugepages_2mb"} 1.0',
        'dsdeploy_engine_active{colour="blue",release="v1-ab"} 1.0',
        'dsdeploy_engine_restarts_total{colour="blue"} 3.0',
        "# TYPE dsdeploy_engine_restarts_total counter",
        'dsdeploy_weights_verified_timestamp_seconds{model="m",version="v1"} 1795338000.0',
        'dsdeploy_run_unfinished_since_timestamp_seconds{run="r1"} 1795338000.0',
        "dsdeploy_backup_begun_timestamp_seconds 1795338000.0",
        "dsdeploy_router_address_held 1.0",
        "dsdeploy_zookeeper_serving 1.0",
        "dsdeploy_zookeeper_leader 1.0",
        "zk_synced_followers 2.0",
    ):
        assert line in lines, line
    # ZooKeeper's own names are as they are: promtool finds fault with their suffixes
    ours = [line for line in lines if "zk_" not in line]
    assert checked("promtool", "check", "metrics", given="\n".join(ours) + "\n") == ""


def test_a_run_that_ended_is_not_unfinished(host: Path) -> None:
    with (host / "var/lib/dsdeploy/runs/r1.jsonl").open("a") as journal:
        journal.write('{"kind": "end"}\n')
    assert list(collect.unfinished(host / "var/lib/dsdeploy/runs")) == []


def test_a_member_that_does_not_answer_says_one_thing() -> None:
    silence = list(ensemble.samples(""))
    assert silence == [("dsdeploy_zookeeper_serving", {}, 0.0), ("dsdeploy_zookeeper_leader", {}, 0.0)]
    follower = {name: value for name, _, value in ensemble.samples((HERE / "scrapes/mntr-follower.txt").read_text())}
    assert follower["dsdeploy_zookeeper_serving"] == 1.0 and follower["dsdeploy_zookeeper_leader"] == 0.0
    refused = next(ensemble.samples("mntr is not executed because it is not in the whitelist."))
    assert refused == ("dsdeploy_zookeeper_serving", {}, 0.0)


def test_the_file_is_replaced_whole(host: Path) -> None:
    path = host / "dsdeploy.prom"
    collect.write(path, "a 1\n")
    collect.write(path, "a 2\n")
    assert path.read_text() == "a 2\n" and path.stat().st_mode & 0o777 == 0o644
    assert list(host.glob(".dsdeploy*")) == []


def test_an_address_of_nobody_is_not_held() -> None:
    assert units.held("127.0.0.1") and not units.held("192.0.2.1")


def scraped(host: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Metric name -> where it was seen: a capture, a declared list, or our own program's words."""
    found = monitored.captured()
    found.update(monitored.ours(monitored.WRITERS))
    own = re.findall(r"(?m)^(\w+)", said(host, monkeypatch))
    return found | dict.fromkeys(own, "collect.py") | {"up": "Prometheus"}


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(monitored.rules(monitored.site(site=monitored.ALL, dcgm_port=9400)))["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def test_of_hosts_that_are_one_engine_the_first_is_asked_and_all_are_expected() -> None:
    given = monitored.site(site={"stack": "cuda13"})
    engine = given.engine.model_copy(update={"runtime": "vllm", "nodes": 2})
    told = monitored.monitoring.server(given.model_copy(update={"engine": engine}))
    asked = {target["host"] for target in told["monitor_targets"] if target["job"] == "engine"}
    assert asked == {"gpu1"}
    assert {one["host"] for one in told["monitor_expected"] if one["role"] == "engine"} == {"gpu1", "gpu2"}


def test_every_metric_of_every_rule_was_seen_or_is_recorded(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = scraped(host, monkeypatch)
    recorded = {name for name, _ in expressions() if ":" in name}
    unknown = {
        (rule, name)
        for rule, text in expressions()
        for name in monitored.NAME.findall(text)
        if name not in known and name not in recorded
    }
    assert unknown == set()
    assert sum(len(monitored.NAME.findall(text)) for _, text in expressions()) > 100


def test_the_password_stays_hashed_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(monitored.ROLE / "module_utils"))
    import dsdeploy_places

    monkeypatch.setitem(sys.modules, "ansible.module_utils.dsdeploy_places", dsdeploy_places)
    secret = module(monitored.ROLE / "library" / "monitor_secret.py")
    made = secret.hashed("correct horse battery")
    assert made.startswith("$2b$10$") and made != secret.hashed("correct horse battery")
    path = tmp_path / "web.yml"
    path.write_text(f'basic_auth_users:\n  dsdeploy: "{made}"\n')
    assert secret.kept(str(path), "dsdeploy", "correct horse battery") == made
    assert secret.kept(str(path), "dsdeploy", "another one entirely") is None
    assert secret.kept(str(tmp_path / "absent"), "dsdeploy", "x") is None
    assert checked("promtool", "check", "web-config", str(path)) == ""


BOARDS = sorted((monitored.ROLE / "files" / "grafana").glob("*.json"))


def queries(board: Path) -> list[str]:
    """Every expression of a dashboard, with Grafana's variable as what "All" puts there."""
    document = json.loads(board.read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    return [text.replace("$host", ".*") for text in panels]


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_what_exists_in_words_prometheus_reads(
    board: Path, host: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = set(scraped(host, monkeypatch)) | {name for name, _ in expressions() if ":" in name} | {"ALERTS"}
    asked = queries(board)
    assert len(asked) >= 8
    assert {name for text in asked for name in monitored.NAME.findall(text)} - known == set()
    assert [text for text in asked if not monitored.NAME.findall(text) and "ALERTS" not in text] == []
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(asked)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": board.stem, "rules": rules}]}))
    assert checked("promtool", "check", "rules", str(path)) == ""


def test_xids_are_on_the_dashboard_whoever_counts_them() -> None:
    """dcgm-exporter by their code, the GPU report by their class."""
    asked = " ".join(queries(monitored.ROLE / "files" / "grafana" / "host.json"))
    assert "dsdeploy:gpu_xid:recent{" in asked and "dsdeploy:gpu_xid_class:recent{" in asked


def test_dashboards_keep_their_uids_and_use_our_data_source() -> None:
    documents = [json.loads(board.read_text(encoding="utf-8")) for board in BOARDS]
    assert {document["uid"] for document in documents} == {f"dsdeploy-{board.stem}" for board in BOARDS}
    assert [board.stem for board in BOARDS] == ["engine", "fleet", "host", "upgrade"]
    data_source = yaml.safe_load(
        monitored.environment().get_template("grafana-dashboards.yml.j2").render(ansible_managed="x")
    )
    assert "foldersFromFilesStructure" not in data_source["providers"][0]["options"]
    for document in documents:
        assert document["id"] is None and "__inputs" not in document
        assert {panel["datasource"]["uid"] for panel in document["panels"]} == {"dsdeploy-prometheus"}
        assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    template = (monitored.ROLE / "templates" / "grafana-datasource.yml.j2").read_text()
    assert "uid: dsdeploy-prometheus" in template


PLAIN, OPEN = {"grafana": True}, {"grafana": True, "listen": True}


@pytest.mark.parametrize(("section", "at"), [(PLAIN, "127.0.0.1"), (OPEN, "10.90.0.11")], ids=["loopback", "listen"])
def test_grafana_listens_as_the_others_do_and_has_no_default_password(
    section: dict[str, Any], at: str, tmp_path: Path
) -> None:
    text = monitored.render("grafana.conf.j2", monitored.site(**section))
    secret = "/run/credentials/grafana-server.service/password"
    assert f"Environment=GF_SERVER_HTTP_ADDR={at}\n" in text
    assert "LoadCredential=password:/etc/dsdeploy/monitor/password\n" in text
    assert f"Environment=GF_SECURITY_ADMIN_PASSWORD=$__file{{{secret}}}\n" in text
    # a database from before has whatever password it was made with
    assert f"reset-admin-password --password-from-stdin <{secret}'" in text
    unit = tmp_path / "grafana-server.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    folder = tmp_path / "grafana-server.service.d"
    folder.mkdir()
    (folder / "dsdeploy.conf").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "dsdeploy.conf" not in done.stderr and "Unknown" not in done.stderr


def test_an_older_database_of_grafanas_gets_the_password_before_it_serves(tmp_path: Path) -> None:
    """The line systemd would start, with a stand-in for grafana-cli: nothing is asked where no database is."""
    text = monitored.render("grafana.conf.j2", monitored.site(grafana=True))
    line = re.findall(r"(?m)^ExecStartPre=/bin/sh -c '(.*)'$", text)[0].replace("$$", "$")
    (tmp_path / "password").write_text("correct horse battery")
    tool = tmp_path / "grafana-cli"
    tool.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat >{tmp_path}/told\n')
    tool.chmod(0o755)
    line = line.replace("/usr/sbin/grafana-cli", str(tool))
    line = line.replace("/run/credentials/grafana-server.service/password", str(tmp_path / "password"))
    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", line], check=True, env={"DATA_DIR": str(tmp_path), "PATH": "/bin:/usr/bin"})
        if not (tmp_path / "asked").exists():
            (tmp_path / "grafana.db").touch()
    assert (tmp_path / "asked").read_text() == "admin reset-admin-password --password-from-stdin\n"
    assert (tmp_path / "told").read_text() == "correct horse battery"


def test_grafana_has_its_settings_before_its_first_start() -> None:
    tasks = yaml.safe_load((monitored.ROLE / "tasks" / "grafana.yml").read_text())
    places = [next(n for n, task in enumerate(tasks) if word in str(task)) for word in ("grafana.conf", "run.yml")]
    assert places == sorted(places)
    packages = (monitored.ROLE / "tasks" / "packages.yml").read_text()
    assert "policy_rc_d: 101" in packages


def test_dcgm_exporter_gets_our_fields_and_the_hosts_own_address() -> None:
    given = monitored.site(dcgm_port=9400)
    own = monitored.monitoring.of_host(given, "gpu1")
    text = monitored.render("dcgm-exporter.conf.j2", given, **{"__monitor_own_address": own["monitor_address"], **own})
    command = re.sub(r"\\\n *", "", text.split("ExecStart=\n")[1]).splitlines()[0]
    wanted = "ExecStart=/usr/bin/dcgm-exporter --collectors /etc/dsdeploy/dcgm-fields.csv --address 10.90.0.21:9400"
    assert command == wanted
    assert monitored.variables(given, "gpu1")["monitor_dcgm_port"] == 9400
    assert monitored.variables(given, "gw1")["monitor_dcgm_port"] == 0
    assert monitored.variables(monitored.site(), "gpu1")["monitor_dcgm_port"] == 0
    tasks = monitored.ROLE / "tasks"
    assert "'dcgm-fields.csv'" in (tasks / "dcgm.yml").read_text()
    assert "monitor_dcgm_port > 0" in (tasks / "exporter.yml").read_text()


@pytest.mark.parametrize("template", ["node-exporter.conf.j2", "dcgm-exporter.conf.j2"])
def test_a_host_known_by_name_is_not_shut_out_by_a_filter_that_knows_no_names(template: str) -> None:
    shown = {"__monitor_secret": {"web_flag": "--web.config.file"}}
    hosts = yaml.safe_load((monitored.ROOT / "inventory" / "lab" / "site.yml").read_text())["hosts"]
    filtered = monitored.render(template, monitored.site(), **shown)
    assert "IPAddressDeny=any\nIPAddressAllow=localhost 10.90.0.11 10.90.0.11\n" in filtered
    for name in ("gw1", "gpu1"):  # the one that collects, the one that is read
        hosts_named = {**hosts, name: {**hosts[name], "address": f"{name}.example.net"}}
        given = monitored.site(site={"hosts": hosts_named})
        own = monitored.monitoring.of_host(given, "gpu1")
        assert "IPAddress" not in monitored.render(template, given, **{**shown, **own}), name

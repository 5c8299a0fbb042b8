"""What is over is not told, what two sources show is told once, and a finding has a host where anybody said it."""

from __future__ import annotations

import json

import pytest

from dsdeploy.doctor import judge, told
from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.doctor.finding import Finding

from .test_doctor import WELL, listens, seen, stamp


def test_what_a_reading_shows_is_not_told_again_from_a_log() -> None:
    line = "[ALERT] (77) : cannot bind socket (Address already in use) [10.0.0.2:8000]"
    (found,) = judge.findings(seen(listens(8000, "nginx"), {"haproxy": (line,)}))
    assert "taken by nginx" in found.symptom


def test_a_line_that_a_host_said_in_a_run_is_about_that_host() -> None:
    full = "No space left on device: /var/x"
    found = judge.findings(seen(run=(f"gpu2: {full}", "gpu9: no such host", full)))
    assert {(one.host, one.command) for one in found} == {
        ("gpu2", "ssh 10.0.0.3 df -h; ssh 10.0.0.3 df -i"), ("", "dsdeploy check SITE"),
    }  # fmt: skip


REFUSED = (
    "refused: model 2.0 MiB + cache 9 slots = 868.2 MiB > 0.8 x available memory 512.0 MiB = 409.6 MiB; it must fit"
)


@pytest.mark.parametrize(
    ("outcome", "rotation", "wanted"),
    [
        ("returned", ("gpu1-blue",), ["memory", "start-dead"]),  # why the run before did not go through
        ("done", ("gpu1-blue",), []),  # what it was about is over: blue serves, and a run after it ended well
        ("done", ("gpu1-green",), ["memory", "start-dead"]),  # it takes requests, and does not run
        ("done", (), ["memory", "start-dead"]),  # no router says who does
        ("", ("gpu1-blue",), ["memory", "start-dead"]),
    ],
)
def test_the_colour_that_is_parked_tells_of_the_newest_run_only(
    outcome: str, rotation: tuple[str, ...], wanted: list[str]
) -> None:
    servers = [
        {"name": name, "status": "UP" if name in rotation else "MAINT", "drained": False}
        for name in ("gpu1-blue", "gpu1-green")
    ]
    last = {"kind": "end", "epoch": 4, "outcome": outcome} if outcome else {"kind": "step", "epoch": 4}
    before = {"begin": {"epoch": 3}, "last": {"kind": "end", "epoch": 3, "outcome": "done"}}
    runs = [{"begin": {"epoch": 4}, "last": last}, before]
    green = {"green": {"unit": "failed", "health": "down", "detail": "failed/failed", "restarts": 0}}
    states = {"Engines": WELL["Engines"] | green, "RouterState": {"servers": servers}, "Runs": runs}
    found = judge.findings(seen(states, {"engine-green": (REFUSED,)}))
    assert [finding.entry for finding in found] == wanted


def test_a_port_of_an_engine_that_does_not_run_and_its_own() -> None:
    ports = {"Ports": [{"port": 8101, "address": "10.0.0.2", "process": "python3", "pid": 9}]}
    assert judge.findings(seen(ports)) == []  # the engine itself
    again = {
        "Engines": {"blue": {"unit": "active", "health": "down", "detail": "activating/auto-restart", "restarts": 3}}
    }
    port, dead = judge.findings(seen(ports | again))
    assert (port.entry, port.command) == ("port", "ssh 10.0.0.2 kill 9 && dsdeploy up SITE")
    assert "the blue engine cannot start" in port.cause and dead.entry == "start-dead"


def test_a_driver_that_answers_nobody_is_compared_by_the_name_of_its_library() -> None:
    (found,) = judge.findings(seen({"Gpus": [], "StackState": {"library": "580.95.05"}}))
    assert "module 580.65.06 is in memory, 580.95.05 is installed" in found.symptom
    assert found.command == "ssh 10.0.0.2 systemctl reboot; dsdeploy check SITE"
    managed = Evidence(**{**vars(seen({"Gpus": [], "StackState": {"library": "580.95.05"}})), "stack": "cuda13"})
    assert judge.findings(managed)[0].command == "dsdeploy up SITE --only stack"


def test_files_that_nobody_verified_are_moved_and_not_called_cut() -> None:
    (found,) = judge.findings(seen(stamp(12, strays=("a.bin",))))
    assert found.entry == "foreign" and found.command.endswith(" && dsdeploy up SITE --only weights --limit gpu1")


def test_hosts_that_are_all_off_alike_are_not_all_wrong() -> None:
    off = {"Clock": {"offset_s": -7200.4, "uncertainty_s": 0.1}}
    given = seen(off)
    hosts = {name: HostEvidence(**{**vars(host), "facts": WELL | off}) for name, host in given.hosts.items()}
    (found,) = [one for one in judge.findings(Evidence(**{**vars(given), "hosts": hosts})) if one.entry == "clock"]
    assert (found.host, found.symptom) == ("", "this computer's clock is 7200 s ahead of every host's")
    assert found.command == "sudo timedatectl set-ntp true && dsdeploy check SITE"
    (found,) = judge.findings(given)
    assert found.host == "gpu1" and "behind" in found.symptom


def test_a_command_has_the_site_file_as_a_shell_takes_it() -> None:
    found = Finding("x", "", "", "", "dsdeploy up SITE && curl http://SITES/").about("/a b/site.yml")
    assert found.command == "dsdeploy up '/a b/site.yml' && curl http://SITES/"


def test_a_run_tells_line_by_line_who_said_what() -> None:
    """Messages as the callback writes them, and as Ansible's own text has them."""
    message = (
        "weights m v1 on gpu1: 2 of 3 files are not what the manifest says\n  b: md5: wanted aa, got bb\n  at: http://x"
    )
    event = {"event": "result", "status": "failed", "host": "gpu1", "message": message}
    files = {
        "weights.jsonl": "\n".join(json.dumps(one) for one in ({"event": "task"}, {**event, "status": "ok"}, event)),
        "weights.log": "TASK [pull] ***\nfatal: [gpu2]: FAILED! => " + json.dumps({"changed": False, "msg": "a\nb"}),
        "journal.jsonl": json.dumps({"kind": "end", "why": "gate: no"}) + "\n[1]\n{",
    }
    assert told.lines(files) == (
        "gpu1: weights m v1 on gpu1: 2 of 3 files are not what the manifest says",
        "gpu1:   b: md5: wanted aa, got bb", "gpu1:   at: http://x",
        "TASK [pull] ***", "gpu2: a", "gpu2: b", "gate: no",
    )  # fmt: skip
    (found,) = judge.findings(seen(run=told.lines(files)))
    assert (found.entry, found.host, found.symptom) == ("md5", "gpu1", "b: md5 is bb, the manifest says aa")


def test_a_changed_host_key_is_not_a_dead_host() -> None:
    error = "no SSH: 10.0.0.2 port 22 shows another host key than known_hosts has"
    (found,) = judge.findings(seen(reachable=False, error=error))
    assert found.entry == "host-key" and "ssh-keygen -R 10.0.0.2" in found.command


def test_a_certificate_that_ended_is_told_and_one_that_holds_is_not() -> None:
    (found,) = judge.findings(seen(log={"certificates": ("1795251600 /etc/dsdeploy/tls/a.pem", "1999999999 /b.pem")}))
    assert found.entry == "certificate" and "/a.pem of gpu1 ended 1.0 days ago" in found.symptom

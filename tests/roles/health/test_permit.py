"""The permit to act, in a real ZooKeeper of one member: who gets a slot, who does not, and what comes back."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import health_permit as permit
import health_zk as zk
import pytest
from kazoo.client import KazooClient
from kazoo.protocol import serialization
from kazoo.security import OPEN_ACL_UNSAFE

JARS = [Path("/usr/share/java") / name for name in ("zookeeper.jar", "slf4j-simple.jar")]


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """address:port of a ZooKeeper that serves."""
    java = shutil.which("java")
    if not java or not all(jar.exists() for jar in JARS):
        pytest.skip("no ZooKeeper here: needs Debian's zookeeper and default-jre-headless")
    folder = tmp_path_factory.mktemp("zookeeper")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (folder / "zoo.cfg").write_text(
        f"dataDir={folder}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\nadmin.enableServer=false\n"
    )
    words = [java, "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, JARS))]
    words += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(folder / "zoo.cfg")]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            client = KazooClient(hosts=f"127.0.0.1:{port}")
            client.start(timeout=60)
            client.stop()
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture
def client(member: str) -> Iterator[KazooClient]:
    """Somebody else who looks, and an empty tree."""
    client = KazooClient(hosts=member)
    client.start()
    client.delete("/dsdeploy", recursive=True)
    yield client
    client.stop()
    client.close()


def config(member: str, host: str, engines: int = 4, min_serving: int = 3) -> dict[str, Any]:
    peers = [{"host": f"gpu{n}", "address": f"10.0.0.{n}", "ports": [8101]} for n in range(1, engines + 1)]
    others = [peer for peer in peers if peer["host"] != host]
    return {"site": "lab", "host": host, "min_serving": min_serving, "peers": others, "zookeeper": [member]}


def all_serve(peer: dict[str, Any]) -> bool:
    return True


def holders(client: KazooClient) -> dict[str, str]:
    top = "/dsdeploy/lab/out"
    return {name: json.loads(client.get(f"{top}/{name}")[0])["host"] for name in client.get_children(top)}


def test_requests_are_written_as_kazoo_writes_them() -> None:
    """Byte for byte, by somebody who speaks the protocol too."""
    sent: list[bytes] = []

    class Wire(zk.Client):
        def __init__(self) -> None:
            self._xid = 0

        def _send(self, packet: bytes) -> None:
            sent.append(packet[8:])

        def _receive(self) -> bytes:
            return self._xid.to_bytes(4, "big") + bytes(12) + bytes(80)

    wire = Wire()
    wire.create("/a", b"data")
    wire.read("/a")
    wire.delete("/a", 3)
    expected = (
        serialization.Create("/a", b"data", OPEN_ACL_UNSAFE, 0),
        serialization.GetData("/a", None),
        serialization.Delete("/a", 3),
    )
    assert sent == [bytes(one.serialize()) for one in expected]


def test_a_slot_is_taken_and_given_back(member: str, client: KazooClient) -> None:
    assert permit.take(config(member, "gpu1"), "wedged", all_serve) == "/dsdeploy/lab/out/0"
    assert holders(client) == {"0": "gpu1"}
    assert client.get("/dsdeploy/lab/out/0")[1].ephemeralOwner == 0  # it outlasts the one who took it
    permit.give_back(config(member, "gpu1"))
    assert holders(client) == {}


def test_a_host_that_asks_again_has_one_slot_still(member: str, client: KazooClient) -> None:
    roomy = config(member, "gpu1", min_serving=1)
    assert permit.take(roomy, "wedged", all_serve) == permit.take(roomy, "wedged", all_serve)
    assert holders(client) == {"0": "gpu1"}


def test_no_more_hosts_than_may_be_out_get_one_even_all_at_once(member: str, client: KazooClient) -> None:
    def ask(number: int) -> str:
        try:
            return permit.take(config(member, f"gpu{number}", engines=8, min_serving=6), "wedged", all_serve)
        except permit.Refused as refusal:
            return str(refusal)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(1, 9)))
    assert sorted(answer for answer in answers if answer.startswith("/")) == [
        "/dsdeploy/lab/out/0",
        "/dsdeploy/lab/out/1",
    ]
    assert sum("2 of 2 that may be out at a time are out" in answer for answer in answers) == 6
    assert len(set(holders(client).values())) == 2


def test_those_who_do_not_serve_for_other_reasons_count(member: str, client: KazooClient) -> None:
    with pytest.raises(permit.Refused, match="only 2 other engines are seen to serve"):
        permit.take(config(member, "gpu1", min_serving=3), "wedged", lambda peer: peer["host"] != "gpu3")
    assert holders(client) == {}  # and the slot is free for another


def test_a_host_that_holds_a_slot_is_not_counted_as_serving(member: str, client: KazooClient) -> None:
    permit.take(config(member, "gpu2", min_serving=2), "wedged", all_serve)
    permit.take(config(member, "gpu1", min_serving=2), "wedged", all_serve)
    assert holders(client) == {"0": "gpu2", "1": "gpu1"}
    with pytest.raises(permit.Refused, match="only 1 other"):  # gpu3 is down: gpu4 alone would be left
        permit.take(config(member, "gpu1", min_serving=2), "wedged", lambda peer: peer["host"] != "gpu3")
    assert holders(client) == {"0": "gpu2", "1": "gpu1"}  # what it held before it keeps


def test_a_run_is_seen_by_its_lock(member: str, client: KazooClient) -> None:
    assert permit.locked(config(member, "gpu1")) is False
    client.create("/dsdeploy/lab/lock", b"{}", makepath=True)
    assert permit.locked(config(member, "gpu1")) is True


def test_a_slot_of_a_host_the_site_has_no_more_is_free(member: str, client: KazooClient) -> None:
    client.create("/dsdeploy/lab/out/0", json.dumps({"host": "gpu99"}).encode(), makepath=True)
    assert permit.take(config(member, "gpu1"), "wedged", all_serve) == "/dsdeploy/lab/out/0"


def test_min_serving_may_forbid_it_and_a_single_engine_may_be_restarted(member: str, client: KazooClient) -> None:
    with pytest.raises(permit.Refused, match="min_serving is 4 of 4"):
        permit.take(config(member, "gpu1", min_serving=4), "wedged", all_serve)
    assert permit.take(config(member, "gpu1", engines=1, min_serving=0), "wedged", all_serve)


def test_without_an_ensemble_nobody_may(member: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    for members in ([], [nobody]):
        with pytest.raises(permit.Refused, match="the ensemble gives no permission"):
            permit.take({**config(member, "gpu1"), "zookeeper": members}, "wedged", all_serve)


def test_the_next_member_is_asked_when_one_is_gone(member: str, client: KazooClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    assert permit.take({**config(member, "gpu1"), "zookeeper": [nobody, member]}, "wedged", all_serve)

"""A transport without SSH: scripts run here, with fake programs in front of the real ones."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# Fakes, and named as such: they print what the real programs print, with figures from a table.
# FAKE_HOST is the host the script believes it is on; FAKE_TABLE has `write`, `reduce` and `dcgm`.
FAKE_WRITE = f"""#!{sys.executable} -SE
import json, os, socket, sys, time
table = json.load(open(os.environ["FAKE_TABLE"]))["write"]
host, words = os.environ["FAKE_HOST"], sys.argv[1:]
if "--help" in words:
    print("  --out_json  Save the report in a json file"); sys.exit()
value = lambda name: words[words.index(name) + 1]
meet = ("127.0.0.1", int(value("-p")))
if words[-1] != "127.0.0.1":  # server: says nothing before its end
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(meet); listener.listen(1); peer, _ = listener.accept()
        peer.sendall(host.encode()); peer.close()
    sys.exit()
try:
    server = socket.create_connection(meet, 5).recv(100).decode()
except OSError:
    print("Couldn't connect to 127.0.0.1:" + value("-p")); sys.exit(1)
gbits = table.get(server + "<" + host, table.get(host + "<" + server, table["*"]))
if gbits == "hang": time.sleep(600)
if gbits is None: print(" Failed status 12: wr_id 0 syndrom 0x81"); sys.exit(1)
file = next(word.split("=")[1] for word in words if word.startswith("--out_json_file"))
open(file, "w").write("{{test_info: {{Device: \\"x\\",}},results: {{MsgSize: 1048576,BW_average: %s,}},}}" % gbits)
"""
FAKE_REDUCE = f"""#!{sys.executable} -SE
import json, os, sys
if "--help" in sys.argv: sys.exit()
found = json.load(open(os.environ["FAKE_TABLE"]))["reduce"].get(os.environ["FAKE_HOST"], 470.0)
print("  8589934592    2147483648     float     sum      -1    31390  273.65  %.2f      0" % found)
"""
FAKE_PYTHON = f"""#!{sys.executable} -SE
import json, os, sys
if sys.argv[sys.argv.index("--hosts") + 1] == "2" and len(sys.stdin.readline().strip()) != 32: sys.exit("no token")
if sys.argv[sys.argv.index("--rank") + 1] == "0":
    pair = json.load(open(os.environ["FAKE_TABLE"]))["pair"]
    print(json.dumps({{"results": [{{"size": 1, "in_place": {{"bus_bw": pair, "nwrong": 0}}}}]}}))
"""
FAKE_DCGMI = f"""#!{sys.executable} -SE
import json, os
status = json.load(open(os.environ["FAKE_TABLE"]))["dcgm"].get(os.environ["FAKE_HOST"], "Pass")
tests = [{{"name": "memory", "results": [{{"entity_group": "GPU", "entity_id": 0, "status": status}}]}}]
print(json.dumps({{"DCGM Diagnostic": {{"test_categories": [{{"category": "Hardware", "tests": tests}}]}}}}))
"""
FAKES = {
    "ib_write_bw": FAKE_WRITE, "all_reduce_perf": FAKE_REDUCE, "python3": FAKE_PYTHON, "dcgmi": FAKE_DCGMI,
}  # fmt: skip


TOOLS = ("sh", "timeout", "mktemp", "rm", "cat", "sleep", "grep")


class Here:
    """Running, as ssh.Running."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.said = process, b""
        self.reader = threading.Thread(target=self.listen, daemon=True)  # communicate() would end its stdin
        self.reader.start()

    def listen(self) -> None:
        assert self.process.stdout
        self.said = self.process.stdout.read()

    def read(self, seconds: float) -> str:
        self.reader.join(seconds)
        self.end()
        self.reader.join()
        return self.said.decode()

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()


class Local:
    """Transport, as ssh.Shells."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running, self.numbers = folder, list[Here](), itertools.count()
        self.table = {"write": {"*": 97.0}, "reduce": {}, "pair": 12.0, "dcgm": {}}  # figures of the fakes

    def without(self, name: str) -> None:
        (self.folder / name).unlink()

    def start(self, host: str, script: str, told: str = "") -> Here:
        table = self.folder / f"table-{next(self.numbers)}"  # one a script: others read theirs meanwhile
        table.write_text(json.dumps(self.table))
        world = {"FAKE_HOST": host, "FAKE_TABLE": str(table)}
        process = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | world | {"PATH": f"{self.folder}:{self.folder}/tools"},
        )  # fmt: skip
        if told:
            assert process.stdin
            process.stdin.write(f"{told}\n".encode())
            process.stdin.flush()
        self.running.append(Here(process))
        return self.running[-1]

    def close(self) -> None:
        for one in self.running:
            one.end()
        for one in self.running:
            one.process.wait(timeout=30)
            assert one.process.stdout
            one.process.stdout.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    folder = tmp_path / "fakes"
    folder.mkdir()
    for name, text in FAKES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "tools").mkdir()
    for name in TOOLS:  # and no others: this computer may have a real perftest
        found = shutil.which(name)
        assert found
        (folder / "tools" / name).symlink_to(found)
    made = Local(folder)
    yield made
    made.close()

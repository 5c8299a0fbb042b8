"""all_reduce without MPI, on fakes of libcudart and libnccl (fake_gpu.c): the id travels, the sums are checked."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parents[2] / "roles" / "fabric" / "files" / "all_reduce.py"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("fakes")
    made = folder / "libnccl.so.2"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(HERE / "fake_gpu.c")], check=True)
    (folder / "libcudart.so").symlink_to(made.name)
    return folder


def start(libraries: Path, *words: str, token: str = "", **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "--bytes", "1M", "--rounds", "2", *words],
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)} | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(f"{token}\n")
    process.stdin.flush()
    return process


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_one_host_reduces_over_its_gpus(libraries: Path) -> None:
    with start(libraries, "--gpus", "0,1,2,3") as process:
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    told = json.loads(said)
    assert told["ranks"] == 4 and told["results"][0]["size"] == 1 << 20
    side = told["results"][0]["in_place"]
    assert side["nwrong"] == 0 and side["bus_bw"] == pytest.approx(side["alg_bw"] * 1.5)


@pytest.mark.parametrize("first", [0, 1])
def test_two_hosts_meet_whoever_comes_first(libraries: Path, first: int) -> None:
    meet = ("--hosts", "2", "--meet", f"127.0.0.1:{free()}", "--gpus", "0,1")
    hosts = {rank: start(libraries, "--rank", str(rank), *meet, token="secret") for rank in (first, 1 - first)}
    said = {rank: process.communicate(timeout=60) for rank, process in hosts.items()}
    assert [hosts[rank].returncode for rank in (0, 1)] == [0, 0], said
    assert json.loads(said[0][0])["ranks"] == 4 and said[1][0] == ""


def test_values_that_come_out_wrong_are_counted_and_are_a_failure(libraries: Path) -> None:
    with start(libraries, "--gpus", "0,1", FAKE_NCCL_LOSES_A_RANK="1") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(said)["results"][0]["in_place"]["nwrong"] > 0


def test_who_does_not_know_the_token_gets_no_id(libraries: Path) -> None:
    port = free()
    meet = ("--hosts", "2", "--meet", f"127.0.0.1:{port}", "--gpus", "0")
    host = start(libraries, "--rank", "0", *meet, token="right")
    stranger = b""
    while not stranger:  # until it listens
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as peer:
                peer.sendall(b"wrong")
                stranger = b"closed:" + peer.recv(200)
        except ConnectionRefusedError:
            assert host.poll() is None
    assert stranger == b"closed:"
    other = start(libraries, "--rank", "1", *meet, token="right")
    assert (other.communicate(timeout=60)[1], host.communicate(timeout=60)[1]) == ("", "")


def test_without_a_token_hosts_do_not_meet(libraries: Path) -> None:
    with start(libraries, "--hosts", "2", "--meet", f"127.0.0.1:{free()}", "--gpus", "0") as process:
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "no token on standard input" in errors


def test_what_the_libraries_refuse_is_said_in_their_words(libraries: Path) -> None:
    with start(libraries, "--gpus", "9") as process:
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and errors == "error: CUDA failure 101: invalid device ordinal\n"


def test_a_host_without_nccl_says_so(tmp_path: Path) -> None:
    with start(tmp_path, "--gpus", "0") as process:
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "cannot be loaded" in errors


def test_the_program_runs_on_an_old_python() -> None:
    """No match, no walrus, no annotations of new types: CentOS 7 with EPEL has 3.6."""
    ast.parse(PROGRAM.read_text(encoding="utf-8"), feature_version=(3, 6))

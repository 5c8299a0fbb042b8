"""Ports read from a made-up sysfs, which modules a kernel needs, and whose key a file is."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

MODULES = Path(__file__).resolve().parents[3] / "dsdeploy" / "facts" / "fabric_kind.py"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def device(
    root: Path, name: str, rate: str, state: str = "4: ACTIVE", physical: str = "5: LinkUp", soft: bool = False
) -> None:
    bus, card = root / "bus/pci", root / "devices" / f"pci-{name}"
    bus.mkdir(parents=True, exist_ok=True)
    card.mkdir(parents=True)
    (card / "subsystem").symlink_to(bus)
    path = card / "infiniband" / name
    put(path / ("parent" if soft else "hca_type"), "eth0" if soft else "MT4129")
    (path / "device").symlink_to(card)
    port = path / "ports/1"
    for key, value in {"state": state, "phys_state": physical, "rate": rate, "link_layer": "Ethernet"}.items():
        put(port / key, value)
    put(port / "counters/symbol_error", "7")
    put(port / "gids/3", "0000:0000:0000:0000:0000:ffff:0a08:0015")
    put(port / "gid_attrs/types/3", "RoCE v2")
    listed = root / "class/infiniband"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / name).symlink_to(path)


def test_ports_are_read_and_soft_ones_marked(rdma_ports: ModuleType, tmp_path: Path) -> None:
    device(tmp_path, "mlx5_0", "400 Gb/sec (4X NDR)")
    device(tmp_path, "rxe0", "100 Gb/sec (4X EDR)", soft=True)
    first, second = rdma_ports.ports(tmp_path)
    assert (first["hardware"], first["rate"], first["gid"], first["errors"]["symbol_error"]) == (True, 400.0, 3, 7)
    assert not second["hardware"] and not rdma_ports.usable(second, 0)
    assert rdma_ports.usable(first, 400) and not rdma_ports.usable(first, 800)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"soft": True}, "mlx5_0 port 1 is a soft device, no hardware"),
        ({"physical": "2: Polling"}, "mlx5_0 port 1 has no link (polling)"),
        ({"state": "2: INIT"}, "mlx5_0 port 1 has a link and is init: no subnet manager has set it up"),
        ({"rate": "100 Gb/sec (4X EDR)"}, "mlx5_0 port 1 runs at 100 Gb/s"),
        ({}, ""),
    ],
)
def test_why_a_port_is_not_enough(rdma_ports: ModuleType, tmp_path: Path, changes: dict[str, str], said: str) -> None:
    device(tmp_path, "mlx5_0", **{"rate": "400 Gb/sec (4X NDR)", **changes})  # type: ignore[arg-type]
    assert rdma_ports.why(rdma_ports.ports(tmp_path)[0], 400) == said


def test_a_machine_without_rdma_has_no_ports(rdma_ports: ModuleType, tmp_path: Path) -> None:
    assert rdma_ports.ports(tmp_path) == []


def test_the_role_and_the_controller_tell_hardware_from_soft_with_one_file() -> None:
    link = Path(__file__).resolve().parents[3] / "roles/fabric/module_utils/dsdeploy_fabric_kind.py"
    assert link.is_symlink() and link.resolve() == MODULES


def test_the_stack_and_the_fabric_role_read_keys_with_one_file() -> None:
    roles = Path(__file__).resolve().parents[3] / "roles"
    link = roles / "fabric/module_utils/dsdeploy_openpgp.py"
    assert link.is_symlink() and link.resolve() == roles / "stack/module_utils/dsdeploy_openpgp.py"


PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)"


@pytest.mark.parametrize(
    ("driver", "release", "needed"),
    [
        ("", "6.1.0-18-amd64", False),  # no driver: no GPU memory to hand out
        (PROPRIETARY, "3.10.0-1160.el7.x86_64", True),
        (PROPRIETARY, "6.8.0-45-generic", True),
        (OPEN, "5.4.0-200-generic", True),  # Ubuntu 20.04: too old for DMA-BUF
        (OPEN, "4.18.0-553.el8_10.x86_64", True),
        (OPEN, "5.12.0", False),
        (OPEN, "6.8.0-45-generic", False),
        (OPEN, "odd", True),
    ],
)
def test_peer_memory_is_loaded_only_where_there_is_no_dma_buf(
    kernel_modules: ModuleType, driver: str, release: str, needed: bool
) -> None:
    assert kernel_modules.needs_peer(driver, release) is needed


def test_a_loaded_module_is_found_under_its_underscored_name(kernel_modules: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "nvidia_peermem").mkdir()
    assert kernel_modules.there("nvidia-peermem", tmp_path)
    assert not kernel_modules.there("ib_umad", tmp_path)


@pytest.mark.skipif(not shutil.which("gpg"), reason="no gpg here to make a key and to compare with")
@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
def test_a_key_is_the_one_gpg_names_and_a_second_one_in_its_file_is_not_trusted(
    signing_key: ModuleType, tmp_path: Path, kind: str
) -> None:
    """Beside a second key, packages signed by that one would be believed too."""
    keys = []
    for name in ("ours", "theirs"):
        home = tmp_path / name
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty"]
        made = [*gpg, "--passphrase", "", "--quick-generate-key", "t@example.net", kind, "sign", "never"]
        subprocess.run(made, check=True, capture_output=True)
        public = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
        listed = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True)
        keys.append((public, next(row.split(":")[9] for row in listed.stdout.splitlines() if row.startswith("fpr"))))
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    (ours, wanted), (theirs, second) = keys
    assert signing_key.other(ours, wanted) == ""
    for both in (ours + theirs, theirs + ours):
        assert wanted in signing_key.other(both, wanted) and second in signing_key.other(both, wanted)
    assert second in signing_key.other(theirs, wanted)


def test_a_key_is_kept_whole_and_readable_whatever_the_umask(signing_key: ModuleType, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        signing_key.keep(tmp_path / "keyrings" / "x.asc", b"key\n")
    finally:
        os.umask(before)
    path = tmp_path / "keyrings" / "x.asc"
    assert signing_key.kept(path) == b"key\n" and signing_key.kept(tmp_path / "none") == b""
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)


def armoured(data: bytes) -> str:
    body = base64.b64encode(data).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>404</html>", armoured(b""), armoured(b"\x99"), armoured(b"\x99\x00\x06\x03aaaaa"),
        armoured(b"\x99\xff\xff\x04a"), armoured(b"\xc6\xff\x00"), armoured(b"\xb4\x01\x04"),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n=x\n-----END PGP PUBLIC KEY BLOCK-----",
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_key_is_not_trusted(signing_key: ModuleType, text: str) -> None:
    assert signing_key.other(text.encode(), "A" * 40)


def test_the_drop_in_of_engines_is_one_systemd_reads(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    template = Path(__file__).resolve().parents[3] / "roles/fabric/templates/engine.conf.j2"
    text = template.read_text().replace("{{ ansible_managed | comment }}", "# made for a test")
    unit = tmp_path / "dsdeploy-engine@.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nDevicePolicy=closed\nRestrictAddressFamilies=AF_UNIX\n")
    (tmp_path / "dsdeploy-engine@.service.d").mkdir()
    (tmp_path / "dsdeploy-engine@.service.d" / "60-fabric.conf").write_text(text)
    one = tmp_path / "dsdeploy-engine@blue.service"
    one.symlink_to(unit.name)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(one)], capture_output=True, text=True, check=False
    )
    assert "60-fabric.conf" not in done.stderr and "Unknown" not in done.stderr


class Guarded:
    """Stands in for AnsibleModule on a host that has these packages, and where systemctl answers so."""

    check_mode = False

    def __init__(self, family: str, there: set[str], systemctl: tuple[int, str, str]) -> None:
        wanted = {"packages": ["rdma-core", "perftest"], "serving": ["dsdeploy-engine@blue.service"]}
        self.there, self.systemctl, self.params = there, systemctl, {"family": family, **wanted}
        self.asked: list[str] = []

    def get_bin_path(self, name: str) -> str:
        return f"/usr/bin/{name}"

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        self.asked.append(Path(words[0]).name)
        if self.asked[-1] == "systemctl":
            return self.systemctl
        if self.asked[-1] == "rpm":
            return (0 if words[-1] in self.there else 1), "", ""
        return 1, "".join(f"installed {name}\n" for name in sorted(self.there)) + "config-files perftest\n", ""

    def exit_json(self, **told: object) -> None:
        raise SystemExit(repr(told["missing"]))

    def fail_json(self, msg: str, **_: object) -> None:
        raise RuntimeError(msg)


SERVES = (0, "dsdeploy-engine@blue.service loaded active running\n", "")


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_rdma_packages_do_not_come_under_a_running_engine_and_are_not_asked_for_again(
    package_guard: ModuleType, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    def run(there: set[str], systemctl: tuple[int, str, str]) -> Guarded:
        host = Guarded(family, there, systemctl)
        monkeypatch.setattr(package_guard, "AnsibleModule", lambda **_: host)
        package_guard.main()
        return host

    with pytest.raises(RuntimeError, match=r"blue\.service runs .* perftest .*systemctl stop .*--only fabric"):
        run({"rdma-core"}, SERVES)
    with pytest.raises(RuntimeError, match="cannot be told, systemctl: no bus"):
        run(set(), (1, "", "no bus"))
    with pytest.raises(SystemExit, match="'perftest'"):
        run({"rdma-core"}, (0, "", ""))
    with pytest.raises(SystemExit, match=r"\[\]"):
        run({"rdma-core", "perftest"}, SERVES)

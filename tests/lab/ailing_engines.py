"""Engines: slow to start, dead at each start, damaged, and larger than the memory they get."""

from __future__ import annotations

import re
import shlex

from .clinic import Ailment, Found, Ward, as_printed
from .conftest import Lab
from .terminal import Operator

LIMIT = "/etc/systemd/system/dsdeploy-engine@.service.d/lab.conf"


class Engines(Ward):
    """Both engine hosts have their engine in the same colour."""

    def __init__(self, lab: Lab, operator: Operator) -> None:
        super().__init__(lab, operator)
        self.colour = lab.rotation()["gw1"]["gpu1"]
        self.unit = f"dsdeploy-engine@{self.colour}"

    def slow(self) -> Ailment:
        """What a disk that reads slowly makes of a start: for 45 seconds its process runs a twentieth of them."""
        slow = (
            f"until pid=$(systemctl show -p MainPID --value {self.unit}) && [ $pid -gt 0 ]; do sleep 0.05; done; "
            "for i in $(seq 45); do kill -STOP $pid; sleep 0.95; kill -CONT $pid; sleep 0.05; done"
        )
        slow = slow.replace("$", "$$")  # systemd would fill them in
        start = f"systemctl stop {self.unit}; systemctl start --no-block {self.unit}"

        def waited(operator: Operator, found: Found) -> None:
            operator.type(found["command"])
            assert self.lab.tell("gpu1", f"systemctl is-active {self.unit}").strip() == "active"

        end = f"systemctl stop lab-slow; systemctl kill -s CONT {self.unit}"
        return Ailment("engine starts slowly", "start-slow", "gpu1", f"the {self.colour} engine of gpu1 still loads",
                       self.on("gpu1", f"{start}; systemd-run --quiet --unit lab-slow bash -c {shlex.quote(slow)}"),
                       waited, self.on("gpu1", end, check=False))  # fmt: skip

    def build(self) -> Ailment:
        file = f"/srv/dsdeploy/{self.colour}/build/model.gguf"
        spoil = f"printf X | dd of={file} bs=1 seek=1000000 conv=notrunc status=none"
        return Ailment("a byte of the build flipped", "build", "gpu1", "model.gguf is not what was built",
                       self.on("gpu1", f"{spoil}; systemctl restart {self.unit}; true"))  # fmt: skip

    def broken(self) -> Ailment:
        library = f"/srv/dsdeploy/{self.colour}/runtime/lib/python3*/site-packages/xllamacpp"
        lost = f"rm -r {library}; systemctl restart --no-block {self.unit}"
        return Ailment("a package of the runtime gone", "runtime", "gpu1", "No module named 'xllamacpp'",
                       self.on("gpu1", lost))  # fmt: skip

    def dead(self) -> Ailment:
        """The colour's place as a disk that was full leaves it: empty."""
        empty = f": > /etc/dsdeploy/colours/{self.colour}.env; systemctl restart --no-block {self.unit}"

        def read_and_mended(operator: Operator, found: Found) -> None:
            said = operator.type(found["command"])
            assert said.code == 0 and "KeyError: 'ADDRESS'" in said.text, said

        return Ailment("engine ends at each start", "start-dead", "gpu2", "engine of gpu2 does not start",
                       self.on("gpu2", empty), read_and_mended)  # fmt: skip


class Memory(Ward):
    """A site that asks for too much; the release before serves on. Each begins with the site file as it was."""

    def __init__(self, lab: Lab, operator: Operator) -> None:
        super().__init__(lab, operator)
        self.site, self.kept = lab.site.read_text(), operator.folder / "site.kept.yml"
        self.kept.write_text(self.site)

    def ask(self, slots: int, fraction: float) -> None:
        text = re.sub("max_batch_size: [0-9]+", f"max_batch_size: {slots}", self.site)
        text = re.sub("memory_fraction: [0-9.]+", f"memory_fraction: {fraction}", text)
        assert text != self.site
        self.lab.site.write_text(text)
        failed = self.lab.up(code=None)
        assert failed.returncode in (1, 5), failed.stderr

    def refused(self) -> Ailment:
        """256 contexts of 4096 tokens are 3.4 GiB, more than 0.005 of what any computer of a lab has."""

        def lowered(operator: Operator, found: Found) -> None:
            fits = re.search("batching.max_batch_size ([0-9]+) would fit", found["cause"])
            assert fits, found
            operator.editor = (
                rf"sed -i -e s/max_batch_size:.256/max_batch_size:\x20{fits[1]}/ "
                r"-e s/preferred_batch_size:.[^]]*/preferred_batch_size:\x20[1/"
            )
            as_printed(operator, found)
            assert f"max_batch_size: {fits[1]}," in self.lab.site.read_text()

        return Ailment("more asked for than the share allows", "memory", "gpu1", "does not fit: .*256 slots x 4096 ",
                       lambda: self.ask(256, 0.005), lowered, self.back)  # fmt: skip

    def ungiven(self) -> Ailment:
        """What fits by our own sum, and llama.cpp does not get: the unit may have 3.3 GB of addresses."""
        limited = f"mkdir -p $(dirname {LIMIT}) && printf '[Service]\\nLimitAS=3300M\\n' > {LIMIT}"

        def make() -> None:
            self.lab.tell("gpu1", f"{limited} && systemctl daemon-reload")
            self.ask(256, 0.8)

        def lowered(operator: Operator, found: Found) -> None:
            operator.editor = f"cp {self.kept}"
            as_printed(operator, found)

        def back() -> None:
            self.lab.tell("gpu1", f"rm -f {LIMIT}; systemctl daemon-reload")
            self.back()

        return Ailment("memory that llama.cpp asks for in vain", "memory", "gpu1", "asked for 3456.00 MB at once",
                       make, lowered, back)  # fmt: skip

    def back(self) -> None:
        self.lab.site.write_text(self.site)

"""Weights: damaged, cut and foreign, on hosts and at their source, and a source whose certificate has ended."""

from __future__ import annotations

import http.server
import re
import ssl
import subprocess
import threading
from pathlib import Path

from .ailing_hosts import KEY
from .clinic import Ailment, Found, Ward, as_printed
from .conftest import MODEL, NETWORK, Lab
from .terminal import Operator

PLACE, STAMPS = "/srv/dsdeploy/weights", "/var/lib/dsdeploy/weights"
WEIGHTS = f"{PLACE}/{MODEL}/v1"
SHARD, OTHER = "model-00002-of-000003.safetensors", "model-00003-of-000003.safetensors"
PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n"


class Weights(Ward):
    """On hosts."""

    def damaged(self) -> Ailment:
        def make() -> None:
            self.lab.tell("gpu1", f"printf X | dd of={WEIGHTS}/{SHARD} bs=1 seek=200000 conv=notrunc status=none")
            self.lab.run("verify", str(self.lab.site), code=1)

        return Ailment("a byte of the weights flipped", "md5", "gpu1", f"{SHARD} is not what was verified", make)

    def cut(self) -> Ailment:
        return Ailment("weights truncated", "truncated", "gpu2", r"v1 of gpu2 has \d+ bytes, verified were \d+",
                       self.on("gpu2", f"truncate -s -1000 {WEIGHTS}/{SHARD}"))  # fmt: skip

    def stray(self) -> Ailment:
        return Ailment("a stranger's file among the weights", "foreign", "gpu2", "notes.bin was never verified",
                       self.on("gpu2", f"echo x > {WEIGHTS}/notes.bin"),
                       clear=self.on("gpu2", "rm -rf /srv/dsdeploy/strays"))  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Source(Ward):
    """A mirror of v2 by https on this computer, whose certificate ends first, and whose files are wrong as well."""

    def __init__(self, lab: Lab, operator: Operator) -> None:
        super().__init__(lab, operator)
        self.files = next(lab.mirror.rglob(f"v2/{SHARD}")).parent
        self.good = {name: (self.files / name).read_bytes() for name in (SHARD, OTHER)}
        self.site = lab.site.read_text()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server: http.server.ThreadingHTTPServer | None = None

    def ended(self) -> Ailment:
        address = re.escape(f"{NETWORK}1")

        def renewed(operator: Operator, found: Found) -> None:
            """The new certificate is put there; the run goes on to what is wrong with the files."""
            self.certify(days=9)
            said = operator.type(found["command"])
            assert "expire date:" in said.text and said.code == 1 and SHARD in said.text, said

        return Ailment("the source's certificate ended", "certificate", "gpu1", f"^{address}:[0-9]+: certificate has",
                       self.begin, renewed, self.end)  # fmt: skip

    def flipped(self) -> Ailment:
        def published(operator: Operator, found: Found) -> None:
            """Whoever publishes it mends it; then the line brings it."""
            self.publish()
            as_printed(operator, found)

        return Ailment(
            "a byte flipped at the source", "md5", "gpu1", f"^{SHARD}: (md5|sha256) is", self.flip, published
        )

    def foreign(self) -> Ailment:
        return Ailment(
            "a web page in place of weights", "truncated", "gpu1", f"^{OTHER}: content: a web page", self.page
        )

    def flip(self) -> None:
        damaged = bytearray(self.good[SHARD])
        damaged[len(damaged) // 2] ^= 0xFF
        (self.files / SHARD).write_bytes(damaged)

    def page(self) -> None:
        (self.files / OTHER).write_bytes(PAGE.ljust(len(self.good[OTHER])))

    def publish(self) -> None:
        for name, content in self.good.items():
            (self.files / name).write_bytes(content)

    def begin(self) -> None:
        self.certify(days=-1)
        folder = str(self.files)
        self.server = http.server.ThreadingHTTPServer((f"{NETWORK}1", 0), lambda *a: Quiet(*a, directory=folder))
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for host in ("gpu1", "gpu2"):  # where another drill has upgraded to it, there would be nothing to pull
            self.lab.tell(host, " ".join(["rm -rf", *(f"{folder}/{MODEL}/v2*" for folder in (PLACE, STAMPS))]))
        self.lab.want("v2")
        source = f'source: "https://{NETWORK}1:{self.server.server_port}/"'
        self.lab.site.write_text(re.sub(r'source: "[^"]*"', source, self.lab.site.read_text()))
        self.lab.up(code=1)

    def end(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        self.publish()
        self.lab.site.write_text(self.site)
        for host in ("gpu1", "gpu2"):
            self.lab.tell(host, "rm -f $(cat /run/lab-trusted 2>/dev/null) /run/lab-trusted")

    def certify(self, days: int) -> None:
        """A certificate for so many days, which engine hosts know."""
        folder: Path = self.operator.folder
        (folder / "names").write_text(f"subjectAltName=IP:{NETWORK}1\n")
        sign = f"x509 -req -in r -signkey k -days {days} -extfile names -out c"
        for line in (f"req -new {KEY} -keyout k -out r", sign):
            subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
        self.context.load_cert_chain(folder / "c", folder / "k")
        text = (folder / "c").read_text()
        for host in ("gpu1", "gpu2"):
            put = f"cat > /run/lab.crt <<'END'\n{text}END\n"
            name = "f=/etc/ssl/certs/$(openssl x509 -hash -noout -in /run/lab.crt).0"
            self.lab.tell(host, f"{put}{name}; mv /run/lab.crt $f; echo $f > /run/lab-trusted")

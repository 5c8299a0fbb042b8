"""Bad site files, each with words its report must contain.

Tests read this with ``runpy.run_path(".../tests/corpus/cases.py")["CASES"]``: a
tuple of (name, content as bytes, regular expression expected in the report).
Every one is refused with exit code 2 and no traceback. A command hidden in a
value would create a file named CANARY in the working directory.
"""

# ruff: noqa: E501 - a table reads best with one case a line

from __future__ import annotations

CANARY = "dsdeploy-canary"

GOOD = """\
site: lab
ssh: {user: root, identity: id_ed25519, known_hosts: known_hosts}
stack: cpu
hosts:
  gw1:  {address: 10.90.0.11, roles: [router, monitor, zookeeper]}
  gpu1: {address: 10.90.0.21, roles: [engine, zookeeper]}
  gpu2: {address: 10.90.0.22, roles: [engine, zookeeper]}
host: {transparent_hugepages: never, hugepages_2mb: 64, time_sync: true}
model: {name: deepseek-tiny, version: v1, source: "http://10.90.0.10/weights/deepseek-tiny/v1/"}
engine:
  precision: q8_0
  memory_fraction: 0.8
  devices: all
  batching: {max_batch_size: 64, preferred_batch_size: [16, 32], timeout_micros: 10000}
zookeeper: {heap: 96MiB}
router: {port: 8000, vip: 10.90.0.100, rate_limit: {requests_per_second: 100, burst: 200}}
rollout: {strategy: auto, canary: 1, soak: 10s, drain: 5m}
"""


def swap(old: str, new: str, text: str = GOOD) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n" + GOOD


_TEXTS = (
    # --- not a site file at all
    ("empty", "", "no settings"),
    ("blank", " \n\n  \n", "no settings"),
    ("only-comments", "# nothing\n# here\n", "no settings"),
    ("null", "null\n", "no settings"),
    ("scalar", "site\n", "text where a mapping is expected"),
    ("number", "42\n", "the number 42 where a mapping"),
    ("list", "- site: lab\n", "a list where a mapping"),
    ("list-of-everything", "[" + GOOD.splitlines()[0] + "]", "a list where a mapping"),
    ("json-cut-off", '{"site": "lab", "hosts": {', "not YAML"),
    ("html", "<!DOCTYPE html><html><body>404</body></html>\n", "text where a mapping"),
    ("private-key", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n", ""),
    # --- YAML's form
    ("tab-indent", swap("  gpu1:", "\tgpu1:"), r":6:1[\s\S]*a tab"),
    ("tab-indent-list", "site: lab\nhosts:\n\t- gw1\n", r":3:1[\s\S]*a tab"),
    ("unclosed-quote", swap('"http://', '"http://').replace('v1/"}', "v1/}"), r":9:\d+[\s\S]*never closed"),
    ("unclosed-single-quote", swap("site: lab", "site: 'lab"), r":1:7[\s\S]*never closed"),
    ("unclosed-bracket", swap("[16, 32]", "[16, 32"), r":14:\d+"),
    ("unclosed-brace", swap("burst: 200}}", "burst: 200}"), r"not YAML"),
    ("colon-in-text", swap("site: lab", "site: lab: two"), r":1:\d+"),
    ("bad-indent", swap("  gpu1:", "   gpu1:"), r":6:\d+"),
    ("no-space-after-colon", swap("site: lab", "site:lab"), r"not YAML|missing"),
    ("two-documents", GOOD + "---\n" + GOOD, "second YAML document"),
    ("duplicate-key", GOOD + "site: other\n", "duplicate key 'site', first on line 1"),
    ("duplicate-host", swap("  gpu2:", "  gpu1:"), "duplicate key 'gpu1', first on line 6"),
    ("duplicate-in-braces", swap("{port: 8000,", "{port: 8000, port: 9000,"), "duplicate key 'port'"),
    ("alias-bomb", _bomb(), "(?s)anchors are not allowed.*aliases are not allowed"),
    ("anchor", swap("site: lab", "site: &name lab"), "anchors are not allowed"),
    ("alias-undefined", swap("site: lab", "site: *name"), "aliases are not allowed"),
    ("merge-key", swap("gpu2: {", "gpu2: {<<: {roles: [engine]}, "), "<<"),
    ("alias-to-itself", "site: &a [*a]\n", "aliases are not allowed"),
    ("tag-python-object", swap("site: lab", f"site: !!python/object/apply:os.system ['touch {CANARY}']"), "tag"),
    ("tag-python-name", swap("site: lab", "site: !!python/name:os.system"), "tag"),
    ("tag-python-module", swap("site: lab", "site: !!python/module:antigravity"), "tag"),
    ("tag-unsafe", swap("site: lab", "site: !unsafe lab"), "tag"),
    ("tag-vault", swap("site: lab", "site: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162"), "tag"),
    ("tag-str", swap("version: v1", "version: !!str 1"), "tag"),
    ("tag-binary", swap("site: lab", "site: !!binary bGFi"), "tag"),
    ("tag-on-key", swap("site: lab", "!!str site: lab"), "tags and anchors"),
    ("tag-directive", "%TAG ! tag:x,2000:\n---\nsite: !y lab\n", "tag"),
    ("complex-key", swap("site: lab", "? [a, b]\n: lab"), "a key must be plain text"),
    ("deep-lists", "site: " + "[" * 5000 + "]" * 5000, "levels deep"),
    ("deep-mappings", "{a: " * 3000 + "1" + "}" * 3000, "levels deep"),
    ("deep-dashes", "- " * 5000 + "x", "levels deep"),
    ("many-values", "site: [" + "a, " * 70_000 + "a]", "more than 20000 values"),
    ("long-key", "k" * 2000 + ": 1\n" + GOOD, "not YAML|unknown key"),
    ("long-value", swap("site: lab", f"site: {'a' * 100_000}"), "100000 characters, the most allowed is 32"),
    ("bad-escape", swap("site: lab", 'site: "\\ud800"'), "not YAML"),
    # --- keys
    ("unknown-key", swap("{port: 8000,", "{prot: 8000,"), r"router\.prot: unknown key[\s\S]*did you mean 'port'"),
    ("unknown-top-key", GOOD + "routers: {}\n", "did you mean 'router'"),
    ("key-of-another-section", GOOD + "vip: 10.0.0.9\n", r"did you mean 'router\.vip'"),
    ("unknown-host-key", swap("gpu1: {address", "gpu1: {adress"), "(?s)unknown key.*did you mean 'address'"),
    ("missing-site", swap("site: lab\n", ""), "site: missing"),
    ("missing-model", "\n".join(x for x in GOOD.splitlines() if not x.startswith("model")), "model: missing"),
    ("missing-address", swap("{address: 10.90.0.21, roles", "{roles"), r"hosts\.gpu1\.address: missing"),
    ("no-hosts", "site: lab\nstack: cpu\nhosts: {}\nmodel: {name: a, version: b, source: /c}\n", "hosts: is empty"),
    ("null-hosts", "site: lab\nstack: cpu\nhosts:\nmodel: {name: a, version: b, source: /c}\n", "hosts: nothing where"),
    ("hosts-as-list", swap("  gw1:  {address", "  - {address").replace("  gpu", "  - gpu"), "not YAML|a list where"),
    ("empty-roles", swap("[router, monitor, zookeeper]", "[]"), "is empty"),
    ("roles-as-text", swap("[router, monitor, zookeeper]", "router"), "text where a list"),
    # --- types, and YAML 1.1's surprises
    ("norway", swap("time_sync: true", "time_sync: no"), "(?s)'no' is not true or false.*write false"),
    ("on", swap("time_sync: true", "time_sync: on"), "write true"),
    ("octal", swap("hugepages_2mb: 64", "hugepages_2mb: 0755"), "(?s)not a whole number.*write 755"),
    ("sexagesimal", swap("port: 8000", "port: 22:22"), "'22:22' is not a whole number"),
    ("exponent", swap("timeout_micros: 10000", "timeout_micros: 1e3"), "'1e3' is not a whole number"),
    ("hexadecimal", swap("port: 8000", "port: 0x1F40"), "not a whole number"),
    ("underscores", swap("port: 8000", "port: 8_000"), "not a whole number"),
    ("number-as-text", swap("port: 8000", 'port: "8000"'), "(?s)is text, not a whole number.*write 8000"),
    ("decimal-port", swap("port: 8000", "port: 8000.5"), "the number 8000.5 where a whole number"),
    ("boolean-port", swap("port: 8000", "port: true"), "true/false where a whole number"),
    ("null-port", swap("port: 8000", "port: "), "nothing where a whole number"),
    ("huge-port", swap("port: 8000", "port: 99999999999999999999"), "over the largest allowed, 65535"),
    ("huger-number", swap("hugepages_2mb: 64", "hugepages_2mb: " + "9" * 5000), "not a whole number"),
    ("negative-port", swap("port: 8000", "port: -1"), "under the smallest allowed, 1"),
    ("port-zero", swap("port: 8000", "port: 0"), "under the smallest allowed, 1"),
    ("list-port", swap("port: 8000", "port: [8000]"), "a list where a whole number"),
    ("not-a-number", swap("memory_fraction: 0.8", "memory_fraction: .nan"), "is not a number"),
    ("infinite", swap("memory_fraction: 0.8", "memory_fraction: .inf"), "is not a number"),
    ("too-much-memory", swap("memory_fraction: 0.8", "memory_fraction: 1.5"), "over the largest allowed, 1"),
    ("percent", swap("memory_fraction: 0.8", "memory_fraction: 80%"), "is not a number"),
    ("boolean-name", swap("name: deepseek-tiny", "name: true"), "(?s)yes/no value.*quote it"),
    ("duration-without-unit", swap("soak: 10s", "soak: 10"), "(?s)not a duration.*write the unit: 10s"),
    ("duration-in-words", swap("soak: 10s", "soak: ten seconds"), "not a duration"),
    ("duration-too-long", swap("drain: 5m", "drain: 48h"), "longer than a day"),
    ("negative-duration", swap("drain: 5m", "drain: -5m"), "not a duration"),
    ("size-in-1000s", swap("heap: 96MiB", "heap: 96MB"), "(?s)not a size.*write 96MiB"),
    ("size-too-small", swap("heap: 96MiB", "heap: 1MiB"), "under the smallest allowed, 32MiB"),
    ("bad-precision", swap("precision: q8_0", "precision: q8"), "did you mean 'q8_0'"),
    ("bad-stack", swap("stack: cpu", "stack: cuda12"), "did you mean 'cuda12"),
    ("bad-role", swap("[engine, zookeeper]", "[engin, zookeeper]"), "did you mean 'engine'"),
    ("bad-runtime", swap("  precision:", "  runtime: vllm\n  precision:"), "vllm"),
    ("bad-devices", swap("devices: all", "devices: some"), "neither 'all' nor a list"),
    ("doubled-device", swap("devices: all", "devices: [0, 0]"), "each once"),
    # --- values that could act
    ("address-as-option", swap("address: 10.90.0.21", f"address: -oProxyCommand=touch${{IFS}}{CANARY}"), "not YAML|neither an IP"),
    ("quoted-address-as-option", swap("10.90.0.21", f'"-oProxyCommand=touch {CANARY}"'), "must not start with a dash"),
    ("user-as-option", swap("user: root", "user: -lroot"), "must not start with a dash"),
    ("template-in-name", swap("name: deepseek-tiny", f"name: \"{{{{ lookup('pipe','touch {CANARY}') }}}}\""), "is not a name"),
    ("template-statement", swap("site: lab", 'site: "{% set x = 1 %}"'), "is not a site name"),
    ("template-in-host-name", swap("  gpu1:", f"  \"{{{{ lookup('pipe','touch {CANARY}') }}}}\":"), "is not a name"),
    ("shell-in-source", swap("/weights/", f"/$(touch {CANARY})/"), "not an http"),
    ("newline-in-user", swap("user: root", 'user: "root\\nUser=x"'), "is not a user name"),
    ("nul-in-user", swap("user: root", 'user: "root\\0"'), "is not a user name"),
    ("escape-sequence", swap("site: lab", 'site: "\\e[31mlab"'), "is not a site name"),
    ("dotdot-version", swap("version: v1", "version: .."), r"(?s)is not a name.*'\.\.'"),
    ("dotdot-inside-version", swap("version: v1", "version: a..b"), "is not a name"),
    ("dotdot-identity", swap("identity: id_ed25519", "identity: ../../root/.ssh/id"), "is not a plain path"),
    ("dotdot-source", swap("/weights/", "/../"), "steps out"),
    ("hidden-dotdot-source", swap("/weights/", "/%2e%2E/"), "steps out"),
    ("password-in-source", swap("http://10", "http://me:secret@10"), "is not an http"),
    ("ftp-source", swap("http://10", "ftp://10"), "is not an http"),
    ("source-not-a-folder", swap('v1/"', 'v1"'), "end it with a slash"),
    ("relative-source", swap('"http://10.90.0.10/weights/deepseek-tiny/v1/"', "weights/v1"), "is not an http"),
    ("dash-host-name", swap("  gpu1:", "  -gpu1:"), "is not a name|not YAML"),
    ("host-range", swap("  gpu1:", '  "gpu[1:9]":'), "is not a name"),
    ("group-as-host-name", swap("  gpu1:", "  all:"), "means a group of hosts"),
    ("site-with-slash", swap("site: lab", "site: ../lab"), "is not a site name"),
    # --- addresses
    ("address-out-of-range", swap("10.90.0.21", "10.90.0.256"), "not a valid IPv4"),
    ("address-octal", swap("10.90.0.21", "010.90.0.21"), "not a valid IPv4"),
    ("address-short", swap("10.90.0.21", "10.90"), "not a valid IPv4"),
    ("address-hexadecimal", swap("10.90.0.21", "0x0a5a0015"), "not a valid IPv4"),
    ("address-any", swap("10.90.0.21", "0.0.0.0"), "not the address of one machine"),
    ("address-multicast", swap("10.90.0.21", "224.0.0.1"), "not the address of one machine"),
    ("address-with-port", swap("10.90.0.21", '"10.90.0.21:22"'), "neither an IP"),
    ("address-with-zone", swap("10.90.0.21", '"fe80::1%eth0"'), "neither an IP"),
    ("address-with-user", swap("10.90.0.21", "root@10.90.0.21"), "neither an IP"),
    ("address-homoglyph", swap("10.90.0.21", "gрu1.example"), "neither an IP"),
    ("address-emoji", swap("10.90.0.21", "\U0001f600"), "neither an IP"),
    ("address-decomposed", swap("10.90.0.21", "e\u0301.example"), "neither an IP"),
    ("address-loopback", swap("10.90.0.21", "127.0.0.1"), "another machine to each"),
    ("address-twice", swap("10.90.0.22", "10.90.0.21"), "is the address of gpu1 already"),
    ("address-twice-in-case", swap("10.90.0.22", "GPU.lan").replace("10.90.0.21", "gpu.LAN"), "written gpu.LAN"),
    ("address-twice-in-ipv6", swap("10.90.0.22", '"fd00::1"').replace("10.90.0.21", '"FD00:0:0::0001"'), "already"),
    ("address-mapped", swap("10.90.0.22", '"::ffff:10.90.0.21"'), "is the address of gpu1 already"),
    ("vip-of-a-host", swap("vip: 10.90.0.100", "vip: 10.90.0.22"), "is the address of host gpu2"),
    ("vip-as-name", swap("vip: 10.90.0.100", "vip: gateway"), "an IP address is expected"),
    ("vip-other-family", swap("vip: 10.90.0.100", 'vip: "fd00::9"'), "needs an IPv6 address"),
    # --- parts that do not fit
    ("two-members", swap("gpu2: {address: 10.90.0.22, roles: [engine, zookeeper]", "gpu2: {address: 10.90.0.22, roles: [engine]"),
     "2 zookeeper members: majority 2, tolerates 0 failures"),
    ("four-members", GOOD.replace("host: {", "  gpu3: {address: 10.90.0.23, roles: [engine, zookeeper]}\nhost: {", 1),
     "4 zookeeper members: majority 3, tolerates 1 failure, the same as 3"),
    ("no-engine", GOOD.replace("[engine, zookeeper]", "[zookeeper]"), "0 of 3 have the role engine"),
    ("no-router", swap("[router, monitor, zookeeper]", "[zookeeper]"), "0 of 3 have the role router"),
    ("no-ensemble", GOOD.replace(", zookeeper]", "]"), "0 of 3 have the role zookeeper"),
    ("role-twice", swap("[engine, zookeeper]", "[engine, engine, zookeeper]"), "engine is there twice"),
    ("case-twins", swap("  gpu2:", "  GPU1:"), "differs from gpu1 only in case"),
    ("member-id-twice", GOOD.replace("zookeeper]}\n  gpu", "zookeeper], zookeeper_id: 7}\n  gpu"), "is the number of"),
    ("member-id-elsewhere", swap("monitor, zookeeper]", "monitor], zookeeper_id: 1"), "does not have the role"),
    ("member-id-too-large", swap("monitor, zookeeper]", "zookeeper], zookeeper_id: 256"), "over the largest allowed, 255"),
    ("same-colour-ports", swap("  precision:", "  ports: {blue: 8101, green: 8101}\n  precision:"), r"8101 is also engine\.ports\.blue"),
    ("ensemble-port-of-engine", swap("heap: 96MiB", "client_port: 8101"), "on gpu1, gpu2"),
    ("ensemble-port-of-router", swap("port: 8000", "port: 2181"), "2181 is also"),
    ("router-on-ssh-port", swap("port: 8000", "port: 22"), r"22 is also ssh\.port on gw1"),
    ("privileged-engine-port", swap("  precision:", "  ports: {blue: 80}\n  precision:"), "under the smallest allowed, 1024"),
    ("parallel-without-gpus", swap("devices: all", "tensor_parallel: 2"), "2 GPUs wanted, stack cpu has 0"),
    ("parallel-more-than-devices", swap("devices: all", "devices: [0, 1]\n  tensor_parallel: 4").replace("stack: cpu", "stack: cuda13"),
     r"4 parts on 2 devices \[0, 1\]: 2 too few"),
    ("idle-devices", swap("devices: all", "devices: [0, 1, 2]\n  tensor_parallel: 2").replace("stack: cpu", "stack: cuda13"), "1 would stay idle"),
    ("preferred-over-max", swap("[16, 32]", "[16, 128]"), "128 is over max_batch_size 64"),
    ("preferred-descending", swap("[16, 32]", "[32, 16]"), r"(?s)not ascending.*write \[16, 32\]"),
    ("large-canary", swap("canary: 1", "canary: 3"), "3 of 2 engine hosts"),
    ("tarball-without-url", swap("heap: 96MiB", "source: tarball"), "tarball_url: missing"),
    ("url-without-tarball", swap("heap: 96MiB", "tarball_url: http://a/b.tar.gz"), "not used, source is package"),
    ("short-checksum", swap("heap: 96MiB", "source: tarball, tarball_url: http://a/b, tarball_sha512: abc"), "128 digits"),
)  # fmt: skip

_MANY = "\n".join(f"  h{n}: {{address: x y, roles: [bogus]}}" for n in range(9000))

_BYTES = (
    ("bom", b"\xef\xbb\xbf" + GOOD.encode(), "byte order mark"),
    ("utf-16", GOOD.encode("utf-16"), "UTF-16 byte order mark"),
    ("utf-16-without-bom", GOOD.encode("utf-16-le"), "control character"),
    ("latin-1", swap("site: lab", "site: lab # caf\xe9").encode("latin-1"), r":1:16[\s\S]*0xe9 is not UTF-8"),
    ("surrogate", swap("site: lab", "site: lab # ").encode().replace(b"# ", b"# \xed\xa0\x80"), "not UTF-8"),
    ("overlong", b"site: \xc0\xaf\n", "not UTF-8"),
    ("nul", GOOD.encode().replace(b"lab", b"l\0ab", 1), r":1:8[\s\S]*U\+0000"),
    ("binary", bytes(range(256)) * 64, ""),
    ("elf", b"\x7fELF\x02\x01\x01" + b"\0" * 64, r"U\+007F"),
    ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\xcb\x48" * 20, ""),
    ("bell", GOOD.encode().replace(b"lab", b"l\x07ab", 1), r"U\+0007"),
    ("escape", GOOD.encode().replace(b"lab", b"lab # \x1b[31m", 1), r"U\+001B"),
    ("lone-return", GOOD.encode().replace(b"\n", b"\r"), r"U\+000D"),
    ("right-to-left", swap("lab", "lab # \u202egnp.exe").encode(), r"U\+202E"),
    ("zero-width", swap("  gpu1", "  gpu\u200b1").encode(), r":6:6[\s\S]*U\+200B"),
    ("soft-hyphen", swap("lab", "l\u00adab").encode(), r"U\+00AD"),
    ("line-separator", swap("lab", "lab\u2028stack: cpu").encode(), r"U\+2028"),
    ("five-megabytes", (GOOD + "# " + "x" * 78 + "\n").encode() + (b"# " + b"x" * 78 + b"\n") * 65_000, "larger than 1024 KiB"),
    ("five-megabytes-of-hosts", b"".join(b"h%d: {address: 10.0.0.1}\n" % n for n in range(200_000)), "larger than 1024 KiB"),
    ("ten-thousand-hosts", swap("host: {", _MANY + "\nhost: {").encode(), "more than 20000 values"),
    ("eight-thousand-keys", (GOOD + "\n".join(f"k{n}: 1" for n in range(8_000))).encode(), "more problems"),
    ("megabyte-of-quotes", b"'" * 1_000_000, ""),
    ("megabyte-of-dashes", b"-" * 1_000_000, ""),
    ("megabyte-of-colons", b"a: " * 300_000, ""),
    ("megabyte-of-questions", b"? " * 400_000, ""),
    ("megabyte-of-newlines", b"a:" + b"\n" * 1_000_000, ""),
    ("megabyte-of-anchors", b"a: [" + b"&a x, " * 150_000 + b"]", "anchors"),
    ("megabyte-of-doubled-keys", b"".join(b"a: 1\n" for _ in range(25_000)), "(?s)duplicate key"),
)  # fmt: skip

CASES: tuple[tuple[str, bytes, str], ...] = (
    *((name, text.encode(), expected) for name, text, expected in _TEXTS),
    *_BYTES,
)

"""The shell that runs the measuring programs on a host. Every value put into it goes through shlex.quote.

What runs is ended three ways, whichever comes first: it is done, its time is up, or the connection it was
started over is gone (Ctrl-C, a killed controller, a cut cable): then its standard input ends.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from dsdeploy import paths
from dsdeploy.facts.python import PYTHON
from dsdeploy.facts.shell import sections

WRITE_SECONDS = 5
MESSAGE = 1 << 20
QUEUES = 2

_PLACES = "/opt/nccl-tests/build /usr/local/nccl-tests/build /usr/lib/nccl-tests /usr/local/bin /opt/nccl-tests/bin"
# as in facts/script.py: what a login shell would find, in a language that can be parsed
_HEAD = "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH; cd /"


def guarded(command: str, seconds: int, told: bool = False) -> str:
    """The command under a time limit and under the watch of standard input; ends with a line `== rc N`.

    `told`: the first line of standard input is the command's own: what other users of the host must not read in a
    list of processes.
    """
    limited = shlex.join(["timeout", "-k", "3", str(seconds), "sh", "-c", f"{_HEAD}\n{command}"])
    own = (
        f"IFS= read -r said <&3\n{limited} 3<&- 2>&1 <<said &\n$said\nsaid"
        if told
        else f"{limited} </dev/null 3<&- 2>&1 &"
    )
    return f"""exec 3<&0
{own}
job=$!
{{ cat <&3; kill -TERM $job; }} >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait $job; rc=$?
kill $watch 2>/dev/null
echo
echo "== rc $rc"
"""


def answered(text: str) -> tuple[int | None, dict[str, str]]:
    """Exit status and sections of what such a command printed; None where it was cut off before its end."""
    found = sections(text.splitlines())
    status = next((title[3:] for title in found if title.startswith("rc ")), "")
    return int(status) if status.isdecimal() else None, {title: "\n".join(lines) for title, lines in found.items()}


def write_server(device: str, port: int, tcp: int, gid: int | None, gpu: int | None) -> str:
    return f"{_perftest(gpu)}\nexec {_write_bw(device, port, tcp, gid)} $memory"


def write_client(device: str, port: int, tcp: int, gid: int | None, gpu: int | None, server: str) -> str:
    """Prints the sections memory, json (what perftest calls so, where it can) and text.

    The server says nothing before its end, so the client tries until it is there.
    """
    run = f"{_write_bw(device, port, tcp, gid)} $memory $json {shlex.quote(server)}"
    return f"""{_perftest(gpu)}
f=$(mktemp) || exit 1
trap 'rm -f "$f"' EXIT; trap 'rm -f "$f"; exit 143' TERM
json=; case $help in *out_json*) json="--out_json --out_json_file=$f" ;; esac
n=0
while :; do
  said=$({run} 2>&1); rc=$?
  case $said in *"Couldn't connect"*) n=$((n+1)); [ $n -lt 40 ] && {{ sleep 0.25; continue; }} ;; esac
  break
done
case $memory in *cuda*) echo '== memory gpu' ;; *) echo '== memory host' ;; esac
echo '== json'; cat "$f"; echo
echo '== text'; printf '%s\\n' "$said"
exit $rc
"""


def _perftest(gpu: int | None) -> str:
    """Sets $help, and $memory where this perftest was built with CUDA: distributions build it without."""
    cuda = "" if gpu is None else f'case $help in *use_cuda*) memory="--use_cuda={gpu}" ;; esac'
    missing = "{ echo '== missing ib_write_bw'; exit 127; }"
    return f"command -v ib_write_bw >/dev/null || {missing}\nhelp=$(ib_write_bw --help 2>&1); memory=\n{cuda}"


def _write_bw(device: str, port: int, tcp: int, gid: int | None) -> str:
    words = ["ib_write_bw", "-d", device, "-i", str(port), "-p", str(tcp), "-F", "--report_gbits"]
    words += ["-D", str(WRITE_SECONDS), "-s", str(MESSAGE), "-q", str(QUEUES)]
    return shlex.join([*words, "-x", str(gid)] if gid is not None else words)


def all_reduce_here(gpus: Sequence[int], environment: Mapping[str, str]) -> str:
    """One host alone: nccl-tests where it is installed, our own program elsewhere; sections program, json, text."""
    visible = ",".join(map(str, gpus))
    own = all_reduce_among(0, 1, "127.0.0.1:0", gpus, {})
    return f"""for b in all_reduce_perf $(for d in {_PLACES}; do echo $d/all_reduce_perf; done); do
  command -v "$b" >/dev/null && break; b=
done
{_exports(environment)}
if [ -z "$b" ]; then echo '== program all_reduce.py'; echo '== json'
{own}
exit $?; fi
d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT; trap 'rm -rf "$d"; exit 143' TERM
json=; "$b" --help 2>&1 | grep -q output_file && json="-J $d/out.json"
CUDA_VISIBLE_DEVICES={visible}; export CUDA_VISIBLE_DEVICES
said=$("$b" -b 1G -e 8G -f 2 -g {len(gpus)} $json 2>&1); rc=$?
echo '== program all_reduce_perf'
echo '== json'; cat "$d/out.json" 2>/dev/null; echo
echo '== text'; printf '%s\\n' "$said"
exit $rc"""


def all_reduce_among(rank: int, hosts: int, meet: str, gpus: Sequence[int], environment: Mapping[str, str]) -> str:
    """One host's part of all_reduce over several, without MPI: the program travels as an argument, the token that
    they know each other by on standard input."""
    program = (paths.ROLES / "fabric" / "files" / "all_reduce.py").read_text(encoding="utf-8")
    words = ["-c", program, "--rank", str(rank), "--hosts", str(hosts), "--meet", meet]
    return f"{_exports(environment)}\n{PYTHON} {shlex.join([*words, '--gpus', ','.join(map(str, gpus))])}"


def diagnose() -> str:
    """DCGM's second level: a few minutes; prints a section missing where it is not installed."""
    return (
        "command -v dcgmi >/dev/null || { echo '== missing dcgmi'; exit 127; }\necho '== json'\nexec dcgmi diag -r 2 -j"
    )


def _exports(environment: Mapping[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items()))

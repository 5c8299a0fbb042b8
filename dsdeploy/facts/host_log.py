"""The last words of a host's services and of its kernel, for those who look for what went wrong."""

from __future__ import annotations

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.shell import sections

_LINES = 60
_RECENT_S = 3600
_WIDTH = 400
SOURCES = (
    "engine-blue",
    "engine-green",
    "zookeeper",
    "haproxy",
    "kernel",
    "haproxy-check",
    "nvidia-smi",
    "certificates",
)


# A unit that runs is told by its own lines of the last hour: what a start before this one said is mended, and what it
# said yesterday is over. One that failed, or tries to start, is told by its last try as well, however long ago.
# systemd's clock begins with the host's; /proc/uptime brings both together.
# Backwards: with --since journalctl counts lines from there on, and an hour's first would be read, not its last.
_SINCE = rf"""said() {{ timeout 10 journalctl -r -q -o cat --no-pager "$@" 2>/dev/null | tac; }}
since() {{
  {{
    cat /proc/uptime; date +%s
    [ $# -eq 0 ] || systemctl show -p ActiveState -p InactiveExitTimestampMonotonic "$1" 2>/dev/null
  }} | awk -F '[= ]' '
      NR == 1 {{ up = $1 }}
      NR == 2 {{ now = $1; from = now - {_RECENT_S} }}
      $1 == "ActiveState" {{ state = $2 }}
      $1 == "InactiveExitTimestampMonotonic" {{ at = $2 }}
      END {{
        began = int(now - up + at / 1000000)
        if (at > 0 && state ~ /^(active|reloading)$/ && began > from) from = began
        if (at > 0 && state ~ /^(failed|activating)$/ && began < from) from = began
        printf "@%.0f", from
      }}'
}}"""


class HostLog(dict[str, tuple[str, ...]]):
    """By source (SOURCES): its last lines that still count; one that said nothing is left out.

    `certificates` are `<unix time> <path>`.
    """


class HostLogFact(Fact[HostLog]):
    value = HostLog

    def command(self) -> str:
        # each line is marked, so that none can look like ours; each part is bounded
        mark = "head -c 32768 | sed 's/^/| /'"
        # a member without room says so once in thirty lines, the rest being its stack and its elections
        telling = f"-n {_LINES * 40} | grep -vE '^[[:space:]]+at |^INFO ' | tail -n {_LINES}"
        units = "".join(
            f"echo '== {source}'; said --since=$(since {unit}) -u {unit} "
            f"{telling if source == 'zookeeper' else f'-n {_LINES}'} | {mark}\n"
            for source, unit in (
                ("engine-blue", "dsdeploy-engine@blue.service"),
                ("engine-green", "dsdeploy-engine@green.service"),
                ("zookeeper", "zookeeper.service"),
                ("haproxy", "haproxy.service"),
            )
        )
        kernel = f"grep -E 'Xid|NVRM|[Oo]ut of memory: Killed|oom-kill' | tail -n {_LINES}"
        check = "timeout 10 /usr/sbin/haproxy -c -f /etc/haproxy/haproxy.cfg"
        return f"""{_SINCE}
{units}
echo '== kernel'; said -k --since=$(since) -n 2000 | {kernel} | {mark}
echo '== haproxy-check'
[ -x /usr/sbin/haproxy ] && [ -r /etc/haproxy/haproxy.cfg ] && ! said=$({check} 2>&1) && printf '%s\\n' "$said" | {mark}
echo '== nvidia-smi'
command -v nvidia-smi >/dev/null && ! said=$(timeout 15 nvidia-smi -L 2>&1) && printf '%s\\n' "$said" | {mark}
echo '== certificates'; for f in /etc/dsdeploy/tls/*.pem /etc/dsdeploy/tls/*.crt; do
  [ -r "$f" ] && end=$(openssl x509 -noout -enddate -in "$f" 2>/dev/null) &&
    echo "$(date -d "${{end#notAfter=}}" +%s) $f"
done | {mark}
exit 0
"""

    def process(self, output: list[str]) -> HostLog:
        found = sections(output)
        said = {source: _last(found.get(source, [])) for source in SOURCES}
        return HostLog({source: lines for source, lines in said.items() if lines})


def _last(lines: list[str]) -> tuple[str, ...]:
    kept = [line[2:].rstrip()[:_WIDTH] for line in lines if line.startswith("| ")]
    return tuple([line for line in kept if line][-_LINES:])

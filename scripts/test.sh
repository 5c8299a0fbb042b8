#!/usr/bin/env bash
# Everything this machine can run. The summary at the end names what was left out, and why.
# The linters run behind the lab, with what it leaves of the processors; tests hold clocks, so they do not.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
results=.test-results
rm -rf "$results" && mkdir -p "$results"
failed=0

part() {  # part NAME COMMAND…: run it, remember whether it failed, go on
  local name=$1 started=$SECONDS
  shift
  echo "== $name"
  if "$@"; then echo "== $name: ok ($((SECONDS - started)) s)"; else failed=1; echo "== $name: FAILED ($((SECONDS - started)) s)"; fi
}

part "unit" pytest -q -m "not lab" -n 2 --dist worksteal --junitxml "$results/unit.xml"

said=$results/lint.log
echo "== lint: behind the lab; $said as it goes, and shown after it"
set -m  # a process group of its own, so that all of it ends with this
(renice -n 19 -p "$BASHPID" >/dev/null && part "lint" scripts/lint.sh && exit "$failed") > "$said" 2>&1 &
behind=$!
set +m
trap 'kill -- "-$behind" 2>/dev/null' EXIT

# one worker a lab: tests that share one stay in order, those with a lab of their own run beside them
part "lab" pytest -q tests/lab -m lab -n 2 --dist loadgroup --junitxml "$results/lab.xml"
wait "$behind" || failed=1
trap - EXIT
cat "$said"
python scripts/summary.py "$results" || failed=1
exit "$failed"

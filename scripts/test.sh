#!/usr/bin/env bash
# Everything this machine can run. The summary at the end names what was left out, and why.
# What needs no machines runs behind the lab, with what the lab leaves of the processors.
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

without_machines() {
  part "lint" scripts/lint.sh
  part "unit" pytest -q -m "not lab" -n 2 --junitxml "$results/unit.xml"
  return "$failed"
}

said=$results/without-machines.log
echo "== lint, unit: behind the lab; $said as it goes, and shown after it"
set -m  # a process group of its own, so that all of it ends with this
(renice -n 19 -p "$BASHPID" && without_machines) > "$said" 2>&1 &
behind=$!
set +m
trap 'kill -- "-$behind" 2>/dev/null' EXIT

part "lab" pytest -q -m lab --junitxml "$results/lab.xml"
wait "$behind" || failed=1
trap - EXIT
cat "$said"
python scripts/summary.py "$results" || failed=1
exit "$failed"

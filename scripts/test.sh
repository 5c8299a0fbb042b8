#!/usr/bin/env bash
# Everything this machine can run. The summary at the end names what was left out, and why.
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

part "lint" scripts/lint.sh
part "unit" pytest -q -m "not lab" -n 2 --junitxml "$results/unit.xml"
part "lab" pytest -q -m lab --junitxml "$results/lab.xml"
python scripts/summary.py "$results" || failed=1
exit "$failed"

#!/usr/bin/env bash
# Everything this machine can run. The summary at the end names what was left out, and why.
# The linters and what has a lab of its own run beside the lab that most tests share.
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

# three on two processors: some wait for deadlines of other programs
part "unit" pytest -q -m "not lab" -n 3 --dist worksteal --junitxml "$results/unit.xml"

behind() {  # behind NAME COMMAND…: in a process group of its own, so that all of it ends with this
  local name=$1
  shift
  echo "== $name: beside the rest; $results/$name.log as it goes, and shown after it"
  set -m
  (failed=0; part "$name" "$@"; exit "$failed") > "$results/$name.log" 2>&1 &
  set +m
  groups+=("$!") logs+=("$results/$name.log")
}
groups=() logs=()
trap 'for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null; done' EXIT

behind "lint" nice -n 19 scripts/lint.sh
behind "own-labs" pytest -q tests/lab -m "lab and own_lab" --junitxml "$results/own-labs.xml"
part "lab" pytest -q tests/lab -m "lab and not own_lab and not drill" --junitxml "$results/lab.xml"
for group in "${groups[@]}"; do wait "$group" || failed=1; done
trap - EXIT
cat "${logs[@]}"
python scripts/summary.py "$results" || failed=1
echo "left out: restore, alert and doctor drills, 20 minutes and more by themselves: make drills"
exit "$failed"

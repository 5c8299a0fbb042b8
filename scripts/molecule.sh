#!/usr/bin/env bash
# Every role's scenario, one after the other on one lab: converge, idempotence, verify.
set -uo pipefail
cd "$(dirname "$0")/../tests"
export PATH="$PWD/../.venv/bin:$PATH" DSDEPLOY_MOLECULE_KEEP=1
failed=()
scenarios=("$@")
[ "$#" -gt 0 ] || for file in molecule/*/molecule.yml; do scenarios+=("$(basename "$(dirname "$file")")"); done
for scenario in "${scenarios[@]}"; do
  echo "-- $scenario"
  # molecule remembers what it created by the folder's name alone: a memory of its own for each run
  memory=$(mktemp -d)
  MOLECULE_EPHEMERAL_DIRECTORY=$memory molecule test -s "$scenario" || failed+=("$scenario")
  rm -rf "$memory"
done
dsdeploy lab down --site molecule/site.yml || failed+=("lab down")
[ "${#failed[@]}" -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }

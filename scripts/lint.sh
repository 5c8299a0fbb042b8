#!/usr/bin/env bash
# The four linters; all of them run, whatever one says.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
failed=0
for check in "ruff format --check ." "ruff check ." "mypy" "yamllint --strict ." "ansible-lint -q"; do
  echo "-- $check"
  $check || failed=1
done
exit "$failed"

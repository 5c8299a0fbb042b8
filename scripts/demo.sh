#!/usr/bin/env bash
# From bare machines to an answer: lab, up, one chat completion through the router, status.
set -euo pipefail
cd "$(dirname "$0")/.."
site=inventory/lab/site.yml

fail() {  # fail WHAT WHERE TRY
  printf 'error: %s\n   at: %s\n  try: %s\n' "$@" >&2
  exit 1
}

as_root=()
if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root=(sudo); fi
dsdeploy() { "${as_root[@]}" .venv/bin/dsdeploy "$@"; }

dsdeploy lab up --site "$site"
dsdeploy up "$site" --yes

read -r address port model < <(.venv/bin/python - "$site" <<'PYTHON'
import sys
from dsdeploy.site import load
site = load(sys.argv[1])
print(site.hosts[site.with_role("router")[0]].address, site.router.port, site.model.name)
PYTHON
)
url="http://$address:$port/v1/chat/completions"
answer=$(mktemp -d)
trap 'rm -rf "$answer"' EXIT
ask="{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"Say hello.\"}], \"max_tokens\": 24}"
echo "asking $url"
curl -sS --noproxy '*' --max-time 60 -D "$answer/headers" -o "$answer/body" -w '%{http_code}' \
  -H 'Content-Type: application/json' -d "$ask" "$url" >"$answer/code" ||
  fail "the router does not answer" "$url" ".venv/bin/dsdeploy status $site"
[ "$(cat "$answer/code")" = 200 ] ||
  fail "the router answered $(cat "$answer/code"): $(head -c 400 "$answer/body")" "$url" ".venv/bin/dsdeploy status $site"
release=$(tr -d '\r' <"$answer/headers" | sed -n 's/^x-dsdeploy-release: *//Ip')
[ -n "$release" ] || fail "the answer does not name its release" "$url" ".venv/bin/dsdeploy status $site"
text=$(.venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["choices"][0]["message"]["content"])' <"$answer/body")
[ -n "$text" ] || fail "the completion is empty" "$url" ".venv/bin/dsdeploy status $site"
printf '\nanswer:  %s\nrelease: %s\n\n' "$text" "$release"

dsdeploy status "$site"

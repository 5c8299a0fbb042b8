#!/usr/bin/env bash
# The system packages that are missing, and .venv. A second run finds both in place and takes a second.
# `setup.sh test` also has what only tests need.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(podman conmon iptables uidmap mmdebstrap debian-archive-keyring iproute2 openssh-client curl
  haproxy python3-venv netavark aardvark-dns)
if [ "${1:-}" = test ]; then
  packages+=(zookeeper default-jre-headless)         # tests of the lock and of its backups; starts no daemon
  packages+=(apt-utils dnf dnf-plugins-core rpm createrepo-c gnupg)  # repositories of stacks, made and installed from by the real tools
  packages+=(gcc libc6-dev)                          # an NVML and an NCCL of our own, for hosts with GPUs nobody here has
  packages+=(restic rclone logrotate)                # backups and logs by the programs that do them on hosts
  packages+=(socat)                                  # one of the ways in which HAProxy's socket is asked
fi
command -v runc >/dev/null || packages+=(runc)  # Docker's own packages bring one, and the two conflict

left_out() { echo "left out: $1"; }

fail() {  # fail WHAT TRY
  printf 'error: %s\n   at: make setup\n  try: %s\n' "$1" "$2" >&2
  exit 1
}

missing() {  # the packages of this list that are not installed
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
  comm -23 <(printf '%s\n' "${packages[@]}" | sort) <(sort <<<"$installed")
}

system_packages() {
  command -v dpkg-query >/dev/null || { left_out "system packages: this is neither Debian nor Ubuntu; the lab needs ${packages[*]}"; return; }
  local wanted known=() package as_root=()
  wanted=$(missing)
  [ -n "$wanted" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
      left_out "system packages, for want of root or sudo: $(tr '\n' ' ' <<<"$wanted")"
      return
    fi
    as_root=(sudo)
  fi
  echo "installing: $(tr '\n' ' ' <<<"$wanted")"
  # a broken third-party source is no reason to stop: what matters is whether the packages can be had
  "${as_root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update || true
  for package in $wanted; do  # netavark is unknown to older releases, whose podman does without
    # read to its end: under pipefail a reader that stops at the first match fails the pipe now and then
    if [[ "$(apt-cache policy "$package")" =~ Candidate:\ [^\(] ]]; then known+=("$package"); else left_out "$package: not in this release"; fi
  done
  [ "${#known[@]}" -gt 0 ] || return 0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-remove --no-install-recommends "${known[@]}" ||
    left_out "system packages: apt-get install failed, its reason stands above; the lab needs ${known[*]}"
}

python_found() {
  local name
  for name in python3.11 python3.12 python3.13 python3 python3.10 python3.14; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then echo "$name"; return; fi
  done
  return 1
}

virtual_environment() {
  local python stamp
  if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    python=$(python_found) || fail "no Python 3.10 or newer with venv is installed" "apt install python3-venv"
    "$python" -m venv --clear .venv
  fi
  stamp="$(sha256sum pyproject.toml | cut -d ' ' -f 1) $PWD"
  [ "$(cat .venv/.setup 2>/dev/null || true)" != "$stamp" ] || return 0
  echo "installing Python packages into .venv"
  .venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[dev]' ||
    fail "the Python packages could not be installed, pip's reason stands above" ".venv/bin/python -m pip install -e '.[dev]'"
  echo "$stamp" >.venv/.setup
}

programs() {  # these programs alone: the packages they are in would start servers that listen on every address
  local line package program folder
  for line in "prometheus promtool prometheus" "prometheus-alertmanager amtool"; do
    package=${line%% *}
    folder=$(mktemp -d)
    for program in ${line#* }; do
      if command -v "$program" >/dev/null || [ -x ".venv/bin/$program" ]; then continue; fi
      if [ -d "$folder/usr" ] || { command -v apt-get >/dev/null && (cd "$folder" && apt-get -qq download "$package" && dpkg-deb -x ./*.deb .) >/dev/null 2>&1; }; then
        install -m 0755 "$folder"/usr/*bin/"$program" .venv/bin/
      else
        left_out "$program: the package $package could not be had; what needs it is not tested"
      fi
    done
    rm -rf "$folder"
  done
}

system_packages
virtual_environment
[ "${1:-}" != test ] || programs

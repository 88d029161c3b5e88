#!/usr/bin/env bash
# Makes the environments of the client tests under target/clients: the two generations of the
# Python SDK in virtual environments of their own, and the npm SDK in a node_modules folder.
#
# Idempotent: an environment is made again only when the file that pins it has changed. Missing
# interpreters are installed with apt-get where that is possible, otherwise the script says what to do.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}/clients"

say() { printf 'clients: %s\n' "$*" >&2; }

# need WHAT PACKAGES...: installs Debian packages, or ends with the line to type.
need() {
    local what="$1"
    shift
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "$what is missing: installing $*"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        say "$what is missing. Install it, on Debian with: sudo apt-get install $*"
        exit 1
    fi
}

command -v python3 >/dev/null || need python3 python3 python3-venv python3-pip
python3 -c 'import venv, ensurepip' 2>/dev/null || need "Python's venv module" python3-venv
command -v node >/dev/null || need node nodejs npm
command -v npm >/dev/null || need npm npm
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' || {
    say "node $(node --version) is too old: the npm tests need node 20 or later"
    exit 1
}

mkdir -p "$target"

# fresh DIR FILES...: whether DIR was made from exactly these files.
stamp() { cat "$@" | cksum; }
fresh() {
    local dir="$1"
    shift
    [ -f "$dir/.stamp" ] && [ "$(cat "$dir/.stamp")" = "$(stamp "$@")" ]
}

for version in 1.12.1 0.1.324; do
    pins="$here/requirements/letta-client-$version.txt"
    dir="$target/python-$version"
    if fresh "$dir" "$pins" && "$dir/bin/python" -c 'import letta_client, pytest' 2>/dev/null; then
        continue
    fi
    say "installing letta-client $version"
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$pins"
    stamp "$pins" >"$dir/.stamp"
done

pins=("$here/npm/package.json" "$here/npm/package-lock.json")
dir="$target/npm"
if ! { fresh "$dir" "${pins[@]}" && [ -f "$dir/node_modules/@letta-ai/letta-client/package.json" ]; }; then
    say "installing @letta-ai/letta-client 1.12.1"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "${pins[@]}" "$here/npm/.npmrc" "$dir/"
    (cd "$dir" && npm ci --ignore-scripts --silent)
    stamp "${pins[@]}" >"$dir/.stamp"
fi
say "environments ready in $target"

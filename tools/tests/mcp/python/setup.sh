#!/usr/bin/env bash
# Makes the virtual environment of one generation of the MCP SDK and prints its Python.
#
#   setup.sh FOLDER VERSION
#
# Called by the tests themselves, of which many run at once: the first makes it, the others wait. Idempotent: an environment is made
# again only when the file that pins it has changed. Python's venv is installed with apt-get where that is possible, otherwise the
# script says what to do.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="$1" version="$2"
pins="$here/mcp-$version.txt"
dir="$folder/mcp-$version"

mkdir -p "$folder"
exec 9>"$dir.lock"
flock 9

stamp() { cksum <"$pins"; }
has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }
if [ "$(cat "$dir/.stamp" 2>/dev/null)" != "$(stamp)" ]; then
    # Both generations may be made at once, and apt-get bears no second one beside it.
    exec 8>"$folder/packages.lock"
    flock 8
    if ! has_venv; then
        if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
            apt-get update -qq >&2
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                python3 python3-venv python3-pip >&2
        else
            echo "Python's venv module is missing. On Debian: sudo apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    flock -u 8
    rm -rf "$dir"
    python3 -m venv "$dir" >&2
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$pins" >&2
    stamp >"$dir/.stamp"
fi
echo "$dir/bin/python"

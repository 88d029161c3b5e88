#!/usr/bin/env bash
# Runs the official clients, unmodified, against the built server.
#
#   tests/clients/run.sh [BINARY] [-k EXPRESSION]
#
# BINARY is target/debug/retold unless given. Everything is started on free loopback ports with
# throw-away data directories and ended again, whatever happens. The last line is `N passed, N failed`.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"

"$here/setup.sh"
exec python3 "$here/rig.py" --root "$root" "$@"

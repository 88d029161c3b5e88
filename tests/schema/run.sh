#!/usr/bin/env bash
# Asks the built server everything its own description allows, and much that it does not.
#
#   tests/schema/run.sh [BINARY] [EXAMPLES] [SEED]
#
# Schemathesis makes requests from /openapi.json: no answer may be a 5xx, and each has to be of a status, a content type
# and a shape that the description names. BINARY is target/debug/retold unless given; EXAMPLES are per operation. The
# server is started on a free loopback port with a throw-away directory and ended again. The last line is
# `N passed, N failed`, over the operations.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}"
binary="${1:-$target/debug/retold}"
examples="${2:-5}"
seed="${3:-1}"

environment="$target/schema"
if [ "$(cat "$environment/.stamp" 2>/dev/null)" != "$(cksum <"$here/requirements.txt")" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt"
    cksum <"$here/requirements.txt" >"$environment/.stamp"
fi

scratch="$(mktemp -d)"
server=
end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap end EXIT

: >"$scratch/log"
"$binary" serve --port 0 --data-dir "$scratch/data" >/dev/null 2>"$scratch/log" &
server=$!
for _ in $(seq 200); do
    url="$(sed -nE 's/.* is ready on (http[^ ]+).*/\1/p' "$scratch/log")"
    [ -z "$url" ] || break
    kill -0 "$server" || { cat "$scratch/log" >&2; exit 1; }
    sleep 0.1
done

status=0
cd "$scratch"
"$environment/bin/schemathesis" run "$url/openapi.json" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases coverage,fuzzing --max-examples "$examples" --seed "$seed" --workers 1 \
    --suppress-health-check all --request-timeout 30 --no-color >"$scratch/report" 2>&1 || status=$?
kill -0 "$server" || { echo "the server ended" >&2; cat "$scratch/log" >&2; exit 1; }
tested="$(sed -nE 's/^ *Tested: ([0-9]+).*/\1/p' "$scratch/report")"
if [ "$status" -ne 0 ] || [ -z "$tested" ]; then
    cat "$scratch/report" >&2
    echo "seed $seed"
    echo "0 passed, 1 failed"
    exit 1
fi
tail -n 3 "$scratch/report"
echo "$tested passed, 0 failed"

#!/usr/bin/env bash
# The bug zoo: switches on one seeded defect after the other and runs the test that has to notice it.
#
# `defects.txt` beside this file says which test that is. The same test has to pass while no defect is on, or its
# failure would prove nothing; `RETOLD_SOUND=1` says that they all just have. A test that fails or hangs with its defect
# has caught it; one that passes is a hole. The last line is `N passed, N failed`: one for each defect. It needs cargo
# and Python 3.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."

built="$(mktemp)"
trap 'rm -f "$built"' EXIT
cargo test --workspace --tests --features retold-events/zoo --no-run \
    --message-format=json-render-diagnostics >"$built"

# A defect shows within some hundred races.
export RETOLD_SEEDS="${RETOLD_SEEDS:-100}"
python3 - "$built" "$here/defects.txt" <<'PYTHON'
import json, os, pathlib, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

TIMEOUT = 120  # Seconds, as for every test of the gate.
AT_ONCE = 2


def executables(path):
    """Where the tests of each package and target are, and the directory they run in."""
    found = {}
    for line in open(path):
        built = json.loads(line)
        if built["reason"] != "compiler-artifact" or not built["profile"]["test"]:
            continue
        place, _, name = built["package_id"].rpartition("#")
        name = name.split("@")[0] if "@" in name else place.rsplit("/", 1)[-1]
        target = "lib" if "lib" in built["target"]["kind"] else built["target"]["name"]
        if built["executable"] and "bin" not in built["target"]["kind"]:
            directory = pathlib.Path(built["manifest_path"]).parent
            found[name, target] = (built["executable"], directory)
    return found


def run(executable, test, defect):
    """How the test ends: `ok`, `failed`, `hung`, or `no such test`."""
    program, directory = executable
    environment = {key: value for key, value in os.environ.items() if key != "RETOLD_DEFECT"}
    if defect:
        environment["RETOLD_DEFECT"] = defect
    began = time.monotonic()
    command = ["timeout", "--kill-after=5", str(TIMEOUT), program, "--exact", test]
    ended = subprocess.run(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    took = time.monotonic() - began
    if "\nrunning 1 test\n" not in "\n" + ended.stdout:
        return "no such test", took, ended.stdout
    how = {0: "ok", 124: "hung", 137: "hung"}.get(ended.returncode, "failed")
    return how, took, ended.stdout


built = executables(sys.argv[1])
defects = [line.split() for line in open(sys.argv[2]) if line.strip() and not line.startswith("#")]
for _, package, target, test in defects:
    if (package, target) not in built:
        sys.exit(f"{sys.argv[2]}: {package} has no tests in {target}, where {test} should be")
tests = sorted({(package, target, test) for _, package, target, test in defects})
sound = {}
if os.environ.get("RETOLD_SOUND"):
    # All of them have just passed.
    sound, tests = dict.fromkeys(tests, True), []
# What the binary knows is compared with the list by a test of its own.
tests.append(("retold-events", "lib", "defect::tests::every_defect_is_listed_once_and_nothing_else_is"))

with ThreadPoolExecutor(AT_ONCE) as pool:
    for of, (how, took, said) in zip(tests, pool.map(lambda of: run(built[of[:2]], of[2], None), tests)):
        sound[of] = how == "ok"
        if how != "ok":
            print(f"without a defect, {of[2]} of {of[0]}: {how}\n{said}", flush=True)
    passed = failed = 0
    if not sound[tests[-1]]:
        failed += 1
    results = pool.map(lambda it: run(built[it[1], it[2]], it[3], it[0]), defects)
    for (defect, package, target, test), (how, took, _) in zip(defects, results):
        caught = how in ("failed", "hung") and sound[package, target, test]
        passed, failed = passed + caught, failed + (not caught)
        verdict = "caught" if caught else "NOT CAUGHT"
        print(f"{verdict:10} {defect:24} {how:12} {took:5.1f} s  {package} {target} {test}", flush=True)

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
PYTHON

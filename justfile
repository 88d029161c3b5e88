# A menu over .ci/run and the scripts it calls; the list of checks is there.

# Every check, as the gate runs it.
check:
    .ci/run

# The tests.
test:
    cargo test --workspace

# The official clients against a fresh build: `just clients -k cancel --only python`.
clients *arguments:
    cargo build
    tests/clients/run.sh target/debug/retold {{ arguments }}

# Requests made from the server's own description: `just schema 20` for more of them.
schema examples="5" seed="1":
    cargo build
    tests/schema/run.sh target/debug/retold {{ examples }} {{ seed }}

# Seeded defects that the tests have to catch.
zoo:
    tests/zoo/run.sh

# The kill loop with as many kills as you have time for.
kill kills="1000":
    RETOLD_KILLS={{ kills }} cargo test --test kill -- --nocapture

# Starts the server.
serve *arguments:
    cargo run --release -- serve {{ arguments }}

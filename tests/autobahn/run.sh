#!/usr/bin/env bash
# Runs the fuzzing client of the Autobahn test suite against the server's socket code and against plain tungstenite, and
# fails where ours does worse. Needs `wstest` (PyPI: autobahntestsuite 0.8.2, which wants Python 2.7): set WSTEST to it.
# docs/autobahn.md says how it was run last, and what came of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${WSTEST:?set WSTEST to the command that starts wstest, see docs/autobahn.md}"
ours=${PORT:-9101} theirs=${PORT_TWO:-9102}
out=target/autobahn
rm -rf "$out"
mkdir -p "$out"

cargo build --example echo
target/debug/examples/echo "$ours" "$theirs" &
echo_pid=$!
trap 'kill "$echo_pid" 2>/dev/null || true' EXIT
for _ in {1..100}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$theirs") 2>/dev/null && break
    sleep 0.1
done

# 12 and 13 are about compression, which neither side offers.
cat >"$out/spec.json" <<JSON
{
    "outdir": "$PWD/$out",
    "servers": [
        {"agent": "glassbox", "url": "ws://127.0.0.1:$ours"},
        {"agent": "tungstenite", "url": "ws://127.0.0.1:$theirs"}
    ],
    "cases": ["*"],
    "exclude-cases": ["12.*", "13.*"],
    "exclude-agent-cases": {}
}
JSON
timeout 600 $WSTEST -m fuzzingclient -s "$out/spec.json" >"$out/wstest.log" 2>&1
tests/autobahn/compare.py "$out/index.json"

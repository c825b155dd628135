#!/usr/bin/env bash
# Runs two instances on one embedded database until Ctrl-C: what is done on one shows on the other.
set -euo pipefail
cd "$(dirname "$0")/.."
port_one=${PORT:-8080} port_two=${PORT_TWO:-8081}

pids=()
stop() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    wait
}
trap stop EXIT INT TERM

PORT=$port_one target/release/glassbox serve --demo &
pids+=($!)
# The second one waits for the first, so that one of them makes the demo project.
for _ in {1..1200}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$port_one") 2>/dev/null && break
    kill -0 "${pids[0]}" 2>/dev/null || exit 1
    sleep 0.1
done
PORT=$port_two target/release/glassbox serve --demo &
pids+=($!)
wait -n

#!/usr/bin/env bash
# Runs every test on an embedded PostgreSQL of its own, which ends with the tests, however they end.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -eq 0 ]; then
    default=/var/lib/glassbox-test
else
    default=${XDG_DATA_HOME:-$HOME/.local/share}/glassbox-test
fi
export GLASSBOX_DATA_DIR=${GLASSBOX_TEST_DATA_DIR:-$default}
trap 'scripts/database.sh stop' EXIT

cargo test --workspace --all-features
scripts/client.sh test
tests/api/run.sh

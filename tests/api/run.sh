#!/usr/bin/env bash
# Runs schemathesis over every documented route of a server of its own: `tests/api/run.sh [seconds]`, 150 s by default.
# Needs target/debug/glassbox.
set -euo pipefail
cd "$(dirname "$0")/../.."

requirements=tests/api/requirements.txt
stamp=$(sha256sum "$requirements" | cut -c 1-16)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/glassbox/schemathesis-$stamp
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
    touch "$venv/complete"
fi
exec "$venv/bin/python" tests/api/fuzz.py "${1:-150}"

#!/usr/bin/env bash
# The TypeScript client: client.sh build|check|test. The tests need the server, target/debug/glassbox or $GLASSBOX_BIN.
set -euo pipefail
cd "$(dirname "$0")/../client"

# No package's own scripts are run; what they would do, nobody needs.
stamp=$(sha256sum package-lock.json | cut -c 1-16)
if [ "$(cat node_modules/.installed 2>/dev/null)" != "$stamp" ]; then
    npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
    echo "$stamp" >node_modules/.installed
fi

case ${1:-} in
    build) npm run --silent build ;;
    check) npm run --silent check && npm run --silent size ;;
    test) npm run --silent test ;;
    *)
        echo "usage: $0 build|check|test" >&2
        exit 2
        ;;
esac

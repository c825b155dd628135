#!/usr/bin/env bash
# Stops the embedded PostgreSQL (database.sh stop), or stops it and removes its data (database.sh clean).
# Takes the same locks as the server does (src/postgres.rs), so it never pulls the database from under one.
set -euo pipefail

if [ -n "${GLASSBOX_DATA_DIR:-}" ]; then
    data=$GLASSBOX_DATA_DIR
elif [ "$(id -u)" -eq 0 ]; then
    data=/var/lib/glassbox
else
    data=${XDG_DATA_HOME:-$HOME/.local/share}/glassbox
fi
action=${1:-}
case $action in
    stop | clean) ;;
    *)
        echo "usage: $0 stop|clean" >&2
        exit 2
        ;;
esac
[ -e "$data/users.lock" ] || exit 0 # never used
data=$(readlink -f "$data")

exec 8>>"$data/start.lock" 9>>"$data/users.lock"
flock --wait 60 8 || { echo "another process is starting the database in $data" >&2; exit 1; }
if ! flock --nonblock 9; then
    [ "$action" = stop ] && exit 0 # someone uses it and will stop it
    echo "the database in $data is in use: stop the server first" >&2
    exit 1
fi

serves() { # serves PID: whether it is a live PostgreSQL of this cluster
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = postgres ] && [ "$(readlink "/proc/$1/cwd")" = "$data/postgres" ]
}
pid=$(head -n 1 "$data/postgres/postmaster.pid" 2>/dev/null || true)
if [[ $pid =~ ^[0-9]+$ ]] && serves "$pid"; then
    kill -INT "$pid" # fast: sessions are ended, nothing committed is lost
    for _ in {1..600}; do
        serves "$pid" || break
        sleep 0.1
    done
    if serves "$pid"; then
        echo "PostgreSQL (process $pid) does not stop: see $data/postgres.log" >&2
        exit 1
    fi
fi

if [ "$action" = clean ]; then
    # By name: the directory may hold other things. The two locks stay, others may be waiting for them.
    rm -rf -- "$data/postgres" "$data/postgres.new" "$data/socket"
    rm -f -- "$data"/{passwords.json,port,postgres.log,postgres.log.1,postgres.new.password}
    echo "removed the database in $data"
fi

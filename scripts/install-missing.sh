#!/usr/bin/env bash
# Installs what the other targets need and the machine lacks: by apt-get as root, else it says what is missing.
set -euo pipefail

rust_minor_min=95 # rust-version in Cargo.toml is 1.95
node_major_min=20 # engines in client/package.json

have() { command -v "$1" >/dev/null 2>&1; }

missing=()
have cc || missing+=(gcc libc6-dev)
have npm || missing+=(npm)
have python3 || missing+=(python3)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
python3 -c 'import ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
have flock || missing+=(util-linux)
have tar || missing+=(tar)
have gzip || missing+=(gzip)
have sha256sum || missing+=(coreutils)

if ((${#missing[@]})); then
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
        echo "missing on this machine: ${missing[*]} (on Debian: sudo apt-get install ${missing[*]})" >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -qy install --no-install-recommends "${missing[@]}"
fi

node_version=$(node --version)
if ((10#$(cut -d . -f 1 <<<"${node_version#v}") < node_major_min)); then
    echo "node $node_version is too old: version $node_major_min or newer is needed" >&2
    exit 1
fi

how="install Rust 1.$rust_minor_min or newer with rustup, then try again"
have cargo || { echo "cargo is missing: $how" >&2; exit 1; }
# From the repository's root, where a toolchain file would count.
cd "$(dirname "$0")/.."
version=$(cargo --version | cut -d ' ' -f 2)
IFS=. read -r major minor _ <<<"$version"
if ((major < 1 || (major == 1 && minor < rust_minor_min))); then
    echo "cargo $version is too old: $how (rustup update)" >&2
    exit 1
fi
for component in rustfmt clippy; do
    program=cargo-${component/rustfmt/fmt}
    have "$program" && "$program" --version >/dev/null 2>&1 && continue
    have rustup || { echo "$program is missing: it comes with rustup" >&2; exit 1; }
    rustup --quiet component add "$component"
done

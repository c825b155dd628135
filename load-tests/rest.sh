#!/usr/bin/env bash
# Times the requests that a page of the editor begins with, on a project of 5 000 nodes with two inputs and one output
# each: `load-tests/rest.sh`, after `cargo build --release`. Starts a server of its own on a database of its own and
# stops it. Needs curl, psql and python3.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=target/release/glassbox
data=$(mktemp -d "${TMPDIR:-/tmp}/glassbox-rest.XXXXXX")
chmod 755 "$data"
export GLASSBOX_DATA_DIR=$data/cluster RATE_LIMIT_PER_MINUTE=1000000 RUST_LOG=warn
unset DATABASE_URL
"$bin" serve --port 0 --metrics-port 0 >"$data/out" 2>"$data/log" &
server=$!
stop() {
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    scripts/database.sh clean >/dev/null 2>&1 || true
    rm -rf "$data"
}
trap stop EXIT
for _ in {1..1200}; do
    grep -q 'GlassBox is at' "$data/out" && break
    kill -0 "$server" || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done
api=$(sed -n 's/^GlassBox is at //p' "$data/out")/api/v1

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
token=$(curl -sf "$api/auth/dev-token" -d '{"userId": "rest", "email": "rest@example.org"}' | field token)
call() { curl -sf -H "Authorization: Bearer $token" "$@"; }
org=$(call "$api/orgs" -d '{"name": "Rest", "slug": "rest"}' | field id)
project=$(call "$api/orgs/$org/projects" -d '{"name": "Rest"}' | field id)
psql -q "$("$bin" database-url)" <<SQL
insert into nodes (org_id, project_id, title, description, author_type, metadata)
select '$org', '$project', 'Node ' || g, repeat('words and words ', 12), 'human', '{"tags": ["a", "b"], "priority": "high"}'
from generate_series(1, 5000) g;
insert into files (org_id, storage_key, storage_bucket, filename, content_type, size_bytes, processing_status)
select '$org', 'k' || g, 'b', 'f' || g || '.pdf', 'application/pdf', 1000, 'complete'
from generate_series(1, 500) g;
insert into node_inputs (node_id, input_type, text_content, label)
select id, 'text', 'some text', 'in' from nodes where project_id = '$project';
insert into node_inputs (node_id, input_type, source_node_id, label, sort_order)
select id, 'node_reference', (select id from nodes where project_id = '$project' order by id limit 1), 'reference', 1
from nodes where project_id = '$project';
insert into node_outputs (node_id, output_type, file_id, text_content, label)
select n.id, case when f.id is null then 'text' else 'file' end, f.id, case when f.id is null then 'made' end, 'out'
from (select id, row_number() over (order by id) as i from nodes where project_id = '$project') n
left join (select id, row_number() over (order by id) as i from files where org_id = '$org') f using (i);
analyze;
SQL
node=$(call "$api/projects/$project/nodes?limit=1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["id"])')

# times NAME COUNT CURL-ARGUMENTS...: the median and the slowest of COUNT calls, ms, after three that warm up; @n in an
# argument is the call's number.
times() {
    local name=$1 count=$2
    shift 2
    for ((i = 0; i < count + 3; i++)); do
        call -o "$data/answer" -w '%{time_total} %{size_download}\n' "${@//@n/$i}" | { if ((i < 3)); then cat >/dev/null; else cat; fi; }
    done | sort -n | awk -v name="$name" '{ t[NR] = $1 * 1000; size = $2 }
        END { printf "%-28s median %6.1f ms   slowest %6.1f ms   %9d bytes\n", name, t[int((NR + 1) / 2)], t[NR], size }'
}
times 'list of 5 000 nodes' 21 "$api/projects/$project/nodes"
times 'the same, gzip' 11 -H 'Accept-Encoding: gzip' "$api/projects/$project/nodes"
times 'snapshot' 21 "$api/projects/$project/snapshot"
times 'one node' 101 "$api/nodes/$node"
times 'PATCH of a node' 101 -X PATCH "$api/nodes/$node" -d '{"title": "Title @n"}'
times 'POST of a node' 101 "$api/projects/$project/nodes" -d '{"title": "new"}'

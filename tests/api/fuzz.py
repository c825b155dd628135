"""Starts a server, makes a tenant with one of everything, and lets schemathesis loose on the API.

Two passes share the time: one on the tenant's own ids, so that requests get past "not found" (nothing that deletes),
and one on ids that schemathesis makes up or finds in answers, with every method. A pass fails on a 500, on a status
that is not documented, on an answer that does not match its schema, on an undocumented method that is let in, and on
a request without credentials that is let in.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,allow_header_conformance,ignored_auth"
)
START_DEADLINE_S = 180
STOP_DEADLINE_S = 60
# The upgrade to a WebSocket is no request and answer; the page and the document describe themselves.
NOT_REST = "^/(ws|docs.*|openapi.json)?$"


def main(seconds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="glassbox-api-") as scratch:
        log = Path(scratch, "server.log")
        server = start(log)
        try:
            url = address(server)
            config, token = prepare(url, Path(scratch))
            passes = [
                ["--config-file", str(config), "run", "--exclude-method", "DELETE"],
                ["run", "--phases", "coverage,stateful"],
            ]
            failed = [run(url, token, arguments, seconds // len(passes)) for arguments in passes]
            health = requests.get(f"{url}/readyz", timeout=10)
            if health.status_code != 200:
                print(f"the server is not ready any more: {health.text}")
                failed.append(1)
        finally:
            stop(server)
        # What the server calls a defect is one, whatever it answered.
        defects = [line for line in log.read_text(errors="replace").splitlines() if " ERROR " in line]
        print("\n".join(defects[:50]))
        return 1 if any(failed) or defects else 0


def start(log: Path) -> subprocess.Popen:
    data = os.environ.get("GLASSBOX_TEST_DATA_DIR") or default_data_dir()
    environment = os.environ | {
        "GLASSBOX_DATA_DIR": f"{data}-api",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "GLASSBOX_DEV_TOKENS_PER_MINUTE": "1000000",
        "GLASSBOX_TICKETS_PER_MINUTE": "1000000",
        "GLASSBOX_DRAIN_S": "0",
        "RUST_LOG": "warn",
        "NO_COLOR": "1",
    }
    environment.pop("DATABASE_URL", None)
    return subprocess.Popen(
        ["target/debug/glassbox", "serve", "--port", "0", "--metrics-port", "0"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
    )


def default_data_dir() -> str:
    if os.getuid() == 0:
        return "/var/lib/glassbox-test"
    share = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return f"{share}/glassbox-test"


def address(server: subprocess.Popen) -> str:
    deadline = time.monotonic() + START_DEADLINE_S
    for line in server.stdout:
        if found := re.search(r"GlassBox is at (http://\S+)", line):
            return found[1]
        if time.monotonic() > deadline:
            break
    raise SystemExit("the server did not start")


def stop(server: subprocess.Popen) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        server.kill()


def prepare(url: str, scratch: Path) -> tuple[Path, str]:
    """Makes a tenant with one of everything; returns a configuration that names its ids, and its owner's token."""
    api = requests.Session()

    def post(path: str, body: dict) -> dict:
        answer = api.post(f"{url}/api/v1{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    run_id = f"{time.time_ns():x}"
    token = post("/auth/dev-token", {"userId": f"fuzz-{run_id}", "email": f"fuzz-{run_id}@example.org"})["token"]
    api.headers["Authorization"] = f"Bearer {token}"
    org = post("/orgs", {"name": "Fuzz", "slug": f"fuzz-{run_id}"})["id"]
    project = post(f"/orgs/{org}/projects", {"name": "Fuzz"})["id"]
    node = post(f"/projects/{project}/nodes", {"title": "A node"})["id"]
    other = post(f"/projects/{project}/nodes", {"title": "Another node", "parentId": node})["id"]
    ids = {
        "orgId": org,
        "projectId": project,
        "nodeId": node,
        "inputId": post(f"/nodes/{node}/inputs", {"inputType": "text", "textContent": "text"})["id"],
        "outputId": post(f"/nodes/{node}/outputs", {"outputType": "text", "textContent": "text"})["id"],
        "dependencyId": post(f"/nodes/{node}/dependencies", {"sourceNodeId": other})["id"],
        "templateId": post("/templates", {"orgId": org, "name": "Fuzz", "structure": {}})["id"],
        "keyId": post(f"/orgs/{org}/worker-keys", {"name": "Fuzz"})["id"],
        "userId": post(f"/orgs/{org}/members", {"email": f"invited-{run_id}@example.org"})["userId"],
    }
    config = scratch / "schemathesis.toml"
    lines = ["[parameters]"] + [f'"path.{name}" = "{value}"' for name, value in ids.items()]
    config.write_text("\n".join(lines) + "\n")
    return config, token


def run(url: str, token: str, arguments: list[str], seconds: int) -> int:
    """One pass; returns its exit status."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *arguments,
        f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {token}",
        "--checks", CHECKS,
        "--exclude-path-regex", NOT_REST,
        "--max-examples", "30",
        "--max-time", str(seconds),
        "--request-timeout", "20",
        "--continue-on-failure",
        "--warnings", "off",
        "--seed", os.environ.get("GLASSBOX_SEED", "1"),
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

/** Two instances of the real server on one embedded PostgreSQL, for as long as the tests run. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";

declare module "vitest" {
    export interface ProvidedContext {
        /** `http://` addresses of the instances. */
        instances: string[];
        /** For SQL of one's own, as any other writer. */
        databaseUrl: string;
    }
}

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const START_DEADLINE_MS = 120_000;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
    const target = process.env.CARGO_TARGET_DIR ?? `${repository}target`;
    const program = process.env.GLASSBOX_BIN ?? `${target}/debug/glassbox`;
    if (!existsSync(program))
        throw new Error(`${program} is missing: cargo build, or name another one in GLASSBOX_BIN`);
    const ports = await freePorts(4);
    const children: ChildProcess[] = [];
    const stop = async () => {
        await Promise.all(children.map(stopped));
    };
    try {
        for (const [port, metricsPort] of [
            [ports[0], ports[1]],
            [ports[2], ports[3]],
        ]) {
            // One after the other: the first makes the database.
            const more = children.length === 0 ? ["--demo"] : [];
            children.push(await started(program, port ?? 0, metricsPort ?? 0, more));
        }
    } catch (error) {
        await stop();
        throw error;
    }
    project.provide(
        "instances",
        [ports[0], ports[2]].map((port) => `http://127.0.0.1:${port}`),
    );
    const { stdout } = await promisify(execFile)(program, ["database-url"], { env: environment() });
    project.provide("databaseUrl", stdout.trim());
    return stop;
}

function environment(): NodeJS.ProcessEnv {
    return { ...process.env, GLASSBOX_DATA_DIR: dataDirectory(), RUST_BACKTRACE: "0" };
}

async function started(program: string, port: number, metricsPort: number, more: string[]): Promise<ChildProcess> {
    const child = spawn(program, ["serve", ...more], {
        env: {
            ...environment(),
            PORT: String(port),
            GLASSBOX_METRICS_PORT: String(metricsPort),
            GLASSBOX_DEVELOPMENT: "true",
            GLASSBOX_DEV_TOKENS_PER_MINUTE: "100000",
            RATE_LIMIT_PER_MINUTE: "100000",
            GLASSBOX_DRAIN_S: "1",
            RUST_LOG: process.env.RUST_LOG ?? "warn",
        },
        stdio: ["ignore", "ignore", "inherit"],
    });
    const until = Date.now() + START_DEADLINE_MS;
    for (;;) {
        const isReady = await fetch(`http://127.0.0.1:${port}/readyz`).then(
            (answer) => answer.ok,
            () => false,
        );
        if (isReady) return child;
        if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
        if (Date.now() > until) throw new Error("the server does not get ready");
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** Where the other tests have theirs, never where `make run` has its own. */
function dataDirectory(): string {
    const { GLASSBOX_TEST_DATA_DIR, GLASSBOX_DATA_DIR, XDG_DATA_HOME } = process.env;
    const shared = process.getuid?.() === 0 ? "/var/lib" : (XDG_DATA_HOME ?? `${homedir()}/.local/share`);
    return GLASSBOX_TEST_DATA_DIR ?? GLASSBOX_DATA_DIR ?? `${shared}/glassbox-test`;
}

function stopped(child: ChildProcess): Promise<void> {
    return new Promise((resolve) => {
        if (child.exitCode !== null) return resolve();
        child.once("exit", () => resolve());
        child.kill("SIGTERM");
    });
}

async function freePorts(count: number): Promise<number[]> {
    const servers = Array.from({ length: count }, () => createServer());
    const ports = await Promise.all(
        servers.map(
            (server) =>
                new Promise<number>((resolve) => {
                    server.listen(0, "127.0.0.1", () => {
                        const address = server.address();
                        resolve(typeof address === "object" && address ? address.port : 0);
                    });
                }),
        ),
    );
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    return ports;
}

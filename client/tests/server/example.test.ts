import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { instance } from "../support/world.js";

const run = promisify(execFile);
const cwd = fileURLToPath(new URL("../..", import.meta.url));

// The example imports the package by its name, so what it gets is what is published.
beforeAll(() => run("npm", ["run", "build"], { cwd }));

test("the example of the README joins, edits, loses its network and resumes", async () => {
    const { stdout } = await run("node", ["examples/resume.mjs", instance()], { cwd });
    const lines = stdout.trim().split("\n");
    expect(lines).toContain("link: live");
    expect(lines.find((line) => line.startsWith("joined"))).toMatch(/^joined with [1-9]\d* nodes; mine is seq \d+$/);
    expect(lines).toContain('offline: "Edited without a network", 1 command waits');
    expect(lines.find((line) => line.startsWith("back again"))).toMatch(/: applied as seq \d+, 1 resume, 0 resets$/);
    expect(lines.at(-1)).toBe("link: closed");
    expect(lines.filter((line) => line === "link: live")).toHaveLength(2);
});

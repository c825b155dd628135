import { expect, test } from "vitest";
// @ts-expect-error: a script without types
import { problemsOf } from "../../scripts/licences.mjs";

test.each([
    ["MIT", []],
    ["MIT OR GPL-3.0-only", []],
    ["(MIT AND ISC)", []],
    ["GPL-3.0-only", ["x 1.0.0 has the licence GPL-3.0-only"]],
    ["MIT AND GPL-3.0-only", ["x 1.0.0 has the licence MIT AND GPL-3.0-only"]],
    ["MPL-2.0", ["x 1.0.0 has the licence MPL-2.0"]],
    [undefined, ["x 1.0.0 names no licence"]],
])("a package with the licence %s", (license, problems) => {
    expect(problemsOf({ "": {}, "node_modules/a/node_modules/x": { version: "1.0.0", license, dev: true } })).toEqual(
        problems,
    );
});

test("an exception is for development only, and by name", () => {
    const one = { version: "1.0.0", license: "MPL-2.0" };
    expect(problemsOf({ "node_modules/lightningcss": { ...one, dev: true } })).toEqual([]);
    expect(problemsOf({ "node_modules/lightningcss": one })).toHaveLength(1);
});

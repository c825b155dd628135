// Checks the licence of every package in the lock file. None of them is shipped: they build and test the library.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ALLOWED = new Set([
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "0BSD",
    "CC0-1.0",
    "BlueOak-1.0.0",
    "Unlicense",
    "Python-2.0",
]);

/** For development only, by name: what may not come near the library itself. */
const EXCEPTIONS = [
    { name: /^lightningcss(-|$)/, licence: "MPL-2.0" }, // of Vite, which runs the tests
    { name: /^argparse$/, licence: "PSF-2.0" }, // of the generator of types; Python-2.0 by its newer name
];

/** Whether an SPDX expression without parentheses is allowed: OR needs one side, AND needs both. */
function isAllowed(expression, allowed) {
    return expression
        .replace(/^\((.*)\)$/, "$1")
        .split(" OR ")
        .some((side) => side.split(" AND ").every((licence) => allowed.has(licence)));
}

/** One line for each package that may not be here. */
export function problemsOf(packages) {
    const problems = [];
    for (const [path, { license, dev, version }] of Object.entries(packages)) {
        if (path === "") continue; // this package
        const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
        const named = EXCEPTIONS.filter((one) => dev && one.name.test(name)).map(({ licence }) => licence);
        if (typeof license !== "string") problems.push(`${name} ${version} names no licence`);
        else if (!isAllowed(license, new Set([...ALLOWED, ...named])))
            problems.push(`${name} ${version} has the licence ${license}`);
    }
    return problems;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const { packages } = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"));
    const problems = problemsOf(packages);
    for (const problem of problems) console.error(problem);
    if (problems.length > 0) process.exit(1);
}

// Measures what the library costs a page, and fails when the core is over its budget or drags along what was not asked for.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGET_BYTES = 15_000;

async function bundle(contents) {
    const { outputFiles } = await build({
        stdin: { contents, resolveDir: new URL("../src", import.meta.url).pathname, loader: "ts" },
        bundle: true,
        minify: true,
        write: false,
        format: "esm",
        target: "es2022",
        external: ["react"],
    });
    const text = outputFiles[0].text;
    return { text, bytes: gzipSync(text, { level: 9 }).length };
}

const core = await bundle(`export * from "./index.js";`);
const connection = await bundle(`export { Connection } from "./index.js";`);
const react = await bundle(`export * from "./index.js"; export * from "./react/index.js";`);
console.log(
    `core ${core.bytes} B gzipped (at most ${BUDGET_BYTES}); connection alone ${connection.bytes} B; with React's hooks ${react.bytes} B`,
);

if (core.bytes > BUDGET_BYTES) throw new Error("the core is over its budget");
for (const [what, mark] of [
    ["the trace store", "execution_closed"],
    ["projects", "node_move"],
    ["presence", "presence_diff"],
]) {
    // The reader knows each type by name; anything that acts on one compares with it.
    const acts = new RegExp(`(case|===?)\\s*"${mark}"`);
    if (!acts.test(core.text)) throw new Error(`${mark} marks nothing any more: choose another mark for ${what}`);
    if (acts.test(connection.text)) throw new Error(`importing the connection alone brings ${what}`);
}

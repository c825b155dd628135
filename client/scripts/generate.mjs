// Writes src/protocol/generated.ts from the JSON Schema of the wire types, and tests/golden.generated.ts from the
// golden frames, whose types the compiler then checks. With --check it only says whether they are up to date.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const root = new URL("..", import.meta.url);
const protocol = new URL("../protocol/", root);
const isCheck = process.argv.includes("--check");
const HEADER = "// Generated from the server's wire types by scripts/generate.mjs: do not edit.\n\n";

const readJson = (url) => JSON.parse(readFileSync(url, "utf8"));

/** One closed object for each frame: what stands in the variant and what stands beside it. */
function frames(schema, suffix, definitions) {
    const { properties = {}, required = [] } = schema;
    const names = [];
    const add = (variant) => {
        if (variant.$ref) {
            const union = schema.$defs[variant.$ref.split("/").pop()];
            for (const inner of union.oneOf ?? union.anyOf) add(inner);
            return;
        }
        const type = variant.properties.type.const;
        const name = `${type.replace(/(^|_)([a-z])/g, (_, __, letter) => letter.toUpperCase())}${suffix}`;
        definitions[name] = {
            ...variant,
            properties: { ...variant.properties, ...properties },
            required: [...variant.required, ...required],
        };
        names.push(name);
    };
    for (const variant of schema.oneOf ?? schema.anyOf) add(variant);
    return { anyOf: names.map((name) => ({ $ref: `#/definitions/${name}` })) };
}

/** Absent is absent on the wire: only in what changes fields, and in `by`, `null` is a value of its own. */
const CLEARABLE = new Set(["NodeChanges", "Presence", "PresentMember", "PresenceUpdate", "DependencyUpdate"]);

/** The global `Error` keeps its name. */
const RENAMED = { Error: "ErrorPayload" };

function nameOf(ref) {
    const name = ref.split("/").pop();
    return RENAMED[name] ?? name;
}

function tidy(schema, name) {
    if (Array.isArray(schema)) return schema.map((item) => tidy(item));
    if (typeof schema !== "object" || schema === null) return schema;
    const { format, ...rest } = schema;
    const tidied = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, tidy(value)]));
    // A reference with a remark of its own would become a second type.
    if (tidied.$ref) return { $ref: `#/definitions/${nameOf(tidied.$ref)}` };
    if (tidied.properties && !CLEARABLE.has(name)) {
        const required = new Set(tidied.required);
        for (const [key, property] of Object.entries(tidied.properties)) {
            if (!required.has(key) && key !== "by") tidied.properties[key] = withoutNull(property);
        }
    }
    return tidied;
}

function withoutNull(property) {
    if (Array.isArray(property.type)) {
        const types = property.type.filter((type) => type !== "null");
        return { ...property, type: types.length === 1 ? types[0] : types };
    }
    if (!property.anyOf) return property;
    const { anyOf, ...rest } = property;
    const left = anyOf.filter((option) => option.type !== "null");
    return left.length === 1 ? (left[0].$ref ? left[0] : { ...left[0], ...rest }) : { ...rest, anyOf: left };
}

async function types() {
    const definitions = {};
    for (const file of ["client", "server", "event"]) {
        const schema = readJson(new URL(`schema/${file}.json`, protocol));
        for (const [name, definition] of Object.entries(schema.$defs)) {
            if (name === "Command") continue; // a union of frames, which stand there by themselves
            const same = JSON.stringify(definition);
            if (definitions[name] && JSON.stringify(definitions[name]) !== same)
                throw new Error(`two kinds of ${name}`);
            definitions[name] = definition;
        }
        const suffix = { client: "Request", server: "Message", event: "Event" }[file];
        const union = { client: "ClientFrame", server: "ServerMessage", event: "EventFrame" }[file];
        definitions[union] = { description: schema.description, ...frames(schema, suffix, definitions) };
    }
    const tidied = Object.fromEntries(
        Object.entries(definitions).map(([name, value]) => [nameOf(name), tidy(value, name)]),
    );
    const text = await compile(
        {
            title: "AnyFrame",
            anyOf: ["ClientFrame", "ServerMessage", "EventFrame"].map((name) => ({ $ref: `#/definitions/${name}` })),
            definitions: tidied,
        },
        "AnyFrame",
        {
            additionalProperties: false,
            bannerComment: "",
            style: { printWidth: 120, tabWidth: 4 },
            unreachableDefinitions: false,
        },
    );
    return HEADER + text;
}

function golden() {
    let text = `${HEADER}import type { ClientFrame, EventFrame, ServerMessage } from "../src/protocol/generated.js";\n`;
    for (const [directory, type] of [
        ["client", "ClientFrame"],
        ["server", "ServerMessage"],
        ["event", "EventFrame"],
    ]) {
        const folder = new URL(`golden/${directory}/`, protocol);
        const all = Object.fromEntries(
            readdirSync(folder)
                .sort()
                .map((file) => [file.replace(".json", ""), readJson(new URL(file, folder))]),
        );
        text += `\nexport const ${directory}Frames: Record<string, ${type}> = ${JSON.stringify(all, null, 4)};\n`;
    }
    return text;
}

let isStale = false;
for (const [path, text] of [
    ["src/protocol/generated.ts", await types()],
    ["tests/golden.generated.ts", golden()],
]) {
    const url = new URL(path, root);
    let present = "";
    try {
        present = readFileSync(url, "utf8");
    } catch {}
    if (present === text) continue;
    isStale = true;
    if (!isCheck) writeFileSync(url, text);
    console.log(isCheck ? `${path} does not fit the protocol: run npm run generate` : `wrote ${path}`);
}
if (isCheck && isStale) process.exit(1);

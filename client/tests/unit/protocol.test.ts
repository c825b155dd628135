import { describe, expect, test } from "vitest";
import { read } from "../../src/index.js";
import { eventFrames, serverFrames } from "../golden.generated.js";

/** A frame from a later version: unknown fields everywhere that an object is. */
function withMore(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(withMore);
    if (typeof value !== "object" || value === null) return value;
    return { ...Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withMore(one)])), fromTheFuture: 1 };
}

describe("golden frames", () => {
    // That they have the generated types is the compiler's part: golden.generated.ts is typed.
    test.each(Object.entries({ ...serverFrames, ...eventFrames }))("%s is read and written back", (_, frame) => {
        const text = JSON.stringify(frame);
        expect(JSON.parse(JSON.stringify(read(text)))).toEqual(JSON.parse(text));
    });

    test.each(Object.entries({ ...serverFrames, ...eventFrames }))(
        "%s is read with fields nobody knows yet",
        (_, frame) => {
            expect(read(JSON.stringify(withMore(frame)))?.type).toBe(frame.type);
        },
    );
});

describe("what is no frame", () => {
    test.each([
        "",
        "nonsense",
        "[]",
        "null",
        "1",
        '"welcome"',
        "{}",
        '{"type":1}',
        '{"type":"fly"}',
        '{"type":"constructor"}',
        '{"type":"ack"}',
        '{"type":"ack","payload":{"outcome":"applied"}}',
        '{"type":"ack","payload":{"outcome":"applied","seq":"1"}}',
        '{"type":"welcome","payload":{"sessionId":"a","user":{},"limits":{},"heartbeatMs":1}}',
    ])("%j is dropped", (text) => {
        expect(read(text)).toBeUndefined();
    });

    test("an event of an unknown type, or in an unknown shape, still counts in its channel", () => {
        const unknown = {
            type: "node_starred",
            channel: "project:1",
            seq: 7,
            at: "",
            txEnd: true,
            generation: 2,
            payload: {},
        };
        expect(read(JSON.stringify(unknown))).toMatchObject({
            type: "unknown",
            channel: "project:1",
            seq: 7,
            txEnd: true,
            generation: 2,
        });
        const misshapen = { ...unknown, type: "nodes_moved", payload: { moves: [{ nodeId: "a", position: null }] } };
        expect(read(JSON.stringify(misshapen))?.type).toBe("unknown");
        expect(read(JSON.stringify({ ...unknown, type: "constructor" }))?.type).toBe("unknown");
    });
});

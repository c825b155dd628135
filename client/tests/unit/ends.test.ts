import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { QueueStorage, StoredCommand } from "../../src/index.js";
import { FakeChannel, FakeWorld, node, PROJECT } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

/** A storage that can be looked into. */
function memory(): QueueStorage & { kept: StoredCommand[]; saves: number } {
    return {
        kept: [],
        saves: 0,
        load() {
            return structuredClone(this.kept);
        },
        save(_, all) {
            this.kept = structuredClone(all);
            this.saves += 1;
        },
    };
}

describe.each([
    [4500, "token_invalid"],
    [4503, "revoked"],
    [4504, "gone"],
    [4505, "version_unsupported"],
    [4506, "protocol_error"],
    [4999, "refused"],
])("after a close with %d", (code, reason) => {
    test("nothing hangs", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const unseen = world.box.node("a");
        const socket = await world.live();
        new FakeChannel(socket, 10).open([node("a")]);
        const sent = project.updateNode("a", { title: "sent" });
        const waiting = project.updateNode("a", { title: "waits for the first" });
        const turn = project.lock("b", { wait: true });
        const acquire = socket.of("lock_acquire")[0]?.requestId;
        socket.say({ type: "ack", payload: { outcome: "unchanged", seq: 10 }, requestId: acquire });
        const read = world.box.inbox.markAllRead();
        const ready = unseen.ready;
        const ends = [sent, waiting, turn, ready].map((end) => end.catch((error: Error) => error));
        await world.settle();
        socket.end(code, "because");
        expect(await Promise.all(ends)).toMatchObject([
            { code: "CLOSED", outcome: "unknown" },
            { code: "CLOSED", outcome: "not_applied" },
            { message: "the lock is lost" },
            { message: `${reason}: because` },
        ]);
        await read;
        expect(world.box.pendingCount).toBe(0);
        await expect(world.box.project("another").ready).rejects.toThrow(reason);
        await expect(project.updateNode("a", { title: "too late" })).rejects.toMatchObject({
            code: "CLOSED",
            outcome: "not_applied",
        });
        // What was shown before still is, without the guesses.
        expect(project.node("a")?.title).toBe("a");
        await expect(project.ready).resolves.toBeUndefined();
    });
});

test("whoever signs in again finds what was kept, and somebody else does not send it", async () => {
    const storage = memory();
    const world = new FakeWorld({ storage });
    const project = world.box.project(PROJECT);
    await world.live();
    world.socket.end(1006);
    const done = project.createNode({ title: "kept" }).done;
    world.token.mockReturnValueOnce(null);
    const refusal = expect(done).rejects.toMatchObject({ code: "CLOSED", outcome: "unknown" });
    await vi.advanceTimersByTimeAsync(5_000);
    await refusal;
    expect(world.connection.link.get()).toMatchObject({ state: "closed", reason: "signed_out" });
    expect(storage.kept).toHaveLength(1);

    world.connection.connect();
    const again = await world.welcome();
    expect(again.of("node_create").map(({ requestId }) => requestId)).toEqual([storage.kept[0]?.requestId]);

    again.end(4500);
    world.connection.connect();
    const other = await world.welcome({}, "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c99");
    expect(other.of("node_create")).toEqual([]);
    await vi.advanceTimersByTimeAsync(250);
    expect(storage.kept).toEqual([]);
});

test("what was refused for good is not stored any more", async () => {
    const storage = memory();
    const world = new FakeWorld({ storage });
    const project = world.box.project(PROJECT);
    const socket = await world.live();
    void project.updateNode("a", { title: "A" });
    await world.settle();
    expect(storage.kept).toHaveLength(1);
    socket.end(4503);
    expect(storage.kept).toEqual([]);
});

describe("the queue", () => {
    test("is bounded in bytes too, for each project", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const description = "ä".repeat(100_000);
        const all = Array.from({ length: 11 }, (_, n) => project.updateNode(`n${n}`, { description }));
        await expect(all[10]).rejects.toMatchObject({ code: "QUEUE_FULL", outcome: "not_applied" });
        expect(project.pendingCount).toBe(10);
        void world.box.project("another").createNode({ title: "fine" });
        expect(world.box.pendingCount).toBe(11);
    });

    test("is saved when the page goes", async () => {
        const page = new EventTarget();
        vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
        vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
        try {
            const storage = memory();
            const world = new FakeWorld({ storage });
            const project = world.box.project(PROJECT);
            await world.settle();
            void project.updateNode("a", { title: "one" });
            await world.settle();
            void project.updateNode("a", { title: "two" });
            await world.settle();
            expect(storage.kept).toHaveLength(1);
            page.dispatchEvent(new Event("pagehide"));
            expect(storage.kept).toHaveLength(2);
            page.dispatchEvent(new Event("pagehide"));
            expect(storage.saves).toBe(2);
        } finally {
            vi.unstubAllGlobals();
        }
    });

    test("is saved at once, and then not more often than four times a second", async () => {
        const storage = memory();
        const world = new FakeWorld({ storage });
        const project = world.box.project(PROJECT);
        await world.settle();
        void project.updateNode("a", { title: "first" });
        await world.settle();
        expect(storage).toMatchObject({ saves: 1, kept: [{}] });
        for (let n = 0; n < 100; n += 1) {
            void project.updateNode("a", { title: String(n) });
            await vi.advanceTimersByTimeAsync(10);
        }
        expect(storage.saves).toBeLessThanOrEqual(5);
        await vi.advanceTimersByTimeAsync(250);
        expect(storage.kept).toHaveLength(101);
        const { saves } = storage;
        await vi.advanceTimersByTimeAsync(10_000);
        expect(storage.saves).toBe(saves);
        // What is given last is not lost with the client.
        void project.updateNode("a", { title: "one" });
        await world.settle();
        void project.updateNode("a", { title: "two" });
        world.box.close();
        expect(storage.kept).toHaveLength(103);
    });
});

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CommandError, QueueStorage, StoredCommand } from "../../src/index.js";
import { FakeChannel, FakeWorld, node, PROJECT } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

async function opened(options: ConstructorParameters<typeof FakeWorld>[0] = {}, limits = {}) {
    const world = new FakeWorld(options);
    const project = world.box.project(PROJECT);
    const socket = await world.live(limits);
    const channel = new FakeChannel(socket, 10);
    channel.open([node("a"), node("b", { parentId: "a" })]);
    return { world, project, socket, channel };
}

const isSettled = async (done: Promise<unknown>) => {
    const pending = Symbol();
    const first = await Promise.race([
        done.then(
            () => "kept",
            () => "broken",
        ),
        Promise.resolve(pending),
    ]);
    return first !== pending;
};

describe("a command", () => {
    test("shows at once, and is settled when its event was applied and not before", async () => {
        const { world, project, socket, channel } = await opened();
        const done = project.updateNode("a", { title: "mine" });
        expect(project.node("a")?.title).toBe("mine");
        const [sent] = socket.of("node_update");
        channel.ack(sent?.requestId, { seq: 11, version: 2 });
        await world.settle();
        expect(await isSettled(done)).toBe(false);
        expect(project.node("a")?.title).toBe("mine");
        const seen: (string | undefined)[] = [];
        project.subscribe(() => seen.push(project.node("a")?.title));
        channel.event(
            "node_updated",
            { nodeId: "a", changes: { title: "mine" }, version: 2 },
            { requestId: sent?.requestId },
        );
        await expect(done).resolves.toMatchObject({ seq: 11 });
        expect(new Set(seen)).toEqual(new Set(["mine"]));
        expect(project.node("a")?.version).toBe(2);
    });

    test("is no guess any more once its event is there, so that a later change by others shows", async () => {
        const { project, socket, channel } = await opened();
        const done = project.updateNode("a", { title: "mine" });
        const [sent] = socket.of("node_update");
        channel.event(
            "node_updated",
            { nodeId: "a", changes: { title: "mine" }, version: 2 },
            { requestId: sent?.requestId },
        );
        channel.event("node_updated", { nodeId: "a", changes: { title: "theirs" }, version: 3 });
        expect(project.node("a")?.title).toBe("theirs");
        channel.ack(sent?.requestId, { seq: 11 });
        await done;
        expect(project.node("a")?.title).toBe("theirs");
    });

    test("that is refused is rolled back, and the others are applied again", async () => {
        const rejected: [CommandError, { type: string }][] = [];
        const { project, socket, channel } = await opened({ onRejected: (...args) => rejected.push(args) });
        const first = project.updateNode("a", { title: "refused", status: "done" });
        const second = project.updateNode("a", { title: "kept" });
        expect(project.node("a")).toMatchObject({ title: "kept", status: "done" });
        const [one] = socket.of("node_update");
        channel.refuse(one?.requestId, "VALIDATION");
        const [, two] = socket.of("node_update");
        await expect(first).rejects.toMatchObject({
            code: "VALIDATION",
            outcome: "not_applied",
            command: "node_update",
        });
        expect(project.node("a")).toMatchObject({ title: "kept", status: "draft" });
        expect(rejected.map(([error, command]) => [error.code, command.type])).toEqual([["VALIDATION", "node_update"]]);
        channel.event(
            "node_updated",
            { nodeId: "a", changes: { title: "kept" }, version: 2 },
            { requestId: two?.requestId },
        );
        channel.ack(two?.requestId);
        await second;
    });

    test("leaves what others do visible beneath it", async () => {
        const { project, channel } = await opened();
        void project.updateNode("a", { title: "mine" });
        channel.event("node_updated", { nodeId: "a", changes: { title: "theirs", status: "done" }, version: 2 });
        expect(project.node("a")).toMatchObject({ title: "mine", status: "done", version: 2 });
    });

    test("given without a network waits, keeps its order, and is sent again under the same id", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const { id } = project.createNode({ title: "new" });
        const done = project.moveNodes([{ nodeId: id, position: { x: 3, y: 4 } }]);
        expect(project.node(id)?.position).toEqual({ x: 3, y: 4 });
        const first = await world.live();
        const types = () => world.socket.sent.map(({ type }) => type).filter((type) => type.startsWith("node"));
        // What is about the same node waits for the answer.
        expect(types()).toEqual(["node_create"]);
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(5_000);
        const second = await world.welcome();
        expect(second.of("node_create")).toEqual(first.of("node_create"));
        const channel = new FakeChannel(second, 12);
        channel.ack(second.of("node_create")[0]?.requestId, { seq: 11, duplicate: true });
        expect(types()).toEqual(["node_create", "node_move"]);
        channel.ack(second.of("node_move")[0]?.requestId, { seq: 12, duplicate: true });
        expect(await isSettled(done)).toBe(false);
        channel.open([node(id, { position: { x: 3, y: 4 } })]);
        await done;
    });

    test("acknowledged in a life of the log that is over is settled by the new state", async () => {
        const { project, socket, channel } = await opened();
        const done = project.updateNode("a", { title: "lost" });
        channel.ack(socket.of("node_update")[0]?.requestId, { seq: 11 });
        channel.epoch = "another-life";
        channel.seq = 3;
        channel.reset("epoch_changed");
        channel.snapshot([node("a")]);
        channel.synced();
        await done;
        expect(project.node("a")?.title).toBe("a");
    });

    test("that cannot be taken now is tried again, with all that follow behind it", async () => {
        const { world, project, socket, channel } = await opened();
        const done = project.updateNode("a", { title: "1" });
        const [sent] = socket.of("node_update");
        channel.refuse(sent?.requestId, "PROJECT_BUSY", true);
        void project.updateNode("a", { title: "2" });
        await world.settle();
        expect(socket.of("node_update")).toHaveLength(1);
        await vi.advanceTimersByTimeAsync(1_000);
        // The newer value is not sent before the older one has its answer, or the older one would win.
        expect(socket.of("node_update").map(({ payload }) => payload.changes.title)).toEqual(["1", "1"]);
        channel.event(
            "node_updated",
            { nodeId: "a", changes: { title: "1" }, version: 2 },
            { requestId: sent?.requestId },
        );
        channel.ack(sent?.requestId);
        await done;
        expect(socket.of("node_update").map(({ payload }) => payload.changes.title)).toEqual(["1", "1", "2"]);
    });

    test("that others may allow later is the caller's to decide", async () => {
        const { project, socket, channel } = await opened();
        const done = project.updateNode("a", { title: "1" });
        channel.refuse(socket.of("node_update")[0]?.requestId, "LOCK_HELD", true);
        await expect(done).rejects.toMatchObject({ code: "LOCK_HELD", temporary: true });
    });

    test("that is too large is refused before it is sent", async () => {
        const { project, socket } = await opened({}, { frameBytes: 2_000 });
        await expect(project.updateNode("a", { description: "ä".repeat(1_000) })).rejects.toMatchObject({
            code: "TOO_LARGE",
        });
        expect(socket.of("node_update")).toHaveLength(0);
        expect(project.node("a")?.description).toBeUndefined();
    });

    test("beyond the bound of the queue is refused", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        for (let n = 0; n < 1_000; n += 1) void project.updateNode("a", { title: String(n) });
        await expect(project.updateNode("a", { title: "more" })).rejects.toMatchObject({ code: "QUEUE_FULL" });
        // Another project's commands have a bound of their own.
        const other = world.box.project("another").createNode({ title: "fine" }).done;
        await world.settle();
        expect(await isSettled(other)).toBe(false);
    });

    test("goes at the server's pace", async () => {
        const { project, socket } = await opened({}, { commandsPerSecond: 50, commandsBurst: 100 });
        for (let n = 0; n < 300; n += 1) void project.updateNode(`node ${n}`, { title: String(n) });
        expect(socket.of("node_update")).toHaveLength(80);
        await vi.advanceTimersByTimeAsync(1_000);
        expect(socket.of("node_update").length).toBeLessThanOrEqual(80 + 40);
        await vi.advanceTimersByTimeAsync(5_000);
        expect(socket.of("node_update").map(({ payload }) => payload.changes.title)).toEqual(
            Array.from({ length: 300 }, (_, n) => String(n)),
        );
    });

    test("sent by a tab that has to take another id has an unknown outcome", async () => {
        const { world, project } = await opened();
        const sent = project.updateNode("a", { title: "sent" });
        world.socket.end(4507);
        const waiting = project.updateNode("a", { title: "waiting" });
        await vi.advanceTimersByTimeAsync(5_000);
        const socket = await world.welcome();
        await expect(sent).rejects.toMatchObject({ code: "CLOSED", outcome: "unknown" });
        expect(await isSettled(waiting)).toBe(false);
        expect(socket.of("node_update").map(({ payload }) => payload.changes.title)).toEqual(["waiting"]);
    });

    test("outlives a reload where there is a storage", async () => {
        const kept = new Map<string, StoredCommand[]>();
        const storage: QueueStorage = {
            load: (id) => kept.get(id) ?? [],
            save: (id, all) => kept.set(id, structuredClone(all)),
        };
        const before = new FakeWorld({ storage });
        await before.settle();
        const { id } = before.box.project(PROJECT).createNode({ title: "kept" });
        await before.settle();

        const after = new FakeWorld({ storage });
        const project = after.box.project(PROJECT);
        await after.settle();
        expect(project.node(id)?.title).toBe("kept");
        const socket = await after.live();
        const channel = new FakeChannel(socket, 10);
        channel.open();
        const [sent] = socket.of("node_create");
        expect(sent?.requestId).toBe(kept.values().next().value?.[0]?.requestId);
        channel.event("node_created", { nodeId: id, node: node(id) }, { requestId: sent?.requestId });
        channel.ack(sent?.requestId);
        await vi.advanceTimersByTimeAsync(250);
        expect([...kept.values()]).toEqual([[]]);
    });

    test("of somebody who has signed out is not sent by who signs in next", async () => {
        const { world, project } = await opened();
        world.socket.end(1006);
        const done = project.updateNode("a", { title: "ada's" });
        await vi.advanceTimersByTimeAsync(5_000);
        const socket = await world.welcome({}, "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c99");
        await expect(done).rejects.toMatchObject({ code: "CLOSED", outcome: "not_applied" });
        expect(socket.of("node_update")).toEqual([]);
    });

    test("that turns out to be too large for the server is refused, and does not hold up the next", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const large = project.updateNode("a", { description: "x".repeat(5_000) });
        void project.updateNode("a", { title: "small" });
        const socket = await world.live({ frameBytes: 2_000 });
        await expect(large).rejects.toMatchObject({ code: "TOO_LARGE" });
        expect(socket.of("node_update").map(({ payload }) => payload.changes.title)).toEqual(["small"]);
    });

    test("goes out also where the storage fails, and stays stored when the client is closed", async () => {
        const broken: QueueStorage = { load: () => Promise.reject(new Error("broken")), save: () => {} };
        const { project, socket } = await opened({ storage: broken });
        void project.updateNode("a", { title: "A" });
        expect(socket.of("node_update")).toHaveLength(1);

        let kept: StoredCommand[] = [];
        const storage: QueueStorage = { load: () => [], save: (_, all) => (kept = structuredClone(all)) };
        const world = new FakeWorld({ storage });
        await world.settle();
        const { done } = world.box.project(PROJECT).createNode({ title: "kept" });
        await world.settle();
        world.box.close();
        await expect(done).rejects.toMatchObject({ code: "CLOSED" });
        await world.settle();
        expect(kept).toHaveLength(1);
    });

    test("a client that is closed refuses what waits", async () => {
        const world = new FakeWorld();
        const { done } = world.box.project(PROJECT).createNode({ title: "late" });
        world.box.close();
        await expect(done).rejects.toMatchObject({ code: "CLOSED", outcome: "not_applied" });
    });
});

describe("what is shown", () => {
    test("a deleted node takes along what lies below it, and its edges", async () => {
        const { project, channel } = await opened();
        channel.event("node_created", { nodeId: "c", node: node("c") });
        channel.event("dependency_added", {
            dependency: { id: "e", sourceNodeId: "c", targetNodeId: "b", createdAt: "" },
        });
        expect(project.dependencies.size).toBe(1);
        void project.deleteNode("a");
        expect([...project.nodes.keys()]).toEqual(["c"]);
        expect(project.dependencies.size).toBe(0);
    });

    test("keeps its identity where nothing changed", async () => {
        const { project, channel } = await opened();
        void project.updateNode("a", { title: "mine" });
        const [all, a, b, edges, locks] = [
            project.nodes,
            project.node("a"),
            project.node("b"),
            project.dependencies,
            project.locks,
        ];
        channel.event("member_added", { userId: "u", role: "viewer" });
        expect(project.node("a")).toBe(a);
        expect(project.node("b")).toBe(b);
        expect(project.dependencies).toBe(edges);
        expect(project.locks).toBe(locks);
        expect(project.members.get("u")?.role).toBe("viewer");
        channel.event("nodes_moved", { moves: [{ nodeId: "b", position: { x: 1, y: 1 } }] });
        expect(project.nodes).not.toBe(all);
        expect(project.node("a")).toBe(a);
        expect(project.node("b")).not.toBe(b);
    });
});

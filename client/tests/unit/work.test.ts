import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ProjectStore } from "../../src/index.js";
import { Collection } from "../../src/project/collection.js";
import { Content } from "../../src/project/events.js";
import { FakeChannel, FakeWorld, node, PROJECT } from "../support/fake.js";

const COUNT = 200;

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
});

async function opened(options: ConstructorParameters<typeof FakeWorld>[0] = {}) {
    const world = new FakeWorld(options);
    const project = world.box.project(PROJECT);
    const socket = await world.live({ commandsBurst: 10_000 });
    const channel = new FakeChannel(socket, 10);
    const nodes = Array.from({ length: COUNT }, (_, n) => node(`n${n}`, n % 2 === 1 ? { parentId: `n${n - 1}` } : {}));
    const edge = { id: "e", sourceNodeId: "n0", targetNodeId: "n2", createdAt: "" };
    channel.open(nodes, { dependencies: [edge] });
    expect(project.nodes.size).toBe(COUNT);
    await world.settle();
    return { world, project, socket, channel };
}

/** Counts what must not grow with the number of commands. */
function counted(project: ProjectStore) {
    const changes = vi.fn();
    project.subscribe(changes);
    return {
        changes,
        rebuilds: vi.spyOn(Content.prototype, "rebuild"),
        copies: vi.spyOn(Collection.prototype, "all", "get"),
    };
}

describe("a selection that is deleted", () => {
    test("is put on top command by command, and told of twice", async () => {
        const { world, project } = await opened();
        const { rebuilds, copies, changes } = counted(project);
        for (let n = 0; n < COUNT; n += 2) void project.deleteNode(`n${n}`);
        expect(project.node("n0")).toBeUndefined();
        expect(project.node("n1")).toBeUndefined();
        // At once, for an input that shows what is typed, and for all that followed.
        expect(changes).toHaveBeenCalledTimes(1);
        await world.settle();
        expect(changes).toHaveBeenCalledTimes(2);
        expect(rebuilds).not.toHaveBeenCalled();
        expect(copies).not.toHaveBeenCalled();
        expect(project.nodes.size).toBe(0);
    });

    test("costs one rebuild for each transaction, and none for an answer", async () => {
        const { world, project, socket, channel } = await opened();
        for (let n = 0; n < 20; n += 2) void project.deleteNode(`n${n}`);
        await world.settle();
        const { rebuilds, copies, changes } = counted(project);
        const [first] = socket.of("node_delete");
        channel.event("node_deleted", { nodeId: "n1" }, { requestId: first?.requestId, txEnd: false });
        channel.event("node_deleted", { nodeId: "n0" }, { requestId: first?.requestId });
        expect(rebuilds).toHaveBeenCalledTimes(1);
        expect(changes).toHaveBeenCalledTimes(1);
        channel.ack(first?.requestId);
        await world.settle();
        expect(rebuilds).toHaveBeenCalledTimes(1);
        channel.event("node_updated", { nodeId: "n21", changes: { title: "theirs" }, version: 2 });
        expect(rebuilds).toHaveBeenCalledTimes(2);
        expect(changes).toHaveBeenCalledTimes(2);
        expect(copies).not.toHaveBeenCalled();
        expect(project.nodes.size).toBe(COUNT - 20);
    });

    test("that is refused comes back with one rebuild, whoever looks in between", async () => {
        const { world, project, socket, channel } = await opened();
        for (let n = 0; n < COUNT; n += 2) void project.deleteNode(`n${n}`);
        await world.settle();
        const { rebuilds, changes } = counted(project);
        for (const { requestId } of socket.of("node_delete")) channel.refuse(requestId, "FORBIDDEN");
        await world.settle();
        expect(changes.mock.calls.length).toBeLessThanOrEqual(2);
        expect(rebuilds.mock.calls.length).toBeLessThanOrEqual(2);
        expect(project.nodes.size).toBe(COUNT);
        expect(project.pendingCount).toBe(0);
    });

    test("takes along what was moved below it meanwhile, and what is made there no more", async () => {
        const { project, channel } = await opened();
        void project.updateNode("n3", { parentId: "n0" });
        void project.deleteNode("n0");
        expect([project.node("n1"), project.node("n2")?.id, project.node("n3")]).toEqual([undefined, "n2", undefined]);
        channel.event("node_updated", { nodeId: "n1", changes: { parentId: null }, version: 2 });
        channel.event("node_created", { nodeId: "new", node: node("new", { parentId: "n0" }) });
        expect([project.node("n1")?.id, project.node("new")]).toEqual(["n1", undefined]);
        expect(project.node("n3")).toBeUndefined();
    });
});

test("edges are found by their ends, without a look at the others", async () => {
    const { project } = await opened();
    const { copies, rebuilds } = counted(project);
    void project.addDependency({ sourceNodeId: "n0", targetNodeId: "n2" });
    void project.addDependency({ sourceNodeId: "n0", targetNodeId: "n4" });
    void project.removeDependency({ sourceNodeId: "n0", targetNodeId: "n2" });
    expect([rebuilds, copies].map(({ mock }) => mock.calls.length)).toEqual([0, 0]);
    expect([...project.dependencies.values()].map(({ targetNodeId }) => targetNodeId)).toEqual(["n4"]);
});

test("an end of the project refuses all that waits with one change", async () => {
    let seen: (string | undefined)[] = [];
    const { world, project, socket } = await opened({ onRejected: () => seen.push(project.node("n0")?.title) });
    socket.end(1006);
    for (let n = 0; n < 50; n += 1) void project.updateNode("n0", { title: String(n) });
    await world.settle();
    const { rebuilds } = counted(project);
    seen = [];
    world.connection.close();
    expect(seen).toEqual(Array.from({ length: 50 }, () => "n0"));
    expect(rebuilds).toHaveBeenCalledTimes(1);
});

describe("whoever watches one node", () => {
    test("hears of that node and of its lock only, at once", async () => {
        const { project, channel } = await opened();
        const heard = { n4: 0, n6: 0 };
        const stop = project.subscribeNode("n4", () => {
            heard.n4 += 1;
        });
        project.subscribeNode("n6", () => {
            heard.n6 += 1;
        });
        const title = (nodeId: string, title: string, version: number) =>
            channel.event("node_updated", { nodeId, changes: { title }, version });
        title("n4", "A", 2);
        title("n8", "B", 2);
        expect(heard).toEqual({ n4: 1, n6: 0 });
        void project.updateNode("n8", { title: "mine" });
        void project.updateNode("n4", { title: "mine" });
        expect(heard).toEqual({ n4: 2, n6: 0 });
        const lock = { lockedBy: "u", lockedAt: "", expiresAt: "", expiresInMs: 30_000 };
        channel.event("lock_acquired", { nodeId: "n6", ...lock });
        expect(project.lockOn("n6")?.lockedBy).toBe("u");
        // Nothing that this client still guesses is another thing after somebody else's event.
        expect(heard).toEqual({ n4: 2, n6: 1 });
        stop();
        title("n4", "C", 3);
        expect(heard).toEqual({ n4: 2, n6: 1 });
    });

    test("hears that a guess was taken back, and that the whole state is another one", async () => {
        const { project, socket, channel } = await opened();
        const heard = vi.fn();
        project.subscribeNode("n4", heard);
        void project.updateNode("n4", { title: "mine" });
        channel.refuse(socket.of("node_update")[0]?.requestId, "FORBIDDEN");
        await Promise.resolve();
        expect(heard).toHaveBeenCalledTimes(2);
        expect(project.node("n4")?.title).toBe("n4");
        channel.open([]);
        expect(heard).toHaveBeenCalledTimes(3);
        expect(project.node("n4")).toBeUndefined();
    });
});

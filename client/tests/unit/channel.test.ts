import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CHANNEL, EPOCH, FakeChannel, FakeWorld, node, PROJECT } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

async function opened(seq = 41) {
    const world = new FakeWorld();
    const project = world.box.project(PROJECT);
    const socket = await world.live();
    const channel = new FakeChannel(socket, seq);
    channel.open([node("a")]);
    return { world, project, socket, channel };
}

/** The connection breaks and is there again. */
async function again(world: FakeWorld, channel: FakeChannel): Promise<FakeChannel> {
    world.socket.end(1006);
    await vi.advanceTimersByTimeAsync(5_000);
    return new FakeChannel(await world.welcome(), channel.seq, channel.epoch);
}

describe("a channel", () => {
    test("opens with a snapshot of several parts, shown together", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const channel = new FakeChannel(await world.live(), 41);
        expect(channel.asked?.payload).toEqual({ channel: CHANNEL, from: "snapshot" });
        channel.subscribed();
        channel.snapshot([node("a")], 1, 2);
        expect(project.isLoaded).toBe(false);
        channel.snapshot([node("b")], 2, 2);
        expect([...project.nodes.keys()]).toEqual(["a", "b"]);
        expect(project.status.get().state).toBe("joining");
        channel.synced();
        expect(project.status.get()).toEqual({ state: "live", role: "member" });
        await project.ready;
    });

    test("resumes after the newest whole transaction", async () => {
        const { world, project, channel } = await opened();
        channel.event("node_updated", { nodeId: "a", changes: { title: "A" }, version: 2 });
        channel.event("node_updated", { nodeId: "a", changes: { title: "half" }, version: 3 }, { txEnd: false });
        expect(project.node("a")?.title).toBe("A");
        const next = await again(world, channel);
        expect(project.node("a")?.title).toBe("A");
        expect(next.asked?.payload.from).toEqual({ epoch: EPOCH, seq: 42 });
        next.subscribed();
        next.seq = 42;
        next.event("node_updated", { nodeId: "a", changes: { title: "half" }, version: 3 }, { txEnd: false });
        next.event("node_updated", { nodeId: "a", changes: { title: "whole" }, version: 4 });
        next.synced();
        expect(project.node("a")).toMatchObject({ title: "whole", version: 4 });
        expect(project.status.get().state).toBe("live");
    });

    test("applies the events of one transaction together", async () => {
        const { project, channel } = await opened();
        const seen: (string | undefined)[] = [];
        project.subscribe(() => seen.push(project.node("a")?.title));
        channel.event("node_updated", { nodeId: "a", changes: { title: "1" }, version: 2 }, { txEnd: false });
        channel.event("node_updated", { nodeId: "a", changes: { title: "2" }, version: 3 }, { txEnd: false });
        channel.event("node_updated", { nodeId: "a", changes: { title: "3" }, version: 4 });
        expect(seen).toEqual(["3"]);
    });

    test("asks again from where it is when an event is missing, and passes over what comes twice", async () => {
        const { world, project, socket, channel } = await opened();
        channel.event("node_updated", { nodeId: "a", changes: { title: "A" }, version: 2 });
        channel.seq = 41;
        channel.event("node_updated", { nodeId: "a", changes: { title: "again" }, version: 2 });
        expect(project.node("a")?.title).toBe("A");
        await world.settle();
        expect(socket.of("subscribe")).toHaveLength(1);
        channel.seq = 43;
        channel.event("node_updated", { nodeId: "a", changes: { title: "C" }, version: 4 });
        await world.settle();
        expect(socket.of("subscribe")).toHaveLength(2);
        expect(channel.asked?.payload.from).toEqual({ epoch: EPOCH, seq: 42 });
        // What the earlier subscription still says is of an earlier generation.
        channel.event("node_deleted", { nodeId: "a" });
        channel.seq = 42;
        channel.subscribed(2);
        channel.event("node_deleted", { nodeId: "a" }, { generation: 1 });
        channel.seq = 42;
        channel.event("node_updated", { nodeId: "a", changes: { title: "B" }, version: 3 });
        channel.event("node_updated", { nodeId: "a", changes: { title: "C" }, version: 4 });
        channel.synced();
        expect(project.node("a")).toMatchObject({ title: "C", version: 4 });
        expect(world.connection.stats.gaps).toBe(1);
    });

    test("notices by the head that something was lost", async () => {
        const { world, socket, channel } = await opened();
        channel.head();
        expect(socket.of("subscribe")).toHaveLength(1);
        channel.head(42);
        await world.settle();
        expect(channel.asked?.payload.from).toEqual({ epoch: EPOCH, seq: 41 });
        expect(socket.of("subscribe")).toHaveLength(2);
    });

    test("notices by the head that the log has another life", async () => {
        const { world, socket, channel } = await opened();
        channel.head(41, "another-life");
        await world.settle();
        expect(socket.of("subscribe")).toHaveLength(2);
    });

    test("asks for the whole state when resuming does not help", async () => {
        const { socket, channel } = await opened();
        socket.isAlive = true;
        channel.head(43);
        for (let n = 0; n < 5; n += 1) {
            await vi.advanceTimersByTimeAsync(30_000);
            channel.subscribed();
            channel.synced(43);
        }
        await vi.advanceTimersByTimeAsync(30_000);
        expect(channel.asked?.payload.from).toBe("snapshot");
    });

    test("does not go back where the whole state that it gets is older than what is shown", async () => {
        const { project, socket, channel } = await opened();
        const seqs: number[] = [];
        project.events.subscribe(({ seq }) => seqs.push(seq));
        const title = (title: string) => channel.event("node_updated", { nodeId: "a", changes: { title }, version: 2 });
        title("A");
        socket.isAlive = true;
        channel.head(44);
        for (let n = 0; n < 5; n += 1) {
            await vi.advanceTimersByTimeAsync(30_000);
            channel.subscribed();
            channel.synced(44);
        }
        await vi.advanceTimersByTimeAsync(30_000);
        expect(channel.asked?.payload.from).toBe("snapshot");
        const seen: (string | undefined)[] = [];
        project.subscribe(() => seen.push(project.node("a")?.title));
        channel.subscribed();
        channel.seq = 40;
        channel.snapshot([node("a", { title: "older" })]);
        title("older too");
        title("A");
        title("B");
        channel.synced();
        expect(new Set(seen)).toEqual(new Set(["B"]));
        expect(seqs).toEqual([42, 43]);
        expect(project.status.get().state).toBe("live");
    });

    test("whose log has another life begins with its state, however old that is", async () => {
        const { world, project, channel } = await opened();
        const next = await again(world, channel);
        next.epoch = "another-life";
        next.seq = 3;
        next.open([node("b")]);
        expect([...project.nodes.keys()]).toEqual(["b"]);
        expect(project.seq).toBe(3);
    });

    test("takes a new state after a reset, also in the middle of its life", async () => {
        const { world, project, channel } = await opened();
        channel.epoch = "another-life";
        channel.seq = 7;
        channel.reset("epoch_changed");
        expect(project.node("a")).toBeDefined();
        channel.snapshot([node("b")]);
        channel.synced();
        expect([...project.nodes.keys()]).toEqual(["b"]);
        expect(world.connection.stats.resets).toBe(1);
        const next = await again(world, channel);
        expect(next.asked?.payload.from).toEqual({ epoch: "another-life", seq: 7 });
    });

    test("counts events that it does not know", async () => {
        const { socket, project, channel } = await opened();
        channel.event("node_starred", { nodeId: "a" });
        channel.event("node_updated", { nodeId: "a", changes: { title: "A" }, version: 2 });
        expect(project.node("a")?.title).toBe("A");
        expect(socket.of("subscribe")).toHaveLength(1);
    });

    test("tries again after a passing refusal, and ends with one that stays", async () => {
        const world = new FakeWorld();
        const project = world.box.project(PROJECT);
        const socket = await world.live();
        const channel = new FakeChannel(socket);
        channel.refuse(channel.asked?.requestId, "UNAVAILABLE", true);
        await vi.advanceTimersByTimeAsync(5_000);
        expect(socket.of("subscribe")).toHaveLength(2);
        channel.refuse(channel.asked?.requestId, "NOT_FOUND");
        expect(project.status.get()).toEqual({ state: "ended", reason: "refused", message: "NOT_FOUND" });
        await expect(project.ready).rejects.toThrow("NOT_FOUND");
    });

    test("ends when access is revoked, and refuses what waits", async () => {
        const { project, socket } = await opened();
        const { done } = project.createNode({ title: "late" });
        socket.say({ type: "unsubscribed", payload: { channel: CHANNEL, reason: "revoked" } });
        expect(project.status.get()).toMatchObject({ state: "ended", reason: "revoked" });
        await expect(done).rejects.toMatchObject({ code: "CLOSED", outcome: "unknown" });
    });

    test("of a node leaves holes in the numbers, and resumes from the head", async () => {
        const world = new FakeWorld();
        const view = world.box.node("a");
        const channel = new FakeChannel(await world.live(), 41, EPOCH, "node:a");
        channel.open([node("a")]);
        channel.seq = 49;
        channel.event("node_updated", { nodeId: "a", changes: { title: "A" }, version: 2 });
        expect(view.node("a")?.title).toBe("A");
        channel.head(77);
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(5_000);
        const next = new FakeChannel(await world.welcome(), 77, EPOCH, "node:a");
        expect(next.asked?.payload.from).toEqual({ epoch: EPOCH, seq: 77 });
    });

    test("is shared by those who open it, and left with the last", async () => {
        const { world, project, socket } = await opened();
        expect(world.box.project(PROJECT)).toBe(project);
        world.box.release(project);
        expect(socket.of("unsubscribe")).toHaveLength(0);
        world.box.release(project);
        expect(socket.of("unsubscribe")).toHaveLength(1);
    });
});

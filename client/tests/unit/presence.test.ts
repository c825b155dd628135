import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CHANNEL, FakeChannel, FakeWorld, PROJECT, SESSION, USER } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

async function opened() {
    const world = new FakeWorld();
    const { presence } = world.box.project(PROJECT);
    const socket = await world.live();
    const channel = new FakeChannel(socket);
    channel.open();
    const sent = () => world.socket.of("presence").map(({ payload: { channel: _, ...shown } }) => shown);
    return { world, presence, socket, channel, sent };
}

const ann = { sessionId: "1", user: { id: "ann", name: "Ann" } };
const annsPhone = { sessionId: "2", user: { id: "ann", name: "Ann" } };
const bob = { sessionId: "3", user: { id: "bob", name: "Bob" } };
const me = { sessionId: SESSION, user: { id: USER, name: "Ada" } };

describe("what this session shows", () => {
    test("is sent at most 30 times a second, the newest value last, and nothing while it is the same", async () => {
        const { presence, socket, sent } = await opened();
        for (let x = 0; x < 100; x += 1) {
            presence.set({ cursor: { x, y: 0 } });
            await vi.advanceTimersByTimeAsync(5);
        }
        await vi.advanceTimersByTimeAsync(100);
        expect(sent().length).toBeGreaterThanOrEqual(14);
        expect(sent().length).toBeLessThanOrEqual(16);
        expect(sent().at(-1)).toEqual({ cursor: { x: 99, y: 0 } });
        expect(socket.of("presence")[0]?.payload.channel).toBe(CHANNEL);
        const before = sent().length;
        presence.set({ cursor: { x: 99, y: 0 } });
        await vi.advanceTimersByTimeAsync(1_000);
        expect(sent()).toHaveLength(before);
    });

    test("is sent as what changed, and whole after a reconnect", async () => {
        const { world, presence, sent } = await opened();
        presence.set({ cursor: { x: 1, y: 1 }, selection: ["a"], action: "editing" });
        await vi.advanceTimersByTimeAsync(40);
        presence.set({ cursor: { x: 2, y: 1 }, action: null });
        await vi.advanceTimersByTimeAsync(40);
        expect(sent()).toEqual([
            { cursor: { x: 1, y: 1 }, selection: ["a"], action: "editing" },
            { cursor: { x: 2, y: 1 }, action: null },
        ]);
        world.socket.end(1006);
        presence.set({ nodeId: "a" });
        await vi.advanceTimersByTimeAsync(5_000);
        new FakeChannel(await world.welcome()).open();
        expect(sent()).toEqual([{ cursor: { x: 2, y: 1 }, selection: ["a"], action: null, nodeId: "a" }]);
    });

    test("waits while the socket is full", async () => {
        const { presence, socket, sent } = await opened();
        socket.bufferedAmount = 1_000_000;
        presence.set({ cursor: { x: 1, y: 1 } });
        await vi.advanceTimersByTimeAsync(500);
        expect(sent()).toEqual([]);
        socket.bufferedAmount = 0;
        presence.set({ cursor: { x: 2, y: 1 } });
        await vi.advanceTimersByTimeAsync(50);
        expect(sent()).toEqual([{ cursor: { x: 2, y: 1 } }]);
    });

    test("a drag ends when the move is seen, not before", async () => {
        const { world, channel, socket, sent } = await opened();
        const project = world.box.project(PROJECT);
        const moves = [{ nodeId: "a", position: { x: 1, y: 1 } }];
        project.drag(moves);
        project.drag([{ nodeId: "a", position: { x: 2, y: 2 } }]);
        const done = project.drop([{ nodeId: "a", position: { x: 2, y: 2 } }]);
        await vi.advanceTimersByTimeAsync(100);
        expect(sent().at(-1)?.drag).toEqual([{ nodeId: "a", position: { x: 2, y: 2 } }]);
        const requestId = socket.of("node_move")[0]?.requestId;
        channel.event("nodes_moved", { moves }, { requestId });
        channel.ack(requestId);
        await done;
        await vi.advanceTimersByTimeAsync(100);
        expect(sent().at(-1)).toEqual({ drag: null });
    });
});

describe("what others show", () => {
    test("is known by session and by user, without oneself", async () => {
        const { presence, channel } = await opened();
        channel.presence("presence_state", { members: [me, ann, annsPhone, { ...bob, cursor: { x: 1, y: 1 } }] });
        expect([...presence.others.get().keys()]).toEqual(["1", "2", "3"]);
        expect([...presence.users.keys()]).toEqual(["ann", "bob"]);
        expect(presence.users.get("ann")?.sessions).toHaveLength(2);
        const { users } = presence;
        expect(presence.users).toBe(users);
        channel.presence("presence_diff", {
            leaves: ["1"],
            updates: [{ sessionId: "3", cursor: { x: 2, y: 2 }, action: "editing" }],
        });
        expect(presence.others.get().get("3")).toMatchObject({
            user: { id: "bob" },
            cursor: { x: 2, y: 2 },
            action: "editing",
        });
        expect(presence.users.get("ann")?.sessions).toHaveLength(1);
    });

    test("that comes before the state waits for it", async () => {
        const { presence, channel } = await opened();
        channel.presence("presence_diff", { joins: [bob], leaves: ["1"] });
        expect(presence.others.get().size).toBe(0);
        channel.presence("presence_state", { members: [ann, annsPhone] });
        expect([...presence.others.get().keys()]).toEqual(["2", "3"]);
    });

    test("stays over a reconnect until there is news, and changes then at once", async () => {
        const { world, presence, channel } = await opened();
        channel.presence("presence_state", { members: [ann, bob] });
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(5_000);
        const next = new FakeChannel(await world.welcome());
        next.open();
        next.presence("presence_diff", { leaves: ["1"] });
        expect([...presence.others.get().keys()]).toEqual(["1", "3"]);
        next.presence("presence_state", { members: [ann, bob] });
        expect([...presence.others.get().keys()]).toEqual(["3"]);
    });

    test("as a drag is a preview of where nodes are", async () => {
        const { presence, channel } = await opened();
        channel.presence("presence_state", {
            members: [{ ...bob, drag: [{ nodeId: "a", position: { x: 3, y: 4 } }] }],
        });
        expect(presence.drags.get("a")).toEqual({ sessionId: "3", user: bob.user, position: { x: 3, y: 4 } });
        channel.presence("presence_diff", { updates: [{ sessionId: "3", drag: null }] });
        expect(presence.drags.size).toBe(0);
    });
});

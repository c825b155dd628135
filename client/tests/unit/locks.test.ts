import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { EPOCH, FakeChannel, FakeWorld, node, PROJECT, USER } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

const EVENT = { nodeId: "a", lockedBy: USER, lockedAt: "", expiresAt: "", expiresInMs: 30_000 };

async function opened() {
    const world = new FakeWorld();
    const project = world.box.project(PROJECT);
    const socket = await world.live();
    socket.isAlive = true;
    const channel = new FakeChannel(socket, 10);
    channel.open([node("a")]);
    return { world, project, socket, channel };
}

/** Takes the lock of node a with fence 7 for 30 s. */
async function held() {
    const all = await opened();
    const acquired = all.project.lock("a");
    const [asked] = all.socket.of("lock_acquire");
    all.channel.event("lock_acquired", { ...EVENT, fence: 7 }, { requestId: asked?.requestId });
    all.channel.ack(asked?.requestId, { result: { fence: 7, expiresInMs: 30_000 } });
    return { ...all, lock: await acquired };
}

describe("a lock", () => {
    test("proves itself in the writes of its node", async () => {
        const { project, socket, lock } = await held();
        expect(lock.fence).toBe(7);
        expect(project.locks.get("a")?.lockedBy).toBe(USER);
        void project.updateNode("a", { title: "A" });
        void project.updateNode("b", { title: "B" });
        expect(socket.of("node_update").map(({ payload }) => payload.fence)).toEqual([7, undefined]);
    });

    test("is renewed at a third of its time, over and over", async () => {
        const { socket, channel, lock } = await held();
        for (let n = 1; n <= 5; n += 1) {
            await vi.advanceTimersByTimeAsync(10_000);
            expect(socket.of("lock_renew")).toHaveLength(n);
            channel.ack(socket.of("lock_renew").at(-1)?.requestId, {
                result: { fence: 7, expiresInMs: 30_000, renewed: true },
            });
            await vi.advanceTimersByTimeAsync(0);
        }
        expect(lock.status.get()).toEqual({ state: "held", fence: 7 });
        expect(socket.of("lock_renew")[0]?.payload).toEqual({ nodeId: "a", fence: 7, ttlMs: 30_000 });
    });

    test("is lost when its lease was over before a renewal was answered", async () => {
        const { project, lock } = await held();
        const lost = vi.fn();
        void lock.lost.then(lost);
        await vi.advanceTimersByTimeAsync(29_900);
        expect(lost).not.toHaveBeenCalled();
        await vi.advanceTimersByTimeAsync(100);
        expect(lost).toHaveBeenCalledWith("expired");
        expect(lock.fence).toBeUndefined();
        expect(project.ownLock("a")).toBeUndefined();
    });

    test("counts its time from when it was asked for, however late the answer is", async () => {
        const { project, socket, channel } = await opened();
        const acquired = project.lock("a");
        await vi.advanceTimersByTimeAsync(8_000);
        channel.ack(socket.of("lock_acquire")[0]?.requestId, { seq: 10, result: { fence: 7, expiresInMs: 10_000 } });
        const lock = await acquired;
        expect(lock.fence).toBe(7);
        await vi.advanceTimersByTimeAsync(2_000);
        expect(lock.status.get()).toEqual({ state: "lost", reason: "expired" });
    });

    test.each(["expired", "broken", "holder_removed", "deleted"])("is lost when the log says %s", async (reason) => {
        const { channel, lock } = await held();
        channel.event("lock_released", { nodeId: "a", lockedBy: USER, reason });
        expect(lock.status.get()).toEqual({ state: "lost", reason });
    });

    test("is lost when somebody else has it", async () => {
        const { channel, lock } = await held();
        channel.event("lock_acquired", { ...EVENT, lockedBy: "bob" });
        expect(lock.status.get()).toEqual({ state: "lost", reason: "taken" });
    });

    test("that a write finds lost is asked about at once", async () => {
        const { project, socket, channel, lock } = await held();
        const done = project.updateNode("a", { title: "A" });
        channel.refuse(socket.of("node_update")[0]?.requestId, "LOCK_LOST");
        await expect(done).rejects.toMatchObject({ code: "LOCK_LOST" });
        channel.refuse(socket.of("lock_renew")[0]?.requestId, "LOCK_LOST");
        await expect(lock.lost).resolves.toBe("expired");
    });

    test("outlives a short break, and is renewed after it", async () => {
        const { world, channel, lock } = await held();
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(3_000);
        const socket = await world.welcome();
        expect(lock.fence).toBe(7);
        const next = new FakeChannel(socket, channel.seq, EPOCH);
        next.subscribed();
        next.synced();
        expect(socket.of("lock_renew")).toHaveLength(1);
        next.refuse(socket.of("lock_renew")[0]?.requestId, "LOCK_LOST");
        await expect(lock.lost).resolves.toBe("expired");
    });

    test("is released after the writes before it", async () => {
        const { project, socket, channel, lock } = await held();
        void project.updateNode("a", { title: "A" });
        const released = lock.release();
        expect(lock.status.get().state).toBe("released");
        expect(socket.of("lock_release")).toEqual([]);
        channel.ack(socket.of("node_update")[0]?.requestId, { outcome: "unchanged" });
        expect(socket.of("lock_release")[0]?.payload).toEqual({ nodeId: "a", fence: 7 });
        channel.event("lock_released", { nodeId: "a", lockedBy: USER, reason: "released" });
        channel.ack(socket.of("lock_release")[0]?.requestId);
        await released;
        expect(lock.status.get().state).toBe("released");
        await vi.advanceTimersByTimeAsync(60_000);
        expect(socket.of("lock_renew")).toHaveLength(0);
    });

    test("that somebody else holds is an error, which names them", async () => {
        const { project, socket } = await opened();
        const acquired = project.lock("a");
        const requestId = socket.of("lock_acquire")[0]?.requestId;
        const details = { lockedByName: "Bob", expiresInMs: 1 };
        socket.say({ type: "error", payload: { code: "LOCK_HELD", message: "", temporary: true, details }, requestId });
        await expect(acquired).rejects.toMatchObject({ code: "LOCK_HELD", details });
        expect(project.ownLock("a")).toBeUndefined();
    });
});

test("a question that was not answered before a break is asked once, and refused once", async () => {
    const { world, project, socket, channel } = await opened();
    const acquired = project.lock("a");
    const [asked] = socket.of("lock_acquire");
    world.socket.end(1006);
    await vi.advanceTimersByTimeAsync(3_000);
    const again = await world.welcome();
    const next = new FakeChannel(again, channel.seq, EPOCH);
    next.subscribed();
    next.synced();
    expect(again.of("lock_acquire")).toEqual([asked]);
    next.refuse(asked?.requestId, "LOCK_HELD", true);
    await expect(acquired).rejects.toMatchObject({ code: "LOCK_HELD" });
    expect(project.ownLocks).toEqual([]);
});

describe("the queue for a lock", () => {
    async function waiting(signal?: AbortSignal) {
        const all = await opened();
        const acquired = all.project.lock("a", { wait: true, ...(signal && { signal }) });
        const [asked] = all.socket.of("lock_acquire");
        all.channel.ack(asked?.requestId, { outcome: "adjusted", result: { waiting: true, place: 1 } });
        await all.world.settle();
        return { ...all, acquired, asked };
    }

    test("ends with this client's turn", async () => {
        const { project, channel, acquired, asked } = await waiting();
        expect(project.ownLock("a")?.status.get().state).toBe("waiting");
        channel.event("lock_acquired", { ...EVENT, lockedBy: "bob" });
        expect(project.ownLock("a")?.status.get().state).toBe("waiting");
        channel.event("lock_released", { nodeId: "a", lockedBy: "bob", reason: "released" });
        channel.event("lock_acquired", { ...EVENT, fence: 8 }, { requestId: asked?.requestId });
        expect((await acquired).fence).toBe(8);
    });

    test("can be left", async () => {
        const abort = new AbortController();
        const { socket, acquired } = await waiting(abort.signal);
        abort.abort(new Error("not any more"));
        await expect(acquired).rejects.toThrow("not any more");
        expect(socket.of("lock_release")[0]?.payload).toEqual({ nodeId: "a" });
    });

    test("can be left in the moment of one's turn, and the lock does not stay behind", async () => {
        const abort = new AbortController();
        const { socket, channel, acquired, asked } = await waiting(abort.signal);
        abort.abort(new Error("not any more"));
        channel.event("lock_acquired", { ...EVENT, fence: 8 }, { requestId: asked?.requestId });
        await expect(acquired).rejects.toThrow("not any more");
        channel.ack(socket.of("lock_release")[0]?.requestId, { outcome: "unchanged" });
        expect(socket.of("lock_release").map(({ payload }) => payload)).toEqual([
            { nodeId: "a" },
            { nodeId: "a", fence: 8 },
        ]);
    });

    test("ends when the node is deleted", async () => {
        const { project, channel, acquired } = await waiting();
        channel.event("node_deleted", { nodeId: "a" });
        await expect(acquired).rejects.toThrow("lost");
        expect(project.ownLocks).toEqual([]);
        expect(project.ownLocks).toBe(project.ownLocks);
    });

    test("is not entered at all when it was given up before", async () => {
        const { project, socket } = await opened();
        await expect(project.lock("a", { signal: AbortSignal.abort(new Error("too late")) })).rejects.toThrow(
            "too late",
        );
        expect(socket.of("lock_acquire")).toEqual([]);
    });

    test("is entered again after a break, in which the turn may have come", async () => {
        const { world, channel, acquired } = await waiting();
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(3_000);
        const socket = await world.welcome();
        const next = new FakeChannel(socket, channel.seq, EPOCH);
        next.subscribed();
        next.synced();
        expect(socket.of("lock_acquire")[0]?.payload).toEqual({ nodeId: "a", wait: true });
        next.ack(socket.of("lock_acquire")[0]?.requestId, { result: { fence: 9, expiresInMs: 30_000, renewed: true } });
        expect((await acquired).fence).toBe(9);
    });
});

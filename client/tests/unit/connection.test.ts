import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Disconnected } from "../../src/index.js";
import { clientFrames } from "../golden.generated.js";
import { CLIENT, FakeWorld } from "../support/fake.js";

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

describe("the opening", () => {
    test("says hello with a token that was asked for just now", async () => {
        const world = new FakeWorld();
        expect(world.state).toBe("idle");
        world.connection.connect();
        expect(world.state).toBe("connecting");
        await world.settle();
        world.socket.open();
        expect(world.state).toBe("authenticating");
        expect(world.socket.sent).toEqual([
            { type: "hello", payload: { token: "token", clientId: CLIENT, protocol: { min: 2, max: 2 } } },
        ]);
        world.connection.close();
        expect(world.state).toBe("closed");

        world.connection.connect();
        await world.welcome();
        world.token.mockReturnValue("another");
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(1000);
        world.socket.open();
        expect(world.socket.of("hello")[0]?.payload.token).toBe("another");
    });

    test("ends when nobody is signed in", async () => {
        const world = new FakeWorld();
        world.token.mockResolvedValue(null);
        world.connection.connect();
        await world.settle();
        expect(world.connection.link.get()).toMatchObject({ state: "closed", reason: "signed_out" });
    });

    test("comes back when the token provider fails, and when it hangs", async () => {
        const world = new FakeWorld();
        world.token.mockRejectedValueOnce(new Error("no network"));
        world.connection.connect();
        await world.settle();
        expect(world.state).toBe("waiting");
        world.token.mockReturnValueOnce(new Promise(() => {}));
        await vi.advanceTimersByTimeAsync(1000);
        expect(world.state).toBe("connecting");
        await vi.advanceTimersByTimeAsync(14_300);
        expect(world.state).toBe("waiting");
    });

    test("gives up a socket that gets no welcome", async () => {
        const world = new FakeWorld();
        world.connection.connect();
        await world.settle();
        world.socket.open();
        await vi.advanceTimersByTimeAsync(15_000);
        expect(world.state).toBe("waiting");
        expect(world.sockets[0]?.isClosed).toBe(true);
    });

    test.each(Object.entries(clientFrames))("writes %s as the golden file has it", async (_, frame) => {
        const world = new FakeWorld();
        const socket = await world.live();
        expect(world.connection.send(frame)).toBe(true);
        expect(socket.sent.at(-1)).toEqual(frame);
    });
});

describe("the way back", () => {
    test("pauses with full jitter that doubles up to 30 s, and starts over after a connection that held", async () => {
        const world = new FakeWorld();
        world.connection.connect();
        for (const expected of [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
            await world.settle();
            world.socket.end(1006);
            expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: expected });
            await vi.advanceTimersByTimeAsync(expected);
        }
        await world.welcome();
        await vi.advanceTimersByTimeAsync(10_000);
        world.socket.end(1006);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 250 });
    });

    test("a connection that breaks at once does not start over with short pauses", async () => {
        const world = new FakeWorld();
        await world.live();
        world.socket.end(1011);
        await vi.advanceTimersByTimeAsync(250);
        await world.welcome();
        world.socket.end(1011);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 500 });
    });

    test.each([1001, 1005, 1006, 1011, 1012, 4000, 4001, 4003, 4008, 4029, 4030, 4499])(
        "comes back after %d",
        async (code) => {
            const world = new FakeWorld();
            await world.live();
            world.socket.end(code);
            expect(world.state).toBe("waiting");
        },
    );

    test.each([
        [4500, "token_invalid"],
        [4503, "revoked"],
        [4504, "gone"],
        [4505, "version_unsupported"],
        [4506, "protocol_error"],
        [4999, "refused"],
        [1009, "protocol_error"],
    ])("stays away after %d", async (code, reason) => {
        const world = new FakeWorld();
        await world.live();
        world.socket.end(code, "because");
        expect(world.connection.link.get()).toEqual({ state: "closed", reason, message: "because" });
        await vi.advanceTimersByTimeAsync(100_000);
        expect(world.sockets).toHaveLength(1);
        world.connection.connect();
        await world.welcome();
        expect(world.state).toBe("live");
    });

    test("takes the delay that an overloaded server asks for", async () => {
        const world = new FakeWorld();
        world.connection.connect();
        await world.settle();
        world.socket.end(4030, '{"retryAfterMs":7000}');
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 7125 });
        // Looking at the page is no reason to come earlier.
        world.notice("awake");
        expect(world.state).toBe("waiting");
        // Nor is a network that went and came.
        world.notice("offline");
        await vi.advanceTimersByTimeAsync(2_000);
        world.notice("online");
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 5125 });
    });

    test("goes on with what it has when a server moves, and comes back at once when that closes", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        socket.say({ type: "moving", payload: { retryAfterMs: 1500 } });
        expect(world.state).toBe("live");
        await vi.advanceTimersByTimeAsync(1600);
        socket.end(1012);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 125 });
    });

    test("waits for the rest of the delay when a moving server is gone early, and does not wait for one that hangs", async () => {
        const early = new FakeWorld();
        (await early.live()).say({ type: "moving", payload: { retryAfterMs: 1500 } });
        await vi.advanceTimersByTimeAsync(500);
        early.socket.end(1006);
        expect(early.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 1125 });

        const hung = new FakeWorld();
        (await hung.live()).say({ type: "moving", payload: { retryAfterMs: 1500 } });
        await vi.advanceTimersByTimeAsync(6500);
        expect(hung.state).toBe("waiting");
    });

    test("keeps to the delay of a moving server also when the network goes before it, and comes again", async () => {
        const world = new FakeWorld();
        (await world.live()).say({ type: "moving", payload: { retryAfterMs: 30_000 } });
        world.notice("offline");
        await vi.advanceTimersByTimeAsync(5_000);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 25_125 });
        world.notice("offline");
        world.notice("online");
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 25_125 });
        await vi.advanceTimersByTimeAsync(25_000);
        expect(world.sockets).toHaveLength(1);
        await vi.advanceTimersByTimeAsync(125);
        expect(world.sockets).toHaveLength(2);
    });

    test("a new token helps at once when the old one is over, but not for ever", async () => {
        const world = new FakeWorld();
        await world.live();
        await vi.advanceTimersByTimeAsync(10_000);
        world.socket.end(4001);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 0 });
        await vi.advanceTimersByTimeAsync(0);
        world.socket.end(4001);
        expect(world.connection.link.get()).toMatchObject({ state: "waiting", delayMs: 500 });
    });

    test("a duplicated tab takes a fresh id once", async () => {
        const world = new FakeWorld();
        await world.live();
        world.socket.end(4507);
        await vi.advanceTimersByTimeAsync(1000);
        await world.welcome();
        expect(world.socket.of("hello")[0]?.payload.clientId).not.toBe(CLIENT);
        world.socket.end(4507);
        expect(world.connection.link.get()).toMatchObject({ state: "closed", reason: "replaced" });
    });

    test("waits for a network where there is none, and uses it when it comes", async () => {
        const world = new FakeWorld();
        world.isOnline = false;
        world.connection.connect();
        expect(world.state).toBe("offline");
        world.notice("online");
        await world.welcome();
        expect(world.state).toBe("live");
        world.socket.end(1006);
        world.notice("offline");
        expect(world.state).toBe("offline");
        await vi.advanceTimersByTimeAsync(100_000);
        expect(world.sockets).toHaveLength(1);
        world.notice("online");
        await world.settle();
        expect(world.sockets).toHaveLength(2);
    });

    test("a token that comes after the end opens nothing", async () => {
        const world = new FakeWorld();
        let give: (token: string) => void = () => {};
        world.token.mockReturnValue(new Promise((resolve) => (give = resolve)));
        world.connection.connect();
        world.connection.close();
        give("late");
        await vi.advanceTimersByTimeAsync(60_000);
        expect(world.sockets).toHaveLength(0);
        expect(world.state).toBe("closed");
    });

    test("whoever hears of a loss may end the connection for good", async () => {
        const world = new FakeWorld();
        await world.live();
        world.connection.lost.subscribe(() => world.connection.close());
        world.socket.end(1006);
        await vi.advanceTimersByTimeAsync(60_000);
        expect(world.sockets).toHaveLength(1);
        expect(world.connection.link.get()).toMatchObject({ state: "closed", reason: "by_client" });
    });

    test("what an earlier attempt still says is not heard", async () => {
        const world = new FakeWorld();
        const first = await world.live();
        const onclose = first.onclose;
        world.connection.close();
        world.connection.connect();
        await world.welcome();
        onclose?.({ code: 4503, reason: "" } as never);
        first.say({ type: "moving", payload: { retryAfterMs: 0 } });
        expect(world.sockets).toHaveLength(2);
    });
});

describe("signs of life", () => {
    test("the first ping without an answer counts; what is sent is no sign of life", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        await vi.advanceTimersByTimeAsync(10_000);
        expect(socket.of("ping")).toHaveLength(1);
        await vi.advanceTimersByTimeAsync(4_000);
        world.connection.send({ type: "unsubscribe", payload: { channel: "user" } });
        world.notice("awake");
        await vi.advanceTimersByTimeAsync(1_000);
        expect(world.state).toBe("waiting");
        expect(socket.isClosed).toBe(true);
    });

    test("an answer keeps the connection and tells the round trip", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        await vi.advanceTimersByTimeAsync(10_000);
        await vi.advanceTimersByTimeAsync(40);
        socket.say({ type: "pong", payload: { serverTime: "" }, requestId: socket.of("ping")[0]?.requestId });
        await world.settle();
        expect(world.connection.stats.roundTripMs).toBe(40);
        await vi.advanceTimersByTimeAsync(9_000);
        expect(world.state).toBe("live");
        expect(socket.of("ping")).toHaveLength(1);
    });

    test("after a sleep there is a ping first and a verdict then", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        await vi.advanceTimersByTimeAsync(10_000);
        expect(socket.of("ping")).toHaveLength(1);
        // The machine sleeps: the clock goes on and timers do not, so the verdict's timer fires late.
        const asleep = vi.spyOn(performance, "now").mockReturnValue(performance.now() + 3_600_000);
        await vi.advanceTimersByTimeAsync(5_000);
        expect(world.state).toBe("live");
        expect(socket.of("ping")).toHaveLength(2);
        asleep.mockRestore();
        socket.say({ type: "pong", payload: { serverTime: "" }, requestId: socket.of("ping")[1]?.requestId });
        await vi.advanceTimersByTimeAsync(5_000);
        expect(world.state).toBe("live");
    });

    test("waking up or losing the network asks at once", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        world.notice("offline");
        expect(socket.of("ping")).toHaveLength(1);
        expect(world.state).toBe("live");
        await vi.advanceTimersByTimeAsync(5_000);
        // There was no answer, and there is no network.
        await vi.advanceTimersByTimeAsync(1_000);
        expect(world.state).toBe("offline");
    });
});

describe("requests", () => {
    test("a token that ends soon is replaced in place", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        world.token.mockReturnValue("fresh");
        socket.say({ type: "token_expiring", payload: { inMs: 60_000 } });
        await world.settle();
        expect(socket.of("token_refresh")[0]?.payload).toEqual({ token: "fresh" });
        socket.say({
            type: "token_refreshed",
            payload: { expiresInMs: 1 },
            requestId: socket.of("token_refresh")[0]?.requestId,
        });
        expect(world.state).toBe("live");
    });

    test("a request ends with the connection", async () => {
        const world = new FakeWorld();
        await world.live();
        const answer = world.connection.request({ type: "ping" });
        world.socket.end(1006);
        await expect(answer).rejects.toThrow(Disconnected);
        await expect(world.connection.request({ type: "ping" })).rejects.toThrow(Disconnected);
    });

    test("what is not understood is counted and changes nothing", async () => {
        const world = new FakeWorld();
        const socket = await world.live();
        socket.say({ type: "fly" });
        socket.say({ type: "moving", payload: {} });
        expect(world.connection.stats.framesIgnored).toBe(2);
        expect(world.state).toBe("live");
    });
});

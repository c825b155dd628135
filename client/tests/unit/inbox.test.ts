import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeWorld, USER } from "../support/fake.js";

const one = { id: "1", userId: USER, orgId: "o", type: "mention", title: "Look", createdAt: "" };

beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
    vi.useRealTimers();
});

test("a list that cannot be read is asked for again, after pauses that grow", async () => {
    const fetch = vi.fn(async () => new Response("", { status: 503 }));
    const world = new FakeWorld({ fetch });
    const { inbox } = world.box;
    await world.live();
    expect(fetch).toHaveBeenCalledTimes(1);
    for (const [pauseMs, calls] of [
        [750, 2],
        [1000, 3],
        [1500, 4],
    ] as const) {
        await vi.advanceTimersByTimeAsync(pauseMs - 1);
        expect(fetch).toHaveBeenCalledTimes(calls - 1);
        await vi.advanceTimersByTimeAsync(1);
        expect(fetch).toHaveBeenCalledTimes(calls);
    }
    expect(inbox.get().isLoaded).toBe(false);
    fetch.mockImplementation(async () => Response.json({ data: [one], unreadCount: 1 }));
    await vi.advanceTimersByTimeAsync(2_500);
    expect(inbox.get()).toMatchObject({ isLoaded: true, unreadCount: 1, notifications: [one] });
    await vi.advanceTimersByTimeAsync(100_000);
    expect(fetch).toHaveBeenCalledTimes(5);
});

test("a list is not asked for without a connection, and at once when there is one again", async () => {
    const fetch = vi.fn(async () => Promise.reject(new Error("no network")));
    const world = new FakeWorld({ fetch });
    void world.box.inbox;
    await world.live();
    world.connection.close();
    await vi.advanceTimersByTimeAsync(100_000);
    expect(fetch).toHaveBeenCalledTimes(1);
    await world.live();
    expect(fetch).toHaveBeenCalledTimes(2);
});

test("no token that is none is sent", async () => {
    const fetch = vi.fn(async (_url: unknown, _options?: RequestInit) => Response.json({ data: [], unreadCount: 0 }));
    const world = new FakeWorld({ fetch: fetch as typeof globalThis.fetch });
    const { inbox } = world.box;
    world.token.mockReturnValueOnce("token").mockReturnValueOnce(null).mockReturnValue("fresh");
    await world.live();
    expect(fetch).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(750);
    expect(fetch.mock.calls.map(([, options]) => options?.headers)).toEqual([{ authorization: "Bearer fresh" }]);
    expect(inbox.get().isLoaded).toBe(true);
});

// @vitest-environment happy-dom
import { act, cleanup, render, renderHook } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, expect, test, vi } from "vitest";
import type { ProjectStore } from "../../src/index.js";
import {
    GlassBoxProvider,
    isSameList,
    ProjectProvider,
    useConnection,
    useDependencies,
    useLock,
    useNode,
    useNodes,
    useNotifications,
    usePresentUsers,
    useProject,
    useProjectSelection,
    useProjectStatus,
    useTrace,
} from "../../src/react/index.js";
import { EPOCH, FakeChannel, FakeWorld, node, PROJECT, USER } from "../support/fake.js";

afterEach(cleanup);

function around(world: FakeWorld) {
    return ({ children }: { children: ReactNode }) => (
        <GlassBoxProvider client={world.box}>
            <ProjectProvider projectId={PROJECT}>{children}</ProjectProvider>
        </GlassBoxProvider>
    );
}

/** A client that is live, without fake timers, which React does not like. */
async function live(world: FakeWorld) {
    world.connection.connect();
    await vi.waitFor(() => world.socket);
    world.settle = () => Promise.resolve();
    return act(() => world.welcome());
}

const drawn: string[] = [];

function Title({ id }: { id: string }) {
    drawn.push(`${id} ${useNode(id)?.title}`);
    return null;
}

function Ids() {
    drawn.push(`ids ${useNodes((nodes) => [...nodes.keys()], isSameList).join()}`);
    return null;
}

test("components follow the connection and the project", async () => {
    const world = new FakeWorld();
    const { result } = renderHook(
        () => ({
            link: useConnection().state,
            status: useProjectStatus().state,
            nodes: useNodes(),
            edges: useDependencies(),
        }),
        { wrapper: around(world) },
    );
    expect(result.current).toMatchObject({ link: "idle", status: "joining" });
    const channel = new FakeChannel(await live(world), 10);
    expect(result.current.link).toBe("live");
    act(() => channel.open([node("a"), node("b")]));
    expect(result.current.status).toBe("live");
    expect([...result.current.nodes.keys()]).toEqual(["a", "b"]);
    act(() =>
        channel.event("dependency_added", {
            dependency: { id: "e", sourceNodeId: "a", targetNodeId: "b", createdAt: "" },
        }),
    );
    expect(result.current.edges.size).toBe(1);
});

test("a component is drawn anew only when what it reads is another thing", async () => {
    const world = new FakeWorld();
    drawn.length = 0;
    const Around = around(world);
    render(
        <Around>
            <Title id="a" />
            <Title id="b" />
            <Ids />
        </Around>,
    );
    const channel = new FakeChannel(await live(world), 10);
    act(() => channel.open([node("a"), node("b")]));
    drawn.length = 0;
    act(() => channel.event("node_updated", { nodeId: "a", changes: { title: "A" }, version: 2 }));
    expect(drawn).toEqual(["a A"]);
    act(() => channel.event("node_deleted", { nodeId: "b" }));
    expect(drawn).toEqual(["a A", "b undefined", "ids a"]);
});

test("a change of one node asks nothing of the components of the others", async () => {
    const world = new FakeWorld();
    const ids = Array.from({ length: 50 }, (_, n) => `n${n}`);
    let project: ProjectStore | undefined;
    function Card({ id }: { id: string }) {
        project = useProject();
        useLock(id);
        return <>{useNode(id)?.title}</>;
    }
    const Around = around(world);
    render(
        <Around>
            {ids.map((id) => (
                <Card key={id} id={id} />
            ))}
        </Around>,
    );
    const channel = new FakeChannel(await live(world), 10);
    act(() => channel.open(ids.map((id) => node(id))));
    if (!project) throw new Error("no project");
    const asked = [vi.spyOn(project, "node"), vi.spyOn(project, "lockOn"), vi.spyOn(project, "ownLock")];
    act(() => channel.event("node_updated", { nodeId: "n7", changes: { title: "A" }, version: 2 }));
    act(() => void project?.updateNode("n7", { title: "B" }));
    expect(document.body.textContent).toContain("n6Bn8");
    for (const { mock } of asked) {
        expect(mock.calls.length).toBeGreaterThan(0);
        expect(new Set(mock.calls.map(([id]) => id))).toEqual(new Set(["n7"]));
    }
});

test("commands, locks and presence show", async () => {
    const world = new FakeWorld();
    const { result } = renderHook(
        () => ({
            project: useProject(),
            pending: useProjectSelection((project) => project.pendingCount),
            lock: useLock("a"),
            users: [...usePresentUsers().keys()],
        }),
        { wrapper: around(world) },
    );
    const socket = await live(world);
    const channel = new FakeChannel(socket, 10);
    act(() => channel.open([node("a")]));
    act(() => void result.current.project?.updateNode("b", { title: "B" }));
    expect(result.current.pending).toBe(1);
    act(() => channel.presence("presence_state", { members: [{ sessionId: "1", user: { id: "bob" } }] }));
    expect(result.current.users).toEqual(["bob"]);
    act(() => void result.current.project?.lock("a"));
    expect(result.current.lock.state).toEqual({ state: "waiting" });
    const requestId = socket.of("lock_acquire")[0]?.requestId;
    const granted = { nodeId: "a", lockedBy: USER, lockedAt: "", expiresAt: "", expiresInMs: 30_000, fence: 7 };
    act(() => channel.event("lock_acquired", granted, { requestId }));
    expect(result.current.lock).toMatchObject({ lock: { lockedBy: USER }, state: { state: "held", fence: 7 } });
});

test("a trace is watched for as long as the component is there", async () => {
    const world = new FakeWorld();
    const { result, unmount } = renderHook(() => useTrace("x"), { wrapper: around(world) });
    const socket = await live(world);
    const channel = new FakeChannel(socket, 15, EPOCH, "execution:x");
    const step = (n: number) => ({
        id: String(n),
        executionId: "x",
        n,
        eventType: "llm_call",
        eventData: {},
        timestamp: "",
    });
    act(() => channel.subscribed());
    const execution = { id: "x", nodeId: "a", status: "running", totalTokensIn: 0, totalTokensOut: 0 };
    act(() => channel.trace({ execution, total: 3, events: [step(2), step(3)] }));
    act(() => channel.synced());
    act(() => channel.event("trace_event", step(4)));
    expect(result.current.events.map(({ n }) => n)).toEqual([2, 3, 4]);
    expect(result.current).toMatchObject({ total: 4, closed: undefined });
    act(() => channel.event("execution_closed", { executionId: "x", status: "complete" }));
    expect(result.current.closed).toBe("complete");
    unmount();
    expect(
        socket
            .of("unsubscribe")
            .map(({ payload }) => payload.channel)
            .sort(),
    ).toEqual(["execution:x", `project:${PROJECT}`]);
});

test("notifications come in, and count as read at once", async () => {
    const one = { id: "1", userId: USER, orgId: "o", type: "mention", title: "Look", createdAt: "" };
    const fetch = async () => Response.json({ data: [one], unreadCount: 1 });
    const world = new FakeWorld({ fetch });
    const { result } = renderHook(() => useNotifications(), { wrapper: around(world) });
    const socket = await live(world);
    await vi.waitFor(() => expect(result.current.isLoaded).toBe(true));
    const envelope = { channel: "user", at: "", by: null, txEnd: true };
    const two = { ...one, id: "2" };
    act(() =>
        socket.say({ type: "notification", payload: { notification: two, unreadCount: 2 }, seq: 5, ...envelope }),
    );
    expect(result.current.notifications.map(({ id }) => id)).toEqual(["2", "1"]);
    let read: Promise<void> | undefined;
    act(() => {
        read = result.current.markRead(["1"]);
    });
    expect(result.current.unreadCount).toBe(1);
    act(() => void result.current.markAllRead().catch(() => {}));
    expect(result.current.unreadCount).toBe(0);
    const [first, all] = socket.of("notifications_read");
    const refusal = { code: "FORBIDDEN", message: "", temporary: false };
    await act(async () => socket.say({ type: "error", payload: refusal, requestId: all?.requestId }));
    expect(result.current.unreadCount).toBe(1);
    await act(async () =>
        socket.say({
            type: "ack",
            payload: { outcome: "applied", seq: 6, result: { unreadCount: 1 } },
            requestId: first?.requestId,
        }),
    );
    await read;
    expect(result.current.unreadCount).toBe(1);
    expect(result.current.notifications.map(({ readAt }) => readAt !== undefined)).toEqual([false, true]);
});

/** A server that is played by the test, frame by frame, and surroundings that do what they are told. */
import { vi } from "vitest";
import {
    type ClientFrame,
    type Connection,
    fixedIdentity,
    GlassBox,
    type GlassBoxOptions,
    type SocketLike,
    type Surroundings,
} from "../../src/index.js";
import type { Limits, Node } from "../../src/protocol/generated.js";

export const CLIENT = "291c0dfe-6374-4f80-91a2-e4536f701109";
export const USER = "5a2f6d1c-8b3e-4f7a-a1c9-6e4d2b0f8c03";
export const SESSION = "3a2d1e0f-7485-4091-a2b3-f5647081220a";
export const EPOCH = "180bfced-5263-4e7f-8091-d3425e6f7008";

export const LIMITS: Limits = {
    frameBytes: 262_144,
    channels: 64,
    commandsPerSecond: 50,
    commandsBurst: 200,
    presencePerSecond: 60,
    outboundBytes: 1_048_576,
    resumeWindow: { hours: 24, events: 10_000 },
};

export class FakeSocket implements SocketLike {
    readyState = 0;
    bufferedAmount = 0;
    onopen: ((event: never) => void) | null = null;
    onmessage: ((event: never) => void) | null = null;
    onclose: ((event: never) => void) | null = null;
    onerror: ((event: never) => void) | null = null;
    readonly sent: ClientFrame[] = [];
    isClosed = false;
    /** Whether pings are answered. */
    isAlive = false;

    send(text: string): void {
        const frame: ClientFrame = JSON.parse(text);
        this.sent.push(frame);
        if (frame.type !== "ping" || !this.isAlive) return;
        this.say({ type: "pong", payload: { serverTime: "" }, requestId: frame.requestId });
    }

    close(): void {
        this.isClosed = true;
        this.readyState = 3;
    }

    /** The server's side: opens, says something, closes. */
    open(): void {
        this.readyState = 1;
        this.onopen?.({} as never);
    }

    say(frame: object): void {
        this.onmessage?.({ data: JSON.stringify(frame) } as never);
    }

    end(code: number, reason = ""): void {
        this.readyState = 3;
        this.onclose?.({ code, reason } as never);
    }

    /** The frames of a type that the client has sent. */
    of<T extends ClientFrame["type"]>(type: T): Extract<ClientFrame, { type: T }>[] {
        return this.sent.filter((frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type);
    }
}

export class FakeWorld {
    readonly sockets: FakeSocket[] = [];
    readonly surroundings: Surroundings;
    readonly token = vi.fn<() => string | null | Promise<string | null>>(() => "token");
    readonly box: GlassBox;
    readonly connection: Connection;
    isOnline = true;
    random = 0.5;
    #noticed: ((change: "online" | "offline" | "awake") => void) | undefined;

    constructor(options: Partial<GlassBoxOptions> = {}) {
        this.surroundings = {
            isOnline: () => this.isOnline,
            watch: (listener) => {
                this.#noticed = listener;
                return () => {
                    this.#noticed = undefined;
                };
            },
        };
        this.box = new GlassBox({
            url: "ws://example.org/ws",
            token: this.token,
            socket: () => {
                const socket = new FakeSocket();
                this.sockets.push(socket);
                return socket;
            },
            identity: fixedIdentity(CLIENT),
            surroundings: this.surroundings,
            random: () => this.random,
            ...options,
        });
        this.connection = this.box.connection;
    }

    get socket(): FakeSocket {
        const socket = this.sockets.at(-1);
        if (!socket) throw new Error("no socket yet");
        return socket;
    }

    get state(): string {
        return this.connection.link.get().state;
    }

    notice(change: "online" | "offline" | "awake"): void {
        this.isOnline = change === "awake" ? this.isOnline : change === "online";
        this.#noticed?.(change);
    }

    /** Lets promises go on, without time passing. */
    async settle(): Promise<void> {
        await vi.advanceTimersByTimeAsync(0);
    }

    /** Opens the newest socket up to `welcome`. */
    async welcome(limits: Partial<Limits> = {}, userId = USER): Promise<FakeSocket> {
        await this.settle();
        const { socket } = this;
        socket.open();
        socket.say({
            type: "welcome",
            payload: {
                sessionId: SESSION,
                user: { id: userId, name: "Ada" },
                protocol: { min: 2, max: 2 },
                limits: { ...LIMITS, ...limits },
                heartbeatMs: 20_000,
                serverTime: "2026-11-22T17:00:00Z",
            },
        });
        await this.settle();
        return socket;
    }

    async live(limits: Partial<Limits> = {}): Promise<FakeSocket> {
        this.connection.connect();
        return this.welcome(limits);
    }
}

export const PROJECT = "7b1f0f5e-6f0a-4c55-9d0e-0d6a3a1c9e01";
export const CHANNEL = `project:${PROJECT}`;

/** A node as the server has it. */
export function node(id: string, more: Partial<Node> = {}): Node {
    const at = "2026-11-22T17:00:00Z";
    const place = { orgId: "org", projectId: PROJECT, position: { x: 0, y: 0 } };
    return {
        id,
        ...place,
        title: id,
        status: "draft",
        authorType: "human",
        version: 1,
        createdAt: at,
        updatedAt: at,
        ...more,
    };
}

/** The server's side of one project's channel on one socket. */
export class FakeChannel {
    readonly #socket: FakeSocket;
    #generation = 0;

    constructor(
        socket: FakeSocket,
        public seq = 0,
        public epoch = EPOCH,
        readonly name = CHANNEL,
    ) {
        this.#socket = socket;
    }

    /** The newest question. */
    get asked() {
        return this.#socket
            .of("subscribe")
            .filter(({ payload }) => payload.channel === this.name)
            .at(-1);
    }

    subscribed(generation = this.#generation + 1): void {
        this.#generation = generation;
        const payload = { channel: this.name, role: "member", epoch: this.epoch, head: this.seq, generation };
        this.#socket.say({ type: "subscribed", payload, requestId: this.asked?.requestId });
    }

    snapshot(nodes: Node[] = [], part = 1, parts = 1, more: object = {}): void {
        const rest = { dependencies: [], locks: [], executions: [], members: [], ...more };
        this.#tell("snapshot", { part, parts, seq: this.seq, nodes, ...rest });
    }

    synced(seq = this.seq): void {
        this.#tell("synced", { seq });
    }

    head(seq = this.seq, epoch = this.epoch): void {
        this.#tell("head", { seq, epoch });
    }

    reset(reason: string): void {
        this.#tell("reset", { reason, epoch: this.epoch, head: this.seq });
    }

    presence(type: "presence_state" | "presence_diff", payload: object): void {
        this.#tell(type, { joins: [], leaves: [], updates: [], ...payload });
    }

    /** What an execution has done so far. */
    trace(state: object): void {
        this.#tell("trace_state", { seq: this.seq, ...state });
    }

    /** The whole opening with a snapshot. */
    open(nodes: Node[] = [], more: object = {}): void {
        this.subscribed();
        this.snapshot(nodes, 1, 1, more);
        this.synced();
    }

    /** The next event. */
    event(type: string, payload: object, more: object = {}): void {
        this.seq += 1;
        const envelope = {
            channel: this.name,
            seq: this.seq,
            at: "2026-11-22T17:00:01Z",
            by: null,
            generation: this.#generation,
        };
        this.#socket.say({ type, payload, ...envelope, txEnd: true, ...more });
    }

    ack(requestId: string | undefined, payload: object = {}): void {
        this.#socket.say({ type: "ack", payload: { outcome: "applied", seq: this.seq, ...payload }, requestId });
    }

    refuse(requestId: string | undefined, code: string, temporary = false): void {
        this.#socket.say({ type: "error", payload: { code, message: code, temporary }, requestId });
    }

    #tell(type: string, payload: object): void {
        this.#socket.say({ type, payload: { channel: this.name, generation: this.#generation, ...payload } });
    }
}

/** A server that is played by the test, frame by frame, and surroundings that do what they are told. */
import { vi } from "vitest";
import {
    type ClientFrame,
    Connection,
    type ConnectionOptions,
    fixedIdentity,
    type SocketLike,
    type Surroundings,
} from "../../src/index.js";
import type { Limits } from "../../src/protocol/generated.js";

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

    send(text: string): void {
        this.sent.push(JSON.parse(text));
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
    readonly connection: Connection;
    isOnline = true;
    random = 0.5;
    #noticed: ((change: "online" | "offline" | "awake") => void) | undefined;

    constructor(options: Partial<ConnectionOptions> = {}) {
        this.surroundings = {
            isOnline: () => this.isOnline,
            watch: (listener) => {
                this.#noticed = listener;
                return () => {
                    this.#noticed = undefined;
                };
            },
        };
        this.connection = new Connection({
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
    async welcome(limits: Partial<Limits> = {}): Promise<FakeSocket> {
        await this.settle();
        const { socket } = this;
        socket.open();
        socket.say({
            type: "welcome",
            payload: {
                sessionId: SESSION,
                user: { id: USER, name: "Ada" },
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

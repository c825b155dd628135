/**
 * One connection to the server, for as long as the program wants it: connects, says hello, notices when the other side
 * is gone, and comes back. What travels over it is the business of channels and commands.
 */
import { backoffMs, type CloseReason, judge } from "./connection/backoff.js";
import { Heartbeat } from "./connection/heartbeat.js";
import { type Identity, tabIdentity } from "./connection/identity.js";
import { newStats, platformSocket, type SocketFactory, type SocketLike, type Stats } from "./connection/socket.js";
import { pageSurroundings, type Surroundings } from "./connection/surroundings.js";
import type { ClientFrame, Limits, User, Welcome } from "./protocol/generated.js";
import { type Incoming, read, type ServerFrame } from "./protocol/read.js";
import { Emitter, Store } from "./store.js";
import { uuid } from "./uuid.js";

/** Where the connection is. */
export type Link =
    | { state: "idle" }
    | { state: "connecting"; attempt: number }
    | { state: "authenticating"; attempt: number }
    | { state: "live"; sessionId: string; user: User; limits: Limits; clientId: string }
    | { state: "waiting"; attempt: number; delayMs: number }
    | { state: "offline" }
    | { state: "closed"; reason: CloseReason; message: string };

/** Answers with a token, or with null when nobody is signed in. Called before every connect. */
export type TokenProvider = () => string | null | Promise<string | null>;

export interface ConnectionOptions {
    /** `ws://` or `wss://`, for example `wss://example.org/ws`. */
    url: string;
    token: TokenProvider;
    socket?: SocketFactory;
    identity?: Identity;
    surroundings?: Surroundings;
    /** 0 to 1; the jitter of all pauses. */
    random?: () => number;
}

/** The connection ended before the answer came; whether the request had an effect is not known. */
export class Disconnected extends Error {
    override readonly name = "Disconnected";
}

/** From the first try to `welcome`, ms; the token provider's time included. */
const CONNECT_DEADLINE_MS = 15_000;
/** A connection that held for this long starts over with short pauses, ms. */
const STABLE_MS = 10_000;
/** How long after its own hint a draining server may take to close, ms. */
const MOVING_GRACE_MS = 5_000;

export class Connection {
    /** Where it is. */
    readonly link = new Store<Link>({ state: "idle" });
    /** Counters; read them when you draw. */
    readonly stats: Stats = newStats();
    /** Tells of each frame that comes while live. */
    readonly frames = new Emitter<[Incoming]>();
    /** Tells that the server takes requests, each time anew. */
    readonly opened = new Emitter();
    /** Tells that it no longer does. */
    readonly lost = new Emitter();
    readonly random: () => number;

    readonly #options: Required<Omit<ConnectionOptions, "random">>;
    readonly #heart = new Heartbeat(
        () => this.#ping(),
        () => this.#retry(),
    );
    readonly #answers = new Map<string, { resolve: (frame: ServerFrame) => void; reject: (error: Error) => void }>();
    #socket: SocketLike | undefined;
    #clientId = "";
    /** Grows with each attempt, so that what belongs to an earlier one is not listened to. */
    #turn = 0;
    #attempt = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #stableTimer: ReturnType<typeof setTimeout> | undefined;
    #unwatch: (() => void) | undefined;
    #isIdentityFresh = false;
    /** When a draining server wants us back, by `performance.now()`. */
    #movingAt: number | undefined;
    /** When the server lets us come back at the earliest, by `performance.now()`. */
    #notBefore = 0;
    #refusal = "";

    constructor(options: ConnectionOptions) {
        new URL(options.url); // a defect of the caller is told at once, not retried
        this.#options = {
            socket: platformSocket,
            identity: tabIdentity(),
            surroundings: pageSurroundings(),
            ...options,
        };
        this.random = options.random ?? Math.random;
    }

    /** Where the client's id comes from. */
    get identity(): Identity {
        return this.#options.identity;
    }

    /** The server's limits, while live. */
    get limits(): Limits | undefined {
        const link = this.link.get();
        return link.state === "live" ? link.limits : undefined;
    }

    /** Whether requests can be sent. */
    get isLive(): boolean {
        return this.link.get().state === "live";
    }

    /** Bytes that wait on this side. */
    get bufferedBytes(): number {
        return this.#socket?.bufferedAmount ?? 0;
    }

    /** Connects and stays connected until `close`; also the way back after an end. */
    connect(): void {
        const { state } = this.link.get();
        if (state !== "idle" && state !== "closed") return;
        this.#unwatch = this.#options.surroundings.watch((change) => this.#noticed(change));
        this.#attempt = 0;
        this.#isIdentityFresh = false;
        this.#open();
    }

    /** Leaves. */
    close(): void {
        this.#end("by_client", "");
    }

    /** Sends a frame; false when there is no connection. */
    send(frame: ClientFrame): boolean {
        return this.sendText(JSON.stringify(frame));
    }

    /** Sends a frame that is text already; false when there is no connection. */
    sendText(text: string): boolean {
        if (!this.isLive || !this.#socket) return false;
        this.#transmit(text);
        return true;
    }

    /** Sends a frame under an id of its own and waits for the answer, an `error` included. Rejects with `Disconnected`. */
    request(frame: ClientFrame): Promise<ServerFrame> {
        const requestId = uuid();
        return new Promise((resolve, reject) => {
            this.#answers.set(requestId, { resolve, reject });
            if (this.send({ ...frame, requestId })) return;
            this.#answers.delete(requestId);
            reject(new Disconnected("not connected"));
        });
    }

    /** Asks the other side for a sign of life now, and gives up the connection if none comes. */
    probe(): void {
        if (this.isLive) this.#heart.probe();
    }

    async #open(): Promise<void> {
        const turn = ++this.#turn;
        const { surroundings, token, identity, socket: make, url } = this.#options;
        if (!surroundings.isOnline()) return this.link.set({ state: "offline" });
        this.#refusal = "";
        this.#movingAt = undefined;
        this.#after(CONNECT_DEADLINE_MS, () => this.#retry());
        this.link.set({ state: "connecting", attempt: this.#attempt });
        try {
            const [bearer, clientId] = await Promise.all([token(), identity.get()]);
            if (turn !== this.#turn) return;
            if (bearer === null) return this.#end("signed_out", "there is no token");
            this.#clientId = clientId;
            const socket = make(url, "glassbox.v2");
            this.#socket = socket;
            socket.onopen = () => {
                this.link.set({ state: "authenticating", attempt: this.#attempt });
                const hello = { token: bearer, clientId, protocol: { min: 2, max: 2 } };
                this.#transmit(JSON.stringify({ type: "hello", payload: hello }));
            };
            socket.onmessage = ({ data }: { data: unknown }) => this.#received(data);
            socket.onerror = () => {}; // a close follows
            socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.#closed(code, reason);
        } catch {
            if (turn === this.#turn) this.#retry();
        }
    }

    #received(data: unknown): void {
        if (typeof data !== "string") return;
        this.stats.framesIn += 1;
        this.stats.bytesIn += data.length;
        this.#heart.heard();
        const frame = read(data);
        if (!frame) {
            this.stats.framesIgnored += 1;
            return;
        }
        if (frame.type === "welcome") return this.#welcomed(frame.payload);
        if (!this.isLive) {
            if (frame.type === "error") this.#refusal = frame.payload.message;
            return;
        }
        if (frame.type === "moving") return this.#moving(frame.payload.retryAfterMs);
        if (frame.type === "token_expiring") return void this.#refreshToken();
        const waiting = frame.requestId === undefined ? undefined : this.#answers.get(frame.requestId);
        if (waiting && frame.requestId && isAnswer(frame)) {
            this.#answers.delete(frame.requestId);
            waiting.resolve(frame);
        }
        this.frames.emit(frame);
    }

    #welcomed({ sessionId, user, limits }: Welcome): void {
        if (this.isLive) return;
        clearTimeout(this.#timer);
        this.stats.connects += 1;
        this.#heart.start();
        this.#stableTimer = setTimeout(() => {
            this.#attempt = 0;
            this.#isIdentityFresh = false;
        }, STABLE_MS);
        this.link.set({ state: "live", sessionId, user, limits, clientId: this.#clientId });
        this.opened.emit();
    }

    #closed(code: number, reason: string): void {
        const verdict = judge(code, reason);
        if (verdict.verdict === "end") return this.#end(verdict.reason, reason || this.#refusal);
        if (verdict.verdict === "fresh_identity") {
            if (this.#isIdentityFresh) return this.#end("replaced", reason);
            this.#isIdentityFresh = true;
            this.#options.identity.renew();
            return this.#retry();
        }
        // Whoever was told when to come back has waited already, or waits for the rest.
        const movingMs = this.#movingAt && Math.max(0, this.#movingAt - performance.now());
        this.#retry(verdict.afterMs ?? movingMs, verdict.isTokenOver && this.#attempt === 0);
    }

    /** The server drains: it closes in its own time, and what it is still asked it answers until then. */
    #moving(retryAfterMs: number): void {
        this.#movingAt = this.#notBefore = performance.now() + retryAfterMs;
        this.#after(retryAfterMs + MOVING_GRACE_MS, () => this.#retry(0));
    }

    async #refreshToken(): Promise<void> {
        try {
            const token = await this.#options.token();
            if (token !== null) await this.request({ type: "token_refresh", payload: { token } });
        } catch {
            // The server closes with 4001 when the old token is over, and the next connect asks again.
        }
    }

    /** Comes back after a pause: the one that was asked for, or one with full jitter. */
    #retry(askedMs?: number, isAtOnce = false): void {
        const leftMs = this.#notBefore - performance.now();
        if (leftMs > 0) askedMs ??= leftMs;
        const ownMs = backoffMs(this.#attempt, this.random);
        const delayMs = isAtOnce ? 0 : askedMs === undefined ? ownMs : askedMs + this.random() * 250;
        if (askedMs !== undefined) this.#notBefore = performance.now() + delayMs;
        this.#attempt += 1;
        this.#drop({ state: "waiting", attempt: this.#attempt, delayMs });
    }

    #end(reason: CloseReason, message: string): void {
        this.#unwatch?.();
        this.#unwatch = undefined;
        this.#drop({ state: "closed", reason, message });
    }

    /** Lets go of the socket, and is elsewhere before anybody is told. */
    #drop(next: Link): void {
        const wasLive = this.isLive;
        this.#turn += 1;
        clearTimeout(this.#timer);
        clearTimeout(this.#stableTimer);
        this.#heart.stop();
        const socket = this.#socket;
        this.#socket = undefined;
        if (socket) {
            socket.onopen = socket.onmessage = socket.onclose = null;
            if (socket.readyState < 2) socket.close();
        }
        // Before anybody is told, who may close it for good.
        if (next.state === "waiting") this.#after(next.delayMs, () => void this.#open());
        this.link.set(next);
        if (!wasLive) return;
        for (const { reject } of this.#answers.values()) reject(new Disconnected("the connection was lost"));
        this.#answers.clear();
        this.lost.emit();
    }

    #noticed(change: "online" | "offline" | "awake"): void {
        const { state } = this.link.get();
        if (state === "live") return this.#heart.probe();
        if (change === "offline" && state !== "closed") {
            this.#drop({ state: "offline" });
        } else if (state === "offline" || state === "waiting") {
            const delayMs = this.#notBefore - performance.now();
            if (delayMs > 0) return this.#drop({ state: "waiting", attempt: this.#attempt, delayMs });
            clearTimeout(this.#timer);
            void this.#open();
        }
    }

    #ping(): void {
        const sentAt = performance.now();
        this.request({ type: "ping" }).then(
            () => {
                this.stats.roundTripMs = performance.now() - sentAt;
            },
            () => {},
        );
    }

    #transmit(text: string): void {
        this.stats.framesOut += 1;
        this.stats.bytesOut += text.length;
        this.#socket?.send(text);
    }

    #after(ms: number, then: () => void): void {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(then, ms);
    }
}

/** An event carries its command's id too, and answers nothing. */
function isAnswer(frame: Incoming): frame is ServerFrame {
    return !("seq" in frame);
}

/**
 * The locks that this client holds or waits for. A lock is a lease: it is renewed at a third of its time, and given up
 * in time when it cannot be. Time is measured from when the request was sent, by a clock that does not jump, so the
 * lease here never lasts longer than the server's.
 */
import type { CommandQueue } from "../command/queue.js";
import type { Connection } from "../connection.js";
import type { Ack, EventFrame } from "../protocol/generated.js";
import { Store } from "../store.js";

/** How a lock stands. */
export type LockState =
    | { state: "waiting" }
    | { state: "held"; fence: number }
    | { state: "released" }
    | { state: "lost"; reason: LostReason };

/** Why a lock was lost: what the log says, or this side's clock. */
export type LostReason = Extract<EventFrame, { type: "lock_released" }>["payload"]["reason"] | "taken" | "refused";

export interface LockOptions {
    /** Stands in the queue when somebody else holds it; otherwise that is an error. */
    wait?: boolean;
    /** How long the lease runs without a renewal, 2 s to 10 min; 30 s by default. */
    ttlMs?: number;
    /** Leaves the queue. */
    signal?: AbortSignal;
}

const TTL_MS = 30_000;

/** What locks need of a project. */
export interface LockContext {
    connection: Connection;
    queue: CommandQueue;
    projectId: string;
    /** Something about this client's lock on a node is another thing now. */
    changed(nodeId: string): void;
}

/** A lock that was asked for. */
export class LockHandle {
    readonly status = new Store<LockState>({ state: "waiting" });
    /** Whether it was ever held. */
    wasHeld = false;
    #expiresAt = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;
    readonly #context: LockContext;
    readonly #ttlMs: number;

    constructor(
        readonly nodeId: string,
        context: LockContext,
        options: LockOptions,
    ) {
        this.#context = context;
        this.#ttlMs = options.ttlMs ?? TTL_MS;
    }

    /** The token that proves the lock, while it is held. */
    get fence(): number | undefined {
        const status = this.status.get();
        return status.state === "held" && performance.now() < this.#expiresAt ? status.fence : undefined;
    }

    /** Resolves when the lock is lost, with the reason; never when it is released. */
    get lost(): Promise<LostReason> {
        return new Promise((resolve) => {
            const look = () => {
                const status = this.status.get();
                if (status.state === "lost") resolve(status.reason);
            };
            this.status.subscribe(look);
            look();
        });
    }

    /** Gives it back, after the commands that were given before; or leaves the queue. */
    async release(): Promise<void> {
        const status = this.status.get();
        if (status.state !== "held" && status.state !== "waiting") return;
        this.end({ state: "released" });
        const payload = { nodeId: this.nodeId, ...(status.state === "held" && { fence: status.fence }) };
        const { queue, projectId } = this.#context;
        // Over already is as good: the server says LOCK_LOST.
        await queue.submit(projectId, { type: "lock_release", payload }, false).done.catch(() => {});
    }

    /** The server granted it, or a renewal. `since` is when the request was sent. */
    granted(fence: number, expiresInMs: number, since: number): void {
        const status = this.status.get();
        if (status.state === "released" || status.state === "lost") return;
        this.wasHeld = true;
        this.#expiresAt = since + expiresInMs;
        this.#schedule();
        if (status.state === "waiting" || status.fence !== fence) this.status.set({ state: "held", fence });
    }

    /** It is over. */
    end(status: LockState): void {
        clearTimeout(this.#timer);
        this.status.set(status);
    }

    /** Renews it now; what the server says is the truth. */
    async renew(): Promise<void> {
        const { fence } = this;
        if (fence === undefined) return this.#expireIfDue();
        const since = performance.now();
        try {
            const payload = { nodeId: this.nodeId, fence, ttlMs: this.#ttlMs };
            const answer = await this.#context.connection.request({ type: "lock_renew", payload });
            const grant = answer.type === "ack" ? grantOf(answer.payload) : undefined;
            if (grant) this.granted(grant.fence, grant.expiresInMs, since);
            else if (answer.type === "error" && !answer.payload.temporary) {
                const reason = answer.payload.code === "LOCK_LOST" ? "expired" : "refused";
                if (this.fence === fence) this.end({ state: "lost", reason });
            }
        } catch {
            // Without a connection the lease runs on; it is renewed as soon as there is one.
        }
    }

    #schedule(): void {
        clearTimeout(this.#timer);
        const leftMs = this.#expiresAt - performance.now();
        const dueMs = Math.min(leftMs, Math.max(leftMs - (this.#ttlMs * 2) / 3, this.#ttlMs / 10, 250));
        this.#timer = setTimeout(() => {
            this.#expireIfDue();
            if (this.fence === undefined) return;
            this.#schedule();
            void this.renew();
        }, dueMs);
    }

    #expireIfDue(): void {
        if (this.status.get().state === "held" && performance.now() >= this.#expiresAt) {
            this.end({ state: "lost", reason: "expired" });
        }
    }
}

/** The grant in an answer, if there is one. */
export function grantOf({ result }: Ack): { fence: number; expiresInMs: number } | undefined {
    const grant: unknown = result;
    if (typeof grant !== "object" || grant === null || !("fence" in grant) || !("expiresInMs" in grant))
        return undefined;
    const { fence, expiresInMs } = grant;
    return typeof fence === "number" && typeof expiresInMs === "number" ? { fence, expiresInMs } : undefined;
}

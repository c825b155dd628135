/**
 * The locks that this client holds or waits for. A lock is a lease: it is renewed at a third of its time, and given up
 * in time when it cannot be. Time is measured from when the request was sent, by a clock that does not jump, so the
 * lease here never lasts longer than the server's.
 */
import type { CommandQueue, Pending } from "../command/queue.js";
import type { Connection } from "../connection.js";
import type { Ack, EventFrame } from "../protocol/generated.js";
import type { AnyEvent } from "../protocol/read.js";
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
    /** Something about this client's locks is another thing now. */
    changed(): void;
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

interface Entry {
    handle: LockHandle;
    options: LockOptions;
    /** The newest question. */
    asked: Pending;
    /** Whether the server answered that there is a queue. */
    isQueued: boolean;
}

/** A project's locks that are this client's. */
export class Locks {
    readonly #context: LockContext;
    readonly #handles = new Map<string, Entry>();
    /** Questions that were taken back; the answer may have been yes by then. */
    readonly #takenBack = new Set<string>();

    constructor(context: LockContext) {
        this.#context = context;
    }

    /** What proves the lock of a node, if this client holds it. */
    fenceOf(nodeId: string): number | undefined {
        return this.#handles.get(nodeId)?.handle.fence;
    }

    /** This client's lock on a node, or its place in the queue. */
    handle(nodeId: string): LockHandle | undefined {
        return this.#handles.get(nodeId)?.handle;
    }

    /** All that are held or waited for. */
    get handles(): LockHandle[] {
        return [...this.#handles.values()].map(({ handle }) => handle);
    }

    /** Takes a lock; with `wait` the promise lasts until it is this client's turn. */
    async acquire(nodeId: string, options: LockOptions = {}): Promise<LockHandle> {
        const present = this.#handles.get(nodeId)?.handle;
        if (present) return this.#turn(present, options.signal);
        const handle = new LockHandle(nodeId, this.#context, options);
        handle.status.subscribe(() => {
            const { state } = handle.status.get();
            const isOver = state === "lost" || state === "released";
            const entry = this.#handles.get(nodeId);
            if (isOver && entry?.handle === handle) {
                this.#handles.delete(nodeId);
                if (state === "released" && !handle.wasHeld) this.#takenBack.add(entry.asked.requestId);
            }
            this.#context.changed();
        });
        await this.#ask(handle, options);
        return this.#turn(handle, options.signal);
    }

    /** The server refused a write because the lock is not ours. */
    refused(nodeId: string): void {
        void this.handle(nodeId)?.renew();
    }

    /** Looks at what the log says about locks: a fence in it is for this client. */
    see(event: AnyEvent): void {
        if (event.type !== "lock_acquired" && event.type !== "lock_released") return;
        if (event.type === "lock_acquired" && event.requestId && this.#takenBack.delete(event.requestId)) {
            return this.#giveBack(event.payload.nodeId, event.payload.fence);
        }
        const entry = this.#handles.get(event.payload.nodeId);
        if (!entry) return;
        const status = entry.handle.status.get();
        if (event.type === "lock_released") {
            if (status.state === "held") entry.handle.end({ state: "lost", reason: event.payload.reason });
        } else if (event.payload.fence === undefined) {
            if (status.state === "held") entry.handle.end({ state: "lost", reason: "taken" });
        } else if (event.requestId === entry.asked.requestId) {
            // A turn that came while we were away began when it was written: the renewal finds out how much is left.
            entry.handle.granted(event.payload.fence, event.payload.expiresInMs, performance.now());
        }
    }

    /** The project is live again: whoever waited may have had their turn, and what is held is renewed. */
    resumed(): void {
        for (const { handle, options, isQueued } of this.#handles.values()) {
            if (handle.status.get().state === "held") void handle.renew();
            // A question that was not answered is sent again by the queue of commands.
            else if (isQueued) void this.#ask(handle, options).catch(() => {});
        }
    }

    /** Nothing is held any more. */
    close(): void {
        for (const handle of this.handles) void handle.release();
    }

    async #ask(handle: LockHandle, { wait, ttlMs }: LockOptions): Promise<void> {
        const given = { ...(wait && { wait }), ...(ttlMs !== undefined && { ttlMs }) };
        const payload = { nodeId: handle.nodeId, ...given };
        const { queue, projectId } = this.#context;
        const { pending: asked, done } = queue.submit(projectId, { type: "lock_acquire", payload }, false);
        const entry: Entry = { handle, options: given, asked, isQueued: false };
        this.#handles.set(handle.nodeId, entry);
        try {
            const grant = grantOf(await done);
            if (grant) handle.granted(grant.fence, grant.expiresInMs, asked.sentAt ?? performance.now());
            else entry.isQueued = true;
        } catch (error) {
            handle.end({ state: "lost", reason: "refused" });
            throw error;
        }
    }

    #giveBack(nodeId: string, fence: number | undefined): void {
        if (fence === undefined) return;
        this.#context.queue.submit(
            this.#context.projectId,
            { type: "lock_release", payload: { nodeId, fence } },
            false,
        );
    }

    /** Waits until a handle is held, or is over. */
    #turn(handle: LockHandle, signal: AbortSignal | undefined): Promise<LockHandle> {
        return new Promise((resolve, reject) => {
            const stop = handle.status.subscribe(() => look());
            const look = () => {
                const status = handle.status.get();
                if (status.state === "waiting") return;
                stop();
                if (status.state === "held") resolve(handle);
                else reject(signal?.reason ?? new Error(`the lock is ${status.state}`));
            };
            const leave = () => void (handle.status.get().state === "waiting" && handle.release());
            signal?.addEventListener("abort", leave, { once: true });
            if (signal?.aborted) leave();
            look();
        });
    }
}

function grantOf({ result }: Ack): { fence: number; expiresInMs: number } | undefined {
    const grant: unknown = result;
    if (typeof grant !== "object" || grant === null || !("fence" in grant) || !("expiresInMs" in grant))
        return undefined;
    const { fence, expiresInMs } = grant;
    return typeof fence === "number" && typeof expiresInMs === "number" ? { fence, expiresInMs } : undefined;
}

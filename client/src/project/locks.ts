/** A project's locks that are this client's: what is held, and what it waits for. */
import type { Pending } from "../command/entry.js";
import type { AnyEvent } from "../protocol/read.js";
import { grantOf, type LockContext, LockHandle, type LockOptions } from "./lock.js";

interface Entry {
    handle: LockHandle;
    options: LockOptions;
    /** The newest question. */
    asked: Pending;
    /** Whether the server answered that there is a queue. */
    isQueued: boolean;
}

export class Locks {
    readonly #context: LockContext;
    readonly #handles = new Map<string, Entry>();
    #all: readonly LockHandle[] | undefined;
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
    get handles(): readonly LockHandle[] {
        this.#all ??= [...this.#handles.values()].map(({ handle }) => handle);
        return this.#all;
    }

    /** Takes a lock; with `wait` the promise lasts until it is this client's turn. */
    async acquire(nodeId: string, options: LockOptions = {}): Promise<LockHandle> {
        options.signal?.throwIfAborted();
        const present = this.#handles.get(nodeId)?.handle;
        if (present) return this.#turn(present, options.signal);
        const handle = new LockHandle(nodeId, this.#context, options);
        handle.status.subscribe(() => {
            const { state } = handle.status.get();
            const isOver = state === "lost" || state === "released";
            const entry = this.#handles.get(nodeId);
            if (isOver && entry?.handle === handle) {
                this.#handles.delete(nodeId);
                this.#all = undefined;
                if (state === "released" && !handle.wasHeld) this.#takenBack.add(entry.asked.requestId);
            }
            this.#context.changed(nodeId);
        });
        const asked = this.#ask(handle, options);
        asked.catch(() => {});
        try {
            return await this.#turn(handle, options.signal);
        } catch (error) {
            // A refusal says more than that the lock is not there.
            if (!options.signal?.aborted) await asked;
            throw error;
        }
    }

    /** The server refused a write because the lock is not ours. */
    refused(nodeId: string): void {
        void this.handle(nodeId)?.renew();
    }

    /** Looks at what the log says about locks: a fence in it is for this client. */
    see(event: AnyEvent): void {
        if (event.type === "node_deleted") {
            // Whoever waits for it waits in vain.
            const handle = this.handle(event.payload.nodeId);
            if (handle?.status.get().state === "waiting") handle.end({ state: "lost", reason: "deleted" });
            return;
        }
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

    /** Nobody will hear whose turn it is; what is held runs out by itself. */
    giveUp(): void {
        for (const handle of this.handles) {
            if (handle.status.get().state === "waiting") handle.end({ state: "lost", reason: "refused" });
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
        this.#all = undefined;
        this.#context.changed(handle.nodeId);
        try {
            const grant = grantOf(await done);
            const { state } = handle.status.get();
            if (grant && (state === "released" || state === "lost")) this.#giveBack(handle.nodeId, grant.fence);
            else if (grant) handle.granted(grant.fence, grant.expiresInMs, asked.sentAt ?? performance.now());
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

/**
 * One subscription that lasts over reconnects: asks for the state or for what was missed, keeps the order of events,
 * hands over whole transactions, and asks again when something is missing.
 */
import { backoffMs } from "./connection/backoff.js";
import type { Connection } from "./connection.js";
import type {
    From,
    Head,
    PresenceDiff,
    PresenceState,
    Snapshot,
    Subscribed,
    TraceState,
} from "./protocol/generated.js";
import type { AnyEvent, Incoming } from "./protocol/read.js";
import { Store } from "./store.js";
import { uuid } from "./uuid.js";

/** How a channel stands. What was received before stays valid while it joins again. */
export type ChannelStatus =
    | { state: "joining" }
    | { state: "live"; role: string }
    | { state: "ended"; reason: "left" | "revoked" | "deleted" | "refused"; message: string };

/** Who makes something of what comes. */
export interface ChannelHandler {
    /** The whole state, which replaces all before it; `isNewLife` when the log is another one than before. */
    snapshot?(parts: Snapshot[], seq: number, isNewLife: boolean): void;
    /** The same for an execution. */
    trace?(state: TraceState): void;
    /** The events of one transaction, which belong together. */
    transaction(events: AnyEvent[], seq: number): void;
    /** Who is here, or what changed about it. */
    presence?(frame: PresenceState | PresenceDiff): void;
    /** The state is complete and follows the log from here. */
    synced?(sessionId: string): void;
}

/** Failed resumes before the whole state is asked for. */
const RESUMES_MAX = 3;

export class Channel {
    readonly status = new Store<ChannelStatus>({ state: "joining" });
    readonly #connection: Connection;
    readonly #handler: ChannelHandler;
    /** Whether events that concern others leave holes in the numbers: the channel of a node. */
    readonly #isSparse: boolean;
    /** After the newest whole transaction: what a resume names. */
    #position: { epoch: string; seq: number } | undefined;
    #generation: number | undefined;
    #requestId: string | undefined;
    #role = "";
    #epoch = "";
    #isNewLife = false;
    #seq = 0;
    #parts: Snapshot[] = [];
    #open: AnyEvent[] = [];
    /** How often something was missing in a row. */
    #failures = 0;
    /** How often the server could not take the question in a row. */
    #refusals = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(
        connection: Connection,
        readonly name: string,
        handler: ChannelHandler,
    ) {
        this.#connection = connection;
        this.#handler = handler;
        this.#isSparse = name.startsWith("node:");
    }

    /** The newest event that was handed over. */
    get seq(): number {
        return this.#position?.seq ?? 0;
    }

    /** Asks the server; on a channel that is open, anew. */
    join(): void {
        clearTimeout(this.#timer);
        this.#generation = undefined;
        this.#parts = [];
        this.#open = [];
        this.#requestId = uuid();
        this.status.set({ state: "joining" });
        const from: From = (this.#failures <= RESUMES_MAX && this.#position) || "snapshot";
        const payload = { channel: this.name, from };
        this.#connection.send({ type: "subscribe", payload, requestId: this.#requestId });
    }

    /** The connection is gone. */
    suspend(): void {
        clearTimeout(this.#timer);
        this.#generation = undefined;
        this.#requestId = undefined;
        if (this.status.get().state === "live") this.status.set({ state: "joining" });
    }

    /** Ends it. */
    leave(): void {
        this.#end("left", "");
        this.#connection.send({ type: "unsubscribe", payload: { channel: this.name } });
    }

    /** Takes a frame of this channel, or an error that answers its request. */
    receive(frame: Incoming): void {
        switch (frame.type) {
            case "subscribed":
                return this.#subscribed(frame.payload, frame.requestId);
            case "unsubscribed":
                // Without a reason it answers an `unsubscribe` of ours.
                if (frame.payload.reason) this.#end(frame.payload.reason, "");
                return;
            case "error":
                if (frame.requestId === this.#requestId) this.#refused(frame.payload);
                return;
        }
        if (this.#generation === undefined || generationOf(frame) !== this.#generation) return;
        switch (frame.type) {
            case "snapshot":
                return this.#snapshot(frame.payload);
            case "trace_state":
                this.#reach(frame.payload.seq);
                return this.#handler.trace?.(frame.payload);
            case "reset":
                this.#connection.stats.resets += 1;
                this.#epoch = frame.payload.epoch;
                // Otherwise what was acknowledged is in the snapshot to come.
                this.#isNewLife = frame.payload.reason !== "below_floor";
                this.#parts = [];
                this.#open = [];
                return;
            case "synced":
                return this.#synced(frame.payload.seq);
            case "head":
                return this.#head(frame.payload);
            case "presence_state":
            case "presence_diff":
                return this.#handler.presence?.(frame.payload);
        }
        if ("seq" in frame) this.#event(frame);
    }

    /** Whether an error answers this channel's request. */
    isAsking(requestId: string | undefined): boolean {
        return requestId !== undefined && requestId === this.#requestId;
    }

    #subscribed({ role, epoch, generation }: Subscribed, requestId: string | undefined): void {
        if (this.#requestId === undefined || (requestId !== undefined && requestId !== this.#requestId)) return;
        this.#generation = generation;
        this.#role = role;
        this.#epoch = epoch;
        this.#isNewLife = this.#position !== undefined && this.#position.epoch !== epoch;
        this.#seq = this.seq;
        this.#parts = [];
        this.#open = [];
        if (this.#position) this.#connection.stats.resumes += 1;
    }

    #snapshot(part: Snapshot): void {
        if (part.part !== this.#parts.length + 1) return this.#missed();
        this.#parts.push(part);
        if (part.part < part.parts) return;
        const parts = this.#parts;
        this.#parts = [];
        // A server may begin with an older state and tell what came since: what is shown does not go back for that.
        if (!this.#isNewLife && part.seq < this.#seq) return;
        this.#reach(part.seq);
        this.#handler.snapshot?.(parts, part.seq, this.#isNewLife);
    }

    #event(event: AnyEvent): void {
        if (event.seq <= this.#seq) return; // seen before
        if (!this.#isSparse && event.seq !== this.#seq + 1) return this.#missed();
        this.#seq = event.seq;
        this.#open.push(event);
        if (!event.txEnd) return;
        const events = this.#open;
        this.#open = [];
        this.#reach(event.seq);
        this.#handler.transaction(events, event.seq);
    }

    #synced(seq: number): void {
        if (this.#isSparse) this.#reach(seq);
        else if (seq !== this.#seq) return this.#missed();
        this.#failures = 0;
        this.#refusals = 0;
        this.status.set({ state: "live", role: this.#role });
        const link = this.#connection.link.get();
        if (link.state === "live") this.#handler.synced?.(link.sessionId);
    }

    /** The server says where the channel stands: what we do not have by now was lost. */
    #head({ epoch, seq }: Head): void {
        if (this.status.get().state !== "live") return;
        if (epoch !== this.#epoch) return this.#missed();
        if (seq <= this.#seq) return;
        if (this.#isSparse && this.#open.length === 0) this.#reach(seq);
        else this.#missed();
    }

    #reach(seq: number): void {
        this.#seq = seq;
        this.#position = { epoch: this.#epoch, seq };
    }

    /** Asks again: at once, and after pauses when that did not help. */
    #missed(): void {
        this.#connection.stats.gaps += 1;
        this.#later(this.#failures === 0 ? 0 : backoffMs(this.#failures, this.#connection.random));
        this.#failures += 1;
    }

    #refused(error: { code: string; message: string; temporary: boolean }): void {
        if (!error.temporary) return this.#end("refused", error.message);
        this.#refusals += 1;
        this.#later(backoffMs(this.#refusals, this.#connection.random));
    }

    #later(delayMs: number): void {
        this.suspend();
        this.#timer = setTimeout(() => this.join(), delayMs);
    }

    #end(reason: "left" | "revoked" | "deleted" | "refused", message: string): void {
        this.suspend();
        this.status.set({ state: "ended", reason, message });
    }
}

function generationOf(frame: Incoming): number | undefined {
    if ("seq" in frame) return frame.generation;
    return "payload" in frame && "generation" in frame.payload ? frame.payload.generation : undefined;
}

/**
 * Commands on their way: kept in order while there is no connection, sent at the server's pace, sent again under the
 * same id when the answer was lost, and settled exactly once: when the state shows what they did, or when the server
 * refused.
 */
import { backoffMs, type CloseReason } from "../connection/backoff.js";
import type { Connection } from "../connection.js";
import type { Ack, ErrorPayload } from "../protocol/generated.js";
import type { Incoming } from "../protocol/read.js";
import { Emitter } from "../store.js";
import { overBounds, overFrame, type Refusal } from "./bounds.js";
import { type Entry, given, leftOver, type Pending, type Queued, stored } from "./entry.js";
import { CommandError } from "./error.js";
import { Pacer } from "./pacer.js";
import { Saver } from "./saver.js";
import type { QueueStorage, StoredCommand } from "./storage.js";

/** Whoever shows a project, so that a command is settled no earlier than what it did is seen. */
export interface Viewer {
    /** The newest event that is shown. */
    readonly seq: number;
    /** The pending commands are others now: one more at their end, or less or others. */
    pendingChanged(added?: Pending): void;
}

/** Tries of a command that the server could not take just now. */
const ATTEMPTS_MAX = 10;
const PASSING = new Set(["RATE_LIMITED", "PROJECT_BUSY", "UNAVAILABLE"]);
/** Stands for everything. */
const ALL = "*";
/** Ends after which the same user may come back with what was kept. */
const RETURNING = new Set<CloseReason>(["by_client", "signed_out", "token_invalid"]);

export class CommandQueue {
    /** Tells of each command that was refused. */
    readonly rejected = new Emitter<[CommandError, Queued]>();
    readonly #connection: Connection;
    readonly #storage: QueueStorage | undefined;
    readonly #pacer = new Pacer();
    readonly #viewers = new Map<string, Viewer>();
    #entries: Entry[] = [];
    #clientId: string | undefined;
    #userId: string | undefined;
    #isClosed = false;
    #heldUntil = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;
    readonly #saver: Saver | undefined;
    #isLoaded = false;

    constructor(connection: Connection, storage?: QueueStorage) {
        this.#connection = connection;
        this.#storage = storage;
        connection.opened.subscribe(() => this.#begin());
        connection.lost.subscribe(() => {
            for (const entry of this.#entries) if (entry.phase === "sent") entry.phase = "queued";
        });
        connection.link.subscribe(() => {
            const link = connection.link.get();
            if (link.state === "closed") this.#ended(link.reason, link.message);
        });
        connection.frames.subscribe((frame) => this.#answered(frame));
        this.#saver =
            storage &&
            new Saver(storage, () => {
                const clientId = this.#clientId;
                if (!this.#isLoaded || this.#isClosed || clientId === undefined) return undefined;
                return { clientId, commands: this.#entries.flatMap(stored) };
            });
        if (storage) void this.#load(storage);
        else this.#isLoaded = true;
    }

    /** How many commands are not settled. */
    get size(): number {
        return this.#entries.length;
    }

    /** A project's commands that are shown as guesses, in order. */
    guesses(projectId: string): Pending[] {
        return this.#entries.filter((entry) => entry.projectId === projectId && !entry.isInLog);
    }

    /** Says who shows a project; returns what takes that back. */
    show(projectId: string, viewer: Viewer): () => void {
        this.#viewers.set(projectId, viewer);
        return () => {
            this.#viewers.delete(projectId);
            this.#settle(projectId, () => true);
        };
    }

    /**
     * Gives a command. The promise is kept when the server has committed it and, where the project is open, its events
     * are shown. `isKept` commands survive a reload if there is a storage.
     */
    submit(projectId: string | undefined, command: Queued, isKept = true): { pending: Pending; done: Promise<Ack> } {
        const { entry, done } = given(projectId, command, isKept, this.#userId);
        const refusal = this.#refusal(entry);
        if (refusal) {
            this.#reject(entry, { ...refusal, temporary: false });
        } else {
            this.#entries.push(entry);
            this.#changed([projectId], entry);
            this.#pump();
        }
        return { pending: entry, done };
    }

    /** A transaction is about to be shown: what it did is no guess any more. */
    inLog(requestIds: ReadonlySet<string>): void {
        for (const entry of this.#entries) if (requestIds.has(entry.requestId)) entry.isInLog = true;
    }

    /** The project is shown up to `seq`; in another life of the log, all that was acknowledged before is past. */
    reached(projectId: string, seq: number, isNewLife = false): void {
        this.#settle(projectId, (answer) => isNewLife || answer.seq <= seq);
    }

    /** Ends everything that waits, of one project. */
    abandon(message: string, projectId: string): void {
        this.#rejectAll((entry) => entry.projectId === projectId, message);
    }

    /** The connection has ended for good: nothing waits for an answer that nobody hears. */
    #ended(reason: CloseReason, message: string): void {
        if (RETURNING.has(reason)) {
            // What is stored stays, for the next time.
            this.#saver?.flush();
            this.#isClosed = true;
        }
        this.#rejectAll(() => true, message === "" ? `the connection is closed: ${reason}` : message);
        this.#saver?.flush();
    }

    #begin(): void {
        const link = this.#connection.link.get();
        if (link.state !== "live") return;
        this.#pacer.restart(link.limits.commandsPerSecond, link.limits.commandsBurst);
        this.#heldUntil = 0;
        const former = this.#clientId;
        this.#clientId = link.clientId;
        if (former !== undefined && former !== link.clientId) this.#identityChanged();
        const { id } = link.user;
        this.#userId = id;
        if (this.#isClosed && this.#storage) {
            this.#isLoaded = false;
            void this.#load(this.#storage);
        }
        this.#isClosed = false;
        this.#adopt(id);
        this.#pump();
    }

    /** What nobody has sent yet is sent by this user; what is somebody else's is not. */
    #adopt(id: string): void {
        this.#rejectAll(({ userId = id }) => userId !== id, "somebody else is signed in now");
        for (const entry of this.#entries) entry.userId = id;
    }

    /** The client goes by another id: what may have been sent under the old one cannot be asked for again. */
    #identityChanged(): void {
        this.#rejectAll((entry) => entry.sentAt !== undefined, "another tab uses this tab's id");
    }

    /** What an earlier page left comes before what this one has said; some of it may have been sent. */
    async #load(storage: QueueStorage): Promise<void> {
        let earlier: StoredCommand[] = [];
        try {
            this.#clientId ??= await this.#connection.identity.get();
            earlier = await storage.load(this.#clientId);
        } catch {
            // What cannot be read does not hold up what is new.
        }
        const known = new Set(this.#entries.map(({ requestId }) => requestId));
        this.#entries.unshift(...earlier.filter(({ requestId }) => !known.has(requestId)).map(leftOver));
        this.#isLoaded = true;
        if (this.#entries.length > 0) this.#changed(earlier.map(({ projectId }) => projectId));
        if (this.#connection.isLive && this.#userId !== undefined) this.#adopt(this.#userId);
        this.#pump();
    }

    #pump(): void {
        clearTimeout(this.#timer);
        if (!this.#connection.isLive || !this.#isLoaded) return;
        const heldMs = this.#heldUntil - performance.now();
        if (heldMs > 0) return this.#later(heldMs);
        // What is about the same thing waits for the answer: if one could not be taken and the next one were, the older
        // value would win in the end. What is about different things goes together.
        const busy = new Set<string>();
        for (const entry of this.#entries) {
            if (entry.phase === "acked") continue;
            const { ids } = entry;
            const isFree = ids ? !busy.has(ALL) && ids.every((id) => !busy.has(id)) : busy.size === 0;
            for (const id of ids ?? [ALL]) busy.add(id);
            if (entry.phase === "sent" || !isFree) continue;
            const tooLarge = overFrame(entry, this.#connection.limits?.frameBytes);
            if (tooLarge) {
                // The server's limit is smaller than was thought when it was given.
                this.#remove([entry]);
                this.#reject(entry, { ...tooLarge, temporary: false });
                return this.#pump();
            }
            const waitMs = this.#pacer.take();
            if (waitMs > 0) return this.#later(waitMs);
            if (!this.#connection.sendText(entry.text)) return;
            entry.sentAt ??= performance.now();
            entry.phase = "sent";
        }
    }

    #answered(frame: Incoming): void {
        if (frame.type !== "ack" && frame.type !== "error") return;
        const entry = this.#entries.find(({ requestId }) => requestId === frame.requestId);
        if (entry?.phase !== "sent") return;
        if (frame.type === "error") return this.#failed(entry, frame.payload);
        entry.phase = "acked";
        entry.answer = frame.payload;
        this.#pump();
        const viewer = entry.projectId === undefined ? undefined : this.#viewers.get(entry.projectId);
        if (viewer && viewer.seq < frame.payload.seq) return; // settled when it is shown
        this.#remove([entry]);
        entry.resolve(frame.payload);
    }

    #failed(entry: Entry, error: ErrorPayload): void {
        if (error.temporary && PASSING.has(error.code) && entry.attempts < ATTEMPTS_MAX) {
            // All that follows waits with it, so that the order stays.
            entry.phase = "queued";
            this.#heldUntil = performance.now() + 100 + backoffMs(entry.attempts, this.#connection.random) / 2;
            entry.attempts += 1;
            return this.#pump();
        }
        this.#remove([entry]);
        this.#reject(entry, error);
        this.#pump();
    }

    #settle(projectId: string, isShown: (answer: Ack) => boolean): void {
        const over = this.#entries.filter((e) => e.projectId === projectId && e.answer && isShown(e.answer));
        if (over.length === 0) return;
        this.#remove(over);
        for (const { answer, resolve } of over) if (answer) resolve(answer);
    }

    #rejectAll(isMeant: (entry: Entry) => boolean, message: string): void {
        const over = this.#entries.filter(isMeant);
        if (over.length === 0) return;
        this.#remove(over);
        for (const entry of over) {
            // It was sent, or what is stored will be.
            const mayBeApplied = entry.sentAt !== undefined || (this.#isClosed && this.#storage && entry.isKept);
            const error = { code: "CLOSED" as const, message, temporary: false };
            if (entry.answer) entry.resolve(entry.answer);
            else this.#reject(entry, error, mayBeApplied ? "unknown" : "not_applied");
        }
    }

    #reject(
        entry: Entry,
        error: ConstructorParameters<typeof CommandError>[2],
        outcome: CommandError["outcome"] = "not_applied",
    ): void {
        const refusal = new CommandError(entry.command.type, entry.requestId, error, outcome);
        entry.reject(refusal);
        // A lock that is over already needs no release.
        if (entry.command.type !== "lock_release") this.rejected.emit(refusal, entry.command);
    }

    #refusal(entry: Entry): (Omit<Refusal, "code"> & { code: Refusal["code"] | "CLOSED" }) | undefined {
        const link = this.#connection.link.get();
        if (link.state === "closed") return { code: "CLOSED", message: `the connection is closed: ${link.reason}` };
        return overBounds(entry, this.#entries, this.#connection.limits?.frameBytes);
    }

    #remove(entries: Entry[]): void {
        const gone = new Set(entries);
        this.#entries = this.#entries.filter((entry) => !gone.has(entry));
        // What is in the log was no guess any more.
        this.#changed(entries.filter(({ isInLog }) => !isInLog).map(({ projectId }) => projectId));
    }

    #changed(projectIds: (string | undefined)[], added?: Entry): void {
        this.#saver?.changed();
        for (const id of new Set(projectIds)) if (id !== undefined) this.#viewers.get(id)?.pendingChanged(added);
    }

    #later(ms: number): void {
        this.#timer = setTimeout(() => this.#pump(), ms);
    }
}

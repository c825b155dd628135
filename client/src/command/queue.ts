/**
 * Commands on their way: kept in order while there is no connection, sent at the server's pace, sent again under the
 * same id when the answer was lost, and settled exactly once: when the state shows what they did, or when the server
 * refused.
 */
import { backoffMs } from "../connection/backoff.js";
import type { Connection } from "../connection.js";
import type { Command } from "../project/guesses.js";
import type { Ack, ErrorPayload, NotificationsReadRequest } from "../protocol/generated.js";
import type { Incoming } from "../protocol/read.js";
import { Emitter } from "../store.js";
import { uuid } from "../uuid.js";
import { CommandError } from "./error.js";
import { Pacer } from "./pacer.js";
import type { QueueStorage, StoredCommand } from "./storage.js";
import { touched } from "./touched.js";

/** What the queue carries. */
export type Queued = Command | Omit<NotificationsReadRequest, "requestId">;

/** A command that is not settled. */
export interface Pending {
    readonly requestId: string;
    /** Absent for what concerns the user alone. */
    readonly projectId: string | undefined;
    readonly command: Queued;
    readonly at: string;
    /** When it was first sent, by `performance.now()`. */
    sentAt: number | undefined;
    /** Whether the log showed what it did: it is no guess any more. */
    isInLog: boolean;
}

interface Entry extends Pending {
    readonly text: string;
    readonly isKept: boolean;
    /** Who gave it, once that is known: nobody else may send it. */
    userId: string | undefined;
    phase: "queued" | "sent" | "acked";
    attempts: number;
    answer: Ack | undefined;
    resolve(ack: Ack): void;
    reject(error: CommandError): void;
}

/** Whoever shows a project, so that a command is settled no earlier than what it did is seen. */
export interface Viewer {
    /** The newest event that is shown. */
    readonly seq: number;
    /** The pending commands are others now. */
    pendingChanged(): void;
}

/** Commands that may wait for one project. */
const WAITING_MAX = 1_000;
/** Tries of a command that the server could not take just now. */
const ATTEMPTS_MAX = 10;
const PASSING = new Set(["RATE_LIMITED", "PROJECT_BUSY", "UNAVAILABLE"]);
/** Stands for everything. */
const ALL = "*";
/** The server's default, until it has said its own, bytes. */
const FRAME_BYTES = 262_144;

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
    #isSaveDue = false;
    #isLoaded = false;

    constructor(connection: Connection, storage?: QueueStorage) {
        this.#connection = connection;
        this.#storage = storage;
        connection.opened.subscribe(() => this.#begin());
        connection.lost.subscribe(() => {
            for (const entry of this.#entries) if (entry.phase === "sent") entry.phase = "queued";
        });
        connection.frames.subscribe((frame) => this.#answered(frame));
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
        const requestId = uuid();
        const at = new Date().toISOString();
        const { promise: done, ...settle } = deferred<Ack>();
        const entry: Entry = {
            ...newEntry({ ...command, requestId }),
            ...settle,
            requestId,
            projectId,
            command,
            at,
            isKept,
            userId: this.#userId,
        };
        const refusal = this.#refusal(entry);
        if (refusal) {
            this.#reject(entry, { ...refusal, temporary: false });
        } else {
            this.#entries.push(entry);
            this.#changed(projectId);
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

    /** Ends everything; what is stored stays, for the next time. */
    close(): void {
        this.#isClosed = true;
        this.abandon("the client was closed");
    }

    /** Ends everything that waits, of one project or at all. */
    abandon(message: string, projectId?: string): void {
        this.#rejectAll((entry) => projectId === undefined || entry.projectId === projectId, message);
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
        this.#isClosed = false;
        this.#rejectAll(({ userId = id }) => userId !== id, "somebody else is signed in now");
        for (const entry of this.#entries) entry.userId = id;
        this.#pump();
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
        this.#entries.unshift(
            ...earlier.map(
                (command): Entry => ({
                    ...command,
                    ...newEntry({ ...command.command, requestId: command.requestId }),
                    isKept: true,
                    userId: command.userId,
                    sentAt: performance.now(),
                    resolve: () => {},
                    reject: () => {}, // whoever asked is gone; `rejected` tells
                }),
            ),
        );
        this.#isLoaded = true;
        for (const projectId of new Set(earlier.map((entry) => entry.projectId))) this.#changed(projectId);
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
            const ids = touched(entry.command);
            const isFree = ids ? !busy.has(ALL) && ids.every((id) => !busy.has(id)) : busy.size === 0;
            for (const id of ids ?? [ALL]) busy.add(id);
            if (entry.phase === "sent" || !isFree) continue;
            const tooLarge = this.#tooLarge(entry.text);
            if (tooLarge) {
                // The server's limit is smaller than was thought when it was given.
                this.#remove(entry);
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
        this.#remove(entry);
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
        this.#remove(entry);
        this.#reject(entry, error);
        this.#pump();
    }

    #settle(projectId: string, isShown: (answer: Ack) => boolean): void {
        for (const entry of this.#entries.filter((e) => e.projectId === projectId)) {
            if (!entry.answer || !isShown(entry.answer)) continue;
            this.#remove(entry);
            entry.resolve(entry.answer);
        }
    }

    #rejectAll(isMeant: (entry: Entry) => boolean, message: string): void {
        for (const entry of this.#entries.filter(isMeant)) {
            this.#remove(entry);
            if (entry.answer) entry.resolve(entry.answer);
            else this.#reject(entry, { code: "CLOSED", message, temporary: false });
        }
    }

    #reject(entry: Entry, error: ConstructorParameters<typeof CommandError>[2]): void {
        const isUnknown = error.code === "CLOSED" && entry.sentAt !== undefined;
        const outcome = isUnknown ? "unknown" : "not_applied";
        const refusal = new CommandError(entry.command.type, entry.requestId, error, outcome);
        entry.reject(refusal);
        // A lock that is over already needs no release.
        if (entry.command.type !== "lock_release") this.rejected.emit(refusal, entry.command);
    }

    #refusal({ text, projectId }: Entry): { code: "TOO_LARGE" | "QUEUE_FULL"; message: string } | undefined {
        const tooLarge = this.#tooLarge(text);
        if (tooLarge) return tooLarge;
        if (this.#entries.filter((entry) => entry.projectId === projectId).length >= WAITING_MAX) {
            return { code: "QUEUE_FULL", message: `at most ${WAITING_MAX} commands may wait` };
        }
        return undefined;
    }

    #tooLarge(text: string): { code: "TOO_LARGE"; message: string } | undefined {
        const frameBytes = this.#connection.limits?.frameBytes ?? FRAME_BYTES;
        // No character takes more than three bytes in UTF-8 for each unit here: most texts need no counting.
        if (text.length * 3 <= frameBytes || new TextEncoder().encode(text).length <= frameBytes) return undefined;
        return { code: "TOO_LARGE", message: `a command has at most ${frameBytes} bytes` };
    }

    #remove(entry: Entry): void {
        this.#entries = this.#entries.filter((other) => other !== entry);
        this.#changed(entry.projectId);
    }

    #changed(projectId: string | undefined): void {
        if (projectId !== undefined) this.#viewers.get(projectId)?.pendingChanged();
        if (!this.#storage || this.#isSaveDue) return;
        this.#isSaveDue = true;
        queueMicrotask(() => {
            this.#isSaveDue = false;
            if (this.#isLoaded && !this.#isClosed && this.#clientId !== undefined)
                this.#storage?.save(this.#clientId, this.#entries.flatMap(stored));
        });
    }

    #later(ms: number): void {
        this.#timer = setTimeout(() => this.#pump(), ms);
    }
}

function newEntry(frame: object) {
    return {
        // The same text each time it is sent: another body under the same id is a conflict.
        text: JSON.stringify(frame),
        sentAt: undefined,
        isInLog: false,
        phase: "queued" as const,
        attempts: 0,
        answer: undefined,
    };
}

function stored({ isKept, requestId, projectId, command, at, userId }: Entry): StoredCommand[] {
    if (!isKept || projectId === undefined || command.type === "notifications_read") return [];
    return [{ requestId, projectId, command, at, ...(userId !== undefined && { userId }) }];
}

function deferred<T>(): { promise: Promise<T>; resolve(value: T): void; reject(error: Error): void } {
    let resolve: (value: T) => void = () => {};
    let reject: (error: Error) => void = () => {};
    const promise = new Promise<T>((yes, no) => {
        resolve = yes;
        reject = no;
    });
    // Whoever does not look at the promise hears of a refusal by `rejected`.
    promise.catch(() => {});
    return { promise, resolve, reject };
}

/** A command in the queue, from when it was given until it is settled. */
import type { Command } from "../project/guesses.js";
import type { Ack, NotificationsReadRequest } from "../protocol/generated.js";
import { uuid } from "../uuid.js";
import type { CommandError } from "./error.js";
import type { StoredCommand } from "./storage.js";
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

export interface Entry extends Pending {
    /** The same text each time it is sent: another body under the same id is a conflict. */
    readonly text: string;
    /** Of the text as it is sent. */
    readonly bytes: number;
    /** The ids that it names; absent where it depends on all before it. */
    readonly ids: string[] | undefined;
    readonly isKept: boolean;
    /** Who gave it, once that is known: nobody else may send it. */
    userId: string | undefined;
    phase: "queued" | "sent" | "acked";
    attempts: number;
    answer: Ack | undefined;
    resolve(ack: Ack): void;
    reject(error: CommandError): void;
}

/** A command that was given just now, and the promise of its end. */
export function given(
    projectId: string | undefined,
    command: Queued,
    isKept: boolean,
    userId: string | undefined,
): { entry: Entry; done: Promise<Ack> } {
    let settle: Pick<Entry, "resolve" | "reject"> = { resolve: () => {}, reject: () => {} };
    const done = new Promise<Ack>((resolve, reject) => {
        settle = { resolve, reject };
    });
    // Whoever does not look at the promise hears of a refusal by `rejected`.
    done.catch(() => {});
    const identity = { requestId: uuid(), projectId, command, at: new Date().toISOString(), isKept, userId };
    return { entry: { ...fresh(identity), ...identity, ...settle }, done };
}

/** A command that an earlier page left. It may have been sent; whoever asked is gone, and `rejected` tells. */
export function leftOver(left: StoredCommand): Entry {
    const nobody = { resolve: () => {}, reject: () => {} };
    const { userId } = left;
    return { ...left, ...fresh(left), ...nobody, isKept: true, userId, sentAt: performance.now() };
}

/** What outlives the page. */
export function stored({ isKept, requestId, projectId, command, at, userId }: Entry): StoredCommand[] {
    if (!isKept || projectId === undefined || command.type === "notifications_read") return [];
    return [{ requestId, projectId, command, at, ...(userId !== undefined && { userId }) }];
}

const ENCODER = new TextEncoder();

function fresh({ command, requestId }: { command: Queued; requestId: string }) {
    const text = JSON.stringify({ ...command, requestId });
    return {
        text,
        bytes: ENCODER.encode(text).length,
        ids: touched(command),
        sentAt: undefined,
        isInLog: false,
        phase: "queued" as const,
        attempts: 0,
        answer: undefined,
    };
}

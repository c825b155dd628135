/**
 * The user's notifications. The list is the server's, read over REST whenever the connection comes up; what happens
 * from then on comes over the socket. What is marked as read counts as read at once.
 */

import type { CommandQueue } from "./command/queue.js";
import { backoffMs } from "./connection/backoff.js";
import type { Connection, TokenProvider } from "./connection.js";
import type { Notification, NotificationsRead } from "./protocol/generated.js";
import type { Incoming } from "./protocol/read.js";
import { type Readable, Store } from "./store.js";

/** What a person has to read. */
export interface Inbox {
    /** The newest first; as many as one page of the server's list, and what came since. */
    notifications: readonly Notification[];
    /** How many are unread in all. */
    unreadCount: number;
    /** Whether the list was read. */
    isLoaded: boolean;
}

export interface InboxOptions {
    /** Where the REST API is, for example `https://example.org`. */
    apiUrl: string;
    token: TokenProvider;
    fetch?: typeof fetch;
}

const PAGE = 50;
/** Longest time for one answer, ms. */
const FETCH_DEADLINE_MS = 15_000;
/** Shortest pause before the list is asked for again, ms. */
const PAUSE_MS = 500;

export class InboxStore implements Readable<Inbox> {
    readonly #shown = new Store<Inbox>({ notifications: [], unreadCount: 0, isLoaded: false });
    readonly #connection: Connection;
    readonly #queue: CommandQueue;
    readonly #options: InboxOptions;
    readonly #reads = new Map<object, NotificationsRead>();
    #known: Inbox = this.#shown.get();
    #seq = 0;
    #load = 0;
    #failures = 0;
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(connection: Connection, queue: CommandQueue, options: InboxOptions) {
        this.#connection = connection;
        this.#queue = queue;
        this.#options = options;
        connection.frames.subscribe((frame) => this.#receive(frame));
        connection.opened.subscribe(() => {
            this.#seq = 0;
            this.#failures = 0;
            void this.refresh();
        });
        connection.lost.subscribe(() => clearTimeout(this.#timer));
        if (connection.isLive) void this.refresh();
    }

    readonly get = (): Inbox => this.#shown.get();
    readonly subscribe = (listener: () => void): (() => void) => this.#shown.subscribe(listener);

    /**
     * Reads the list anew; again while news come in between, since one does not say whether the other has them. What
     * fails is tried again after pauses, for as long as there is a connection.
     */
    async refresh(): Promise<void> {
        clearTimeout(this.#timer);
        const load = ++this.#load;
        for (let tries = 0; tries < 5; tries += 1) {
            const before = this.#seq;
            const page = await this.#fetch().catch(() => undefined);
            if (load !== this.#load) return;
            if (!page) break;
            if (before !== this.#seq) continue;
            this.#failures = 0;
            this.#known = page;
            return this.#show();
        }
        if (!this.#connection.isLive) return;
        const delayMs = PAUSE_MS + backoffMs(this.#failures, this.#connection.random);
        this.#failures += 1;
        this.#timer = setTimeout(() => void this.refresh(), delayMs);
    }

    /** Marks these as read. */
    markRead(ids: string[]): Promise<void> {
        return ids.length === 0 ? Promise.resolve() : this.#read({ ids });
    }

    /** Marks all as read that are known here; what comes later stays unread. */
    markAllRead(): Promise<void> {
        const newest = this.get().notifications[0];
        return newest ? this.#read({ upTo: newest.id }) : Promise.resolve();
    }

    async #read(read: NotificationsRead): Promise<void> {
        const { pending, done } = this.#queue.submit(undefined, { type: "notifications_read", payload: read }, false);
        this.#reads.set(pending, read);
        this.#show();
        try {
            const { result } = await done;
            const unreadCount: unknown = (result as { unreadCount?: unknown } | undefined)?.unreadCount; // checked below
            this.#markKnown(read, typeof unreadCount === "number" ? unreadCount : undefined);
        } finally {
            this.#reads.delete(pending);
            this.#show();
        }
    }

    #receive(frame: Incoming): void {
        if (!("seq" in frame) || frame.channel !== "user" || frame.seq <= this.#seq) return;
        this.#seq = frame.seq;
        if (frame.type === "notification") {
            const { notification, unreadCount } = frame.payload;
            const others = this.#known.notifications.filter(({ id }) => id !== notification.id);
            this.#known = { ...this.#known, notifications: [notification, ...others], unreadCount };
        } else if (frame.type === "notifications_read") {
            this.#markKnown({ ids: frame.payload.ids }, frame.payload.unreadCount);
        }
        this.#show();
    }

    #markKnown(read: NotificationsRead, unreadCount = this.#known.unreadCount): void {
        this.#known = { ...marked(this.#known, read), unreadCount };
    }

    #show(): void {
        let inbox = this.#known;
        for (const read of this.#reads.values()) inbox = marked(inbox, read);
        this.#shown.set(inbox);
    }

    async #fetch(): Promise<Inbox> {
        const { apiUrl, token, fetch: ask = fetch } = this.#options;
        const bearer = await token();
        if (bearer === null) throw new Error("nobody is signed in");
        const url = new URL(`/api/v1/users/me/notifications?limit=${PAGE}`, apiUrl);
        const headers = { authorization: `Bearer ${bearer}` };
        const answer = await ask(url, { headers, signal: AbortSignal.timeout(FETCH_DEADLINE_MS) });
        if (!answer.ok) throw new Error(`the list of notifications: ${answer.status}`);
        const page: { data: Notification[]; unreadCount: number } = await answer.json();
        return { notifications: page.data, unreadCount: page.unreadCount, isLoaded: true };
    }
}

/** As it looks when these are read. */
function marked(inbox: Inbox, read: NotificationsRead): Inbox {
    const { notifications } = inbox;
    const from = "upTo" in read ? notifications.findIndex(({ id }) => id === read.upTo) : -1;
    const ids = new Set("ids" in read ? read.ids : notifications.slice(from < 0 ? Infinity : from).map(({ id }) => id));
    const unread = notifications.filter(({ id, readAt }) => readAt === undefined && ids.has(id)).length;
    if (unread === 0) return inbox;
    const readAt = new Date().toISOString();
    return {
        ...inbox,
        notifications: notifications.map((one) =>
            one.readAt === undefined && ids.has(one.id) ? { ...one, readAt } : one,
        ),
        unreadCount: Math.max(0, inbox.unreadCount - unread),
    };
}

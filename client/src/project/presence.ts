/**
 * Who else is here and what they show, and what this session shows of itself. Latest values: they are sent at most 30
 * times a second, only what changed, and none of them is worth waiting for.
 */
import type { Connection } from "../connection.js";
import type { Presence, PresenceDiff, PresenceState, PresentMember, User } from "../protocol/generated.js";
import { type Readable, Store } from "../store.js";

/** What a session shows: an absent field stays as it is, null clears it. */
export type PresenceFields = Omit<Presence, "channel">;

/** A user with all sessions, whichever way each of them looks. */
export interface PresentUser {
    user: User;
    sessions: readonly PresentMember[];
}

/** Where a node is while somebody drags it. */
export interface DragPreview {
    sessionId: string;
    user: User;
    position: { x: number; y: number };
}

/** Shortest time between two presence frames, ms. */
const INTERVAL_MS = 1000 / 30;
/** What may wait on this side before presence does, bytes. */
const CONGESTED_BYTES = 65_536;

export class PresenceStore {
    /** The other sessions, by session id. */
    readonly others: Readable<ReadonlyMap<string, PresentMember>>;
    readonly #others = new Store<ReadonlyMap<string, PresentMember>>(new Map());
    readonly #connection: Connection;
    readonly #channel: string;
    #sessionId = "";
    #isKnown = false;
    #early: PresenceDiff[] = [];
    #own: PresenceFields = {};
    #unsent: PresenceFields = {};
    #sentAt = Number.NEGATIVE_INFINITY;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #isOpen = false;
    #users = {
        of: new Map() as ReadonlyMap<string, PresentMember>,
        view: new Map() as ReadonlyMap<string, PresentUser>,
    };
    #drags = {
        of: new Map() as ReadonlyMap<string, PresentMember>,
        view: new Map() as ReadonlyMap<string, DragPreview>,
    };

    constructor(connection: Connection, channel: string) {
        this.#connection = connection;
        this.#channel = channel;
        this.others = this.#others;
    }

    /** What this session shows. */
    get own(): PresenceFields {
        return this.#own;
    }

    /** The other sessions by user: two tabs are one user. */
    get users(): ReadonlyMap<string, PresentUser> {
        const others = this.#others.get();
        if (this.#users.of !== others) {
            const view = new Map<string, PresentUser>();
            for (const member of others.values()) {
                const sessions = view.get(member.user.id)?.sessions ?? [];
                view.set(member.user.id, { user: member.user, sessions: [...sessions, member] });
            }
            this.#users = { of: others, view };
        }
        return this.#users.view;
    }

    /** The nodes that others drag now, by node id. */
    get drags(): ReadonlyMap<string, DragPreview> {
        const others = this.#others.get();
        if (this.#drags.of !== others) {
            const view = new Map<string, DragPreview>();
            for (const { sessionId, user, drag } of others.values()) {
                for (const { nodeId, position } of drag ?? []) view.set(nodeId, { sessionId, user, position });
            }
            this.#drags = { of: others, view };
        }
        return this.#drags.view;
    }

    readonly subscribe = (listener: () => void): (() => void) => this.#others.subscribe(listener);

    /** Shows something; what is not named stays. Call it as often as you like. */
    set(fields: PresenceFields): void {
        const changes = different(fields, this.#own);
        this.#own = { ...this.#own, ...changes };
        this.#unsent = { ...this.#unsent, ...changes };
        this.#flush();
    }

    /** The channel is live: shows everything again. */
    opened(sessionId: string): void {
        this.#sessionId = sessionId;
        this.#isOpen = true;
        // What was cleared too: the server may still have it.
        this.#unsent = this.#own;
        this.#flush();
        this.#show(this.#others.get()); // without oneself
    }

    /** The channel is gone. What was seen of others stays until there is news. */
    closed(): void {
        this.#isOpen = false;
        this.#isKnown = false;
        this.#early = [];
        clearTimeout(this.#timer);
    }

    /** Takes who is here, or what changed. A change that comes before the state waits for it. */
    receive(frame: PresenceState | PresenceDiff): void {
        if ("members" in frame) {
            this.#isKnown = true;
            let members: ReadonlyMap<string, PresentMember> = new Map(frame.members.map((m) => [m.sessionId, m]));
            for (const diff of this.#early) members = merged(members, diff);
            this.#early = [];
            this.#show(members);
        } else if (this.#isKnown) {
            this.#show(merged(this.#others.get(), frame));
        } else {
            this.#early.push(frame);
        }
    }

    #show(members: ReadonlyMap<string, PresentMember>): void {
        if (!members.has(this.#sessionId)) return this.#others.set(members);
        this.#others.set(new Map([...members].filter(([id]) => id !== this.#sessionId)));
    }

    /** Sends what changed: now, or when the interval is over, then with the newest values. */
    #flush(): void {
        clearTimeout(this.#timer);
        if (!this.#isOpen || Object.keys(this.#unsent).length === 0) return;
        const isCongested = this.#connection.bufferedBytes > CONGESTED_BYTES;
        const waitMs = isCongested ? INTERVAL_MS : this.#sentAt + INTERVAL_MS - performance.now();
        if (waitMs > 0) {
            this.#timer = setTimeout(() => this.#flush(), waitMs);
            return;
        }
        if (!this.#connection.send({ type: "presence", payload: { channel: this.#channel, ...this.#unsent } })) return;
        this.#unsent = {};
        this.#sentAt = performance.now();
    }
}

function merged(members: ReadonlyMap<string, PresentMember>, diff: PresenceDiff): ReadonlyMap<string, PresentMember> {
    const next = new Map(members);
    for (const sessionId of diff.leaves ?? []) next.delete(sessionId);
    for (const member of diff.joins ?? []) next.set(member.sessionId, member);
    for (const update of diff.updates ?? []) {
        const member = next.get(update.sessionId);
        if (member) next.set(update.sessionId, { ...member, ...update });
    }
    return next;
}

/** The fields that differ; absent and null are the same nothing. */
function different(fields: PresenceFields, own: PresenceFields): PresenceFields {
    const before = new Map(Object.entries(own));
    return Object.fromEntries(
        Object.entries(fields).filter(
            ([key, value]) => value !== undefined && JSON.stringify(value) !== JSON.stringify(before.get(key) ?? null),
        ),
    );
}

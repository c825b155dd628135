/** The client whole: one connection, and what is open over it. */
import { Channels } from "./channels.js";
import type { Queued } from "./command/entry.js";
import type { CommandError } from "./command/error.js";
import { CommandQueue } from "./command/queue.js";
import type { QueueStorage } from "./command/storage.js";
import type { Stats } from "./connection/socket.js";
import { Connection, type ConnectionOptions, type Link } from "./connection.js";
import { InboxStore } from "./inbox.js";
import { ContentView } from "./project/view.js";
import { ProjectStore } from "./project.js";
import type { Readable } from "./store.js";
import { TraceStore } from "./trace.js";

export interface GlassBoxOptions extends ConnectionOptions {
    /** Where the REST API is; the WebSocket's host by default. */
    apiUrl?: string;
    /** Keeps commands that wait over a reload. */
    storage?: QueueStorage;
    /** Hears of every command that was refused, whoever gave it. */
    onRejected?: (error: CommandError, command: Queued) => void;
    fetch?: typeof fetch;
}

interface Shared<T> {
    store: T;
    users: number;
}

export class GlassBox {
    readonly connection: Connection;
    readonly #channels: Channels;
    readonly #queue: CommandQueue;
    readonly #options: GlassBoxOptions;
    readonly #shared = new Map<string, Shared<{ close(): void }>>();
    #inbox: InboxStore | undefined;

    constructor(options: GlassBoxOptions) {
        this.#options = options;
        this.connection = new Connection(options);
        this.#channels = new Channels(this.connection);
        this.#queue = new CommandQueue(this.connection, options.storage);
        if (options.onRejected) this.#queue.rejected.subscribe(options.onRejected);
    }

    /** Where the connection is. */
    get link(): Readable<Link> {
        return this.connection.link;
    }

    /** Counters for an overlay. */
    get stats(): Stats {
        return this.connection.stats;
    }

    /** The user's notifications. */
    get inbox(): InboxStore {
        const { url, apiUrl = url.replace(/^ws/, "http"), token, fetch: ask } = this.#options;
        this.#inbox ??= new InboxStore(this.connection, this.#queue, { apiUrl, token, ...(ask && { fetch: ask }) });
        return this.#inbox;
    }

    /** Commands that are not settled, of all projects. */
    get pendingCount(): number {
        return this.#queue.size;
    }

    /** Connects and stays connected. */
    connect(): void {
        this.connection.connect();
    }

    /** Opens a project. Each `project` wants a `release`; the last one leaves. */
    project(id: string): ProjectStore {
        return this.#share(`project:${id}`, () => new ProjectStore(this.connection, this.#channels, this.#queue, id));
    }

    /** Opens one node, for a page that shows nothing else. */
    node(id: string): ContentView {
        const name = `node:${id}`;
        return this.#share(name, () => new ContentView(this.connection, this.#channels, name));
    }

    /** Watches an execution. */
    trace(executionId: string): TraceStore {
        return this.#share(`execution:${executionId}`, () => new TraceStore(this.#channels, executionId));
    }

    /** Lets go of what `project`, `node` or `trace` gave. */
    release(store: { close(): void }): void {
        for (const [name, shared] of this.#shared) {
            if (shared.store !== store) continue;
            shared.users -= 1;
            if (shared.users > 0) return;
            this.#shared.delete(name);
            store.close();
        }
    }

    /** Leaves for good; what was not sent is refused. */
    close(): void {
        for (const { store } of this.#shared.values()) store.close();
        this.#shared.clear();
        this.connection.close();
    }

    #share<T extends { close(): void }>(name: string, make: () => T): T {
        const found = this.#shared.get(name);
        if (found) {
            found.users += 1;
            return found.store as T; // the name says the kind
        }
        const store = make();
        this.#shared.set(name, { store, users: 1 });
        return store;
    }
}

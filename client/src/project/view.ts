/**
 * A channel's content as it can be drawn: nodes, edges, locks, executions and members, each a map that stays the same
 * object until something in it changes. The channels of projects and of nodes share it.
 */
import type { Channel, ChannelStatus } from "../channel.js";
import type { Channels } from "../channels.js";
import type { Connection } from "../connection.js";
import type { Dependency, Execution, Lock, Member, Node, Snapshot } from "../protocol/generated.js";
import type { AnyEvent } from "../protocol/read.js";
import { Emitter, type Readable } from "../store.js";
import { applyEvent, Content, withoutLock } from "./events.js";
import { PresenceStore } from "./presence.js";

export class ContentView {
    /** Tells each event after it was applied, in the log's order. */
    readonly events = new Emitter<[AnyEvent]>();
    /** Who else is here. */
    readonly presence: PresenceStore;
    protected readonly channel: Channel;
    readonly #content = new Content();
    readonly #connection: Connection;
    readonly #channels: Channels;
    readonly #changed = new Emitter();
    readonly #watched = new Map<string, Emitter>();
    /** Whether the guesses are to be made anew, before anybody looks. */
    protected isStale = false;
    /** Whether a transaction is being applied: whoever listens hears of it when all of it is. */
    #isApplying = false;
    /** Whether listeners were told just now, by the same task; what else it changes they hear of together. */
    #isTold = false;
    #isDue = false;
    #edges: { nodes: number; all: ReadonlyMap<string, Dependency>; view: ReadonlyMap<string, Dependency> } | undefined;
    #isLoaded = false;

    constructor(connection: Connection, channels: Channels, name: string) {
        this.presence = new PresenceStore(connection, name);
        this.#connection = connection;
        this.#channels = channels;
        this.channel = channels.open(name, {
            snapshot: (parts, seq, isNewLife) => this.#load(parts, seq, isNewLife),
            transaction: (events, seq) => this.#apply(events, seq),
            presence: (frame) => this.presence.receive(frame),
            synced: (sessionId) => {
                this.presence.opened(sessionId);
                this.synced();
            },
        });
        this.status.subscribe(() => {
            const { state } = this.status.get();
            if (state !== "live") this.presence.closed();
            if (state === "ended") this.ended();
            this.#tell();
        });
    }

    /** What is shown. Guesses that are stale are made anew by whoever looks first. */
    protected get content(): Content {
        if (this.isStale) {
            this.isStale = false;
            this.#content.rebuild(() => this.guess());
        }
        return this.#content;
    }

    /** How the channel stands. */
    get status(): Readable<ChannelStatus> {
        return this.channel.status;
    }

    /** Whether there is a state to show; it may be an older one while the channel joins again. */
    get isLoaded(): boolean {
        return this.#isLoaded;
    }

    /** The newest event that is shown. */
    get seq(): number {
        return this.channel.seq;
    }

    get nodes(): ReadonlyMap<string, Node> {
        return this.content.nodes.all;
    }

    /** The edges whose ends are both there. */
    get dependencies(): ReadonlyMap<string, Dependency> {
        const { nodes, dependencies } = this.content;
        const { all } = dependencies;
        if (this.#edges?.all !== all || this.#edges.nodes !== nodes.keysVersion) {
            const shown = [...all].filter(([, edge]) => nodes.get(edge.sourceNodeId) && nodes.get(edge.targetNodeId));
            this.#edges = { nodes: nodes.keysVersion, all, view: new Map(shown) };
        }
        return this.#edges.view;
    }

    /** Who holds which node, by node id; the one truth about locks, nodes carry none. */
    get locks(): ReadonlyMap<string, Lock> {
        return this.content.locks.all;
    }

    /** The agents' runs that have not ended. */
    get executions(): ReadonlyMap<string, Execution> {
        return this.content.executions.all;
    }

    /** Who may see the project, by user id. */
    get members(): ReadonlyMap<string, Member> {
        return this.content.members.all;
    }

    /** One node, without a look at the others. */
    node(id: string): Node | undefined {
        return this.content.nodes.get(id);
    }

    /** Who holds a node, without a look at the others. */
    lockOn(nodeId: string): Lock | undefined {
        return this.content.locks.get(nodeId);
    }

    /** Tells of every change: at once, and of all others that the same task makes together. */
    readonly subscribe = (listener: () => void): (() => void) => this.#changed.subscribe(listener);

    /** Tells of changes of one node and of its lock, at once; changes of others cost nothing. */
    subscribeNode(id: string, listener: () => void): () => void {
        const emitter = this.#watched.get(id) ?? new Emitter();
        this.#watched.set(id, emitter);
        const stop = emitter.subscribe(listener);
        return () => {
            stop();
            if (emitter.isIdle && this.#watched.get(id) === emitter) this.#watched.delete(id);
        };
    }

    /** Resolves when there is a state to show; rejects when the channel or the connection ends before. */
    get ready(): Promise<void> {
        const { link } = this.#connection;
        return new Promise((resolve, reject) => {
            const look = () => {
                const [end, status] = [link.get(), this.status.get()];
                if (this.#isLoaded) resolve();
                else if (status.state === "ended") reject(new Error(`${status.reason}: ${status.message}`));
                else if (end.state === "closed") reject(new Error(`${end.reason}: ${end.message}`));
                else return;
                for (const stop of stops) stop();
            };
            const stops = [this.subscribe(look), link.subscribe(look)];
            look();
        });
    }

    /** Leaves the channel. */
    close(): void {
        this.#channels.close(this.channel);
    }

    /** Something else than the log has changed what is shown, perhaps of one node. */
    protected changed(nodeId?: string): void {
        if (nodeId !== undefined) this.#content.touched.add(nodeId);
        this.#isDue = true;
        if (this.#isApplying) return;
        if (this.#isTold) {
            if (!this.isStale) this.#tellNodes();
            return;
        }
        this.#isTold = true;
        queueMicrotask(() => {
            this.#isTold = false;
            if (this.#isDue) this.#tell();
        });
        this.#tell();
    }

    /** Makes the guesses. */
    protected guess(): void {}

    /** The log has brought the view to `seq`, and nobody was told yet. */
    protected reached(_events: readonly AnyEvent[], _seq: number, _isNewLife: boolean): void {}
    /** The channel is live. */
    protected synced(): void {}
    /** The channel has ended. */
    protected ended(): void {}

    #load(parts: Snapshot[], seq: number, isNewLife: boolean): void {
        this.#content.clear();
        const { nodes, dependencies, locks, executions, members } = this.#content;
        for (const part of parts) {
            for (const node of part.nodes) nodes.confirmed.set(node.id, withoutLock(node));
            for (const edge of part.dependencies) dependencies.confirmed.set(edge.id, edge);
            for (const lock of part.locks) locks.confirmed.set(lock.nodeId, lock);
            for (const execution of part.executions) executions.confirmed.set(execution.id, execution);
            for (const member of part.members) members.confirmed.set(member.userId, member);
        }
        this.#isLoaded = true;
        this.#applied([], seq, isNewLife);
    }

    #apply(events: AnyEvent[], seq: number): void {
        for (const event of events) applyEvent(this.#content, event);
        this.#applied(events, seq, false);
    }

    #applied(events: AnyEvent[], seq: number, isNewLife: boolean): void {
        this.#isApplying = true;
        try {
            this.reached(events, seq, isNewLife);
            for (const event of events) this.events.emit(event);
        } finally {
            this.#isApplying = false;
        }
        this.#tell();
    }

    #tell(): void {
        this.#isDue = false;
        this.#tellNodes();
        this.#changed.emit();
    }

    #tellNodes(): void {
        const { touched } = this.content;
        const ids = [...touched];
        touched.clear();
        for (const id of ids) this.#watched.get(id)?.emit();
    }
}

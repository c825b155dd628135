/**
 * A project as its editor needs it: the log's state with one's own commands on top, until they are in the log or are
 * refused. Every change is a command whose promise is kept when what it did is shown.
 */
import type { Channels } from "./channels.js";
import type { Pending } from "./command/entry.js";
import type { CommandQueue } from "./command/queue.js";
import type { Connection } from "./connection.js";
import { applyGuess, type Command } from "./project/guesses.js";
import type { LockHandle, LockOptions } from "./project/lock.js";
import { Locks } from "./project/locks.js";
import { ContentView } from "./project/view.js";
import type {
    Ack,
    DependencyAdd,
    DependencyRemove,
    DependencyUpdate,
    Move,
    NodeChanges,
    NodeCreate,
    NodeInputAdd,
    NodeOutputAdd,
    Position,
} from "./protocol/generated.js";
import type { AnyEvent } from "./protocol/read.js";
import { uuid } from "./uuid.js";

type Given<T extends { fence?: number }> = Omit<T, "fence">;

export class ProjectStore extends ContentView {
    readonly #connection: Connection;
    readonly #queue: CommandQueue;
    readonly #locks: Locks;
    readonly #unshow: () => void;
    readonly #unlink: () => void;

    constructor(
        connection: Connection,
        channels: Channels,
        queue: CommandQueue,
        readonly id: string,
    ) {
        super(connection, channels, `project:${id}`);
        this.#connection = connection;
        this.#queue = queue;
        this.#locks = new Locks({ connection, queue, projectId: id, changed: (nodeId) => this.changed(nodeId) });
        const { channel } = this;
        this.#unshow = queue.show(id, {
            get seq() {
                return channel.seq;
            },
            pendingChanged: (added) => {
                if (!added) this.isStale = true;
                else if (!this.isStale) this.#show(added);
                this.changed();
            },
        });
        this.#unlink = connection.link.subscribe(() => {
            if (connection.link.get().state === "closed") this.#locks.giveUp();
        });
        this.isStale = true;
    }

    /** How many of this project's commands are not in the log yet. */
    get pendingCount(): number {
        return this.#queue.guesses(this.id).length;
    }

    /** Makes a node; its id is known at once. */
    createNode(node: Omit<NodeCreate, "projectId">): { id: string; done: Promise<Ack> } {
        const id = node.id ?? uuid();
        return { id, done: this.#submit({ type: "node_create", payload: { ...node, id, projectId: this.id } }) };
    }

    /** Changes fields of a node, each on its own. With `baseVersion`, what somebody else changed since is a conflict. */
    updateNode(nodeId: string, changes: NodeChanges, baseVersion?: number): Promise<Ack> {
        const payload = { nodeId, changes, ...(baseVersion !== undefined && { baseVersion }), ...this.#proof(nodeId) };
        return this.#submit({ type: "node_update", payload });
    }

    /** Moves nodes, as one event. */
    moveNodes(moves: Move[]): Promise<Ack> {
        return this.#submit({ type: "node_move", payload: { moves } });
    }

    /** Shows others where nodes are dragged to. */
    drag(moves: Move[]): void {
        this.presence.set({ drag: moves });
    }

    /** Ends a drag: moves the nodes, and takes the preview away when others see the move. */
    async drop(moves: { nodeId: string; position: Position }[]): Promise<Ack> {
        this.presence.set({ drag: moves });
        const { drag } = this.presence.own;
        try {
            return await this.moveNodes(moves);
        } finally {
            // Unless the next drag has begun.
            if (this.presence.own.drag === drag) this.presence.set({ drag: null });
        }
    }

    /** Deletes a node and what lies below it. */
    deleteNode(nodeId: string): Promise<Ack> {
        return this.#submit({ type: "node_delete", payload: { nodeId, ...this.#proof(nodeId) } });
    }

    /** Brings a deleted node back, with what the same delete took. */
    restoreNode(nodeId: string): Promise<Ack> {
        return this.#submit({ type: "node_restore", payload: { nodeId } });
    }

    /** Makes a new version of what a node was. */
    rollbackNode(nodeId: string, version: number): Promise<Ack> {
        return this.#submit({ type: "node_rollback", payload: { nodeId, version, ...this.#proof(nodeId) } });
    }

    /** Says what a node needs; the input's id is known at once. */
    addInput(input: Given<NodeInputAdd>): { id: string; done: Promise<Ack> } {
        const id = input.id ?? uuid();
        const payload = { ...input, id, ...this.#proof(input.nodeId) };
        return { id, done: this.#submit({ type: "node_input_add", payload }) };
    }

    removeInput(nodeId: string, inputId: string): Promise<Ack> {
        return this.#submit({ type: "node_input_remove", payload: { nodeId, inputId, ...this.#proof(nodeId) } });
    }

    /** Says what a node made; the output's id is known at once. */
    addOutput(output: Given<NodeOutputAdd>): { id: string; done: Promise<Ack> } {
        const id = output.id ?? uuid();
        const payload = { ...output, id, ...this.#proof(output.nodeId) };
        return { id, done: this.#submit({ type: "node_output_add", payload }) };
    }

    removeOutput(nodeId: string, outputId: string): Promise<Ack> {
        return this.#submit({ type: "node_output_remove", payload: { nodeId, outputId, ...this.#proof(nodeId) } });
    }

    /** Adds an edge. It is shown under an id of its own until the server has given it one. */
    addDependency(edge: DependencyAdd): Promise<Ack> {
        return this.#submit({ type: "dependency_add", payload: edge });
    }

    updateDependency(edge: DependencyUpdate): Promise<Ack> {
        return this.#submit({ type: "dependency_update", payload: edge });
    }

    /** Removes an edge, named by its id or by its ends. */
    removeDependency(edge: DependencyRemove): Promise<Ack> {
        return this.#submit({ type: "dependency_remove", payload: edge });
    }

    /** Takes a node's lock and keeps it until it is released or lost; this client's writes prove it by themselves. */
    lock(nodeId: string, options?: LockOptions): Promise<LockHandle> {
        return this.#locks.acquire(nodeId, options);
    }

    /** The lock on a node that is this client's, or its place in the queue. */
    ownLock(nodeId: string): LockHandle | undefined {
        return this.#locks.handle(nodeId);
    }

    /** All locks of this client here, and its places in queues. */
    get ownLocks(): readonly LockHandle[] {
        return this.#locks.handles;
    }

    /** Ends somebody else's lock. */
    breakLock(nodeId: string, reason?: string): Promise<Ack> {
        const payload = { nodeId, ...(reason !== undefined && { reason }) };
        return this.#submit({ type: "lock_break", payload }, false);
    }

    /** Takes back the caller's own last command here; `unchanged` when there is none. A conflict is a refusal. */
    undo(): Promise<Ack> {
        return this.#submit({ type: "undo", payload: { channel: this.channel.name } }, false);
    }

    /** Does again what was taken back last. */
    redo(): Promise<Ack> {
        return this.#submit({ type: "redo", payload: { channel: this.channel.name } }, false);
    }

    override close(): void {
        this.#locks.close();
        super.close();
        this.#unshow();
        this.#unlink();
    }

    protected override reached(events: readonly AnyEvent[], seq: number, isNewLife: boolean): void {
        const own = new Set(events.flatMap(({ requestId }) => requestId ?? []));
        if (own.size > 0) this.#queue.inLog(own);
        this.isStale = true;
        for (const event of events) this.#locks.see(event);
        this.#queue.reached(this.id, seq, isNewLife);
    }

    protected override synced(): void {
        this.#locks.resumed();
    }

    protected override ended(): void {
        const status = this.status.get();
        if (status.state !== "ended" || status.reason === "left") return;
        this.#queue.abandon(`the project is closed: ${status.reason}`, this.id);
        this.#locks.giveUp();
    }

    protected override guess(): void {
        for (const pending of this.#queue.guesses(this.id)) this.#show(pending);
    }

    #proof(nodeId: string): { fence?: number } {
        const fence = this.#locks.fenceOf(nodeId);
        return fence === undefined ? {} : { fence };
    }

    #submit(command: Command, isKept = true): Promise<Ack> {
        const { done } = this.#queue.submit(this.id, command, isKept);
        const { payload } = command;
        if (!("fence" in payload) || !("nodeId" in payload)) return done;
        const { nodeId } = payload;
        done.catch((error: { code?: string }) => {
            if (error.code === "LOCK_LOST") this.#locks.refused(nodeId);
        });
        return done;
    }

    /** Puts what a command will do on top of what is shown. */
    #show({ command, requestId, at }: Pending): void {
        if (command.type === "notifications_read") return;
        const link = this.#connection.link.get();
        const userId = link.state === "live" ? link.user.id : undefined;
        applyGuess(this.content, command, { requestId, userId, projectId: this.id, at });
    }
}

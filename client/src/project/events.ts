/** What each event does to a project's state. */
import type { Dependency, EventFrame, Execution, Lock, Member, Node, NodeChanges } from "../protocol/generated.js";
import type { AnyEvent } from "../protocol/read.js";
import { Collection, type Shelf } from "./collection.js";

/** A project's state. An edge is there while both of its ends are: `ProjectStore.dependencies` shows those. */
export class Content {
    /** The nodes that may look otherwise, or whose lock may. */
    readonly touched = new Set<string>();
    /** In groups by their parents. */
    readonly nodes = new Collection<Node>(({ parentId }) => parentId, this.touched);
    /** In groups by their ends. */
    readonly dependencies = new Collection<Dependency>(ends);
    readonly locks = new Collection<Lock>(undefined, this.touched);
    readonly executions = new Collection<Execution>();
    readonly members = new Collection<Member>();

    /** Begins with another state. */
    clear(): void {
        for (const name of ["nodes", "dependencies", "locks", "executions", "members"] as const) this[name].clear();
    }

    /** Makes all guesses anew: `guess` makes them. */
    rebuild(guess: () => void): void {
        this.nodes.forgetGuesses();
        this.dependencies.forgetGuesses();
        guess();
        this.nodes.guessed();
        this.dependencies.guessed();
    }
}

/** Names an edge's ends. */
export function ends({ sourceNodeId, targetNodeId }: { sourceNodeId: string; targetNodeId: string }): string {
    return `${sourceNodeId} ${targetNodeId}`;
}

/** Applies an event of the log. What it says of things that are not there is passed over. */
export function applyEvent(content: Content, event: AnyEvent): void {
    const { confirmed: nodes } = content.nodes;
    const { confirmed: locks } = content.locks;
    const { confirmed: members } = content.members;
    switch (event.type) {
        case "node_created":
        case "node_restored":
            return nodes.set(event.payload.nodeId, withoutLock(event.payload.node));
        case "node_updated": {
            const { nodeId, changes, version } = event.payload;
            return edit(nodes, nodeId, (node) => ({ ...changed(node, changes), version, updatedAt: event.at }));
        }
        case "nodes_moved":
            for (const { nodeId, position } of event.payload.moves)
                edit(nodes, nodeId, (node) => ({ ...node, position }));
            return;
        case "node_deleted":
            return nodes.delete(event.payload.nodeId);
        case "node_input_added": {
            const { nodeId, input } = event.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, inputs: withPart(node.inputs, input) }));
        }
        case "node_input_removed": {
            const { nodeId, inputId } = event.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, inputs: withoutPart(node.inputs, inputId) }));
        }
        case "node_output_added": {
            const { nodeId, output } = event.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, outputs: withPart(node.outputs, output) }));
        }
        case "node_output_removed": {
            const { nodeId, outputId } = event.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, outputs: withoutPart(node.outputs, outputId) }));
        }
        case "dependency_added":
            return content.dependencies.confirmed.set(event.payload.dependency.id, event.payload.dependency);
        case "dependency_removed":
            return content.dependencies.confirmed.delete(event.payload.dependencyId);
        case "lock_acquired": {
            const { fence: _, ...lock } = event.payload;
            return locks.set(lock.nodeId, lock);
        }
        case "lock_renewed":
            return edit(locks, event.payload.nodeId, (lock) => ({ ...lock, ...event.payload }));
        case "lock_released":
            return locks.delete(event.payload.nodeId);
        case "execution_update":
            return updateExecution(content.executions.confirmed, event.payload);
        case "member_added":
        case "member_updated": {
            const { userId, role } = event.payload;
            return members.set(userId, { ...members.get(userId), userId, role });
        }
        case "member_removed":
            return members.delete(event.payload.userId);
        case "project_deleted":
            return content.clear();
        case "project_updated":
        case "file_update":
        case "trace_event":
        case "execution_closed":
        case "notification":
        case "notifications_read":
        case "unknown":
            return;
        default:
            event satisfies never;
    }
}

/** Events do not touch the lock fields of nodes; locks are a collection of their own, which they do keep. */
export function withoutLock(node: Node): Node {
    const { lockedBy: _, lockedAt: __, lockExpiresAt: ___, ...bare } = node;
    return bare;
}

/** A node with other values: what is absent stays, what is null goes. */
export function changed(node: Node, changes: NodeChanges): Node {
    const { metadata, title, status, position, ...clearable } = changes;
    const next: Node = {
        ...node,
        title: title ?? node.title,
        status: status ?? node.status,
        position: position ?? node.position,
        ...(metadata && { metadata }),
    };
    for (const key of ["description", "parentId", "supervisorUserId"] as const) {
        const value = clearable[key];
        if (value === null) delete next[key];
        else if (value !== undefined) next[key] = value;
    }
    return next;
}

/** Inputs and outputs are as in the REST contract; all that is used of them here is the id. */
export function partId(part: unknown): string | undefined {
    return typeof part === "object" && part !== null && "id" in part ? String(part.id) : undefined;
}

export function withPart(parts: readonly unknown[] | undefined, part: unknown): unknown[] {
    return [...withoutPart(parts, partId(part)), part];
}

export function withoutPart(parts: readonly unknown[] | undefined, id: string | undefined): unknown[] {
    return (parts ?? []).filter((part) => partId(part) !== id);
}

export function edit<V>(shelf: Shelf<V>, key: string, by: (value: V) => V): void {
    const value = shelf.get(key);
    if (value !== undefined) shelf.set(key, by(value));
}

type ExecutionUpdate = Extract<EventFrame, { type: "execution_update" }>["payload"];

const ENDED = new Set(["complete", "failed", "cancelled"]);

function updateExecution(executions: Shelf<Execution>, update: ExecutionUpdate): void {
    const { executionId: id, errorMessage: _, ...rest } = update;
    // As in a snapshot, only those that have not ended are kept.
    if (ENDED.has(update.status)) executions.delete(id);
    else executions.set(id, { ...executions.get(id), id, ...rest });
}

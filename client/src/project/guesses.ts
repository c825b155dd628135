/** What commands will do if the server agrees: shown at once, taken back when it does not. */
import type { ClientFrame, Dependency, DependencyUpdate, Node, NodeCreate } from "../protocol/generated.js";
import { type Content, changed, edit, ends, withoutPart, withPart } from "./events.js";

/** A message that changes a project. */
export type Command = Exclude<
    ClientFrame,
    {
        type: "hello" | "subscribe" | "unsubscribe" | "presence" | "ping" | "token_refresh" | "notifications_read";
    }
>;

/** Who gave a command, and where. */
export interface Author {
    requestId: string;
    userId: string | undefined;
    projectId: string;
    /** When the command was given, RFC 3339. */
    at: string;
}

/** Applies a command that is under way. */
export function applyGuess(content: Content, command: Command, author: Author): void {
    const { guesses: nodes } = content.nodes;
    const { guesses: dependencies } = content.dependencies;
    switch (command.type) {
        case "node_create": {
            const { id } = command.payload;
            if (id && !nodes.has(id)) nodes.set(id, newNode(id, command.payload, content, author));
            return;
        }
        case "node_update": {
            const { nodeId, changes } = command.payload;
            return edit(nodes, nodeId, (node) => changed(node, changes));
        }
        case "node_move":
            for (const { nodeId, position } of command.payload.moves)
                edit(nodes, nodeId, (node) => ({ ...node, position }));
            return;
        case "node_delete": {
            if (!nodes.has(command.payload.nodeId)) return;
            for (const id of below(content, command.payload.nodeId)) nodes.delete(id);
            return;
        }
        case "node_input_add": {
            const { fence: _, ...input } = command.payload;
            return edit(nodes, input.nodeId, (node) => ({ ...node, inputs: withPart(node.inputs, input) }));
        }
        case "node_input_remove": {
            const { nodeId, inputId } = command.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, inputs: withoutPart(node.inputs, inputId) }));
        }
        case "node_output_add": {
            const { fence: _, ...output } = command.payload;
            return edit(nodes, output.nodeId, (node) => ({ ...node, outputs: withPart(node.outputs, output) }));
        }
        case "node_output_remove": {
            const { nodeId, outputId } = command.payload;
            return edit(nodes, nodeId, (node) => ({ ...node, outputs: withoutPart(node.outputs, outputId) }));
        }
        case "dependency_add":
            // The server gives the edge its id; until then it goes by the command's.
            return dependencies.set(author.requestId, {
                ...command.payload,
                id: author.requestId,
                createdAt: author.at,
            });
        case "dependency_update": {
            const { dependencyId, ...points } = command.payload;
            return edit(dependencies, dependencyId, (edge) => reconnected(edge, points));
        }
        case "dependency_remove": {
            const { payload } = command;
            const meant =
                "dependencyId" in payload ? [payload.dependencyId] : content.dependencies.group(ends(payload));
            for (const id of meant) if (dependencies.has(id)) dependencies.delete(id);
            return;
        }
        // What these do only the server knows.
        case "node_restore":
        case "node_rollback":
        case "lock_acquire":
        case "lock_renew":
        case "lock_release":
        case "lock_break":
        case "undo":
        case "redo":
            return;
        default:
            command satisfies never;
    }
}

function reconnected(edge: Dependency, points: Omit<DependencyUpdate, "dependencyId">): Dependency {
    const next = { ...edge };
    for (const key of ["sourceOutputId", "targetInputId"] as const) {
        const value = points[key];
        if (value === null) delete next[key];
        else if (value !== undefined) next[key] = value;
    }
    return next;
}

function newNode(id: string, create: NodeCreate, content: Content, { userId, projectId, at }: Author): Node {
    const { projectId: _, description, parentId, supervisorUserId, ...given } = create;
    const [neighbour] = content.nodes.confirmed.values();
    return {
        orgId: neighbour?.orgId ?? "",
        status: "draft",
        authorType: "human",
        metadata: {},
        position: { x: 0, y: 0 },
        inputs: [],
        outputs: [],
        ...given,
        ...(description !== undefined && { description }),
        ...(parentId !== undefined && { parentId }),
        ...(supervisorUserId !== undefined && { supervisorUserId }),
        ...(userId !== undefined && { authorUserId: userId }),
        id,
        projectId,
        version: 1,
        createdAt: at,
        updatedAt: at,
    };
}

/** A node and all that it contains. */
function below({ nodes }: Content, root: string): Set<string> {
    const found = new Set([root]);
    // A set is walked to what is added meanwhile; two moves under way may make a ring.
    for (const id of found) for (const child of nodes.group(id)) found.add(child);
    return found;
}

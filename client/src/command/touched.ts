/** Which things a command is about. */
import type { Queued } from "./entry.js";

/** The ids that a command names; `undefined` for one that depends on all before it. */
export function touched(command: Queued): string[] | undefined {
    switch (command.type) {
        case "undo":
        case "redo":
            return undefined;
        case "notifications_read":
            return []; // in any order
        case "node_move":
            return command.payload.moves.map(({ nodeId }) => nodeId);
    }
    const found: string[] = [];
    const look = (fields: object) => {
        for (const [name, value] of Object.entries(fields)) {
            if (typeof value === "string" && (name === "id" || NAMES.has(name))) found.push(value);
        }
    };
    look(command.payload);
    if (command.type === "node_update") look(command.payload.changes);
    return found;
}

const NAMES = new Set(["nodeId", "parentId", "sourceNodeId", "targetNodeId", "dependencyId", "inputId", "outputId"]);

/**
 * Reads what comes off the wire. Nothing is trusted: what is not a frame is dropped, fields that this library does not
 * know are left alone, and an event that it cannot read still counts in its channel's order.
 */
import type { EventFrame, ServerMessage } from "./generated.js";

/** An event of a kind, or in a shape, that this library does not know. Its `seq` counts, its content does not. */
export interface UnknownEvent {
    type: "unknown";
    channel: string;
    seq: number;
    at: string;
    txEnd?: boolean;
    generation?: number;
    requestId?: string;
}

/** A frame from the server, with the id of the request that it answers, if it answers one. */
export type ServerFrame = ServerMessage & { requestId?: string };

/** An event as a channel sees it. */
export type AnyEvent = EventFrame | UnknownEvent;

/** What can come in. */
export type Incoming = ServerFrame | AnyEvent;

/**
 * Which fields each payload must have: a name alone is a string, `#` marks a number, `{}` an object, `[]` a list.
 * A type that the protocol gains does not compile before it stands here.
 */
const MESSAGES: Record<ServerMessage["type"], string> = {
    welcome: "sessionId user{} limits{} heartbeatMs#",
    subscribed: "channel role epoch head# generation#",
    snapshot: "channel generation# part# parts# seq# nodes[] dependencies[] locks[] executions[] members[]",
    reset: "channel generation# reason epoch head#",
    synced: "channel generation# seq#",
    unsubscribed: "channel",
    head: "channel generation# epoch seq#",
    ack: "outcome seq#",
    error: "code message",
    pong: "",
    presence_state: "channel generation# members[]",
    presence_diff: "channel generation# joins[] leaves[] updates[]",
    moving: "retryAfterMs#",
    token_expiring: "inMs#",
    token_refreshed: "",
    trace_state: "channel generation# seq# total# execution{} events[]",
};

const EVENTS: Record<EventFrame["type"], string> = {
    node_created: "nodeId node{}",
    node_updated: "nodeId changes{} version#",
    nodes_moved: "moves[]",
    node_deleted: "nodeId",
    node_restored: "nodeId node{}",
    node_input_added: "nodeId input{}",
    node_input_removed: "nodeId inputId",
    node_output_added: "nodeId output{}",
    node_output_removed: "nodeId outputId",
    dependency_added: "dependency{}",
    dependency_removed: "dependencyId",
    lock_acquired: "nodeId lockedBy expiresInMs#",
    lock_renewed: "nodeId lockedBy expiresInMs#",
    lock_released: "nodeId lockedBy reason",
    execution_update: "executionId nodeId status",
    trace_event: "executionId n# eventType",
    execution_closed: "executionId status",
    file_update: "fileId processingStatus",
    member_added: "userId role",
    member_updated: "userId role",
    member_removed: "userId",
    project_updated: "changes{}",
    project_deleted: "",
    notification: "notification{} unreadCount#",
    notifications_read: "ids[] unreadCount#",
};

const NODE = "id title status version# position{}";
const DEPENDENCY = "id sourceNodeId targetNodeId";
/** What the things inside a payload must have, by the name of the field that holds them. */
const PARTS: Record<string, string> = {
    node: NODE,
    nodes: NODE,
    dependency: DEPENDENCY,
    dependencies: DEPENDENCY,
    locks: "nodeId lockedBy expiresInMs#",
    moves: "nodeId position{}",
    position: "x# y#",
    joins: "sessionId user{}",
    updates: "sessionId",
    user: "id",
    execution: "id status",
    executions: "id status",
    notification: "id title",
};

/** Reads a frame; `undefined` for what is none, or is of a kind that this library does not know. */
export function read(text: string): Incoming | undefined {
    let frame: unknown;
    try {
        frame = JSON.parse(text);
    } catch {
        return undefined;
    }
    if (!isObject(frame) || typeof frame.type !== "string") return undefined;
    const { type, channel, seq, payload = {} } = frame;
    if (typeof channel === "string" && Number.isSafeInteger(seq)) {
        if (hasShape(payload, lookup(EVENTS, type))) return frame as unknown as EventFrame; // checked just now
        return { ...(frame as unknown as UnknownEvent), type: "unknown" }; // the envelope is all that is used of it
    }
    return hasShape(payload, lookup(MESSAGES, type)) ? (frame as unknown as ServerFrame) : undefined; // checked just now
}

function lookup(shapes: Record<string, string>, type: string): string | undefined {
    return Object.hasOwn(shapes, type) ? shapes[type] : undefined;
}

function hasShape(value: unknown, shape: string | undefined): boolean {
    if (shape === undefined || !isObject(value)) return false;
    return shape.split(" ").every((field) => {
        if (field === "") return true;
        const [, name = "", mark] = /^(\w+)(.*)$/.exec(field) ?? [];
        const found = value[name];
        switch (mark) {
            case "#":
                return Number.isFinite(found);
            case "{}":
                return hasShape(found, PARTS[name] ?? "");
            case "[]":
                return Array.isArray(found) && (!PARTS[name] || found.every((item) => hasShape(item, PARTS[name])));
            default:
                return typeof found === "string";
        }
    });
}

function isObject(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Where commands wait that were given without a network, so that a reload does not lose them. */
import type { Command } from "../project/guesses.js";

/** A command as it is kept. Its id makes sending it again harmless, as long as it goes under the same client id. */
export interface StoredCommand {
    requestId: string;
    projectId: string;
    command: Command;
    /** When it was given, RFC 3339. */
    at: string;
    /** Who gave it, if that was known. */
    userId?: string;
}

/** Keeps the queue of one client. */
export interface QueueStorage {
    load(clientId: string): StoredCommand[] | Promise<StoredCommand[]>;
    save(clientId: string, commands: StoredCommand[]): void;
}

const PREFIX = "glassbox.queue.";

/** Keeps the queue in `localStorage`, by client id. */
export const localQueueStorage: QueueStorage = {
    load(clientId) {
        try {
            const found: unknown = JSON.parse(localStorage.getItem(PREFIX + clientId) ?? "[]");
            return Array.isArray(found) ? found.filter(isStored) : [];
        } catch {
            return [];
        }
    },
    save(clientId, commands) {
        try {
            if (commands.length === 0) localStorage.removeItem(PREFIX + clientId);
            else localStorage.setItem(PREFIX + clientId, JSON.stringify(commands));
        } catch {
            // Full or switched off: the queue lives as long as the page.
        }
    },
};

function isStored(value: StoredCommand | null): value is StoredCommand {
    return typeof value?.requestId === "string" && typeof value.projectId === "string" && Boolean(value.command?.type);
}

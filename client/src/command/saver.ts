/** Saves to a storage: the first change at once, what follows together after a pause, or when the page goes. */
import type { QueueStorage, StoredCommand } from "./storage.js";

/** Shortest time between two saves, ms. */
const INTERVAL_MS = 250;

export class Saver {
    readonly #storage: QueueStorage;
    readonly #read: () => { clientId: string; commands: StoredCommand[] } | undefined;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #isDue = false;

    /** `read` says what is to be saved, if anything may be now. */
    constructor(storage: QueueStorage, read: () => { clientId: string; commands: StoredCommand[] } | undefined) {
        this.#storage = storage;
        this.#read = read;
    }

    /** Something is to be saved. */
    changed(): void {
        if (this.#isDue) return;
        this.#isDue = true;
        if (this.#timer === undefined) return queueMicrotask(this.flush);
        // No timer fires any more in a page that goes.
        globalThis.addEventListener?.("pagehide", this.flush);
    }

    /** Saves now what is due. */
    readonly flush = (): void => {
        if (!this.#isDue) return;
        this.#isDue = false;
        globalThis.removeEventListener?.("pagehide", this.flush);
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
            this.#timer = undefined;
            this.flush();
        }, INTERVAL_MS);
        const present = this.#read();
        if (present) this.#storage.save(present.clientId, present.commands);
    };
}

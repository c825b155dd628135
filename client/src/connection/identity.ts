/**
 * The client's id: one per tab, kept over reconnects and reloads, because commands are told apart and locks are held
 * by it. Where a tab is duplicated its storage is copied too, so a tab claims its id with a Web Lock that ends with the
 * tab, and takes another where the claim fails. Without Web Locks the server notices (close 4507).
 */
import { uuid } from "../uuid.js";

/** Where the id comes from. */
export interface Identity {
    /** The id to say hello with. */
    get(): string | Promise<string>;
    /** Another one, because somebody else uses this one. */
    renew(): void;
}

const KEY = "glassbox.clientId";

/** An id in `sessionStorage` where there is one, else in memory. */
export function tabIdentity(): Identity {
    let id: Promise<string> | undefined;
    return {
        get() {
            id ??= claim(stored() ?? uuid());
            return id;
        },
        renew() {
            id = claim(uuid());
        },
    };
}

/** An id that the caller keeps. */
export function fixedIdentity(id: string): Identity {
    let present = id;
    return {
        get: () => present,
        renew() {
            present = uuid();
        },
    };
}

async function claim(wanted: string): Promise<string> {
    const id = (await isFree(wanted)) ? wanted : uuid();
    try {
        globalThis.sessionStorage?.setItem(KEY, id);
    } catch {
        // Storage may be switched off: the id lives as long as the page.
    }
    return id;
}

function stored(): string | null {
    try {
        return globalThis.sessionStorage?.getItem(KEY) ?? null;
    } catch {
        return null;
    }
}

function isFree(id: string): Promise<boolean> {
    const locks = globalThis.sessionStorage && globalThis.navigator?.locks;
    if (!locks) return Promise.resolve(true);
    return new Promise((resolve) => {
        const held = locks.request(`${KEY}.${id}`, { ifAvailable: true }, (lock) => {
            resolve(lock !== null);
            // Held for as long as the tab lives.
            return lock === null ? undefined : new Promise<void>(() => {});
        });
        held.catch(() => resolve(true));
    });
}

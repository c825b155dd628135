/** What the machine around the library says: whether there is a network, and whether anybody looks. */

/** Injected, so that it can be played in tests and outside of browsers. */
export interface Surroundings {
    /** Whether there may be a network. */
    isOnline(): boolean;
    /** Tells of changes: the network came or went, or the page was shown or woke up. */
    watch(listener: (change: "online" | "offline" | "awake") => void): () => void;
}

/** The browser's events; elsewhere there is always a network and nothing changes. */
export function pageSurroundings(): Surroundings {
    return {
        isOnline: () => globalThis.navigator?.onLine !== false,
        watch(listener) {
            if (typeof globalThis.addEventListener !== "function") return () => {};
            const page = globalThis.document;
            const online = () => listener("online");
            const offline = () => listener("offline");
            const shown = () => {
                if (page?.visibilityState !== "hidden") listener("awake");
            };
            globalThis.addEventListener("online", online);
            globalThis.addEventListener("offline", offline);
            globalThis.addEventListener("pageshow", shown);
            page?.addEventListener("visibilitychange", shown);
            return () => {
                globalThis.removeEventListener("online", online);
                globalThis.removeEventListener("offline", offline);
                globalThis.removeEventListener("pageshow", shown);
                page?.removeEventListener("visibilitychange", shown);
            };
        },
    };
}

/** Reading a store from React: a part of it, which stays the same object while it looks the same. */
import { useCallback, useRef, useSyncExternalStore } from "react";

/** What can be watched. */
export interface Watchable {
    subscribe(listener: () => void): () => void;
}

const NOTHING: Watchable = { subscribe: () => () => {} };

/**
 * Reads a part of something that can be watched, and draws anew when the part is another one. `isEqual` says when two
 * parts look the same; by default when they are the same object.
 */
export function useSelection<S extends Watchable, T>(
    store: S | undefined,
    select: (store: S | undefined) => T,
    isEqual: (a: T, b: T) => boolean = Object.is,
): T {
    const last = useRef<{ value: T } | undefined>(undefined);
    const get = () => {
        const value = select(store);
        if (!last.current || !isEqual(last.current.value, value)) last.current = { value };
        return last.current.value;
    };
    const subscribe = useCallback((listener: () => void) => (store ?? NOTHING).subscribe(listener), [store]);
    return useSyncExternalStore(subscribe, get, get);
}

/** Whether two lists hold the same things in the same order. */
export function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
    return a.length === b.length && a.every((item, n) => Object.is(item, b[n]));
}

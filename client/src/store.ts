/** Values that can be watched. `subscribe` and `get` are what React's `useSyncExternalStore` asks for. */

/** Calls listeners; one that throws does not keep the others from hearing. */
export class Emitter<Args extends unknown[] = []> {
    readonly #listeners = new Set<(...args: Args) => void>();

    /** Adds a listener; returns what takes it away again. */
    readonly subscribe = (listener: (...args: Args) => void): (() => void) => {
        const own = (...args: Args) => listener(...args);
        this.#listeners.add(own);
        return () => {
            this.#listeners.delete(own);
        };
    };

    /** Whether nobody listens. */
    get isIdle(): boolean {
        return this.#listeners.size === 0;
    }

    /** Tells everybody. */
    emit(...args: Args): void {
        for (const listener of [...this.#listeners]) {
            try {
                listener(...args);
            } catch (error) {
                queueMicrotask(() => {
                    throw error;
                });
            }
        }
    }
}

/** A value that can be watched and not set. */
export interface Readable<T> {
    /** The value; the same one until it changes. */
    get(): T;
    /** Tells of changes; returns what ends that. */
    subscribe(listener: () => void): () => void;
}

/** A value that can be watched. */
export class Store<T> implements Readable<T> {
    readonly #changed = new Emitter();
    #value: T;

    constructor(value: T) {
        this.#value = value;
    }

    readonly get = (): T => this.#value;
    readonly subscribe = (listener: () => void): (() => void) => this.#changed.subscribe(listener);

    /** Sets it, and tells if it is another one. */
    set(value: T): void {
        if (Object.is(value, this.#value)) return;
        this.#value = value;
        this.#changed.emit();
    }
}

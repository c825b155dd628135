/**
 * Things by id, twice: as the log says, and as they look with the commands on top that are still under way. Reading one
 * thing copies nothing; the whole is copied when somebody asks for it after a change.
 */

/** What events and commands write to. */
export interface Shelf<V> {
    get(key: string): V | undefined;
    has(key: string): boolean;
    set(key: string, value: V): void;
    delete(key: string): void;
    values(): Iterable<V>;
}

export class Collection<V extends object> {
    readonly #log = new Map<string, V>();
    #guesses = new Map<string, V | undefined>();
    #former = new Map<string, V | undefined>();
    #all: ReadonlyMap<string, V> | undefined;
    /** Grows when a key comes or goes. */
    keysVersion = 0;

    /** As the log says. */
    readonly confirmed: Shelf<V> = {
        get: (key) => this.#log.get(key),
        has: (key) => this.#log.has(key),
        set: (key, value) => {
            this.#changed(!this.#log.has(key));
            this.#log.set(key, value);
        },
        delete: (key) => {
            if (this.#log.delete(key)) this.#changed(true);
        },
        values: () => this.#log.values(),
    };

    /** With what is under way. Written to between `forgetGuesses` and `guessed`. */
    readonly guesses: Shelf<V> = {
        get: (key) => this.get(key),
        has: (key) => this.get(key) !== undefined,
        set: (key, value) => {
            const former = this.#former.get(key);
            // Applied again with the same outcome it stays the same object, and nobody draws it anew.
            this.#guesses.set(key, former && isSame(former, value) ? former : value);
        },
        delete: (key) => {
            this.#guesses.set(key, undefined);
        },
        values: () => this.#merged().values(),
    };

    /** One thing as it looks. */
    get(key: string): V | undefined {
        return this.#guesses.has(key) ? this.#guesses.get(key) : this.#log.get(key);
    }

    /** All things as they look; the same map until something changes. */
    get all(): ReadonlyMap<string, V> {
        this.#all ??= this.#merged();
        return this.#all;
    }

    /** Takes all guesses back, to make them anew. */
    forgetGuesses(): void {
        this.#former = this.#guesses;
        this.#guesses = new Map();
    }

    /** The guesses are made. */
    guessed(): void {
        const [former, present] = [this.#former, this.#guesses];
        this.#former = new Map();
        const isSame = former.size === present.size && [...present].every(([key, value]) => former.get(key) === value);
        if (isSame) return;
        const isThere = (guesses: Map<string, V | undefined>, key: string) =>
            guesses.has(key) ? guesses.get(key) !== undefined : this.#log.has(key);
        const keys = [...former.keys(), ...present.keys()];
        this.#changed(keys.some((key) => isThere(former, key) !== isThere(present, key)));
    }

    /** Begins with another state. */
    clear(): void {
        this.#log.clear();
        this.#changed(true);
    }

    #merged(): Map<string, V> {
        const all = new Map(this.#log);
        for (const [key, value] of this.#guesses) {
            if (value === undefined) all.delete(key);
            else all.set(key, value);
        }
        return all;
    }

    #changed(isKey: boolean): void {
        this.#all = undefined;
        if (isKey) this.keysVersion += 1;
    }
}

function isSame<V extends object>(a: V, b: V): boolean {
    const entries = Object.entries(b);
    const other = new Map(Object.entries(a));
    return entries.length === other.size && entries.every(([key, value]) => Object.is(other.get(key), value));
}

/**
 * Things by id, twice: as the log says, and as they look with the commands on top that are still under way. Reading one
 * thing, or those of a group, copies nothing; the whole is copied when somebody asks for it after a change.
 */

/** What events and commands write to. */
export interface Shelf<V> {
    get(key: string): V | undefined;
    has(key: string): boolean;
    set(key: string, value: V): void;
    delete(key: string): void;
}

export class Collection<V extends object> {
    readonly #log = new Map<string, V>();
    readonly #touched: Set<string> | undefined;
    readonly #groupOf: (value: V) => string | undefined;
    /** The keys of each group, and some that were in it: whoever reads it looks at the things themselves. */
    readonly #groups = new Map<string, Set<string>>();
    #guesses = new Map<string, V | undefined>();
    /** While the guesses are made anew: what they were. */
    #former: Map<string, V | undefined> | undefined;
    #all: ReadonlyMap<string, V> | undefined;
    /** Grows when a key comes or goes. */
    keysVersion = 0;

    /** Things may be in groups; `touched` gathers the keys of all that may look otherwise. */
    constructor(groupOf: (value: V) => string | undefined = () => undefined, touched?: Set<string>) {
        this.#groupOf = groupOf;
        this.#touched = touched;
    }

    /** As the log says. */
    readonly confirmed: Shelf<V> & { values(): Iterable<V> } = {
        get: (key) => this.#log.get(key),
        has: (key) => this.#log.has(key),
        set: (key, value) => {
            this.#changed(key, !this.#log.has(key));
            this.#log.set(key, value);
            this.#enter(key, value);
        },
        delete: (key) => {
            const value = this.#log.get(key);
            if (value === undefined) return;
            this.#log.delete(key);
            this.#groups.get(this.#groupOf(value) ?? "")?.delete(key);
            this.#changed(key, true);
        },
        values: () => this.#log.values(),
    };

    /** With what is under way. After a change of the log the guesses are to be made anew. */
    readonly guesses: Shelf<V> = {
        get: (key) => this.get(key),
        has: (key) => this.get(key) !== undefined,
        set: (key, value) => this.#guess(key, value),
        delete: (key) => this.#guess(key, undefined),
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

    /** The keys of a group, as things look. */
    group(name: string): string[] {
        return [...(this.#groups.get(name) ?? [])].filter((key) => {
            const value = this.get(key);
            return value !== undefined && this.#groupOf(value) === name;
        });
    }

    /** Takes all guesses back, to make them anew. */
    forgetGuesses(): void {
        this.#former = this.#guesses;
        this.#guesses = new Map();
    }

    /** The guesses are made. */
    guessed(): void {
        const former = this.#former ?? new Map<string, V | undefined>();
        this.#former = undefined;
        for (const key of new Set([...former.keys(), ...this.#guesses.keys()])) {
            const before = former.has(key) ? former.get(key) : this.#log.get(key);
            const after = this.get(key);
            if (before !== after) this.#changed(key, (before === undefined) !== (after === undefined));
        }
    }

    /** Begins with another state; the guesses are to be made anew. */
    clear(): void {
        for (const key of this.#log.keys()) this.#touched?.add(key);
        this.#log.clear();
        this.#groups.clear();
        this.#all = undefined;
        this.keysVersion += 1;
    }

    #guess(key: string, value: V | undefined): void {
        const before = this.get(key);
        const former = this.#former?.get(key);
        // Made again with the same outcome it stays the same object, and nobody draws it anew.
        const after = former && value && isSame(former, value) ? former : value;
        this.#guesses.set(key, after);
        if (after !== undefined) this.#enter(key, after);
        // What is made anew is compared when all of it is there.
        if (!this.#former && before !== after) this.#changed(key, (before === undefined) !== (after === undefined));
    }

    #enter(key: string, value: V): void {
        const name = this.#groupOf(value);
        if (name === undefined) return;
        const group = this.#groups.get(name);
        if (group) group.add(key);
        else this.#groups.set(name, new Set([key]));
    }

    #merged(): Map<string, V> {
        const all = new Map(this.#log);
        for (const [key, value] of this.#guesses) {
            if (value === undefined) all.delete(key);
            else all.set(key, value);
        }
        return all;
    }

    #changed(key: string, isKey: boolean): void {
        this.#touched?.add(key);
        this.#all = undefined;
        if (isKey) this.keysVersion += 1;
    }
}

function isSame<V extends object>(a: V, b: V): boolean {
    const entries = Object.entries(b);
    const other = new Map(Object.entries(a));
    return entries.length === other.size && entries.every(([key, value]) => Object.is(other.get(key), value));
}

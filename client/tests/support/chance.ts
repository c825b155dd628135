/** Chance that can be had again: the same seed gives the same numbers. */
export class Chance {
    #state: number;

    constructor(readonly seed: number) {
        this.#state = seed >>> 0;
    }

    /** 0 up to 1 (mulberry32). */
    next(): number {
        this.#state = (this.#state + 0x6d2b79f5) >>> 0;
        let t = this.#state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    }

    /** 0 up to `n`, whole. */
    below(n: number): number {
        return Math.floor(this.next() * n);
    }

    isLucky(probability: number): boolean {
        return this.next() < probability;
    }

    pick<T>(from: readonly T[]): T | undefined {
        return from[this.below(from.length)];
    }
}

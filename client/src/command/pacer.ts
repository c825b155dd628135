/** Keeps what is sent under the server's rate: a bucket of tokens, a little smaller than the server's own. */

/** Leaves room for subscriptions and pings, which the server counts too. */
const SHARE = 0.8;

export class Pacer {
    #perMs = (50 * SHARE) / 1000;
    #burst = 200 * SHARE;
    #tokens = this.#burst;
    #at = performance.now();

    /** Begins a session: its bucket is full. */
    restart(perSecond: number, burst: number): void {
        this.#perMs = Math.max(1, perSecond * SHARE) / 1000;
        this.#burst = Math.max(1, burst * SHARE);
        this.#tokens = this.#burst;
        this.#at = performance.now();
    }

    /** Takes one token; answers with 0, or with how long to wait for it, ms. */
    take(): number {
        const now = performance.now();
        this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
        this.#at = now;
        if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / this.#perMs);
        this.#tokens -= 1;
        return 0;
    }
}

/**
 * Whether the other side still lives. The clock starts with the first ping that was not answered; what is sent is no
 * sign of life, what is received is. Timers of a tab in the background stop: one that fires late proves nothing, so
 * after a sleep there is a ping first and a verdict then.
 */

const PING_INTERVAL_MS = 10_000;
const PONG_DEADLINE_MS = 5_000;
/** A timer that fires this much late was asleep, ms. */
const ASLEEP_MS = 2_000;

export class Heartbeat {
    readonly #ping: () => void;
    readonly #lost: () => void;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #dueAt = 0;
    #isAwaited = false;

    /** `ping` sends one; `lost` is called once when nothing came for too long. */
    constructor(ping: () => void, lost: () => void) {
        this.#ping = ping;
        this.#lost = lost;
    }

    /** Begins with the first interval. */
    start(): void {
        this.#isAwaited = false;
        this.#wait(PING_INTERVAL_MS);
    }

    stop(): void {
        clearTimeout(this.#timer);
    }

    /** Something came. */
    heard(): void {
        if (this.#isAwaited) this.start();
    }

    /** Something makes the connection doubtful: asks at once. */
    probe(): void {
        if (this.#isAwaited && performance.now() < this.#dueAt + ASLEEP_MS) return;
        this.#isAwaited = true;
        this.#ping();
        this.#wait(PONG_DEADLINE_MS);
    }

    #wait(ms: number): void {
        clearTimeout(this.#timer);
        this.#dueAt = performance.now() + ms;
        this.#timer = setTimeout(() => this.#due(), ms);
    }

    #due(): void {
        const wasAsleep = performance.now() > this.#dueAt + ASLEEP_MS;
        if (!this.#isAwaited || wasAsleep) {
            this.#isAwaited = false;
            this.probe();
        } else {
            this.#lost();
        }
    }
}

/** The steps of one execution: what was so far, then live, in the order of their numbers. */
import type { Channel, ChannelStatus } from "./channel.js";
import type { Channels } from "./channels.js";
import type { Execution, TraceEvent, TraceState } from "./protocol/generated.js";
import type { AnyEvent } from "./protocol/read.js";
import { type Readable, Store } from "./store.js";

/** What is known of an execution. */
export interface Trace {
    /** Its state and totals. */
    execution: Execution | undefined;
    /** Steps there are, earlier ones that were not sent included. */
    total: number;
    /** The steps that are known, in order. */
    events: readonly TraceEvent[];
    /** How it ended, if it has. */
    closed: string | undefined;
    /** Why it failed, if it did while somebody looked. */
    error?: string;
}

export class TraceStore implements Readable<Trace> {
    readonly #trace = new Store<Trace>({ execution: undefined, total: 0, events: [], closed: undefined });
    readonly #channels: Channels;
    readonly #channel: Channel;

    constructor(
        channels: Channels,
        readonly executionId: string,
    ) {
        this.#channels = channels;
        this.#channel = channels.open(`execution:${executionId}`, {
            trace: (state) => this.#load(state),
            transaction: (events) => this.#apply(events),
        });
    }

    /** How the channel stands. */
    get status(): Readable<ChannelStatus> {
        return this.#channel.status;
    }

    readonly get = (): Trace => this.#trace.get();
    readonly subscribe = (listener: () => void): (() => void) => this.#trace.subscribe(listener);

    /** Stops watching. */
    close(): void {
        this.#channels.close(this.#channel);
    }

    #load({ execution, total, events }: TraceState): void {
        const isOver = ["complete", "failed", "cancelled"].includes(execution.status);
        const known = [...events].sort((a, b) => a.n - b.n);
        this.#trace.set({ execution, total, events: known, closed: isOver ? execution.status : undefined });
    }

    #apply(events: AnyEvent[]): void {
        let trace = this.#trace.get();
        const steps: TraceEvent[] = [];
        for (const event of events) {
            if (event.type === "trace_event") {
                steps.push(event.payload);
            } else if (event.type === "execution_update") {
                const { executionId: id, errorMessage: error, ...rest } = event.payload;
                const execution = { ...trace.execution, id, ...rest };
                trace = { ...trace, execution, closed: undefined, ...(error !== undefined && { error }) };
            } else if (event.type === "execution_closed") {
                trace = { ...trace, closed: event.payload.status };
            }
        }
        this.#trace.set(steps.length === 0 ? trace : withSteps(trace, steps));
    }
}

/** Steps come in the order of their numbers; one that is there already is passed over. */
function withSteps(trace: Trace, steps: TraceEvent[]): Trace {
    const last = trace.events.at(-1)?.n ?? 0;
    const fresh = steps.filter(({ n }) => n > last);
    const newest = fresh.at(-1)?.n ?? last;
    return { ...trace, events: [...trace.events, ...fresh], total: Math.max(trace.total, newest) };
}

/** What is used of a WebSocket: the browser's, Node's from version 22 on, or the package `ws`. */
export interface SocketLike {
    readonly readyState: number;
    readonly bufferedAmount: number;
    // `never`, because each WebSocket has event types of its own.
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    send(text: string): void;
    close(code?: number, reason?: string): void;
}

/** Makes a socket that speaks the given subprotocol. */
export type SocketFactory = (url: string, protocol: string) => SocketLike;

/** Uses the platform's WebSocket. */
export const platformSocket: SocketFactory = (url, protocol) => {
    const { WebSocket } = globalThis;
    if (!WebSocket) throw new Error("there is no WebSocket here: give the option `socket`, for example from `ws`");
    return new WebSocket(url, protocol);
};

/** Counters of a connection's life, for an overlay. */
export interface Stats {
    bytesIn: number;
    bytesOut: number;
    framesIn: number;
    framesOut: number;
    /** Frames that were not understood. */
    framesIgnored: number;
    /** How often the connection went live. */
    connects: number;
    /** Subscriptions that went on where they had stopped. */
    resumes: number;
    /** Subscriptions that had to start over. */
    resets: number;
    /** Holes in the order of events that made a subscription ask again. */
    gaps: number;
    /** The newest round trip of a ping, ms. */
    roundTripMs: number | undefined;
}

export function newStats(): Stats {
    return {
        bytesIn: 0,
        bytesOut: 0,
        framesIn: 0,
        framesOut: 0,
        framesIgnored: 0,
        connects: 0,
        resumes: 0,
        resets: 0,
        gaps: 0,
        roundTripMs: undefined,
    };
}

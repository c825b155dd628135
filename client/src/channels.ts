/** The channels of a connection: opens all of them anew when it comes back, and gives each what is its own. */
import { Channel, type ChannelHandler } from "./channel.js";
import type { Connection } from "./connection.js";
import type { Incoming } from "./protocol/read.js";

export class Channels {
    readonly #connection: Connection;
    readonly #open = new Map<string, Channel>();

    constructor(connection: Connection) {
        this.#connection = connection;
        connection.opened.subscribe(() => {
            for (const channel of this.#open.values()) {
                if (channel.status.get().state !== "ended") channel.join();
            }
        });
        connection.lost.subscribe(() => {
            for (const channel of this.#open.values()) channel.suspend();
        });
        connection.frames.subscribe((frame) => this.#route(frame));
    }

    /** Opens a channel, now or when there is a connection. There is one handler for each name. */
    open(name: string, handler: ChannelHandler): Channel {
        if (this.#open.has(name)) throw new Error(`the channel ${name} is open already`);
        const channel = new Channel(this.#connection, name, handler);
        this.#open.set(name, channel);
        if (this.#connection.isLive) channel.join();
        return channel;
    }

    /** Closes it. */
    close(channel: Channel): void {
        if (this.#open.get(channel.name) !== channel) return;
        this.#open.delete(channel.name);
        channel.leave();
    }

    #route(frame: Incoming): void {
        const name = channelOf(frame);
        if (name !== undefined) return this.#open.get(name)?.receive(frame);
        if (frame.type !== "error" || frame.requestId === undefined) return;
        for (const channel of this.#open.values()) {
            if (channel.isAsking(frame.requestId)) return channel.receive(frame);
        }
    }
}

function channelOf(frame: Incoming): string | undefined {
    if ("channel" in frame) return frame.channel;
    return "payload" in frame && "channel" in frame.payload ? frame.payload.channel : undefined;
}

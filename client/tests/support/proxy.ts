/**
 * A proxy between clients and instances that behaves as badly as networks and servers can: it cuts, stalls, holds back,
 * sends commands and events twice, swaps them, and loses events. What it does follows from its seed and from what comes.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import type { Chance } from "./chance.js";

export interface Weather {
    /** Chance that a frame cuts its connection. */
    cut: number;
    /** Chance that a frame stalls its connection for good: it stays open and nothing comes through. */
    stall: number;
    /** Chance that a frame and all behind it wait for some time. */
    hold: number;
    /** Chance that a command is sent twice. */
    twice: number;
    /** Chance that a command goes behind the next one. */
    swap: number;
    /** Chance that an event or an acknowledgement comes twice. */
    repeat: number;
    /** Chance that an event or an acknowledgement comes behind the next frame. */
    late: number;
    /** Chance that an event is lost. */
    lose: number;
}

export const CALM: Weather = { cut: 0, stall: 0, hold: 0, twice: 0, swap: 0, repeat: 0, late: 0, lose: 0 };

const HOLD_MS_MAX = 60;

export class BadNetwork {
    weather: Weather = CALM;
    readonly counts: Record<keyof Weather, number> = {
        cut: 0,
        stall: 0,
        hold: 0,
        twice: 0,
        swap: 0,
        repeat: 0,
        late: 0,
        lose: 0,
    };
    readonly #server: WebSocketServer;
    readonly #pipes = new Set<Pipe>();
    #next = 0;

    private constructor(
        /** `http://` addresses; connections go to one after the other. */
        readonly targets: string[],
        readonly chance: Chance,
    ) {
        this.#server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => "glassbox.v2" });
        this.#server.on("connection", (client) => {
            const target = targets[this.#next++ % targets.length] ?? "";
            const pipe = new Pipe(this, client, new WebSocket(`${target.replace("http", "ws")}/ws`, "glassbox.v2"));
            this.#pipes.add(pipe);
            client.on("close", () => this.#pipes.delete(pipe));
        });
    }

    /** Begins to listen. */
    static async open(targets: string[], chance: Chance): Promise<BadNetwork> {
        const network = new BadNetwork(targets, chance);
        await once(network.#server, "listening");
        return network;
    }

    /** An `http://` address. */
    get address(): string {
        return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    }

    /** Cuts everything that is connected. */
    cutAll(): void {
        for (const pipe of this.#pipes) pipe.cut();
    }

    /** Whether something happens to a frame now. */
    happens(what: keyof Weather): boolean {
        if (!this.chance.isLucky(this.weather[what])) return false;
        this.counts[what] += 1;
        return true;
    }

    close(): void {
        this.cutAll();
        this.#server.close();
    }
}

class Pipe {
    readonly #proxy: BadNetwork;
    readonly #client: WebSocket;
    readonly #server: WebSocket;
    #isStalled = false;
    #swapped: string | undefined;
    #late: string | undefined;
    /** What is on its way in each direction comes in order. */
    #up = Promise.resolve();
    #down = Promise.resolve();

    constructor(proxy: BadNetwork, client: WebSocket, server: WebSocket) {
        this.#proxy = proxy;
        this.#client = client;
        this.#server = server;
        const opened = new Promise<void>((resolve) => server.once("open", () => resolve()));
        this.#up = opened;
        client.on("message", (data) => {
            this.#up = this.#pass(this.#up, () => this.#toServer(String(data)));
        });
        server.on("message", (data) => {
            this.#down = this.#pass(this.#down, () => this.#toClient(String(data)));
        });
        client.on("close", () => server.terminate());
        // A close frame of the server comes after all that it has said.
        server.on("close", (code, reason) => {
            this.#down = this.#down.then(() => this.#end(code, String(reason)));
        });
        client.on("error", () => {});
        server.on("error", () => this.cut());
    }

    cut(): void {
        this.#client.terminate();
        this.#server.terminate();
    }

    async #pass(before: Promise<void>, then: () => void): Promise<void> {
        const holdMs = this.#proxy.happens("hold") ? this.#proxy.chance.below(HOLD_MS_MAX) : 0;
        if (this.#proxy.happens("cut")) this.cut();
        if (this.#proxy.happens("stall")) this.#isStalled = true;
        await before;
        if (holdMs > 0) await new Promise((resolve) => setTimeout(resolve, holdMs));
        if (!this.#isStalled) then();
    }

    #toServer(text: string): void {
        const frame: { type: string } = JSON.parse(text);
        const isCommand = /^(node|dependency|lock)_/.test(frame.type);
        if (isCommand && this.#swapped === undefined && this.#proxy.happens("swap")) {
            this.#swapped = text;
            return;
        }
        this.#send(text);
        if (isCommand && this.#proxy.happens("twice")) this.#send(text);
        if (this.#swapped !== undefined) this.#send(this.#swapped);
        this.#swapped = undefined;
    }

    #toClient(text: string): void {
        const frame: { type: string; seq?: number } = JSON.parse(text);
        if (frame.seq !== undefined && this.#proxy.happens("lose")) return;
        const isNews = frame.seq !== undefined || frame.type === "ack";
        if (isNews && this.#late === undefined && this.#proxy.happens("late")) {
            this.#late = text;
            return;
        }
        this.#tell(text);
        if (isNews && this.#proxy.happens("repeat")) this.#tell(text);
        if (this.#late !== undefined) this.#tell(this.#late);
        this.#late = undefined;
    }

    #tell(text: string): void {
        if (this.#client.readyState === WebSocket.OPEN) this.#client.send(text);
    }

    #send(text: string): void {
        if (this.#server.readyState === WebSocket.OPEN) this.#server.send(text);
    }

    #end(code: number, reason: string): void {
        if (this.#isStalled) return;
        if (code === 1005 || code === 1006) this.#client.terminate();
        else this.#client.close(code, reason);
    }
}

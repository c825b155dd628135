/** How much may wait, and how large one command may be. */
import type { Entry } from "./entry.js";

/** What this side refuses by itself. */
export interface Refusal {
    code: "TOO_LARGE" | "QUEUE_FULL";
    message: string;
}

/** Commands that may wait for one project. */
const WAITING_MAX = 1_000;
/** The same in bytes: a browser's storage holds some 5 MB for all of a site. */
const WAITING_BYTES_MAX = 2_097_152;
/** The server's default, until it has said its own, bytes. */
const FRAME_BYTES = 262_144;

/** Why a command may not go behind those that wait, if it may not. */
export function overBounds(given: Entry, waiting: readonly Entry[], frameBytes?: number): Refusal | undefined {
    const tooLarge = overFrame(given, frameBytes);
    if (tooLarge) return tooLarge;
    let [count, bytes] = [1, given.bytes];
    for (const entry of waiting) {
        if (entry.projectId !== given.projectId) continue;
        count += 1;
        bytes += entry.bytes;
    }
    if (count <= WAITING_MAX && bytes <= WAITING_BYTES_MAX) return undefined;
    const message = `at most ${WAITING_MAX} commands of ${WAITING_BYTES_MAX} bytes together may wait`;
    return { code: "QUEUE_FULL", message };
}

/** Why a command cannot be sent at all, if it cannot. */
export function overFrame({ bytes }: Entry, frameBytes = FRAME_BYTES): Refusal | undefined {
    if (bytes <= frameBytes) return undefined;
    return { code: "TOO_LARGE", message: `a command has at most ${frameBytes} bytes` };
}

/** Why a command was not applied, or may not have been. */
import type { ErrorCode, ErrorPayload } from "../protocol/generated.js";

/** The server's codes, and what this side refuses by itself. */
export type RefusalCode = ErrorCode | "QUEUE_FULL" | "CLOSED";

export class CommandError extends Error {
    override readonly name = "CommandError";
    readonly code: RefusalCode;
    /** Whether the same command may succeed later. */
    readonly temporary: boolean;
    /** More about it, by code. */
    readonly details: unknown;

    constructor(
        readonly command: string,
        readonly requestId: string,
        error: Omit<ErrorPayload, "code"> & { code: RefusalCode },
        /** `unknown` when the command had been sent and nobody will hear the answer. */
        readonly outcome: "not_applied" | "unknown" = "not_applied",
    ) {
        super(error.message);
        this.code = error.code;
        this.temporary = error.temporary;
        this.details = error.details;
    }
}

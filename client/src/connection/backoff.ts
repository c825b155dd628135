/** When to come back after a socket was closed, and when not to. */

/** Why a connection has ended for good. */
export type CloseReason =
    | "by_client"
    | "signed_out"
    | "token_invalid"
    | "revoked"
    | "gone"
    | "version_unsupported"
    | "protocol_error"
    | "replaced"
    | "refused";

/** What a close means: `afterMs` is what the server asks for; when the token was over, a new one helps at once. */
export type Verdict =
    | { verdict: "retry"; afterMs?: number; isTokenOver?: boolean }
    | { verdict: "end"; reason: CloseReason }
    | { verdict: "fresh_identity" };

/** Longest pause before the first attempt, ms; it doubles with every attempt that fails. */
const BASE_MS = 500;
/** Longest pause at all, ms. */
const CAP_MS = 30_000;

/** A pause with full jitter, so that clients who lost their server together do not come back together. */
export function backoffMs(attempt: number, random: () => number): number {
    return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 10));
}

/** Reads a close frame: below 4500 the client comes back and resumes, from 4500 on it stays away. */
export function judge(code: number, reason: string): Verdict {
    switch (code) {
        case 4001:
            return { verdict: "retry", isTokenOver: true };
        case 4500:
            return { verdict: "end", reason: "token_invalid" };
        case 4503:
            return { verdict: "end", reason: "revoked" };
        case 4504:
            return { verdict: "end", reason: "gone" };
        case 4505:
            return { verdict: "end", reason: "version_unsupported" };
        // Sending the same again would end the same way.
        case 1003:
        case 1007:
        case 1009:
        case 4506:
            return { verdict: "end", reason: "protocol_error" };
        case 4507:
            return { verdict: "fresh_identity" };
    }
    if (code >= 4500) return { verdict: "end", reason: "refused" };
    const asked = /retryAfterMs\W*(\d+)/.exec(reason)?.[1];
    return asked === undefined ? { verdict: "retry" } : { verdict: "retry", afterMs: Number(asked) };
}

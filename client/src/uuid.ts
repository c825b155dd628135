/** A random UUID. `crypto.randomUUID` is missing on pages that came over plain HTTP; `getRandomValues` is not. */
export function uuid(): string {
    if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const hex = [...bytes].map((byte, n) => {
        const value = n === 6 ? (byte & 0x0f) | 0x40 : n === 8 ? (byte & 0x3f) | 0x80 : byte;
        return value.toString(16).padStart(2, "0");
    });
    return [hex.slice(0, 4), hex.slice(4, 6), hex.slice(6, 8), hex.slice(8, 10), hex.slice(10)]
        .map((part) => part.join(""))
        .join("-");
}

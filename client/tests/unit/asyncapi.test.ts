import { readFileSync } from "node:fs";
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";
import { expect, test } from "vitest";

test("the AsyncAPI document is valid", async () => {
    const text = readFileSync(new URL("../../../protocol/schema/asyncapi.json", import.meta.url), "utf8");
    const { document, diagnostics } = await new Parser().parse(text);
    const errors = diagnostics.filter(({ severity }) => severity === DiagnosticSeverity.Error);
    expect(errors.map(({ path, message }) => `${path.join(".")}: ${message}`)).toEqual([]);
    expect(document?.version()).toBe("3.0.0");
    expect(document?.operations().all().length).toBeGreaterThan(0);
}, 60_000);

import { defineConfig } from "vitest/config";

export default defineConfig({
    test: {
        projects: [
            { test: { name: "unit", include: ["tests/unit/**/*.test.{ts,tsx}"] } },
            {
                test: {
                    name: "server",
                    include: ["tests/server/**/*.test.{ts,tsx}"],
                    globalSetup: ["tests/support/server.ts"],
                    testTimeout: 60_000,
                    hookTimeout: 60_000,
                },
            },
        ],
    },
});

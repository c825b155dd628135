/** People, projects and clients for tests against the real server. */
import pg from "pg";
import { inject } from "vitest";
import { WebSocket } from "ws";
import { fixedIdentity, GlassBox, type GlassBoxOptions, type ProjectStore, type Readable } from "../../src/index.js";

/** Somebody with a token. */
export interface Person {
    id: string;
    email: string;
    token: string;
}

let count = 0;

/** The address of an instance. */
export function instance(n = 0): string {
    const found = inject("instances")[n];
    if (!found) throw new Error("no such instance");
    return found;
}

export async function person(name = "ada"): Promise<Person> {
    count += 1;
    const userId = `${name}-${process.pid}-${Date.now()}-${count}`;
    const email = `${userId}@example.org`;
    const body = await rest<{ token: string }>("POST", "/auth/dev-token", undefined, { userId, email, name });
    const me = await rest<{ id: string }>("GET", "/users/me", { id: "", email, token: body.token });
    return { id: me.id, email, token: body.token };
}

/** Calls the REST API below `/api/v1`. */
export async function rest<T>(method: string, path: string, who?: Person, body?: unknown): Promise<T> {
    const answer = await fetch(`${instance()}/api/v1${path}`, {
        method,
        headers: {
            "content-type": "application/json",
            ...(who && { authorization: `Bearer ${who.token}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text || "null");
}

/** Writes to the tables as a program does that knows nothing of the server. */
export async function sql(statement: string, values: unknown[] = []): Promise<void> {
    const database = new pg.Client({ connectionString: inject("databaseUrl") });
    await database.connect();
    try {
        await database.query(statement, values);
    } finally {
        await database.end();
    }
}

/** A new project of a new organization; the others are its members. */
export async function newProject(owner: Person, ...others: Person[]): Promise<string> {
    const org = await rest<{ id: string }>("POST", "/orgs", owner, { name: "Tests", slug: `t-${crypto.randomUUID()}` });
    for (const { email } of others) {
        await rest("POST", `/orgs/${org.id}/members`, owner, { email, role: "member" });
    }
    const project = await rest<{ id: string }>("POST", `/orgs/${org.id}/projects`, owner, { name: "Project" });
    return project.id;
}

/** A client of the library, connected. It is closed by `closeAll`. */
export function client(who: Person, options: Partial<GlassBoxOptions> = {}, base = instance()): GlassBox {
    const made = new GlassBox({
        url: `${base.replace("http", "ws")}/ws`,
        apiUrl: instance(),
        token: () => who.token,
        socket: (url, protocol) => new WebSocket(url, protocol),
        identity: fixedIdentity(crypto.randomUUID()),
        ...options,
    });
    clients.push(made);
    made.connect();
    return made;
}

const clients: GlassBox[] = [];

export function closeAll(): void {
    for (const one of clients.splice(0)) one.close();
}

/** Waits until a condition holds, looking whenever something changes. */
export async function until(
    condition: () => boolean,
    what: string,
    ...watched: { subscribe(listener: () => void): () => void }[]
): Promise<void> {
    const failed = new Error(`waited in vain: ${what}`);
    await new Promise<void>((resolve, reject) => {
        const stops: (() => void)[] = [];
        const end = (then: () => void) => {
            for (const stop of stops) stop();
            clearInterval(poll);
            clearTimeout(deadline);
            then();
        };
        const look = () => {
            if (condition()) end(resolve);
        };
        const poll = setInterval(look, 20);
        const deadline = setTimeout(() => end(() => reject(failed)), 20_000);
        for (const one of watched) stops.push(one.subscribe(look));
        look();
    });
}

export function live(one: { status: Readable<{ state: string }> }): Promise<void> {
    return until(() => one.status.get().state === "live", "the channel is live", one.status);
}

/** What everybody must agree on, in one text. */
export function picture(project: ProjectStore): string {
    const nodes = [...project.nodes.values()].map(({ updatedAt: _, ...node }) => tidy(node));
    const edges = [...project.dependencies.values()].map(tidy);
    const locks = [...project.locks.values()].map(({ nodeId, lockedBy }) => `${nodeId} ${lockedBy}`);
    return JSON.stringify([nodes.sort(), edges.sort(), locks.sort()], null, 1);
}

function tidy(thing: object): string {
    return JSON.stringify(thing, (_, value: unknown) =>
        typeof value === "object" && value !== null && !Array.isArray(value)
            ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a.localeCompare(b)))
            : value,
    );
}

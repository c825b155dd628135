import { afterEach, describe, expect, test } from "vitest";
import { CommandError } from "../../src/index.js";
import { Chance } from "../support/chance.js";
import { BadNetwork, CALM } from "../support/proxy.js";
import { client, closeAll, instance, live, newProject, person, picture, rest, until } from "../support/world.js";

afterEach(closeAll);

describe("a client without a network", () => {
    test("goes on editing, and brings it all when it is back, on another instance", async () => {
        const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
        const id = await newProject(ann, bob);
        let isOnline = true;
        let notice: (change: "online" | "offline" | "awake") => void = () => {};
        const network = await BadNetwork.open([instance(0), instance(1)], new Chance(1));
        const surroundings = {
            isOnline: () => isOnline,
            watch(listener: typeof notice) {
                notice = listener;
                return () => {};
            },
        };
        const hers = client(ann, { surroundings }, network.address);
        const project = hers.project(id);
        const his = client(bob, {}, instance(1)).project(id);
        await Promise.all([project.ready, his.ready]);
        const first = project.createNode({ title: "First" });
        await first.done;

        isOnline = false;
        network.cutAll();
        await until(() => hers.link.get().state !== "live", "she is cut off", hers.link);
        notice("offline");
        const second = project.createNode({ title: "Second" });
        const all = [second.done, project.updateNode(first.id, { title: "First, changed offline" })];
        await his.updateNode(first.id, { status: "done" });
        expect(project.node(first.id)).toMatchObject({ title: "First, changed offline", status: "draft" });
        expect(hers.pendingCount).toBe(2);

        isOnline = true;
        notice("online");
        await Promise.all(all);
        expect(hers.stats).toMatchObject({ connects: 2, resumes: 1, resets: 0, gaps: 0 });
        await until(() => his.seq === project.seq, "he sees all", his);
        expect(picture(his)).toBe(picture(project));
        expect(his.node(first.id)).toMatchObject({ title: "First, changed offline", status: "done" });
        network.close();
    });

    test("learns by a ping that a connection which looks open is dead", async () => {
        const ann = await person("ann");
        const id = await newProject(ann);
        const network = await BadNetwork.open([instance()], new Chance(1));
        const hers = client(ann, {}, network.address);
        const project = hers.project(id);
        await live(project);
        network.weather = { ...CALM, stall: 1 };
        const { done } = project.createNode({ title: "into the void" });
        hers.connection.probe();
        network.weather = { ...CALM, stall: 1 };
        await until(() => hers.link.get().state !== "live", "the silence is noticed", hers.link);
        network.weather = CALM;
        await done;
        expect(hers.stats.connects).toBe(2);
        network.close();
    });
});

describe("the end of access", () => {
    test("a removed member is told, and sent away", async () => {
        const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
        const id = await newProject(ann, bob);
        const hers = client(ann).project(id);
        const his = client(bob);
        const project = his.project(id);
        await Promise.all([hers.ready, project.ready]);
        const { orgId } = await rest<{ orgId: string }>("GET", `/projects/${id}`, ann);
        await rest("DELETE", `/orgs/${orgId}/members/${bob.id}`, ann);
        await until(() => project.status.get().state === "ended", "he is told", project.status);
        expect(project.status.get()).toMatchObject({ reason: "revoked" });
        await until(() => his.link.get().state === "closed", "he is sent away", his.link);
        expect(his.link.get()).toMatchObject({ reason: "revoked" });
    });

    test("a command that waited is refused, and leaves no guess behind", async () => {
        const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
        const id = await newProject(ann, bob);
        const network = await BadNetwork.open([instance()], new Chance(1));
        let isOnline = true;
        let notice: (change: "online" | "offline" | "awake") => void = () => {};
        const surroundings = {
            isOnline: () => isOnline,
            watch(listener: typeof notice) {
                notice = listener;
                return () => {};
            },
        };
        const refused: string[] = [];
        const onRejected = (_: CommandError, { type }: { type: string }) => refused.push(type);
        const his = client(bob, { surroundings, onRejected }, network.address);
        const project = his.project(id);
        const hers = client(ann).project(id);
        await Promise.all([live(project), live(hers)]);
        const { id: nodeId, done } = hers.createNode({ title: "Hers" });
        await done;
        await until(() => project.node(nodeId) !== undefined, "he sees it", project);

        isOnline = false;
        network.cutAll();
        await until(() => his.link.get().state !== "live", "he is cut off", his.link);
        notice("offline");
        const waiting = [
            project.updateNode(nodeId, { title: "His" }),
            project.updateNode(nodeId, { status: "done" }),
            project.createNode({ title: "His too" }).done,
        ];
        expect(project.node(nodeId)).toMatchObject({ title: "His", status: "done" });
        const { orgId } = await rest<{ orgId: string }>("GET", `/projects/${id}`, ann);
        await rest("DELETE", `/orgs/${orgId}/members/${bob.id}`, ann);

        isOnline = true;
        notice("online");
        const ends = await Promise.all(waiting.map((end) => end.catch((error: unknown) => error)));
        for (const end of ends) expect(end).toBeInstanceOf(CommandError);
        expect(refused.sort()).toEqual(["node_create", "node_update", "node_update"]);
        expect(his.pendingCount).toBe(0);
        expect(project.node(nodeId)?.title).toBe("Hers");
        expect([...hers.nodes.values()].map(({ title, status }) => [title, status])).toEqual([["Hers", "draft"]]);
        network.close();
    });

    test("a token is replaced in place, for the same user only", async () => {
        const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
        const { connection } = client(ann);
        await until(() => connection.isLive, "she is in", connection.link);
        const refresh = (token: string) => connection.request({ type: "token_refresh", payload: { token } });
        expect((await refresh(ann.token)).type).toBe("token_refreshed");
        expect(connection.stats.connects).toBe(1);
        await refresh(bob.token).catch(() => {});
        await until(() => !connection.isLive, "somebody else's token ends it", connection.link);
        expect(connection.link.get()).toMatchObject({ state: "closed", reason: "token_invalid" });
    });

    test("a bad token ends the connection, and a good one brings it back", async () => {
        const ann = await person("ann");
        let token = "nonsense";
        const hers = client(ann, { token: () => token });
        await until(() => hers.link.get().state === "closed", "she is refused", hers.link);
        expect(hers.link.get()).toMatchObject({ reason: "token_invalid" });
        token = ann.token;
        hers.connect();
        await until(() => hers.link.get().state === "live", "she is in", hers.link);
    });
});

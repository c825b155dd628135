import { afterEach, describe, expect, inject, test } from "vitest";
import { CommandError, type ProjectStore } from "../../src/index.js";
import { Chance } from "../support/chance.js";
import { BadNetwork, CALM } from "../support/proxy.js";
import { client, closeAll, live, newProject, person, picture, until } from "../support/world.js";

afterEach(closeAll);

const STEPS = Number(process.env.STORM_STEPS ?? 150);
const SEEDS = process.env.STORM_SEED ? [Number(process.env.STORM_SEED)] : [1, 20_261_122];

/** What was asked, and what became of it. */
interface Asked {
    input: string;
    nodeId: string;
    settled: number;
    outcome?: "applied" | CommandError;
}

describe("a storm", () => {
    test.each(SEEDS)(
        "leaves all with one state and every command with one end (seed %d)",
        async (seed) => {
            const chance = new Chance(seed);
            const proxy = await BadNetwork.open(inject("instances"), new Chance(seed + 1));
            const people = await Promise.all([person("ann"), person("bob"), person("cleo")]);
            const [ann, ...others] = people;
            if (!ann) throw new Error("nobody");
            const id = await newProject(ann, ...others);
            const clients = [...people, ann].map((who) => client(who, {}, proxy.address));
            const projects = clients.map((one) => one.project(id));
            await Promise.all(projects.map((one) => one.ready));

            const asked: Asked[] = [];
            const ends: Promise<unknown>[] = [];
            const follow = (done: Promise<unknown>, entry: Asked = { input: "", nodeId: "", settled: 0 }) => {
                asked.push(entry);
                const end = (outcome: "applied" | CommandError) => {
                    entry.settled += 1;
                    entry.outcome = outcome;
                };
                ends.push(
                    done.then(
                        () => end("applied"),
                        (error: CommandError) => end(error),
                    ),
                );
            };
            proxy.weather = {
                cut: 0.004,
                stall: 0.0005,
                hold: 0.1,
                twice: 0.1,
                swap: 0.05,
                repeat: 0.05,
                late: 0.01,
                lose: 0.01,
            };
            for (let step = 0; step < STEPS; step += 1) {
                for (const project of projects) act(project, chance, follow);
                if (chance.isLucky(0.02)) proxy.cutAll();
                await new Promise((resolve) => setTimeout(resolve, chance.below(25)));
            }
            proxy.weather = CALM;
            // Whoever is stalled finds out by the ping that is not answered.
            for (const one of clients) one.connection.probe();

            await Promise.all(ends);
            expect(asked.filter(({ settled }) => settled !== 1)).toEqual([]);
            expect(clients.map((one) => one.pendingCount)).toEqual([0, 0, 0, 0]);
            await Promise.all(projects.map((one) => until(() => one.ownLocks.length === 0, "no lock is left", one)));
            await Promise.all(projects.map(live));
            const fresh = client(ann).project(id);
            await live(fresh);
            // A lease whose grant came too late to be used ends by itself.
            await until(() => fresh.locks.size === 0, "all leases are over", fresh);
            for (const project of projects) {
                await until(() => project.seq >= fresh.seq, "all have caught up", project);
                await until(() => fresh.seq >= project.seq, "the fresh one has caught up", fresh);
            }
            const truth = picture(fresh);
            for (const project of projects) expect(picture(project)).toBe(truth);

            // Once: an input that was acknowledged is there one time, one that was refused is not there.
            const texts = [...fresh.nodes.values()].flatMap(({ inputs = [] }) =>
                inputs.map((one) => JSON.stringify(one)),
            );
            for (const { input, nodeId, outcome } of asked.filter((one) => one.input !== "")) {
                const found = texts.filter((text) => text.includes(input)).length;
                if (outcome instanceof CommandError) expect(found, input).toBe(0);
                else expect(found, input).toBe(fresh.node(nodeId) ? 1 : 0); // it went with its node
            }
            const inputs = asked.filter((one) => one.input !== "" && one.outcome === "applied");
            expect(new Set(texts).size).toBe(texts.length);
            console.log(
                `seed ${seed}: ${asked.length} commands, ${inputs.length} inputs, log at ${fresh.seq}; the proxy did`,
                proxy.counts,
                clients.map(
                    ({ stats }) =>
                        `${stats.connects} connects, ${stats.resumes} resumes, ${stats.gaps} gaps, ${stats.resets} resets`,
                ),
            );
            expect(proxy.counts.cut + proxy.counts.lose).toBeGreaterThan(0);
            proxy.close();
        },
        120_000,
    );
});

function act(project: ProjectStore, chance: Chance, follow: (done: Promise<unknown>, entry?: Asked) => void): void {
    const ids = [...project.nodes.keys()];
    const nodeId = chance.pick(ids);
    const other = chance.pick(ids);
    const dice = chance.below(100);
    const position = { x: chance.below(1000), y: chance.below(1000) };
    if (!nodeId || !other || dice < 15) {
        follow(project.createNode({ title: `Node ${chance.below(1e6)}`, position }).done);
    } else if (dice < 40) {
        follow(project.moveNodes([{ nodeId, position }]));
    } else if (dice < 60) {
        follow(project.updateNode(nodeId, { title: `Title ${chance.below(1e6)}` }));
    } else if (dice < 75) {
        const input = crypto.randomUUID();
        const { done } = project.addInput({ nodeId, inputType: "text", textContent: input });
        follow(done, { input, nodeId, settled: 0 });
    } else if (dice < 80) {
        if (nodeId !== other) follow(project.addDependency({ sourceNodeId: nodeId, targetNodeId: other }));
    } else if (dice < 84) {
        follow(project.removeDependency({ sourceNodeId: nodeId, targetNodeId: other }));
    } else if (dice < 88) {
        follow(project.deleteNode(nodeId));
    } else if (dice < 92) {
        follow(lockAndWrite(project, nodeId, `Locked ${chance.below(1e6)}`));
    } else {
        project.presence.set({ cursor: position });
    }
}

async function lockAndWrite(project: ProjectStore, nodeId: string, title: string): Promise<void> {
    const lock = await project.lock(nodeId, { ttlMs: 5_000 });
    await project.updateNode(nodeId, { title }).finally(() => lock.release());
}

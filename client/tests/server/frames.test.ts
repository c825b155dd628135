import { afterEach, expect, test } from "vitest";
import { Chance } from "../support/chance.js";
import { BadNetwork, CALM } from "../support/proxy.js";
import { client, closeAll, instance, live, newProject, person, picture, until } from "../support/world.js";

afterEach(closeAll);

const EDITS = 60;

test("what the server says twice and in another order is shown once and in order", async () => {
    const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
    const id = await newProject(ann, bob);
    const network = await BadNetwork.open([instance(0), instance(1)], new Chance(7));
    const clients = [ann, bob].map((who) => client(who, {}, network.address));
    const projects = clients.map((one) => one.project(id));
    await Promise.all(projects.map(live));
    const seen = projects.map((project) => {
        const seqs: number[] = [];
        project.events.subscribe(({ seq }) => seqs.push(seq));
        return seqs;
    });

    network.weather = { ...CALM, repeat: 0.5, late: 0.2 };
    const done: Promise<unknown>[] = [];
    for (let n = 0; n < EDITS; n += 1) {
        for (const project of projects) {
            const made = project.createNode({ title: `node ${n}` });
            done.push(made.done, project.updateNode(made.id, { title: `node ${n}, changed` }));
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(done);
    expect(network.counts.repeat).toBeGreaterThan(0);
    expect(network.counts.late).toBeGreaterThan(0);
    network.weather = CALM;

    const truth = client(ann).project(id);
    await live(truth);
    for (const project of projects) {
        await until(() => project.seq >= truth.seq && project.status.get().state === "live", "all is there", project);
        expect(picture(project)).toBe(picture(truth));
        expect(project.pendingCount).toBe(0);
    }
    expect(truth.nodes.size).toBe(2 * EDITS);
    // Each event once, in the log's order.
    for (const seqs of seen) expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
    network.close();
});

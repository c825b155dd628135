import { afterEach, describe, expect, test } from "vitest";
import { Chance } from "../support/chance.js";
import { BadNetwork } from "../support/proxy.js";
import { client, closeAll, instance, live, newProject, person, sql, until } from "../support/world.js";

afterEach(closeAll);

const STEP = "insert into agent_trace_events (execution_id, event_type, event_data) values ($1, $2, $3)";

describe("any SQL writer", () => {
    test("is live", async () => {
        const ann = await person("ann");
        const project = client(ann).project(await newProject(ann));
        await live(project);
        const { id, done } = project.createNode({ title: "Before" });
        await done;
        await sql("update nodes set title = 'From psql' where id = $1", [id]);
        await until(() => project.node(id)?.title === "From psql", "it shows", project);
    });
});

describe("the trace of an execution", () => {
    test("shows what was, follows what is, resumes, and ends", async () => {
        const ann = await person("ann");
        const projectId = await newProject(ann);
        const network = await BadNetwork.open([instance(0), instance(1)], new Chance(1));
        const hers = client(ann, {}, network.address);
        const project = hers.project(projectId);
        await live(project);
        const { id: nodeId, done } = project.createNode({ title: "Work" });
        await done;
        const execution = crypto.randomUUID();
        await sql("insert into agent_executions (id, node_id, status) values ($1, $2, 'running')", [execution, nodeId]);
        await until(() => project.executions.get(execution)?.status === "running", "the project shows it", project);
        await sql(STEP, [execution, "llm_call", { before: true }]);

        const trace = hers.trace(execution);
        await live(trace);
        expect(trace.get()).toMatchObject({
            total: 1,
            closed: undefined,
            execution: { id: execution, status: "running" },
        });
        await sql(STEP, [execution, "tool_call", {}]);
        await until(() => trace.get().events.length === 2, "it follows", trace);

        network.cutAll();
        await until(() => hers.link.get().state !== "live", "she is cut off", hers.link);
        await sql(STEP, [execution, "tool_call", { while: "away" }]);
        await until(() => trace.get().events.length === 3, "it resumes", trace);
        expect(trace.get().events.map(({ n }) => n)).toEqual([1, 2, 3]);
        await sql("update agent_executions set status = 'complete', completed_at = now() where id = $1", [execution]);
        await until(() => trace.get().closed === "complete", "it ends", trace);
        await until(() => !project.executions.has(execution), "the project lets go of it", project);
        expect(hers.stats.resets).toBe(0);
        hers.release(trace);
        network.close();
    });
});

import { afterEach, describe, expect, test } from "vitest";
import { client, closeAll, instance, live, newProject, person, picture, until } from "../support/world.js";

afterEach(closeAll);

describe("a project", () => {
    test("shows on another instance what one client does, once each", async () => {
        const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
        const id = await newProject(ann, bob);
        const here = client(ann).project(id);
        const there = client(bob, {}, instance(1)).project(id);
        await Promise.all([here.ready, there.ready]);

        const { id: nodeId, done } = here.createNode({ title: "Compare", position: { x: 1, y: 2 } });
        expect(here.node(nodeId)?.title).toBe("Compare");
        expect(here.pendingCount).toBe(1);
        const ack = await done;
        expect(ack.outcome).toBe("applied");
        expect(here.seq).toBeGreaterThanOrEqual(ack.seq);
        expect(here.pendingCount).toBe(0);
        await here.updateNode(nodeId, { description: "Price", status: "in_progress" });
        await here.moveNodes([{ nodeId, position: { x: 5, y: 6 } }]);
        const { id: inputId, done: added } = here.addInput({ nodeId, inputType: "text", textContent: "Only here" });
        await added;
        await here.addOutput({ nodeId, outputType: "text", textContent: "Nordwind" }).done;
        const other = here.createNode({ title: "Second" });
        const edge = here.addDependency({ sourceNodeId: nodeId, targetNodeId: other.id });
        expect(here.dependencies.size).toBe(1);
        await edge;
        expect(here.dependencies.size).toBe(1);

        await until(() => there.seq === here.seq, "bob sees all", there);
        expect(picture(there)).toBe(picture(here));
        expect(there.node(nodeId)?.position).toEqual({ x: 5, y: 6 });

        await here.removeInput(nodeId, inputId);
        await here.updateNode(nodeId, { description: null });
        await here.rollbackNode(nodeId, 1);
        await here.deleteNode(other.id);
        expect(here.node(other.id)).toBeUndefined();
        expect(here.dependencies.size).toBe(0);
        await here.restoreNode(other.id);
        expect(here.dependencies.size).toBe(1);
        await here.removeDependency({ sourceNodeId: nodeId, targetNodeId: other.id });
        await until(() => there.seq === here.seq, "bob sees all", there);
        expect(picture(there)).toBe(picture(here));
        const fresh = client(bob).project(id);
        await live(fresh);
        expect(picture(fresh)).toBe(picture(here));
    });
});

import { afterEach, expect, test } from "vitest";
import { client, closeAll, instance, live, newProject, person, picture, until } from "../support/world.js";

afterEach(closeAll);

test("undo takes back one's own last command, redo does it again, and neither goes over what others did", async () => {
    const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
    const id = await newProject(ann, bob);
    const [here, there] = [client(ann).project(id), client(bob, {}, instance(1)).project(id)];
    await Promise.all([live(here), live(there)]);
    expect((await here.undo()).outcome).toBe("unchanged");
    const { id: nodeId, done } = here.createNode({ title: "One", position: { x: 1, y: 1 } });
    await done;
    await here.updateNode(nodeId, { title: "Two" });
    await here.moveNodes([{ nodeId, position: { x: 9, y: 9 } }]);
    await until(() => there.seq === here.seq, "bob sees all", there);

    const ack = await here.undo();
    expect(ack.outcome).toBe("applied");
    expect(here.node(nodeId)).toMatchObject({ title: "Two", position: { x: 1, y: 1 } });
    await here.undo();
    expect(here.node(nodeId)?.title).toBe("One");
    await here.redo();
    expect(here.node(nodeId)?.title).toBe("Two");
    expect((await there.undo()).outcome).toBe("unchanged");

    await there.updateNode(nodeId, { title: "Bob's" });
    await expect(here.undo()).rejects.toMatchObject({ code: "VERSION_CONFLICT" });
    await until(() => here.seq === there.seq, "ann sees all", here);
    expect(here.node(nodeId)?.title).toBe("Bob's");
    expect(picture(here)).toBe(picture(there));
});

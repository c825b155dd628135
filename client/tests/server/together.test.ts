import { afterEach, describe, expect, test } from "vitest";
import { client, closeAll, instance, live, newProject, person, until } from "../support/world.js";

afterEach(closeAll);

async function two() {
    const [ann, bob] = await Promise.all([person("ann"), person("bob")]);
    const id = await newProject(ann, bob);
    const [hers, his] = [client(ann), client(bob, {}, instance(1))];
    const [here, there] = [hers.project(id), his.project(id)];
    await Promise.all([live(here), live(there)]);
    const { id: nodeId, done } = here.createNode({ title: "Shared" });
    await done;
    return { ann, bob, id, hers, his, here, there, nodeId };
}

describe("locks", () => {
    test("keep others out of a node, and pass to who waits first", async () => {
        const { ann, bob, here, there, nodeId } = await two();
        const lock = await here.lock(nodeId, { ttlMs: 30_000 });
        await until(() => there.locks.get(nodeId)?.lockedBy === ann.id, "he sees it", there);
        await expect(there.updateNode(nodeId, { title: "his" })).rejects.toMatchObject({ code: "LOCK_HELD" });
        await expect(there.lock(nodeId)).rejects.toMatchObject({ code: "LOCK_HELD", details: { lockedBy: ann.id } });
        await here.updateNode(nodeId, { title: "hers" });

        const turn = there.lock(nodeId, { wait: true });
        await until(() => there.ownLock(nodeId) !== undefined, "he waits", there);
        await until(() => there.pendingCount === 0, "the server knows", there);
        await lock.release();
        const his = await turn;
        expect(his.fence).toBeGreaterThan(0);
        await there.updateNode(nodeId, { title: "his" });
        await until(() => here.locks.get(nodeId)?.lockedBy === bob.id, "she sees it", here);
        await his.release();
        await until(() => here.locks.size === 0, "it is free", here);
        expect(here.node(nodeId)?.title).toBe("his");
    });

    test("that are broken are lost, and their holder cannot write any more", async () => {
        const { here, there, nodeId } = await two();
        const his = await there.lock(nodeId);
        await here.breakLock(nodeId, "a test");
        await expect(his.lost).resolves.toBe("broken");
        const hers = await here.lock(nodeId);
        await expect(there.updateNode(nodeId, { title: "late" })).rejects.toMatchObject({ code: "LOCK_HELD" });
        await here.deleteNode(nodeId);
        await expect(hers.lost).resolves.toBe("deleted");
    });

    test("are renewed, so that they outlive their time", async () => {
        const { here, nodeId } = await two();
        const lock = await here.lock(nodeId, { ttlMs: 2_000 });
        const renewals: number[] = [];
        here.events.subscribe((event) => {
            if (event.type === "lock_renewed") renewals.push(event.seq);
        });
        await until(() => renewals.length >= 4, "two leases are over", here);
        expect(lock.status.get().state).toBe("held");
        await here.updateNode(nodeId, { title: "still mine" });
    });
});

describe("presence", () => {
    test("shows who is where, over instances, and who has left", async () => {
        const { ann, bob, here, there, hers, nodeId } = await two();
        here.presence.set({ cursor: { x: 1, y: 2 }, selection: [nodeId], nodeId, action: "editing" });
        await until(
            () => there.presence.users.get(ann.id)?.sessions[0]?.action === "editing",
            "he sees her",
            there.presence,
        );
        expect(there.presence.users.get(bob.id)).toBeUndefined();
        const moves = [{ nodeId, position: { x: 50, y: 60 } }];
        here.drag(moves);
        await until(() => there.presence.drags.get(nodeId)?.position.x === 50, "he sees the drag", there.presence);
        await here.drop(moves);
        await until(() => there.presence.drags.size === 0, "the drag is over", there.presence);
        expect(there.node(nodeId)?.position).toEqual({ x: 50, y: 60 });
        hers.close();
        await until(() => !there.presence.users.has(ann.id), "she is gone", there.presence);
    });
});

describe("notifications", () => {
    test("come as they happen, stay in the list, and are read on all devices at once", async () => {
        const { bob, here, there, his, nodeId } = await two();
        const phone = client(bob).inbox;
        const { inbox } = his;
        await until(() => inbox.get().isLoaded && phone.get().isLoaded, "the lists are there", inbox, phone);
        const lock = await here.lock(nodeId);
        await expect(there.updateNode(nodeId, { title: "his" })).rejects.toMatchObject({ code: "LOCK_HELD" });
        await lock.release();
        await until(() => inbox.get().unreadCount === 1 && phone.get().unreadCount === 1, "he is told", inbox, phone);
        expect(inbox.get().notifications[0]).toMatchObject({ type: "lock_released", nodeId });

        const late = client(bob).inbox;
        await until(() => late.get().unreadCount === 1, "who comes later reads the list", late);
        const read = inbox.markAllRead();
        expect(inbox.get().unreadCount).toBe(0);
        await read;
        await until(() => phone.get().unreadCount === 0, "the phone knows", phone);
        expect(phone.get().notifications[0]?.readAt).toBeDefined();
        expect(inbox.get().unreadCount).toBe(0);
    });
});

describe("the channel of a node", () => {
    test("follows that node alone", async () => {
        const { bob, here, nodeId } = await two();
        const view = client(bob, {}, instance(1)).node(nodeId);
        await live(view);
        expect([...view.nodes.keys()]).toEqual([nodeId]);
        const other = here.createNode({ title: "Other" });
        await other.done;
        await here.updateNode(nodeId, { title: "Changed" });
        await here.updateNode(other.id, { title: "Not his business" });
        const ack = await here.updateNode(nodeId, { title: "Changed again" });
        await until(() => view.node(nodeId)?.title === "Changed again", "it follows", view);
        expect(view.seq).toBe(ack.seq);
        expect([...view.nodes.keys()]).toEqual([nodeId]);
    });
});

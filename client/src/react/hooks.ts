/** What components read. Each hook draws anew only when what it returns is another thing. */

import { useMemo } from "react";
import type {
    ChannelStatus,
    Dependency,
    DragPreview,
    Execution,
    Inbox,
    InboxStore,
    Link,
    Lock,
    LockHandle,
    LockState,
    Member,
    Node,
    PresentMember,
    PresentUser,
    ProjectStore,
    Trace,
    TraceStore,
} from "../index.js";
import { useClient, useOpen, useProject } from "./context.js";
import { useSelection } from "./selection.js";

const EMPTY: ReadonlyMap<string, never> = new Map<string, never>();
const JOINING: ChannelStatus = { state: "joining" };
const NO_TRACE: Trace = { execution: undefined, total: 0, events: [], closed: undefined };

/** Where the connection is. */
export function useConnection(): Link {
    return useSelection(useClient().link, (link) => link?.get() ?? { state: "idle" });
}

/** How the project's channel stands. */
export function useProjectStatus(): ChannelStatus {
    return useSelection(useProject(), (project) => project?.status.get() ?? JOINING);
}

/** Any part of the project, for example `useProjectSelection((project) => project.pendingCount)`. */
export function useProjectSelection<T>(
    select: (project: ProjectStore) => T,
    isEqual?: (a: T | undefined, b: T | undefined) => boolean,
): T | undefined {
    return useSelection(useProject(), (project) => project && select(project), isEqual);
}

/** One node. Nothing is asked of it when others change. */
export function useNode(nodeId: string): Node | undefined {
    return useSelection(useOneNode(nodeId), (one) => one?.project.node(nodeId));
}

/** All nodes, by id. */
export function useNodes(): ReadonlyMap<string, Node>;
/** A part of the nodes, for example their ids; give `isEqual` where each look makes a new object (`isSameList`). */
export function useNodes<T>(select: (nodes: ReadonlyMap<string, Node>) => T, isEqual?: (a: T, b: T) => boolean): T;
export function useNodes(
    select: (nodes: ReadonlyMap<string, Node>) => unknown = (nodes) => nodes,
    isEqual?: (a: unknown, b: unknown) => boolean,
): unknown {
    return useSelection(useProject(), (project) => select(project?.nodes ?? EMPTY), isEqual);
}

/** The edges whose ends are both there, by id. */
export function useDependencies(): ReadonlyMap<string, Dependency> {
    return useSelection(useProject(), (project) => project?.dependencies ?? EMPTY);
}

/** Who may see the project, by user id. */
export function useMembers(): ReadonlyMap<string, Member> {
    return useSelection(useProject(), (project) => project?.members ?? EMPTY);
}

/** The agents' runs that have not ended, by id. */
export function useExecutions(): ReadonlyMap<string, Execution> {
    return useSelection(useProject(), (project) => project?.executions ?? EMPTY);
}

/** All locks, by node id. */
export function useLocks(): ReadonlyMap<string, Lock> {
    return useSelection(useProject(), (project) => project?.locks ?? EMPTY);
}

/** Who holds a node's lock, and this client's own hold on it or place in the queue, with its state. */
export function useLock(nodeId: string): { lock?: Lock; own?: LockHandle; state?: LockState } {
    const one = useOneNode(nodeId);
    const lock = useSelection(one, (it) => it?.project.lockOn(nodeId));
    const own = useSelection(one, (it) => it?.project.ownLock(nodeId));
    const state = useSelection(own?.status, (status) => status?.get());
    return { ...(lock && { lock }), ...(own && { own }), ...(state && { state }) };
}

/** The other sessions, by session id. */
export function usePresence(): ReadonlyMap<string, PresentMember> {
    return useSelection(useProject()?.presence, (presence) => presence?.others.get() ?? EMPTY);
}

/** The other people, by user id. */
export function usePresentUsers(): ReadonlyMap<string, PresentUser> {
    return useSelection(useProject()?.presence, (presence) => presence?.users ?? EMPTY);
}

/** Where others drag nodes to, by node id. */
export function useDrags(): ReadonlyMap<string, DragPreview> {
    return useSelection(useProject()?.presence, (presence) => presence?.drags ?? EMPTY);
}

/** The user's notifications, and what marks them as read. */
export function useNotifications(): Inbox & Pick<InboxStore, "markRead" | "markAllRead"> {
    const { inbox } = useClient();
    const shown = useSelection(inbox, () => inbox.get());
    return { ...shown, markRead: (ids) => inbox.markRead(ids), markAllRead: () => inbox.markAllRead() };
}

/** The steps of an execution, live. */
export function useTrace(executionId: string): Trace {
    const trace = useOpen((client): TraceStore => client.trace(executionId), executionId);
    return useSelection(trace, (store) => store?.get() ?? NO_TRACE);
}

/** The project, as somebody sees it who looks at one node. */
function useOneNode(nodeId: string) {
    const project = useProject();
    return useMemo(
        () => project && { project, subscribe: (listener: () => void) => project.subscribeNode(nodeId, listener) },
        [project, nodeId],
    );
}

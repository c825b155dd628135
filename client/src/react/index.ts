/** React hooks for the GlassBox client. */
export { GlassBoxProvider, ProjectProvider, useClient, useProject } from "./context.js";
export {
    useConnection,
    useDependencies,
    useDrags,
    useExecutions,
    useLock,
    useLocks,
    useMembers,
    useNode,
    useNodes,
    useNotifications,
    usePresence,
    usePresentUsers,
    useProjectSelection,
    useProjectStatus,
    useTrace,
} from "./hooks.js";
export { isSameList, useSelection, type Watchable } from "./selection.js";

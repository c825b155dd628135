/** The client and the project that the components below work with. */
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import type { GlassBox, ProjectStore } from "../index.js";

const Client = createContext<GlassBox | undefined>(undefined);
const Project = createContext<ProjectStore | undefined>(undefined);

/** Gives the client to everything below. Whoever made the client connects and closes it. */
export function GlassBoxProvider({ client, children }: { client: GlassBox; children?: ReactNode }) {
    return <Client.Provider value={client}>{children}</Client.Provider>;
}

/** Opens a project for everything below, and leaves it when it goes. */
export function ProjectProvider({ projectId, children }: { projectId: string; children?: ReactNode }) {
    const project = useOpen((client) => client.project(projectId), projectId);
    return <Project.Provider value={project}>{children}</Project.Provider>;
}

/** The client. Throws outside of a `GlassBoxProvider`. */
export function useClient(): GlassBox {
    const client = useContext(Client);
    if (!client) throw new Error("there is no GlassBoxProvider above");
    return client;
}

/** The project, `undefined` while it is being opened. Give commands to it. */
export function useProject(): ProjectStore | undefined {
    return useContext(Project);
}

/** Opens something for as long as the component is there; another id is another thing. */
export function useOpen<T extends { close(): void }>(open: (client: GlassBox) => T, id: string): T | undefined {
    const client = useClient();
    const [opened, setOpened] = useState<{ id: string; store: T } | undefined>();
    // biome-ignore lint/correctness/useExhaustiveDependencies: what is opened follows from the client and the id
    useEffect(() => {
        const store = open(client);
        setOpened({ id, store });
        return () => client.release(store);
    }, [client, id]);
    return opened?.id === id ? opened.store : undefined;
}

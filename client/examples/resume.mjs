// Joins a project, edits it, loses its network, goes on editing and resumes: node examples/resume.mjs [server]
import { GlassBox } from "@glassbox/client";
import { WebSocket } from "ws"; // Node 20 has none of its own

const server = process.argv[2] ?? "http://127.0.0.1:8080";
const headers = { "content-type": "application/json" };
const call = async (path, body) => (await fetch(`${server}/api/v1${path}`, { headers, ...body })).json();
const ada = JSON.stringify({ userId: "dev-user-1", email: "dev-user-1@example.org" });
const { token } = await call("/auth/dev-token", { method: "POST", body: ada });
headers.authorization = `Bearer ${token}`;
const [org] = (await call("/orgs")).data;
const [{ id: projectId }] = (await call(`/orgs/${org.id}/projects`)).data;

const sockets = [];
const socket = (...args) => sockets[sockets.push(new WebSocket(...args)) - 1];
const client = new GlassBox({ url: `${server.replace("http", "ws")}/ws`, token: () => token, socket });
client.link.subscribe(() => console.log("link:", client.link.get().state));
client.connect();
const project = client.project(projectId);
await project.ready;
const note = project.createNode({ title: "Hello from Node", position: { x: 40, y: 40 } });
console.log(`joined with ${project.nodes.size} nodes; mine is seq ${(await note.done).seq}`);

sockets[0].terminate(); // the network is gone
const changed = project.updateNode(note.id, { title: "Edited without a network" });
console.log(`offline: "${project.node(note.id).title}", ${project.pendingCount} command waits`);
const { outcome, seq } = await changed;
console.log(`back again: ${outcome} as seq ${seq}, ${client.stats.resumes} resume, ${client.stats.resets} resets`);
await project.deleteNode(note.id);
client.close();

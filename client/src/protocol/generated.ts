// Generated from the server's wire types by scripts/generate.mjs: do not edit.

export type AnyFrame = ClientFrame | ServerMessage | EventFrame;
/**
 * A frame from a client, whole.
 */
export type ClientFrame =
    | HelloRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PresenceRequest
    | PingRequest
    | TokenRefreshRequest
    | NotificationsReadRequest
    | NodeCreateRequest
    | NodeUpdateRequest
    | NodeMoveRequest
    | NodeDeleteRequest
    | NodeRestoreRequest
    | NodeRollbackRequest
    | NodeInputAddRequest
    | NodeInputRemoveRequest
    | NodeOutputAddRequest
    | NodeOutputRemoveRequest
    | DependencyAddRequest
    | DependencyUpdateRequest
    | DependencyRemoveRequest
    | LockAcquireRequest
    | LockRenewRequest
    | LockReleaseRequest
    | LockBreakRequest
    | UndoRequest
    | RedoRequest;
/**
 * One browser tab or program; kept over reconnects.
 */
export type ClientId = string;
/**
 * One command of one client; unique per client.
 */
export type RequestId = string;
export type Channel = string;
/**
 * Where a subscription starts.
 */
export type From =
    | SnapshotWord
    | {
          epoch: Epoch;
          seq: Seq;
      };
/**
 * The word `"snapshot"`.
 */
export type SnapshotWord = "snapshot";
/**
 * One unbroken life of a project's log.
 */
export type Epoch = string;
/**
 * An event's number in its project: 1, 2, 3, ... without gaps. Stays below 2^53.
 */
export type Seq = number;
/**
 * A node: a unit of work on the canvas.
 */
export type NodeId = string;
/**
 * Marks notifications of the caller as read; answered by `ack` with the unread count in `result`.
 */
export type NotificationsRead =
    | {
          /**
           * At most 500; what is not the caller's is passed over.
           */
          ids: NotificationId[];
      }
    | {
          upTo: NotificationId;
      };
/**
 * A notification: something that a person reads.
 */
export type NotificationId = string;
/**
 * Who made a node.
 */
export type AuthorType = "human" | "agent";
/**
 * A project: the data whose open form is a room.
 */
export type ProjectId = string;
/**
 * A person or an agent with a row in `users`.
 */
export type UserId = string;
/**
 * A lock's token: grows with every acquisition and is checked by the write. Stays below 2^53.
 */
export type Fence = number;
/**
 * What an input is.
 */
export type InputType = "file" | "node_reference" | "external_link" | "text";
/**
 * What an output is.
 */
export type OutputType = "file" | "structured_data" | "text" | "external_link";
/**
 * A dependency: an edge from one node to another.
 */
export type DependencyId = string;
/**
 * Removes an edge, named by its id or by its ends.
 */
export type DependencyRemove =
    | {
          dependencyId: DependencyId;
      }
    | DependencyAdd;
/**
 * A frame from the server, whole.
 */
export type ServerMessage =
    | WelcomeMessage
    | SubscribedMessage
    | SnapshotMessage
    | ResetMessage
    | SyncedMessage
    | UnsubscribedMessage
    | HeadMessage
    | AckMessage
    | ErrorMessage
    | PongMessage
    | PresenceStateMessage
    | PresenceDiffMessage
    | MovingMessage
    | TokenExpiringMessage
    | TokenRefreshedMessage
    | TraceStateMessage;
/**
 * The server's side of one WebSocket.
 */
export type SessionId = string;
/**
 * One run of an agent on a node.
 */
export type ExecutionId = string;
/**
 * An organization: the tenant.
 */
export type OrgId = string;
/**
 * Why a position cannot be resumed.
 */
export type ResetReason = "below_floor" | "ahead_of_head" | "epoch_changed";
/**
 * Why the server ended a subscription.
 */
export type UnsubscribedReason = "revoked" | "deleted";
/**
 * What a command did.
 */
export type Outcome = "applied" | "unchanged" | "adjusted";
/**
 * Why a command or frame was not applied.
 */
export type ErrorCode =
    | "BAD_MESSAGE"
    | "UNKNOWN_TYPE"
    | "UNAUTHENTICATED"
    | "FORBIDDEN"
    | "NOT_FOUND"
    | "INVALID_CHANNEL"
    | "VALIDATION"
    | "VERSION_CONFLICT"
    | "LOCK_HELD"
    | "LOCK_LOST"
    | "GONE"
    | "CYCLE"
    | "IDEMPOTENCY_CONFLICT"
    | "RATE_LIMITED"
    | "TOO_LARGE"
    | "PROJECT_BUSY"
    | "UNAVAILABLE"
    | "INTERNAL";
/**
 * An event as it is sent.
 */
export type EventFrame =
    | NodeCreatedEvent
    | NodeUpdatedEvent
    | NodesMovedEvent
    | NodeDeletedEvent
    | NodeRestoredEvent
    | NodeInputAddedEvent
    | NodeInputRemovedEvent
    | NodeOutputAddedEvent
    | NodeOutputRemovedEvent
    | DependencyAddedEvent
    | DependencyRemovedEvent
    | LockAcquiredEvent
    | LockRenewedEvent
    | LockReleasedEvent
    | ExecutionUpdateEvent
    | TraceEventEvent
    | ExecutionClosedEvent
    | FileUpdateEvent
    | MemberAddedEvent
    | MemberUpdatedEvent
    | MemberRemovedEvent
    | ProjectUpdatedEvent
    | ProjectDeletedEvent
    | NotificationEvent
    | NotificationsReadEvent;
/**
 * Who did it; `null` in its place means a foreign SQL writer.
 */
export type Actor =
    | {
          id: UserId;
          kind: "user";
      }
    | {
          id: ExecutionId;
          kind: "execution";
      };
/**
 * Why a lock ended.
 */
export type ReleaseReason = "released" | "expired" | "broken" | "holder_removed" | "deleted";
/**
 * A file.
 */
export type FileId = string;

/**
 * The first frame: who is calling.
 */
export interface HelloRequest {
    payload: Hello;
    type: "hello";
    requestId?: RequestId;
}
/**
 * Opens the conversation; due within the hello deadline.
 */
export interface Hello {
    clientId: ClientId;
    protocol: ProtocolRange;
    /**
     * A JWT or a ticket.
     */
    token: string;
}
/**
 * A range of protocol versions, both ends included.
 */
export interface ProtocolRange {
    /**
     * The newest.
     */
    max: number;
    /**
     * The oldest.
     */
    min: number;
}
/**
 * Opens a channel.
 */
export interface SubscribeRequest {
    payload: Subscribe;
    type: "subscribe";
    requestId?: RequestId;
}
/**
 * Opens a channel.
 */
export interface Subscribe {
    channel: Channel;
    from?: From;
}
/**
 * Closes a channel.
 */
export interface UnsubscribeRequest {
    payload: Unsubscribe;
    type: "unsubscribe";
    requestId?: RequestId;
}
/**
 * Closes a channel.
 */
export interface Unsubscribe {
    channel: Channel;
}
/**
 * Where the caller is; latest value, never answered.
 */
export interface PresenceRequest {
    payload: Presence;
    type: "presence";
    requestId?: RequestId;
}
/**
 * What a member shows of itself. Every field is a latest value: absent leaves it, `null` clears it.
 */
export interface Presence {
    /**
     * What is done there: `viewing`, `editing`, `idle`.
     */
    action?: string | null;
    channel: Channel;
    /**
     * The pointer.
     */
    cursor?: Position | null;
    /**
     * Nodes under way; the durable move follows at the drop.
     */
    drag?: Move[] | null;
    /**
     * The node that is looked at or edited.
     */
    nodeId?: NodeId | null;
    /**
     * The selected nodes.
     */
    selection?: NodeId[] | null;
    /**
     * The visible part of the canvas.
     */
    viewport?: Viewport | null;
}
/**
 * A place on the canvas, in canvas units; both numbers are finite.
 */
export interface Position {
    /**
     * To the right.
     */
    x: number;
    /**
     * Downwards.
     */
    y: number;
}
/**
 * One node's new place.
 */
export interface Move {
    nodeId: NodeId;
    position: Position;
}
/**
 * The visible part of the canvas.
 */
export interface Viewport {
    /**
     * Left edge.
     */
    x: number;
    /**
     * Top edge.
     */
    y: number;
    /**
     * Magnification; 1 is natural size.
     */
    zoom: number;
}
/**
 * Asks for a `pong`.
 */
export interface PingRequest {
    type: "ping";
    requestId?: RequestId;
}
/**
 * Goes on with a new token, on the same socket.
 */
export interface TokenRefreshRequest {
    payload: TokenRefresh;
    type: "token_refresh";
    requestId?: RequestId;
}
/**
 * Goes on with a new token of the same user; answered by `token_refreshed`.
 */
export interface TokenRefresh {
    /**
     * A JWT or a ticket.
     */
    token: string;
}
/**
 * Marks notifications of the caller as read.
 */
export interface NotificationsReadRequest {
    payload: NotificationsRead;
    type: "notifications_read";
    requestId?: RequestId;
}
/**
 * Makes a node.
 */
export interface NodeCreateRequest {
    payload: NodeCreate;
    type: "node_create";
    requestId?: RequestId;
}
/**
 * Makes a node.
 */
export interface NodeCreate {
    authorType?: AuthorType;
    /**
     * Markdown.
     */
    description?: string;
    id?: NodeId;
    /**
     * Free-form, at most 64 KiB.
     */
    metadata?: {
        [k: string]: unknown;
    };
    parentId?: NodeId;
    position?: Position;
    projectId?: ProjectId;
    /**
     * 1 to 50 characters; absent: the project's default.
     */
    status?: string;
    supervisorUserId?: UserId;
    /**
     * 1 to 500 characters.
     */
    title: string;
}
/**
 * Changes fields of a node.
 */
export interface NodeUpdateRequest {
    payload: NodeUpdate;
    type: "node_update";
    requestId?: RequestId;
}
/**
 * Changes fields of a node, each on its own.
 */
export interface NodeUpdate {
    /**
     * The version that the changes were made on; a field that somebody else changed since is a conflict.
     */
    baseVersion?: number;
    changes: NodeChanges;
    fence?: Fence;
    nodeId: NodeId;
}
/**
 * New values of a node's fields: absent leaves a field, `null` clears it.
 */
export interface NodeChanges {
    /**
     * Markdown.
     */
    description?: string | null;
    /**
     * Replaces all metadata.
     */
    metadata?: {
        [k: string]: unknown;
    } | null;
    /**
     * The node that contains it.
     */
    parentId?: NodeId | null;
    /**
     * Where.
     */
    position?: Position | null;
    /**
     * 1 to 50 characters.
     */
    status?: string | null;
    /**
     * Who answers for an agent's node.
     */
    supervisorUserId?: UserId | null;
    /**
     * 1 to 500 characters.
     */
    title?: string | null;
}
/**
 * Moves nodes; one durable event.
 */
export interface NodeMoveRequest {
    payload: NodeMove;
    type: "node_move";
    requestId?: RequestId;
}
/**
 * Moves nodes of one project together.
 */
export interface NodeMove {
    /**
     * 1 to 500 moves, each node once.
     */
    moves: Move[];
}
/**
 * Deletes a node and what lies below it; can be undone by `node_restore`.
 */
export interface NodeDeleteRequest {
    payload: NodeRef;
    type: "node_delete";
    requestId?: RequestId;
}
/**
 * Names one node, with the proof of its lock where it is locked.
 */
export interface NodeRef {
    fence?: Fence;
    nodeId: NodeId;
}
/**
 * Brings a deleted node back, with what the same delete took.
 */
export interface NodeRestoreRequest {
    payload: NodeRef;
    type: "node_restore";
    requestId?: RequestId;
}
/**
 * Makes a new version of what a node was.
 */
export interface NodeRollbackRequest {
    payload: NodeRollback;
    type: "node_rollback";
    requestId?: RequestId;
}
/**
 * Makes a new version with the content that a node had in an earlier one; the place stays.
 */
export interface NodeRollback {
    fence?: Fence;
    nodeId: NodeId;
    /**
     * The version to go back to, 1 or more.
     */
    version: number;
}
/**
 * Says what a node needs.
 */
export interface NodeInputAddRequest {
    payload: NodeInputAdd;
    type: "node_input_add";
    requestId?: RequestId;
}
/**
 * Adds an input to a node, behind the others.
 */
export interface NodeInputAdd {
    /**
     * An `http` or `https` address.
     */
    externalUrl?: string;
    fence?: Fence;
    /**
     * A file of the organization.
     */
    fileId?: string;
    /**
     * A client-made id; absent: the server makes one.
     */
    id?: string;
    inputType: InputType;
    /**
     * At most 255 characters.
     */
    label?: string;
    /**
     * Free-form, at most 64 KiB.
     */
    metadata?: {
        [k: string]: unknown;
    };
    nodeId: NodeId;
    sourceNodeId?: NodeId;
    /**
     * The version of that node which is meant; absent: the newest.
     */
    sourceNodeVersion?: number;
    /**
     * A text.
     */
    textContent?: string;
}
/**
 * Takes back what a node needs.
 */
export interface NodeInputRemoveRequest {
    payload: NodeInputRemove;
    type: "node_input_remove";
    requestId?: RequestId;
}
/**
 * Removes an input of a node.
 */
export interface NodeInputRemove {
    fence?: Fence;
    /**
     * The input.
     */
    inputId: string;
    nodeId: NodeId;
}
/**
 * Says what a node made.
 */
export interface NodeOutputAddRequest {
    payload: NodeOutputAdd;
    type: "node_output_add";
    requestId?: RequestId;
}
/**
 * Adds an output to a node, behind the others.
 */
export interface NodeOutputAdd {
    /**
     * An `http` or `https` address.
     */
    externalUrl?: string;
    fence?: Fence;
    /**
     * A file of the organization.
     */
    fileId?: string;
    /**
     * A client-made id; absent: the server makes one.
     */
    id?: string;
    /**
     * At most 255 characters.
     */
    label?: string;
    /**
     * Free-form, at most 64 KiB.
     */
    metadata?: {
        [k: string]: unknown;
    };
    nodeId: NodeId;
    outputType: OutputType;
    /**
     * An object.
     */
    structuredData?: {
        [k: string]: unknown;
    };
    /**
     * A text.
     */
    textContent?: string;
}
/**
 * Takes back what a node made.
 */
export interface NodeOutputRemoveRequest {
    payload: NodeOutputRemove;
    type: "node_output_remove";
    requestId?: RequestId;
}
/**
 * Removes an output of a node.
 */
export interface NodeOutputRemove {
    fence?: Fence;
    nodeId: NodeId;
    /**
     * The output.
     */
    outputId: string;
}
/**
 * Adds an edge.
 */
export interface DependencyAddRequest {
    payload: DependencyAdd;
    type: "dependency_add";
    requestId?: RequestId;
}
/**
 * Adds an edge; an equal one is left as it is.
 */
export interface DependencyAdd {
    sourceNodeId: NodeId;
    /**
     * The output that is meant.
     */
    sourceOutputId?: string;
    /**
     * The input that is fed.
     */
    targetInputId?: string;
    targetNodeId: NodeId;
}
/**
 * Changes which output and input an edge means.
 */
export interface DependencyUpdateRequest {
    payload: DependencyUpdate;
    type: "dependency_update";
    requestId?: RequestId;
}
/**
 * Changes an edge between the same two nodes: absent leaves a field, `null` clears it.
 */
export interface DependencyUpdate {
    dependencyId: DependencyId;
    /**
     * The output that is meant.
     */
    sourceOutputId?: string | null;
    /**
     * The input that is fed.
     */
    targetInputId?: string | null;
}
/**
 * Removes an edge.
 */
export interface DependencyRemoveRequest {
    payload: DependencyRemove;
    type: "dependency_remove";
    requestId?: RequestId;
}
/**
 * Takes a node's lock.
 */
export interface LockAcquireRequest {
    payload: LockAcquire;
    type: "lock_acquire";
    requestId?: RequestId;
}
/**
 * Takes a node's lock.
 */
export interface LockAcquire {
    nodeId: NodeId;
    /**
     * How long the lease lasts: 2 000 to 600 000 ms; absent: 30 000.
     */
    ttlMs?: number;
    /**
     * Queue up if somebody else holds it; `lock_acquired` tells when it is the caller's turn.
     */
    wait?: boolean;
}
/**
 * Extends a lease.
 */
export interface LockRenewRequest {
    payload: LockRenew;
    type: "lock_renew";
    requestId?: RequestId;
}
/**
 * Extends a lease.
 */
export interface LockRenew {
    fence?: Fence;
    nodeId: NodeId;
    /**
     * How long from now; absent: as long as at the start.
     */
    ttlMs?: number;
}
/**
 * Gives a lock back.
 */
export interface LockReleaseRequest {
    payload: LockRelease;
    type: "lock_release";
    requestId?: RequestId;
}
/**
 * Gives a lock back, or leaves its queue.
 */
export interface LockRelease {
    fence?: Fence;
    nodeId: NodeId;
}
/**
 * Ends somebody else's lock; audited, and its holder is told.
 */
export interface LockBreakRequest {
    payload: LockBreak;
    type: "lock_break";
    requestId?: RequestId;
}
/**
 * Ends somebody else's lock.
 */
export interface LockBreak {
    nodeId: NodeId;
    /**
     * Why, for the audit trail; at most 500 characters.
     */
    reason?: string;
}
/**
 * Takes back the caller's own last command in a project.
 */
export interface UndoRequest {
    payload: Undo;
    type: "undo";
    requestId?: RequestId;
}
/**
 * Takes back the caller's own last command that is not taken back yet, as a command of its own that expects what the
 * caller left: what somebody else changed since is a conflict.
 */
export interface Undo {
    channel: Channel;
}
/**
 * Does again what the caller took back last.
 */
export interface RedoRequest {
    payload: Redo;
    type: "redo";
    requestId?: RequestId;
}
/**
 * Does again what the caller took back last; a new command of the caller ends the chance.
 */
export interface Redo {
    channel: Channel;
}
/**
 * Answers `hello`.
 */
export interface WelcomeMessage {
    payload: Welcome;
    type: "welcome";
    requestId?: RequestId;
}
/**
 * Answers `hello`.
 */
export interface Welcome {
    /**
     * How often the server pings, ms.
     */
    heartbeatMs: number;
    limits: Limits;
    protocol: ProtocolRange;
    /**
     * The server's clock, RFC 3339.
     */
    serverTime: string;
    sessionId: SessionId;
    user: User;
}
/**
 * What a session may do.
 */
export interface Limits {
    /**
     * Most open channels.
     */
    channels: number;
    /**
     * Commands in a burst.
     */
    commandsBurst: number;
    /**
     * Commands per second, sustained.
     */
    commandsPerSecond: number;
    /**
     * Largest inbound frame, bytes.
     */
    frameBytes: number;
    /**
     * Bytes that may wait for this client.
     */
    outboundBytes: number;
    /**
     * Presence frames per second.
     */
    presencePerSecond: number;
    resumeWindow: ResumeWindow;
}
/**
 * How far back a resume reaches: at least both.
 */
export interface ResumeWindow {
    /**
     * Events.
     */
    events: number;
    /**
     * Time, hours.
     */
    hours: number;
}
/**
 * A person or agent.
 */
export interface User {
    /**
     * Where to write to them; left out where others look.
     */
    email?: string;
    id: UserId;
    /**
     * How to call them.
     */
    name?: string;
}
/**
 * A channel is open; nothing of it came before.
 */
export interface SubscribedMessage {
    payload: Subscribed;
    type: "subscribed";
    requestId?: RequestId;
}
/**
 * A channel is open.
 */
export interface Subscribed {
    channel: Channel;
    epoch: Epoch;
    /**
     * Stands in every later frame of this subscription.
     */
    generation: number;
    head: Seq;
    /**
     * The caller's effective role: `admin`, `member` or `viewer`.
     */
    role: string;
}
/**
 * One part of the whole state.
 */
export interface SnapshotMessage {
    payload: Snapshot;
    type: "snapshot";
    requestId?: RequestId;
}
/**
 * One part of the whole state at `seq`. All parts together are one moment.
 */
export interface Snapshot {
    channel: Channel;
    /**
     * Edges.
     */
    dependencies: Dependency[];
    /**
     * Executions that have not ended.
     */
    executions: Execution[];
    /**
     * The subscription.
     */
    generation: number;
    /**
     * Locks whose lease runs.
     */
    locks: Lock[];
    /**
     * Who may see the project.
     */
    members: Member[];
    /**
     * Nodes that are not deleted.
     */
    nodes: Node[];
    /**
     * 1, 2, 3, ...
     */
    part: number;
    /**
     * How many parts there are.
     */
    parts: number;
    seq: Seq;
}
/**
 * An edge: the target needs what the source makes.
 */
export interface Dependency {
    /**
     * RFC 3339, UTC.
     */
    createdAt: string;
    id: DependencyId;
    sourceNodeId: NodeId;
    /**
     * The output that is meant.
     */
    sourceOutputId?: string;
    /**
     * The input that is fed.
     */
    targetInputId?: string;
    targetNodeId: NodeId;
}
/**
 * An agent's run that has not ended.
 */
export interface Execution {
    id: ExecutionId;
    /**
     * The model, if it is known.
     */
    modelId?: string;
    nodeId: NodeId;
    /**
     * `pending`, `running`, `paused` or `awaiting_input`.
     */
    status: string;
    /**
     * Tokens read so far.
     */
    totalTokensIn: number;
    /**
     * Tokens written so far.
     */
    totalTokensOut: number;
}
/**
 * A lock whose lease runs.
 */
export interface Lock {
    /**
     * When it ends by itself.
     */
    expiresAt: string;
    /**
     * How long that is from now, by the database's clock.
     */
    expiresInMs: number;
    /**
     * When it was taken.
     */
    lockedAt: string;
    lockedBy: UserId;
    nodeId: NodeId;
}
/**
 * Somebody with access to a project.
 */
export interface Member {
    /**
     * How to call them.
     */
    name?: string;
    /**
     * The effective project role.
     */
    role: string;
    userId: UserId;
}
/**
 * A unit of work on the canvas. Absent fields are empty.
 */
export interface Node {
    /**
     * `human` or `agent`; passed on as stored.
     */
    authorType: string;
    authorUserId?: UserId;
    /**
     * RFC 3339, UTC.
     */
    createdAt: string;
    /**
     * When it was deleted.
     */
    deletedAt?: string;
    /**
     * Markdown.
     */
    description?: string;
    id: NodeId;
    /**
     * What it needs; items as in the REST contract.
     */
    inputs?: unknown[];
    /**
     * When the lock's lease ends.
     */
    lockExpiresAt?: string;
    /**
     * When the lock was taken.
     */
    lockedAt?: string;
    lockedBy?: UserId;
    /**
     * Free-form, at most 64 KiB.
     */
    metadata?: {
        [k: string]: unknown;
    };
    orgId: OrgId;
    /**
     * What it made; items as in the REST contract.
     */
    outputs?: unknown[];
    parentId?: NodeId;
    position: Position;
    projectId: ProjectId;
    /**
     * A workflow state, 1 to 50 characters.
     */
    status: string;
    supervisorUserId?: UserId;
    /**
     * 1 to 500 characters.
     */
    title: string;
    /**
     * RFC 3339, UTC; moves with every write of the row and so orders nothing.
     */
    updatedAt: string;
    /**
     * Grows by one with every change of title, description, status or metadata.
     */
    version: number;
}
/**
 * The position cannot be resumed; a snapshot follows.
 */
export interface ResetMessage {
    payload: Reset;
    type: "reset";
    requestId?: RequestId;
}
/**
 * The position cannot be resumed.
 */
export interface Reset {
    channel: Channel;
    epoch: Epoch;
    /**
     * The subscription.
     */
    generation: number;
    head: Seq;
    reason: ResetReason;
}
/**
 * State and missed events are complete; what follows is live.
 */
export interface SyncedMessage {
    payload: Synced;
    type: "synced";
    requestId?: RequestId;
}
/**
 * What follows is live.
 */
export interface Synced {
    channel: Channel;
    /**
     * The subscription.
     */
    generation: number;
    seq: Seq;
}
/**
 * A channel is closed.
 */
export interface UnsubscribedMessage {
    payload: Unsubscribed;
    type: "unsubscribed";
    requestId?: RequestId;
}
/**
 * A channel is closed.
 */
export interface Unsubscribed {
    channel: Channel;
    reason?: UnsubscribedReason;
}
/**
 * The newest committed position, on a channel that was silent.
 */
export interface HeadMessage {
    payload: Head;
    type: "head";
    requestId?: RequestId;
}
/**
 * The newest committed position.
 */
export interface Head {
    channel: Channel;
    epoch: Epoch;
    /**
     * The subscription.
     */
    generation: number;
    seq: Seq;
}
/**
 * A command was committed.
 */
export interface AckMessage {
    payload: Ack;
    type: "ack";
    requestId?: RequestId;
}
/**
 * A command was committed.
 */
export interface Ack {
    /**
     * Warnings, by name.
     */
    details?: {
        [k: string]: unknown;
    };
    /**
     * This is the answer to an earlier sending of the same command.
     */
    duplicate?: boolean;
    outcome: Outcome;
    /**
     * What was made or stored, by command.
     */
    result?: {
        [k: string]: unknown;
    };
    seq: Seq;
    /**
     * The node's version afterwards.
     */
    version?: number;
}
/**
 * A frame was not applied.
 */
export interface ErrorMessage {
    payload: ErrorPayload;
    type: "error";
    requestId?: RequestId;
}
/**
 * The payload of an `error` frame: the command was not applied.
 */
export interface ErrorPayload {
    code: ErrorCode;
    /**
     * More about it, by code.
     */
    details?: {
        [k: string]: unknown;
    };
    /**
     * What went wrong, for people.
     */
    message: string;
    /**
     * Whether the same command may succeed later.
     */
    temporary: boolean;
}
/**
 * Answers `ping`.
 */
export interface PongMessage {
    payload: Pong;
    type: "pong";
    requestId?: RequestId;
}
/**
 * Answers `ping`.
 */
export interface Pong {
    /**
     * The server's clock, RFC 3339.
     */
    serverTime: string;
}
/**
 * Everybody who is here, once after a subscribe.
 */
export interface PresenceStateMessage {
    payload: PresenceState;
    type: "presence_state";
    requestId?: RequestId;
}
/**
 * Everybody who is here.
 */
export interface PresenceState {
    channel: Channel;
    /**
     * The subscription.
     */
    generation: number;
    /**
     * All sessions on all instances, the caller's own included.
     */
    members: PresentMember[];
}
/**
 * A session as its room shows it.
 */
export interface PresentMember {
    /**
     * What is done there: `viewing`, `editing`, `idle`.
     */
    action?: string | null;
    /**
     * The pointer.
     */
    cursor?: Position | null;
    /**
     * Nodes under way; the durable move follows at the drop.
     */
    drag?: Move[] | null;
    /**
     * The node that is looked at or edited.
     */
    nodeId?: NodeId | null;
    /**
     * The selected nodes.
     */
    selection?: NodeId[] | null;
    sessionId: SessionId;
    user: User;
    /**
     * The visible part of the canvas.
     */
    viewport?: Viewport | null;
}
/**
 * What changed about who is here.
 */
export interface PresenceDiffMessage {
    payload: PresenceDiff;
    type: "presence_diff";
    requestId?: RequestId;
}
/**
 * What changed since the last frame.
 */
export interface PresenceDiff {
    channel: Channel;
    /**
     * The subscription.
     */
    generation: number;
    /**
     * Sessions that came.
     */
    joins?: PresentMember[];
    /**
     * Sessions that went.
     */
    leaves?: SessionId[];
    /**
     * Sessions that changed.
     */
    updates?: PresenceUpdate[];
}
/**
 * What one session changed about itself.
 */
export interface PresenceUpdate {
    /**
     * What is done there: `viewing`, `editing`, `idle`.
     */
    action?: string | null;
    /**
     * The pointer.
     */
    cursor?: Position | null;
    /**
     * Nodes under way; the durable move follows at the drop.
     */
    drag?: Move[] | null;
    /**
     * The node that is looked at or edited.
     */
    nodeId?: NodeId | null;
    /**
     * The selected nodes.
     */
    selection?: NodeId[] | null;
    sessionId: SessionId;
    /**
     * The visible part of the canvas.
     */
    viewport?: Viewport | null;
}
/**
 * This instance drains: reconnect after the delay.
 */
export interface MovingMessage {
    payload: Moving;
    type: "moving";
    requestId?: RequestId;
}
/**
 * This instance drains.
 */
export interface Moving {
    /**
     * When to reconnect, from now.
     */
    retryAfterMs: number;
}
/**
 * The token ends soon.
 */
export interface TokenExpiringMessage {
    payload: TokenExpiring;
    type: "token_expiring";
    requestId?: RequestId;
}
/**
 * The token ends soon.
 */
export interface TokenExpiring {
    /**
     * How long it lasts from now.
     */
    inMs: number;
}
/**
 * Answers `token_refresh`.
 */
export interface TokenRefreshedMessage {
    payload: TokenRefreshed;
    type: "token_refreshed";
    requestId?: RequestId;
}
/**
 * The session lives as long as the new token.
 */
export interface TokenRefreshed {
    /**
     * How long that is, ms.
     */
    expiresInMs: number;
}
/**
 * What an execution has done so far, for a late viewer.
 */
export interface TraceStateMessage {
    payload: TraceState;
    type: "trace_state";
    requestId?: RequestId;
}
/**
 * An execution as of one position of its trace: the summary and the newest events. What follows is live.
 */
export interface TraceState {
    channel: Channel;
    /**
     * The newest of them, in the order of `n`; the older ones are in the REST list.
     */
    events: TraceEvent[];
    execution: Execution;
    /**
     * The subscription.
     */
    generation: number;
    seq: Seq;
    /**
     * How many trace events there are.
     */
    total: number;
}
/**
 * One step of an execution.
 */
export interface TraceEvent {
    /**
     * How long it took, ms.
     */
    durationMs?: number;
    /**
     * What is known of it.
     */
    eventData: {
        [k: string]: unknown;
    };
    /**
     * What kind of step: `llm_call`, `tool_call`, ...; an open list.
     */
    eventType: string;
    executionId: ExecutionId;
    /**
     * Its id.
     */
    id: string;
    /**
     * It came after the run had ended.
     */
    late?: boolean;
    /**
     * The model that was called.
     */
    model?: string;
    /**
     * 1, 2, 3, ... within the run.
     */
    n: number;
    /**
     * The table's column; no order.
     */
    sequenceNumber: number;
    /**
     * When it happened by its writer's clock, RFC 3339; orders nothing.
     */
    timestamp: string;
    /**
     * Tokens read.
     */
    tokensIn?: number;
    /**
     * Tokens written.
     */
    tokensOut?: number;
}
/**
 * A node is there.
 */
export interface NodeCreatedEvent {
    payload: {
        node: Node;
        nodeId: NodeId;
    };
    type: "node_created";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Fields of a node changed.
 */
export interface NodeUpdatedEvent {
    payload: {
        changes: NodeChanges;
        /**
         * The writer did not hold the lock that somebody else holds.
         */
        lockOverridden?: boolean;
        nodeId: NodeId;
        /**
         * The version afterwards.
         */
        version: number;
    };
    type: "node_updated";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Nodes are elsewhere.
 */
export interface NodesMovedEvent {
    payload: {
        /**
         * Their new places.
         */
        moves: Move[];
    };
    type: "nodes_moved";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A node is gone from the canvas.
 */
export interface NodeDeletedEvent {
    payload: {
        nodeId: NodeId;
    };
    type: "node_deleted";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A deleted node is back.
 */
export interface NodeRestoredEvent {
    payload: {
        node: Node;
        nodeId: NodeId;
    };
    type: "node_restored";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A node needs something more.
 */
export interface NodeInputAddedEvent {
    payload: {
        /**
         * The input, as in the REST contract.
         */
        input: {
            [k: string]: unknown;
        };
        nodeId: NodeId;
    };
    type: "node_input_added";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A node needs something no longer.
 */
export interface NodeInputRemovedEvent {
    payload: {
        /**
         * The input.
         */
        inputId: string;
        nodeId: NodeId;
    };
    type: "node_input_removed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A node made something.
 */
export interface NodeOutputAddedEvent {
    payload: {
        nodeId: NodeId;
        /**
         * The output, as in the REST contract.
         */
        output: {
            [k: string]: unknown;
        };
    };
    type: "node_output_added";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * An output is gone.
 */
export interface NodeOutputRemovedEvent {
    payload: {
        nodeId: NodeId;
        /**
         * The output.
         */
        outputId: string;
    };
    type: "node_output_removed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * An edge is there.
 */
export interface DependencyAddedEvent {
    payload: {
        dependency: Dependency;
    };
    type: "dependency_added";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * An edge is gone.
 */
export interface DependencyRemovedEvent {
    payload: {
        dependencyId: DependencyId;
        sourceNodeId: NodeId;
        targetNodeId: NodeId;
    };
    type: "dependency_removed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A lock was taken.
 */
export interface LockAcquiredEvent {
    payload: {
        /**
         * When it ends by itself.
         */
        expiresAt: string;
        /**
         * How long that is from when the event was written.
         */
        expiresInMs: number;
        fence?: Fence;
        /**
         * When it was taken.
         */
        lockedAt: string;
        lockedBy: UserId;
        nodeId: NodeId;
    };
    type: "lock_acquired";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A lease was extended.
 */
export interface LockRenewedEvent {
    payload: {
        /**
         * When it ends by itself.
         */
        expiresAt: string;
        /**
         * How long that is from when the event was written.
         */
        expiresInMs: number;
        lockedBy: UserId;
        nodeId: NodeId;
    };
    type: "lock_renewed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A lock ended.
 */
export interface LockReleasedEvent {
    payload: {
        lockedBy: UserId;
        nodeId: NodeId;
        reason: ReleaseReason;
    };
    type: "lock_released";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * An agent's run changed its state or its totals.
 */
export interface ExecutionUpdateEvent {
    payload: {
        /**
         * Why it failed.
         */
        errorMessage?: string;
        executionId: ExecutionId;
        nodeId: NodeId;
        /**
         * Its state.
         */
        status: string;
        /**
         * Tokens read so far.
         */
        totalTokensIn: number;
        /**
         * Tokens written so far.
         */
        totalTokensOut: number;
    };
    type: "execution_update";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A step of an execution; on its channel.
 */
export interface TraceEventEvent {
    payload: TraceEvent;
    type: "trace_event";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * An execution has ended; the last event of its channel, unless it is taken up again.
 */
export interface ExecutionClosedEvent {
    payload: {
        executionId: ExecutionId;
        /**
         * How it ended: `complete`, `failed` or `cancelled`.
         */
        status: string;
    };
    type: "execution_closed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * A file is being processed, or was.
 */
export interface FileUpdateEvent {
    payload: {
        fileId: FileId;
        /**
         * Its name.
         */
        filename: string;
        /**
         * The nodes of this project whose inputs or outputs refer to it.
         */
        nodeIds: NodeId[];
        /**
         * Why it failed.
         */
        processingError?: string;
        /**
         * `pending`, `processing`, `complete` or `failed`.
         */
        processingStatus: string;
    };
    type: "file_update";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Somebody got access.
 */
export interface MemberAddedEvent {
    payload: {
        /**
         * The project role.
         */
        role: string;
        userId: UserId;
    };
    type: "member_added";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Somebody's role changed.
 */
export interface MemberUpdatedEvent {
    payload: {
        /**
         * The new project role.
         */
        role: string;
        userId: UserId;
    };
    type: "member_updated";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Somebody lost their row.
 */
export interface MemberRemovedEvent {
    payload: {
        userId: UserId;
    };
    type: "member_removed";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * The project itself changed.
 */
export interface ProjectUpdatedEvent {
    payload: {
        /**
         * The new values of what changed.
         */
        changes: {
            [k: string]: unknown;
        };
    };
    type: "project_updated";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * The project is gone; the last event of its log.
 */
export interface ProjectDeletedEvent {
    payload: {};
    type: "project_deleted";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * The user has something new to read; on the channel `user`.
 */
export interface NotificationEvent {
    payload: {
        notification: Notification;
        /**
         * How many of the user's notifications are unread now.
         */
        unreadCount: number;
    };
    type: "notification";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}
/**
 * Something that a person reads.
 */
export interface Notification {
    /**
     * More about it: a question, an error.
     */
    body?: string;
    /**
     * RFC 3339, UTC.
     */
    createdAt: string;
    id: NotificationId;
    nodeId?: NodeId;
    orgId: OrgId;
    projectId?: ProjectId;
    /**
     * When it was first read; RFC 3339, UTC.
     */
    readAt?: string;
    /**
     * Which.
     */
    resourceId?: string;
    /**
     * What kind of thing it is about: `node`.
     */
    resourceType?: string;
    /**
     * At most 255 characters.
     */
    title: string;
    /**
     * `execution_complete`, `execution_failed`, `human_input_needed`, `mention`, `node_assigned` or `lock_released`;
     * an open list.
     */
    type: string;
    userId: UserId;
}
/**
 * The user has read something, in this session or another; on the channel `user`.
 */
export interface NotificationsReadEvent {
    payload: {
        /**
         * Which of the notifications, at most 500; more of them make several events.
         */
        ids: NotificationId[];
        /**
         * How many of the user's notifications are unread now.
         */
        unreadCount: number;
    };
    type: "notifications_read";
    /**
     * When it was written, RFC 3339; orders nothing.
     */
    at: string;
    /**
     * Who did it; `null` for a foreign SQL writer.
     */
    by?: Actor | null;
    channel: Channel;
    /**
     * The subscription; absent in the REST feed and on the channel `user`.
     */
    generation?: number;
    requestId?: RequestId;
    seq: Seq;
    /**
     * The last event of its transaction; clients apply the frames up to here together.
     */
    txEnd?: boolean;
}

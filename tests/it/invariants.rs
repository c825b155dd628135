//! The invariants of the design where no other test fails when one of them is broken on purpose; docs/invariants.md
//! says which test stands for which.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use glassbox_protocol::client::{
    From, LockAcquire, NodeChanges, NodeUpdate, Presence, PresenceFields, SnapshotWord, Subscribe, Unsubscribe,
};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{
    Channel, ClientId, ClientMessage, Command, ErrorCode, Fence, NodeId, ProjectId, RequestId, UserId,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use url::Url;

use crate::rooms::{create, retitle, update};
use crate::support::client::Client;
use crate::support::database::TestDatabase;
use crate::support::mirror::{Start, read_log};
use crate::support::proxy::{Proxy, Weather};
use crate::support::world::{Builder, Person, World};
use crate::support::{DEADLINE, wait_until};

// Signals carry no truth -------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_writer_that_rings_no_bell_is_live_within_two_seconds_on_both_instances() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let clients = [world.client(0, &ann).await, world.client(1, &ann).await];
    for client in &clients {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    clients[0].command(create(node, "node")).await.expect("create");
    for title in ["first", "second"] {
        let silent = format!(
            "begin; set local realtime.doorbell = 'off'; \
             update nodes set title = '{title}' where id = '{node}'; commit"
        );
        world.sql(&silent).await;
        let written_at = Instant::now();
        for client in &clients {
            expect_title(client, project, node, title).await;
        }
        assert!(written_at.elapsed() < Duration::from_secs(2), "{title}: {:?}", written_at.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_half_dead_is_replaced_and_nothing_is_missed() {
    let (proxy, world) = behind_a_proxy(World::builder().instances(2), 1).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (here, there) = (world.client(0, &ann).await, world.client(1, &ann).await);
    for client in [&here, &there] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    here.command(create(node, "node")).await.expect("create");

    let superuser = world.database.superuser();
    let (pid, connection) = listener_behind(&superuser, &proxy).await;
    proxy.set(connection, Weather::Stalled);
    let mut titles = 0;
    wait_until("another listener", Duration::from_secs(12), async || {
        titles += 1;
        here.command(retitle(node, &titles.to_string())).await.expect("update");
        expect_title(&there, project, node, &titles.to_string()).await;
        listeners(&superuser).await.into_iter().any(|(other, port)| other != pid && proxy.connection(port).is_some())
    })
    .await;
    assert!(titles > 3, "nobody was deaf for a while");

    // Presence has no other way than the signals.
    let mut x = 0.0;
    let since = there.position();
    wait_until("a cursor from the other instance", Duration::from_secs(8), async || {
        x += 1.0;
        here.present(Presence { channel: Channel::Project(project), state: at(x) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        there.frames_since(since).iter().any(|f| shows(f, &here.welcome.session_id.to_string()))
    })
    .await;
    there.assert_sound();
}

// Acknowledged means committed -------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_connections_are_all_half_dead_is_live_again_within_seconds() {
    let (proxy, world) = behind_a_proxy(World::builder().instances(2), 1).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (here, there) = (world.client(0, &ann).await, world.client(1, &ann).await);
    for client in [&here, &there] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    here.command(create(node, "node")).await.expect("create");
    // New connections are fair; those that are open never say anything again.
    for connection in proxy.connections() {
        proxy.set(connection, Weather::Stalled);
    }
    here.command(retitle(node, "heard")).await.expect("update");
    expect_title(&there, project, node, "heard").await;
    there.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_or_shown_before_its_commit() {
    let stage = Stage::new(World::builder()).await;
    let superuser = stage.world.database.superuser();
    for is_answered in [true, false] {
        let mut holder = superuser.begin().await.expect("begin");
        sqlx::query("select pg_advisory_xact_lock(7)").execute(&mut *holder).await.expect("hold commits");
        let (node, request) = (NodeId::random(), RequestId::random());
        let since = stage.watcher.position();
        stage.writer.send(ClientMessage::Command(create(node, "held")), Some(request));
        wait_until("a commit that is held", DEADLINE, async || waits_at_commit(&superuser).await).await;
        stage.pass_by_another_room().await;
        assert_eq!(stage.writer.answers(request), [], "acknowledged before the commit");
        assert!(!stage.is_shown(since, node), "shown before the commit");
        if is_answered {
            holder.rollback().await.expect("let go");
        } else {
            // PostgreSQL commits, and the reply is lost: the outcome is unknown, which is no failure, not even when
            // PostgreSQL is out of reach for longer than a command usually waits.
            stage.proxy.refuse(true);
            stage.proxy.cut_all();
            holder.rollback().await.expect("let go");
            wait_until("the commit", DEADLINE, async || count_of(&superuser, stage.project, request).await == 1).await;
            tokio::time::sleep(Duration::from_millis(4_500)).await;
            assert_eq!(stage.writer.answers(request), [], "answered without knowing");
            stage.proxy.refuse(false);
        }
        wait_until("the answer", DEADLINE, async || !stage.writer.answers(request).is_empty()).await;
        let ack = stage.writer.answers(request).remove(0).expect("committed");
        assert_eq!(count_of(&superuser, stage.project, request).await, 1);
        stage.watcher.wait_mirror("the event", stage.project, |m| (m.seq >= ack.seq).then_some(())).await;
        assert!(stage.is_shown(since, node));
    }
    stage.writer.assert_sound();
    stage.watcher.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_is_neither_acknowledged_nor_shown() {
    let stage = Stage::new(World::builder()).await;
    let superuser = stage.world.database.superuser();
    let (node, request) = (NodeId::random(), RequestId::random());
    let since = stage.watcher.position();
    stage.writer.send(ClientMessage::Command(create(node, "refused")), Some(request));
    wait_until("a commit that is refused", DEADLINE, async || {
        sqlx::query_scalar::<_, bool>("select is_called from refusals").fetch_one(&superuser).await.expect("refusals")
    })
    .await;
    stage.pass_by_another_room().await;
    let is_acknowledged = stage.writer.answers(request).iter().any(Result::is_ok);
    assert!(!is_acknowledged, "acknowledged without a commit");
    assert!(!stage.is_shown(since, node), "shown without a commit");
    assert_eq!(count_of(&superuser, stage.project, request).await, 0);

    // The same command takes effect once it can.
    stage.world.sql("truncate refusing").await;
    let _ = stage.writer.command_as(request, create(node, "refused")).await.expect("an answer");
    wait_until("its effect", DEADLINE, async || stage.writer.answers(request).iter().any(Result::is_ok)).await;
    assert_eq!(count_of(&superuser, stage.project, request).await, 1);
}

/// Two clients of one project, on an instance behind a proxy, and a database that holds the commit of nodes called
/// `held` for as long as somebody has the advisory lock 7, and refuses that of nodes called `refused`.
struct Stage {
    world: World,
    proxy: Proxy,
    project: ProjectId,
    other: ProjectId,
    writer: Client,
    watcher: Client,
}

impl Stage {
    async fn new(builder: Builder) -> Self {
        let (proxy, world) = behind_a_proxy(builder, 0).await;
        world
            .sql(
                "create table refusing as select 1; create sequence refusals;
                create function at_commit() returns trigger language plpgsql security definer as $$
                begin
                    if new.title = 'held' then
                        perform pg_advisory_xact_lock(7);
                    elsif new.title = 'refused' and exists (select from refusing) then
                        perform nextval('refusals');
                        raise 'refused' using errcode = 'check_violation';
                    end if;
                    return null;
                end $$;
                create constraint trigger at_commit after insert on nodes deferrable initially deferred
                    for each row execute function at_commit()",
            )
            .await;
        let ann = world.user("ann").await;
        let (project, other) = (world.project(&ann).await, world.project(&ann).await);
        let (writer, watcher) = (world.client(0, &ann).await, world.client(0, &ann).await);
        // Commands that name no project go where the only subscription is.
        for (client, project) in [(&writer, project), (&watcher, project), (&watcher, other)] {
            client.subscribe(project, Start::Snapshot).await.expect("subscribe");
        }
        Self { world, proxy, project, other, writer, watcher }
    }

    /// Sends something all the way through another room: whatever was on its way before has arrived by then.
    async fn pass_by_another_room(&self) {
        let node = NodeId::random();
        let insert = format!(
            "insert into nodes (id, org_id, project_id, title, author_type)
             select '{node}', org_id, id, 'by', 'human' from projects where id = '{}'",
            self.other
        );
        self.world.sql(&insert).await;
        self.watcher.wait_mirror("a node in another room", self.other, |m| m.node(node).map(|_| ())).await;
    }

    fn is_shown(&self, since: usize, node: NodeId) -> bool {
        self.watcher.frames_since(since).iter().any(|frame| frame.to_string().contains(&node.to_string()))
    }
}

pub async fn waits_at_commit(superuser: &PgPool) -> bool {
    sqlx::query_scalar(
        "select exists (
             select 1 from pg_locks l
             join pg_database d on d.oid = l.database
             where l.locktype = 'advisory' and not l.granted and d.datname = current_database()
         )",
    )
    .fetch_one(superuser)
    .await
    .expect("look at the locks")
}

async fn count_of(superuser: &PgPool, project: ProjectId, request: RequestId) -> usize {
    read_log(superuser, project).await.iter().filter(|e| e.private.request == Some(request)).count()
}

// In order, once, after the given position ---------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_former_subscription_are_told_apart_by_their_generation() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (writer, reader) = (world.client(0, &ann).await, world.client(0, &ann).await);
    writer.subscribe(project, Start::Live).await.expect("subscribe");
    reader.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    writer.command(create(node, "node")).await.expect("create");
    let channel = Channel::Project(project);
    for round in 1..=10 {
        // Events of the former subscription are on their way when the next one begins.
        for n in 0..5 {
            writer.send(ClientMessage::Command(retitle(node, &format!("{round}.{n}"))), Some(RequestId::random()));
        }
        reader.send(ClientMessage::Unsubscribe(Unsubscribe { channel }), Some(RequestId::random()));
        let from = Some(From::Snapshot(SnapshotWord::Snapshot));
        reader.send(ClientMessage::Subscribe(Subscribe { channel, from }), Some(RequestId::random()));
        wait_until("the next subscription", DEADLINE, async || synced(&reader) > round).await;
    }
    let mut current = 0;
    for frame in reader.frames_since(0) {
        let generation = frame["payload"]["generation"].as_u64().or_else(|| frame["generation"].as_u64());
        match (frame["type"].as_str(), generation) {
            (Some("subscribed"), Some(generation)) => {
                assert!(generation > current, "generation {generation} after {current}");
                current = generation;
            }
            (_, Some(generation)) => assert_eq!(generation, current, "{frame}"),
            _ => {}
        }
    }
}

fn synced(client: &Client) -> usize {
    client.frames_since(0).iter().filter(|f| f["type"] == "synced").count()
}

// Latest-value traffic -----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_never_closes_a_slow_reader_and_is_whole_again_when_it_reads_on() {
    let world = World::builder().limits(|limits| limits.outbound_bytes = 400_000).start().await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let project = world.project(&ann).await;
    world.join(world.org(&ann).await, &bob, "member").await;
    let anns = world.client(0, &ann).await;
    anns.subscribe(project, Start::Live).await.expect("subscribe");
    let mut stuck = Stuck::subscribe(&world, &bob, project).await;
    stuck.fill(&world, &anns, project).await;

    let peer = stuck.peer(&world);
    let show = |x| {
        let selection = (0..400).map(|_| NodeId::random()).collect();
        PresenceFields { selection: Some(Some(selection)), ..at(x) }
    };
    let before = peer.outbound.dropped_latest();
    let mut x = 0.0;
    wait_until("frames that give way", DEADLINE, async || {
        x += 1.0;
        anns.present(Presence { channel: Channel::Project(project), state: show(x) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.outbound.dropped_latest() >= before + 20 || peer.outbound.closing().is_some()
    })
    .await;
    assert_eq!(peer.outbound.closing(), None, "presence alone closed a session");

    let session = anns.welcome.session_id.to_string();
    let is_whole = stuck.read_until("everybody's presence", |frame| {
        frame["type"] == "presence_state" && shows(frame, &session) && peer.outbound.closing().is_none()
    });
    let moving = async {
        loop {
            anns.present(Presence { channel: Channel::Project(project), state: at(-1.0) });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = is_whole => {}
        () = moving => {}
    }
}

// Leases -----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ends_while_a_write_waits_is_over_for_that_write() {
    let world = World::start().await;
    let (client, node, fence) = holder(&world, 30_000).await;
    let superuser = world.database.superuser();
    let mut other = superuser.begin().await.expect("begin");
    let hold = "update nodes set lock_expires_at = clock_timestamp() + interval '600 ms' where id = $1";
    sqlx::query(hold).bind(node.0).execute(&mut *other).await.expect("shorten the lease and hold the row");
    let (late, ()) = tokio::join!(client.command(write_with(node, "late", fence)), async {
        // Under way before the lease ends, and at the row after that.
        let is_over = "select clock_timestamp() > (select lock_expires_at from nodes where id = $1)";
        wait_until("the end of the lease", DEADLINE, async || {
            sqlx::query_scalar(is_over).bind(node.0).fetch_one(&mut *other).await.expect("look at the clock")
        })
        .await;
        other.commit().await.expect("commit");
    });
    assert_eq!(late.expect_err("the lease is over").code, ErrorCode::LockLost);
}

/// The database's clock is an hour ahead of this machine's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_the_database_alone_says_when_a_lease_is_over() {
    let database = TestDatabase::create().await;
    let superuser = database.superuser();
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&superuser).await.expect("its name");
    let shift = format!(
        "create schema ahead;
         grant usage on schema ahead to public;
         create function ahead.clock_timestamp() returns timestamptz language sql volatile
             as $$ select pg_catalog.clock_timestamp() + interval '1 hour' $$;
         alter database {name} set search_path = ahead, pg_catalog, public"
    );
    sqlx::raw_sql(AssertSqlSafe(shift)).execute(&superuser).await.expect("shift the clock");
    let world = World::builder().start_on(database).await;
    let (client, node, fence) = holder(&world, 2_000).await;
    client.command(write_with(node, "in time", fence)).await.expect("the lease runs");
    let lasts = Instant::now() + Duration::from_millis(2_100);
    tokio::time::sleep_until(lasts).await;
    let late = client.command(write_with(node, "late", fence)).await;
    assert_eq!(late.expect_err("the lease is over").code, ErrorCode::LockLost);
}

async fn holder(world: &World, ttl_ms: i64) -> (Client, NodeId, Fence) {
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "node")).await.expect("create");
    let acquire = Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(ttl_ms), wait: None });
    let ack = client.command(acquire).await.expect("the lock");
    let fence = ack.result.as_ref().and_then(|r| r["fence"].as_i64()).expect("a fence");
    (client, node, Fence(fence))
}

fn write_with(node_id: NodeId, title: &str, fence: Fence) -> Command {
    let changes = NodeChanges { title: Some(title.to_owned()), ..NodeChanges::default() };
    Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence: Some(fence) })
}

// Rights -----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_with_a_removal_from_the_project_is_not_seen_by_the_removed() {
    let world = World::with_instances(2).await;
    let (ann, project, node) = room_with_a_node(&world).await;
    let vic = world.user("vic").await;
    world.join(world.org(&ann).await, &vic, "guest").await;
    world
        .sql(&format!(
            "insert into project_members (project_id, user_id, role) values ('{project}', '{}', 'viewer')",
            vic.id
        ))
        .await;
    let removal = format!("delete from project_members where user_id = '{}'", vic.id);
    expect_secrecy(&world, &vic, project, node, &removal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_with_a_removal_from_the_organization_is_not_seen_by_the_removed() {
    let world = World::with_instances(2).await;
    let (ann, project, node) = room_with_a_node(&world).await;
    for round in 0..4 {
        let bob = world.user(&format!("bob-{round}")).await;
        world.join(world.org(&ann).await, &bob, "member").await;
        let removal = format!("delete from org_members where user_id = '{}'", bob.id);
        expect_secrecy(&world, &bob, project, node, &removal).await;
    }
}

async fn room_with_a_node(world: &World) -> (Person, ProjectId, NodeId) {
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "node")).await.expect("create");
    (ann, project, node)
}

/// Removes somebody and writes a secret in one transaction.
async fn expect_secrecy(world: &World, person: &Person, project: ProjectId, node: NodeId, removal: &str) {
    let clients = [world.client(0, person).await, world.client(1, person).await];
    for client in &clients {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let secret = format!("secret {}", person.id);
    world.sql(&format!("begin; {removal}; update nodes set title = '{secret}' where id = '{node}'; commit")).await;
    let removed_at = Instant::now();
    for client in &clients {
        assert_eq!(client.closed().await.code, Some(4503));
        assert!(removed_at.elapsed() < Duration::from_secs(1), "{:?}", removed_at.elapsed());
        let is_seen = client.frames_since(0).iter().any(|f| f.to_string().contains(&secret));
        assert!(!is_seen, "the removed saw what was committed with the removal");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_queued_for_somebody_who_is_removed_are_not_sent_any_more() {
    let world = World::builder().limits(|limits| limits.outbound_bytes = 2_000_000).start().await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let project = world.project(&ann).await;
    world.join(world.org(&ann).await, &bob, "member").await;
    let anns = world.client(0, &ann).await;
    anns.subscribe(project, Start::Live).await.expect("subscribe");
    let mut stuck = Stuck::subscribe(&world, &bob, project).await;
    stuck.fill(&world, &anns, project).await;
    let node = NodeId::random();
    anns.command(create(node, "queued for bob")).await.expect("create");
    anns.wait("the last frame that is queued", |f| f.to_string().contains("queued for bob").then_some(())).await;

    world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    let peer = stuck.peer(&world);
    wait_until("the removal", DEADLINE, async || peer.outbound.closing().is_some()).await;
    let mut is_seen = false;
    stuck
        .read_until("the removal", |frame| {
            is_seen |= frame["payload"]["node"]["title"] == "queued for bob";
            frame["type"] == "unsubscribed" && frame["payload"]["reason"] == "revoked"
        })
        .await;
    assert!(!is_seen, "a queued frame was sent after the removal");
}

// Tenants ----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_no_tenant_from_one_transaction_to_the_next() {
    let world = World::builder().pool(2).start().await;
    // What runs for no tenant, on the connections of requests, tells the context that it finds.
    world
        .sql(
            "create table found (context text);
            grant insert on found to glassbox_log;
            create or replace function realtime.drain_pending() returns integer
            language sql security definer set search_path = pg_catalog, public, pg_temp as $$
                insert into found
                select concat_ws('', current_setting('app.current_org_id', true), current_setting('app.user_id', true));
                select 0
            $$",
        )
        .await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "node")).await.expect("create");
    world.sql("truncate found").await;
    let superuser = world.database.superuser();
    let mut contexts: Vec<String> = Vec::new();
    wait_until("work for no tenant", DEADLINE, async || {
        client.command(retitle(node, &RequestId::random().to_string())).await.expect("update");
        contexts = sqlx::query_scalar("select context from found").fetch_all(&superuser).await.expect("contexts");
        contexts.len() >= 3
    })
    .await;
    assert!(contexts.iter().all(String::is_empty), "left over from somebody's transaction: {contexts:?}");
}

// A client that does not read ----------------------------------------------------------------------------------------

/// A member that reads until it is live, and from then on when it is told to.
struct Stuck {
    user: UserId,
    socket: WebSocketStream<TcpStream>,
}

impl Stuck {
    async fn subscribe(world: &World, person: &Person, project: ProjectId) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(world.address(0)).await.expect("connect");
        let mut request = format!("ws://{}/ws", world.address(0)).into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", "glassbox.v2".parse().expect("a header"));
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("upgrade");
        let hello = json!({ "type": "hello", "payload": {
            "token": person.token, "clientId": ClientId::random(), "protocol": { "min": 2, "max": 2 } } });
        socket.send(Message::text(hello.to_string())).await.expect("hello");
        let subscribe = json!({ "type": "subscribe", "payload": { "channel": format!("project:{project}") } });
        socket.send(Message::text(subscribe.to_string())).await.expect("subscribe");
        loop {
            let frame = socket.next().await.expect("a frame").expect("a frame");
            if frame.to_text().is_ok_and(|t| t.contains(r#""type":"synced""#)) {
                return Self { user: person.id, socket };
            }
        }
    }

    /// Its side in the server.
    fn peer(&self, world: &World) -> std::sync::Arc<glassbox::session::peer::Peer> {
        let peers = world.instance(0).app.sessions.peers();
        peers.into_iter().find(|peer| peer.user.id == self.user).expect("an open session")
    }

    /// Writes until the kernel takes no more and half of the session's bound waits.
    async fn fill(&self, world: &World, writer: &Client, project: ProjectId) {
        let peer = self.peer(world);
        let node = NodeId::random();
        writer.command(create(node, "f")).await.expect("create");
        for n in 0..2_000 {
            if timeout(Duration::from_millis(50), peer.outbound.has_room()).await.is_err() {
                return;
            }
            let description = Some(Some(format!("{n}{}", "x".repeat(40_000))));
            let changes = NodeChanges { description, ..NodeChanges::default() };
            let ack = writer.command(update(node, changes)).await.expect("update");
            writer.wait_mirror("the update", project, |m| (m.seq >= ack.seq).then_some(())).await;
        }
        panic!("the kernel takes everything");
    }

    async fn read_until(&mut self, what: &str, mut is_it: impl FnMut(&Value) -> bool) {
        let _ = socket2::SockRef::from(self.socket.get_ref()).set_recv_buffer_size(1 << 20);
        let reading = async {
            loop {
                let message = self.socket.next().await.expect("a frame").expect("a frame");
                let Message::Text(text) = message else {
                    assert!(!message.is_close(), "{what}: closed with {message:?}");
                    continue;
                };
                if is_it(&serde_json::from_str(&text).expect("JSON")) {
                    return;
                }
            }
        };
        timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
    }
}

// Where they stand ---------------------------------------------------------------------------------------------------

/// A world whose instance `index` reaches PostgreSQL through a proxy.
pub async fn behind_a_proxy(builder: Builder, index: usize) -> (Proxy, World) {
    let database = TestDatabase::create().await;
    let url: Url = database.server_url().parse().expect("a URL");
    let host = url.host_str().expect("a host").to_owned();
    let mut addresses = tokio::net::lookup_host((host, url.port().unwrap_or(5432))).await.expect("an address");
    let proxy = Proxy::start(addresses.next().expect("an address")).await;
    let world = builder.database_address(index, proxy.address()).start_on(database).await;
    (proxy, world)
}

/// The listeners of this database: process and the port that they come from.
async fn listeners(superuser: &PgPool) -> Vec<(i32, u16)> {
    let rows: Vec<(i32, Option<i32>)> = sqlx::query_as(
        "select pid, client_port from pg_stat_activity
         where application_name = 'glassbox-listener' and datname = current_database()",
    )
    .fetch_all(superuser)
    .await
    .expect("look at the listeners");
    rows.into_iter().filter_map(|(pid, port)| Some((pid, u16::try_from(port?).ok()?))).collect()
}

async fn listener_behind(superuser: &PgPool, proxy: &Proxy) -> (i32, u64) {
    let all = listeners(superuser).await;
    let found = all.iter().find_map(|(pid, port)| Some((*pid, proxy.connection(*port)?)));
    found.unwrap_or_else(|| panic!("no listener behind the proxy: {all:?}"))
}

async fn expect_title(client: &Client, project: ProjectId, node: NodeId, title: &str) {
    client
        .wait_mirror(&format!("the title {title}"), project, |m| m.node(node).filter(|n| n.title == title).map(|_| ()))
        .await;
}

fn at(x: f64) -> PresenceFields {
    PresenceFields { cursor: Some(Some(Position { x, y: 0.0 })), ..PresenceFields::default() }
}

/// Whether a frame of presence shows the cursor of a session.
fn shows(frame: &Value, session: &str) -> bool {
    let payload = &frame["payload"];
    ["members", "joins", "updates"]
        .iter()
        .filter_map(|name| payload[name].as_array())
        .flatten()
        .any(|entry| entry["sessionId"] == session && entry["cursor"]["x"].is_number())
}

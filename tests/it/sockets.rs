//! What a socket may do: deadlines, limits, close codes, and what each of them costs the others.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use glassbox_protocol::client::{Hello, ProtocolRange};
use glassbox_protocol::{ClientId, ClientMessage, NodeId, RequestId};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::rooms::{create, place, retitle, update};
use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::{ORIGIN, World};

#[tokio::test]
async fn a_socket_without_hello_is_closed_in_time() {
    let world = World::start().await;
    let silent = Client::silent(world.address(0)).await;
    assert_eq!(silent.closed().await.code, Some(4000));
}

#[tokio::test]
async fn a_bad_token_and_an_unknown_version_are_told_to_stay_away() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (token, min, code) in [("nonsense", 2, 4500), (ann.token.as_str(), 3, 4505)] {
        let client = Client::silent(world.address(0)).await;
        let hello =
            Hello { token: token.to_owned(), client_id: ClientId::random(), protocol: ProtocolRange { min, max: min } };
        client.send(ClientMessage::Hello(hello), None);
        assert_eq!(client.closed().await.code, Some(code));
    }
}

#[tokio::test]
async fn an_upgrade_is_refused_in_the_one_error_shape() {
    let world = World::start().await;
    let own = world.url(0, "");
    let upgrade = async |path: &str, origins: &[&str]| {
        let mut request = world
            .http
            .get(world.url(0, path))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "glassbox.v2");
        for origin in origins {
            request = request.header("origin", *origin);
        }
        request.send().await.expect("an answer")
    };
    let refused: [(&str, &[&str], u16, &str); 5] = [
        ("/ws?token=a&token=b", &[], 401, "INVALID_TOKEN"),
        ("/ws?token=%ff", &[], 401, "INVALID_TOKEN"),
        ("/ws", &["http://evil.example"], 403, "FORBIDDEN"),
        ("/ws", &["null"], 403, "FORBIDDEN"),
        ("/ws", &[ORIGIN, "http://evil.example"], 403, "FORBIDDEN"),
    ];
    for (path, origins, status, code) in refused {
        let answer = upgrade(path, origins).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {origins:?}");
        let text = answer.text().await.expect("a text");
        let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"));
        assert_eq!(body["code"], code, "{path} {origins:?}: {text}");
    }
    let let_in: [&[&str]; 3] = [&[], &[ORIGIN], &[own.as_str()]];
    for origins in let_in {
        assert_eq!(upgrade("/ws", origins).await.status().as_u16(), 101, "{origins:?}");
    }
}

#[tokio::test]
async fn connections_that_send_nothing_or_half_a_head_are_closed_within_the_deadline() {
    let world = World::start().await;
    let began = Instant::now();
    let mut sockets = Vec::new();
    for start in ["", "GET /health HTT", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut socket = TcpStream::connect(world.address(0)).await.expect("connect");
        socket.write_all(start.as_bytes()).await.expect("write");
        sockets.push((start, socket));
    }
    for (start, mut socket) in sockets {
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(15), socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{start:?} is still open after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_frame_that_drips_is_cut_off() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let client = world.client(0, &ann).await;
    drop(client);
    let mut socket = TcpStream::connect(world.address(0)).await.expect("connect");
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: glassbox.v2\r\n\r\n",
        world.address(0)
    );
    socket.write_all(head.as_bytes()).await.expect("write");
    let hello = json!({ "type": "hello", "payload": {
        "token": ann.token, "clientId": ClientId::random(), "protocol": { "min": 2, "max": 2 } } })
    .to_string();
    socket.write_all(&masked(hello.as_bytes())).await.expect("write");
    let began = Instant::now();
    // A frame that says it has 100 bytes and sends one a second.
    socket.write_all(&[0x81, 0x80 | 100, 0, 0, 0, 0]).await.expect("write");
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        match timeout(Duration::from_secs(1), socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(n)) => received.extend_from_slice(&buffer[..n]),
            Err(_) => drop(socket.write_all(b"x").await),
        }
        assert!(began.elapsed() < Duration::from_secs(16), "the dripping frame is still welcome");
    }
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("welcome") && text.contains("a frame took too long"), "{text}");
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short frame");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn frames_that_are_too_large_binary_or_not_utf8_close_the_socket_with_their_code() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let cases = [(Message::text("x".repeat(262_145)), 1009), (Message::binary(vec![1, 2, 3]), 1003)];
    for (message, code) in cases {
        let client = world.client(0, &ann).await;
        client.send_raw(message);
        assert_eq!(client.closed().await.code, Some(code));
    }
}

#[tokio::test]
async fn bad_frames_are_answered_by_name_and_too_many_close_the_socket() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let client = world.client(0, &ann).await;
    let request = RequestId::random();
    let cases = [
        ("{".to_owned(), "BAD_MESSAGE"),
        (json!({ "type": "fly", "requestId": request }).to_string(), "UNKNOWN_TYPE"),
        (json!({ "type": "subscribe", "payload": { "channel": "project:project-1" } }).to_string(), "INVALID_CHANNEL"),
        (json!({ "type": "node_move", "payload": { "moves": 5 }, "requestId": request }).to_string(), "VALIDATION"),
        (json!({ "type": "node_move", "payload": { "moves": [] } }).to_string(), "VALIDATION"),
    ];
    for (text, code) in cases {
        let since = client.position();
        client.send_text(text);
        let error = client.wait_since(since, code, |f| (f["type"] == "error").then(|| f.clone())).await;
        assert_eq!(error["payload"]["code"], code, "{error}");
    }
    for _ in 0..20 {
        client.send_text("{".to_owned());
    }
    assert_eq!(client.closed().await.code, Some(4506));
}

#[tokio::test]
async fn more_commands_than_the_limits_allow_are_refused_and_the_socket_lives() {
    let world =
        World::builder().limits(|limits| (limits.commands_per_second, limits.commands_burst) = (5, 10)).start().await;
    let ann = world.user("ann").await;
    let client = world.client(0, &ann).await;
    for _ in 0..30 {
        client.send(ClientMessage::Ping, Some(RequestId::random()));
    }
    client.wait("a refusal", |f| (f["payload"]["code"] == "RATE_LIMITED").then_some(())).await;
    let pongs = client.frames_since(0).iter().filter(|f| f["type"] == "pong").count();
    assert!((10..=12).contains(&pongs), "{pongs} pongs");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let since = client.position();
    client.send(ClientMessage::Ping, Some(RequestId::random()));
    client.wait_since(since, "a pong", |f| (f["type"] == "pong").then_some(())).await;
}

#[tokio::test]
async fn a_newer_session_of_the_same_client_takes_over() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let older = world.client(0, &ann).await;
    let newer = Client::connect(world.address(0), &ann.token, older.id).await;
    assert_eq!(older.closed().await.code, Some(4507));
    assert!(!newer.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_is_closed_as_slow_and_delays_nobody() {
    let world = World::builder().limits(|limits| limits.outbound_bytes = 200_000).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (writer, other) = (world.client(0, &ann).await, world.client(0, &ann).await);
    for client in [&writer, &other] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = socket.connect(world.address(0)).await.expect("connect");
    let request = {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
        let mut request = format!("ws://{}/ws", world.address(0)).into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", "glassbox.v2".parse().expect("a header"));
        request
    };
    let (mut stuck, _) = tokio_tungstenite::client_async(request, stream).await.expect("upgrade");
    let hello = json!({ "type": "hello", "payload": {
        "token": ann.token, "clientId": ClientId::random(), "protocol": { "min": 2, "max": 2 } } });
    stuck.send(Message::text(hello.to_string())).await.expect("hello");
    let subscribe = json!({ "type": "subscribe", "payload": { "channel": format!("project:{project}") } });
    stuck.send(Message::text(subscribe.to_string())).await.expect("subscribe");
    // It reads until it is live, and then never again.
    loop {
        let frame = stuck.next().await.expect("a frame").expect("a frame");
        if frame.to_text().is_ok_and(|t| t.contains(r#""type":"synced""#)) {
            break;
        }
    }

    let node = NodeId::random();
    writer.command(create(node, "node")).await.expect("create");
    let before = world.instance(0).app.sessions.count();
    let mut sent = 0;
    // The kernel takes some megabytes before our own queue grows.
    while world.instance(0).app.sessions.count() == before && sent < 400 {
        let description = Some(Some(format!("{sent}{}", "x".repeat(40_000))));
        let changes = glassbox_protocol::client::NodeChanges { description, ..Default::default() };
        writer.command(update(node, changes)).await.expect("update");
        sent += 1;
    }
    assert!(world.instance(0).app.sessions.count() < before, "the stuck session is still open after {sent} updates");
    writer.command(retitle(node, "done")).await.expect("update");
    other.wait_mirror("the last title", project, |m| m.node(node).filter(|n| n.title == "done").map(|_| ())).await;
    other.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_instance_tells_everybody_when_to_come_back_and_loses_nothing() {
    let mut world = World::builder().instances(2).drain(Duration::from_secs(2)).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(1, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "node")).await.expect("create");
    let requests: Vec<RequestId> = (0..20).map(|_| RequestId::random()).collect();
    for (i, request) in requests.iter().enumerate() {
        client.send(ClientMessage::Command(place(node, i as f64 + 1.0)), Some(*request));
    }
    world.drain(1).await;
    let lost = client.closed().await;
    assert_eq!(lost.code, Some(1012));
    assert!(client.frames_since(0).iter().any(|f| f["type"] == "moving"));
    for request in requests {
        assert_eq!(client.answers(request).len(), 1, "every command that was received is answered");
    }
    let refused = TcpStream::connect(world.address(1)).await;
    assert!(refused.is_err(), "nobody listens any more");
    let back = Client::connect(world.address(0), &ann.token, client.id).await;
    back.subscribe(project, Start::Resume(Box::new(client.mirror(project)))).await.expect("resume");
    back.wait_mirror("the last move", project, |m| m.node(node).filter(|n| n.position.x == 20.0).map(|_| ())).await;
}

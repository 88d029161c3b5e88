//! How a socket ends, by whom, and what is left.

use std::{sync::Arc, time::Duration};

use retold_models::{Finish, testing::Say};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    socket::{Socket, connect, types},
    support::{PATIENCE, World, config, shown, text},
};

/// A world whose clients are cut after this much silence, and asked for a sign of life at this pace.
async fn impatient(stall: Duration, keepalive: Duration) -> World {
    let mut config = config();
    config.stall_timeout.value = stall;
    config.keepalive_interval.value = keepalive;
    World::with(config).await
}

#[tokio::test]
async fn a_frame_that_is_too_large_closes_the_socket_and_says_so() {
    let mut config = config();
    config.max_body_bytes.value = 100_000;
    let world = World::with(config).await;
    let padded = |bytes: usize| format!(r#"{{"type":"ping","padding":"{}"}}"#, "x".repeat(bytes));
    let mut socket = Socket::open(&world).await;
    socket.send_text(padded(90_000)).await;
    assert_eq!(socket.frame().await["type"], "pong");
    socket.send_text(padded(100_001)).await;
    assert_eq!(socket.rest().await, Vec::<Value>::new());
    let (code, reason) = socket.close();
    assert_eq!(code, 1009);
    assert!(reason.contains("100000") && reason.contains("max_body_bytes"), "{reason}");
}

/// Sends bytes after a handshake, and gives the code of the close that answers them.
async fn code_after(world: &World, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(world.server.address(), None).await;
    let handshake = "GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.expect("the server listens");
    stream.write_all(bytes).await.expect("the server listens");
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the server ends it");
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
    let frames = &all[head..];
    let close = frames.windows(2).position(|two| two[0] == 0x88)?;
    Some(u16::from_be_bytes([frames[close + 2], frames[close + 3]]))
}

/// A frame of a client under a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame =
        vec![first, 0x80 | u8::try_from(payload.len()).expect("a short frame"), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_with_its_code() {
    let world = World::new().await;
    assert_eq!(code_after(&world, &masked(0x81, b"\xff\xfe")).await, Some(1007), "no UTF-8");
    assert_eq!(code_after(&world, &[0x81, 0x02, b'{', b'}']).await, Some(1002), "no mask");
    assert_eq!(code_after(&world, &masked(0xf1, b"{}")).await, Some(1002), "reserved bits");
    assert_eq!(code_after(&world, &masked(0x83, b"{}")).await, Some(1002), "no such opcode");
    assert_eq!(code_after(&world, &masked(0x80, b"{}")).await, Some(1002), "nothing to continue");
    assert_eq!(code_after(&world, &masked(0x09, b"{}")).await, Some(1002), "a ping in pieces");
    let huge = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0, 0, 0, 0]].concat();
    assert_eq!(code_after(&world, &huge).await, Some(1009), "larger than anything");
    let mut endless = masked(0x01, &[b'x'; 100]);
    endless.extend((0..3).flat_map(|_| masked(0x00, &[b'x'; 100])));
    endless.extend(masked(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(code_after(&world, &endless).await, Some(1000), "half a message, then a close");
}

#[tokio::test]
async fn a_message_in_pieces_is_bounded_as_a_whole() {
    let mut config = config();
    config.max_body_bytes.value = 1000;
    let world = World::with(config).await;
    let mut pieces = masked(0x01, &[b'x'; 100]);
    pieces.extend((0..10).flat_map(|_| masked(0x00, &[b'x'; 100])));
    assert_eq!(code_after(&world, &pieces).await, Some(1009));
}

#[tokio::test]
async fn a_close_is_answered() {
    let world = World::new().await;
    let mut socket = Socket::open(&world).await;
    socket.inner.close(None).await.unwrap();
    assert_eq!(socket.rest().await, Vec::<Value>::new());
    assert!(socket.inner.get_mut().read_u8().await.is_err(), "the connection has ended");
}

#[tokio::test]
async fn a_client_that_gives_no_sign_of_life_is_cut() {
    let world = impatient(Duration::from_millis(100), Duration::from_millis(50)).await;
    let mut socket = Socket::open(&world).await;
    // Pings are answered while a socket is read, so this one is dead as long as nobody reads it.
    sleep(Duration::from_millis(1500)).await;
    while socket.message().await.is_some() {}
    assert_eq!(socket.close(), (1008, "no pong came in time"));
    let mut alive = Socket::open(&world).await;
    for _ in 0..10 {
        assert!(matches!(alive.message().await, Some(Message::Ping(_))));
    }
    alive.send(json!({"type": "ping"})).await;
    assert_eq!(alive.frame().await["type"], "pong", "it answers, so it stays");
}

/// Pieces of 64 KiB: more than all buffers between two sockets hold.
const FLOOD: usize = 160;

fn flood() -> Vec<Say> {
    let piece = "x".repeat(64 << 10);
    let mut script: Vec<Say> = (0..FLOOD).map(|_| Say::text(&piece)).collect();
    script.push(Say::end(Finish::Stop));
    script
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_with_the_number_to_resume_after() {
    // A reader of this test that is only slow must not be taken for one that has stopped.
    let world = impatient(Duration::from_secs(2), Duration::from_secs(20)).await;
    world.model("flood", [flood()]);
    let agent = world.agent("flood").await;
    let mut stalled =
        Socket::open_with(&world, "/ws", &[], Some(8192)).await.expect("the server speaks");
    let say = json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true,
                     "format": "v1"});
    stalled.send(say).await;
    let run = text(&stalled.frame().await["run_id"]).to_owned();
    assert_eq!(world.ended(&run).await["status"], "completed", "nobody waited for the reader");
    world.has_cut(1).await;
    let mut frames = stalled.rest().await;
    let last_words = frames.pop().expect("it is told");
    let (code, reason) = stalled.close();
    assert_eq!((code, &last_words["type"]), (1013, &json!("stalled")));
    let cursor = frames.last().expect("something was read")["seq_id"].as_u64().unwrap();
    assert_eq!(last_words["cursors"], json!([{"run_id": run, "after_seq": cursor}]));
    assert_eq!(reason, format!("run={run};after_seq={cursor}"));
    assert!(types(&frames).iter().all(|kind| *kind == "run_event"));

    // What follows on another socket is what an event stream shows, without gap or double.
    let mut resumed = Socket::open(&world).await;
    resumed
        .send(json!({"type": "resume", "run_id": run, "after_seq": cursor, "format": "v1"}))
        .await;
    let rest = resumed.until("run_end").await;
    let read = frames.iter().chain(&rest[1..rest.len() - 1]).map(|frame| &frame["data"]);
    let body = json!({"include_pings": false});
    let events = world.stream(&format!("/v1/runs/{run}/stream"), body).await.rest().await;
    assert_eq!(shown(&events).last(), Some(&"[DONE]"));
    assert!(read.eq(events[..events.len() - 1].iter().map(|event| &event.json)));
}

#[tokio::test]
async fn a_slow_client_that_reads_on_is_not_cut() {
    let world = impatient(Duration::from_millis(1500), Duration::from_millis(300)).await;
    world.model("flood", [flood()]);
    let agent = world.agent("flood").await;
    let mut slow =
        Socket::open_with(&world, "/ws", &[], Some(256 << 10)).await.expect("the server speaks");
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    slow.send(say).await;
    let mut spoken = 0;
    for number in 0_u32.. {
        let frame = slow.frame().await;
        if frame["type"] == "agent_response_end" {
            break;
        }
        spoken += frame["message"].as_str().map_or(0, str::len);
        if number.is_multiple_of(16) {
            sleep(Duration::from_millis(200)).await;
        }
    }
    assert_eq!(spoken, FLOOD * (64 << 10));
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let world = World::new().await;
    world.model("silent", [vec![Say::text("half a "), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut first = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    first.send(say).await;
    let run = first.until("agent_response").await[0]["run_id"].clone();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let mut socket = Socket::open(&world).await;
        socket.send(json!({"type": "resume", "run_id": run})).await;
        socket.until("agent_response").await;
        sockets.push(socket);
    }
    assert!(tasks() >= before + 40, "each is served by a task");
    drop(sockets);
    timeout(PATIENCE, async {
        while tasks() > before {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("all of them are gone");
    first.send(json!({"type": "cancel", "run_id": run})).await;
    first.until("cancel_response").await;
}

#[tokio::test]
async fn a_server_that_stops_shows_ends_and_says_where_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).await;
    let gate = Arc::new(Notify::new());
    let wait = Say::Until(Arc::clone(&gate));
    let spoken = [vec![Say::text("one "), wait], Say::answer("two")].concat();
    world.model("slow", [spoken, Say::answer("later")]);
    let agent = world.agent("slow").await;
    let (mut idle, mut socket) = (Socket::open(&world).await, Socket::open(&world).await);
    let mut watching = Socket::open(&world).await;
    watching.send(json!({"type": "subscribe", "agent_id": agent, "after": 0})).await;
    let say = |text: &str| json!({"type": "user_message", "agent_id": agent, "message": text, "stream_tokens": true});
    socket.send(say("now")).await;
    let first = socket.until("agent_response").await[0]["run_id"].clone();
    // This one waits for the other, and then for the next start.
    socket.send(say("then")).await;
    let waiting = socket.until("agent_response_start").await[0]["run_id"].clone();
    let opening = async {
        sleep(Duration::from_millis(100)).await;
        gate.notify_one();
    };
    let restarting = async {
        let (world, ()) = tokio::join!(world.restart(Duration::from_secs(10)), opening);
        world
    };
    let (world, frames, nothing, watched) =
        tokio::join!(restarting, socket.rest(), idle.rest(), watching.rest());
    let [.., last, going] = &watched[..] else { panic!("{watched:?}") };
    let wanted = json!({"type": "going_away", "agent_id": agent, "after": last["after"]});
    assert_eq!((&last["type"], going), (&json!("agent_event"), &wanted));
    assert_eq!(watching.close(), (1001, format!("agent={agent};after={}", last["after"]).as_str()));
    assert_eq!(nothing, Vec::<Value>::new());
    assert_eq!(idle.close(), (1001, "the server is stopping"));
    let of = |run: &Value| -> Vec<&Value> {
        frames.iter().filter(|frame| frame["run_id"] == *run).collect()
    };
    let ended = of(&first);
    assert_eq!(ended.last().unwrap()["stop_reason"], "end_turn", "it ended in time: {frames:?}");
    let going = of(&waiting);
    assert_eq!(going.len(), 1, "{frames:?}");
    assert_eq!(*going[0], json!({"type": "going_away", "run_id": waiting, "after_seq": 0}));
    assert_eq!(socket.close(), (1001, format!("run={};after_seq=0", text(&waiting)).as_str()));
    let mut again = Socket::open(&world).await;
    again.send(json!({"type": "resume", "run_id": waiting, "after_seq": 0})).await;
    let frames = again.until("agent_response_end").await;
    let spoken: String = frames.iter().filter_map(|frame| frame["message"].as_str()).collect();
    assert_eq!(spoken, "later");
}

#[tokio::test]
async fn a_run_that_the_end_of_the_server_interrupts_is_told_so_on_the_socket() {
    let world = World::new().await;
    world.model("silent", [vec![Say::text("half a "), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut socket = Socket::open(&world).await;
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    socket.send(say).await;
    socket.until("agent_response").await;
    let (_world, frames) = tokio::join!(world.restart(Duration::from_millis(50)), socket.rest());
    assert_eq!(types(&frames), ["agent_response_error", "agent_response_end"]);
    assert_eq!(frames[0]["code"], "interrupted");
    assert_eq!(socket.close().0, 1001);
}

#[tokio::test]
async fn a_client_that_does_not_hear_of_the_stop_is_cut() {
    let world = World::new().await;
    world.model("flood", [flood()]);
    let agent = world.agent("flood").await;
    let mut deaf =
        Socket::open_with(&world, "/ws", &[], Some(8192)).await.expect("the server speaks");
    let say =
        json!({"type": "user_message", "agent_id": agent, "message": "hi", "stream_tokens": true});
    deaf.send(say).await;
    deaf.until("agent_response").await;
    let world = timeout(PATIENCE, world.restart(Duration::from_secs(5)))
        .await
        .expect("the server does not wait for it for ever");
    assert_eq!(world.get("/v1/health/").await.status, 200);
    while deaf.message().await.is_some() {}
}

//! Slow clients, many of them, and those that do not speak HTTP.

use std::fs;
use std::time::Duration;

use testing::{Client, ServerProcess, TestDatabase, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::{connect, exchange, status};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");
const VERSIONS: &str = "/_matrix/client/versions";

/// Connections that do nothing; with their other ends, and what else is open, within the limit of 4,096 files that is usual.
const IDLE_CONNECTIONS: usize = 2_000;
/// What one of them may cost in the server's memory, connection and task together.
const IDLE_CONNECTION_BYTES: u64 = 24 << 10;
/// Time enough for a server that answers, on a busy machine.
const PROMPT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_is_no_http_is_refused_or_cut_off() {
    let db = TestDatabase::sqlite();
    let server = TestServer::start(&db).await;
    let garbage: Vec<u8> = (0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
    for bytes in [
        garbage.as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = exchange(&server.client(), bytes, PROMPT).await;
        let answer = answer.unwrap_or_else(|| panic!("neither answered nor closed: {shown:?}"));
        let is_http2 = bytes.starts_with(b"PRI");
        assert!(answer.is_empty() || is_http2 || (400..500).contains(&status(&answer)), "{shown:?}: {answer}");
        server.client().get(VERSIONS).await.ok();
    }
}

#[tokio::test]
async fn a_head_over_the_limits_is_a_431() {
    let db = TestDatabase::sqlite();
    let server = TestServer::start(&db).await;
    let large = format!("GET {VERSIONS} HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let many: String = (0..1_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let many = format!("GET {VERSIONS} HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    for head in [large, many] {
        let answer = exchange(&server.client(), head.as_bytes(), PROMPT).await.unwrap();
        assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(200_000));
    let answer = exchange(&server.client(), long.as_bytes(), PROMPT).await.unwrap();
    assert!(answer.is_empty() || [414, 431].contains(&status(&answer)), "{answer}");
}

#[tokio::test]
async fn older_and_odd_http_is_answered() {
    let db = TestDatabase::sqlite();
    let server = TestServer::start(&db).await;
    let closing = [
        format!("GET {VERSIONS} HTTP/1.0\r\n\r\n"),
        format!("GET {VERSIONS} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        format!("GET http://elsewhere{VERSIONS} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    ];
    for head in closing {
        let answer = exchange(&server.client(), head.as_bytes(), PROMPT).await.unwrap();
        assert_eq!(status(&answer), 200, "{head}: {answer}");
    }
    let chunked = "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\n{}\r\n0\r\n\r\n";
    let answer = exchange(&server.client(), chunked.as_bytes(), PROMPT).await.unwrap();
    assert!(status(&answer) == 400 && answer.contains("M_BAD_JSON"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_announced_or_arrives_too_large_is_refused_at_once() {
    let db = TestDatabase::sqlite();
    let server = TestServer::start(&db).await;
    let announced = "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n{";
    let answer = exchange(&server.client(), announced.as_bytes(), PROMPT).await.unwrap();
    assert!(status(&answer) == 413 && answer.contains("M_TOO_LARGE"), "{answer}");

    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    let mut endless = connect(&server.client()).await;
    endless
        .write_all(b"POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let cut_off = async {
        // Until the server closes the connection.
        while endless.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    timeout(Duration::from_secs(10), cut_off).await.unwrap();
    server.client().get(VERSIONS).await.ok();
}

#[tokio::test]
async fn many_requests_on_one_connection_are_answered_in_order() {
    const REQUESTS: usize = 5_000;
    let db = TestDatabase::sqlite();
    let server = TestServer::start(&db).await;
    let (mut reader, mut writer) = connect(&server.client()).await.into_split();
    let sending = tokio::spawn(async move {
        for number in 0..REQUESTS {
            let last = if number + 1 == REQUESTS { "connection: close\r\n" } else { "" };
            let head = format!("GET /unknown HTTP/1.1\r\nhost: a\r\n{last}\r\n");
            writer.write_all(head.as_bytes()).await.unwrap();
        }
        writer
    });
    let mut answers = String::new();
    timeout(Duration::from_secs(30), reader.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 404").count(), REQUESTS);
    drop(sending.await.unwrap());
}

async fn send_part(client: &Client, part: &str) -> TcpStream {
    let mut stream = connect(client).await;
    stream.write_all(part.as_bytes()).await.unwrap();
    stream
}

/// What the process occupies in memory.
fn resident_bytes(server: &ServerProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

async fn slowest_of(client: &Client, requests: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..requests {
        let started = Instant::now();
        client.get(VERSIONS).await.ok();
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_that_stall_disturb_nobody_and_are_cut_off() {
    let db = TestDatabase::sqlite();
    let server = ServerProcess::start(PROGRAM, &db).await;
    let client = server.client();
    slowest_of(&client, 50).await;
    let before = resident_bytes(&server);
    let parts = [
        "",
        "GET /_matrix/cli",
        "GET /_matrix/client/versions HTTP/1.1\r\nhost: a\r\nx: ",
        "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{\"type\": \"m.login.pass",
    ];
    let mut stalled = Vec::with_capacity(IDLE_CONNECTIONS);
    let opened = Instant::now();
    for number in 0..IDLE_CONNECTIONS {
        stalled.push(send_part(&client, parts[number % parts.len()]).await);
    }
    // Until the last of them has been accepted.
    assert!(slowest_of(&client, 100).await < PROMPT);
    let cost = resident_bytes(&server).saturating_sub(before) / IDLE_CONNECTIONS as u64;
    assert!(cost < IDLE_CONNECTION_BYTES, "{cost} bytes for each connection");

    // Those without a whole head are closed after 15 s; the others may take a minute for their body.
    sleep(Duration::from_secs(20).saturating_sub(opened.elapsed())).await;
    let mut buffer = [0; 512];
    for (number, stream) in stalled.iter_mut().enumerate().filter(|(number, _)| number % parts.len() < 3) {
        let read = timeout(PROMPT, stream.read(&mut buffer)).await;
        let length = read.unwrap_or_else(|_| panic!("{:?} is still served", parts[number % parts.len()])).unwrap_or(0);
        assert!(length == 0 || buffer.starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&buffer[..length]));
    }
    assert!(slowest_of(&client, 100).await < PROMPT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let db = TestDatabase::sqlite();
    let server = ServerProcess::start(PROGRAM, &db).await;
    let client = server.client();
    let files = || fs::read_dir(format!("/proc/{}/fd", server.id().unwrap())).unwrap().count();
    client.get(VERSIONS).await.ok();
    let before = files();
    for round in 0..2_000_u32 {
        let mut stream = connect(&client).await;
        let part = [
            "",
            "GET",
            "GET / HTTP/1.1\r\n\r\n",
            "POST /_matrix/client/v3/login HTTP/1.1\r\ncontent-length: 9\r\n\r\n{",
        ];
        let _ = stream.write_all(part[round as usize % part.len()].as_bytes()).await;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while files() > before + 5 {
        assert!(Instant::now() < deadline, "{} files are open, {before} were before", files());
        sleep(Duration::from_millis(50)).await;
    }
    client.get(VERSIONS).await.ok();
}

//! Media of this server for others, and of others for this one.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, IF_NONE_MATCH, LOCATION, RANGE};
use image::{DynamicImage, GenericImageView as _, ImageFormat, RgbImage};
use testing::{Answer, RemoteServer, TestServer, eventually, on_both_databases};

use crate::{metrics, servers};

const MEDIA: &str = "/_matrix/client/v1/media";
const FEDERATION: &str = "/_matrix/federation/v1/media";
const UPLOAD: &str = "/_matrix/media/v3/upload";
/// Where the other server has its media by the old paths.
const OLD: &str = "/_matrix/media/v3/download/remote.example";

async fn ask(server: &TestServer, remote: &RemoteServer, uri: &str) -> Answer {
    server.client().get(uri).header(AUTHORIZATION, &remote.authorization("localhost", uri)).await
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture: DynamicImage = RgbImage::new(width, height).into();
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// The headers and the body of the second of two parts.
fn second_part(answer: &Answer) -> (String, Vec<u8>) {
    assert_eq!(answer.status, 200, "{answer}");
    let content_type = answer.headers[CONTENT_TYPE].to_str().unwrap();
    let boundary = format!("--{}", content_type.strip_prefix("multipart/mixed; boundary=").unwrap());
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let (first, rest) = text.strip_prefix(&boundary).unwrap().split_once(&boundary).unwrap();
    assert_eq!(first, "\r\nContent-Type: application/json\r\n\r\n{}\r\n");
    assert!(rest.ends_with(&format!("\r\n{boundary}--\r\n")), "{rest}");
    let (headers, _) = rest.split_once("\r\n\r\n").unwrap();
    let from = answer.body.len() - text_bytes(&answer.body, &boundary);
    let body = &answer.body[from..answer.body.len() - boundary.len() - "\r\n--\r\n".len()];
    (headers.trim().to_owned(), body.to_vec())
}

/// How many bytes follow the headers of the second part.
fn text_bytes(body: &[u8], boundary: &str) -> usize {
    let at = |needle: &[u8], from: usize| {
        body[from..]
            .windows(needle.len())
            .position(|window| window == needle)
            .map(|at| from + at + needle.len())
            .unwrap()
    };
    body.len() - at(b"\r\n\r\n", at(boundary.as_bytes(), boundary.len()))
}

fn parts(headers: &str, content: &[u8]) -> Vec<u8> {
    let mut body = b"--gc0p4Jq0M2Yt08j\r\nContent-Type: application/json\r\n\r\n{}\r\n--gc0p4Jq0M2Yt08j\r\n".to_vec();
    body.extend_from_slice(headers.as_bytes());
    body.extend_from_slice(b"\r\n\r\n");
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--gc0p4Jq0M2Yt08j--\r\n");
    body
}

fn answer_in_parts(remote: &RemoteServer, media_id: &str, headers: &str, content: &[u8]) {
    let content_type = (CONTENT_TYPE, "multipart/mixed; boundary=gc0p4Jq0M2Yt08j");
    remote.answer_with(&format!("{FEDERATION}/download/{media_id}"), 200, &[content_type], parts(headers, content));
}

on_both_databases! {
    async fn another_server_has_media_of_this_one_in_two_parts(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let content = [&b"\r\n--x\r\n\r\n"[..], &picture(400, 400), &[0; 200_000]].concat();
        let request = alice.post(format!("{UPLOAD}?filename=n.bin")).header(CONTENT_TYPE, "x/y").body(content.clone());
        let uri = request.await.ok()["content_uri"].as_str().unwrap().to_owned();
        let id = uri.strip_prefix("mxc://localhost/").unwrap();
        let (headers, body) = second_part(&ask(&server, &remote, &format!("{FEDERATION}/download/{id}")).await);
        assert_eq!(headers, "content-type: x/y\r\ncontent-disposition: attachment; filename=n.bin");
        assert_eq!(body, content);

        let uri = alice.post(UPLOAD).body(picture(1000, 500)).await.ok()["content_uri"].as_str().unwrap().to_owned();
        let id = uri.strip_prefix("mxc://localhost/").unwrap();
        let path = format!("{FEDERATION}/thumbnail/{id}?width=300&height=200&method=scale");
        let (headers, body) = second_part(&ask(&server, &remote, &path).await);
        assert_eq!(headers, "content-type: image/png\r\ncontent-disposition: inline");
        assert_eq!(image::load_from_memory(&body).unwrap().dimensions(), (320, 160));

        ask(&server, &remote, &format!("{FEDERATION}/download/none")).await.error(404, "M_NOT_FOUND");
        server.client().get(format!("{FEDERATION}/download/{id}")).await.error(401, "M_UNAUTHORIZED");
        alice.get(format!("{FEDERATION}/download/{id}")).await.error(401, "M_UNAUTHORIZED");
        server.shutdown().await;
    }

    async fn media_of_another_server_is_fetched_once(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let content = picture(1000, 500);
        answer_in_parts(&remote, "abc", "Content-Type: image/png\r\nContent-Disposition: inline; filename=\"b c.png\"", &content);
        let path = format!("{MEDIA}/download/remote.example/abc");
        let (first, second) = tokio::join!(async { alice.get(&path).await }, async { bob.get(&path).await });
        for answer in [first, second, alice.get(&path).await] {
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &content[..]));
            assert_eq!(answer.headers[CONTENT_TYPE], "image/png");
            assert_eq!(answer.headers[CONTENT_DISPOSITION], "inline; filename=\"b c.png\"");
        }
        let thumbnail = bob.get(format!("{MEDIA}/thumbnail/remote.example/abc?width=32&height=32&method=crop")).await;
        assert_eq!(image::load_from_memory(&thumbnail.body).unwrap().dimensions(), (32, 32));
        let requests = remote.requests(&format!("{FEDERATION}/download/abc"));
        assert_eq!(requests.len(), 1);
        assert!(requests[0].uri.ends_with("?timeout_ms=20000"), "{}", requests[0].uri);
        assert!(requests[0].headers[AUTHORIZATION].to_str().unwrap().starts_with("X-Matrix "));
        // It is not this server's to give away.
        ask(&server, &remote, &format!("{FEDERATION}/download/abc")).await.error(404, "M_NOT_FOUND");
        assert_eq!(files(&db.folder().join("media")), 2);
        server.shutdown().await;
    }

    async fn a_server_of_old_is_asked_by_the_old_path(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        remote.answer_with(&format!("{OLD}/abc"), 200, &[(CONTENT_TYPE, "text/plain")], "from long ago");
        let answer = alice.get(format!("{MEDIA}/download/remote.example/abc")).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"from long ago"[..]));
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain");
        let asked = remote.requests(&format!("{OLD}/abc")).remove(0);
        assert!(asked.uri.contains("allow_remote=false"), "{}", asked.uri);
        assert!(!asked.headers.contains_key(AUTHORIZATION));
        // Also where a proxy lets nothing else through.
        remote.answer(&format!("{FEDERATION}/download/behind"), 404, "<html>Not found</html>");
        remote.answer(&format!("{OLD}/behind"), 200, "behind a proxy");
        assert_eq!(alice.get(format!("{MEDIA}/download/remote.example/behind")).await.body, "behind a proxy");
        server.shutdown().await;
    }

    async fn whatever_another_server_sends_nothing_bad_is_kept(db: TestDatabase) {
        let (server, remote) = servers(&db, &[("media", "max_upload_size", "100kB".into())]).await;
        let alice = server.register("alice").await;
        let path = |id: &str| format!("{MEDIA}/download/remote.example/{id}");
        answer_in_parts(&remote, "large", "Content-Type: x/y", &vec![7; 100_001]);
        answer_in_parts(&remote, "huge", "Content-Type: x/y", &vec![7; 5_000_000]);
        remote.answer_with(&format!("{OLD}/old"), 200, &[], vec![7; 100_001]);
        for id in ["large", "huge", "old"] {
            alice.get(path(id)).await.error(502, "M_TOO_LARGE");
        }
        answer_in_parts(&remote, "elsewhere", &format!("{LOCATION}: https://127.0.0.1/secret"), b"");
        let multipart = (CONTENT_TYPE, "multipart/mixed; boundary=gc0p4Jq0M2Yt08j");
        let whole = parts("Content-Type: x/y", b"content");
        for (id, headers, body) in [
            ("json", vec![], b"{}".to_vec()),
            ("no-boundary", vec![(CONTENT_TYPE, "multipart/mixed")], whole.clone()),
            ("half", vec![multipart.clone()], whole[..whole.len() - 25].to_vec()),
            ("one-part", vec![multipart.clone()], b"--gc0p4Jq0M2Yt08j\r\n\r\n{}\r\n--gc0p4Jq0M2Yt08j--\r\n".to_vec()),
            ("empty-boundary", vec![(CONTENT_TYPE, "multipart/mixed; boundary=\"\"")], whole.clone()),
            ("headers", vec![multipart.clone()], parts(&format!("X: {}", "y".repeat(3_000_000)), b"content")),
            ("first-part", vec![multipart.clone()], [b"--gc0p4Jq0M2Yt08j\r\n\r\n".to_vec(), vec![b'y'; 3_000_000], whole.clone()].concat()),
            ("empty", vec![multipart], vec![]),
        ] {
            remote.answer_with(&format!("{FEDERATION}/download/{id}"), 200, &headers, body);
        }
        for id in ["elsewhere", "json", "no-boundary", "empty-boundary", "headers", "first-part", "half", "one-part", "empty"] {
            alice.get(path(id)).await.error(502, "M_UNKNOWN");
        }
        let errors = [
            ("none", 404, "M_NOT_FOUND", (404, "M_NOT_FOUND")),
            ("later", 504, "M_NOT_YET_UPLOADED", (504, "M_NOT_YET_UPLOADED")),
            ("forbidden", 403, "M_FORBIDDEN", (403, "M_FORBIDDEN")),
            ("broken", 500, "M_UNKNOWN", (502, "M_UNKNOWN")),
        ];
        for (id, status, code, expected) in errors {
            remote.answer(&format!("{FEDERATION}/download/{id}"), status, format!(r#"{{"errcode":"{code}","error":"No"}}"#));
            alice.get(path(id)).await.error(expected.0, expected.1);
        }
        assert_eq!(files(&db.folder().join("media")), 0, "no file is left");
        // And what was refused is asked for again.
        answer_in_parts(&remote, "none", "Content-Type: text/html", b"here it is");
        let answer = alice.get(path("none")).await;
        assert_eq!((&answer.body[..], &answer.headers[CONTENT_DISPOSITION]), (&b"here it is"[..], &"attachment".parse().unwrap()));
        let text = metrics(&server).await;
        for limit in ["federation_out", "remote_media"] {
            assert!(text.contains(&format!("limit_running{{limit=\"{limit}\"}} 0\n")), "{text}");
        }
        server.shutdown().await;
    }

    async fn a_server_that_hangs_holds_nobody_for_long(db: TestDatabase) {
        let one = toml::Table::from_iter([("running".to_owned(), 1.into()), ("waiting".to_owned(), 0.into())]);
        let (server, remote) = servers(&db, &[("limits", "remote_media", one.into())]).await;
        let alice = server.register("alice").await;
        remote.never_answer(&format!("{FEDERATION}/download/abc"));
        let path = format!("{MEDIA}/download/remote.example");
        let asking = tokio::time::timeout(Duration::from_secs(45), async { alice.get(format!("{path}/abc?timeout_ms=1")).await });
        let meanwhile = async {
            eventually("it is asked", async || remote.requests(&format!("{FEDERATION}/download/abc")).pop()).await;
            // No more than the limit allows, and other questions are not among them.
            alice.get(format!("{path}/other")).await.error(503, "M_LIMIT_EXCEEDED");
            remote.answer("/_matrix/federation/v1/query/profile", 200, r#"{"displayname":"Bob"}"#);
            alice.get("/_matrix/client/v3/profile/%40bob%3Aremote.example").await.ok();
        };
        let (asked, ()) = tokio::join!(asking, meanwhile);
        asked.expect("an answer in time").error(502, "M_CONNECTION_FAILED");
        server.shutdown().await;
    }

    async fn a_server_that_sends_a_byte_now_and_then_is_not_waited_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        answer_in_parts(&remote, "abc", "Content-Type: x/y", b"");
        remote.answer(&format!("{OLD}/old"), 200, "");
        let paths = [format!("{FEDERATION}/download/abc"), format!("{OLD}/old")];
        paths.iter().for_each(|path| remote.drip(path));
        let asked = async |id: &str| alice.get(format!("{MEDIA}/download/remote.example/{id}")).await;
        let both = async { tokio::join!(asked("abc"), asked("old")) };
        let (parts, whole) = tokio::time::timeout(Duration::from_secs(40), both).await.expect("an answer in time");
        parts.error(504, "M_CONNECTION_TIMEOUT");
        whole.error(504, "M_CONNECTION_TIMEOUT");
        assert_eq!(files(&db.folder().join("media")), 0, "no file is left");
        let text = metrics(&server).await;
        for limit in ["federation_out", "remote_media"] {
            assert!(text.contains(&format!("limit_running{{limit=\"{limit}\"}} 0\n")), "{text}");
        }
        server.shutdown().await;
    }

    async fn one_user_does_not_take_all_places_of_media_of_other_servers(db: TestDatabase) {
        let four = toml::toml! { running = 4 waiting = 0 longest_wait = "1s" };
        let (server, remote) = servers(&db, &[("limits", "remote_media", four.into())]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        remote.never_answer(&format!("{FEDERATION}/download/abc"));
        answer_in_parts(&remote, "def", "Content-Type: x/y", b"content");
        let path = format!("{MEDIA}/download/remote.example");
        let meanwhile = async {
            eventually("it is asked", async || remote.requests(&format!("{FEDERATION}/download/abc")).pop()).await;
            alice.get(format!("{path}/def")).await.error(503, "M_LIMIT_EXCEEDED");
            assert_eq!(bob.get(format!("{path}/def")).await.body, "content");
            // What is here already is asked of nobody.
            assert_eq!(alice.get(format!("{path}/def")).await.body, "content");
        };
        let hanging = async { alice.get(format!("{path}/abc")).await };
        tokio::select! {
            _ = hanging => unreachable!("the other server never answers"),
            () = meanwhile => {}
        };
        server.shutdown().await;
    }

    async fn fetching_media_of_other_servers_has_a_rate(db: TestDatabase) {
        let rate = toml::toml! { per_second = 0.001 burst = 2 };
        let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "remote_media", rate.into())];
        let (server, remote) = servers(&db, &settings).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for id in ["a", "b", "c"] {
            answer_in_parts(&remote, id, "Content-Type: x/y", id.as_bytes());
        }
        let path = |id: &str| format!("{MEDIA}/download/remote.example/{id}");
        for id in ["a", "a", "a", "b", "a", "b"] {
            assert_eq!(alice.get(path(id)).await.body, id);
        }
        alice.get(path("c")).await.error(429, "M_LIMIT_EXCEEDED");
        assert_eq!(bob.get(path("c")).await.body, "c");
        assert_eq!(alice.get(path("c")).await.body, "c");
        server.shutdown().await;
    }

    async fn ranges_are_for_clients_and_servers_have_the_whole(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let uri = alice.post(UPLOAD).body("0123456789").await.ok()["content_uri"].as_str().unwrap().to_owned();
        let uri = format!("{FEDERATION}/download/{}", uri.strip_prefix("mxc://localhost/").unwrap());
        let request = server.client().get(&uri).header(AUTHORIZATION, &remote.authorization("localhost", &uri));
        let (_, body) = second_part(&request.header(RANGE, "bytes=0-1").header(IF_NONE_MATCH, "*").await);
        assert_eq!(body, b"0123456789");
        server.shutdown().await;
    }
}

//! `/_matrix/media/…` and `/_matrix/client/v1/media/…`

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use image::{DynamicImage, GenericImageView as _, ImageFormat, Rgb, RgbImage};
use serde_json::json;
use testing::{Answer, TestServer, User, eventually, on_both_databases};
use tokio::io::AsyncWriteExt as _;

use crate::V3;

const UPLOAD: &str = "/_matrix/media/v3/upload";
const CREATE: &str = "/_matrix/media/v1/create";
const MEDIA: &str = "/_matrix/client/v1/media";
const OLD: &str = "/_matrix/media/v3";

/// What stands behind `mxc://` in the answer to an upload or a creation.
fn place(answer: Answer) -> String {
    let body = answer.ok();
    let place = body["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap();
    assert!(place.starts_with("localhost/") && place.len() > "localhost/".len() + 16, "{place}");
    place.to_owned()
}

async fn upload(user: &User, content_type: &str, content: impl Into<bytes::Bytes>) -> String {
    place(user.post(UPLOAD).header(CONTENT_TYPE, content_type).body(content).await)
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture: DynamicImage = RgbImage::from_pixel(width, height, Rgb([200, 100, 50])).into();
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

on_both_databases! {
    async fn what_was_uploaded_is_downloaded_as_it_was(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let named = alice.post(format!("{UPLOAD}?filename=a%20cat%3B%20asleep.png"));
        let place = place(named.header(CONTENT_TYPE, "image/png").body(content.clone()).await);
        let answer = bob.get(format!("{MEDIA}/download/{place}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &content[..]));
        for (header, value) in [
            (CONTENT_TYPE, "image/png"),
            (CONTENT_LENGTH, "3000000"),
            (CONTENT_DISPOSITION, "inline; filename=\"a cat; asleep.png\""),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CACHE_CONTROL, "private, max-age=31536000, immutable"),
        ] {
            assert_eq!(answer.headers[&header], value, "{header}");
        }
        assert!(answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox; default-src 'none';"));
        assert_eq!(answer.headers["cross-origin-resource-policy"], "cross-origin");

        let renamed = bob.get(format!("{MEDIA}/download/{place}/K%C3%A4tzchen.png")).await;
        assert_eq!(renamed.headers[CONTENT_DISPOSITION], "inline; filename*=utf-8''K%C3%A4tzchen.png");
        assert_eq!(renamed.body.len(), content.len());

        // What could run in a browser is never shown there, and what has no type is nothing in particular.
        let page = upload(&alice, "text/html", "<script>alert(1)</script>").await;
        let answer = bob.get(format!("{MEDIA}/download/{page}")).await;
        assert_eq!(answer.headers[CONTENT_TYPE], "text/html");
        assert_eq!(answer.headers[CONTENT_DISPOSITION], "attachment");
        let untold = place_of_untyped(&alice).await;
        let answer = bob.get(format!("{MEDIA}/download/{untold}")).await;
        assert_eq!(answer.headers[CONTENT_TYPE], "application/octet-stream");
        assert_eq!(answer.body.len(), 0);
        server.shutdown().await;
    }

    async fn only_those_with_a_token_read_and_only_users_write(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("registration", "allow_guests", true.into())]).await;
        let (alice, anybody) = (server.register("alice").await, server.client());
        let place = upload(&alice, "text/plain", "hello").await;
        let guest = anybody.post(format!("{V3}/register?kind=guest")).json(&json!({})).await.ok();
        let guest = guest["access_token"].as_str().unwrap();
        for path in [format!("download/{place}"), format!("download/{place}/x"), format!("thumbnail/{place}?width=1&height=1")] {
            anybody.get(format!("{MEDIA}/{path}")).await.error(401, "M_MISSING_TOKEN");
            // The old paths know nothing, whoever asks.
            alice.get(format!("{OLD}/{path}")).await.error(404, "M_NOT_FOUND");
            anybody.get(format!("/_matrix/media/r0/{path}")).await.error(404, "M_NOT_FOUND");
        }
        assert_eq!(anybody.get(format!("{MEDIA}/download/{place}")).token(guest).await.body, "hello");
        anybody.post(UPLOAD).body("x").await.error(401, "M_MISSING_TOKEN");
        anybody.post(CREATE).await.error(401, "M_MISSING_TOKEN");
        anybody.post(UPLOAD).token(guest).body("x").await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
        anybody.get(format!("{MEDIA}/config")).await.error(401, "M_MISSING_TOKEN");
        for path in [format!("{MEDIA}/config"), format!("{OLD}/config")] {
            assert_eq!(alice.get(path).await.ok(), json!({ "m.upload.size": 100 << 20 }));
        }
        server.shutdown().await;
    }

    async fn the_old_paths_are_open_if_the_operator_says_so(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("media", "allow_unauthenticated", true.into())]).await;
        let (alice, anybody) = (server.register("alice").await, server.client());
        let place = upload(&alice, "image/png", picture(500, 500)).await;
        let answer = anybody.get(format!("{OLD}/download/{place}")).await;
        assert_eq!((answer.status.as_u16(), &answer.headers[CACHE_CONTROL]), (200, &"public, max-age=86400".parse().unwrap()));
        assert_eq!(anybody.get(format!("/_matrix/media/r0/thumbnail/{place}?width=32&height=32")).await.status, 200);
        anybody.get(format!("{OLD}/download/localhost/nothing")).await.error(404, "M_NOT_FOUND");
        anybody.get(format!("{OLD}/download/remote.example/a?allow_remote=false")).await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
    }

    async fn too_large_and_strange_uploads_leave_nothing_behind(db: TestDatabase) {
        let mut server = TestServer::start_with(&db, &[("media", "max_upload_size", "100kB".into())]).await;
        let alice = server.register("alice").await;
        let path = format!("{UPLOAD}?filename=x");
        alice.post(&path).body(vec![7; 100_001]).await.error(413, "M_TOO_LARGE");
        let path = format!("{MEDIA}/download");
        for (place, code) in [
            ("localhost/nothing", (404, "M_NOT_FOUND")),
            ("localhost/..%2F..%2Fhomeserver.db", (400, "M_INVALID_PARAM")),
            ("localhost/%2e%2e", (400, "M_INVALID_PARAM")),
            ("..%2F/x", (400, "M_INVALID_PARAM")),
            ("localhost/a?timeout_ms=soon", (400, "M_INVALID_PARAM")),
        ] {
            alice.get(format!("{path}/{place}")).await.error(code.0, code.1);
        }
        assert_eq!(files(&db.folder().join("media")), 0, "no file is left");
        assert_eq!(alice.post(UPLOAD).body(vec![7; 100_000]).await.status, 200);
        server.reload_with(&db, &[("media", "max_upload_size", "99kB".into())]);
        alice.post(UPLOAD).body(vec![7; 100_000]).await.error(413, "M_TOO_LARGE");
        assert_eq!(alice.get(format!("{MEDIA}/config")).await.ok(), json!({ "m.upload.size": 99_000 }));
        server.shutdown().await;
    }

    async fn an_upload_that_breaks_off_leaves_nothing_behind(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let address = server.client().base_url().strip_prefix("http://").unwrap().to_owned();
        let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST {UPLOAD} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: 1000000\r\n\r\n",
            alice.token
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&[7; 100_000]).await.unwrap();
        let media = db.folder().join("media");
        eventually("the upload has begun", async || (files(&media) == 1).then_some(())).await;
        drop(connection);
        eventually("the file is gone", async || (files(&media) == 0).then_some(())).await;
        let database = server.database();
        let rows: Vec<i64> = database.query("SELECT COUNT(*) FROM media", &[], |row| row.get(0)).await.unwrap();
        assert_eq!(rows, [0]);
        server.shutdown().await;
    }

    async fn an_announced_upload_is_made_once_and_by_who_announced_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let created = alice.post(CREATE).json(&json!({})).await;
        assert!(created.json["unused_expires_at"].as_u64().unwrap() > 1_700_000_000_000, "{created}");
        let place = place(created);
        let path = format!("{MEDIA}/download/{place}");
        let began = Instant::now();
        bob.get(format!("{path}?timeout_ms=300")).await.error(504, "M_NOT_YET_UPLOADED");
        assert!(began.elapsed() >= Duration::from_millis(300));

        bob.put(format!("{UPLOAD}/{place}")).body("his").await.error(403, "M_FORBIDDEN");
        alice.put(format!("{UPLOAD}/localhost/unknown")).body("x").await.error(404, "M_NOT_FOUND");
        alice.put(format!("{UPLOAD}/elsewhere.example/unknown")).body("x").await.error(404, "M_NOT_FOUND");
        // Whoever waits has it as soon as it is there.
        let waiting = async { bob.get(format!("{path}?timeout_ms=60000")).await };
        let uploading = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let request = alice.put(format!("{UPLOAD}/{place}?filename=n.txt")).header(CONTENT_TYPE, "text/plain");
            assert_eq!(request.body("hers").await.ok(), json!({}));
        };
        let (answer, ()) = tokio::join!(waiting, uploading);
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"hers"[..]));
        assert_eq!(answer.headers[CONTENT_DISPOSITION], "inline; filename=n.txt");
        alice.put(format!("{UPLOAD}/{place}")).body("other").await.error(409, "M_CANNOT_OVERWRITE_MEDIA");
        assert_eq!(bob.get(&path).await.body, "hers");
        assert_eq!(files(&db.folder().join("media")), 1);
        server.shutdown().await;
    }

    async fn announced_uploads_are_few_and_end(db: TestDatabase) {
        let settings = [("media", "max_pending_uploads", 2.into()), ("media", "unused_expiration_time", "1s".into())];
        let server = TestServer::start_with(&db, &settings).await;
        let alice = server.register("alice").await;
        let first = place(alice.post(CREATE).await);
        place(alice.post(CREATE).await);
        let refused = alice.post(CREATE).await;
        assert!(refused.headers.contains_key("retry-after"), "{refused}");
        refused.error(429, "M_LIMIT_EXCEEDED");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        alice.put(format!("{UPLOAD}/{first}")).body("late").await.error(404, "M_NOT_FOUND");
        alice.get(format!("{MEDIA}/download/{first}")).await.error(404, "M_NOT_FOUND");
        place(alice.post(CREATE).await);
        server.shutdown().await;
    }

    async fn thumbnails_are_made_once_for_each_of_a_few_sizes(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let place = upload(&alice, "image/png", picture(1000, 500)).await;
        let path = format!("{MEDIA}/thumbnail/{place}");
        for (query, size) in [
            ("width=300&height=200&method=scale", (320, 160)),
            ("width=10&height=10", (320, 160)),
            ("width=32&height=32&method=crop", (32, 32)),
            ("width=20&height=20&method=crop&animated=false", (32, 32)),
            ("width=640&height=480&animated=true", (640, 320)),
        ] {
            let answer = bob.get(format!("{path}?{query}")).await;
            assert_eq!((answer.status.as_u16(), &answer.headers[CONTENT_TYPE]), (200, &"image/png".parse().unwrap()), "{query}");
            assert_eq!(answer.headers[CONTENT_DISPOSITION], "inline");
            assert_eq!(image::load_from_memory(&answer.body).unwrap().dimensions(), size, "{query}");
        }
        // The one that may move is made for itself, and kept for all when it does not.
        let made = files(&db.folder().join("media"));
        bob.get(format!("{path}?width=320&height=240")).await;
        assert_eq!((made, files(&db.folder().join("media"))), (4, 4));
        // A file that somebody has removed is made anew.
        let database = server.database();
        let sql = "SELECT file FROM media_thumbnails WHERE width = 32";
        let made: Vec<String> = database.query(sql, &[], |row| row.get(0)).await.unwrap();
        std::fs::remove_file(db.folder().join("media").join(&made[0][..2]).join(&made[0][2..4]).join(&made[0])).unwrap();
        assert_eq!(bob.get(format!("{path}?width=32&height=32&method=crop")).await.status, 200);
        assert_eq!(files(&db.folder().join("media")), 4);
        // Larger than any that is made: as it is.
        let whole = bob.get(format!("{path}?width=2000&height=2000")).await;
        assert_eq!(whole.body, picture(1000, 500));

        for query in ["", "width=1", "width=0&height=1", "width=-1&height=1", "width=a&height=1", "width=1&height=1&method=x"] {
            let answer = bob.get(format!("{path}?{query}")).await;
            assert_eq!(answer.status, 400, "{query}: {answer}");
        }
        let text = upload(&alice, "image/png", "no picture").await;
        bob.get(format!("{MEDIA}/thumbnail/{text}?width=32&height=32")).await.error(400, "M_UNKNOWN");
        bob.get(format!("{MEDIA}/thumbnail/localhost/none?width=32&height=32")).await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
    }

    async fn of_one_picture_five_thumbnails_are_kept_whatever_is_asked_for(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let place = upload(&alice, "image/png", picture(1200, 900)).await;
        for method in ["crop", "scale"] {
            let small = (1..48).step_by(3).map(|number| (number, 2 * number));
            for (width, height) in small.chain((1..40).map(|number| (1 + number * 23, 1 + (number * 151) % 800))) {
                let query = format!("width={width}&height={height}&method={method}");
                let answer = alice.get(format!("{MEDIA}/thumbnail/{place}?{query}")).await;
                assert_eq!(answer.status, 200, "{query}: {answer}");
                let (made_width, made_height) = image::load_from_memory(&answer.body).unwrap().dimensions();
                assert!(made_width >= width.min(1200) && made_height >= height.min(900), "{query}: {made_width} {made_height}");
            }
        }
        assert_eq!(files(&db.folder().join("media")), 6);
        let sql = "SELECT COUNT(*) FROM media_thumbnails";
        let kept: Vec<i64> = server.database().query(sql, &[], |row| row.get(0)).await.unwrap();
        assert_eq!(kept, [5]);
        server.shutdown().await;
    }

    async fn a_thumbnail_has_the_type_that_its_bytes_have(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let mut moving = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut moving);
        for _ in 0..2 {
            encoder.encode_frame(image::Frame::new(image::RgbaImage::new(50, 50))).unwrap();
        }
        drop(encoder);
        for told in ["application/octet-stream", "text/html", "image/svg+xml", "video/mp4", "image/jpeg", "nonsense"] {
            let cases = [
                (picture(20, 10), "width=32&height=32&method=crop", "image/png"),
                (picture(20, 10), "width=2000&height=2000", "image/png"),
                (picture(500, 500), "width=32&height=32&method=crop", "image/png"),
                (moving.clone(), "width=32&height=32&animated=true", "image/gif"),
                (moving.clone(), "width=32&height=32", "image/png"),
                (moving.clone(), "width=2000&height=2000", "image/png"),
            ];
            for (content, query, expected) in cases {
                let place = upload(&alice, told, content).await;
                for _ in 0..2 {
                    let answer = alice.get(format!("{MEDIA}/thumbnail/{place}?{query}")).await;
                    assert_eq!(answer.status, 200, "{told} {query}: {answer}");
                    assert_eq!(answer.headers[CONTENT_TYPE], expected, "{told} {query}");
                    assert_eq!(answer.headers[CONTENT_DISPOSITION], "inline", "{told} {query}");
                }
                // The content itself stays what it was said to be.
                let whole = alice.get(format!("{MEDIA}/download/{place}")).await;
                assert_eq!(whole.headers[CONTENT_TYPE], told);
            }
        }
        server.shutdown().await;
    }

    async fn what_has_no_type_is_stored_with_the_general_one(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let mut places = vec![place_of_untyped(&alice).await];
        for empty in ["", " "] {
            places.push(upload(&alice, empty, "x").await);
        }
        let sql = "SELECT content_type FROM media";
        let stored: Vec<Option<String>> = server.database().query(sql, &[], |row| row.get(0)).await.unwrap();
        assert_eq!(stored, vec![Some("application/octet-stream".to_owned()); 3]);
        for place in places {
            let answer = alice.get(format!("{MEDIA}/download/{place}")).await;
            assert_eq!(answer.headers[CONTENT_TYPE], "application/octet-stream");
            assert_eq!(answer.headers[CONTENT_DISPOSITION], "attachment");
        }
        server.shutdown().await;
    }

    async fn a_part_of_a_content_is_downloaded_alone(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for size in [1000_usize, 3_000_000] {
            let content: Vec<u8> = (0_u32..).take(size).map(|number| (number % 251) as u8).collect();
            let place = upload(&alice, "video/mp4", content.clone()).await;
            for path in [format!("{MEDIA}/download/{place}"), format!("{MEDIA}/download/{place}/film.mp4")] {
                let whole = alice.get(&path).await;
                assert_eq!((whole.status.as_u16(), &whole.headers[ACCEPT_RANGES]), (200, &"bytes".parse().unwrap()));
                let tag = whole.headers[ETAG].to_str().unwrap().to_owned();
                assert!(tag.starts_with('"') && tag.len() > 10, "a strong tag: {tag}");
                for (range, from, to) in [
                    ("bytes=0-0", 0, 1),
                    ("bytes=100-199", 100, 200),
                    ("bytes=990-", 990, size),
                    ("bytes=-10", size - 10, size),
                    ("bytes=5-99999999999", 5, size),
                ] {
                    for condition in [None, Some(&tag)] {
                        let mut request = alice.get(&path).header(RANGE, range);
                        if let Some(tag) = condition {
                            request = request.header(IF_RANGE, tag);
                        }
                        let part = request.await;
                        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &content[from..to]), "{range} of {size}");
                        assert_eq!(part.headers[CONTENT_RANGE], format!("bytes {from}-{}/{size}", to - 1));
                        assert_eq!(part.headers[CONTENT_LENGTH], (to - from).to_string());
                        assert_eq!(part.headers[ETAG], tag);
                        assert_eq!(part.headers[CONTENT_TYPE], "video/mp4");
                        assert!(part.headers.contains_key(CONTENT_SECURITY_POLICY));
                    }
                }
                for range in ["bytes=99999999999-", "bytes=-0"] {
                    let refused = alice.get(&path).header(RANGE, range).await;
                    assert_eq!(refused.headers[CONTENT_RANGE], format!("bytes */{size}"));
                    refused.error(416, "M_UNKNOWN");
                }
                // Answered with the whole: several ranges, what is no range, and a range of another content.
                for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=x"] {
                    let answer = alice.get(&path).header(RANGE, range).await;
                    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, size), "{range}");
                }
                let other = alice.get(&path).header(RANGE, "bytes=0-1").header(IF_RANGE, "\"other\"").await;
                assert_eq!((other.status.as_u16(), other.body.len()), (200, size));
            }
        }
        server.shutdown().await;
    }

    async fn a_client_that_has_a_content_is_not_sent_it_again(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, anybody) = (server.register("alice").await, server.client());
        let place = upload(&alice, "image/png", picture(500, 500)).await;
        let mut tags = Vec::new();
        for path in [format!("{MEDIA}/download/{place}"), format!("{MEDIA}/thumbnail/{place}?width=32&height=32&method=crop")] {
            let whole = alice.get(&path).await;
            let tag = whole.headers[ETAG].to_str().unwrap().to_owned();
            for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
                let answer = alice.get(&path).header(IF_NONE_MATCH, &known).header(RANGE, "bytes=0-1").await;
                assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{known}");
                assert_eq!((&answer.headers[ETAG], &answer.headers[CACHE_CONTROL]), (&whole.headers[ETAG], &whole.headers[CACHE_CONTROL]));
            }
            assert_eq!(alice.get(&path).header(IF_NONE_MATCH, "\"x\"").await.body, whole.body);
            alice.get(&path).header(IF_MATCH, "\"x\"").await.error(412, "M_UNKNOWN");
            // A client must not learn by a tag what it may not read.
            anybody.get(&path).header(IF_NONE_MATCH, &tag).await.error(401, "M_MISSING_TOKEN");
            let head = anybody.request(Method::HEAD, &path).token(&alice.token).header(RANGE, "bytes=0-1").await;
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
            for header in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES, CONTENT_TYPE] {
                assert_eq!(head.headers[&header], whole.headers[&header], "{header}");
            }
            tags.push(tag);
        }
        assert_ne!(tags[0], tags[1]);
        server.shutdown().await;
    }

    async fn no_thumbnail_is_made_of_a_picture_that_is_too_large(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("media", "max_image_pixels", 10_000.into())]).await;
        let alice = server.register("alice").await;
        let place = upload(&alice, "image/png", picture(101, 100)).await;
        alice.get(format!("{MEDIA}/thumbnail/{place}?width=32&height=32")).await.error(413, "M_TOO_LARGE");
        // Few bytes that say that they are many pixels.
        let mut bomb = picture(1, 1);
        bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let place = upload(&alice, "image/png", bomb).await;
        let answer = alice.get(format!("{MEDIA}/thumbnail/{place}?width=32&height=32")).await;
        assert!(matches!(answer.status.as_u16(), 400 | 413), "{answer}");
        server.shutdown().await;
    }

    async fn uploads_have_a_rate(db: TestDatabase) {
        let rate: toml::Value = toml::Table::from_iter([("per_second".to_owned(), 0.01.into()), ("burst".to_owned(), 2.into())]).into();
        let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "media_create", rate)];
        let server = TestServer::start_with(&db, &settings).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        upload(&alice, "text/plain", "1").await;
        place(alice.post(CREATE).await);
        alice.post(UPLOAD).body("3").await.error(429, "M_LIMIT_EXCEEDED");
        alice.post(CREATE).await.error(429, "M_LIMIT_EXCEEDED");
        upload(&bob, "text/plain", "1").await;
        server.shutdown().await;
    }
}

async fn place_of_untyped(user: &User) -> String {
    place(user.post(UPLOAD).await)
}

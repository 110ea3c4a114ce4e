//! Media in a folder that the servers share.

use std::{io::Cursor, time::Duration};

use http::header::CONTENT_TYPE;
use image::{DynamicImage, ImageFormat};
use serde_json::json;

use crate::world::{Nodes, soon};

fn picture() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(640, 480).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The server name and the media ID, as in paths.
fn path_of(uri: &str) -> &str {
    uri.strip_prefix("mxc://").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_uploaded_to_one_server_is_there_at_the_other() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let there = nodes.at(1, &alice);
    let upload = alice.post("/_matrix/media/v3/upload").header(CONTENT_TYPE, "image/png").body(picture());
    let uri = upload.await.ok()["content_uri"].as_str().unwrap().to_owned();
    let download = format!("/_matrix/client/v1/media/download/{}", path_of(&uri));
    assert_eq!(there.get(&download).await.body, picture());
    let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{}?width=96&height=96&method=crop", path_of(&uri));
    let (here, other) = (alice.get(&thumbnail).await, there.get(&thumbnail).await);
    assert_eq!((here.status, other.status), (http::StatusCode::OK, http::StatusCode::OK));
    assert_eq!(here.body, other.body);
    // Of one thumbnail there is one file.
    let files = std::fs::read_dir(nodes.db.folder().join("media")).unwrap();
    let count = files.filter(|folder| folder.as_ref().unwrap().file_name() != "incoming").count();
    assert!(count <= 2, "{count} folders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_one_server_is_given_what_comes_to_the_other() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let announced = alice.post("/_matrix/media/v1/create").json(&json!({})).await.ok();
    let uri = announced["content_uri"].as_str().unwrap().to_owned();
    let path = format!("/_matrix/client/v1/media/download/{}?timeout_ms=20000", path_of(&uri));
    let waiting = tokio::spawn(nodes.at(1, &alice).get(path).into_future());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let path = format!("/_matrix/media/v3/upload/{}", path_of(&uri));
    alice.put(path).header(CONTENT_TYPE, "text/plain").body("here it is").await.ok();
    let came = soon("the content", waiting).await.unwrap();
    assert_eq!(&came.body[..], b"here it is");
}

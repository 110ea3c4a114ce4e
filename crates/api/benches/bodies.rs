//! A request body of 100 MiB that goes into a file: passed on in pieces, beside read as a whole and written then.
//!
//! This is the way of bodies in axum, as handlers have them: a `Body` that is a stream of frames.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use allocation_counter::measure;
use axum::body::Body;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::stream;
use http_body_util::{BodyExt as _, Limited};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

const SIZE_BYTES: usize = 100 << 20;
/// What hyper reads at once.
const FRAME_BYTES: usize = 64 << 10;

/// A body whose frames are made when they are asked for, as those of a connection are.
fn body() -> Body {
    let frames = (0..SIZE_BYTES / FRAME_BYTES)
        .map(|number| Ok::<_, std::io::Error>(Bytes::from(vec![u8::from(number % 2 == 0); FRAME_BYTES])));
    Body::from_stream(stream::iter(frames))
}

async fn file() -> tokio::fs::File {
    tokio::fs::File::from_std(tempfile::tempfile().unwrap())
}

async fn streamed() {
    let (mut body, mut file) = (Limited::new(body(), SIZE_BYTES), file().await);
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.unwrap().into_data() {
            file.write_all(&bytes).await.unwrap();
        }
    }
    file.flush().await.unwrap();
}

async fn buffered() {
    let whole = Limited::new(body(), SIZE_BYTES).collect().await.unwrap().to_bytes();
    let mut file = file().await;
    file.write_all(&whole).await.unwrap();
    file.flush().await.unwrap();
}

fn bodies(criterion: &mut Criterion) {
    // One thread, so that every allocation of the handler is seen.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let most = |run: &dyn Fn(&Runtime)| measure(|| run(&runtime)).bytes_max / 1024;
    let ours = most(&|runtime| runtime.block_on(streamed()));
    let plain = most(&|runtime| runtime.block_on(buffered()));
    println!("counted: a body of 100 MiB: {ours} against {plain} KiB at most");

    let mut group = criterion.benchmark_group("a body of 100 MiB into a file");
    group.sample_size(10).throughput(Throughput::Bytes(SIZE_BYTES as u64));
    group.bench_function("streamed", |bencher| bencher.iter(|| runtime.block_on(streamed())));
    group.bench_function("baseline: buffered", |bencher| bencher.iter(|| runtime.block_on(buffered())));
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);

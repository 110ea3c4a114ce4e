use std::time::{Duration, Instant};

/// How long something may take that is to come about.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What `look` finds, as soon as it finds something.
///
/// # Panics
/// When it has found nothing after a minute; `what` says what was missed.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

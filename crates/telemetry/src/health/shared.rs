use std::{pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Asks something for an answer; `Err` says why there was none.
pub type Probe<T> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<T, String>> + Send>> + Send + Sync>;

type Answer<T> = Result<T, String>;

/// The last answer, and when it came.
type Last<T> = Option<(Instant, Answer<T>)>;

/// A question that all callers share: never asked twice at a time, and not again while the last answer is
/// fresh. So nobody can make it expensive by asking often, and what hangs is not asked more and more.
pub(super) struct SharedProbe<T> {
    probe: Probe<T>,
    fresh_for: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    asking: Option<(Instant, watch::Receiver<Option<Answer<T>>>)>,
    last: Arc<Mutex<Last<T>>>,
}

impl<T: Clone + Send + Sync + 'static> SharedProbe<T> {
    pub(super) fn new(probe: Probe<T>, fresh_for: Duration) -> Self {
        Self { probe, fresh_for, state: Mutex::new(State { asking: None, last: Arc::default() }) }
    }

    /// The answer. Nobody waits longer than until `patience` after the question was put; it is an error then.
    pub(super) async fn ask(&self, patience: Duration) -> Answer<T> {
        if let Some(answer) = self.fresh() {
            return answer;
        }
        let (asked, mut answer) = self.begin();
        match timeout_at(asked + patience, answer.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err("no answer".to_owned())),
            Ok(Err(_)) => Err("the check ended without an answer".to_owned()),
            Err(_) => Err(format!("no answer within {patience:?}")),
        }
    }

    /// The last answer that there was, whatever its age; if it is not fresh the question is put again, for the next time.
    pub(super) fn latest(&self) -> Option<Answer<T>> {
        if self.fresh().is_none() {
            self.begin();
        }
        let last = self.state.lock().last.clone();
        let last = last.lock();
        last.as_ref().map(|(_, answer)| answer.clone())
    }

    fn fresh(&self) -> Option<Answer<T>> {
        let last = self.state.lock().last.clone();
        let last = last.lock();
        let (at, answer) = last.as_ref()?;
        (at.elapsed() < self.fresh_for).then(|| answer.clone())
    }

    /// The question in progress, or else a new one. It continues when its callers have gone away.
    fn begin(&self) -> (Instant, watch::Receiver<Option<Answer<T>>>) {
        let mut state = self.state.lock();
        if let Some((asked, answer)) = &state.asking
            && answer.borrow().is_none()
            && answer.has_changed().is_ok()
        {
            return (*asked, answer.clone());
        }
        let (sender, answer) = watch::channel(None);
        let (answering, last) = ((self.probe)(), state.last.clone());
        tokio::spawn(async move {
            let answer = answering.await;
            *last.lock() = Some((Instant::now(), answer.clone()));
            sender.send_replace(Some(answer));
        });
        let asking = (Instant::now(), answer);
        state.asking = Some(asking.clone());
        asking
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::SharedProbe;

    const SECOND: Duration = Duration::from_secs(1);

    fn counting(takes: Duration, fresh_for: Duration) -> (SharedProbe<usize>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let probe = move || {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                sleep(takes).await;
                Ok(number)
            }) as _
        };
        (SharedProbe::new(Box::new(probe), fresh_for), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_at_once_share_one_question() {
        let (probe, asked) = counting(SECOND, Duration::ZERO);
        let answers = futures::future::join_all((0..10).map(|_| probe.ask(2 * SECOND))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(1)), "{answers:?}");
        assert_eq!(probe.ask(2 * SECOND).await, Ok(2));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_answer_is_given_again() {
        let (probe, asked) = counting(SECOND, 10 * SECOND);
        for _ in 0..5 {
            assert_eq!(probe.ask(2 * SECOND).await, Ok(1));
        }
        sleep(10 * SECOND).await;
        assert_eq!(probe.latest(), Some(Ok(1)));
        sleep(2 * SECOND).await;
        assert_eq!(probe.latest(), Some(Ok(2)));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_asked_once_and_waited_for_once() {
        let probe = SharedProbe::<()>::new(Box::new(|| Box::pin(future::pending())), Duration::ZERO);
        let started = Instant::now();
        for _ in 0..100 {
            assert!(probe.ask(SECOND).await.is_err());
        }
        assert_eq!(started.elapsed(), SECOND);
        assert_eq!(probe.latest(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_panics_is_no_answer_and_is_asked_again() {
        let probe = SharedProbe::<()>::new(Box::new(|| Box::pin(async { panic!("broken") })), Duration::ZERO);
        for _ in 0..2 {
            assert_eq!(probe.ask(SECOND).await, Err("the check ended without an answer".to_owned()));
        }
    }
}

//! `loadtest soak`: mixed traffic at a share of what the server can do, for long, and whether it stays as it was.
//!
//! First the most that the server can do is measured: clients that ask again at once. Then the same clients keep to a
//! timetable that asks for a share of it, while others wait in `/sync`. A latency counts from when the timetable wanted the
//! request, so a server that falls behind cannot hide it. What was measured is judged by [`verdict`].

mod mix;
mod recording;
mod verdict;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;

use self::recording::Recording;
use self::verdict::{Limits, Verdict};
use self::world::{Client, World};
use crate::arguments::OneTarget;
use crate::context::{Context, Size, Target};
use crate::matrix::{User, next_batch};
use crate::measurement::{Measurement, Spent, Tally};
use crate::table;

/// How often memory is read.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
const WARM_UP_MAX: Duration = Duration::from_secs(5 * 60);
/// Windows that a run has at least, so that its end can be compared with its beginning.
const MIN_WINDOWS: u32 = 12;
const WINDOW_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why something failed, with how often.
type Errors = RefCell<BTreeMap<String, u64>>;

#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// Minutes of traffic, after the most was measured
    #[arg(long, default_value = "20", value_parser = parse_minutes)]
    minutes: f64,
    /// Share of the measured most that is asked for
    #[arg(long, default_value = "0.5", value_parser = parse_share)]
    share: f64,
    /// Requests a second, instead of a share of the measured most
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds in which the most is measured
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    measure_seconds: u64,
    /// Clients that ask, each of another user
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u32).range(2..=2000))]
    clients: u32,
    /// Further clients that wait in /sync all the time
    #[arg(long, default_value = "16", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    waiting: u32,
    /// How much memory may grow after the first 5 minutes (or quarter, if that is shorter), in percent
    #[arg(long, default_value = "5")]
    memory_percent: f64,
    /// How many times longer p99 may be at the end than at the beginning
    #[arg(long, default_value = "1.5")]
    p99_times: f64,
    #[command(flatten)]
    target: OneTarget,
}

impl Soak {
    /// Whether the server stayed as it was.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        let target = Target::from(self.target.clone());
        ensure!(!target.processes.pids.is_empty(), "memory is that of a process: give --server-pid");
        let context = Context::new(target, Size::FULL)?;
        let world = World::prepare(&context, self.clients as usize, self.waiting as usize).await?;
        let clients: Vec<_> = world.clients.iter().map(|client| RefCell::new(client.clone())).collect();
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        let warm_up = WARM_UP_MAX.min(length / 4);

        let waiting_errors = Errors::default();
        let waiting = futures::future::join_all(world.waiting.iter().map(|user| wait(&context, user, &waiting_errors)));
        let driven = self.drive(&context, &world, &clients, length);
        let (recording, rate) = tokio::select! {
            driven = driven => driven?,
            // They wait for ever, unless there are none.
            _ = waiting, if !world.waiting.is_empty() => anyhow::bail!("the waiting clients ended"),
        };

        let mut errors = recording.errors();
        errors.extend(waiting_errors.into_inner());
        let limits = Limits { memory_percent: self.memory_percent, p99_times: self.p99_times, rate_per_second: rate };
        let verdict = Verdict::of(&recording, &errors, warm_up, &limits);
        print!("{}\n{}\n{verdict}\n", table::of_one(&recording.rows()), recording.windows_table());
        Ok(verdict.is_passed())
    }

    /// Measures the most, then sends the traffic. What was seen, and the rate that was asked for.
    async fn drive(
        &self,
        context: &Context,
        world: &World,
        clients: &[RefCell<Client>],
        length: Duration,
    ) -> anyhow::Result<(Recording, f64)> {
        let rate = match self.rate {
            Some(rate) => rate,
            None => {
                let most = most_per_second(context, world, clients, Duration::from_secs(self.measure_seconds)).await;
                context.progress.note(&format!("the most: {most:.0} requests a second"));
                most * self.share
            }
        };
        ensure!(rate >= 1.0, "the server answers less than one request a second");
        context.progress.stage(&format!("{rate:.0} requests a second for {} s", length.as_secs()));
        let recording = Recording::new((length / MIN_WINDOWS).min(WINDOW_MAX));
        let end = Instant::now() + length;
        let timetable = |number| Timetable::new(rate, number, clients.len(), end);
        let traffic = clients
            .iter()
            .enumerate()
            .map(|(number, client)| keep_to_timetable(context, world, &recording, client, timetable(number)));
        let traffic = futures::future::join_all(traffic);
        let (_, sampled) = futures::join!(traffic, sample_memory(context, &recording, end));
        sampled?;
        Ok((recording, rate))
    }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.2..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("a number of minutes from 0.2 to 10000 is expected".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.01..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0.01 to 1 is expected".to_owned()),
    }
}

/// The rate of clients that ask again as soon as they are answered.
async fn most_per_second(context: &Context, world: &World, clients: &[RefCell<Client>], length: Duration) -> f64 {
    context.progress.stage("measuring the most");
    let started = Instant::now();
    let work = clients.iter().map(|client| async move {
        let mut answered = 0_u64;
        while started.elapsed() < length {
            let step = client.borrow_mut().next_step();
            answered += u64::from(mix::take(context, world, client, step).await.is_ok());
            context.progress.tick();
        }
        answered
    });
    let answered: u64 = futures::future::join_all(work).await.into_iter().sum();
    answered as f64 / started.elapsed().as_secs_f64()
}

/// When one of the clients is to ask.
struct Timetable {
    interval: Duration,
    next: Instant,
    end: Instant,
}

impl Timetable {
    fn new(rate: f64, number: usize, clients: usize, end: Instant) -> Self {
        let interval = Duration::from_secs_f64(clients as f64 / rate);
        Self { interval, next: Instant::now() + interval.mul_f64(number as f64 / clients as f64), end }
    }
}

async fn keep_to_timetable(
    context: &Context,
    world: &World,
    recording: &Recording,
    client: &RefCell<Client>,
    mut timetable: Timetable,
) {
    while timetable.next < timetable.end {
        tokio::time::sleep_until(timetable.next.into()).await;
        if Instant::now() >= timetable.end {
            return;
        }
        let step = client.borrow_mut().next_step();
        let outcome = mix::take(context, world, client, step).await;
        recording.record(step, timetable.next.elapsed(), outcome);
        context.progress.tick();
        timetable.next += timetable.interval;
    }
}

async fn sample_memory(context: &Context, recording: &Recording, end: Instant) -> anyhow::Result<()> {
    let interval = SAMPLE_INTERVAL.min(recording.window() / 3);
    while Instant::now() < end {
        recording.sample(context.target.processes.resident_bytes()?);
        tokio::time::sleep(interval).await;
    }
    Ok(())
}

/// A client that syncs for ever. Its failures count as those of the others do, and it tries again.
async fn wait(context: &Context, user: &User, errors: &Errors) {
    let mut since: Option<String> = None;
    loop {
        let answer = context.server.sync(user, since.as_deref(), POLL).await;
        let next = match &answer {
            Ok(reply) => next_batch(reply).map_err(|error| error.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        match next {
            Ok(next) => since = Some(next),
            Err(reason) => {
                *errors.borrow_mut().entry(format!("a waiting client: {reason}")).or_default() += 1;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

impl Recording {
    /// One row for each kind of request.
    fn rows(&self) -> Vec<Measurement> {
        let spent = Spent { elapsed: self.length(), cpu: None };
        let row = |(kind, tally): (&'static str, Tally)| Measurement::new(format!("soak, {kind}"), tally, spent);
        self.by_step().into_iter().map(row).collect()
    }
}

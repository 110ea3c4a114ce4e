//! One sender, many members waiting in `/sync`: how long until each has the message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::context::Context;
use crate::matrix::{User, next_batch};
use crate::measurement::{Measurement, Spent, Tally};

const MEMBERS: usize = 100;
const POLL: Duration = Duration::from_secs(30);
/// A member that has not got a message after this counts as an error.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// Members ask again between two messages; they get as long as the last delivery took, but at least this.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// An answer that a member got.
struct Arrival {
    member: usize,
    at: Instant,
    outcome: Result<String, String>,
}

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let members = context.size.count(MEMBERS);
    let users = context.users(members).await?;
    let sender = context.new_user().await?;
    let room = context.room_with(&sender, &users).await?;
    let since = context.prepare("preparing the members' syncs", members, async |number| match users.get(number) {
        Some(user) => context.server_of(number).position(user).await,
        None => Ok(String::new()),
    });
    let since = since.await?;

    let (arrivals, arrived) = mpsc::channel(1024);
    let waiting = users
        .iter()
        .zip(since)
        .enumerate()
        .map(|(member, (user, since))| wait(context, member, user.clone(), since, arrivals.clone()));
    let waiting = futures::future::join_all(waiting);
    let rounds = send_and_collect(context, &sender, &room, members, arrived);
    tokio::select! {
        measured = rounds => measured,
        _ = waiting => Ok(Vec::new()),
    }
}

/// A member's client: syncs for ever.
async fn wait(context: &Context, member: usize, user: Arc<User>, mut since: String, arrivals: mpsc::Sender<Arrival>) {
    loop {
        let answer = context.server_of(member).sync(&user, Some(&since), POLL).await;
        let at = Instant::now();
        let outcome = match answer {
            Ok(reply) => match next_batch(&reply) {
                Ok(next) => {
                    since = next;
                    Ok(String::from_utf8_lossy(&reply.body).into_owned())
                }
                Err(error) => Err(error.to_string()),
            },
            Err(failure) => Err(failure.to_string()),
        };
        let failed = outcome.is_err();
        if arrivals.send(Arrival { member, at, outcome }).await.is_err() {
            return;
        }
        if failed {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

async fn send_and_collect(
    context: &Context,
    sender: &User,
    room: &str,
    members: usize,
    mut arrived: mpsc::Receiver<Arrival>,
) -> anyhow::Result<Vec<Measurement>> {
    let name = format!("fanout to {members}");
    let mut deliveries = Tally::default();
    let mut last_member = Tally::default();
    // The first message finds members that have never waited, and is not measured.
    deliver(context, sender, room, 0, members, &mut arrived).await?;
    let window = context.open_window(&format!("{name}, deliveries")).await?;
    let end = Instant::now() + context.size.duration();
    let mut delivering = Duration::ZERO;
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        round += 1;
        let delivered = deliver(context, sender, room, round, members, &mut arrived).await?;
        delivering += delivered.last;
        last_member.latency(delivered.last);
        deliveries.merge(delivered.tally);
        tokio::time::sleep(delivered.last.max(PAUSE_MIN)).await;
    }
    let cpu = context.close_window(window).await?.cpu;
    // The pauses are the generator's: the rate is that of the time in which messages were on their way.
    let row = Measurement::new(format!("{name}, per delivery"), deliveries, Spent { elapsed: delivering, cpu });
    let row = match last_member.percentiles() {
        None => row,
        Some(last) => row
            .figure("last member has it, p50", "ms", last.p50)
            .figure("last member has it, p95", "ms", last.p95)
            .figure("last member has it, p99", "ms", last.p99),
    };
    Ok(vec![row])
}

struct Delivered {
    tally: Tally,
    /// From the sender's request to the last member's answer.
    last: Duration,
}

/// Sends one message and waits until every member has it.
async fn deliver(
    context: &Context,
    sender: &User,
    room: &str,
    round: usize,
    members: usize,
    arrived: &mut mpsc::Receiver<Arrival>,
) -> anyhow::Result<Delivered> {
    let text = format!("Message number {round} to everybody who waits");
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut missing = vec![true; members];
    let mut last = Duration::ZERO;
    let collect = async {
        while missing.contains(&true) {
            let Some(arrival) = arrived.recv().await else { break };
            match arrival.outcome {
                Err(reason) => tally.error(reason),
                Ok(body) if body.contains(&text) => {
                    if let Some(waits) = missing.get_mut(arrival.member).filter(|waits| **waits) {
                        *waits = false;
                        last = arrival.at.duration_since(started);
                        tally.latency(last);
                        context.progress.tick();
                    }
                }
                Ok(_) => {}
            }
        }
    };
    let collect = tokio::time::timeout(DELIVERY_LIMIT, collect);
    let (sent, collected) = futures::join!(context.server.send(sender, room, &text), collect);
    sent?;
    if collected.is_err() {
        let late = missing.iter().filter(|waits| **waits).count();
        for _ in 0..late {
            tally.error(format!("not delivered within {} s", DELIVERY_LIMIT.as_secs()));
        }
        last = DELIVERY_LIMIT;
    }
    Ok(Delivered { tally, last })
}

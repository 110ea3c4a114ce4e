//! Finds due jobs, and gives them to free workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::Timestamp;
use storage::{NewJob, StorageError, Wanted};

use super::handlers::{Handlers, JobType, Scheduled};
use super::job::Priority;
use super::jobs::{JobObserver, JobQueue};

/// Most jobs taken at once.
const MAX_CLAIMED: usize = 32;
/// The pause after others were faster.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// What a node does, by name.
pub(super) struct Abilities {
    job_types: HashMap<&'static str, Arc<JobType>>,
    names: HashMap<Priority, Vec<String>>,
    scheduled: Vec<Scheduled>,
    observer: Arc<dyn JobObserver>,
}

/// The end of one look at what there is to do.
enum Look {
    /// There may be more.
    Again,
    /// Nothing for so long, unless somebody rings.
    Rest(Duration),
}

impl Abilities {
    pub(super) fn new(handlers: Handlers, observer: Arc<dyn JobObserver>) -> Self {
        let Handlers { job_types, scheduled } = handlers;
        let mut names: HashMap<Priority, Vec<String>> = HashMap::new();
        for job_type in &job_types {
            names.entry(job_type.priority).or_default().push(job_type.name.to_owned());
        }
        let job_types = job_types.into_iter().map(|job_type| (job_type.name, job_type)).collect();
        Self { job_types, names, scheduled, observer }
    }
}

impl JobQueue {
    pub(super) async fn dispatch(self: Arc<Self>, abilities: Arc<Abilities>, started_at: Timestamp) {
        let mut bell = self.database.job_bell();
        let mut schedules: Option<HashMap<String, Timestamp>> = None;
        let mut is_failing = false;
        while !self.stopping.is_cancelled() {
            bell.mark_unchanged();
            let looked = async {
                if schedules.is_none() {
                    schedules = Some(self.make_schedules_known(&abilities.scheduled).await?);
                }
                let scheduled_at = match &mut schedules {
                    Some(schedules) => self.schedule_due(&abilities.scheduled, schedules, started_at).await?,
                    None => None,
                };
                self.take_due(&abilities, scheduled_at).await
            };
            let pause = match looked.await {
                Ok(look) => {
                    is_failing = false;
                    match look {
                        Look::Again => continue,
                        Look::Rest(pause) => pause,
                    }
                }
                Err(error) => {
                    // Once, not again and again for as long as the database is gone.
                    if !is_failing {
                        tracing::warn!(%error, "jobs that are due cannot be found");
                    }
                    is_failing = true;
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => {}
                _ = bell.changed() => {}
                () = self.freed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn make_schedules_known(&self, scheduled: &[Scheduled]) -> Result<HashMap<String, Timestamp>, StorageError> {
        let now = self.clock.now();
        for entry in scheduled {
            let (plan, next_at) = (entry.schedule.to_string(), entry.schedule.first(now));
            self.database.store_job_schedule(entry.name, plan, next_at).await?;
        }
        Ok(self.database.job_schedules().await?.into_iter().collect())
    }

    /// Schedules recurring jobs that are due. Returns when the next one is.
    async fn schedule_due(
        &self,
        scheduled: &[Scheduled],
        known: &mut HashMap<String, Timestamp>,
        started_at: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let now = self.clock.now();
        let is_due = |at: Option<&Timestamp>| at.is_some_and(|at| *at <= now);
        if scheduled.iter().any(|entry| is_due(known.get(entry.name))) {
            // Another node may have been faster.
            *known = self.database.job_schedules().await?.into_iter().collect();
        }
        for entry in scheduled {
            let Some(at) = known.get(entry.name).copied().filter(|at| *at <= now) else { continue };
            // A job that was missed while no node ran waits a little, so that it does not slow down clients that reconnect.
            let due_at = if at < started_at { now.max(started_at.plus(self.options.settle)) } else { now };
            let (entry, next) = (entry.clone(), entry.schedule.after(now));
            let name = entry.name;
            let write = async move |tx: &mut storage::Tx| {
                let Scheduled { name, priority, key, payload, .. } = &entry;
                if tx.advance_job_schedule(name, at, next).await? {
                    let key = Some(key.as_str());
                    tx.schedule_job(&NewJob { name, priority: *priority, key, payload, scheduled_at: now, due_at })
                        .await?;
                }
                Ok(())
            };
            self.database.write(write).await?;
            known.insert(name.to_owned(), next);
        }
        Ok(scheduled.iter().filter_map(|entry| known.get(entry.name)).min().copied())
    }

    /// Takes as many due jobs as there are free workers.
    async fn take_due(
        self: &Arc<Self>,
        abilities: &Abilities,
        scheduled_at: Option<Timestamp>,
    ) -> Result<Look, StorageError> {
        let now = self.clock.now();
        let until = |at: Timestamp| at.since(now).min(self.options.poll_interval);
        let mut pause = scheduled_at.map_or(self.options.poll_interval, until);
        let mut took_some = false;
        for priority in Priority::ALL {
            let (Some(names), Some(workers)) = (abilities.names.get(&priority), self.workers.get(&priority)) else {
                continue;
            };
            let free = workers.available_permits().min(MAX_CLAIMED);
            if free == 0 {
                continue;
            }
            let Some(next_at) = self.database.next_job_at(names, priority.code()).await? else { continue };
            if next_at > now {
                pause = pause.min(until(next_at));
                continue;
            }
            if self.claim(abilities, priority, names, free).await? {
                took_some = true;
            } else {
                pause = pause.min(SHORT_PAUSE);
            }
        }
        Ok(if took_some { Look::Again } else { Look::Rest(pause) })
    }

    async fn claim(
        self: &Arc<Self>,
        abilities: &Abilities,
        priority: Priority,
        names: &[String],
        free: usize,
    ) -> Result<bool, StorageError> {
        let now = self.clock.now();
        let claimed = self
            .database
            .claim_jobs(Wanted {
                names: names.to_vec(),
                priority: priority.code(),
                limit: i64::try_from(free).unwrap_or(1),
                node: self.options.node.clone(),
                now,
                lease_until: now.plus(self.options.lease),
            })
            .await?;
        let took_some = !claimed.is_empty();
        for job in claimed {
            let workers = self.workers.get(&priority).cloned();
            let permit = workers.and_then(|workers| workers.try_acquire_owned().ok());
            let Some(job_type) = abilities.job_types.get(job.name.as_str()).cloned() else { continue };
            let (queue, observer) = (self.clone(), abilities.observer.clone());
            self.spawn(async move {
                queue.work(&job_type, job, observer.as_ref()).await;
                drop(permit);
                queue.freed.notify_one();
            });
        }
        Ok(took_some)
    }
}

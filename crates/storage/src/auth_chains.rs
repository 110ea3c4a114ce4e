//! The index of auth chains: which parts of it are loaded, and what new events add.

use std::collections::HashMap;

use database::TableRows;
use database::{Row, Value};
use homeserver_core::EventSn;
use room_engine::auth_chain::{
    Chain, ChainCover, ChainNeed, ChainPosition, ChainRange, IndexedEvent, LoadedChain, NewRows, PositionedEvent,
};

use crate::{Database, StorageError, Tx, params};

/// How often inserting events may ask for more of the index. The questions go at most a few links deep.
const MAX_ROUNDS: usize = 32;
/// Chains that are asked for in one statement.
const CHAINS_AT_ONCE: usize = 2_000;

const POSITIONS: &str = "SELECT event_sn, chain, seq FROM auth_chain_events WHERE event_sn IN LIST($1)";
/// A chain has the number of its first event.
const CHAINS: &str = "SELECT e.chain, (SELECT MAX(seq) FROM auth_chain_events WHERE chain = e.chain), s.parent_chain, \
                      s.parent_seq FROM auth_chain_events e LEFT JOIN auth_chain_starts s ON s.chain = e.chain \
                      WHERE e.event_sn IN LIST($1)";
const LINKS: &str = "SELECT from_chain, from_seq, to_chain, to_seq FROM auth_chain_links WHERE from_chain IN LIST($1)";
const CITATIONS: &str = "SELECT from_chain, from_seq, to_chain, to_seq FROM auth_chain_links \
                         WHERE to_chain IN LIST($1) AND to_seq >= $2";

/// Where statements of this module run: in the transaction of a write, or on their own.
trait Reads {
    async fn rows<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError> + Send,
    ) -> Result<Vec<T>, StorageError>;
}

impl Reads for Tx {
    async fn rows<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError> + Send,
    ) -> Result<Vec<T>, StorageError> {
        self.query(sql, params, map).await
    }
}

impl Reads for &Database {
    async fn rows<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError> + Send,
    ) -> Result<Vec<T>, StorageError> {
        self.query(sql, params, map).await
    }
}

impl Database {
    /// Loads parts of the index of auth chains into `cover`.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails, or [`StorageError::Corrupt`] if something is not there.
    pub async fn load_auth_chains(&self, need: &ChainNeed, cover: &mut ChainCover) -> Result<(), StorageError> {
        let mut reads = self;
        load(&mut reads, need, cover).await
    }

    /// The events at some positions of auth chains, range by range.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn events_of_chains(
        &self,
        ranges: &[ChainRange],
    ) -> Result<Vec<(ChainRange, Vec<EventSn>)>, StorageError> {
        let mut answer = Vec::with_capacity(ranges.len());
        for ranges in ranges.chunks(CHAINS_AT_ONCE) {
            let chains: Vec<i64> = ranges.iter().map(|range| range.chain.0.0).collect();
            let first = ranges.iter().map(|range| range.first).min().unwrap_or_default();
            let last = ranges.iter().map(|range| range.last).max().unwrap_or_default();
            let sql = "SELECT event_sn, chain, seq FROM auth_chain_events \
                       WHERE chain IN LIST($1) AND seq >= $2 AND seq <= $3 ORDER BY chain, seq";
            let rows = self.query(sql, params![&chains, i64::from(first), i64::from(last)], read_position).await?;
            let mut by_chain: HashMap<Chain, Vec<PositionedEvent>> = HashMap::with_capacity(chains.len());
            for row in rows {
                by_chain.entry(row.position.chain).or_default().push(row);
            }
            for range in ranges {
                let events = by_chain.get(&range.chain).map(Vec::as_slice).unwrap_or_default();
                let in_range = |it: &&PositionedEvent| (range.first..=range.last).contains(&it.position.seq);
                answer.push((*range, events.iter().filter(in_range).map(|it| it.event_sn).collect()));
            }
        }
        Ok(answer)
    }
}

/// Places events in the index, and returns the rows to write.
pub(crate) async fn index(tx: &mut Tx, events: &[IndexedEvent]) -> Result<NewRows, StorageError> {
    if events.is_empty() {
        return Ok(NewRows::default());
    }
    let mut cover = tx.take_auth_chains();
    let rows = insert(tx, events, &mut cover).await;
    tx.keep_auth_chains(cover);
    if let Ok(rows) = &rows {
        tx.has_indexed(rows);
    }
    rows
}

async fn insert(tx: &mut Tx, events: &[IndexedEvent], cover: &mut ChainCover) -> Result<NewRows, StorageError> {
    for _ in 0..MAX_ROUNDS {
        match cover.insert(events) {
            Ok(rows) => return Ok(rows),
            Err(need) => load(tx, &need, cover).await?,
        }
    }
    Err(StorageError::Corrupt("placing an event in its auth chain asks for more without end".to_owned()))
}

/// The rows of events that were given positions in chains. `events` are the ones that [`index`] was given.
pub(crate) fn rows<'a>(events: &'a [IndexedEvent], new: &'a NewRows, lists: &'a [String]) -> [TableRows<'a>; 3] {
    let lists: HashMap<EventSn, &String> = events.iter().map(|event| event.event_sn).zip(lists).collect();
    let positions = new
        .events
        .iter()
        .map(|PositionedEvent { event_sn, position }| {
            let list = lists.get(event_sn).map_or("", |list| list.as_str());
            vec![(*event_sn).into(), position.chain.0.into(), i64::from(position.seq).into(), list.into()]
        })
        .collect();
    let starts = new
        .starts
        .iter()
        .map(|start| vec![start.chain.0.into(), start.parent.chain.0.into(), i64::from(start.parent.seq).into()])
        .collect();
    let links = new
        .links
        .iter()
        .map(|link| {
            vec![
                link.from.chain.0.into(),
                i64::from(link.from.seq).into(),
                link.to.chain.0.into(),
                i64::from(link.to.seq).into(),
            ]
        })
        .collect();
    [
        TableRows { into: "auth_chain_events (event_sn, chain, seq, auth_events)", rows: positions },
        TableRows { into: "auth_chain_starts (chain, parent_chain, parent_seq)", rows: starts },
        TableRows { into: "auth_chain_links (from_chain, from_seq, to_chain, to_seq)", rows: links },
    ]
}

/// The auth events of an event, as they are stored.
pub(crate) fn auth_event_list(event: &IndexedEvent) -> String {
    let numbers: Vec<String> = event.auth_events.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

async fn load(reads: &mut impl Reads, need: &ChainNeed, cover: &mut ChainCover) -> Result<(), StorageError> {
    load_positions(reads, &need.positions, cover).await?;
    for chains in need.chains.chunks(CHAINS_AT_ONCE) {
        load_chains(reads, chains, cover).await?;
    }
    load_citations(reads, &need.citations, cover).await
}

async fn load_positions(
    reads: &mut impl Reads,
    events: &[EventSn],
    cover: &mut ChainCover,
) -> Result<(), StorageError> {
    if events.is_empty() {
        return Ok(());
    }
    // The same event may be the counterpart of several chains.
    let mut sns: Vec<i64> = events.iter().map(|sn| sn.0).collect();
    sns.sort_unstable();
    sns.dedup();
    let rows = reads.rows(POSITIONS, params![&sns], read_position).await?;
    if rows.len() < sns.len() {
        let known: std::collections::HashSet<EventSn> = rows.iter().map(|row| row.event_sn).collect();
        let lost = events.iter().find(|sn| !known.contains(sn)).copied().unwrap_or(EventSn(0));
        return Err(StorageError::Corrupt(format!("event {lost} has no place in an auth chain")));
    }
    rows.into_iter().for_each(|row| cover.add_position(row));
    Ok(())
}

async fn load_chains(reads: &mut impl Reads, chains: &[Chain], cover: &mut ChainCover) -> Result<(), StorageError> {
    let numbers: Vec<i64> = chains.iter().map(|chain| chain.0.0).collect();
    let loaded = reads
        .rows(CHAINS, params![&numbers], |row| {
            let parent = match (row.get::<Option<i64>>(2)?, row.get::<Option<i64>>(3)?) {
                (Some(chain), Some(seq)) => Some(position(chain, seq)?),
                _ => None,
            };
            let end = position(row.get(0)?, row.get(1)?)?;
            Ok(LoadedChain { chain: end.chain, length: end.seq, parent, links: Vec::new() })
        })
        .await?;
    let mut loaded: HashMap<Chain, LoadedChain> = loaded.into_iter().map(|it| (it.chain, it)).collect();
    for (from, to) in reads.rows(LINKS, params![&numbers], read_link).await? {
        if let Some(chain) = loaded.get_mut(&from.chain) {
            chain.links.push((from.seq, to));
        }
    }
    if let Some(lost) = chains.iter().find(|chain| !loaded.contains_key(chain)) {
        return Err(StorageError::Corrupt(format!("the auth chain of event {} is missing", lost.0)));
    }
    loaded.into_values().for_each(|chain| cover.add_chain(chain));
    Ok(())
}

async fn load_citations(
    reads: &mut impl Reads,
    cited: &[ChainPosition],
    cover: &mut ChainCover,
) -> Result<(), StorageError> {
    for cited in cited.chunks(CHAINS_AT_ONCE) {
        let chains: Vec<i64> = cited.iter().map(|it| it.chain.0.0).collect();
        let first = cited.iter().map(|it| it.seq).min().unwrap_or_default();
        let links = reads.rows(CITATIONS, params![&chains, i64::from(first)], read_link).await?;
        let mut by_target: HashMap<Chain, Vec<(u32, ChainPosition)>> = HashMap::with_capacity(chains.len());
        for (from, to) in links {
            by_target.entry(to.chain).or_default().push((to.seq, from));
        }
        for cited in cited {
            let links = by_target.get(&cited.chain).map(Vec::as_slice).unwrap_or_default();
            cover.add_citations(*cited, links.iter().copied().filter(|(seq, _)| *seq >= cited.seq));
        }
    }
    Ok(())
}

fn read_position(row: &Row<'_>) -> Result<PositionedEvent, StorageError> {
    Ok(PositionedEvent { event_sn: row.get(0)?, position: position(row.get(1)?, row.get(2)?)? })
}

fn read_link(row: &Row<'_>) -> Result<(ChainPosition, ChainPosition), StorageError> {
    Ok((position(row.get(0)?, row.get(1)?)?, position(row.get(2)?, row.get(3)?)?))
}

fn position(chain: i64, seq: i64) -> Result<ChainPosition, StorageError> {
    let wrong = |_| StorageError::Corrupt(format!("{seq} is no number of an event in an auth chain"));
    Ok(ChainPosition { chain: Chain(EventSn(chain)), seq: u32::try_from(seq).map_err(wrong)? })
}

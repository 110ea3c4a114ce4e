//! What always holds of a room, whatever came in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use homeserver_core::{EventSn, Position};
use room_engine::Pdu;
use room_engine::auth_chain::ChainCover;
use room_engine::state_map::StateMap;
use rooms::RoomCheck;
use storage::{GraphEvent, Membership, Standing};

use super::room::Room;

type Entries = BTreeMap<(i64, i64), i64>;

impl Room {
    /// Checks that all that is stored of the room says the same.
    pub(crate) async fn assert_consistent(&self) {
        let current = self.current_entries().await;
        assert_eq!(current, self.entries(self.head().await.state.unwrap()).await, "the state of the head");
        self.assert_members().await;
        self.assert_ends_are_ends().await;
        self.assert_changes_lead_to(&current).await;
    }

    async fn current_entries(&self) -> Entries {
        let entries = self.server.database.stored_current_state(self.sn).await.unwrap();
        entries.into_iter().map(|(place, sn)| ((place.event_type.0, place.state_key.0), sn.0)).collect()
    }

    /// All of a state.
    pub(crate) async fn entries(&self, state: StateMap) -> Entries {
        let all = self.server.database.with_chunks(|chunks| StateMap::EMPTY.diff(state, chunks)).await.unwrap();
        let entry = |it: room_engine::state_map::Difference| {
            ((it.place.event_type.0, it.place.state_key.0), it.after.unwrap().0)
        };
        all.into_iter().map(entry).collect()
    }

    /// The memberships are those of the state, with their numbers; who has none any more has left.
    async fn assert_members(&self) {
        let head = self.head().await;
        let mut of_state = BTreeMap::new();
        for (place, pdu) in self.current_state().await {
            if place.0 == "m.room.member" {
                of_state.insert(place.1, pdu.membership().unwrap());
            }
        }
        let mut stored = BTreeMap::new();
        for (user_sn, membership, _) in self.server.database.stored_memberships(self.sn).await.unwrap() {
            let user_id = self.server.interned.user_id(user_sn).await.unwrap().to_string();
            let history = self.server.database.membership_history(self.sn, user_sn).await.unwrap();
            assert_eq!(history.last().map(|it| it.1), Some(membership), "the last change of {user_id}");
            if of_state.contains_key(&user_id) || membership != Membership::Leave {
                stored.insert(user_id, membership);
            }
        }
        assert_eq!(stored, of_state, "the memberships");
        let count = |which| i64::try_from(of_state.values().filter(|it| **it == which).count()).unwrap();
        assert_eq!(
            (head.known_members().joined, head.known_members().invited),
            (count(Membership::Join), count(Membership::Invite))
        );
    }

    /// The ends are the events in good standing that no other such event follows, also not by way of others.
    async fn assert_ends_are_ends(&self) {
        let graph = self.graph().await;
        let pdus: Vec<Pdu> = graph.iter().map(|event| self.parse(event)).collect();
        let mut followed: BTreeSet<&str> = BTreeSet::new();
        for (event, pdu) in graph.iter().zip(&pdus).rev() {
            // What was only stored for checking has no state after it, and no place between others.
            let has_place = event.state.is_some();
            if has_place && (event.standing.is_followed() || followed.contains(&*event.stored.event_id)) {
                followed.extend(pdu.prev_events().iter().map(|id| id.as_str()));
            }
        }
        // Where this server has entered the room by way of another one, that takes the place of all ends from before.
        let placed = graph.iter().filter(|event| event.state.is_some());
        let placed: BTreeSet<&str> = placed.map(|event| &*event.stored.event_id).collect();
        let is_entry = |(event, pdu): (&GraphEvent, &Pdu)| {
            event.state.is_some()
                && pdu.membership() == Some(Membership::Join)
                && pdu.sender().server_name() == "one"
                && pdu.prev_events().iter().any(|id| !placed.contains(id.as_str()))
        };
        let entered_at = graph.iter().zip(&pdus).rposition(is_entry).unwrap_or(0);
        let is_end = |event: &&GraphEvent| event.standing.is_followed() && !followed.contains(&*event.stored.event_id);
        let expected: Vec<EventSn> =
            graph.iter().skip(entered_at).filter(is_end).map(|event| event.stored.sn).collect();
        let mut ends = self.head().await.extremities;
        ends.sort_unstable();
        assert!(!ends.is_empty() && ends.len() <= 20, "{} ends", ends.len());
        if self.gives_up_ends.load(Ordering::Relaxed) {
            assert!(ends.iter().all(|end| expected.contains(end)), "{ends:?} are among {expected:?}");
        } else {
            assert_eq!(ends, expected, "the ends");
        }
    }

    /// The changes of the state, one after the other, lead to what is current.
    async fn assert_changes_lead_to(&self, current: &Entries) {
        let changes = self.server.database.state_changes(&[self.sn.0], Position(0), Position(i64::MAX)).await.unwrap();
        let mut state = Entries::new();
        for change in changes {
            let place = (change.entry.type_sn.0, change.entry.key_sn.0);
            assert_eq!(state.get(&place).copied(), change.replaces_sn.map(|sn| sn.0), "what {change:?} replaces");
            match change.entry.event_sn.0 {
                0 => assert!(state.remove(&place).is_some(), "{change:?} takes something away"),
                sn => assert_ne!(state.insert(place, sn), Some(sn), "{change:?} changes something"),
            }
        }
        assert_eq!(&state, current, "the changes of the state");
    }

    /// Every state event that can be in an auth chain is in the index, with its whole auth chain. A check of the room agrees.
    pub(crate) async fn assert_auth_chains(&self) {
        let check = RoomCheck::new(self.server.database.clone(), self.server.interned.clone());
        let report = check.check(&self.id).await.unwrap();
        assert!(!report.is_damaged(), "{report}");
        let graph = self.graph().await;
        let mut indexed: Vec<&GraphEvent> = graph
            .iter()
            .filter(|it| it.standing != Standing::Rejected && self.parse(it).state_key().is_some())
            .collect();
        // Each comes after its auth events.
        indexed.sort_unstable_by_key(|it| it.stored.sn);
        let numbers: HashMap<&str, EventSn> = graph.iter().map(|it| (&*it.stored.event_id, it.stored.sn)).collect();
        let mut chains: BTreeMap<EventSn, BTreeSet<EventSn>> = BTreeMap::new();
        let mut cover = ChainCover::new();
        for event in indexed {
            let named: Vec<EventSn> = self.parse(event).auth_events().iter().map(|id| numbers[id.as_str()]).collect();
            assert_eq!(event.auth_events, named, "the auth events of {}", event.stored.event_id);
            let mut chain: BTreeSet<EventSn> = named.iter().copied().collect();
            chain.extend(named.iter().flat_map(|sn| &chains[sn]));
            for earlier in chains.keys() {
                let is_in_chain = loop {
                    match cover.is_in_auth_chain(*earlier, event.stored.sn) {
                        Ok(answer) => break answer,
                        Err(need) => self.server.database.load_auth_chains(&need, &mut cover).await.unwrap(),
                    }
                };
                assert_eq!(is_in_chain, chain.contains(earlier), "{earlier} in the chain of {}", event.stored.sn);
            }
            chains.insert(event.stored.sn, chain);
        }
    }
}

//! The way through a hierarchy, depth first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use accounts::asking::Asker;
use accounts::sessions::Requester;
use futures::future::join_all;
use homeserver_core::{HeapSize, allocation_bytes, table_bytes};
use rooms::summaries::{SpaceRoom, Viewer};
use ruma::{OwnedRoomId, OwnedServerName};
use tokio::time::Instant;

use super::asking::{MAX_SERVERS, RemoteHierarchy};
use super::token::Token;
use super::{Hierarchies, HierarchyError};

/// So many children of a space are looked up at once.
const LOOKED_UP: usize = 200;
/// The most children that are looked at in one hierarchy.
const MAX_STEPS: usize = 50_000;

/// How far a walk has come.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    max_depth: u32,
    suggested_only: bool,
    /// The spaces between the first one and the place of the walk.
    spaces: Vec<OpenSpace>,
    /// The rooms that were looked at: a room is shown once, and cycles end.
    seen: HashSet<OwnedRoomId>,
    steps: usize,
}

/// A space, some children of which are still to be looked at.
#[derive(Clone, Debug)]
struct OpenSpace {
    /// That of the children.
    depth: u32,
    children: Arc<[Branch]>,
    next: usize,
    /// What another server told of the space and its children.
    told: Option<Arc<RemoteHierarchy>>,
}

#[derive(Clone, Debug)]
struct Branch {
    room_id: OwnedRoomId,
    servers: Vec<OwnedServerName>,
}

/// What a part of a walk may take.
pub(super) struct Bounds {
    /// Rooms that are found.
    pub(super) rooms: usize,
    /// Children that are looked at.
    pub(super) steps: usize,
    /// Rooms that other servers are asked for, until the deadline.
    pub(super) asked: usize,
    pub(super) deadline: Instant,
}

/// A room that was looked up, with what another server told of its children; `None` if it is not to be shown.
type Found = Option<(SpaceRoom, Option<Arc<RemoteHierarchy>>)>;

impl Walk {
    /// A walk that begins at a room.
    pub(super) fn new(room_id: OwnedRoomId, token: &Token) -> Self {
        let servers = room_id.server_name().map(ToOwned::to_owned).into_iter().collect();
        let children = Arc::from([Branch { room_id, servers }]);
        Self {
            max_depth: token.max_depth,
            suggested_only: token.suggested_only,
            spaces: vec![OpenSpace { depth: 0, children, next: 0, told: None }],
            seen: HashSet::new(),
            steps: 0,
        }
    }

    /// How many children were looked at.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Whether there is nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.spaces.is_empty()
    }

    /// The room that is looked at next. Leaves the spaces that have no more, and passes over what was seen before.
    fn next(&mut self) -> Option<OwnedRoomId> {
        if self.steps >= MAX_STEPS {
            self.spaces.clear();
        }
        while let Some(space) = self.spaces.last_mut() {
            match space.children.get(space.next) {
                None => drop(self.spaces.pop()),
                Some(branch) if self.seen.contains(&branch.room_id) => space.next += 1,
                Some(branch) => return Some(branch.room_id.clone()),
            }
        }
        None
    }

    /// Goes on to the next room, and into the one that was found if it is a space.
    fn step(&mut self, room_id: OwnedRoomId, found: Option<(&SpaceRoom, Option<Arc<RemoteHierarchy>>)>) {
        self.steps += 1;
        self.seen.insert(room_id);
        let Some(space) = self.spaces.last_mut() else { return };
        space.next += 1;
        let depth = space.depth + 1;
        let Some((room, told)) = found.filter(|(room, _)| depth <= self.max_depth && !room.children.is_empty()) else {
            return;
        };
        let branches = room.children.iter().map(|child| Branch {
            room_id: child.room_id.clone(),
            servers: child.servers.iter().take(MAX_SERVERS).cloned().collect(),
        });
        self.spaces.push(OpenSpace { depth, children: branches.collect(), next: 0, told });
    }

    /// The next rooms of the space that the walk is in.
    fn upcoming(&self, limit: usize) -> Vec<Branch> {
        let Some(space) = self.spaces.last() else { return Vec::new() };
        let rest = space.children.iter().skip(space.next).filter(|branch| !self.seen.contains(&branch.room_id));
        rest.take(limit).cloned().collect()
    }
}

impl Hierarchies {
    /// The next rooms of a walk: at most as many as `bounds` says, and fewer where other servers would have to be asked for too many.
    pub(super) async fn next_rooms(
        &self,
        requester: &Requester,
        walk: &mut Walk,
        bounds: &mut Bounds,
    ) -> Result<Vec<SpaceRoom>, HierarchyError> {
        let mut rooms = Vec::new();
        let mut looked_up: HashMap<OwnedRoomId, Found> = HashMap::new();
        while bounds.rooms > 0 && bounds.steps > 0 {
            let Some(next) = walk.next() else { break };
            if !looked_up.contains_key(&next) {
                let refused = self.look_up(requester, walk, bounds, &mut looked_up).await?;
                match refused {
                    Some(error) if rooms.is_empty() && !looked_up.contains_key(&next) => return Err(error),
                    _ => {}
                }
            }
            let Some(found) = looked_up.remove(&next) else { break };
            bounds.steps -= 1;
            walk.step(next, found.as_ref().map(|(room, told)| (room, told.clone())));
            if let Some((room, _)) = found {
                bounds.rooms -= 1;
                rooms.push(room);
            }
        }
        // Leaves the spaces that have no more.
        walk.next();
        Ok(rooms)
    }

    /// Looks up the next rooms of the space that the walk is in. Returns why other servers were not asked for some of them.
    async fn look_up(
        &self,
        requester: &Requester,
        walk: &Walk,
        bounds: &mut Bounds,
        looked_up: &mut HashMap<OwnedRoomId, Found>,
    ) -> Result<Option<HierarchyError>, HierarchyError> {
        let Some(space) = walk.spaces.last() else { return Ok(None) };
        let branches = walk.upcoming(bounds.rooms.min(bounds.steps).min(LOOKED_UP));
        let room_ids: Vec<OwnedRoomId> = branches.iter().map(|branch| branch.room_id.clone()).collect();
        let viewer = Viewer::User(requester.user_sn);
        let mut known = self.known(&room_ids, viewer, walk.suggested_only).await?;
        let mut unknown = Vec::new();
        for branch in branches {
            if let Some(room) = known.remove(&branch.room_id) {
                looked_up.insert(branch.room_id, room.is_accessible.then_some((room.room, None)));
            } else if space.told.as_ref().is_some_and(|told| told.inaccessible.contains(&branch.room_id)) {
                looked_up.insert(branch.room_id, None);
            } else if let Some(room) = space.told_leaf(&branch, walk.max_depth) {
                let is_accessible = self.parts.summaries.may_know(viewer, &room.summary).await?;
                looked_up.insert(branch.room_id, is_accessible.then_some((room, None)));
            } else {
                unknown.push(branch);
            }
        }
        self.look_up_elsewhere(requester, walk, bounds, (unknown, looked_up)).await
    }

    /// Asks other servers for rooms, several at once.
    async fn look_up_elsewhere(
        &self,
        requester: &Requester,
        walk: &Walk,
        bounds: &mut Bounds,
        (mut unknown, looked_up): (Vec<Branch>, &mut HashMap<OwnedRoomId, Found>),
    ) -> Result<Option<HierarchyError>, HierarchyError> {
        if Instant::now() >= bounds.deadline {
            bounds.asked = 0;
        }
        unknown.truncate(bounds.asked);
        bounds.asked -= unknown.len();
        let told_of_space = walk.spaces.last().and_then(|space| space.told.as_ref());
        let asker = Asker::User(requester);
        let asked = unknown.iter().map(|branch| {
            self.ask(asker, (&*branch.room_id, branch.servers.as_slice()), walk.suggested_only, bounds.deadline)
        });
        let mut refused = None;
        for (branch, told) in unknown.iter().zip(join_all(asked).await) {
            let found = match told {
                Ok(Some(told)) => Some((told.room.clone(), Some(told))),
                // What the space's server told of it is better than nothing.
                Ok(None) => told_of_space.and_then(|told| told.summary_of(branch)).map(|room| (room, None)),
                Err(error) => {
                    refused = Some(error.into());
                    bounds.asked = 0;
                    continue;
                }
            };
            let found = match found {
                Some((room, told)) => {
                    let viewer = Viewer::User(requester.user_sn);
                    self.parts.summaries.may_know(viewer, &room.summary).await?.then_some((room, told))
                }
                None => None,
            };
            looked_up.insert(branch.room_id.clone(), found);
        }
        Ok(refused)
    }
}

impl OpenSpace {
    /// A child that needs no further question: it has no children, or they are not wanted.
    fn told_leaf(&self, branch: &Branch, max_depth: u32) -> Option<SpaceRoom> {
        let room = self.told.as_ref()?.summary_of(branch)?;
        (!room.summary.is_space() || self.depth >= max_depth).then_some(room)
    }
}

impl RemoteHierarchy {
    /// What was told of a child, whose own children are not told.
    fn summary_of(&self, branch: &Branch) -> Option<SpaceRoom> {
        let summary = self.children.get(&branch.room_id)?.clone();
        Some(SpaceRoom { summary, children: Vec::new() })
    }
}

impl HeapSize for Walk {
    fn heap_bytes(&self) -> usize {
        let of_space = |space: &OpenSpace| {
            let branches = space.children.iter().map(|branch| {
                let servers: usize = branch.servers.iter().map(|server| allocation_bytes(server.as_str().len())).sum();
                size_of::<Branch>() + allocation_bytes(branch.room_id.as_str().len()) + servers
            });
            branches.sum::<usize>()
        };
        let seen: usize = self.seen.iter().map(|room_id| allocation_bytes(room_id.as_str().len())).sum();
        self.spaces.iter().map(of_space).sum::<usize>() + table_bytes::<OwnedRoomId>(self.seen.capacity()) + seen
    }
}

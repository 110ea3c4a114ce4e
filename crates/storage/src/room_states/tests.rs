use super::*;

const ROOM: RoomSn = RoomSn(7);
const PATIENCE: Duration = Duration::from_secs(30);

fn states() -> RoomStates {
    RoomStates::new("here", PATIENCE, CancellationToken::new())
}

fn known(room: i64, position: i64, is_whole: bool) -> LogEntry {
    LogEntry::StateKnown { position: Position(position), room_sn: RoomSn(room), is_whole }
}

#[test]
fn a_room_is_whole_unless_the_log_says_otherwise() {
    let states = states();
    assert!(states.of(ROOM).was_full_at(Position::START));
    states.committed(&[known(7, 10, false)]);
    assert!(states.of(ROOM).full().is_none());
    assert!(!states.of(ROOM).was_full_at(Position(1_000)));
    assert!(states.of(RoomSn(8)).full().is_some());
    states.committed(&[known(7, 20, true)]);
    assert!(!states.of(ROOM).was_full_at(Position(19)));
    assert!(states.of(ROOM).was_full_at(Position(20)));
    states.committed(&[known(7, 30, true), known(7, 31, false)]);
    assert!(states.of(ROOM).full().is_none(), "the last word counts");
}

#[test]
fn of_a_part_only_members_of_other_servers_can_be_missing() {
    let states = states();
    let places = [
        ("m.room.member", "@alice:here", true),
        ("m.room.member", "@alice:elsewhere", false),
        ("m.room.member", "@alice:elsewhere:here", false),
        ("m.room.member", "alice", false),
        ("m.room.name", "", true),
        ("org.example", "@alice:elsewhere", true),
    ];
    for (event_type, state_key, _) in places {
        assert!(states.of(ROOM).covers(event_type, state_key), "{event_type} {state_key}");
    }
    states.committed(&[known(7, 10, false)]);
    for (event_type, state_key, is_covered) in places {
        assert_eq!(states.of(ROOM).covers(event_type, state_key), is_covered, "{event_type} {state_key}");
    }
}

#[test]
fn completions_are_remembered_up_to_a_bound_and_partial_rooms_always() {
    let states = states();
    states.committed(&[known(7, 1, false)]);
    let count = i64::try_from(REMEMBERED_COMPLETIONS).unwrap();
    for room in 0..count + 10 {
        states.committed(&[known(100 + room, 100 + room, true)]);
    }
    assert_eq!(states.rooms.load().len(), REMEMBERED_COMPLETIONS + 1);
    assert!(states.of(RoomSn(109)).was_full_at(Position::START), "the oldest are forgotten");
    assert!(!states.of(RoomSn(110)).was_full_at(Position::START));
    assert!(states.of(ROOM).full().is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_the_whole_waits_for_it() {
    let states = states();
    states.committed(&[known(7, 1, false), known(8, 2, false)]);
    let completion = async {
        tokio::time::sleep(PATIENCE / 4).await;
        states.committed(&[known(8, 3, true)]);
        tokio::time::sleep(PATIENCE / 4).await;
        states.committed(&[known(7, 4, true)]);
    };
    let begun = tokio::time::Instant::now();
    let (full, ()) = tokio::join!(states.full(ROOM), completion);
    assert_eq!(full.unwrap().room_sn(), ROOM);
    assert_eq!(begun.elapsed(), PATIENCE / 2);
    assert!(states.full(ROOM).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_wait_has_an_end() {
    let states = states();
    states.committed(&[known(7, 1, false)]);
    let begun = tokio::time::Instant::now();
    let news_of_others = async {
        for turn in 0..10 {
            tokio::time::sleep(PATIENCE / 8).await;
            states.committed(&[known(8, 10 + turn, true)]);
        }
    };
    let (outcome, ()) = tokio::join!(async { (states.full(ROOM).await, begun.elapsed()) }, news_of_others);
    assert_eq!((outcome.0.unwrap_err(), outcome.1), (StillPartial, PATIENCE));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_the_server_stops() {
    let states = states();
    states.committed(&[known(7, 1, false)]);
    states.stopping.cancel();
    let begun = tokio::time::Instant::now();
    assert_eq!(states.full(ROOM).await.unwrap_err(), StillPartial);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

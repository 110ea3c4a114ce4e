//! The keys that tell what is unread of a room.

use rooms::wire::{push_number, push_string};
use storage::{UnreadThread, UnreadTotals};

/// Appends the two keys that tell what is unread: if threads are wanted, each by itself, else all together.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications>
pub(super) fn write_unread(out: &mut Vec<u8>, threads: &[UnreadThread], are_threads_wanted: bool) {
    let is_together = |thread: &&UnreadThread| thread.thread.is_none() || !are_threads_wanted;
    let together = threads.iter().filter(is_together).fold(UnreadTotals::default(), |sum, thread| UnreadTotals {
        notify: sum.notify + thread.totals.notify,
        highlight: sum.highlight + thread.totals.highlight,
    });
    out.extend_from_slice(br#","unread_notifications":"#);
    write_totals(out, together);
    let is_unread = |thread: &&UnreadThread| thread.totals != UnreadTotals::default();
    let mut apart = threads.iter().filter(|thread| !is_together(thread)).filter(is_unread).peekable();
    if apart.peek().is_none() {
        return;
    }
    out.extend_from_slice(br#","unread_thread_notifications":"#);
    let mut separator = b'{';
    for thread in apart {
        if let Some((_, root)) = &thread.thread {
            out.push(separator);
            separator = b',';
            push_string(out, root);
            out.push(b':');
            write_totals(out, thread.totals);
        }
    }
    out.push(b'}');
}

fn write_totals(out: &mut Vec<u8>, totals: UnreadTotals) {
    out.extend_from_slice(br#"{"highlight_count":"#);
    push_number(out, totals.highlight.max(0));
    out.extend_from_slice(br#","notification_count":"#);
    push_number(out, totals.notify.max(0));
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use homeserver_core::{EventSn, Position, RoomSn};

    use super::*;

    #[test]
    fn threads_are_told_together_or_each_by_itself() {
        let of = |root: Option<&str>, notify, highlight| UnreadThread {
            room_sn: RoomSn(1),
            thread: root.map(|root| (EventSn(1), root.into())),
            start: Position::START,
            totals: UnreadTotals { notify, highlight },
        };
        let threads = [of(None, 3, 1), of(Some("$a"), 2, 0), of(Some("$b"), 0, 0), of(Some("$c"), 1, 1)];
        let written = |are_threads_wanted| {
            let mut out = Vec::new();
            write_unread(&mut out, &threads, are_threads_wanted);
            serde_json::from_str::<serde_json::Value>(&format!("{{\"a\":1{}}}", String::from_utf8(out).unwrap()))
                .unwrap()
        };
        let counts = |notify: i64, highlight: i64| serde_json::json!({ "notification_count": notify, "highlight_count": highlight });
        assert_eq!(written(false)["unread_notifications"], counts(6, 2));
        assert!(written(false).get("unread_thread_notifications").is_none());
        assert_eq!(written(true)["unread_notifications"], counts(3, 1));
        let apart = serde_json::json!({ "$a": counts(2, 0), "$c": counts(1, 1) });
        assert_eq!(written(true)["unread_thread_notifications"], apart);
    }
}

//! [Redaction](https://spec.matrix.org/v1.19/client-server-api/#redactions): what is left of an event.

use ruma::room_version_rules::RedactionRules;

use crate::{
    Members, RoomVersion,
    canonical::{ObjectWriter, member, string_value},
};

/// The redacted form of an event's `client_json`.
///
/// The event keeps its `event_id` and, where it is a redaction whose `content.redacts` survives, the `redacts` that
/// clients expect at the top level.
pub fn redact(version: RoomVersion, client_json: &[u8]) -> Vec<u8> {
    let rules = &version.rules().redaction;
    redact_members(rules, client_json, |key| {
        key == b"event_id" || is_kept(rules, key) || (key == b"redacts" && rules.keep_room_redaction_redacts)
    })
}

/// The redacted form of a whole PDU in canonical JSON, by the algorithm of the room version.
pub fn redact_pdu(version: RoomVersion, pdu: &[u8]) -> Vec<u8> {
    let rules = &version.rules().redaction;
    redact_members(rules, pdu, |key| is_kept(rules, key))
}

/// The redacted form of an event's `federation_json`.
pub(crate) fn redact_federation_json(version: RoomVersion, federation_json: &[u8]) -> Vec<u8> {
    redact_pdu(version, federation_json)
}

/// The redacted PDU without its signatures: what is signed, and what the reference hash is taken of.
pub(crate) fn redact_for_signing(version: RoomVersion, pdu: &[u8]) -> Vec<u8> {
    let rules = &version.rules().redaction;
    redact_members(rules, pdu, |key| key != b"signatures" && is_kept(rules, key))
}

fn redact_members(rules: &RedactionRules, object: &[u8], keep: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let event_type = member(object, "type").and_then(string_value).unwrap_or_default();
    let mut out = Vec::with_capacity(object.len());
    let mut writer = ObjectWriter::begin(&mut out);
    for (key, value) in Members::new(object).filter(|(key, _)| keep(key)) {
        let buffer = writer.raw_key(key);
        if key == b"content" {
            push_redacted_content(buffer, rules, &event_type, value);
        } else {
            buffer.extend_from_slice(value);
        }
    }
    writer.end();
    out
}

/// Whether a top-level key outlives redaction.
fn is_kept(rules: &RedactionRules, key: &[u8]) -> bool {
    match key {
        b"event_id" | b"type" | b"room_id" | b"sender" | b"state_key" | b"content" | b"hashes" | b"signatures"
        | b"depth" | b"prev_events" | b"auth_events" | b"origin_server_ts" => true,
        b"prev_state" | b"origin" | b"membership" => rules.keep_origin_membership_prev_state,
        _ => false,
    }
}

/// Appends the content that outlives redaction.
pub(crate) fn push_redacted_content(out: &mut Vec<u8>, rules: &RedactionRules, event_type: &str, content: &[u8]) {
    if event_type == "m.room.create" && rules.keep_room_create_content {
        out.extend_from_slice(content);
        return;
    }
    let mut writer = ObjectWriter::begin(out);
    if has_kept_content(event_type) {
        for (key, value) in Members::new(content) {
            if event_type == "m.room.member" && key == b"third_party_invite" {
                push_redacted_invite(&mut writer, rules, value);
            } else if is_kept_in_content(rules, event_type, key) {
                writer.raw_key(key).extend_from_slice(value);
            }
        }
    }
    writer.end();
}

/// Spares the content of ordinary messages the scan.
fn has_kept_content(event_type: &str) -> bool {
    matches!(
        event_type,
        "m.room.member"
            | "m.room.create"
            | "m.room.join_rules"
            | "m.room.power_levels"
            | "m.room.aliases"
            | "m.room.history_visibility"
            | "m.room.redaction"
    )
}

fn is_kept_in_content(rules: &RedactionRules, event_type: &str, key: &[u8]) -> bool {
    match (event_type, key) {
        ("m.room.member", b"membership")
        | ("m.room.create", b"creator")
        | ("m.room.join_rules", b"join_rule")
        | (
            "m.room.power_levels",
            b"ban" | b"events" | b"events_default" | b"kick" | b"redact" | b"state_default" | b"users"
            | b"users_default",
        )
        | ("m.room.history_visibility", b"history_visibility") => true,
        ("m.room.member", b"join_authorised_via_users_server") => {
            rules.keep_room_member_join_authorised_via_users_server
        }
        ("m.room.join_rules", b"allow") => rules.keep_room_join_rules_allow,
        ("m.room.power_levels", b"invite") => rules.keep_room_power_levels_invite,
        ("m.room.aliases", b"aliases") => rules.keep_room_aliases_aliases,
        ("m.room.redaction", b"redacts") => rules.keep_room_redaction_redacts,
        _ => false,
    }
}

/// Of `third_party_invite` only `signed` stays, since
/// [version 11](https://spec.matrix.org/v1.19/rooms/v11/#redactions). Without it an empty object stays, as in other
/// servers; the event ID depends on it.
fn push_redacted_invite(writer: &mut ObjectWriter<'_>, rules: &RedactionRules, invite: &[u8]) {
    if !rules.keep_room_member_third_party_invite_signed || invite.first() != Some(&b'{') {
        return;
    }
    let mut inner = ObjectWriter::begin(writer.key("third_party_invite"));
    if let Some(signed) = member(invite, "signed") {
        inner.json("signed", signed);
    }
    inner.end();
}

#[cfg(test)]
mod tests;

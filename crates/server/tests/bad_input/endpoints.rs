//! Every endpoint that clients call, with a valid request of each.

use http::Method;
use serde_json::{Value, json};

/// The list from which the server is built.
const ROUTES: &str = include_str!("../../../api/src/client/mod.rs");

/// One method of one path. Placeholders are filled in by [`World::call`](crate::world::World::call).
pub(crate) struct Endpoint {
    method: &'static str,
    /// Without the version for those of version 3, whole for the others.
    path: &'static str,
    needs: &'static [Need],
    pub(crate) query: &'static str,
    /// JSON; empty if there is no body.
    body: &'static str,
    /// The keys of the body that take any value, being content.
    free: &'static [&'static str],
}

/// What a request of an endpoint needs.
#[derive(PartialEq, Eq)]
enum Need {
    Token,
    /// A user of its own, whose session it may end.
    NewUser,
    /// A room of its own.
    NewRoom,
}

use Need::{NewRoom, NewUser, Token};

const NOBODY: &[Need] = &[];
const USER: &[Need] = &[Token];
const NEW_USER: &[Need] = &[Token, NewUser];
const NEW_ROOM: &[Need] = &[Token, NewRoom];

/// Not in the list of the client-server API.
const SHARED_SECRET_REGISTRATION: &str = "/_synapse/admin/v1/register";
const CREATE_MEDIA: &str = "/_matrix/media/v1/create";
const MEDIA_CONFIG: &str = "/_matrix/client/v1/media/config";
/// Of this server: another one would be asked.
const DOWNLOAD: &str = "/_matrix/client/v1/media/download/localhost/{mediaId}";
const NAMED_DOWNLOAD: &str = "/_matrix/client/v1/media/download/localhost/{mediaId}/{fileName}";
const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail/localhost/{mediaId}";

/// Proposals.
const DEHYDRATED_DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const RENDEZVOUS: &str = "/_matrix/client/unstable/io.element.msc4388/rendezvous";

/// What asks for a mail.
const REQUEST_TOKEN: &str = r#"{"client_secret": "x", "email": "{newName}@example.org", "send_attempt": 1,
    "next_link": "https://example.org/"}"#;

/// Any key of the body takes any value.
const ANY: &str = "*";

impl Endpoint {
    pub(crate) fn method(&self) -> Method {
        self.method.parse().unwrap()
    }

    pub(crate) fn full_path(&self) -> String {
        if self.path.starts_with("/_") { self.path.to_owned() } else { format!("/_matrix/client/v3{}", self.path) }
    }

    pub(crate) fn body(&self) -> Option<Value> {
        (!self.body.is_empty()).then(|| serde_json::from_str(self.body).unwrap())
    }

    pub(crate) fn needs_token(&self) -> bool {
        self.needs.contains(&Token)
    }

    pub(crate) fn is_for_administrators(&self) -> bool {
        self.path.starts_with("/_matrix/client/v1/admin/")
    }

    pub(crate) fn uses_up_user(&self) -> bool {
        self.needs.contains(&NewUser)
    }

    pub(crate) fn uses_up_room(&self) -> bool {
        self.needs.contains(&NewRoom)
    }

    /// Whether the value under this path of keys may be anything.
    pub(crate) fn is_free(&self, keys: &str) -> bool {
        self.free.iter().any(|free| *free == ANY || keys.starts_with(free))
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

const fn get(path: &'static str, needs: &'static [Need], query: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, needs, query, body: "", free: &[] }
}

const fn with(method: &'static str, path: &'static str, needs: &'static [Need], body: &'static str) -> Endpoint {
    Endpoint { method, path, needs, query: "", body, free: &[] }
}

const fn content(method: &'static str, path: &'static str, needs: &'static [Need], body: &'static str) -> Endpoint {
    Endpoint { method, path, needs, query: "", body, free: &[ANY] }
}

/// Every endpoint.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    get("/_matrix/client/versions", NOBODY, ""),
    get("/capabilities", USER, ""),
    with("POST", CREATE_MEDIA, USER, ""),
    get(MEDIA_CONFIG, USER, ""),
    get(DOWNLOAD, USER, "timeout_ms=0"),
    get(NAMED_DOWNLOAD, USER, "timeout_ms=0"),
    get(THUMBNAIL, USER, "width=32&height=32&method=crop&animated=true&timeout_ms=0"),
    get(
        "/sync",
        USER,
        "timeout=0&full_state=true&set_presence=online&use_state_after=false&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A3%7D%7D%7D&since=",
    ),
    Endpoint {
        method: "POST",
        path: "/register",
        needs: NOBODY,
        query: "kind=user",
        body: r#"{"auth": {"type": "m.login.dummy", "session": "unknown", "token": "x", "password": "x", "user": "x"},
            "username": "{newName}", "password": "a password", "inhibit_login": true, "device_id": "D",
            "initial_device_display_name": "a phone", "refresh_token": true}"#,
        free: &[],
    },
    get("/register/available", NOBODY, "username=somebody"),
    get("/_matrix/client/v1/register/m.login.registration_token/validity", NOBODY, "token=x"),
    get("/login", NOBODY, ""),
    with(
        "POST",
        "/login",
        NOBODY,
        r#"{"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}, "password": "password of bob",
            "device_id": "D", "initial_device_display_name": "a phone", "refresh_token": true}"#,
    ),
    with("POST", "/login", NOBODY, r#"{"type": "m.login.token", "token": "x", "device_id": "D"}"#),
    with(
        "POST",
        "/_matrix/client/v1/login/get_token",
        USER,
        r#"{"auth": {"type": "m.login.password", "password": "x", "session": "unknown"}}"#,
    ),
    get(RENDEZVOUS, NOBODY, ""),
    with("POST", RENDEZVOUS, NOBODY, r#"{"data": "x"}"#),
    Endpoint {
        method: "PUT",
        path: DEHYDRATED_DEVICE,
        needs: USER,
        query: "",
        body: r#"{"device_id": "K", "device_data": {"algorithm": "a", "further": {"b": 1}}, "initial_device_display_name": "x",
            "device_keys": {"user_id": "{userId}", "device_id": "K", "algorithms": ["a"], "keys": {"a": "b"},
            "signatures": {"@bob:localhost": {"ed25519:x": "y"}}, "dehydrated": true},
            "one_time_keys": {"signed_curve25519:A": {"key": "x", "signatures": {}}},
            "fallback_keys": {"signed_curve25519:B": {"key": "x", "signatures": {}}}}"#,
        free: &["device_data.further", "device_keys.dehydrated"],
    },
    get(DEHYDRATED_DEVICE, USER, ""),
    with("DELETE", DEHYDRATED_DEVICE, USER, ""),
    with("POST", "/refresh", NOBODY, r#"{"refresh_token": "x"}"#),
    with("POST", "/logout", NEW_USER, ""),
    with("POST", "/logout/all", NEW_USER, ""),
    get("/account/whoami", USER, ""),
    with(
        "POST",
        "/account/password",
        NEW_USER,
        r#"{"auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "{name}"}, "password": "{password}"},
            "new_password": "another", "logout_devices": false}"#,
    ),
    with(
        "POST",
        "/account/deactivate",
        NEW_USER,
        r#"{"auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "{name}"}, "password": "{password}"},
            "erase": false}"#,
    ),
    with("POST", "/register/email/requestToken", NOBODY, REQUEST_TOKEN),
    with("POST", "/register/msisdn/requestToken", NOBODY, ""),
    with("POST", "/account/password/email/requestToken", NOBODY, REQUEST_TOKEN),
    with("POST", "/account/password/msisdn/requestToken", NOBODY, ""),
    with("POST", "/account/3pid/email/requestToken", NOBODY, REQUEST_TOKEN),
    with("POST", "/account/3pid/msisdn/requestToken", NOBODY, ""),
    get("/account/3pid", USER, ""),
    with("POST", "/account/3pid", USER, ""),
    with(
        "POST",
        "/account/3pid/add",
        USER,
        r#"{"auth": {"type": "m.login.password", "identifier": {"type": "m.id.thirdparty", "medium": "email",
            "address": "a@example.org"}, "password": "x", "threepid_creds": {"sid": "x", "client_secret": "x"}},
            "client_secret": "x", "sid": "x"}"#,
    ),
    with("POST", "/account/3pid/bind", USER, ""),
    with("POST", "/account/3pid/delete", USER, r#"{"medium": "email", "address": "a@example.org"}"#),
    with("POST", "/account/3pid/unbind", USER, ""),
    get("/devices", USER, ""),
    get("/devices/{deviceId}", USER, ""),
    with("PUT", "/devices/{deviceId}", USER, r#"{"display_name": "a phone"}"#),
    with(
        "DELETE",
        "/devices/{deviceId}",
        NEW_USER,
        r#"{"auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "{name}"}, "password": "{password}",
            "session": "unknown"}}"#,
    ),
    with(
        "POST",
        "/delete_devices",
        NEW_USER,
        r#"{"auth": {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "{name}"}, "password": "{password}"},
            "devices": ["{deviceId}", "OTHER"]}"#,
    ),
    get("/profile/{userId}", NOBODY, ""),
    get("/profile/{userId}/{keyName}", NOBODY, ""),
    with("PUT", "/profile/{userId}/{keyName}", USER, r#"{"displayname": "Alice"}"#),
    with("DELETE", "/profile/{userId}/{keyName}", USER, ""),
    content("PUT", "/user/{userId}/account_data/{type}", USER, r#"{"a": {"b": 1}}"#),
    get("/user/{userId}/account_data/{type}", USER, ""),
    content("PUT", "/user/{userId}/rooms/{roomId}/account_data/{type}", USER, r#"{"a": {"b": [1]}}"#),
    get("/user/{userId}/rooms/{roomId}/account_data/{type}", USER, ""),
    Endpoint {
        method: "PUT",
        path: "/sendToDevice/{eventType}/{txnId}",
        needs: USER,
        query: "",
        body: r#"{"messages": {"@bob:localhost": {"D": {"a": {"b": 1}}, "*": {"a": [1]}}}}"#,
        free: &["messages.@bob:localhost.D.a", "messages.@bob:localhost.*.a"],
    },
    Endpoint {
        method: "POST",
        path: "/keys/upload",
        needs: USER,
        query: "",
        body: r#"{"device_keys": {"user_id": "{userId}", "device_id": "{deviceId}", "algorithms": ["a"], "keys": {"a": "b"},
            "signatures": {"@bob:localhost": {"ed25519:x": "y"}}, "unsigned": {"a": 1}},
            "one_time_keys": {"signed_curve25519:A": {"key": "x", "signatures": {"@bob:localhost": {"ed25519:x": "y"}}, "a": 1}},
            "fallback_keys": {"signed_curve25519:B": {"key": "x", "fallback": true, "signatures": {}}}}"#,
        free: &[
            "device_keys.unsigned",
            "one_time_keys.signed_curve25519:A.a",
            "fallback_keys.signed_curve25519:B.fallback",
        ],
    },
    with("POST", "/keys/query", USER, r#"{"device_keys": {"@bob:localhost": ["D", "OTHER"]}, "timeout": 10000}"#),
    with(
        "POST",
        "/keys/claim",
        USER,
        r#"{"one_time_keys": {"@bob:localhost": {"D": "signed_curve25519"}}, "timeout": 10000}"#,
    ),
    with(
        "POST",
        "/keys/device_signing/upload",
        USER,
        r#"{"auth": {"type": "m.login.password", "password": "x", "session": "unknown"},
            "master_key": {"user_id": "{userId}", "usage": ["master"], "keys": {"ed25519:A": "A"},
                "signatures": {"@bob:localhost": {"ed25519:D": "x"}}}}"#,
    ),
    Endpoint {
        method: "POST",
        path: "/keys/signatures/upload",
        needs: USER,
        query: "",
        body: r#"{"@bob:localhost": {"D": {"user_id": "@bob:localhost", "signatures": {"{userId}": {"ed25519:x": "y"}}}}}"#,
        free: &["@bob:localhost.D."],
    },
    get("/room_keys/version", USER, ""),
    Endpoint {
        method: "POST",
        path: "/room_keys/version",
        needs: USER,
        query: "",
        body: r#"{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}"#,
        free: &["auth_data."],
    },
    get("/room_keys/version/{version}", USER, ""),
    Endpoint {
        method: "PUT",
        path: "/room_keys/version/{version}",
        needs: USER,
        query: "",
        body: r#"{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"a": 1}, "version": "1"}"#,
        free: &["auth_data."],
    },
    Endpoint {
        method: "PUT",
        path: "/room_keys/keys",
        needs: USER,
        query: "version=newest",
        body: r#"{"rooms": {"!a:b": {"sessions": {"S": {"first_message_index": 1, "forwarded_count": 0, "is_verified": true,
            "session_data": {"a": 1}}}}}}"#,
        free: &["rooms.!a:b.sessions.S.session_data."],
    },
    get("/room_keys/keys", USER, "version=newest"),
    with("DELETE", "/room_keys/keys", USER, ""),
    Endpoint {
        method: "PUT",
        path: "/room_keys/keys/{roomId}",
        needs: USER,
        query: "version=newest",
        body: r#"{"sessions": {"S": {"first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {}}}}"#,
        free: &[],
    },
    get("/room_keys/keys/{roomId}", USER, "version=newest"),
    with("DELETE", "/room_keys/keys/{roomId}", USER, ""),
    Endpoint {
        method: "PUT",
        path: "/room_keys/keys/{roomId}/{sessionId}",
        needs: USER,
        query: "version=newest",
        body: r#"{"first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {}}"#,
        free: &[],
    },
    get("/room_keys/keys/{roomId}/{sessionId}", USER, "version=newest"),
    with("DELETE", "/room_keys/keys/{roomId}/{sessionId}", USER, ""),
    with("DELETE", "/room_keys/version/{version}", USER, ""),
    get("/keys/changes", USER, "from=s1_1&to=s1_2"),
    with(
        "POST",
        "/user/{userId}/filter",
        USER,
        r#"{"event_fields": ["type", "content.body"], "event_format": "client",
            "presence": {"types": ["m.presence"], "limit": 3}, "account_data": {"not_types": ["m.x"], "senders": ["@a:b"]},
            "room": {"rooms": ["!a:b"], "not_rooms": ["!c:d"], "include_leave": true,
                "timeline": {"limit": 5, "types": ["m.*"], "not_senders": ["@a:b"], "contains_url": true, "lazy_load_members": true},
                "state": {"include_redundant_members": true, "rooms": ["!a:b"]}, "ephemeral": {"limit": 1},
                "account_data": {"types": ["*"]}}}"#,
    ),
    get("/user/{userId}/filter/{filterId}", USER, ""),
    Endpoint {
        method: "POST",
        path: "/createRoom",
        needs: USER,
        query: "",
        body: r#"{"visibility": "private", "room_alias_name": "{newName}", "name": "a room", "topic": "a topic",
            "invite": ["{bobId}"], "room_version": "12", "creation_content": {"m.federate": true, "type": "m.space"},
            "initial_state": [{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
                {"type": "m.room.topic", "content": {"topic": "x"}}],
            "preset": "private_chat", "is_direct": true,
            "power_level_content_override": {"users_default": 1, "events": {"m.room.name": 50}, "ban": 60,
                "notifications": {"room": 20}}}"#,
        free: &[
            "creation_content.type",
            "initial_state.0.content",
            "initial_state.1.content",
            "initial_state.0.state_key",
            "power_level_content_override.notifications",
        ],
    },
    Endpoint {
        free: &[],
        ..with("POST", "/join/{roomIdOrAlias}", USER, r#"{"reason": "x", "third_party_signed": null}"#)
    },
    with("POST", "/knock/{roomIdOrAlias}", USER, r#"{"reason": "x"}"#),
    with("POST", "/rooms/{roomId}/join", USER, r#"{"reason": "x", "displayname": "A", "avatar_url": "mxc://a/b"}"#),
    with("POST", "/rooms/{roomId}/invite", NEW_ROOM, r#"{"user_id": "@carol:localhost", "reason": "x"}"#),
    with("POST", "/rooms/{roomId}/leave", NEW_ROOM, r#"{"reason": "x"}"#),
    with("POST", "/rooms/{roomId}/kick", NEW_ROOM, r#"{"user_id": "{bobId}", "reason": "x"}"#),
    with("POST", "/rooms/{roomId}/ban", NEW_ROOM, r#"{"user_id": "{bobId}", "reason": "x"}"#),
    with("POST", "/rooms/{roomId}/unban", NEW_ROOM, r#"{"user_id": "{bobId}", "reason": "x"}"#),
    with("POST", "/rooms/{roomId}/forget", NEW_ROOM, ""),
    with("POST", "/rooms/{roomId}/upgrade", NEW_ROOM, r#"{"new_version": "12", "additional_creators": ["{bobId}"]}"#),
    content(
        "PUT",
        "/rooms/{roomId}/send/{eventType}/{txnId}",
        USER,
        r#"{"msgtype": "m.text", "body": "hello", "m.relates_to": {"rel_type": "m.thread", "event_id": "{eventId}"}, "n": [1]}"#,
    ),
    Endpoint {
        method: "PUT",
        path: "/rooms/{roomId}/redact/{eventId}/{txnId}",
        needs: USER,
        query: "",
        body: r#"{"reason": "x"}"#,
        free: &[],
    },
    content("PUT", "/rooms/{roomId}/state/{eventType}", NEW_ROOM, r#"{"topic": "x"}"#),
    content("PUT", "/rooms/{roomId}/state/{eventType}/", NEW_ROOM, r#"{"topic": "x"}"#),
    content("PUT", "/rooms/{roomId}/state/{eventType}/{stateKey}", NEW_ROOM, r#"{"topic": "x"}"#),
    get("/joined_rooms", USER, ""),
    get(
        "/rooms/{roomId}/messages",
        USER,
        "dir=b&limit=5&from=&to=&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%7D",
    ),
    get("/rooms/{roomId}/context/{eventId}", USER, "limit=5&filter=%7B%22lazy_load_members%22%3Atrue%7D"),
    get("/rooms/{roomId}/event/{eventId}", USER, ""),
    get("/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", USER, "ts=1000&dir=f"),
    get("/rooms/{roomId}/members", USER, "at=&membership=join&not_membership=leave"),
    get("/rooms/{roomId}/joined_members", USER, ""),
    get("/rooms/{roomId}/state", USER, ""),
    get("/rooms/{roomId}/state/{eventType}", USER, "format=event"),
    get("/rooms/{roomId}/state/{eventType}/", USER, "format=content"),
    get("/rooms/{roomId}/state/{eventType}/{stateKey}", USER, "format=event"),
    get("/directory/room/{roomAlias}", NOBODY, ""),
    with("PUT", "/directory/room/{roomAlias}", USER, r#"{"room_id": "{roomId}"}"#),
    with("DELETE", "/directory/room/{roomAlias}", USER, ""),
    get("/directory/list/room/{roomId}", NOBODY, ""),
    with("PUT", "/directory/list/room/{roomId}", USER, r#"{"visibility": "public"}"#),
    get("/publicRooms", NOBODY, "limit=5&since=&server=localhost"),
    Endpoint {
        method: "POST",
        path: "/publicRooms",
        needs: USER,
        query: "server=localhost",
        body: r#"{"limit": 5, "filter": {"generic_search_term": "room", "room_types": [null, "m.space"]}}"#,
        free: &[],
    },
    get("/rooms/{roomId}/aliases", USER, ""),
    get("/_matrix/client/v1/rooms/{roomId}/hierarchy", USER, "suggested_only=false&limit=5&max_depth=3"),
    get("/_matrix/client/v1/room_summary/{roomIdOrAlias}", NOBODY, "via=localhost"),
    get("/pushrules", USER, ""),
    get("/pushrules/", USER, ""),
    get("/pushrules/global", USER, ""),
    get("/pushrules/global/", USER, ""),
    get("/pushrules/global/{kind}/{ruleId}", USER, ""),
    Endpoint {
        query: "before=mine&after=mine",
        free: &["conditions", "actions.0", "actions.1"],
        ..with(
            "PUT",
            "/pushrules/global/{kind}/{ruleId}",
            USER,
            r#"{"actions": ["notify", {"set_tweak": "sound", "value": "bing"}],
                "conditions": [{"kind": "event_match", "key": "type", "pattern": "m.room.*"}]}"#,
        )
    },
    with("DELETE", "/pushrules/global/{kind}/{ruleId}", USER, ""),
    get("/pushrules/global/{kind}/{ruleId}/enabled", USER, ""),
    with("PUT", "/pushrules/global/{kind}/{ruleId}/enabled", USER, r#"{"enabled": true}"#),
    get("/pushrules/global/{kind}/{ruleId}/actions", USER, ""),
    Endpoint {
        free: &["actions.0", "actions.1"],
        ..with(
            "PUT",
            "/pushrules/global/{kind}/{ruleId}/actions",
            USER,
            r#"{"actions": ["notify", {"set_tweak": "sound", "value": "bing"}]}"#,
        )
    },
    with("POST", "/rooms/{roomId}/receipt/{receiptType}/{eventId}", USER, r#"{"thread_id": "main"}"#),
    with("PUT", "/rooms/{roomId}/typing/{userId}", USER, r#"{"typing": true, "timeout": 30000}"#),
    with("POST", "/user/{userId}/openid/request_token", USER, "{}"),
    get("/presence/{userId}/status", USER, ""),
    with("PUT", "/presence/{userId}/status", USER, r#"{"presence": "online", "status_msg": "here"}"#),
    with(
        "POST",
        "/rooms/{roomId}/read_markers",
        USER,
        r#"{"m.fully_read": "{eventId}", "m.read": "{eventId}", "m.read.private": "{eventId}"}"#,
    ),
    with("POST", "/user_directory/search", USER, r#"{"search_term": "bob", "limit": 5}"#),
    with(
        "POST",
        "/search",
        USER,
        r#"{"search_categories": {"room_events": {"search_term": "hello", "keys": ["content.body"], "filter": {"limit": 5},
            "order_by": "recent", "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": true},
            "include_state": true, "groupings": {"group_by": [{"key": "room_id"}]}}}}"#,
    ),
    get("/_matrix/client/v1/mutual_rooms", USER, "user_id=%40bob%3Alocalhost"),
    get("/voip/turnServer", USER, ""),
    get("/user/{userId}/rooms/{roomId}/tags", USER, ""),
    content("PUT", "/user/{userId}/rooms/{roomId}/tags/{tag}", USER, r#"{"order": 0.25}"#),
    with("DELETE", "/user/{userId}/rooms/{roomId}/tags/{tag}", USER, ""),
    get("/rooms/{roomId}/initialSync", USER, "limit=5"),
    get("/events/{eventId}", USER, ""),
    get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", USER, "dir=b&limit=5&recurse=true"),
    get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}", USER, "dir=f&limit=5"),
    get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}", USER, "limit=5"),
    get("/_matrix/client/v1/rooms/{roomId}/threads", USER, "include=all&limit=5"),
    with("POST", "/rooms/{roomId}/report", USER, r#"{"reason": "spam"}"#),
    with("POST", "/rooms/{roomId}/report/{eventId}", USER, r#"{"reason": "spam", "score": -100}"#),
    with("POST", "/users/{userId}/report", USER, r#"{"reason": "spam"}"#),
    // The user is no administrator, and refused whatever the body is.
    get("/admin/whois/{userId}", USER, ""),
    get("/_matrix/client/v1/admin/lock/{userId}", USER, ""),
    with("PUT", "/_matrix/client/v1/admin/lock/{userId}", USER, ""),
    get("/_matrix/client/v1/admin/suspend/{userId}", USER, ""),
    with("PUT", "/_matrix/client/v1/admin/suspend/{userId}", USER, ""),
    get(SHARED_SECRET_REGISTRATION, NOBODY, ""),
    with(
        "POST",
        SHARED_SECRET_REGISTRATION,
        NOBODY,
        r#"{"nonce": "x", "username": "{newName}", "password": "x", "mac": "00", "admin": false, "user_type": null,
            "displayname": "x", "inhibit_login": false, "device_id": "D", "initial_device_display_name": "a phone",
            "refresh_token": true}"#,
    ),
];

/// The paths of the list in the source, spelled as in the table.
fn declared() -> Vec<String> {
    let paths = |call: &str, prefix: &str| {
        let call = format!(".{call}(");
        let paths =
            ROUTES.split(&call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        paths.map(|path| format!("{prefix}{path}")).collect::<Vec<_>>()
    };
    let others = [SHARED_SECRET_REGISTRATION, CREATE_MEDIA, MEDIA_CONFIG, DOWNLOAD, NAMED_DOWNLOAD, THUMBNAIL];
    let mut all = Vec::from(others.map(str::to_owned));
    all.extend([DEHYDRATED_DEVICE, RENDEZVOUS].map(str::to_owned));
    all.extend(paths("v3", ""));
    all.extend(paths("v1", "/_matrix/client/v1"));
    all.extend(paths("unversioned", "/_matrix/client"));
    all
}

#[test]
fn every_path_of_the_server_is_in_the_table() {
    let declared = declared();
    assert!(declared.len() > 30, "the list was not understood: {declared:?}");
    let missing: Vec<_> = declared.iter().filter(|path| !ENDPOINTS.iter().any(|it| it.path == *path)).collect();
    assert!(missing.is_empty(), "add these paths to ENDPOINTS: {missing:?}");
    let unknown: Vec<_> =
        ENDPOINTS.iter().map(|it| it.path).filter(|path| !declared.iter().any(|it| it == path)).collect();
    assert!(unknown.is_empty(), "these are not served: {unknown:?}");
}

#[test]
fn the_bodies_of_the_table_are_json() {
    assert!(ENDPOINTS.iter().filter_map(Endpoint::body).all(|body| body != json!(null)));
}

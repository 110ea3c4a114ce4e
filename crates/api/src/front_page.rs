//! `GET /`: what a person sees who opens the server's address in a browser.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use homeserver_core::{Identity, random_string};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

use crate::state::ApiState;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/", get(show))
}

async fn show(State(identity): State<Arc<Identity>>) -> Response {
    let nonce = random_string(22);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page(identity.server_name.as_str(), &nonce)).into_response()
}

/// A server name consists of letters, digits, and `.-:[]`, so it needs no escaping.
fn page(server_name: &str, nonce: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{server_name}: a Matrix homeserver</title>
<style nonce="{nonce}">
:root {{ color-scheme: light dark; }}
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 12vh auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.5rem; line-height: 1.3; }}
code {{ font-size: 1rem; padding: 0.1rem 0.35rem; border: 1px solid; border-radius: 0.3rem; }}
</style>
</head>
<body>
<main>
<h1>This is a Matrix homeserver</h1>
<p>It works. There is nothing to see here with a browser: people use it through a client, a program on their phone, their
computer or the web.</p>
<p>Choose one of the <a href="https://matrix.org/ecosystem/clients/">Matrix clients</a>, for instance Element, Cinny, FluffyChat
or Nheko, and sign in to the homeserver <code>{server_name}</code>. If the client does not find it by this name, give it the
address of this page.</p>
<p>You have no account here? Whoever runs this server can make one for you.</p>
</main>
</body>
</html>
"#
    )
}

//! E-mail, from the request to the mail server and back: the real program, a real SMTP server, and both databases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod adding;
mod asking;
mod delivery;
mod linking;
mod login;
mod password;
mod registering;
mod sending_nothing;
mod templates;
mod test_command;

use serde_json::{Value, json};
use testing::{Answer, Client, ServerProcess, Setting, SmtpServer, SmtpTls, TestDatabase};

const V3: &str = "/_matrix/client/v3";
const SECRET: &str = "d0nt-T3ll";

/// A homeserver that sends its mail to `smtp`.
async fn start(db: &TestDatabase, smtp: &SmtpServer, further: &[Setting<'_>]) -> ServerProcess {
    let mut settings = smtp.settings();
    settings.extend(further.iter().map(|(section, key, value)| (leaked(section), leaked(key), value.clone())));
    ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), db, &settings).await
}

/// Settings of a test live as long as the test.
fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// Both servers, with nothing special about them.
async fn start_both(db: &TestDatabase) -> (ServerProcess, SmtpServer) {
    let smtp = SmtpServer::start(SmtpTls::StartTls).await;
    (start(db, &smtp, &[]).await, smtp)
}

fn token_request(email: &str, send_attempt: i64) -> Value {
    json!({ "client_secret": SECRET, "email": email, "send_attempt": send_attempt })
}

/// Asks for a mail: `what` is `register`, `account/password` or `account/3pid`.
async fn ask(client: &Client, what: &str, body: &Value) -> Answer {
    client.post(format!("{V3}/{what}/email/requestToken")).json(body).await
}

/// Asks for the first mail and returns the session's name.
async fn session(client: &Client, what: &str, email: &str) -> String {
    ask(client, what, &token_request(email, 1)).await.ok()["sid"].as_str().unwrap().to_owned()
}

/// Presses the button of the page that a link leads to.
async fn confirm(client: &Client, link: &str) -> Answer {
    let (path, query) = link.split_once('?').unwrap();
    let content_type = http::header::CONTENT_TYPE;
    client.post(path).header(content_type, "application/x-www-form-urlencoded").body(query.to_owned()).await
}

/// The stage by which a client shows a confirmed address.
fn email_stage(sid: &str) -> Value {
    json!({ "type": "m.login.email.identity", "threepid_creds": { "sid": sid, "client_secret": SECRET } })
}

fn password_stage(name: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

/// Makes an account with an e-mail address. Returns what registration answers; the password is `wonderland`.
async fn register(client: &Client, smtp: &SmtpServer, name: &str, email: &str) -> Value {
    let sid = session(client, "register", email).await;
    confirm(client, &smtp.mail_to(email, 1).await.link()).await;
    let body = json!({ "username": name, "password": "wonderland", "auth": email_stage(&sid) });
    client.post(format!("{V3}/register")).json(&body).await.ok()
}

/// The addresses of an account.
async fn addresses(client: &Client, token: &str) -> Vec<String> {
    let threepids = client.get(format!("{V3}/account/3pid")).token(token).await.ok();
    let listed = threepids["threepids"].as_array().unwrap().iter();
    listed.map(|threepid| threepid["address"].as_str().unwrap().to_owned()).collect()
}

async fn log_in(client: &Client, identifier: Value, password: &str) -> Answer {
    let body = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    client.post(format!("{V3}/login")).json(&body).await
}

fn by_email(address: &str) -> Value {
    json!({ "type": "m.id.thirdparty", "medium": "email", "address": address })
}

/// The first address that a session is about, after its mail was confirmed: asks, reads, presses the button.
async fn confirmed_session(client: &Client, smtp: &SmtpServer, what: &str, email: &str, mails: usize) -> String {
    let sid = session(client, what, email).await;
    let page = confirm(client, &smtp.mail_to(email, mails).await.link()).await;
    assert_eq!(page.status, 200, "{page}");
    sid
}

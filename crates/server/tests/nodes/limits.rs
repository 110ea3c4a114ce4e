//! What protects secrets does not grow with the number of servers.

use serde_json::json;
use testing::eventually;

use crate::world::Nodes;

const BURST: usize = 4;
const NODES: usize = 2;

/// How many wrong passwords for one account the servers check before all of them refuse.
async fn guesses(nodes: &Nodes, name: &str) -> usize {
    let identifier = json!({ "type": "m.id.user", "user": name });
    let login = json!({ "type": "m.login.password", "identifier": identifier, "password": "wrong" });
    let mut checked = 0;
    for attempt in 0..NODES * (BURST + 1) {
        let client = nodes.servers[attempt % NODES].client();
        match client.post("/_matrix/client/v3/login").json(&login).await {
            answer if answer.status == 403 => checked += 1,
            answer => drop(answer.error(429, "M_LIMIT_EXCEEDED")),
        }
    }
    checked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_together_allow_no_more_wrong_passwords_than_one() {
    let login: toml::Table = format!(
        "address = {{ per_second = 1000000, burst = 100000 }}
         failed_attempts = {{ per_second = 0.0002, burst = {BURST} }}"
    )
    .parse()
    .unwrap();
    let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "login", login.into())];
    let nodes = Nodes::start_with(NODES, &settings).await;
    // The first server learns of the second one after a few seconds. Each round uses a name that nobody has tried before.
    let mut round = 0;
    eventually("a shared limit", async || {
        round += 1;
        let checked = guesses(&nodes, &format!("person{round}")).await;
        assert!(checked >= BURST, "only {checked} attempts");
        (checked == BURST).then_some(())
    })
    .await;
}

use serde_json::json;
use testing::{SmtpServer, SmtpTls, on_both_databases};

use crate::{V3, ask, confirm, email_stage, session, start, start_both, token_request};

on_both_databases! {
    async fn looking_at_the_link_confirms_nothing_and_the_button_does(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let sid = session(&client, "register", "alice@example.com").await;
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        let register = || {
            let body = json!({ "username": "alice", "password": "wonderland", "auth": email_stage(&sid) });
            client.post(format!("{V3}/register")).json(&body)
        };
        for _ in 0..3 {
            let page = client.get(&link).await;
            assert_eq!((page.status.as_u16(), &page.headers["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
            let html = String::from_utf8(page.body.to_vec()).unwrap();
            assert!(html.contains("<form method=\"post\">") && html.contains("<strong>alice@example.com</strong>"), "{html}");
        }
        register().await.error(401, "M_UNAUTHORIZED");
        for _ in 0..2 {
            let page = confirm(&client, &link).await;
            assert!(page.status == 200 && page.to_string().contains("Your e-mail address is confirmed"), "{page}");
        }
        assert!(client.get(&link).await.to_string().contains("Your e-mail address is confirmed"));
        register().await.ok();
        let used = confirm(&client, &link).await;
        assert!(used.status == 400 && used.to_string().contains("This link does not work any more"), "{used}");
    }

    async fn the_page_lets_browsers_do_nothing_but_press_the_button(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        session(&client, "register", "alice@example.com").await;
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        for page in [client.get(&link).await, client.get("/_synapse/client/email/submit_token?sid=%3Cscript%3E&token=x").await] {
            let policy = page.headers["content-security-policy"].to_str().unwrap();
            let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0;
            assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(page.headers["referrer-policy"], "no-referrer");
            assert_eq!(page.headers["cache-control"], "no-store");
            let html = String::from_utf8(page.body.to_vec()).unwrap();
            assert!(html.contains(&format!("<style nonce=\"{nonce}\">")) && !html.contains("<script"), "{html}");
        }
    }

    async fn tokens_that_were_not_sent_are_refused_and_ten_of_them_end_the_session(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let sid = session(&client, "register", "alice@example.com").await;
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        let wrong = format!("/_synapse/client/email/submit_token?sid={sid}&token=guess");
        for _ in 0..9 {
            assert_eq!(confirm(&client, &wrong).await.status, 400);
        }
        assert_eq!(client.get(&link).await.status, 200);
        assert_eq!(client.get(&wrong).await.status, 400);
        assert_eq!(confirm(&client, &link).await.status, 400);
        for broken in ["/_synapse/client/email/submit_token", "/_synapse/client/email/submit_token?sid=&token="] {
            assert_eq!(client.get(broken).await.status, 400);
        }
    }

    async fn people_are_sent_on_to_listed_hosts_only(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let further = [
            ("email", "client_base_url", "https://chat.example.org/app".into()),
            ("email", "next_link_hosts", vec!["other.example.org".to_owned()].into()),
        ];
        let server = start(&db, &smtp, &further).await;
        let client = server.client();
        let links = [
            ("https://chat.example.org/#/register?a=b", true),
            ("https://other.example.org/", true),
            ("https://evil.example/", false),
            ("https://chat.example.org.evil.example/", false),
        ];
        for (number, (next_link, is_followed)) in links.into_iter().enumerate() {
            let email = format!("alice{number}@example.com");
            let mut body = token_request(&email, 1);
            body["next_link"] = next_link.into();
            ask(&client, "register", &body).await.ok();
            let link = smtp.mail_to(&email, 1).await.link();
            let page = client.get(&link).await;
            let policy = page.headers["content-security-policy"].to_str().unwrap();
            let origin = next_link.split('/').take(3).collect::<Vec<_>>().join("/");
            assert_eq!(policy.contains(&format!("form-action 'self' {origin};")), is_followed, "{policy}");
            let answer = confirm(&client, &link).await;
            match is_followed {
                true => assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (303, &next_link.parse().unwrap())),
                false => assert_eq!((answer.status.as_u16(), answer.headers.get("location")), (200, None)),
            }
        }
        for next_link in ["javascript:alert(1)", "/here", "matrix:u/alice:example.org"] {
            let mut body = token_request("bob@example.com", 1);
            body["next_link"] = next_link.into();
            ask(&client, "register", &body).await.error(400, "M_INVALID_PARAM");
        }
    }
}

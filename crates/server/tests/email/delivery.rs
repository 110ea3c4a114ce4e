use std::time::{Duration, Instant};

use serde_json::json;
use testing::{SmtpMood, SmtpServer, SmtpTls, on_both_databases};

use crate::{V3, confirm, password_stage, session, start, start_both};

/// Far more than two requests take, and far less than the mail server's time limit.
const AT_ONCE: Duration = Duration::from_secs(10);

on_both_databases! {
    async fn mail_goes_out_over_tls_from_the_first_byte(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::Implicit).await;
        let further = [("email", "username", "matrix".into()), ("email", "password", "hunter2".into())];
        let server = start(&db, &smtp, &further).await;
        session(&server.client(), "register", "alice@example.com").await;
        let mail = smtp.mail_to("alice@example.com", 1).await;
        assert_eq!(confirm(&server.client(), &mail.link()).await.status, 200);
        // "\0matrix\0hunter2"
        assert_eq!(smtp.logins(), ["AUTH PLAIN AG1hdHJpeABodW50ZXIy"]);
    }

    async fn mail_goes_to_a_relay_nearby_without_tls(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::None).await;
        let server = start(&db, &smtp, &[]).await;
        session(&server.client(), "register", "alice@example.com").await;
        smtp.mail_to("alice@example.com", 1).await;
    }

    async fn mail_goes_to_a_relay_that_knows_helo_only(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::None).await;
        smtp.set_mood(SmtpMood::KnowsNoEhlo);
        let server = start(&db, &smtp, &[]).await;
        session(&server.client(), "register", "alice@example.com").await;
        let mail = smtp.mail_to("alice@example.com", 1).await;
        assert_eq!(confirm(&server.client(), &mail.link()).await.status, 200);
    }

    async fn with_starttls_nothing_of_the_mail_is_said_in_clear(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let further = [("email", "username", "matrix".into()), ("email", "password", "hunter2".into())];
        let server = start(&db, &smtp, &further).await;
        session(&server.client(), "register", "alice@example.com").await;
        smtp.mail_to("alice@example.com", 1).await;
        assert_eq!(smtp.said_in_clear(), ["EHLO localhost", "STARTTLS"]);
        assert_eq!(smtp.logins().len(), 1);
    }

    async fn without_starttls_nothing_is_sent_in_clear(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::None).await;
        let further = [
            ("email", "tls", "start_tls".into()),
            ("email", "username", "matrix".into()),
            ("email", "password", "hunter2".into()),
        ];
        let server = start(&db, &smtp, &further).await;
        session(&server.client(), "register", "alice@example.com").await;
        // It is tried again, in vain.
        smtp.connections(2).await;
        let said = smtp.said_in_clear();
        assert!(said.iter().all(|line| ["EHLO localhost", "QUIT"].contains(&line.as_str())), "{said:?}");
        assert!(smtp.mails().is_empty() && smtp.logins().is_empty());
    }

    async fn a_server_with_another_certificate_gets_no_mail_and_is_tried_again(db: TestDatabase) {
        let (smtp, other) = (SmtpServer::start(SmtpTls::Implicit).await, SmtpServer::start(SmtpTls::None).await);
        let trusted = vec![other.certificate().display().to_string()];
        let mut server = start(&db, &smtp, &[("network", "trusted_ca", trusted.into())]).await;
        session(&server.client(), "register", "alice@example.com").await;
        smtp.connections(2).await;
        assert!(smtp.mails().is_empty());
        assert!(server.terminate().await.success());
        // The operator makes the certificate known, and the mail that waited goes out.
        std::fs::copy(smtp.certificate(), other.certificate()).unwrap();
        server.restart().await;
        smtp.mail_to("alice@example.com", 1).await;
    }

    async fn a_mail_that_is_refused_for_the_moment_is_sent_later(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        smtp.set_mood(SmtpMood::Refuses("451 4.3.0 Try again later"));
        session(&server.client(), "register", "alice@example.com").await;
        smtp.refusals(2).await;
        smtp.set_mood(SmtpMood::Takes);
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        assert_eq!(confirm(&server.client(), &link).await.status, 200);
    }

    async fn a_mail_that_is_refused_for_good_is_given_up_and_the_reason_kept(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        smtp.set_mood(SmtpMood::Refuses("550 5.1.1 Nobody of that name"));
        session(&server.client(), "register", "alice@example.com").await;
        smtp.refusals(1).await;
        wait_for_log(&server, "a job was given up").await;
        assert!(server.log().contains("5.1.1 Nobody of that name"), "{}", server.log());
        // Another mail shows that this one was left alone.
        smtp.set_mood(SmtpMood::Takes);
        session(&server.client(), "register", "bob@example.com").await;
        smtp.mail_to("bob@example.com", 1).await;
        assert_eq!((smtp.refused(), smtp.mails().len()), (1, 1));
    }

    async fn a_mail_server_that_hangs_holds_up_no_request_and_no_shutdown(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let mut server = start(&db, &smtp, &[("email", "timeout", "60s".into())]).await;
        smtp.set_mood(SmtpMood::Hangs);
        let alice = server.register("alice").await;
        let client = server.client();
        for number in 0..6 {
            let begun = Instant::now();
            session(&client, "register", &format!("user{number}@example.com")).await;
            alice.get(format!("{V3}/account/whoami")).await.ok();
            assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        }
        smtp.connections(1).await;
        let begun = Instant::now();
        assert!(server.terminate().await.success());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // Nothing is lost: the next start sends them.
        smtp.set_mood(SmtpMood::Takes);
        server.restart().await;
        for number in 0..6 {
            smtp.mail_to(&format!("user{number}@example.com"), 1).await;
        }
    }

    async fn a_mail_is_sent_though_the_server_was_killed_before(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        // What the killed server was doing is done by the next when the lease has run out.
        let mut server = start(&db, &smtp, &[("jobs", "lease", "10s".into())]).await;
        smtp.set_mood(SmtpMood::Refuses("451 4.3.0 Try again later"));
        let alice = server.register("alice").await;
        let sid = session(&server.client(), "account/3pid", "alice@example.com").await;
        server.kill().await;
        smtp.set_mood(SmtpMood::Takes);
        server.restart().await;
        let client = server.client();
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        assert_eq!(confirm(&client, &link).await.status, 200);
        let auth = password_stage("alice", "password of alice");
        let body = json!({ "sid": sid, "client_secret": crate::SECRET, "auth": auth });
        alice.at(&client).post(format!("{V3}/account/3pid/add")).json(&body).await.ok();
    }
}

async fn wait_for_log(server: &testing::ServerProcess, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.log().contains(text) {
        assert!(Instant::now() < deadline, "{text} is not in the log:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

use testing::{SmtpMood, SmtpServer, SmtpTls, TestDatabase};

use crate::start;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_told_whether_a_test_mail_was_taken() {
    let db = TestDatabase::sqlite();
    let smtp = SmtpServer::start(SmtpTls::StartTls).await;
    let server = start(&db, &smtp, &[]).await;
    let sent = server.run(&["email", "test", "You@example.org"]).await;
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(String::from_utf8(sent.stdout).unwrap(), "The SMTP server has taken a mail to you@example.org.\n");
    let mail = smtp.mail_to("you@example.org", 1).await;
    assert_eq!(mail.headers("Subject"), ["Matrix can send e-mail"]);

    smtp.set_mood(SmtpMood::Refuses("550 5.1.1 Nobody of that name"));
    let refused = server.run(&["email", "test", "you@example.org"]).await;
    let problem = String::from_utf8(refused.stderr).unwrap();
    assert!(problem.starts_with("synapse-rust: 127.0.0.1:") && problem.contains("5.1.1 Nobody"), "{problem}");
    assert_eq!(refused.status.code(), Some(1));
    let no_address = server.run(&["email", "test", "nobody"]).await;
    assert!(String::from_utf8(no_address.stderr).unwrap().contains("not an e-mail address"));
}

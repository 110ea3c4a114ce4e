use std::fs;

use testing::{SmtpServer, SmtpTls, TestDatabase};

use crate::{session, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_templates_are_used_and_their_mistakes_found() {
    let db = TestDatabase::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registration.txt");
    fs::write(&file, "Subject: Welcome to {{ app_name }}\n\nHere: {{ link }}\n").unwrap();
    let smtp = SmtpServer::start(SmtpTls::StartTls).await;
    let folder_name = folder.path().display().to_string();
    let further = [("email", "templates_dir", folder_name.into()), ("email", "app_name", "The <Café>".into())];
    let server = start(&db, &smtp, &further).await;
    session(&server.client(), "register", "alice@example.com").await;
    let mail = smtp.mail_to("alice@example.com", 1).await;
    assert!(mail.text.contains("Here: https://matrix.example.org/_synapse/client/"), "{}", mail.text);
    let page = server.client().get(mail.link()).await.to_string();
    assert!(page.contains("The &lt;Café&gt;") && !page.contains("<Café>"), "{page}");

    fs::write(&file, "Subject: x\n\n{{ lnk }}").unwrap();
    let checked = server.run(&["config", "check"]).await;
    let problem = String::from_utf8(checked.stderr).unwrap();
    assert!(problem.contains("email.templates_dir: ") && problem.contains("registration.txt:3"), "{problem}");
    assert_eq!((checked.status.code(), problem.lines().count()), (Some(1), 1));
}

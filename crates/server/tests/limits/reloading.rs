use testing::on_both_databases;

use crate::{at_once, public_room, refused, send, server_with, settings};

on_both_databases! {
    async fn a_reload_changes_the_limits(db: TestDatabase) {
        let low = at_once("message", 2);
        let mut server = server_with(&db, &low).await;
        let alice = server.register("alice").await;
        let room = public_room(&alice).await;
        send(&alice, &room, "1").await.ok();
        refused(send(&alice, &room, "2").await);

        // What stays as it is keeps its counts.
        let mut unchanged = low.clone();
        unchanged.insert("room_creation".to_owned(), low["message"].clone());
        server.reload_with(&db, &settings(&unchanged));
        refused(send(&alice, &room, "2").await);

        server.reload_with(&db, &settings(&at_once("message", 10)));
        for number in 0..10 {
            send(&alice, &room, &format!("a{number}")).await.ok();
        }
        refused(send(&alice, &room, "3").await);

        server.reload_with(&db, &[("rate_limits", "enabled", false.into())]);
        for number in 0..20 {
            send(&alice, &room, &format!("b{number}")).await.ok();
        }
        server.reload_with(&db, &settings(&low));
        send(&alice, &room, "4").await.ok();
        send(&alice, &room, "5").await.ok();
        refused(send(&alice, &room, "6").await);
    }
}

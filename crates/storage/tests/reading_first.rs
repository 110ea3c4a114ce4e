//! Writes that read first, of two processes at the same time: the second finds what the first has written.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use std::time::Duration;

use homeserver_core::{Timestamp, UserSn};
use storage::{
    AccountDataEntry, Database, DatabaseOptions, Filled, MediaContent, MediaKey, NewAccount, NewTokens, StorageError,
};
use testing::{TestDatabase, on_both_databases};

async fn open(database: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(database.url())).await.unwrap()
}

async fn account(database: &Database) -> UserSn {
    let account = NewAccount {
        user_id: "@alice:example.org".to_owned(),
        password_hash: None,
        created_at: Timestamp(1),
        is_admin: false,
        is_guest: false,
        user_type: None,
    };
    database.write(async move |tx| tx.create_account(&account).await).await.unwrap().unwrap()
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    database.query_optional(sql, &[], |row| row.get(0)).await.unwrap().unwrap()
}

/// Adds a letter to a user's push rules, with time for others after they were read.
async fn add_rule(database: &Database, user_sn: UserSn, rule: &'static str) -> Result<(), StorageError> {
    let write = database.write(async move |tx| {
        let mut rules = tx.push_rules(user_sn).await?.map(|stored| stored.rules.to_vec()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(200)).await;
        rules.extend(rule.as_bytes());
        tx.set_push_rules(user_sn, &rules).await
    });
    write.await
}

on_both_databases! {
    async fn changes_of_push_rules_add_up(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        let (first, second) = futures::join!(add_rule(&one, UserSn(1), "a"), add_rule(&two, UserSn(1), "b"));
        first.and(second).unwrap();
        let mut rules = one.push_rules(UserSn(1)).await.unwrap().unwrap().rules.to_vec();
        rules.sort_unstable();
        assert_eq!(rules, b"ab");
    }

    async fn changes_of_account_data_add_up(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        let add = |letter: u8| move |before: Option<bytes::Bytes>| {
            std::thread::sleep(Duration::from_millis(50));
            Some([&before.unwrap_or_default()[..], &[letter]].concat().into())
        };
        let writes = [(&one, b'a'), (&two, b'b'), (&one, b'c'), (&two, b'd')];
        let writes = writes.map(|(database, letter)| database.change_account_data(UserSn(1), None, "m.direct", add(letter)));
        assert!(futures::future::join_all(writes).await.iter().all(Result::is_ok));
        let mut entries: Vec<AccountDataEntry> = one.account_data_of_room(UserSn(1), None).await.unwrap();
        let mut content = entries.pop().unwrap().content.to_vec();
        content.sort_unstable();
        assert_eq!(content, b"abcd");
    }

    async fn filters_keep_to_their_limit_and_have_numbers_of_their_own(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        let user_sn = account(&one).await;
        let stores = (0..40_u8).map(|number| {
            let database = if number % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move { database.store_filter(user_sn, [number; 32], "{}".to_owned(), 30).await.unwrap() })
        });
        let stored = futures::future::join_all(stores).await;
        let mut numbers: Vec<i64> = stored.into_iter().filter_map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
    }

    async fn an_id_of_media_is_filled_once(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        let user_sn = account(&one).await;
        for number in 0..20 {
            let key = MediaKey { server_name: "example.org".to_owned(), media_id: format!("m{number}") };
            assert!(one.insert_media_without_content(key.clone(), user_sn, Timestamp(1), Timestamp(100), 100).await.unwrap());
            let fill = |database: Database, file: &str| {
                let content = MediaContent { file: file.to_owned(), size_bytes: 1, content_type: None, file_name: None };
                let key = key.clone();
                tokio::spawn(async move { database.fill_media(key, user_sn, Timestamp(2), content).await.unwrap() })
            };
            let (first, second) = futures::join!(fill(one.clone(), "one"), fill(two.clone(), "two"));
            let outcomes = [first.unwrap(), second.unwrap()];
            assert!(outcomes.contains(&Filled::Done) && outcomes.contains(&Filled::Before), "{outcomes:?}");
        }
    }

    async fn a_refresh_token_that_is_used_twice_at_once_leaves_the_tokens_of_one(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        let user_sn = account(&one).await;
        let tokens = |number: u8| NewTokens {
            access_hash: [number; 32],
            expires_at: None,
            refresh_hash: Some([number; 32]),
            created_at: Timestamp(1),
        };
        for round in 0..20_u8 {
            one.write(async move |tx| {
                let device_sn = tx.ensure_device(user_sn, "D", None, None, Timestamp(1)).await?;
                tx.delete_tokens(&[device_sn.0]).await?;
                tx.insert_tokens(user_sn, device_sn, &tokens(0)).await
            }).await.unwrap();
            let refresh = |database: Database, number: u8| tokio::spawn(async move {
                database.refresh_tokens([0; 32], tokens(number)).await.unwrap().unwrap();
            });
            let (first, second) = futures::join!(refresh(one.clone(), 1 + 2 * round), refresh(two.clone(), 2 + 2 * round));
            first.and(second).unwrap();
            // Those that were used, and their successors.
            assert_eq!(count(&one, "SELECT COUNT(*) FROM access_tokens").await, 2, "round {round}");
            assert_eq!(count(&one, "SELECT COUNT(*) FROM refresh_tokens").await, 2, "round {round}");
        }
    }
}

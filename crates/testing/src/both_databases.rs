//! The macro that makes two tests of one.

/// Makes each `async fn a_sentence(db: TestDatabase) { … }` inside into the tests `a_sentence::sqlite` and
/// `a_sentence::postgres`, each with an empty database of its own.
///
/// The crate that uses it needs tokio with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $body:block)+) => {$(
        $(#[$attribute])*
        // Also where only tests are compiled: by this attribute the lints know that they are in a test.
        #[cfg(test)]
        async fn $name($database: $crate::TestDatabase) $body

        #[cfg(test)]
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                Box::pin(super::$name($crate::TestDatabase::sqlite())).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                Box::pin(super::$name($crate::TestDatabase::postgres().await)).await;
            }
        }
    )+};
}

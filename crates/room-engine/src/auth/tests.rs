pub(crate) mod foreign;
mod oracle;
mod room;
mod sentences;
mod third_party_invites;

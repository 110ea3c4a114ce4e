mod oracle;
mod room;
mod sentences;
mod third_party_invites;

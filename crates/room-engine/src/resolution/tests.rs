mod actions;
mod first_version;
mod oracle;
mod room;
mod source;

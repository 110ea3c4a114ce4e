mod actions;
mod coverage;
mod first_version;
mod oracle;
mod room;
mod source;

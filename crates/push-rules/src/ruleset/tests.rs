mod changing;
mod reading;

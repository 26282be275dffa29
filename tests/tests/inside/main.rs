//! Looking inside a running process, from outside.
//!
//! Each test starts a program, brings it into a state by its standard input, and
//! looks at it with the command `thmalloc`.

mod command;
mod errors;
mod harness;
mod live;
mod programs;
mod rust;
mod states;
mod trim;
mod users;

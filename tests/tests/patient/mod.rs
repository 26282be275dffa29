//! A process on thmalloc that stays as it is until it is dropped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use thmalloc_tests::{Build, Mode, compile, library};

/// A process of `tests/c/illness.c`.
pub struct Patient(Child);

impl Patient {
    /// Starts it and waits until it has what `args` name.
    #[track_caller]
    pub fn new(mode: Mode, more_conf: &str, args: &[&str]) -> Self {
        let program: PathBuf = compile("illness.c", &[]);
        let mut child = Command::new(program)
            .args(args)
            .env("LD_PRELOAD", library(Build::Release))
            .env("THMALLOC_CONF", format!("{}{more_conf}", mode.conf()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let patient = Patient(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("reads");
        assert_eq!(line, "ready\n", "{args:?}");
        patient
    }

    /// Its number.
    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! `thmalloc export`: metrics of all processes on thmalloc, for Prometheus.
//!
//! `metrics` writes a reading of them in Prometheus' text format; `server`
//! answers requests, one thread for all of them, and a second that reads.

mod metrics;
mod server;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;

use crate::error::Error;
use crate::survey::Survey;

const AFTER_HELP: &str = "\
Whoever can reach the address can read the figures, the processes' numbers and
their names (not their arguments): choose an address that only Prometheus
reaches. With port 0 the system chooses one, which is printed. Processes of other
users are read if thmalloc may (as root); those that it may not read are counted.

  /metrics   the metrics; HELP lines say what each of them is
  /          a page that leads there

docs/prometheus.yml is a configuration of Prometheus that scrapes it, and
docs/grafana-dashboard.json a dashboard for Grafana.

Exit status: 125 if the address cannot be listened on.

Example:
  thmalloc export --listen 127.0.0.1:9750";

/// Serve metrics of all processes on thmalloc to Prometheus
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Export {
    /// Where to listen, as 127.0.0.1:9750 or [::1]:9750
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,

    /// Size classes, too: 264 more series a process
    #[arg(long)]
    size_classes: bool,
}

impl Export {
    /// Listens, and answers until a signal ends the process.
    pub fn execute(self) -> Result<(), Error> {
        let failed = |error| Error::Listen {
            address: self.listen.clone(),
            error,
        };
        // Our `main` leaves SIGPIPE as it is; a client that hangs up must not
        // end us.
        signal_hook::flag::register(
            signal_hook::consts::SIGPIPE,
            Arc::new(AtomicBool::new(false)),
        )
        .map_err(failed)?;
        let (listener, address) = bind(&self.listen).map_err(failed)?;
        // Whoever started us may have closed stdout: that is no reason to end.
        let mut out = io::stdout();
        let _ = writeln!(out, "listening on http://{address}/metrics").and_then(|()| out.flush());
        let mut survey = Survey::new(Vec::new());
        let page = server::Page::new(self.size_classes, move || survey.read());
        server::serve(listener, page).map_err(failed)
    }
}

/// Listens at the first address of that name that can be listened on.
fn bind(name: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let addresses: Vec<SocketAddr> = name.to_socket_addrs()?.collect();
    let listener = TcpListener::bind(&addresses[..])?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

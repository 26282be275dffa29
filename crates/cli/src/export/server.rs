//! Answers HTTP requests.
//!
//! Always: so many connections at most, each for one request, and each for a
//! limited time, so that a client that is slow or means harm holds up others for
//! that long at most; the processes are read by one thread, and at most once in
//! [`FRESH`], however many ask.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::metrics;
use crate::survey::Reading;

/// Connections that are served at the same time; others wait in the system's
/// queue.
const CONNECTIONS: usize = 32;
/// A request's head must have come after that time.
const HEAD: Duration = Duration::from_secs(5);
/// A connection ends after that time, come what may.
const CONNECTION: Duration = Duration::from_secs(30);
/// What one request's head may take.
const HEAD_BYTES: usize = 16 << 10;
/// A reading is served again for that time.
const FRESH: Duration = Duration::from_millis(200);
/// What is waited for if there are too many open files.
const BREATH: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

const INDEX: &str = "<!DOCTYPE html>
<html lang=\"en\">
<title>thmalloc</title>
<h1>thmalloc</h1>
<p>Memory of the processes on this machine that run on thmalloc:
<a href=\"/metrics\">metrics</a>, for Prometheus.</p>
</html>
";

type Read = dyn FnMut() -> Result<Reading, thmalloc_inspect::Error> + Send;

/// The metrics' page.
pub struct Page {
    size_classes: bool,
    state: Mutex<State>,
}

struct State {
    read: Box<Read>,
    last: Option<(Instant, Bytes)>,
}

impl Page {
    /// Of what `read` finds.
    pub fn new(
        size_classes: bool,
        read: impl FnMut() -> Result<Reading, thmalloc_inspect::Error> + Send + 'static,
    ) -> Arc<Self> {
        let state = State {
            read: Box::new(read),
            last: None,
        };
        Arc::new(Self {
            size_classes,
            state: Mutex::new(state),
        })
    }

    fn text(&self) -> Result<Bytes, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, text)) = &state.last
            && when.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let start = Instant::now();
        let reading = (state.read)().map_err(|error| error.to_string())?;
        let text = metrics::text(&reading, start.elapsed(), self.size_classes)?;
        let text = Bytes::from(text);
        state.last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

/// Answers whoever connects, for ever.
pub fn serve(listener: TcpListener, page: Arc<Page>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let page = Arc::clone(&page);
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(|request| answer(Arc::clone(&page), request));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .max_buf_size(HEAD_BYTES)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                // What goes wrong here is the client's: it knows.
                let _ = tokio::time::timeout(CONNECTION, connection).await;
            });
        }
    })
}

async fn answer(
    page: Arc<Page>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = matches!(request.uri().path(), "/" | "/metrics");
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !known {
        of(StatusCode::NOT_FOUND, TEXT, "not here; see /metrics\n")
    } else if !asks {
        let mut response = of(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        response
    } else if request.uri().path() == "/" {
        of(StatusCode::OK, HTML, INDEX)
    } else {
        match tokio::task::spawn_blocking(move || page.text()).await {
            Ok(Ok(text)) => of(StatusCode::OK, metrics::MEDIA_TYPE, text),
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&error.to_string()),
        }
    };
    let never = hyper::header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, never);
    Ok(response)
}

fn failed(error: &str) -> Response<Full<Bytes>> {
    let text = format!("cannot look for processes: {error}\n");
    of(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn of(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let media = hyper::header::HeaderValue::from_static(media);
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

#[cfg(test)]
mod tests;

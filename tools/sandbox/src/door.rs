//! What stands between the wire and a server that knows no socket: requests go in, answers come out, and now and then a
//! connection breaks.

use std::{io, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, Request, Response, Uri},
};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// The connection breaks before the answer is out; whether the work was done is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// A server without a socket.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken>;

    /// Returns how long a fault makes every answer wait.
    fn slowness(&self) -> Duration {
        Duration::ZERO
    }
}

/// Returns the router before a server that takes bodies of so many bytes and takes so long for every answer.
pub(crate) fn router(server: impl Answers, latency: Duration, body: usize) -> Router {
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(body)).with_state((server, latency))
}

async fn answer<S: Answers>(
    State((server, latency)): State<(S, Duration)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let wait = latency + server.slowness();
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    match tokio::task::block_in_place(|| server.answer(&request)) {
        Ok(response) => response.map(Body::from),
        Err(Broken) => {
            let pieces =
                futures::stream::iter([Ok(Bytes::from_static(b"[")), Err(io::Error::other("the connection breaks"))]);
            Response::new(Body::from_stream(pieces))
        }
    }
}

/// Returns the pairs of an URL-encoded form or query, in order.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(encoded).into_owned()
}

/// Returns the parts of a path.
pub(crate) fn path_parts(path: &str) -> impl Iterator<Item = String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
}

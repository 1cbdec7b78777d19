//! An API server for tests of answers that a real one never gives.

use std::convert::Infallible;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower::service_fn;

/// A client whose requests are answered with HTTP 200 and the text that `answer` returns for their URI.
pub(super) fn client(answer: impl Fn(&http::Uri) -> String + Send + 'static) -> Client {
    let answer = move |request: Request<Body>| {
        let text = answer(request.uri());
        async move { Ok::<_, Infallible>(Response::new(Body::from(text.into_bytes()))) }
    };
    Client::new(service_fn(answer), "default")
}

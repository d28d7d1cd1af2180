//! Bodies of requests: whole in memory, only of whoever is known, and so many at once.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::access::Caller;
use crate::per_user::Entered;
use crate::problem::Problem;
use crate::router::Api;

/// Longer than any object may be.
const BYTES_MAX: usize = 1024 * 1024;
/// More values in it are more than any object has, and many times as long in memory as they are here.
const VALUES_MAX: usize = 20_000;
/// Requests with bodies that are dealt with at once; more wait. What they hold is less than this process has.
pub(crate) const AT_ONCE: usize = 16;
/// For so long.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A body must come within this.
const WITHIN: Duration = Duration::from_secs(20);
/// What whoever was refused already goes on to send is thrown away: a connection that is closed meanwhile may lose the answer.
const REST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// But not for longer.
const REST_WITHIN: Duration = Duration::from_secs(5);

/// Gathers a request's body before it is dealt with.
pub(crate) async fn gathered(State(api): State<Api>, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut coming = body.into_data_stream();
    let problem = match taken(&api, &parts, &mut coming).await {
        Ok((body, _held)) => return next.run(Request::from_parts(parts, Body::from(body.freeze()))).await,
        Err(problem) => problem,
    };
    let rest = async {
        let mut length = 0;
        while let Some(Ok(chunk)) = coming.next().await {
            length += chunk.len();
            if length > REST_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(REST_WITHIN, rest).await;
    problem.into_response()
}

/// A body of somebody who is known, and their place among those whose bodies are dealt with.
async fn taken<'a>(
    api: &'a Api,
    parts: &Parts,
    coming: &mut BodyDataStream,
) -> Result<(BytesMut, (Entered, SemaphorePermit<'a>)), Problem> {
    let caller = Caller::of(&parts.method, &parts.headers, api.feed())?;
    let entered = api.bodies_by_user().enter(caller.0.user()).ok_or_else(busy)?;
    let permit = timeout(WAIT_MAX, api.bodies().acquire()).await.ok().and_then(Result::ok).ok_or_else(busy)?;
    let body = timeout(WITHIN, gather(coming)).await.unwrap_or_else(|_| Err(late()))?;
    Ok((body, (entered, permit)))
}

async fn gather(coming: &mut BodyDataStream) -> Result<BytesMut, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = coming.next().await {
        let chunk = chunk.map_err(|_| Problem::bad("the body broke off"))?;
        if body.len() + chunk.len() > BYTES_MAX {
            let detail = format!("an object has at most {BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLong", detail));
        }
        body.extend_from_slice(&chunk);
    }
    // Each value but the first has one before it.
    if body.iter().filter(|byte| matches!(byte, b',' | b':')).count() > VALUES_MAX {
        return Err(Problem::bad(format!("an object has at most {VALUES_MAX} values")));
    }
    Ok(body)
}

fn busy() -> Problem {
    let detail = "too many requests with bodies are under way: try again in a few seconds";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", detail)
}

fn late() -> Problem {
    let detail = format!("the body did not come within {} s", WITHIN.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "Silence", detail)
}

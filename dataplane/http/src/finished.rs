//! Work that ends whether whoever asked for it waits or not.

use crate::problem::Problem;

/// Does it to its end, and answers with it: what has begun to change things, and is to be written down, does not stop half-way because a
/// client hung up.
///
/// # Errors
/// Its own, or that it broke.
pub async fn finished<T: Send + 'static>(work: impl Future<Output = Result<T, Problem>> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Problem::unavailable("this cannot be done now: try again in a few seconds")))
}

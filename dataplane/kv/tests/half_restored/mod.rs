//! What a store that others use at the same time answers when the process that restored it has ended in the middle, or seems to have.

use std::time::Duration;

use eddy_kv::{KvError, Row, Store, Transaction, Value};
use futures::{StreamExt, stream};

fn batch(numbers: std::ops::Range<u32>) -> Vec<Row> {
    numbers.map(|number| Row { key: format!("{number:04}").into(), value: Value { bytes: "v".into(), version: 0 } }).collect()
}

/// It is not served, and can be restored again, after which the first changes nothing. `open` opens the same empty store once more.
pub(crate) async fn run<S: Store>(store: &S, open: impl AsyncFnOnce() -> S) {
    let (goes_on, rest) = futures::channel::oneshot::channel();
    let rest = stream::once(async move { Ok(rest.await.unwrap()) });
    let mut first = store.import(stream::iter([Ok(batch(0..200))]).chain(rest).boxed());
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut first).await.is_err());

    let other = open().await;
    let refused = [
        other.get("0001".into()).await.map(drop),
        other.commit(Transaction::new().put("a", "1")).await.map(drop),
        other.export().await.map(drop),
    ];
    for result in refused {
        assert!(matches!(&result, Err(KvError::Unavailable { reason }) if reason.contains("restore")), "{result:?}");
    }
    other.import(stream::iter([Ok(batch(500..700))]).boxed()).await.unwrap();
    assert_eq!(other.get("0001".into()).await.unwrap(), None, "nothing is left of the first");
    assert!(other.get("0600".into()).await.unwrap().is_some());
    other.commit(Transaction::new().put("after", "1")).await.unwrap();
    goes_on.send(batch(200..300)).unwrap();
    assert!(first.await.is_err(), "another took over");
    for (key, is_there) in [("0001", false), ("0250", false), ("0600", true), ("after", true)] {
        assert_eq!(other.get(key.into()).await.unwrap().is_some(), is_there, "{key}");
    }
}

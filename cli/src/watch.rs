//! Following objects as they change.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::arguments::Output;
use crate::client::Client;
use crate::error::CliError;
use crate::objects::show;
use crate::output::{ready, say};

/// Between tries to go on, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Shows what there is, and then each change, until it is ended. A stream that ends goes on where it was: the cloud's programs come and go.
pub(crate) async fn run(client: &Client, path: &str, output: Output) -> Result<(), CliError> {
    let (mut events, mut pause) = (Events::default(), PAUSE_FIRST);
    loop {
        let request = client.ask(Method::GET, path).header(ACCEPT, "text/event-stream");
        let request = if events.last_id.is_empty() { request } else { request.header("last-event-id", &events.last_id) };
        let broke = match client.send(request).await {
            Ok(response) => {
                pause = PAUSE_FIRST;
                events.begin();
                let mut coming = response.bytes_stream();
                loop {
                    match coming.next().await {
                        Some(Ok(chunk)) => events.take(&chunk, |what, object| tell(what, object, output))?,
                        Some(Err(source)) => break client.unreachable(source).to_string(),
                        None => break "the cloud ended the stream".to_owned(),
                    }
                }
            }
            // Nothing was seen yet, or whoever asks may not any more.
            Err(error) if events.last_id.is_empty() || !error.is_passing() => return Err(error),
            Err(error) => error.to_string(),
        };
        eprintln!("{broke}; it goes on soon");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Events of a stream (WHATWG HTML, server-sent events), as they come.
#[derive(Debug, Default)]
struct Events {
    text: Vec<u8>,
    /// Where to go on.
    last_id: String,
}

impl Events {
    /// Another stream: what had come of an event in the last is nothing.
    fn begin(&mut self) {
        self.text.clear();
    }

    fn take(&mut self, chunk: &[u8], mut tell: impl FnMut(&str, &Value) -> Result<(), CliError>) -> Result<(), CliError> {
        self.text.extend_from_slice(chunk);
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let Some(what) = field("event: ") {
                tell(what, &serde_json::from_str(field("data: ").unwrap_or_default()).unwrap_or_default())?;
            }
            if let Some(id) = field("id: ") {
                id.clone_into(&mut self.last_id);
            }
        }
        Ok(())
    }
}

fn tell(what: &str, object: &Value, output: Output) -> Result<(), CliError> {
    match (what, output) {
        (what, Output::Json) => say!("{}", json!({"event": what, "object": object})),
        ("snapshot", Output::Text) => show(output, object, object["items"].as_array().map_or(&[][..], Vec::as_slice), false)?,
        (what, Output::Text) => {
            let [status, reason, message] = ready(object);
            say!("{what}\t{}\t{status}\t{reason}\t{message}", object["metadata"]["name"].as_str().unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_where_it_was() {
        let (mut events, mut told) = (Events::default(), Vec::new());
        let mut take = |events: &mut Events, chunk: &str| {
            let tell = |what: &str, object: &Value| {
                told.push(format!("{what} {}", object["a"]));
                Ok(())
            };
            events.take(chunk.as_bytes(), tell).unwrap();
        };
        take(&mut events, "id: 7\nevent: snapshot\ndata: {\"a\":1}\n\n: alive\n\nid: 8\nevent: put\nda");
        assert_eq!(events.last_id, "7", "what has not come whole was not seen");
        take(&mut events, "ta: {\"a\":2}\n\nid: 9\nev");
        assert_eq!(events.last_id, "8");
        // Another stream, from there.
        events.begin();
        take(&mut events, "id: 9\nevent: put\ndata: {\"a\":3}\n\n");
        assert_eq!((told.join(", "), events.last_id), ("snapshot 1, put 2, put 3".to_owned(), "9".to_owned()));
    }
}

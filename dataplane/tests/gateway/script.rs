//! A backend that plays a part: one answer a request, in order, whatever is asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a backend does once it has read a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Sends these bytes and reads on.
    Answer(&'static str),
    /// Sends these bytes and closes the connection.
    AnswerAndClose(&'static str),
    /// Sends these bytes and waits until the gateway closes the connection.
    AnswerAndHang(&'static str),
}

/// What a backend saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connection,
    Request(String),
    End,
}

/// The backend, for as long as the test's runtime lives.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Script {
    pub(crate) async fn play(acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acts = Arc::new(Mutex::new(acts.iter().copied().collect::<VecDeque<Act>>()));
        let (tell, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let _ = tell.send(Seen::Connection);
                tokio::spawn(serve(connection, acts.clone(), tell.clone()));
            }
        });
        Self { address, seen }
    }

    /// What it sees next, which must be soon.
    pub(crate) async fn next(&mut self) -> Seen {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.expect("the backend waits for something").unwrap()
    }

    /// What it saw so far, by kind.
    pub(crate) fn so_far(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.seen.try_recv().ok())
            .map(|seen| match seen {
                Seen::Connection => "connection",
                Seen::Request(_) => "request",
                Seen::End => "end",
            })
            .collect()
    }
}

async fn serve(mut connection: TcpStream, acts: Arc<Mutex<VecDeque<Act>>>, tell: mpsc::UnboundedSender<Seen>) {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if !connection.read_buf(&mut request).await.is_ok_and(|count| count > 0) {
                let _ = tell.send(Seen::End);
                return;
            }
        }
        let _ = tell.send(Seen::Request(String::from_utf8_lossy(&request).into_owned()));
        let act = acts.lock().unwrap().pop_front();
        match act {
            Some(Act::Answer(bytes)) => drop(connection.write_all(bytes.as_bytes()).await),
            Some(Act::AnswerAndHang(bytes)) => {
                let _ = connection.write_all(bytes.as_bytes()).await;
                let _ = connection.read(&mut [0]).await;
                let _ = tell.send(Seen::End);
                return;
            }
            Some(Act::AnswerAndClose(bytes)) => {
                let _ = connection.write_all(bytes.as_bytes()).await;
                return;
            }
            None => return,
        }
    }
}

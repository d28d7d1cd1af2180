//! Requests through the gateway.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::{Cluster, wait};

/// The gateway's address, as a client outside the cluster sees it.
#[derive(Clone)]
pub struct Gateway {
    url: String,
    client: reqwest::Client,
}

impl Gateway {
    /// The gateway of the cluster under test, by node `number`'s address.
    pub fn of(cluster: &Cluster) -> Self {
        let node =
            cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"]);
        let port =
            cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        // Where it is sent to is for whoever asks to say.
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).redirect(none).build().unwrap();
        Self { url: format!("http://{node}:{port}"), client }
    }

    /// A request's status and body; an error as its text.
    pub async fn try_get(&self, host: &str, path: &str) -> Result<(u16, String), String> {
        let response = self
            .client
            .get(format!("{}{path}", self.url))
            .header("Host", host)
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(|error| format!("{error:?}"))?))
    }

    /// What whoever shows a token is answered: the status and the body.
    pub async fn by_token(&self, token: &str, host: &str, path: &str) -> (u16, String) {
        let request = self.client.get(format!("{}{path}", self.url)).header("Host", host).header("x-eddy-user", "root");
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Sends a request; the connection must work. The status, the head and the body of its answer.
    pub async fn send(
        &self,
        method: Method,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (u16, HeaderMap, String) {
        let request = self.client.request(method, format!("{}{path}", self.url)).header("Host", host).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.unwrap();
        let (status, head) = (response.status().as_u16(), response.headers().clone());
        (status, head, response.text().await.unwrap())
    }

    /// A request's status and body. The connection must work.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        self.try_get(host, path).await.unwrap()
    }

    /// Waits until a request is answered with a status; returns the body.
    pub async fn wait_status(&self, host: &str, path: &str, status: u16) -> String {
        let mut last = Ok((0, String::new()));
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            wait(&format!("{host}{path} answers {status}"), || {
                last = handle.block_on(self.try_get(host, path));
                matches!(&last, Ok((got, _)) if *got == status)
            });
        });
        last.unwrap().1
    }

    /// Waits until a request is answered with a body.
    pub async fn wait_body(&self, host: &str, path: &str, body: &str) {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            wait(&format!("{host}{path} says {body:?}"), || {
                handle.block_on(self.try_get(host, path)).is_ok_and(|(_, got)| got.trim() == body)
            });
        });
    }
}

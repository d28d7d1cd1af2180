//! Signing in, as a part of identity's process.

use std::net::SocketAddr;
use std::path::PathBuf;

use async_nats::Client as Nats;
use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use eddy_audit::{Recorder, Trail, Writing};
use eddy_authz::feed::{Feed, FeedOptions};
use eddy_http::{HEAD_WITHIN, connection, hearing, listen};
use eddy_kv::component::KvStoreOptions;
use eddy_people::{People, SealingKey, Sessions, SignIn, SignInOptions};
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Health, Readiness, Shutdown};
use tokio::net::{TcpListener, TcpStream};

use crate::component::IdentityError;
use crate::signed_in::SUBJECT;

/// More connections at once wait.
const CONNECTIONS_MAX: usize = 1024;

/// How people sign in.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PeopleOptions {
    /// Where browsers and programs sign in, by way of the gateway only: whoever else connects says by themselves where they are
    #[arg(long, default_value = "0.0.0.0:7800")]
    bind: SocketAddr,

    /// A file with the key that rows of people are sealed with, 32 bytes or more; without it, nobody signs in
    #[arg(long, env = "EDDY_SEALING_KEY_FILE", requires = "permissions_file")]
    sealing_key_file: Option<PathBuf>,

    #[command(flatten)]
    permissions: FeedOptions,

    #[command(flatten)]
    store: KvStoreOptions,

    #[command(flatten)]
    sign_in: SignInOptions,
}

/// How NATS is reached, which both parts of identity share.
impl PeopleOptions {
    pub(crate) fn nats(&self) -> &eddy_authz::feed::NatsOptions {
        &self.permissions.nats
    }

    /// What people are told by, if anybody is to sign in: where they sign in, and who has.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) async fn open(
        &self,
        nats: &Nats,
        health: &Health,
        registry: &mut Registry,
    ) -> Result<Option<SigningIn>, IdentityError> {
        let Some(file) = &self.sealing_key_file else { return Ok(None) };
        let key = SealingKey::read(file)?;
        let bound = TcpListener::bind(self.bind).await;
        let listener = bound.map_err(|source| IdentityError::Bind { address: self.bind, source })?;
        let feed = self.permissions.open("eddy-sign-in", registry).await?.ok_or(IdentityError::NoPermissions)?;
        let (ready, known) = (health.part("people"), feed.clone());
        let people = People::new(self.store.open(&self.store.transport()?).await?, key);
        let (recorder, writing) = Recorder::open(nats, registry);
        let audit = (recorder, Some(Trail::of(nats)));
        let (nats, sessions) = (nats.clone(), Sessions::of(people.clone()));
        let tell = move |id: &str| {
            let (nats, id) = (nats.clone(), id.to_owned());
            tokio::spawn(async move {
                if let Err(error) = nats.publish(SUBJECT, id.into()).await {
                    tracing::warn!(%error, "failed to tell of a session; it is found soon");
                }
            });
        };
        let router = SignIn::new(people.clone(), feed, self.sign_in.clone(), audit, tell)?.router();
        Ok(Some(SigningIn { listener, router, known, ready, people, sessions, writing }))
    }
}

/// Where people sign in, and who has.
pub(crate) struct SigningIn {
    listener: TcpListener,
    router: Router,
    /// Who there is.
    known: Feed,
    ready: Readiness,
    pub(crate) people: People,
    pub(crate) sessions: Sessions,
    writing: Writing,
}

impl SigningIn {
    /// Answers until the end is requested.
    pub(crate) async fn serve(self, shutdown: Shutdown) {
        // Whoever knows nobody yet lets nobody in.
        tokio::select! {
            () = self.known.filled() => self.ready.ready(),
            () = shutdown.requested() => {}
        }
        let serve = |stream| served(stream, self.router.clone(), shutdown.clone());
        listen(self.listener, CONNECTIONS_MAX, &shutdown, serve).await;
        self.writing.end().await;
    }
}

async fn served(stream: TcpStream, router: Router, shutdown: Shutdown) {
    let (Ok(()), Ok(peer)) = (stream.set_nodelay(true), stream.peer_addr()) else { return };
    let router = router.layer(Extension(ConnectInfo(peer)));
    connection(stream, hearing(router), HEAD_WITHIN, &shutdown).await;
}

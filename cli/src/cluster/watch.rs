//! Watches the SealedSecrets of a cluster.

use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use http::{Request as HttpRequest, StatusCode};
use kube::Client;
use kube::api::{WatchEvent, WatchParams};
use kube::core::Request;

use super::failures::{self, Asked};
use super::sealed_secrets::SealedSecretSelection;
use super::{REQUEST_TIMEOUT, SealedSecretState, Session, no_cluster};
use crate::error::CliError;

/// How long the API server answers one watch request, in seconds. The next request goes on where this request ended.
const WATCH_SECONDS: u32 = 30;
/// How long a watch request may be silent. The API server ends each request after 30 seconds, so a longer silence means
/// that it does not answer.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64).saturating_add(REQUEST_TIMEOUT);
/// The shortest time from one watch request to the next one.
const INTERVAL: Duration = Duration::from_secs(1);

/// A change of a SealedSecret.
pub(crate) enum StateChange {
    /// It is new or was changed.
    Present(SealedSecretState),
    Deleted(SealedSecretState),
}

/// Why a watch ended.
pub(crate) enum WatchEnd {
    /// The API server no longer knows the version: the list has to be read again.
    Expired,
    /// The caller wants no more.
    Enough,
}

enum Message {
    Event(Box<kube::Result<WatchEvent<SealedSecretState>>>),
    /// The answer to the watch request is at its end.
    AnswerEnds,
    Enough,
}

impl Session {
    /// Calls `each` with every change after this version of the list, until `enough` ends. An error of `each` ends the
    /// watch too.
    pub(crate) fn watch_sealed_secrets(
        &self,
        selection: &SealedSecretSelection,
        mut version: String,
        enough: impl Future<Output = ()> + Send + 'static,
        mut each: impl FnMut(StateChange) -> Result<(), CliError>,
    ) -> Result<WatchEnd, CliError> {
        let (sender, messages) = channel();
        let when_enough = sender.clone();
        self.spawn(async move {
            enough.await;
            // The watch may have ended.
            let _unheard = when_enough.send(Message::Enough);
        })?;
        loop {
            let start = Instant::now();
            self.request_events(selection, &version, sender.clone())?;
            if let Some(end) = self.follow(&messages, selection, &mut version, &mut each)? {
                return Ok(end);
            }
            thread::sleep(INTERVAL.saturating_sub(start.elapsed()));
        }
    }

    fn request_events(
        &self,
        selection: &SealedSecretSelection,
        version: &str,
        sender: Sender<Message>,
    ) -> Result<(), CliError> {
        let params = WatchParams {
            field_selector: selection.field_selector(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = Request::new(selection.path()).watch(&params, version).map_err(kube::Error::BuildRequest);
        let request = request.map_err(|error| self.failure_of(&error, &self.asked_to_watch(selection)))?;
        self.spawn(forward(self.client.clone(), request, sender))
    }

    /// Follows one watch request to its end; `None`: the next one goes on.
    fn follow(
        &self,
        messages: &Receiver<Message>,
        selection: &SealedSecretSelection,
        version: &mut String,
        mut each: impl FnMut(StateChange) -> Result<(), CliError>,
    ) -> Result<Option<WatchEnd>, CliError> {
        loop {
            let event = match messages.recv_timeout(SILENCE) {
                Ok(Message::Event(event)) => *event,
                Ok(Message::AnswerEnds) => return Ok(None),
                Ok(Message::Enough) => return Ok(Some(WatchEnd::Enough)),
                Err(_) => {
                    let text = format!("{} did not answer within {} seconds", self.server, SILENCE.as_secs());
                    return Err(no_cluster(text).at(self.place()));
                }
            };
            let change = match event {
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => StateChange::Present(object),
                Ok(WatchEvent::Deleted(object)) => StateChange::Deleted(object),
                Ok(WatchEvent::Error(status)) => return self.failed_watch(kube::Error::Api(status), selection),
                Err(error) => return self.failed_watch(error, selection),
            };
            let (StateChange::Present(object) | StateChange::Deleted(object)) = &change;
            if let Some(newer) = &object.metadata.resource_version {
                version.clone_from(newer);
            }
            each(change)?;
        }
    }

    fn failed_watch(
        &self,
        error: kube::Error,
        selection: &SealedSecretSelection,
    ) -> Result<Option<WatchEnd>, CliError> {
        match error {
            kube::Error::Api(status) if status.code == StatusCode::GONE.as_u16() => Ok(Some(WatchEnd::Expired)),
            // The limit is for the sum of all events of an answer.
            error if failures::is_too_large(&error) => Ok(None),
            error => Err(self.failure_of(&error, &self.asked_to_watch(selection))),
        }
    }

    fn asked_to_watch(&self, selection: &SealedSecretSelection) -> Asked {
        Asked { verb: "watch", ..selection.asked(&self.asked.instead) }
    }
}

/// Sends the events of one watch request to a channel. After an error comes nothing more.
async fn forward(client: Client, request: HttpRequest<Vec<u8>>, messages: Sender<Message>) {
    let last = match client.request_events(request).await {
        Ok(answer) => {
            let mut answer = pin!(answer);
            loop {
                let message = match answer.try_next().await {
                    Ok(Some(event)) => Message::Event(Box::new(Ok(event))),
                    Ok(None) => break Message::AnswerEnds,
                    Err(error) => break Message::Event(Box::new(Err(error))),
                };
                if messages.send(message).is_err() {
                    return;
                }
            }
        }
        Err(error) => Message::Event(Box::new(Err(error))),
    };
    // The watch may have ended.
    let _unheard = messages.send(last);
}

//! Signals over LISTEN and NOTIFY.
//!
//! Two connections of their own. The *listener* does nothing but listen, is never in a transaction, and is judged by a
//! canary: every two seconds the instance signals itself, and a listener that does not hear it is replaced, because a
//! half-open connection gives no error. After every LISTEN all open rooms are looked at again. The *doorbell* tells the
//! other instances what this one has committed: one NOTIFY for the commits of a few milliseconds, on a connection that
//! does not wait for the disk, because NOTIFY holds a database-wide lock over its commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use glassbox_protocol::Seq;
use rand::RngExt as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::relay::{Content, Parcel};
use crate::app::App;
use crate::config::DOORBELL_TICK;
use crate::room::Message;

/// Carries `<stream> <head>`, several separated by `;`, or `*` for "look at everything".
const LOG_CHANNEL: &str = "glassbox_log";
/// Carries [`Parcel`]s.
const PRESENCE_CHANNEL: &str = "glassbox_presence";
/// Carries the id of the instance whose canary it is.
const CANARY_CHANNEL: &str = "glassbox_canary";

/// How often the instance signals itself.
const CANARY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the listener may stay silent.
const CANARY_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may take to be made, or a statement to be answered.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Largest payload of the doorbell, bytes; NOTIFY carries 7 999.
const DOORBELL_BYTES_MAX: usize = 4_000;

/// Hears signals until told to stop; reconnects by itself.
pub async fn listen(app: Arc<App>, stop: CancellationToken) {
    let mut is_first = true;
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            heard = hear(&app) => heard,
        };
        app.is_listening.store(false, Ordering::Relaxed);
        let Err(error) = heard;
        let delay = Duration::from_millis(rand::rng().random_range(20..=500));
        if is_first {
            debug!(?error, "the listener has no connection yet");
        } else {
            warn!(error = format!("{error:#}"), "lost the listener, reconnecting in {delay:?}");
        }
        is_first = false;
        crate::metrics::listener_reconnect();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

async fn hear(app: &App) -> anyhow::Result<std::convert::Infallible> {
    let pool =
        PgPoolOptions::new().max_connections(1).connect_lazy_with(app.database.signal_options("glassbox-listener"));
    let mut listener = in_time(PgListener::connect_with(&pool)).await.context("connect")?;
    // A connection that is replaced behind our back would hide what was signalled meanwhile.
    listener.eager_reconnect(false);
    in_time(listener.listen_all([LOG_CHANNEL, PRESENCE_CHANNEL, CANARY_CHANNEL])).await.context("listen")?;
    app.is_listening.store(true, Ordering::Relaxed);
    info!("listening for signals");
    // Whatever was signalled while nobody listened is found by looking.
    app.database.commits().look_at_everything();
    app.rooms.tell_all(|| Message::Reintroduce);

    let canary = app.instance.to_string();
    let mut heard_at = Instant::now();
    loop {
        let Ok(signal) = timeout_at(heard_at + CANARY_DEADLINE, listener.try_recv()).await else {
            bail!("no canary for {CANARY_DEADLINE:?}: the connection is half dead");
        };
        let Some(signal) = signal? else { bail!("the connection was closed") };
        if signal.channel() == CANARY_CHANNEL {
            if signal.payload() == canary {
                heard_at = Instant::now();
            }
        } else {
            crate::metrics::signal();
            handle(app, signal.channel(), signal.payload());
        }
    }
}

fn handle(app: &App, channel: &str, payload: &str) {
    match channel {
        LOG_CHANNEL if payload == "*" => app.database.commits().look_at_everything(),
        LOG_CHANNEL => app.database.commits().reader.note(payload.split(';').filter_map(parse_head)),
        PRESENCE_CHANNEL => match serde_json::from_str::<Parcel>(payload) {
            Ok(parcel) if parcel.from != app.instance => {
                app.relay.set_has_others(true);
                let Some(room) = app.rooms.find(parcel.project) else { return };
                room.hint(match parcel.content {
                    Content::Diff(diff) => Message::RemotePresence { instance: parcel.from, diff },
                    Content::Roster(sessions) => Message::Roster { instance: parcel.from, sessions },
                    Content::Ask(()) => Message::PresenceAsked,
                });
            }
            Ok(_) => {}
            Err(error) => debug!(%error, "a presence signal cannot be read"),
        },
        _ => {}
    }
}

fn parse_head(text: &str) -> Option<(Uuid, Seq)> {
    let (stream, head) = text.split_once(' ')?;
    Some((stream.parse().ok()?, Seq(head.parse().ok()?)))
}

/// Rings for this instance's commits, sends its presence and its canary, until told to stop.
pub async fn ring(app: Arc<App>, stop: CancellationToken) {
    loop {
        let rung = tokio::select! {
            () = stop.cancelled() => return,
            rung = ring_until_lost(&app) => rung,
        };
        let Err(error) = rung;
        debug!(error = format!("{error:#}"), "lost the doorbell, reconnecting");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(rand::rng().random_range(20..=500))) => {}
        }
    }
}

async fn ring_until_lost(app: &App) -> anyhow::Result<std::convert::Infallible> {
    let options = app.database.signal_options("glassbox-doorbell");
    let mut conn = in_time(PgConnection::connect_with(&options)).await.context("connect")?;
    in_time(sqlx::query("set synchronous_commit = off").execute(&mut conn)).await?;
    let commits = Arc::clone(app.database.commits());
    let mut canary = interval(CANARY_INTERVAL);
    let id = app.instance.to_string();
    let mut rung_at = Instant::now() - DOORBELL_TICK;
    loop {
        tokio::select! {
            biased;
            heads = commits.doorbell.take() => {
                // The first commit of a quiet period rings at once; under load they are collected.
                let mut heads = heads;
                let since = rung_at.elapsed();
                if since < DOORBELL_TICK {
                    tokio::time::sleep(DOORBELL_TICK - since).await;
                    if let Some(more) = commits.doorbell.take().now_or_never() {
                        heads.extend(more);
                    }
                }
                rung_at = Instant::now();
                notify(&mut conn, LOG_CHANNEL, &payloads(heads.into_iter())).await?;
                crate::metrics::doorbell();
            }
            texts = app.relay.take() => {
                notify(&mut conn, PRESENCE_CHANNEL, &texts).await?;
            }
            _ = canary.tick() => notify(&mut conn, CANARY_CHANNEL, std::slice::from_ref(&id)).await?,
        }
    }
}

/// Writes heads as payloads that fit.
fn payloads(heads: impl Iterator<Item = (Uuid, Seq)>) -> Vec<String> {
    let mut payloads: Vec<String> = Vec::new();
    for (stream, head) in heads {
        let text = format!("{stream} {head}");
        match payloads.last_mut() {
            Some(last) if last.len() + text.len() < DOORBELL_BYTES_MAX => {
                last.push(';');
                last.push_str(&text);
            }
            _ => payloads.push(text),
        }
    }
    payloads
}

async fn notify(conn: &mut PgConnection, channel: &str, payloads: &[String]) -> anyhow::Result<()> {
    let ring = sqlx::query("select pg_notify($1, p) from unnest($2::text[]) p").bind(channel).bind(payloads);
    in_time(ring.execute(conn)).await.context("ring")?;
    Ok(())
}

/// Waits for an answer of the database, but not for ever.
async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> anyhow::Result<T> {
    Ok(timeout(ANSWER_DEADLINE, answer).await.context("no answer in time")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_the_doorbell() {
        let heads: Vec<(Uuid, Seq)> = (0..300).map(|n| (Uuid::new_v4(), Seq(n))).collect();
        let payloads = payloads(heads.iter().copied());
        assert!(payloads.len() > 1 && payloads.iter().all(|p| p.len() <= DOORBELL_BYTES_MAX));
        let heard: Vec<(Uuid, Seq)> = payloads.iter().flat_map(|p| p.split(';').filter_map(parse_head)).collect();
        assert_eq!(heard, heads);
    }
}

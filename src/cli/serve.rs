//! `glassbox serve`: from settings to a running instance, and back to nothing.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::database::{self, Located};
use crate::config::ServeConfig;
use crate::demo::{self, Demo};
use crate::metrics;
use crate::server::{Instance, InstanceConfig};

/// The metrics' port lies this much above the other one.
const METRICS_PORT_OFFSET: u16 = 1000;
/// How often old values leave the histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves until it is told to stop.
pub async fn run(config: ServeConfig) -> anyhow::Result<()> {
    // From here on no signal ends the process: what was started is stopped in order.
    let mut stop = Stop::listen()?;
    let secrets = config.auth.secrets(!config.database.is_given(), Some(config.bind))?;
    let located = tokio::select! {
        located = database::locate(&config.database) => located?,
        () = stop.wanted() => return Ok(()),
    };
    let result = serve(config, secrets, &located, &mut stop).await;
    let closed = located.close().await;
    result?;
    closed
}

async fn serve(
    config: ServeConfig,
    secrets: crate::config::Secrets,
    located: &Located,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let handle = install_metrics()?;
    let instance_config = InstanceConfig {
        database_url: located.server_url.clone(),
        bind: config.bind,
        port: config.port,
        metrics_port: Some(config.metrics_port.unwrap_or_else(|| metrics_port(config.port))),
        allowed_origins: config.allowed_origins,
        pool: config.pool,
        drain: Duration::from_secs(config.drain_s),
        http: config.http,
        limits: config.limits,
        secrets,
        metrics: Some(handle.clone()),
    };
    let starting = async {
        located.prepare().await?;
        Instance::start(instance_config).await
    };
    let instance = tokio::select! {
        instance = starting => instance?,
        () = stop.wanted() => return Ok(()),
    };
    let upkeep = tokio::spawn(upkeep(handle));

    let result = tokio::select! {
        result = announce(&instance, config.demo) => match result {
            Ok(()) => {
                stop.wanted().await;
                Ok(())
            }
            Err(e) => Err(e),
        },
        () = stop.wanted() => Ok(()),
    };
    let database = instance.app.database.clone();
    let drained = instance.drain().await;
    upkeep.abort();
    database.close().await;
    result.and(drained)
}

async fn announce(instance: &Instance, has_demo: bool) -> anyhow::Result<()> {
    let address = reachable(instance.address);
    if !has_demo {
        say(&format!("GlassBox is at http://{address}"));
        return Ok(());
    }
    let demo = demo::fill(&instance.app.database).await.context("fill the demo project")?;
    say(&format!("GlassBox is at http://{address}"));
    say(&hints(&demo, address, instance.app.secrets.is_development));
    Ok(())
}

/// How to look at the demo project.
fn hints(demo: &Demo, address: SocketAddr, is_development: bool) -> String {
    let Demo { org, project, node, user } = demo;
    let program = std::env::args().next().unwrap_or_else(|| "glassbox".to_owned());
    let token = if is_development { format!("{program} token {user}") } else { "<a token>".to_owned() };
    format!(
        r#"
The demo project is {project}. In another terminal:

  # over REST, as {user}
  curl -H "Authorization: Bearer $({token})" http://{address}/api/v1/projects/{project}

  # over a WebSocket: what happens in the project, as it happens
  (printf '{{"type":"hello","payload":{{"token":"%s","clientId":"{client}","protocol":{{"min":2,"max":2}}}}}}\n' "$({token})"; echo '{{"type":"subscribe","payload":{{"channel":"project:{project}"}},"requestId":"{request}"}}'; cat) | websocat --protocol glassbox.v2 ws://{address}/ws

  # any SQL writer is live: the WebSocket shows this at once
  psql "$({program} database-url)" -c "select set_config('app.current_org_id', '{org}', false)" -c "update nodes set title = 'Changed with psql at ' || now() where id = '{node}'"
"#,
        client = uuid::Uuid::new_v4(),
        request = uuid::Uuid::new_v4(),
    )
}

/// An address that the same machine can call: nobody can call `0.0.0.0`.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

fn metrics_port(port: u16) -> u16 {
    match port {
        0 => 0,
        _ => port.checked_add(METRICS_PORT_OFFSET).unwrap_or(0),
    }
}

fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&metrics::LATENCY_BUCKETS)
        .context("set the histograms' buckets")?
        .install_recorder()
        .context("start the metrics")?;
    metrics::describe();
    Ok(handle)
}

async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}

/// Prints a line; a reader that has gone away is no failure.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// The wish to stop, from a person or from the machine. A second one changes nothing.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }

    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

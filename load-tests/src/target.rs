//! The server that is measured: a running one, or instances of our own with a database of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, bail, ensure};
use glassbox_protocol::client::NodeCreate;
use glassbox_protocol::entity::Position;
use glassbox_protocol::{ClientId, Command as Ask, NodeId, OrgId, ProjectId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::Options;
use crate::ledger::Ledger;
use crate::process::{self, Watched};
use crate::socket::{Inbound, Socket};

/// Making a cluster and migrating it takes seconds; on a busy machine, more of them.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// PostgreSQL writes a checkpoint before it ends.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const REST_DEADLINE: Duration = Duration::from_secs(20);
/// How long a small preparation over a socket may take.
const SOCKET_DEADLINE: Duration = Duration::from_secs(30);
/// Nodes that are made at once; a development server allows bursts of 200 commands.
const NODES_AT_ONCE: usize = 32;

/// The server that is measured.
pub struct Target {
    /// Where its instances listen.
    pub addresses: Vec<SocketAddr>,
    /// Its processes, as far as they are known.
    pub watched: Watched,
    database_url: Option<String>,
    /// Tells this run's users and organizations from those of others.
    run: String,
    http: reqwest::Client,
    own: Option<Own>,
}

/// What we started and have to stop.
struct Own {
    instances: Vec<Instance>,
    data_dir: PathBuf,
}

/// An instance of our own; dropped, it is asked to end.
struct Instance {
    child: Child,
    address: SocketAddr,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            process::terminate(pid);
        }
    }
}

/// Projects and the people in them.
pub struct World {
    /// Their organization.
    pub org: OrgId,
    /// The projects.
    pub projects: Vec<ProjectId>,
    /// A token for each person.
    pub tokens: Vec<String>,
}

impl World {
    /// The token of the n-th socket; people have several where there are fewer of them.
    pub fn token(&self, n: usize) -> &str {
        &self.tokens[n % self.tokens.len()]
    }
}

impl Target {
    /// Finds the server, or starts one.
    ///
    /// # Errors
    /// It is not there, not on this machine, or does not start.
    pub async fn open(options: &Options, instances: usize, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(REST_DEADLINE).no_proxy().build().context("make a client")?;
        let run = Uuid::new_v4().simple().to_string().split_off(20);
        if let Some(url) = &options.url {
            ensure!(instances == 1, "--url names one instance; leave --instances away");
            return Ok(Self {
                addresses: vec![loopback_address(url)?],
                watched: Watched { servers: options.server_pid.into_iter().collect(), postmaster: None },
                database_url: options.database_url.clone(),
                run,
                http,
                own: None,
            });
        }
        let bin = std::path::absolute(&options.bin).context("find the server's program")?;
        ensure!(bin.exists(), "{} is missing: `cargo build --release` makes it", options.bin.display());
        let data_dir = std::path::absolute(options.data_dir.join(format!("run-{}", std::process::id())))
            .context("find the data directory")?;
        fs::create_dir_all(&data_dir).with_context(|| format!("make {}", data_dir.display()))?;
        let mut own = Own { instances: Vec::new(), data_dir };
        for n in 0..instances {
            let started = timeout(START_DEADLINE, Instance::start(&bin, &own.data_dir, n, settings));
            own.instances.push(started.await.context("the server did not start in time")??);
        }
        let database_url = database_url(&bin, &own.data_dir).await?;
        Ok(Self {
            addresses: own.instances.iter().map(|i| i.address).collect(),
            watched: Watched {
                servers: own.instances.iter().filter_map(|i| i.child.id()).collect(),
                postmaster: postmaster(&own.data_dir),
            },
            database_url: Some(database_url),
            run,
            http,
            own: Some(own),
        })
    }

    /// The superuser's URL of the database.
    ///
    /// # Errors
    /// It was not given.
    pub fn database_url(&self) -> anyhow::Result<&str> {
        self.database_url.as_deref().context("this workload needs --database-url: `glassbox database-url` prints it")
    }

    /// Asks one of our own instances to end.
    ///
    /// # Errors
    /// It is not ours, or has ended.
    pub fn terminate(&self, instance: usize) -> anyhow::Result<()> {
        process::terminate(self.pid(instance)?);
        Ok(())
    }

    /// Waits until an instance of ours has ended; returns when that was noticed.
    ///
    /// # Errors
    /// It is not ours.
    pub async fn has_ended(&self, instance: usize) -> anyhow::Result<Instant> {
        let pid = self.pid(instance)?;
        while !process::has_ended(pid) {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Instant::now())
    }

    fn pid(&self, instance: usize) -> anyhow::Result<u32> {
        let own = self.own.as_ref().context("this workload needs instances of its own: leave --url away")?;
        own.instances.get(instance).and_then(|i| i.child.id()).context("no such instance")
    }

    /// Stops what was started and removes its data.
    ///
    /// # Errors
    /// An instance did not end in time, or ended with an error.
    pub async fn close(self) -> anyhow::Result<()> {
        let Some(mut own) = self.own else { return Ok(()) };
        for instance in &own.instances {
            if let Some(pid) = instance.child.id() {
                process::terminate(pid);
            }
        }
        for instance in &mut own.instances {
            let ended =
                timeout(STOP_DEADLINE, instance.child.wait()).await.context("the server did not stop in time")?;
            let status = ended.context("wait for the server")?;
            ensure!(status.success(), "the server ended with {status}; its log is in {}", own.data_dir.display());
        }
        fs::remove_dir_all(&own.data_dir).with_context(|| format!("remove {}", own.data_dir.display()))
    }

    /// Makes an organization with projects and people. Where the database is out of reach there is one person only,
    /// and every session sees every event as its own author's.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn world(&self, projects: usize, people: usize) -> anyhow::Result<World> {
        let owner = self.token("owner").await?;
        let name = format!("load-{}", self.run);
        let body = json!({ "name": name, "slug": format!("{name}-{}", short_id()) });
        let Created { id: org } = self.post("/api/v1/orgs", Some(&owner), &body).await?;
        let mut made = Vec::with_capacity(projects);
        for n in 0..projects {
            let body = json!({ "name": format!("load {n}") });
            let Created { id } = self.post(&format!("/api/v1/orgs/{org}/projects"), Some(&owner), &body).await?;
            made.push(ProjectId(id));
        }
        let mut tokens = vec![owner];
        if let Some(url) = &self.database_url
            && people > 1
        {
            tokens.clear();
            for n in 0..people {
                tokens.push(self.token(&n.to_string()).await?);
            }
            let database = connect(url).await?;
            database
                .execute(
                    "insert into org_members (org_id, user_id, role)
                    select $1, u.id, 'member'
                    from users u
                    where u.cognito_sub like $2
                    on conflict do nothing",
                    &[&org, &format!("{name}-%")],
                )
                .await
                .context("make people members")?;
        }
        Ok(World { org: OrgId(org), projects: made, tokens })
    }

    async fn token(&self, who: &str) -> anyhow::Result<String> {
        #[derive(serde::Deserialize)]
        struct Issued {
            token: String,
        }
        let who = format!("load-{}-{who}", self.run);
        let body = json!({ "userId": who, "email": format!("{who}@example.org"), "name": who });
        let Issued { token } = self.post("/api/v1/auth/dev-token", None, &body).await?;
        Ok(token)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<T> {
        let mut request = self.http.post(format!("http://{}{path}", self.addresses[0])).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("POST {path}"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("POST {path}"))?;
        ensure!(status.is_success(), "POST {path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("POST {path}: read the answer"))
    }

    /// Makes nodes with given ids in a project.
    ///
    /// # Errors
    /// The server refuses one, or does not answer in time.
    pub async fn make_nodes(&self, world: &World, project: ProjectId, ids: &[NodeId]) -> anyhow::Result<()> {
        let mut socket = Socket::connect(self.addresses[0], world.token(0), ClientId::random()).await?;
        let mut ledger = Ledger::new(u32::MAX);
        let making = async {
            for some in ids.chunks(NODES_AT_ONCE) {
                for id in some {
                    let request = ledger.send_now();
                    socket.feed_command(&node_create(project, *id), request).await?;
                }
                socket.flush().await?;
                let mut answers = 0;
                while answers < some.len() {
                    match socket.next().await? {
                        Inbound::Ack { .. } => answers += 1,
                        Inbound::Refused { text, .. } => bail!("make a node: {text}"),
                        Inbound::Event { .. } | Inbound::Other { .. } => {}
                    }
                }
            }
            Ok(())
        };
        timeout(SOCKET_DEADLINE, making).await.context("the nodes were not made in time")?
    }
}

#[derive(serde::Deserialize)]
struct Created {
    id: Uuid,
}

fn node_create(project: ProjectId, id: NodeId) -> Ask {
    Ask::NodeCreate(NodeCreate {
        project_id: Some(project),
        id: Some(id),
        title: "load".to_owned(),
        description: None,
        status: None,
        parent_id: None,
        position: Some(Position::default()),
        metadata: None,
        author_type: None,
        supervisor_user_id: None,
    })
}

impl Instance {
    async fn start(bin: &Path, data_dir: &Path, n: usize, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let log_path = data_dir.join(format!("instance-{n}.log"));
        let log = fs::File::create(&log_path).context("make the server's log")?;
        let mut child = Command::new(bin)
            .args(["serve", "--port", "0", "--metrics-port", "0"])
            .env_remove("DATABASE_URL")
            .env("GLASSBOX_DATA_DIR", data_dir.join("cluster"))
            .env("GLASSBOX_DRAIN_S", "1")
            // People are made by the thousand, all from one address.
            .env("GLASSBOX_DEV_TOKENS_PER_MINUTE", "1000000")
            .env("RATE_LIMIT_PER_MINUTE", "1000000")
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", bin.display()))?;
        let stdout = child.stdout.take().context("read the server's output")?;
        // Owned from here on, so that a failure below ends it.
        let mut instance = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        let mut lines = BufReader::new(stdout).lines();
        loop {
            let Some(line) = lines.next_line().await.context("read the server's output")? else {
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                bail!("the server did not start; its log:\n{log}");
            };
            if let Some((_, address)) = line.rsplit_once("http://") {
                instance.address = address.trim().parse().with_context(|| format!("read the address in {line:?}"))?;
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(instance)
    }
}

async fn database_url(bin: &Path, data_dir: &Path) -> anyhow::Result<String> {
    let output = Command::new(bin)
        .arg("database-url")
        .env_remove("DATABASE_URL")
        .env("GLASSBOX_DATA_DIR", data_dir.join("cluster"))
        .output()
        .await
        .context("ask for the database's URL")?;
    ensure!(output.status.success(), "ask for the database's URL: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first line of `postmaster.pid` is the process.
fn postmaster(data_dir: &Path) -> Option<u32> {
    let find = |dir: &Path| -> io::Result<Option<u32>> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path().join("postmaster.pid");
            if let Ok(text) = fs::read_to_string(path) {
                return Ok(text.lines().next().and_then(|line| line.trim().parse().ok()));
            }
        }
        Ok(None)
    };
    find(&data_dir.join("cluster")).ok().flatten()
}

/// Opens a connection that lives as long as the client does.
///
/// # Errors
/// The database does not answer.
pub async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("connect to the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Load is for one's own machine only.
fn loopback_address(url: &str) -> anyhow::Result<SocketAddr> {
    let url = url::Url::parse(url).context("--url: not a URL")?;
    let ip: IpAddr = match url.host_str() {
        Some("localhost") => Ipv4Addr::LOCALHOST.into(),
        Some(host) => host.trim_matches(['[', ']']).parse().context("--url: expected a loopback address")?,
        None => bail!("--url: names no host"),
    };
    ensure!(ip.is_loopback(), "--url: expected a loopback address; load is for one's own machine");
    Ok(SocketAddr::new(ip, url.port_or_known_default().unwrap_or(80)))
}

fn short_id() -> String {
    Uuid::new_v4().simple().to_string().split_off(24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_loaded() {
        assert_eq!(loopback_address("http://localhost:8080").ok(), "127.0.0.1:8080".parse().ok());
        assert_eq!(loopback_address("http://[::1]:81/").ok(), "[::1]:81".parse().ok());
        for url in ["http://192.0.2.1:8080", "http://example.org", "8080"] {
            assert!(loopback_address(url).is_err(), "{url}");
        }
    }
}

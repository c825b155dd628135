//! A database and the instances that serve it, all in the test's own process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use glassbox::config::{DEVELOPMENT_SECRET, HttpConfig, LimitsConfig, Secrets};
use glassbox::server::{Instance, InstanceConfig};
use glassbox_protocol::{ClientId, OrgId, ProjectId, UserId};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use url::Url;
use uuid::Uuid;

use super::DEADLINE;
use super::client::Client;
use super::database::TestDatabase;

/// The origin that the instances allow.
pub const ORIGIN: &str = "http://localhost:3000";

/// A database with instances.
pub struct World {
    /// The database; the superuser's pool is a foreign writer.
    pub database: TestDatabase,
    /// For calls of the REST API.
    pub http: reqwest::Client,
    builder: Builder,
    instances: Vec<Seat>,
    orgs: Mutex<BTreeMap<UserId, OrgId>>,
}

/// The place of an instance: its address stays when it is started again.
struct Seat {
    address: SocketAddr,
    instance: Option<Instance>,
}

/// Somebody who can call.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their row in `users`.
    pub id: UserId,
    /// A development token.
    pub token: String,
    /// What they were called.
    pub name: String,
}

/// What a world is made of.
#[derive(Clone)]
pub struct Builder {
    instances: usize,
    limits: LimitsConfig,
    http: HttpConfig,
    pool: u32,
    drain: Duration,
    secrets: Secrets,
    database_addresses: Vec<Option<SocketAddr>>,
}

impl Builder {
    /// How many instances.
    pub fn instances(mut self, count: usize) -> Self {
        self.instances = count;
        self
    }

    /// Changes the limits of all instances.
    pub fn limits(mut self, change: impl FnOnce(&mut LimitsConfig)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Changes how all instances take requests.
    pub fn http(mut self, change: impl FnOnce(&mut HttpConfig)) -> Self {
        change(&mut self.http);
        self
    }

    /// Database connections of each instance.
    pub fn pool(mut self, connections: u32) -> Self {
        self.pool = connections;
        self
    }

    /// How long a drain may take.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Changes how all instances recognize callers.
    pub fn secrets(mut self, change: impl FnOnce(&mut Secrets)) -> Self {
        change(&mut self.secrets);
        self
    }

    /// Makes instance `index` reach PostgreSQL at another address: a proxy's.
    pub fn database_address(mut self, index: usize, address: SocketAddr) -> Self {
        if self.database_addresses.len() <= index {
            self.database_addresses.resize(index + 1, None);
        }
        self.database_addresses[index] = Some(address);
        self
    }

    /// Starts it on a database of its own.
    pub async fn start(self) -> World {
        let database = TestDatabase::create().await;
        self.start_on(database).await
    }

    /// Starts it on a given database.
    pub async fn start_on(self, database: TestDatabase) -> World {
        let mut world = World {
            database,
            http: reqwest::Client::builder().timeout(DEADLINE).build().expect("an HTTP client"),
            builder: self,
            instances: Vec::new(),
            orgs: Mutex::default(),
        };
        for index in 0..world.builder.instances {
            let instance = world.start_instance(index, 0).await;
            world.instances.push(Seat { address: instance.address, instance: Some(instance) });
        }
        world
    }
}

impl World {
    /// One instance on a fresh database.
    pub async fn start() -> Self {
        Self::with_instances(1).await
    }

    /// Some instances on one fresh database.
    pub async fn with_instances(count: usize) -> Self {
        Self::builder().instances(count).start().await
    }

    /// For everything that is not as usual.
    pub fn builder() -> Builder {
        Builder {
            instances: 1,
            limits: LimitsConfig { unauthenticated_per_address: 100_000, ..LimitsConfig::default() },
            // Tests of rate limits set one.
            http: HttpConfig {
                rate_limit_per_minute: NonZeroU32::MAX,
                tickets_per_minute: NonZeroU32::MAX,
                dev_tokens_per_minute: NonZeroU32::MAX,
                ..HttpConfig::default()
            },
            pool: 8,
            drain: Duration::from_secs(5),
            secrets: Self::secrets(),
            database_addresses: Vec::new(),
        }
    }

    /// What instances sign tokens with, unless a test says otherwise.
    pub fn secrets() -> Secrets {
        Secrets::new(DEVELOPMENT_SECRET, true)
    }

    /// Where instance `index` listens.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.instances[index].address
    }

    /// The running instance `index`.
    pub fn instance(&self, index: usize) -> &Instance {
        self.instances[index].instance.as_ref().expect("an instance that runs")
    }

    /// The URL of a path on instance `index`.
    pub fn url(&self, index: usize, path: &str) -> String {
        format!("http://{}{path}", self.address(index))
    }

    /// Somebody called `name`; the same name is the same person.
    pub async fn user(&self, name: &str) -> Person {
        let body = json!({ "userId": name, "email": format!("{name}@example.org"), "name": name });
        let answer = self.post("/api/v1/auth/dev-token", None, &body).await;
        let token = answer["token"].as_str().expect("a token").to_owned();
        let id: Uuid = sqlx::query_scalar("select id from users where email = $1")
            .bind(format!("{name}@example.org"))
            .fetch_one(&self.database.superuser())
            .await
            .expect("whoever got a token is a user");
        Person { id: UserId(id), token, name: name.to_owned() }
    }

    /// The organization that a person owns; made at the first call.
    pub async fn org(&self, owner: &Person) -> OrgId {
        let known = self.orgs.lock().unwrap_or_else(PoisonError::into_inner).get(&owner.id).copied();
        if let Some(org) = known {
            return org;
        }
        let body = json!({ "name": format!("{}'s", owner.name), "slug": format!("org-{}", Uuid::new_v4()) });
        let org = OrgId(id_of(&self.post("/api/v1/orgs", Some(owner), &body).await));
        self.orgs.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.id, org);
        org
    }

    /// A new project in the organization that a person owns.
    pub async fn project(&self, owner: &Person) -> ProjectId {
        let org = self.org(owner).await;
        let path = format!("/api/v1/orgs/{org}/projects");
        ProjectId(id_of(&self.post(&path, Some(owner), &json!({ "name": "A project" })).await))
    }

    /// Makes a person a member of an organization.
    pub async fn join(&self, org: OrgId, person: &Person, role: &str) {
        sqlx::query("insert into org_members (org_id, user_id, role) values ($1, $2, $3)")
            .bind(org.0)
            .bind(person.id.0)
            .bind(role)
            .execute(&self.database.superuser())
            .await
            .expect("join an organization");
    }

    /// A WebSocket of a person on instance `index`.
    pub async fn client(&self, index: usize, person: &Person) -> Client {
        Client::connect(self.address(index), &person.token, ClientId::random()).await
    }

    /// Runs statements as a foreign writer.
    pub async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&self.database.superuser())
            .await
            .unwrap_or_else(|e| panic!("{statements}: {e}"));
    }

    /// Posts to the first instance that runs; panics unless the answer is a success.
    pub async fn post(&self, path: &str, caller: Option<&Person>, body: &Value) -> Value {
        let index = self.instances.iter().position(|seat| seat.instance.is_some()).expect("an instance that runs");
        let mut request = self.http.post(self.url(index, path)).json(body);
        if let Some(caller) = caller {
            request = request.bearer_auth(&caller.token);
        }
        let response = request.send().await.unwrap_or_else(|e| panic!("POST {path}: {e}"));
        let status = response.status();
        let text = response.text().await.unwrap_or_else(|e| panic!("POST {path}: {e}"));
        assert!(status.is_success(), "POST {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Ends an instance as a kill would: every task and socket at once.
    pub fn kill(&mut self, index: usize) {
        if let Some(instance) = self.instances[index].instance.take() {
            instance.abort();
        }
    }

    /// Drains an instance and waits for its end.
    pub async fn drain(&mut self, index: usize) {
        if let Some(instance) = self.instances[index].instance.take() {
            instance.drain().await.unwrap_or_else(|e| panic!("instance {index} does not drain: {e:#}"));
        }
    }

    /// Starts an instance again in its place, after killing what runs there.
    pub async fn restart(&mut self, index: usize) {
        self.kill(index);
        let port = self.address(index).port();
        self.instances[index].instance = Some(self.start_instance(index, port).await);
    }

    async fn start_instance(&self, index: usize, port: u16) -> Instance {
        let mut url: Url = self.database.server_url().parse().expect("a URL that we made");
        if let Some(Some(address)) = self.builder.database_addresses.get(index) {
            url.set_ip_host(address.ip()).expect("a host for PostgreSQL");
            url.set_port(Some(address.port())).expect("a port for PostgreSQL");
        }
        Instance::start(InstanceConfig {
            database_url: url.into(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            metrics_port: None,
            allowed_origins: vec![ORIGIN.to_owned()],
            pool: self.builder.pool,
            drain: self.builder.drain,
            http: self.builder.http,
            limits: self.builder.limits.clone(),
            secrets: self.builder.secrets.clone(),
            metrics: None,
        })
        .await
        .unwrap_or_else(|e| panic!("instance {index} does not start: {e:#}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for index in 0..self.instances.len() {
            self.kill(index);
        }
    }
}

fn id_of(answer: &Value) -> Uuid {
    answer["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id in {answer}"))
}

-- The 16 tables of the documented schema, with its indexes and its triggers: names, types, defaults and
-- nullability as documented, no columns beyond it. What comes on top are keys that let the database itself keep
-- tenants apart, and the indexes that deletes need; tests/it/fixtures/schema.toml lists both with their reasons.

-- The tables lie in `public`. The type vector is found wherever its extension was put.
do $$
begin
  perform set_config('search_path', concat_ws(', ', 'public', (
    select quote_ident(n.nspname)
    from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'vector'
      and n.nspname <> 'public'
  ), 'pg_temp'), false);
end
$$;

set role glassbox_owner;

create table if not exists organizations (
  id uuid not null default gen_random_uuid(),
  name varchar(255) not null,
  slug varchar(100) not null,
  settings jsonb default '{}',
  event_sourcing_level varchar(20) default 'snapshot',
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint organizations_pkey primary key (id),
  constraint organizations_slug_key unique (slug)
);

create index if not exists idx_organizations_slug on organizations (slug);

comment on table organizations is 'Primary tenant table for multi-tenancy.';
comment on column organizations.id is 'Primary key; the tenant that every other row belongs to.';
comment on column organizations.name is 'Organization name.';
comment on column organizations.slug is 'URL-safe identifier (unique).';
comment on column organizations.settings is 'Configuration (models, policies).';
comment on column organizations.event_sourcing_level is 'How much history is kept: ''full'', ''snapshot'' or ''audit''.';
comment on column organizations.created_at is 'Creation timestamp.';
comment on column organizations.updated_at is 'Last update timestamp.';

create table if not exists users (
  id uuid not null default gen_random_uuid(),
  cognito_sub varchar(255) not null,
  email varchar(255) not null,
  name varchar(255),
  avatar_url text,
  settings jsonb default '{}',
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint users_pkey primary key (id),
  constraint users_cognito_sub_key unique (cognito_sub)
);

create index if not exists idx_users_cognito_sub on users (cognito_sub);
create index if not exists idx_users_email on users (email);

comment on table users is 'User accounts linked to AWS Cognito.';
comment on column users.id is 'Primary key.';
comment on column users.cognito_sub is 'Cognito subject ID (unique).';
comment on column users.email is 'User email.';
comment on column users.name is 'Display name.';
comment on column users.avatar_url is 'Profile image URL.';
comment on column users.settings is 'User preferences.';
comment on column users.created_at is 'Creation timestamp.';
comment on column users.updated_at is 'Last update timestamp.';

create table if not exists org_members (
  id uuid not null default gen_random_uuid(),
  org_id uuid not null,
  user_id uuid not null,
  role varchar(50) default 'member',
  created_at timestamptz default now(),
  constraint org_members_pkey primary key (id),
  constraint org_members_org_id_user_id_key unique (org_id, user_id),
  constraint org_members_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade,
  constraint org_members_user_id_fkey
    foreign key (user_id) references users (id)
    on delete cascade
);

create index if not exists idx_org_members_org on org_members (org_id);
create index if not exists idx_org_members_user on org_members (user_id);

comment on table org_members is 'Organization membership and roles.';
comment on column org_members.id is 'Primary key.';
comment on column org_members.org_id is 'FK to organizations.';
comment on column org_members.user_id is 'FK to users.';
comment on column org_members.role is 'One of ''owner'', ''admin'', ''member'', ''guest''.';
comment on column org_members.created_at is 'Creation timestamp.';

create table if not exists projects (
  id uuid not null default gen_random_uuid(),
  org_id uuid not null,
  name varchar(255) not null,
  description text,
  settings jsonb default '{}',
  workflow_states jsonb default '["draft","in_progress","complete"]',
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint projects_pkey primary key (id),
  -- What the foreign key of nodes refers to.
  constraint projects_org_id_id_key unique (org_id, id),
  constraint projects_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade
);

create index if not exists idx_projects_org on projects (org_id);

comment on table projects is 'Projects within organizations.';
comment on column projects.id is 'Primary key.';
comment on column projects.org_id is 'FK to organizations.';
comment on column projects.name is 'Project name.';
comment on column projects.description is 'Project description.';
comment on column projects.settings is 'Project configuration.';
comment on column projects.workflow_states is 'Custom workflow states.';
comment on column projects.created_at is 'Creation timestamp.';
comment on column projects.updated_at is 'Last update timestamp.';

create table if not exists nodes (
  id uuid not null default gen_random_uuid(),
  org_id uuid not null,
  project_id uuid not null,
  parent_id uuid,
  title varchar(500) not null,
  description text,
  status varchar(50) default 'draft',
  author_type varchar(20) not null,
  author_user_id uuid,
  supervisor_user_id uuid,
  version integer default 1,
  metadata jsonb default '{}',
  position jsonb default '{"x":0,"y":0}',
  locked_by uuid,
  locked_at timestamptz,
  lock_expires_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  deleted_at timestamptz,
  constraint nodes_pkey primary key (id),
  -- What the foreign key of the parent refers to.
  constraint nodes_project_id_id_key unique (project_id, id),
  constraint nodes_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade,
  -- A node and its project are of one organization, and parent and child of one project, whoever writes.
  constraint nodes_project_id_fkey
    foreign key (org_id, project_id) references projects (org_id, id)
    on delete cascade,
  constraint nodes_parent_id_fkey
    foreign key (project_id, parent_id) references nodes (project_id, id)
    on delete set null (parent_id),
  constraint nodes_author_user_id_fkey
    foreign key (author_user_id) references users (id)
    on delete set null,
  constraint nodes_supervisor_user_id_fkey
    foreign key (supervisor_user_id) references users (id)
    on delete set null,
  constraint nodes_locked_by_fkey
    foreign key (locked_by) references users (id)
    on delete set null
);

create index if not exists idx_nodes_org_project on nodes (org_id, project_id)
  where deleted_at is null;
create index if not exists idx_nodes_parent on nodes (parent_id)
  where deleted_at is null;
create index if not exists idx_nodes_author on nodes (author_user_id)
  where deleted_at is null;
create index if not exists idx_nodes_status on nodes (org_id, status)
  where deleted_at is null;
create index if not exists idx_nodes_locked on nodes (locked_by)
  where locked_by is not null;
-- Deleting a node looks for its children, deleted ones included, which idx_nodes_parent leaves out: without
-- it, deleting a project takes time quadratic in its nodes.
create index if not exists nodes_parent_fkey_idx on nodes (project_id, parent_id)
  where parent_id is not null;

comment on table nodes is 'Core work unit primitive.';
comment on column nodes.id is 'Primary key.';
comment on column nodes.org_id is 'FK to organizations.';
comment on column nodes.project_id is 'FK to projects.';
comment on column nodes.parent_id is 'FK to nodes of the same project; never its own ancestor.';
comment on column nodes.title is 'Node title.';
comment on column nodes.description is 'Node description.';
comment on column nodes.status is 'Workflow status.';
comment on column nodes.author_type is 'One of ''human'' or ''agent''.';
comment on column nodes.author_user_id is 'FK to users.';
comment on column nodes.supervisor_user_id is 'FK to users (for agent nodes).';
comment on column nodes.version is 'Version number; grows with title, description, status and metadata, not with position.';
comment on column nodes.metadata is 'Flexible metadata.';
comment on column nodes.position is 'Canvas position.';
comment on column nodes.locked_by is 'FK to users (lock holder).';
comment on column nodes.locked_at is 'Lock acquisition time.';
comment on column nodes.lock_expires_at is 'Lock expiration time.';
comment on column nodes.created_at is 'Creation timestamp.';
comment on column nodes.updated_at is 'Last update timestamp.';
comment on column nodes.deleted_at is 'Soft delete timestamp.';

create table if not exists node_versions (
  id uuid not null default gen_random_uuid(),
  node_id uuid not null,
  version integer not null,
  snapshot jsonb not null,
  change_type varchar(50),
  change_summary text,
  changed_by uuid,
  created_at timestamptz default now(),
  constraint node_versions_pkey primary key (id),
  constraint node_versions_node_id_version_key unique (node_id, version),
  constraint node_versions_node_id_fkey
    foreign key (node_id) references nodes (id)
    on delete cascade,
  constraint node_versions_changed_by_fkey
    foreign key (changed_by) references users (id)
    on delete set null
);

create index if not exists idx_node_versions_node on node_versions (node_id, version desc);

comment on table node_versions is 'Full version history for nodes.';
comment on column node_versions.id is 'Primary key.';
comment on column node_versions.node_id is 'FK to nodes.';
comment on column node_versions.version is 'Version number.';
comment on column node_versions.snapshot is 'Full node state at this version.';
comment on column node_versions.change_type is 'One of ''created'', ''updated'', ''status_change''.';
comment on column node_versions.change_summary is 'Human-readable change description.';
comment on column node_versions.changed_by is 'FK to users.';
comment on column node_versions.created_at is 'Version creation time.';

create table if not exists files (
  id uuid not null default gen_random_uuid(),
  org_id uuid not null,
  storage_key varchar(500) not null,
  storage_bucket varchar(255) not null,
  filename varchar(500) not null,
  content_type varchar(255),
  size_bytes bigint,
  processing_status varchar(50) default 'pending',
  extracted_text text,
  processing_error text,
  embedding vector(1536),
  metadata jsonb default '{}',
  created_at timestamptz default now(),
  uploaded_by uuid,
  constraint files_pkey primary key (id),
  constraint files_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade,
  constraint files_uploaded_by_fkey
    foreign key (uploaded_by) references users (id)
    on delete set null
);

create index if not exists idx_files_org on files (org_id);
create index if not exists idx_files_status on files (processing_status)
  where processing_status in ('pending', 'processing');
create index if not exists idx_files_embedding on files using ivfflat (embedding vector_cosine_ops) with (lists = 100);

comment on table files is 'Uploaded files with text extraction and embeddings.';
comment on column files.id is 'Primary key.';
comment on column files.org_id is 'FK to organizations.';
comment on column files.storage_key is 'S3 object key.';
comment on column files.storage_bucket is 'S3 bucket name.';
comment on column files.filename is 'Original filename.';
comment on column files.content_type is 'MIME type.';
comment on column files.size_bytes is 'File size in bytes.';
comment on column files.processing_status is 'One of ''pending'', ''processing'', ''complete'', ''failed''.';
comment on column files.extracted_text is 'Extracted text content.';
comment on column files.processing_error is 'Error message if failed.';
comment on column files.embedding is 'Embedding of the extracted text, text-embedding-3-small.';
comment on column files.metadata is 'Additional metadata.';
comment on column files.created_at is 'Creation timestamp.';
comment on column files.uploaded_by is 'FK to users.';

create table if not exists node_inputs (
  id uuid not null default gen_random_uuid(),
  node_id uuid not null,
  input_type varchar(50) not null,
  file_id uuid,
  source_node_id uuid,
  source_node_version integer,
  external_url text,
  text_content text,
  label varchar(255),
  metadata jsonb default '{}',
  sort_order integer default 0,
  created_at timestamptz default now(),
  constraint node_inputs_pkey primary key (id),
  constraint node_inputs_node_id_fkey
    foreign key (node_id) references nodes (id)
    on delete cascade,
  constraint node_inputs_file_id_fkey
    foreign key (file_id) references files (id)
    on delete set null,
  constraint node_inputs_source_node_id_fkey
    foreign key (source_node_id) references nodes (id)
    on delete set null
);

create index if not exists idx_node_inputs_node on node_inputs (node_id);
create index if not exists idx_node_inputs_source on node_inputs (source_node_id)
  where source_node_id is not null;
-- Deleting a file, and telling the nodes that use a file of its new state, look inputs up by file.
create index if not exists node_inputs_file_idx on node_inputs (file_id)
  where file_id is not null;

comment on table node_inputs is 'Input connections for nodes.';
comment on column node_inputs.id is 'Primary key.';
comment on column node_inputs.node_id is 'FK to nodes.';
comment on column node_inputs.input_type is 'One of ''file'', ''node_reference'', ''external_link'', ''text''.';
comment on column node_inputs.file_id is 'FK to files.';
comment on column node_inputs.source_node_id is 'FK to nodes.';
comment on column node_inputs.source_node_version is 'Specific version (NULL = latest).';
comment on column node_inputs.external_url is 'External link URL.';
comment on column node_inputs.text_content is 'Text input content.';
comment on column node_inputs.label is 'Display label.';
comment on column node_inputs.metadata is 'Additional metadata.';
comment on column node_inputs.sort_order is 'Display order.';
comment on column node_inputs.created_at is 'Creation timestamp.';

create table if not exists node_outputs (
  id uuid not null default gen_random_uuid(),
  node_id uuid not null,
  output_type varchar(50) not null,
  file_id uuid,
  structured_data jsonb,
  text_content text,
  external_url text,
  label varchar(255),
  metadata jsonb default '{}',
  sort_order integer default 0,
  created_at timestamptz default now(),
  constraint node_outputs_pkey primary key (id),
  constraint node_outputs_node_id_fkey
    foreign key (node_id) references nodes (id)
    on delete cascade,
  constraint node_outputs_file_id_fkey
    foreign key (file_id) references files (id)
    on delete set null
);

create index if not exists idx_node_outputs_node on node_outputs (node_id);
-- The same as for node_inputs.
create index if not exists node_outputs_file_idx on node_outputs (file_id)
  where file_id is not null;

comment on table node_outputs is 'Output data from nodes.';
comment on column node_outputs.id is 'Primary key.';
comment on column node_outputs.node_id is 'FK to nodes.';
comment on column node_outputs.output_type is 'One of ''file'', ''structured_data'', ''text'', ''external_link''.';
comment on column node_outputs.file_id is 'FK to files.';
comment on column node_outputs.structured_data is 'Structured output data.';
comment on column node_outputs.text_content is 'Text output content.';
comment on column node_outputs.external_url is 'External link URL.';
comment on column node_outputs.label is 'Display label.';
comment on column node_outputs.metadata is 'Additional metadata.';
comment on column node_outputs.sort_order is 'Display order.';
comment on column node_outputs.created_at is 'Creation timestamp.';

create table if not exists node_dependencies (
  id uuid not null default gen_random_uuid(),
  source_node_id uuid not null,
  target_node_id uuid not null,
  source_output_id uuid,
  target_input_id uuid,
  created_at timestamptz default now(),
  constraint node_dependencies_pkey primary key (id),
  -- Without `nulls not distinct` the edge between two whole nodes could be there twice.
  constraint node_dependencies_edge_key unique nulls not distinct (source_node_id, target_node_id, source_output_id, target_input_id),
  constraint node_dependencies_source_node_id_fkey
    foreign key (source_node_id) references nodes (id)
    on delete cascade,
  constraint node_dependencies_target_node_id_fkey
    foreign key (target_node_id) references nodes (id)
    on delete cascade,
  -- `set null` here could turn an edge into a second copy of the edge between the whole nodes and fail on
  -- the unique key above; an edge whose end is gone says nothing any more, so it goes as well.
  constraint node_dependencies_source_output_id_fkey
    foreign key (source_output_id) references node_outputs (id)
    on delete cascade,
  constraint node_dependencies_target_input_id_fkey
    foreign key (target_input_id) references node_inputs (id)
    on delete cascade
);

create index if not exists idx_node_deps_source on node_dependencies (source_node_id);
create index if not exists idx_node_deps_target on node_dependencies (target_node_id);
-- Deleting an output deletes its edges; every deleted node deletes its outputs.
create index if not exists node_dependencies_output_idx on node_dependencies (source_output_id)
  where source_output_id is not null;
-- Deleting an input deletes its edges; every deleted node deletes its inputs.
create index if not exists node_dependencies_input_idx on node_dependencies (target_input_id)
  where target_input_id is not null;

comment on table node_dependencies is 'DAG edges beyond parent-child relationships.';
comment on column node_dependencies.id is 'Primary key.';
comment on column node_dependencies.source_node_id is 'FK to nodes (output provider).';
comment on column node_dependencies.target_node_id is 'FK to nodes (input consumer).';
comment on column node_dependencies.source_output_id is 'FK to node_outputs; an output of the source node, or NULL for the node as a whole.';
comment on column node_dependencies.target_input_id is 'FK to node_inputs; an input of the target node, or NULL for the node as a whole.';
comment on column node_dependencies.created_at is 'Creation timestamp.';

create table if not exists agent_executions (
  id uuid not null default gen_random_uuid(),
  node_id uuid not null,
  status varchar(50) default 'pending',
  langgraph_thread_id varchar(255),
  langgraph_checkpoint jsonb,
  trace_summary jsonb default '[]',
  started_at timestamptz,
  completed_at timestamptz,
  error_message text,
  total_tokens_in integer default 0,
  total_tokens_out integer default 0,
  estimated_cost_usd decimal(10,6) default 0,
  model_id varchar(100),
  created_at timestamptz default now(),
  constraint agent_executions_pkey primary key (id),
  constraint agent_executions_node_id_fkey
    foreign key (node_id) references nodes (id)
    on delete cascade
);

create index if not exists idx_agent_executions_node on agent_executions (node_id);
create index if not exists idx_agent_executions_status on agent_executions (status)
  where status in ('pending', 'running', 'paused');

comment on table agent_executions is 'Agent execution records.';
comment on column agent_executions.id is 'Primary key.';
comment on column agent_executions.node_id is 'FK to nodes.';
comment on column agent_executions.status is 'Execution status.';
comment on column agent_executions.langgraph_thread_id is 'LangGraph thread ID.';
comment on column agent_executions.langgraph_checkpoint is 'State checkpoint for resume.';
comment on column agent_executions.trace_summary is 'High-level trace summary.';
comment on column agent_executions.started_at is 'Execution start time.';
comment on column agent_executions.completed_at is 'Execution end time.';
comment on column agent_executions.error_message is 'Error if failed.';
comment on column agent_executions.total_tokens_in is 'Total input tokens.';
comment on column agent_executions.total_tokens_out is 'Total output tokens.';
comment on column agent_executions.estimated_cost_usd is 'Estimated cost.';
comment on column agent_executions.model_id is 'Model used.';
comment on column agent_executions.created_at is 'Creation timestamp.';

create table if not exists agent_trace_events (
  id uuid not null default gen_random_uuid(),
  execution_id uuid not null,
  event_type varchar(50) not null,
  event_data jsonb not null,
  timestamp timestamptz default now(),
  duration_ms integer,
  model varchar(100),
  tokens_in integer,
  tokens_out integer,
  sequence_number serial,
  constraint agent_trace_events_pkey primary key (id),
  constraint agent_trace_events_execution_id_fkey
    foreign key (execution_id) references agent_executions (id)
    on delete cascade
);

create index if not exists idx_trace_events_execution on agent_trace_events (execution_id, sequence_number);
create index if not exists idx_trace_events_type on agent_trace_events (execution_id, event_type);

comment on table agent_trace_events is 'Detailed execution trace events.';
comment on column agent_trace_events.id is 'Primary key.';
comment on column agent_trace_events.execution_id is 'FK to agent_executions.';
comment on column agent_trace_events.event_type is 'Event type.';
comment on column agent_trace_events.event_data is 'Event payload.';
comment on column agent_trace_events.timestamp is 'Event timestamp.';
comment on column agent_trace_events.duration_ms is 'Event duration.';
comment on column agent_trace_events.model is 'Model used (for LLM calls).';
comment on column agent_trace_events.tokens_in is 'Input tokens.';
comment on column agent_trace_events.tokens_out is 'Output tokens.';
comment on column agent_trace_events.sequence_number is 'Ordering sequence over all executions; given at the insert, so it is neither commit order nor without gaps.';

create table if not exists templates (
  id uuid not null default gen_random_uuid(),
  org_id uuid,
  name varchar(255) not null,
  description text,
  structure jsonb not null,
  agent_config jsonb default '{}',
  is_public boolean default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  created_by uuid,
  constraint templates_pkey primary key (id),
  constraint templates_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade,
  constraint templates_created_by_fkey
    foreign key (created_by) references users (id)
    on delete set null
);

create index if not exists idx_templates_org on templates (org_id);
create index if not exists idx_templates_public on templates (is_public)
  where is_public = true;

comment on table templates is 'Reusable node templates.';
comment on column templates.id is 'Primary key.';
comment on column templates.org_id is 'FK to organizations (NULL = system).';
comment on column templates.name is 'Template name.';
comment on column templates.description is 'Template description.';
comment on column templates.structure is 'Template structure.';
comment on column templates.agent_config is 'Agent configuration.';
comment on column templates.is_public is 'Public visibility.';
comment on column templates.created_at is 'Creation timestamp.';
comment on column templates.updated_at is 'Last update timestamp.';
comment on column templates.created_by is 'FK to users.';

create table if not exists audit_log (
  id uuid not null default gen_random_uuid(),
  org_id uuid not null,
  user_id uuid,
  agent_execution_id uuid,
  action varchar(100) not null,
  resource_type varchar(50) not null,
  resource_id uuid,
  details jsonb default '{}',
  created_at timestamptz default now(),
  ip_address inet,
  user_agent text,
  constraint audit_log_pkey primary key (id),
  -- org_id has no foreign key: the trail outlives the organization that it is about.
  constraint audit_log_user_id_fkey
    foreign key (user_id) references users (id)
    on delete set null,
  constraint audit_log_agent_execution_id_fkey
    foreign key (agent_execution_id) references agent_executions (id)
    on delete set null
);

create index if not exists idx_audit_log_org_time on audit_log (org_id, created_at desc);
create index if not exists idx_audit_log_resource on audit_log (resource_type, resource_id);
create index if not exists idx_audit_log_user on audit_log (user_id, created_at desc);
-- Deleting an execution clears the reference to it in the trail, which is the largest table of all.
create index if not exists audit_log_execution_idx on audit_log (agent_execution_id)
  where agent_execution_id is not null;

comment on table audit_log is 'Compliance audit trail.';
comment on column audit_log.id is 'Primary key.';
comment on column audit_log.org_id is 'Organization that the entry is about; no foreign key, so that the trail outlives it.';
comment on column audit_log.user_id is 'FK to users.';
comment on column audit_log.agent_execution_id is 'FK to agent_executions.';
comment on column audit_log.action is 'Action performed.';
comment on column audit_log.resource_type is 'Resource type.';
comment on column audit_log.resource_id is 'Resource ID.';
comment on column audit_log.details is 'Action details.';
comment on column audit_log.created_at is 'Audit timestamp.';
comment on column audit_log.ip_address is 'Client IP address.';
comment on column audit_log.user_agent is 'Client user agent.';

create table if not exists notifications (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  org_id uuid not null,
  type varchar(50) not null,
  title varchar(255) not null,
  body text,
  resource_type varchar(50),
  resource_id uuid,
  read_at timestamptz,
  created_at timestamptz default now(),
  constraint notifications_pkey primary key (id),
  constraint notifications_user_id_fkey
    foreign key (user_id) references users (id)
    on delete cascade,
  constraint notifications_org_id_fkey
    foreign key (org_id) references organizations (id)
    on delete cascade
);

create index if not exists idx_notifications_user on notifications (user_id, created_at desc);
create index if not exists idx_notifications_unread on notifications (user_id)
  where read_at is null;

comment on table notifications is 'User notifications.';
comment on column notifications.id is 'Primary key.';
comment on column notifications.user_id is 'FK to users.';
comment on column notifications.org_id is 'FK to organizations.';
comment on column notifications.type is 'Notification type.';
comment on column notifications.title is 'Notification title.';
comment on column notifications.body is 'Notification body.';
comment on column notifications.resource_type is 'Related resource type.';
comment on column notifications.resource_id is 'Related resource ID.';
comment on column notifications.read_at is 'Read timestamp.';
comment on column notifications.created_at is 'Creation timestamp.';

create table if not exists project_members (
  id uuid not null default gen_random_uuid(),
  project_id uuid not null,
  user_id uuid not null,
  role varchar(50) default 'member',
  created_at timestamptz default now(),
  constraint project_members_pkey primary key (id),
  constraint project_members_project_id_user_id_key unique (project_id, user_id),
  constraint project_members_project_id_fkey
    foreign key (project_id) references projects (id)
    on delete cascade,
  constraint project_members_user_id_fkey
    foreign key (user_id) references users (id)
    on delete cascade
);

create index if not exists idx_project_members_project on project_members (project_id);
create index if not exists idx_project_members_user on project_members (user_id);

comment on table project_members is 'Project-level permissions.';
comment on column project_members.id is 'Primary key.';
comment on column project_members.project_id is 'FK to projects.';
comment on column project_members.user_id is 'FK to users.';
comment on column project_members.role is 'One of ''admin'', ''member'', ''viewer''.';
comment on column project_members.created_at is 'Creation timestamp.';

-- The two documented triggers.

create or replace function update_updated_at()
returns trigger
language plpgsql
as $$
begin
  new.updated_at = now();
  return new;
end;
$$;

comment on function update_updated_at() is 'Sets updated_at on every change of a row.';

create or replace function increment_node_version()
returns trigger
language plpgsql
as $$
begin
  if (old.title is distinct from new.title or
      old.description is distinct from new.description or
      old.status is distinct from new.status or
      old.metadata is distinct from new.metadata) then
    new.version = old.version + 1;
  end if;
  return new;
end;
$$;

comment on function increment_node_version() is 'Counts the versions of a node''s content; moves and locks do not count.';

create or replace trigger update_organizations_updated_at
  before update on organizations
  for each row
  execute function update_updated_at();

create or replace trigger update_users_updated_at
  before update on users
  for each row
  execute function update_updated_at();

create or replace trigger update_projects_updated_at
  before update on projects
  for each row
  execute function update_updated_at();

create or replace trigger update_nodes_updated_at
  before update on nodes
  for each row
  execute function update_updated_at();

create or replace trigger update_templates_updated_at
  before update on templates
  for each row
  execute function update_updated_at();

create or replace trigger increment_nodes_version
  before update on nodes
  for each row
  execute function increment_node_version();

reset role;
reset search_path;

//! Who may do what: the one table of rights. Pure; everything that decides about access asks here.

/// What a member of an organization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrgRole {
    /// May do everything.
    Owner,
    /// May do everything but delete the organization.
    Admin,
    /// Works in projects.
    Member,
    /// Reads the projects that they were added to.
    Guest,
}

/// What somebody is in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProjectRole {
    /// May do everything.
    Admin,
    /// Reads and writes.
    Member,
    /// Reads.
    Viewer,
}

/// What one may do in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrgRight {
    /// See it.
    Read,
    /// See who belongs to it.
    ReadMembers,
    /// Change its name and settings.
    Update,
    /// Add, change and remove members.
    ManageMembers,
    /// Make and revoke worker keys.
    ManageWorkers,
    /// Read the audit trail.
    ReadAudit,
    /// Delete it.
    Delete,
    /// Make a project in it.
    CreateProject,
    /// Upload a file to it.
    UploadFile,
    /// Make a template in it.
    CreateTemplate,
    /// Search in it.
    Search,
    /// See its templates.
    ReadTemplates,
}

/// What one may do in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProjectRight {
    /// See everything in it, subscribe, be present.
    Read,
    /// Change nodes and all that hangs on them.
    NodeWrite,
    /// End an agent's lock.
    BreakAgentLock,
    /// End a person's lock.
    BreakPersonLock,
    /// Change its name and settings.
    Update,
    /// Delete it.
    Delete,
    /// Add, change and remove members.
    ManageMembers,
}

impl OrgRight {
    /// Every right.
    pub const ALL: [OrgRight; 12] = [
        OrgRight::Read,
        OrgRight::ReadMembers,
        OrgRight::Update,
        OrgRight::ManageMembers,
        OrgRight::ManageWorkers,
        OrgRight::ReadAudit,
        OrgRight::Delete,
        OrgRight::CreateProject,
        OrgRight::UploadFile,
        OrgRight::CreateTemplate,
        OrgRight::Search,
        OrgRight::ReadTemplates,
    ];

    /// Names the right as the API's documents do.
    pub fn as_str(self) -> &'static str {
        match self {
            OrgRight::Read => "org.read",
            OrgRight::ReadMembers => "org.members.read",
            OrgRight::Update => "org.update",
            OrgRight::ManageMembers => "org.members.manage",
            OrgRight::ManageWorkers => "org.workers",
            OrgRight::ReadAudit => "audit.read",
            OrgRight::Delete => "org.delete",
            OrgRight::CreateProject => "project.create",
            OrgRight::UploadFile => "file.upload",
            OrgRight::CreateTemplate => "template.create",
            OrgRight::Search => "search",
            OrgRight::ReadTemplates => "template.read",
        }
    }
}

impl ProjectRight {
    /// Every right.
    pub const ALL: [ProjectRight; 7] = [
        ProjectRight::Read,
        ProjectRight::NodeWrite,
        ProjectRight::BreakAgentLock,
        ProjectRight::BreakPersonLock,
        ProjectRight::Update,
        ProjectRight::Delete,
        ProjectRight::ManageMembers,
    ];

    /// Names the right as the API's documents do.
    pub fn as_str(self) -> &'static str {
        match self {
            ProjectRight::Read => "project.read",
            ProjectRight::NodeWrite => "node.write",
            ProjectRight::BreakAgentLock => "lock.break.agent",
            ProjectRight::BreakPersonLock => "lock.break.person",
            ProjectRight::Update => "project.update",
            ProjectRight::Delete => "project.delete",
            ProjectRight::ManageMembers => "project.members.manage",
        }
    }
}

impl OrgRole {
    /// Every role.
    pub const ALL: [OrgRole; 4] = [OrgRole::Owner, OrgRole::Admin, OrgRole::Member, OrgRole::Guest];

    /// Whether this role has a right.
    pub fn may(self, right: OrgRight) -> bool {
        let is_admin = matches!(self, OrgRole::Owner | OrgRole::Admin);
        match right {
            OrgRight::Read | OrgRight::Search | OrgRight::ReadTemplates => true,
            OrgRight::ReadMembers | OrgRight::CreateProject | OrgRight::UploadFile | OrgRight::CreateTemplate => {
                is_admin || self == OrgRole::Member
            }
            OrgRight::Update | OrgRight::ManageMembers | OrgRight::ManageWorkers | OrgRight::ReadAudit => is_admin,
            OrgRight::Delete => self == OrgRole::Owner,
        }
    }

    /// Names the role as the column and the wire do.
    pub fn as_str(self) -> &'static str {
        match self {
            OrgRole::Owner => "owner",
            OrgRole::Admin => "admin",
            OrgRole::Member => "member",
            OrgRole::Guest => "guest",
        }
    }

    /// Reads a stored role. The column has no check: what we do not know gives no right.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl ProjectRole {
    /// Every role.
    pub const ALL: [ProjectRole; 3] = [ProjectRole::Admin, ProjectRole::Member, ProjectRole::Viewer];

    /// Whether this role has a right.
    pub fn may(self, right: ProjectRight) -> bool {
        match right {
            ProjectRight::Read => true,
            ProjectRight::NodeWrite | ProjectRight::BreakAgentLock => self != ProjectRole::Viewer,
            ProjectRight::BreakPersonLock
            | ProjectRight::Update
            | ProjectRight::Delete
            | ProjectRight::ManageMembers => self == ProjectRole::Admin,
        }
    }

    /// Names the role as the column and the wire do.
    pub fn as_str(self) -> &'static str {
        match self {
            ProjectRole::Admin => "admin",
            ProjectRole::Member => "member",
            ProjectRole::Viewer => "viewer",
        }
    }

    /// Reads a stored role. The column has no check: what we do not know gives no right.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What somebody's row in `project_members` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectRow {
    /// They have none.
    Absent,
    /// A role that we know.
    Role(ProjectRole),
    /// A role that we do not know.
    Unknown,
}

/// Who sees a project without a row of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every member of the organization; the default.
    Org,
    /// Nobody.
    Private,
}

/// Tells what a member of the organization is in a project. Who is no member of the organization is nothing,
/// whatever `project_members` says.
pub fn effective_role(org: OrgRole, row: ProjectRow, visibility: Visibility) -> Option<ProjectRole> {
    match (org, row) {
        (OrgRole::Owner | OrgRole::Admin, _) => Some(ProjectRole::Admin),
        (OrgRole::Member, ProjectRow::Role(role)) => Some(role),
        (OrgRole::Member, ProjectRow::Unknown) => None,
        (OrgRole::Member, ProjectRow::Absent) => match visibility {
            Visibility::Org => Some(ProjectRole::Member),
            Visibility::Private => None,
        },
        (OrgRole::Guest, ProjectRow::Absent) => None,
        (OrgRole::Guest, ProjectRow::Role(_) | ProjectRow::Unknown) => Some(ProjectRole::Viewer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organization_rights_are_those_of_the_table() {
        use OrgRight::*;
        // owner, admin, member, guest
        let table = [
            (Read, "xxxx"),
            (ReadMembers, "xxx."),
            (Update, "xx.."),
            (ManageMembers, "xx.."),
            (ManageWorkers, "xx.."),
            (ReadAudit, "xx.."),
            (Delete, "x..."),
            (CreateProject, "xxx."),
            (UploadFile, "xxx."),
            (CreateTemplate, "xxx."),
            (Search, "xxxx"),
            (ReadTemplates, "xxxx"),
        ];
        for (right, row) in table {
            let actual: String = OrgRole::ALL.iter().map(|role| if role.may(right) { 'x' } else { '.' }).collect();
            assert_eq!(actual, row, "{right:?}");
        }
    }

    #[test]
    fn project_rights_are_those_of_the_table() {
        use ProjectRight::*;
        // admin, member, viewer
        let table = [
            (Read, "xxx"),
            (NodeWrite, "xx."),
            (BreakAgentLock, "xx."),
            (BreakPersonLock, "x.."),
            (Update, "x.."),
            (Delete, "x.."),
            (ManageMembers, "x.."),
        ];
        for (right, row) in table {
            let actual: String = ProjectRole::ALL.iter().map(|role| if role.may(right) { 'x' } else { '.' }).collect();
            assert_eq!(actual, row, "{right:?}");
        }
    }

    #[test]
    fn the_effective_role_follows_organization_row_and_visibility() {
        use ProjectRole::*;
        use Visibility::*;
        let rows = [
            ProjectRow::Absent,
            ProjectRow::Role(Admin),
            ProjectRow::Role(Member),
            ProjectRow::Role(Viewer),
            ProjectRow::Unknown,
        ];
        let table = [
            (OrgRole::Owner, Org, [Some(Admin); 5]),
            (OrgRole::Owner, Private, [Some(Admin); 5]),
            (OrgRole::Admin, Org, [Some(Admin); 5]),
            (OrgRole::Admin, Private, [Some(Admin); 5]),
            (OrgRole::Member, Org, [Some(Member), Some(Admin), Some(Member), Some(Viewer), None]),
            (OrgRole::Member, Private, [None, Some(Admin), Some(Member), Some(Viewer), None]),
            (OrgRole::Guest, Org, [None, Some(Viewer), Some(Viewer), Some(Viewer), Some(Viewer)]),
            (OrgRole::Guest, Private, [None, Some(Viewer), Some(Viewer), Some(Viewer), Some(Viewer)]),
        ];
        for (org, visibility, expected) in table {
            let actual = rows.map(|row| effective_role(org, row, visibility));
            assert_eq!(actual, expected, "{org:?} {visibility:?}");
        }
    }

    #[test]
    fn a_role_survives_its_name_and_an_unknown_one_is_none() {
        for role in OrgRole::ALL {
            assert_eq!(OrgRole::from_stored(role.as_str()), Some(role));
        }
        for role in ProjectRole::ALL {
            assert_eq!(ProjectRole::from_stored(role.as_str()), Some(role));
        }
        assert_eq!(OrgRole::from_stored("superuser"), None);
        assert_eq!(ProjectRole::from_stored("Admin"), None);
    }
}

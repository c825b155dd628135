//! What `fixtures/schema.toml` says, and the same as SQL.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    pub tables: Vec<Table>,
    added_unique: Vec<AddedUnique>,
    added_indexes: Vec<AddedIndex>,
    pub added_triggers: Vec<AddedTrigger>,
}

impl Schema {
    /// Reads the fixture.
    pub fn read() -> Schema {
        toml::from_str(include_str!("../fixtures/schema.toml")).expect("the fixture is the TOML that Schema describes")
    }

    /// Writes the schema as statements that build it in the schema `expected`.
    pub fn statements(&self) -> String {
        let mut sql = "create schema expected; set local search_path = expected, public;\n".to_owned();
        for table in &self.tables {
            let mut lines: Vec<String> = table.columns.iter().map(Column::definition).collect();
            lines.push("primary key (id)".to_owned());
            for columns in &table.unique {
                let nulls = if table.unique_nulls.is_empty() { "" } else { "nulls not distinct" };
                lines.push(format!("unique {nulls} ({})", columns.join(", ")));
            }
            for added in self.added_unique.iter().filter(|added| added.table == table.name) {
                lines.push(format!("unique ({})", added.columns.join(", ")));
            }
            sql += &format!("create table {} ({});\n", table.name, lines.join(", "));
            for index in &table.indexes {
                sql += &index.statement(&table.name);
            }
            for function in &table.before_update {
                sql += &format!(
                    "create trigger {function} before update on {} for each row execute function public.{function}();\n",
                    table.name
                );
            }
        }
        for table in &self.tables {
            for key in &table.foreign_keys {
                sql += &format!(
                    "alter table {} add foreign key ({}) references {} ({}) on delete {};\n",
                    table.name,
                    key.columns.join(", "),
                    key.references,
                    key.keys.join(", "),
                    key.on_delete
                );
            }
        }
        for added in &self.added_indexes {
            sql += &added.index.statement(&added.table);
        }
        for trigger in &self.added_triggers {
            let when = trigger.when.as_ref().map(|when| format!("when ({when})")).unwrap_or_default();
            sql += &format!(
                "create trigger {} {} on {} for each row {when} execute function {};\n",
                trigger.name, trigger.on, trigger.table, trigger.execute
            );
        }
        sql
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: String,
    columns: Vec<Column>,
    unique: Vec<Vec<String>>,
    #[serde(default)]
    unique_nulls: String,
    foreign_keys: Vec<ForeignKey>,
    indexes: Vec<Index>,
    before_update: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
    default: Option<String>,
}

impl Column {
    fn definition(&self) -> String {
        let null = if self.nullable { "" } else { "not null" };
        let default = self.default.as_ref().map(|default| format!("default {default}")).unwrap_or_default();
        format!("{} {} {null} {default}", self.name, self.r#type)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignKey {
    columns: Vec<String>,
    references: String,
    keys: Vec<String>,
    on_delete: String,
}

#[derive(Deserialize)]
struct Index {
    name: String,
    method: String,
    on: String,
    with: Option<String>,
    r#where: Option<String>,
}

impl Index {
    fn statement(&self, table: &str) -> String {
        let with = self.with.as_ref().map(|with| format!("with ({with})")).unwrap_or_default();
        let filter = self.r#where.as_ref().map(|filter| format!("where {filter}")).unwrap_or_default();
        format!("create index {} on {table} using {} {} {with} {filter};\n", self.name, self.method, self.on)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedUnique {
    table: String,
    columns: Vec<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Deserialize)]
struct AddedIndex {
    table: String,
    #[serde(flatten)]
    index: Index,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedTrigger {
    table: String,
    pub name: String,
    on: String,
    when: Option<String>,
    execute: String,
    #[serde(rename = "reason")]
    _reason: String,
}

//! Makes the tables that exist into those that the template declares.

use anyhow::{Context, bail, ensure};
use dynoxide::{Database, TableMetadata};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::template::{Attribute, Index, KeyElement, Table};

/// Creates the table, or adds the indexes that an existing one lacks.
pub(super) fn ensure(database: &Database, table: &Table) -> anyhow::Result<()> {
    let existing = database.get_table_metadata(&table.name)?;
    match &existing {
        Some(existing) => fit(database, table, existing)?,
        None => {
            let mut request = json!({
                "TableName": table.name,
                "KeySchema": table.key_schema,
                "AttributeDefinitions": table.attributes,
                "BillingMode": "PAY_PER_REQUEST",
            });
            if !table.global_indexes.is_empty() {
                request["GlobalSecondaryIndexes"] = json!(table.global_indexes);
            }
            if !table.local_indexes.is_empty() {
                request["LocalSecondaryIndexes"] = json!(table.local_indexes);
            }
            database
                .create_table(serde_json::from_value(request)?)
                .with_context(|| format!("table {} cannot be created", table.name))?;
        }
    }
    let expiring = existing
        .filter(|existing| existing.ttl_enabled)
        .and_then(|existing| existing.ttl_attribute);
    if table.ttl_attribute != expiring {
        if let Some(attribute) = &expiring {
            set_expiry(database, table, attribute, false)?;
        }
        if let Some(attribute) = &table.ttl_attribute {
            set_expiry(database, table, attribute, true)?;
        }
    }
    Ok(())
}

fn set_expiry(
    database: &Database,
    table: &Table,
    attribute: &str,
    enabled: bool,
) -> anyhow::Result<()> {
    let request = json!({ "TableName": table.name, "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": enabled } });
    let set = database.update_time_to_live(serde_json::from_value(request)?);
    set.with_context(|| format!("the expiry of table {} cannot be set", table.name))
        .map(drop)
}

fn fit(database: &Database, table: &Table, existing: &TableMetadata) -> anyhow::Result<()> {
    let name = &table.name;
    let key: Vec<KeyElement> = stored(Some(&existing.key_schema))?;
    let types: Vec<Attribute> = stored(Some(&existing.attribute_definitions))?;
    let is_typed_alike = |element: &KeyElement| {
        let of = |attributes: &[Attribute]| {
            attributes
                .iter()
                .find(|attribute| attribute.attribute_name == element.attribute_name)
                .cloned()
        };
        of(&types) == of(&table.attributes)
    };
    if key != table.key_schema || !key.iter().all(is_typed_alike) {
        bail!(
            "table {name} has the key {} in the data directory, the template says {}: {START_ANEW}",
            shown(&key),
            shown(&table.key_schema)
        );
    }
    let local: Vec<Index> = stored(existing.lsi_definitions.as_deref())?;
    if let Some(index) = table
        .local_indexes
        .iter()
        .find(|index| !local.contains(index))
    {
        bail!(
            "table {name} lacks the local index {} in the data directory, and it cannot be added: {START_ANEW}",
            index.index_name
        );
    }
    let global: Vec<Index> = stored(existing.gsi_definitions.as_deref())?;
    for index in &table.global_indexes {
        match global
            .iter()
            .find(|existing| existing.index_name == index.index_name)
        {
            Some(existing) => ensure!(
                existing == index,
                "index {} of table {name} is another one in the data directory than in the template: {START_ANEW}",
                index.index_name
            ),
            None => add_index(database, table, index)?,
        }
    }
    Ok(())
}

const START_ANEW: &str = "move the data directory away to start anew";

fn add_index(database: &Database, table: &Table, index: &Index) -> anyhow::Result<()> {
    let request = json!({
        "TableName": table.name,
        "AttributeDefinitions": table.attributes,
        "GlobalSecondaryIndexUpdates": [{ "Create": index }],
    });
    let added = database.update_table(serde_json::from_value(request)?);
    added.with_context(|| {
        format!(
            "index {} cannot be added to table {}",
            index.index_name, table.name
        )
    })?;
    tracing::info!(table = table.name, index = index.index_name, "index added");
    Ok(())
}

fn stored<T: DeserializeOwned>(json: Option<&str>) -> anyhow::Result<Vec<T>> {
    json.map_or_else(
        || Ok(Vec::new()),
        |json| {
            serde_json::from_str(json)
                .context("the data directory's table definitions cannot be read")
        },
    )
}

fn shown(key: &[KeyElement]) -> String {
    let names: Vec<&str> = key
        .iter()
        .map(|element| element.attribute_name.as_str())
        .collect();
    format!("({})", names.join(", "))
}

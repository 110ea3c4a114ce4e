use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::Config;

/// The [JSON Schema](https://json-schema.org) of the configuration file, for editors that complete and check it.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// The same with every section's schema in place instead of a reference to it, which is easier to walk.
pub(crate) fn inlined() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

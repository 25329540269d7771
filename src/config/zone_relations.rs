//! What must hold of zones.

use super::findings::{relation, repeated};
use super::reader::Reader;
use super::sections::Config;
use super::types::ReadFrom;

/// Reports what is wrong with zones.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let names = config.zones.iter().map(|zone| &zone.name);
    repeated(names, reader, |index| format!("zone[{index}].name"), "is the name of an earlier zone");
    let own = config.gateway.zone.as_ref();
    if let Some(own) = own.filter(|own| !config.zones.iter().any(|zone| zone.name == **own)) {
        let known: Vec<&str> = config.zones.iter().map(|zone| zone.name.as_str()).collect();
        let message = format!("{own:?} is no zone; known by [[zone]] are: {}", known.join(", "));
        relation(reader, &["gateway.zone", "zone"], message);
    }
    for cluster in config.clusters() {
        if config.upstream_of(cluster).read_from == ReadFrom::Nearest && own.is_none() {
            let key = match cluster.position() {
                0 => "upstream.read_from".to_owned(),
                place => format!("cluster[{}].read_from", place - 1),
            };
            let message =
                "expected gateway.zone beside \"nearest\", found none: nobody would be near".to_owned();
            relation(reader, &[&key, "gateway.zone"], message);
        }
    }
}

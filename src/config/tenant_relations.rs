//! What must hold of tenants.

use super::findings::{relation, repeated};
use super::policies::Tenant;
use super::reader::Reader;
use super::sections::Config;

/// Reports what is wrong with tenants.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let tenants = &config.tenants;
    let names = tenants.iter().map(Tenant::display_name);
    repeated(
        names,
        reader,
        |index| format!("tenant[{index}]"),
        "is what an earlier tenant is called; give this one another name",
    );
    let of = |tenant: &Tenant| match (&tenant.user, &tenant.pattern) {
        (Some(user), _) => format!("the user {user:?}"),
        (None, pattern) => format!("the pattern {:?}", pattern.as_deref().unwrap_or_default()),
    };
    repeated(
        tenants.iter().map(of),
        reader,
        |index| format!("tenant[{index}]"),
        "is that of an earlier tenant",
    );
    for (index, tenant) in tenants.iter().enumerate() {
        check_one(tenant, &format!("tenant[{index}]"), reader);
    }
}

fn check_one(tenant: &Tenant, path: &str, reader: &mut Reader<'_>) {
    let [matched, user, clients_max, name] =
        ["match", "user", "clients_max", "name"].map(|key| format!("{path}.{key}"));
    match (&tenant.pattern, &tenant.user) {
        (Some(_), Some(_)) => {
            relation(reader, &[&user, &matched], format!("{matched} is given too; drop one of them"));
        }
        (None, None) => {
            let message =
                "expected match or user, which say whose requests are its own, found neither".to_owned();
            relation(reader, &[path, &matched, &user], message);
        }
        (Some(_), None) if tenant.clients_max.is_some() => {
            let message =
                "expected user beside it: which keys a connection will name is not known when it comes"
                    .to_owned();
            relation(reader, &[&clients_max, &user], message);
        }
        _ => {}
    }
    // It is a label of figures.
    if tenant.name.as_ref().is_some_and(|name| name.len() > 64) {
        relation(reader, &[&name], "expected at most 64 bytes".to_owned());
    }
}

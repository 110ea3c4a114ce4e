//! SRV records.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, rdata::SRV};

/// Targets of a record that are tried at most.
const MAX_TARGETS: usize = 8;

/// The targets in the order in which they are to be tried; none if the DNS does not answer.
///
/// <https://datatracker.ietf.org/doc/html/rfc2782>
pub(super) async fn srv(resolver: &TokioResolver, name: &str) -> Vec<(String, u16)> {
    let answer = match resolver.srv_lookup(name).await {
        Ok(answer) => answer,
        Err(error) => {
            if !error.is_no_records_found() {
                tracing::debug!(name, %error, "the DNS does not tell of a service");
            }
            return Vec::new();
        }
    };
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(record) => Some(record),
        _ => None,
    });
    in_order(records.cloned().collect(), rand::random)
}

/// By priority; among equals by chance, the more likely first the higher the weight. `random` is below 1.
fn in_order(records: Vec<SRV>, mut random: impl FnMut() -> f64) -> Vec<(String, u16)> {
    let mut keyed: Vec<(u16, f64, SRV)> = records
        .into_iter()
        // The root stands for "not here".
        .filter(|record| !record.target.is_root())
        .map(|record| {
            // Exponential clocks: the one with the highest rate most likely rings first.
            let weight = f64::from(record.weight).max(0.01);
            (record.priority, -(1.0 - random()).ln() / weight, record)
        })
        .collect();
    keyed.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let target =
        |(_, _, record): (u16, f64, SRV)| (record.target.to_ascii().trim_end_matches('.').to_owned(), record.port);
    keyed.into_iter().take(MAX_TARGETS).map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn record(priority: u16, weight: u16, port: u16, target: &str) -> SRV {
        SRV::new(priority, weight, port, Name::from_str(target).unwrap())
    }

    #[test]
    fn a_lower_number_comes_first_and_the_root_never() {
        let records = vec![record(20, 1, 1, "c.example."), record(10, 1, 2, "b.example."), record(0, 1, 3, ".")];
        let order = in_order(records, || 0.5);
        assert_eq!(order, [("b.example".to_owned(), 2), ("c.example".to_owned(), 1)]);
    }

    #[test]
    fn among_equals_the_weight_is_the_likelihood_to_be_first() {
        let mut heavy_first = 0;
        for _ in 0..1_000 {
            let order = in_order(vec![record(0, 10, 1, "light."), record(0, 90, 2, "heavy.")], rand::random);
            heavy_first += usize::from(order.first().is_some_and(|(_, port)| *port == 2));
        }
        assert!((800..=970).contains(&heavy_first), "{heavy_first}");
    }

    #[test]
    fn no_record_has_more_targets_than_are_tried() {
        let records = (0..1_000).map(|port| record(port, 0, port, "many.")).collect();
        assert_eq!(in_order(records, || 0.5).len(), MAX_TARGETS);
    }
}

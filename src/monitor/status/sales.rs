//! Sales of reservations: which end, and which have ended, of those that are used through this gateway. Old ones of which nobody wants anything are
//! no news.

use super::{Findings, Level, duration_s, name, rate, whole};
use crate::monitor::sales::SaleView;

/// How much of a sale is taken when it nears its end, as with quotas.
const TAKEN_SHARE: f64 = 0.9;

pub(super) fn judge(sales: &[SaleView], found: &mut Findings) {
    for sale in sales.iter().filter(|sale| sale.used_here) {
        let (sku, left) = (name(&sale.key), whole((sale.limit - sale.taken).max(0)));
        let refusing = if sale.refused_per_s >= 1.0 {
            format!(", refusing {}/s", rate(sale.refused_per_s))
        } else {
            String::new()
        };
        match sale.state {
            "soldout" => found.add(Level::Notice, format!("The sale of {sku} is sold out{refusing}.")),
            "closed" | "ended" if !refusing.is_empty() => {
                found.add(Level::Notice, format!("The sale of {sku} is closed{refusing}."));
            }
            "open" if sale.taken_share >= TAKEN_SHARE && sale.limit > 0 => {
                let ends =
                    sale.sold_out_in_s.map_or(String::new(), |s| format!(", {} at this rate", duration_s(s)));
                found.add(Level::Notice, format!("The sale of {sku} is nearly sold out: {left} left{ends}."));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &'static str, taken: i64, refused_per_s: f64) -> Vec<String> {
        let (limit, taken_share) = (1000, taken as f64 / 1000.0);
        let sold_out_in_s = (state == "open").then_some(30.0);
        let key = "mask".to_owned();
        let sale = SaleView {
            key,
            state,
            limit,
            taken,
            taken_share,
            sold_out_in_s,
            refused_per_s,
            used_here: true,
            ..SaleView::default()
        };
        let mut found = Findings::default();
        judge(&[sale], &mut found);
        found.0.into_iter().map(|finding| finding.sentence).collect()
    }

    #[test]
    fn the_end_of_a_sale_is_told() {
        assert_eq!(said("open", 899, 0.0), [""; 0]);
        assert_eq!(
            said("open", 900, 0.0),
            ["The sale of mask is nearly sold out: 100 left, 30 s at this rate."]
        );
        assert_eq!(said("soldout", 1000, 12.0), ["The sale of mask is sold out, refusing 12/s."]);
        assert_eq!(said("closed", 5, 0.0), [""; 0]);
        assert_eq!(said("ended", 5, 3.0), ["The sale of mask is closed, refusing 3/s."]);
    }
}

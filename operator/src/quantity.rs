//! Quantities as Kubernetes writes them: `10Gi`, `1.5M`, `1e3`.

/// The whole number that a quantity is, rounded up as Kubernetes does; none where it is malformed or beyond 2^63.
/// See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
pub(crate) fn whole(quantity: &str) -> Option<i64> {
    let unit_at = quantity.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(unit_at);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits behind the point than these say nothing about a whole number, and would overflow.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let (times, by) = factor(unit)?;
    let scaled = mantissa.checked_mul(times)?;
    let divisor = scale * by;
    i64::try_from((scaled + divisor - 1) / divisor).ok()
}

/// What a unit multiplies by, and divides by.
fn factor(unit: &str) -> Option<(i128, i128)> {
    let power = |base: i128, exponent: u32| Some((base.pow(exponent), 1));
    match unit {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            power(10, digits.parse().ok().filter(|exponent| *exponent <= 18)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (quantity, bytes) in [
            ("0", 0),
            ("128", 128),
            ("10Gi", 10 << 30),
            ("1.5k", 1500),
            ("1e3", 1000),
            ("2E3", 2000),
            ("1500m", 2),
            ("7Ei", 7 << 60),
            ("0.5Ki", 512),
        ] {
            assert_eq!(whole(quantity), Some(bytes), "{quantity}");
        }
        for malformed in ["", "Gi", "1.2.3", "8Ei", "1e99", "10 Gi", "-1", "99999999999999999999999999999999999999999"] {
            assert_eq!(whole(malformed), None, "{malformed}");
        }
    }
}

//! A share of all requests.

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    numerator: u32,
    denominator: u32,
}

impl Share {
    /// `numerator` of `denominator`; all if that is less.
    pub fn new(numerator: u32, denominator: u32) -> Self {
        Self { numerator, denominator: denominator.max(1) }
    }

    /// Whether a request that drew this number is one of them.
    pub fn takes(&self, drawn: u32) -> bool {
        // As if drawn from as many as there are.
        let drawn = (u64::from(drawn) * u64::from(self.denominator)) >> u32::BITS;
        drawn < u64::from(self.numerator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_taken_as_are_said() {
        let taken = |share: Share| (0..1000_u32).filter(|number| share.takes(number * 4_294_967)).count();
        assert_eq!(taken(Share::new(0, 100)), 0);
        assert_eq!(taken(Share::new(100, 100)), 1000);
        assert_eq!(taken(Share::new(5, 1)), 1000);
        assert!((245..=255).contains(&taken(Share::new(1, 4))));
        assert!((1..=2).contains(&taken(Share::new(1, 1000))));
    }
}
